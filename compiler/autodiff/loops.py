"""Both modes through loops and branches: the derivative of a loop is a loop, that of a branch a branch.

Forward mode carries tangents beside values. Reverse mode runs a loop backwards over what the forward run left behind:
the values that the adjoint of one iteration reads, less those that little work makes from others (Griewank and
Walther, Evaluating Derivatives, 2008, chapter 5). The adjoint of a `while` is a scan over as many iterations as ran. A
cotangent of what the body closes over is the sum of one term per iteration; where such a term is a contraction, its
operands are stacked and one contraction after the loop sums over iterations as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.control import Body, item
from ..graph.node import Node, make
from .calls import call_cotangents, call_tangents
from .iteration import Iteration, Params
from .tape import Tape, Term


def loop_tangents(node: Node, given: Mapping[int, Node]) -> list[Node | None]:
    """Tangents of all results of a loop for tangents of some inputs, by position."""
    from .forward import jvp

    loop = Iteration(node)
    body, n, params = loop.body, loop.n_carry, Params(loop.body)
    dots: dict[int, Node] = {k: params.like(body.params[k]) for k in given}
    while True:
        found = jvp(body.outputs, [body.params[k] for k in dots], list(dots.values()))
        late = [k for k in range(n) if k not in dots and found[k] is not None]
        if not late:
            break
        dots.update((k, params.like(body.params[k])) for k in late)
    start = {k: given[k] if k in given else b.zeros_like(node.inputs[k]) for k in dots}
    spans = loop.split(range(len(node.inputs)))
    moving = [[k for k in span if k in dots] for span in spans]
    stacked = [k for k in range(n, len(body.outputs)) if found[k] is not None]

    def beside(values: Sequence[Node], tangents: Mapping[int, Node]) -> tuple[list[Node], ...]:
        """Carries, sequences and the rest, each followed by its tangents."""
        groups = zip(spans, moving, strict=True)
        return tuple([*(values[k] for k in span), *(tangents[k] for k in own)] for span, own in groups)

    outputs = [
        *body.outputs[:n], *(_or_zeros(found[k], body.outputs[k]) for k in moving[0]),
        *body.outputs[n:], *(y for y in found[n:] if y is not None),
    ]  # fmt: skip
    augmented = loop.remade(beside(body.params, dots), outputs, beside(node.inputs, start))
    places = {k: n + at for at, k in enumerate(moving[0])}
    places.update({k: len(body.outputs) + len(moving[0]) + at for at, k in enumerate(stacked)})
    return [item(augmented, places[k]) if k in places else None for k in range(len(body.outputs))]


def _or_zeros(node: Node | None, like: Node) -> Node:
    return b.zeros_like(like) if node is None else node


def loop_cotangents(node: Node, given: Mapping[int, Node], wanted: set[Node]) -> list[Node | None]:
    """Cotangents of a loop's inputs, for cotangents of some results by number; None where an input needs none."""
    return _Adjoint(Iteration(node), given, wanted).run()


