"""What the adjoint of an iteration reads of the forward run: recorded, read again from inputs, or made anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from ..graph import build as b
from ..graph import sizes
from ..graph.contraction import contract, plain
from ..graph.control import item, toposort_deep
from ..graph.node import Node, make, toposort
from ..graph.sizes import Extent
from ..graph.substitute import substitute
from .iteration import Iteration, Params

# What costs no more than this many operations an element is computed again, not stored.
CHEAP = 6


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a cotangent within one iteration: movements and signs, innermost first, of a contraction or a value."""

    moves: tuple[Node, ...]
    inner: Node
    operands: tuple[Node, ...]

    def total(self, stacks: Mapping[Node, Node], length: Extent) -> Node:
        """The sum over all iterations, given the stacks of the operands."""
        inner = self.inner
        if self.operands == (inner,):
            value = b.sum(stacks[inner], (0,))
        else:
            x, y = (stacks[o] for o in self.operands)
            extents, over = inner["extents"], plain(len(inner["extents"]))
            value = contract(
                x, y, (*extents, length), inner["n_out"], (over, *inner["a_map"]), (over, *inner["b_map"])
            )
        for move in self.moves:
            value = make(move.op, (value,), *move.attrs)
        return value


class Tape:
    def __init__(self, loop: Iteration, params: Params, bars: Sequence[Node], parts: Sequence[Node]) -> None:
        self.loop, self.params = loop, params
        self.backward: set[Node] = set(bars)  # nodes that depend on a cotangent
        self.forward: set[Node] = set(loop.body.params)  # nodes that depend on the forward run alone
        self.recorded: list[Node] = []
        self.read: list[Node] = []
        self.sequences: dict[Node, Node] = {}  # parameter → operand, for those that the adjoint reads again
        self.closed: dict[Node, Node] = {}
        self._stacks: list[Node] | None = None
        self._fixed = set(loop.split(loop.body.params)[2])
        self._bound = {n["trips"] for n in toposort_deep((*loop.body.outputs, *parts)) if n.op.name == "while"}
        self._classify(parts)

    def _classify(self, roots: Sequence[Node]) -> list[Node]:
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
        order = self._classify(roots)
        needed = dict.fromkeys(
            i for node in order if node not in self.forward for i in node.inputs if i in self.forward
        )
        needed.update(dict.fromkeys(r for r in roots if r in self.forward))
        self.recorded, used, made = self._chosen(needed, whole, frozenset())
        # One stack holds what a carry is before and after an iteration, so the second costs nothing beside the first.
        carried = zip(self.loop.body.outputs[: self.loop.n_carry], self.loop.body.params, strict=False)
        beside = {x for x, param in carried if self.loop.is_scan and param in self.recorded and x in made}
        if beside:
            self.recorded, used, _ = self._chosen(needed, whole, beside)
        _, sequences, over = self.loop.split(tuple(zip(self.loop.body.params, self.loop.inputs, strict=True)))
        self.sequences = {p: x for p, x in sequences if p in used}
        self.closed = {p: x for p, x in over if p in used}
        # The adjoint runs as often as the loop did: something has to tell.
        if not self.recorded and not self.loop.is_scan:
            self.recorded.append(self._witness())
        elif not self.recorded and not self.sequences and not isinstance(self.loop.length, int):
            self.sequences = dict(sequences[:1])
        self.read = [self.params.like(r) for r in self.recorded]

    def _chosen(
        self, needed: Iterable[Node], whole: Sequence[Node], beside: Set[Node]
    ) -> tuple[list[Node], set[Node], set[Node]]:
        """What is recorded (`whole`, `beside` where it is reached, and what is expensive), which parameters are read
        again, and what is made anew."""
        carries, xs, closed = (set(group) for group in self.loop.split(self.loop.body.params))
        recorded = [x for x in whole if x not in xs]
        stack, seen = list(reversed([*needed])), set(recorded)
        used, made = set(), set()
        while stack:
            node = stack.pop()
            if node in seen or node not in self.forward:
                continue
            seen.add(node)
            if node in xs or node in closed:
                used.add(node)
            elif node in carries or node in beside or not (_cheap(node) or self._unbounded(node)):
                recorded.append(node)
            else:
                made.add(node)
                stack.extend(reversed(node.inputs))
        return recorded, used, made

    def _witness(self) -> Node:
        (test,) = self.loop.node["test"].outputs
        return test  # type: ignore[no-any-return]

    def _unbounded(self, node: Node) -> bool:
        """Whether the value is a loop, or has an extent that only the iteration itself knows."""
        if node.op.kind == "control" and node.op.name != "item":
            return True
        return any(d in self._bound for e in node.shape for d in sizes.dims_of(e))

    @property
    def stacks(self) -> list[Node]:
        """What the forward run leaves behind: one stack for each recorded value."""
        if self._stacks is None:
            n, outputs = self.loop.n_carry, self.loop.body.outputs
            ys = {y: k for k, y in reversed(list(enumerate(outputs))) if k >= n}
            extra = [r for r in self.recorded if r not in ys]
            source = self.loop.extended(extra) if extra else self.loop.node
            ys.update({r: len(outputs) + k for k, r in enumerate(extra)})
            self._stacks = [item(source, ys[r]) for r in self.recorded]
        return self._stacks

    def places(self) -> dict[Node, Node]:
        """Stacks of what was recorded, and sequences, which are such stacks."""
        _, sequences, _ = self.loop.split(tuple(zip(self.loop.body.params, self.loop.inputs, strict=True)))
        return {**dict(sequences), **dict(zip(self.recorded, self.stacks, strict=True))}

    def replayed(self, roots: Sequence[Node]) -> list[Node]:
        return substitute(roots, dict(zip(self.recorded, self.read, strict=True)))

    def terms(self, part: Node) -> list[Term] | None:
        """A cotangent as a sum of contractions, each with what it reads of an iteration; None if it is none."""
        found = []
        stack = [part]
        while stack:
            node = stack.pop()
            if node.op.name == "add":
                stack.extend(reversed(node.inputs))
                continue
            moves, inner = _moved(node)
            if inner.op.name != "contract" or not all(self._stackable(i) for i in inner.inputs):
                return None
            found.append(Term(moves, inner, inner.inputs))
        return found

    def plain(self, part: Node) -> Term | None:
        moves, inner = _moved(part)
        return Term(moves, inner, (inner,)) if self._stackable(inner) else None

    def _stackable(self, node: Node) -> bool:
        return (node in self.backward or node in self.forward) and node not in self._fixed and not self._unbounded(node)


def _moved(node: Node) -> tuple[tuple[Node, ...], Node]:
    """The movements and signs on top of a node, innermost first, and what is under them."""
    moves = []
    while node.op.name in ("permute", "reshape", "negative"):
        moves.append(node)
        node = node.inputs[0]
    return tuple(moves[::-1]), node


def _cheap(node: Node) -> bool:
    return node.op.kind == "structural" or (node.op.kind == "elementwise" and node.op.cost <= CHEAP)
