"""Both modes through loops: the derivative of a scan is a scan.

Forward mode carries tangents beside values. Reverse mode runs the loop backwards over what the forward run left behind:
the values that the adjoint of one iteration reads, less those that little work makes from others (Griewank and
Walther, Evaluating Derivatives, 2008, chapter 5). A cotangent of what the body closes over is the sum of one term per
iteration; where such a term is a contraction, the operands are stacked and one contraction after the loop sums over
iterations as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.contraction import contract, plain
from ..graph.control import Body, item
from ..graph.node import Node, make, toposort
from ..graph.substitute import substitute


class _Params:
    """Makes parameters beyond those that a body has."""

    def __init__(self, body: Body) -> None:
        self.depth = min((p["depth"] for p in body.params), default=0)
        self.next = 1 + max((p["position"] for p in body.params), default=-1)

    def like(self, node: Node) -> Node:
        self.next += 1
        return make("param", (), self.depth, self.next - 1, node.shape, node.dtype)


def _loop(
    node: Node, body: Body, init: Sequence[Node], xs: Sequence[Node], closed: Sequence[Node], backwards: bool = False
) -> Node:
    reverse = node["reverse"] != backwards
    return make("scan", (*init, *xs, *closed), body, len(init), len(xs), node["length"], reverse)


def _split(node: Node, values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Carries, sequences and what is closed over."""
    n, m = node["n_carry"], node["n_carry"] + node["n_xs"]
    return values[:n], values[n:m], values[m:]


def scan_tangents(node: Node, given: Mapping[int, Node]) -> list[Node | None]:
    """Tangents of all results for tangents of some inputs."""
    from .forward import jvp

    body, n = node["body"], node["n_carry"]
    make_param = _Params(body)
    dots: dict[int, Node] = {k: make_param.like(body.params[k]) for k in given}
    while True:
        found = jvp(body.outputs, [body.params[k] for k in dots], list(dots.values()))
        late = [k for k in range(n) if k not in dots and found[k] is not None]
        if not late:
            break
        dots.update((k, make_param.like(body.params[k])) for k in late)
    start = {k: given[k] if k in given else b.zeros_like(node.inputs[k]) for k in dots}
    init, xs, closed = _split(node, node.inputs)
    ks = [sorted(k for k in dots if k in span) for span in _split(node, range(len(node.inputs)))]
    carry_dots = [_or_zeros(found[k], body.outputs[k]) for k in ks[0]]
    y_dots = [k for k in range(n, len(body.outputs)) if found[k] is not None]
    groups = _split(node, body.params)
    params = [p for group, own in zip(groups, ks, strict=True) for p in (*group, *(dots[k] for k in own))]
    outputs = [*body.outputs[:n], *carry_dots, *body.outputs[n:], *(found[k] for k in y_dots)]
    loop = _loop(
        node, Body(params, outputs), [*init, *(start[k] for k in ks[0])], [*xs, *(start[k] for k in ks[1])],
        [*closed, *(start[k] for k in ks[2])],
    )  # fmt: skip
    places = {k: n + at for at, k in enumerate(ks[0])}
    places.update({k: len(body.outputs) + len(ks[0]) + at for at, k in enumerate(y_dots)})
    return [item(loop, places[k]) if k in places else None for k in range(len(body.outputs))]


def _or_zeros(node: Node | None, like: Node) -> Node:
    return b.zeros_like(like) if node is None else node


def scan_cotangents(node: Node, given: Mapping[int, Node], wanted: set[Node]) -> list[Node | None]:
    """Cotangents of the inputs, for cotangents of some results by number; None where an input needs none."""
    return _Adjoint(node, given, wanted).run()