class _Adjoint:
    def __init__(self, loop: Iteration, given: Mapping[int, Node], wanted: set[Node]) -> None:
        self.loop, self.body, self.given = loop, loop.body, given
        self.params = Params(loop.body)
        sources = [k for k, x in enumerate(loop.inputs) if x in wanted and dtypes.is_float(x.dtype)]
        self.active = self.depending(sources)
        self.bars: dict[int, Node] = {}  # result number → parameter of the adjoint body that holds its cotangent
        self.parts: dict[int, Node] = {}  # input position → its cotangent within one iteration

    def depending(self, positions: Sequence[int]) -> list[int]:
        """The inputs that are wanted, and the carries that vary with them."""
        from .reverse import between

        active = set(positions)
        while True:
            reached = set(between(self.body.outputs, [self.body.params[k] for k in sorted(active)]))
            late = {
                k for k in range(self.loop.n_carry) if self.body.outputs[k] in reached and k not in active
                and dtypes.is_float(self.body.params[k].dtype)
            }  # fmt: skip
            if not late:
                return sorted(active)
            active |= late

    def pull(self) -> None:
        """Cotangents of one iteration's parameters, for all carries that ever get one."""
        from .reverse import vjp

        active, n = set(self.active), self.loop.n_carry
        ys = [k for k in self.given if k >= n]
        carried = [k for k in self.given if k < n and k in active]
        while True:
            for k in (*carried, *ys):
                if k not in self.bars:
                    self.bars[k] = self.params.like(self.body.outputs[k])
            outputs = [self.body.outputs[k] for k in self.bars]
            found = vjp(outputs, [self.body.params[k] for k in self.active], list(self.bars.values()))
            self.parts = {k: part for k, part in zip(self.active, found, strict=True) if part is not None}
            late = [k for k in self.parts if k < n and k not in self.bars]
            if not late:
                return
            carried += late

    def run(self) -> list[Node | None]:
        self.pull()
        loop, n = self.loop, self.loop.n_carry
        if not self.bars or (not self.parts and loop.is_scan and sizes.lower_bound(loop.length) > 0):
            return [None] * len(loop.inputs)
        carried = [k for k in self.bars if k < n]
        ys = [k for k in self.bars if k >= n]
        sequences = [k for k in self.parts if loop.is_sequence(k)]
        closed = [k for k in self.parts if k >= n + loop.n_xs]
        tape = Tape(loop, self.params, list(self.bars.values()), list(self.parts.values()))
        hoisted, stacks = self.hoisted(tape, closed)
        summed = [k for k in closed if k not in hoisted]
        sums = [self.params.like(self.body.params[k]) for k in summed]
        roots = [
            *(_or_zeros(self.parts.get(k), self.body.params[k]) for k in carried),
            *(b.add(s, self.parts[k]) for s, k in zip(sums, summed, strict=True)),
            *(self.parts[k] for k in sequences),
            *(x for x in stacks if x in tape.backward),
        ]
        tape.record(roots, [x for x in stacks if x not in tape.backward])
        init = [
            *(_or_zeros(self.given.get(k), loop.inputs[k]) for k in carried),
            *(b.zeros_like(loop.inputs[k]) for k in summed),
        ]
        xs = [*(self.given[k] for k in ys), *tape.stacks, *tape.sequences.values()]
        params = [
            *(self.bars[k] for k in carried), *sums, *(self.bars[k] for k in ys), *tape.read, *tape.sequences,
            *tape.closed,
        ]  # fmt: skip
        backward = make(
            "scan", (*init, *xs, *tape.closed.values()), Body(params, tape.replayed(roots)), len(init), len(xs),
            loop.length, not loop.reverse,
        )  # fmt: skip
        results: list[Node | None] = [None] * len(loop.inputs)
        order = [*carried, *summed, *sequences]
        for at, k in enumerate(order):
            if k in self.active:
                results[k] = item(backward, at)
        made = [x for x in stacks if x in tape.backward]
        places = {**tape.places(), **{x: item(backward, len(order) + at) for at, x in enumerate(made)}}
        for k, terms in hoisted.items():
            total: Node | None = None
            for term in terms:
                value = term.total(places, loop.length)
                total = value if total is None else b.add(total, value)
            results[k] = total
        return results

    def hoisted(self, tape: Tape, closed: Sequence[int]) -> tuple[dict[int, list[Term]], list[Node]]:
        """Cotangents that are summed after the loop, and what of an iteration that needs stacks of."""
        found: dict[int, list[Term]] = {}
        for k in closed:
            terms = tape.terms(self.parts[k])
            if terms is not None:
                found[k] = terms
        stacks = dict.fromkeys(x for terms in found.values() for term in terms for x in term.operands)
        # What is stacked anyway can as well be summed afterwards.
        for k in closed:
            if k not in found and (term := tape.plain(self.parts[k])) is not None and term.operands[0] in stacks:
                found[k] = [term]
        return found, list(stacks)


def cond_tangents(node: Node, given: Mapping[int, Node]) -> list[Node | None]:
    """Tangents of all results of a branch for tangents of some inputs, by position."""
    from .forward import jvp

    bodies = (node["then"], node["otherwise"])
    params = Params(*bodies)
    dots = {k: params.like(node.inputs[k]) for k in given}
    found = [jvp(body.outputs, [body.params[k - 1] for k in dots], list(dots.values())) for body in bodies]
    return _branch(node, bodies, list(dots.values()), [given[k] for k in dots], found, bodies[0].outputs)


def cond_cotangents(node: Node, given: Mapping[int, Node], wanted: set[Node]) -> list[Node | None]:
    """Cotangents of a branch's inputs, for cotangents of some results by number; the branch is run again."""
    from .reverse import vjp

    bodies = (node["then"], node["otherwise"])
    params = Params(*bodies)
    bars = {k: params.like(bodies[0].outputs[k]) for k in given}
    active = [k for k, x in enumerate(node.inputs) if k and x in wanted and dtypes.is_float(x.dtype)]
    found = [
        vjp([body.outputs[k] for k in bars], [body.params[k - 1] for k in active], list(bars.values()))
        for body in bodies
    ]
    like = [node.inputs[k] for k in active]
    parts = _branch(node, bodies, list(bars.values()), [given[k] for k in bars], found, like)
    results: list[Node | None] = [None] * len(node.inputs)
    for k, part in zip(active, parts, strict=True):
        results[k] = part
    return results


def _branch(
    node: Node, bodies: Sequence[Body], params: Sequence[Node], operands: Sequence[Node],
    found: Sequence[Sequence[Node | None]], like: Sequence[Node],
) -> list[Node | None]:  # fmt: skip
    """A branch over more operands, with those results that either side has; the other gives zeros."""
    kept = [k for k in range(len(like)) if any(side[k] is not None for side in found)]
    if not kept:
        return [None] * len(like)
    sides = [
        Body((*body.params, *params), [_or_zeros(side[k], like[k]) for k in kept])
        for body, side in zip(bodies, found, strict=True)
    ]
    branch = make("cond", (*node.inputs, *operands), *sides)
    return [item(branch, kept.index(k)) if k in kept else None for k in range(len(like))]


TANGENTS: dict[str, Callable[[Node, Mapping[int, Node]], list[Node | None]]] = {
    "scan": loop_tangents,
    "while": loop_tangents,
    "cond": cond_tangents,
    "call": call_tangents,
}
COTANGENTS: dict[str, Callable[[Node, Mapping[int, Node], set[Node]], list[Node | None]]] = {
    "scan": loop_cotangents,
    "while": loop_cotangents,
    "cond": cond_cotangents,
    "call": call_cotangents,
}
