"""graph → stages: which values are stored or reduced, and the scalar expression that computes each of their elements.

A stage computes one kept node. Everything between kept nodes is inlined: an elementwise node becomes an operation, a
structural node only changes the index at which its operand is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph import contraction, index, sizes
from ..graph.dtypes import is_float
from ..graph.index import Guard, Index, IVar, Lookup
from ..graph.node import Node
from ..graph.sizes import Extent
from .ir import Const, Expr, Guarded, IndexValue, Load, Op
from .written import COMBINING, combined, elements, is_written_out, joined, narrowed

VIEWS = frozenset({"reshape", "permute", "broadcast", "slice", "diagonal", "stop_gradient", "hook", "after"})
GRAIN = 4096  # elements of a chunk of rows at least
CHUNKS = 64  # most chunks of a kernel of known size
FEW = 8  # rows up to which their sum is taken column by column


@dataclass(frozen=True, slots=True)
class Part:
    """Where a value lies within a concatenation: from `start` on along `axis`."""

    whole: Node
    axis: int
    start: Extent


@dataclass(eq=False, slots=True)
class Stage:
    """One kept value as a loop nest: for every `axes` point, `value` (combined over the `reduce` variables).

    `reads` are the kept or leaf nodes that the value is made of, with the index of each read; `lookups` are those of
    them that serve as indices, and so have to be in memory. `target` (scatter) is the index written, where it is not
    simply `axes`. `after` are nodes that are not read but have to be there first. A `part` of a concatenation has its
    place there; the concatenation itself has `parts` and nothing to compute.
    """

    node: Node
    axes: tuple[IVar, ...]
    reduce: tuple[IVar, ...]
    combine: str | None
    value: Expr
    reads: list[tuple[Node, tuple[Index, ...]]]
    ops: int
    cost: int
    target: tuple[Index, ...] | None = None
    position: Index | None = None
    factors: tuple[Expr, ...] | None = None  # the operands of a contraction or recurrence
    combines: bool = False  # adds up the chunks of another stage
    lookups: frozenset[Node] = frozenset()
    after: frozenset[Node] = frozenset()
    part: Part | None = None
    parts: tuple[Node, ...] = ()

    def stored_at(self, at: Sequence[Index]) -> tuple[Index, ...]:
        """Where element `at` of the value lies in the array that holds it."""
        if self.part is None or self.part.start == 0:
            return tuple(at)
        start = index.of(self.part.start)
        return tuple(index.add(i, start) if k == self.part.axis else i for k, i in enumerate(at))

    @property
    def loop_axes(self) -> tuple[IVar, ...]:
        return (*self.axes, *self.reduce)

    def walks(self) -> dict[IVar, int]:
        """How many elements lie one after the other along each axis, less those that lie apart; the result counts."""
        found = dict.fromkeys((v for v in self.loop_axes if v.extent != 1), 0)
        own = [] if self.target is not None else [(self.node, tuple(index.of(v) for v in self.axes))]
        for node, at in dict.fromkeys([*self.reads, *own]):
            offset = index.linear(at, node.shape)
            elements = sizes.hint(sizes.product(node.shape))
            for v in found:
                stride = offset.affine_in(v)
                if stride != 0:
                    found[v] += elements if stride == 1 else -elements
        return found

    def work(self) -> int:
        total = max(1, self.cost)
        for v in self.loop_axes:
            total *= sizes.hint(v.extent)
        return total


def rows_in_chunk(rows: Extent, per_row: int) -> int:
    """How many rows of `per_row` elements make a chunk. It follows from shapes alone, for the order in which a sum
    over rows is taken follows from it: what else a kernel computes must not change that."""
    count = max(1, -(-GRAIN // max(1, per_row)))
    if isinstance(rows, int):
        if -(-rows // count) > CHUNKS:
            count = -(-rows // CHUNKS)
        count = min(count, max(rows, 1))
    return count


def in_chunks(stage: Stage) -> bool:
    """Whether a stage sums the leading axes of an array, over so many rows that chunks of them are summed apart."""
    node = stage.node
    if node.op.kind != "reduction" or not stage.axes or stage.combines or stage.combine == "argmax":
        return False
    if tuple(node["axes"]) != tuple(range(len(stage.reduce))):
        return False
    rows = sizes.product(v.extent for v in stage.reduce)
    per_row = sizes.hint(sizes.product(v.extent for v in stage.axes))
    return not isinstance(rows, int) or rows > max(FEW, rows_in_chunk(rows, per_row))


class Expander:
    """Builds scalar expressions, inlining until kept nodes and leaves; equal (node, index) give one object."""

    def __init__(self, kept: Callable[[Node], bool]) -> None:
        self.kept = kept
        self.memo: dict[tuple[Any, ...], Expr] = {}
        self.reads: list[tuple[Node, tuple[Index, ...]]] = []
        self.lookups: set[Node] = set()
        self.after: set[Node] = set()
        self.ops = 0
        self.cost = 0

    def expand(self, root: Node, at: tuple[Index, ...], guards: tuple[Guard, ...] = (), top: bool = False) -> Expr:
        """The expression for element `at` of `root`; every read under it happens only where `guards` hold."""
        start = (root, at, guards, top)
        stack: list[tuple[tuple[Any, ...], bool]] = [(start, False)]
        while stack:
            key, expanded = stack.pop()
            if key in self.memo:
                continue
            parts = self._parts(*key)
            if not expanded:
                stack.append((key, True))
                stack.extend((part, False) for part, _ in parts if part not in self.memo)
            else:
                self.memo[key] = self._combine(key, parts)
        return self.memo[start]

    def _parts(
        self, node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], top: bool
    ) -> list[tuple[tuple[Any, ...], tuple[Guard, ...]]]:
        if node.op.kind == "leaf" or (self.kept(node) and not top):
            return []
        if node.op.kind == "elementwise":
            return [((operand, at, guards, False), ()) for operand in node.inputs]
        if node.op.kind == "reduction":
            return [((node.inputs[0], i, guards, False), ()) for i in elements(node, at)]
        assert node.op.access is not None, node
        if node.op.name == "after":
            self.after.update(through_views(i) for i in node.inputs[1:])
        return [
            ((node.inputs[a.operand], a.index, _merge(guards, a.guards), False), a.guards)
            for a in node.op.access(node, at)
        ]

    def _combine(self, key: tuple[Any, ...], parts: list[tuple[tuple[Any, ...], tuple[Guard, ...]]]) -> Expr:
        node, at, guards, _ = key
        dtype = node.dtype
        if node.op.name == "literal":
            return Const(node["value"], dtype)
        if node.op.name == "extent":
            return IndexValue(index.of(node["extent"]), dtype)
        if node.op.name == "iota":
            self._look_up([at[node["axis"]]])
            return IndexValue(at[node["axis"]], dtype)
        if not parts:
            self._read(node, at)
            return Load(node, at, dtype, guards, Const(0, dtype) if guards else None)
        values = [self.memo[part] for part, _ in parts]
        if node.op.kind == "reduction":
            self.ops, self.cost = self.ops + COMBINING * len(values), self.cost + COMBINING * len(values)
            return combined(node, values, node.op.combine or "add")
        if node.op.kind == "elementwise":
            self.ops += 1
            self.cost += node.op.cost
            attr: Any = None
            name = node.op.lanes or node.op.name
            if node.op.name == "cast":
                attr = node.inputs[0].dtype
            elif node.op.name == "check_index":
                attr = node
            elif node.attrs:
                name = f"{name}{node.attrs[0]}"
            return narrowed(Op(name, tuple(values), dtype, attr))
        result = values[-1]
        for value, (_, own) in zip(reversed(values[:-1]), reversed(parts[:-1]), strict=True):
            self._look_up([g.index for g in own])
            if isinstance(value, Load) and value.guards == own:
                result = Load(value.buf, value.index, dtype, own, result)
            else:
                result = Guarded(own, value, result, dtype)
            self.ops += 1
            self.cost += 2
        return result

    def _read(self, node: Node, at: tuple[Index, ...]) -> None:
        self.reads.append((node, at))
        self._look_up(at)

    def _look_up(self, at: Sequence[Index]) -> None:
        """Notes the reads that indices themselves make."""
        pending = list(at)
        while pending:
            for atom, _ in pending.pop().terms:
                if isinstance(atom, Lookup):
                    self.reads.append((atom.key[0], atom.key[1]))
                    self.lookups.add(atom.key[0])
                    pending.extend(atom.key[1])
                elif not isinstance(atom, IVar):
                    pending.append(atom.key[0])


def _merge(a: tuple[Guard, ...], b: tuple[Guard, ...]) -> tuple[Guard, ...]:
    return (*a, *(g for g in b if g not in a)) if b else a


def through_views(node: Node) -> Node:
    while node.op.name in VIEWS:
        node = node.inputs[0]
    return node


def make_stage(node: Node, kept: Callable[[Node], bool], once: Callable[[Node], bool] = lambda n: False) -> Stage:
    """The loop nest of one kept node. `once` tells nodes with a single user in the graph."""
    expander = Expander(kept)
    kind = node.op.kind
    axes = tuple(IVar(f"i{k}", n) for k, n in enumerate(node.shape))
    at = tuple(index.of(v) for v in axes)
    reduce: tuple[IVar, ...] = ()
    target: tuple[Index, ...] | None = None
    position: Index | None = None
    factors: tuple[Expr, ...] | None = None
    combine = node.op.combine
    if kind == "reduction":
        x, summed = node.inputs[0], node["axes"]
        reduce = () if is_written_out(node) else tuple(IVar(f"r{k}", x.shape[a]) for k, a in enumerate(summed))
        values = [expander.expand(x, i) for i in (elements(node, at) if not reduce else [joined(node, at, reduce)])]
        if x.dtype != node.dtype and combine in ("add", "mul"):
            values = [Op("cvt", (v,), node.dtype, x.dtype) for v in values]
        if combine == "add" and all(isinstance(v, Op) and v.name == "mul" for v in values) and once(x) and (
            is_float(node.dtype)
        ):
            # A product that only this sum needs goes into it with one rounding. That is a property of the graph, so
            # no schedule changes the bits.
            values, combine = [Op("pair", v.args, node.dtype) for v in values if isinstance(v, Op)], "fma"
        value = values[0]
        if is_written_out(node):
            value, combine = combined(node, values, combine or "add"), None
            taken = COMBINING * len(values)
            expander.ops, expander.cost = expander.ops + taken, expander.cost + taken
        if combine == "argmax":
            position = index.linear([index.of(v) for v in reduce], tuple(v.extent for v in reduce))
    elif kind == "contraction":
        extents, n_out = node["extents"], node["n_out"]
        reduce = tuple(IVar(f"r{k}", n) for k, n in enumerate(extents[n_out:]))
        loads = contraction.loads(node, (*axes, *reduce))
        factors = tuple(
            _zero_outside(expander.expand(node.inputs[a.operand], a.index, a.guards), a.guards) for a in loads
        )
        # Every product goes into the sum with one rounding, whichever schedule runs it; a sum of one is the product.
        value, combine = Op("pair", factors, node.dtype), "fma"
        if all(v.extent == 1 for v in reduce):
            value, combine, factors = Op("mul", factors, node.dtype), "add", None
        expander.ops, expander.cost = expander.ops + 1, expander.cost + 2
    elif kind == "scatter":
        idx, updates = node.inputs
        axis, rank = node["axis"], len(idx.shape)
        axes = tuple(IVar(f"i{k}", n) for k, n in enumerate(updates.shape))
        at = tuple(index.of(v) for v in axes)
        where = index.lookup(idx, at[axis : axis + rank], node["extent"])
        target = (*at[:axis], where, *at[axis + rank :])
        reduce = axes[axis : axis + rank]
        axes = (*axes[:axis], *axes[axis + rank :])
        value = expander.expand(updates, at)
        expander._read(idx, at[axis : axis + rank])
        expander.lookups.add(idx)
    elif node.op.name == "recurrence":
        factors = tuple(expander.expand(operand, at) for operand in node.inputs)
        value = Op("mul", factors, node.dtype)
        expander.ops, expander.cost = expander.ops + 2, expander.cost + 2
    elif kind == "sequence":
        value = expander.expand(node.inputs[-1], at)
        expander.ops, expander.cost = expander.ops + 1, expander.cost + node.op.cost
        if node.op.name == "searchsorted":
            # All of it is read, from memory.
            expander._read(node.inputs[0], (index.ZERO,))
            expander.lookups.add(node.inputs[0])
    else:
        value = expander.expand(node, at, top=True)
    reads = list(dict.fromkeys(expander.reads))
    return Stage(
        node, axes, reduce, combine, value, reads, expander.ops, expander.cost, target, position, factors,
        lookups=frozenset(expander.lookups), after=frozenset(expander.after),
    )


def assembly_stage(node: Node, parts: Sequence[Node]) -> Stage:
    """Stands for a concatenation whose parts are stored by stages of their own."""
    return Stage(node, (), (), None, Load(node, (), node.dtype), [], 0, 1, parts=tuple(parts))


def _zero_outside(value: Expr, guards: tuple[Guard, ...]) -> Expr:
    """A contraction's operand counts as 0 outside its array; guarded reads already do."""
    if not guards or isinstance(value, Load):
        return value
    return Guarded(guards, value, Const(0, value.dtype), value.dtype)