class _Adjoint:
    def __init__(self, node: Node, given: Mapping[int, Node], wanted: set[Node]) -> None:
        self.node, self.given = node, given
        self.body: Body = node["body"]
        self.n_carry: int = node["n_carry"]
        self.params = _Params(self.body)
        self.active = self.depending([k for k, x in enumerate(node.inputs) if x in wanted and dtypes.is_float(x.dtype)])
        self.bars: dict[int, Node] = {}  # result number → parameter of the adjoint body that holds its cotangent
        self.parts: dict[int, Node] = {}  # input position → its cotangent within one iteration

    def depending(self, positions: Sequence[int]) -> list[int]:
        """The inputs that are wanted, and the carries that vary with them."""
        from .reverse import between

        active = set(positions)
        while True:
            reached = set(between(self.body.outputs, [self.body.params[k] for k in sorted(active)]))
            late = {
                k for k in range(self.n_carry) if self.body.outputs[k] in reached and k not in active
                and dtypes.is_float(self.body.params[k].dtype)
            }  # fmt: skip
            if not late:
                return sorted(active)
            active |= late

    def run(self) -> list[Node | None]:
        self.pull()
        if not self.parts and sizes.lower_bound(self.node["length"]) > 0:
            return [None] * len(self.node.inputs)
        carried = [k for k in self.bars if k < self.n_carry]
        sequences = [k for k in self.parts if self.n_carry <= k < self.n_carry + self.node["n_xs"]]
        closed = [k for k in self.parts if k >= self.n_carry + self.node["n_xs"]]
        tape = _Tape(self.node, self.params, list(self.bars.values()))
        tape.classify(list(self.parts.values()))
        hoisted = {k: terms for k in closed if (terms := tape.terms(self.parts[k])) is not None}
        summed = [k for k in closed if k not in hoisted]
        sums = [self.params.like(self.body.params[k]) for k in summed]
        operands = list(dict.fromkeys(x for terms in hoisted.values() for _, pair in terms for x in pair))
        stacks = [x for x in operands if x in tape.backward]
        roots = [
            *(_or_zeros(self.parts.get(k), self.body.params[k]) for k in carried),
            *(b.add(s, self.parts[k]) for s, k in zip(sums, summed, strict=True)),
            *(self.parts[k] for k in sequences),
            *stacks,
        ]
        tape.record(roots, [x for x in operands if x not in tape.backward])
        ys = [k for k in self.bars if k >= self.n_carry]
        init = [
            *(_or_zeros(self.given.get(k), self.node.inputs[k]) for k in carried),
            *(b.zeros_like(self.node.inputs[k]) for k in summed),
        ]
        params = [
            *(self.bars[k] for k in carried), *sums, *(self.bars[k] for k in ys), *tape.read, *tape.sequence_params,
            *tape.closed_params,
        ]  # fmt: skip
        xs = [*(self.given[k] for k in ys), *tape.stacked(), *tape.sequences]
        loop = _loop(self.node, Body(params, tape.replayed(roots)), init, xs, tape.closed, backwards=True)
        results: list[Node | None] = [None] * len(self.node.inputs)
        order = [*carried, *summed, *sequences]
        for at, k in enumerate(order):
            results[k] = item(loop, at)
        for k in range(self.n_carry):
            if k not in self.active:
                results[k] = None
        places = {**tape.places(), **{x: item(loop, len(order) + at) for at, x in enumerate(stacks)}}
        for k, terms in hoisted.items():
            results[k] = tape.after_the_loop(terms, places)
        return results

    def pull(self) -> None:
        """Cotangents of one iteration's parameters, for all carries that ever get one."""
        from .reverse import vjp

        active = set(self.active)
        ys = [k for k in self.given if k >= self.n_carry]
        carried = [k for k in self.given if k < self.n_carry and k in active]
        while True:
            for k in (*carried, *ys):
                if k not in self.bars:
                    self.bars[k] = self.params.like(self.body.outputs[k])
            outputs = [self.body.outputs[k] for k in self.bars]
            found = vjp(outputs, [self.body.params[k] for k in self.active], list(self.bars.values()))
            self.parts = {k: part for k, part in zip(self.active, found, strict=True) if part is not None}
            late = [k for k in self.parts if k < self.n_carry and k not in self.bars]
            if not late:
                return
            carried += late


# What costs no more than this many operations an element is computed again, not stored.
_CHEAP = 6


class _Tape:
    """What the adjoint of an iteration reads of the forward run: recorded, read again from inputs, or made anew."""

    def __init__(self, node: Node, params: _Params, bars: Sequence[Node]) -> None:
        self.node, self.params = node, params
        self.body: Body = node["body"]
        self.backward: set[Node] = set(bars)  # nodes that depend on a cotangent
        self.forward: set[Node] = set(self.body.params)  # nodes that depend on the forward run alone
        self.recorded: list[Node] = []
        self.read: list[Node] = []
        self.sequence_params: list[Node] = []
        self.sequences: list[Node] = []
        self.closed_params: list[Node] = []
        self.closed: list[Node] = []
        self.fixed = set(_split(node, self.body.params)[2])
        self._used: set[Node] = set()

    def classify(self, roots: Sequence[Node]) -> list[Node]:
        order = toposort(roots)
        for node in order:
            if node in self.backward or node in self.forward:
                continue
            if any(i in self.backward for i in node.inputs):
                self.backward.add(node)
            elif any(i in self.forward for i in node.inputs):
                self.forward.add(node)
        return order

    def record(self, roots: Sequence[Node], whole: Sequence[Node]) -> None:
        """Decides what is recorded, for everything that the roots need; the stacks of `whole` are needed themselves."""
        order = self.classify(roots)
        needed = dict.fromkeys(
            i for node in order if node not in self.forward for i in node.inputs if i in self.forward
        )
        needed.update(dict.fromkeys(r for r in roots if r in self.forward))
        carries, xs, closed = (set(group) for group in _split(self.node, self.body.params))
        self.recorded = [x for x in whole if x not in xs]
        stack, seen = list(reversed(needed)), set(self.recorded)
        while stack:
            node = stack.pop()
            if node in seen or node not in self.forward:
                continue
            seen.add(node)
            if node in xs or node in closed:
                self._used.add(node)
            elif node in carries or not (_cheap(node) or _unbounded(node)):
                self.recorded.append(node)
            else:
                stack.extend(reversed(node.inputs))
        self.read = [self.params.like(r) for r in self.recorded]
        _, sequences, over = _split(self.node, self.node.inputs)
        _, x_params, w_params = _split(self.node, self.body.params)
        for param, x in zip(x_params, sequences, strict=True):
            if param in self._used:
                self.sequence_params.append(param)
                self.sequences.append(x)
        for param, x in zip(w_params, over, strict=True):
            if param in self._used:
                self.closed_params.append(param)
                self.closed.append(x)

    def places(self) -> dict[Node, Node]:
        """Stacks of what was recorded, and of elements of sequences."""
        _, sequences, _ = _split(self.node, self.node.inputs)
        _, params, _ = _split(self.node, self.body.params)
        return dict(zip((*params, *self.recorded), (*sequences, *self.stacked()), strict=True))

    def stacked(self) -> list[Node]:
        """What the forward run leaves behind: one stack for each recorded value."""
        n, outputs = self.node["n_carry"], self.body.outputs
        ys = {y: k for k, y in reversed(list(enumerate(outputs))) if k >= n}
        extra = [r for r in self.recorded if r not in ys]
        if not extra:
            return [item(self.node, ys[r]) for r in self.recorded]
        loop = make(
            "scan", self.node.inputs, Body(self.body.params, (*outputs, *extra)), n, self.node["n_xs"],
            self.node["length"], self.node["reverse"],
        )  # fmt: skip
        ys.update({r: len(outputs) + k for k, r in enumerate(extra)})
        return [item(loop, ys[r]) for r in self.recorded]

    def replayed(self, roots: Sequence[Node]) -> list[Node]:
        return substitute(roots, dict(zip(self.recorded, self.read, strict=True)))

    def terms(self, part: Node) -> list[tuple[Callable[[Sequence[Node]], Node], tuple[Node, ...]]] | None:
        """A cotangent as a sum of contractions, each with what it reads of an iteration; None if it is none."""
        found = []
        stack = [part]
        while stack:
            node = stack.pop()
            if node.op.name == "add":
                stack.extend(reversed(node.inputs))
                continue
            moved, inner = _moved(node)
            if inner.op.name != "contract" or any(i in self.fixed for i in inner.inputs):
                return None
            found.append((self._summing(moved, inner), inner.inputs))
        return found

    def _summing(self, moved: Sequence[Node], node: Node) -> Callable[[Sequence[Node]], Node]:
        """The contraction of stacks, summed over iterations too."""
        extents, n_out = node["extents"], node["n_out"]
        over = plain(len(extents))

        def build(stacks: Sequence[Node]) -> Node:
            x, y = stacks
            total = contract(
                x, y, (*extents, self.node["length"]), n_out, (over, *node["a_map"]), (over, *node["b_map"])
            )
            for move in moved:
                total = make(move.op, (total,), *move.attrs)
            return total

        return build

    def after_the_loop(
        self, terms: Sequence[tuple[Callable[[Sequence[Node]], Node], tuple[Node, ...]]], places: Mapping[Node, Node]
    ) -> Node:
        total: Node | None = None
        for build, operands in terms:
            term = build([places[x] for x in operands])
            total = term if total is None else b.add(total, term)
        assert total is not None
        return total


def _moved(node: Node) -> tuple[list[Node], Node]:
    """The movements and signs on top of a node, innermost first, and what is under them."""
    moved = []
    while node.op.name in ("permute", "reshape", "negative"):
        moved.append(node)
        node = node.inputs[0]
    return moved[::-1], node


def _cheap(node: Node) -> bool:
    return node.op.kind == "structural" or (node.op.kind == "elementwise" and node.op.cost <= _CHEAP)


def _unbounded(node: Node) -> bool:
    """Whether the value has an extent that only the iteration itself knows."""
    return False


TANGENTS: dict[str, Callable[[Node, Mapping[int, Node]], list[Node | None]]] = {"scan": scan_tangents}
COTANGENTS: dict[str, Callable[[Node, Mapping[int, Node], set[Node]], list[Node | None]]] = {"scan": scan_cotangents}
