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
from .residuals import combine_residuals
from .written import combined, elements, is_written_out, joined, narrowed

VIEWS = frozenset({"reshape", "permute", "broadcast", "slice", "diagonal", "stop_gradient", "hook", "after"})
CHEAP = 4  # flops up to which a value of several users is computed again rather than kept
STENCIL = 16  # the same where it is read at shifted places, which no kernel that stores it could share with its users
ROW = 16  # elements of a row over which what is the same for all of them costs next to nothing
LONGEST = 120  # operations that one expression may hold
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
            self.ops, self.cost = self.ops + 4 * len(values), self.cost + 4 * len(values)
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


def choose_kept(
    order: Sequence[Node], roots: Sequence[Node], inlined_operands: Callable[[Node, set[int]], set[int]],
    recompute: str = "cheap",
) -> set[Node]:
    """The nodes that are stored or reduced rather than computed where they are used.

    `inlined_operands` tells which operands of a contraction may be computed while packing, given those that nothing
    has stored so far. `recompute` is "cheap", or "all" to inline whatever can be (for tests: a recomputed value is
    bit-equal to a stored one).
    """
    kept = set(roots)
    uses: dict[Node, int] = {}
    for node in reversed(order):
        mine = uses.get(node, 0)
        for operand in dict.fromkeys(node.inputs):
            uses[operand] = uses.get(operand, 0) + (max(1, mine) if node.op.name in VIEWS else 1)
    shifted = _shifted(order)
    cost: dict[Node, int] = {}
    flops: dict[Node, int] = {}  # without what it takes to find the place of an element
    count: dict[Node, int] = {}
    epilogue: dict[Node, bool] = {}
    level: dict[Node, int] = {}  # sums, contractions and other steps that come before, one after the other
    remade: set[Node] = set()

    def keep_source(node: Node) -> None:
        source = through_views(node)
        if source.op.kind != "leaf":
            kept.add(source)
            cost[source] = flops[source] = count[source] = 0

    for node in order:
        op = node.op
        step = op.kind not in ("elementwise", "structural", "leaf")
        level[node] = max((level[i] for i in node.inputs), default=0) + step
        if op.kind == "leaf":
            cost[node] = flops[node] = count[node] = 0
            continue
        flops[node] = (op.cost if op.kind == "elementwise" else 0) + sum(flops[i] for i in node.inputs)
        spent = op.cost if op.kind == "elementwise" else 0 if op.name in VIEWS else 2 * len(node.inputs)
        cost[node] = spent + sum(cost[i] for i in node.inputs)
        count[node] = 1 + sum(count[i] for i in node.inputs)
        if is_written_out(node):
            several = sizes.product(node.inputs[0].shape[a] for a in node["axes"])
            count[node] = several * (4 + count[node.inputs[0]])  # type: ignore[assignment]
            if count[node] > LONGEST:
                keep_source(node.inputs[0])
        if op.name == "argmax" and is_written_out(node) and cost[node.inputs[0]] == 0 and uses.get(node, 0) == 1:
            # Found again for every element of a window, from what lies side by side.
            remade.add(node)
        elif op.kind in ("reduction", "contraction", "scatter", "sequence", "control") or op.name == "check_index":
            kept.add(node)
        if op.kind == "contraction":
            computed = {k for k, operand in enumerate(node.inputs) if cost[operand] > 0}
            packed = inlined_operands(node, computed) if computed else set()
            for k, operand in enumerate(node.inputs):
                # A concatenation costs less in memory than as a choice for every element.
                joined = through_views(operand).op.name == "concat"
                if joined or k in computed - packed:
                    keep_source(operand)
        elif op.kind == "control":
            for operand in node.inputs:
                # A loop's operands are handed over as whole arrays.
                if operand.op.kind != "leaf" or operand.op.name in ("literal", "iota", "extent"):
                    kept.add(operand)
        elif op.kind == "scatter" or op.name in ("searchsorted", "take"):
            where = node.inputs[1 if op.name == "take" else 0]
            if where.op.kind != "leaf" or where.op.name in ("literal", "iota", "extent"):
                kept.add(where)
            if op.name == "take" and cost[node.inputs[0]] > CHEAP:
                keep_source(node.inputs[0])
        elif op.name == "after":
            for trigger in node.inputs[1:]:
                keep_source(trigger)
        elif op.name == "windows" and recompute != "all":
            # Every element lies in several windows.
            if cost[node.inputs[0]] > CHEAP:
                keep_source(node.inputs[0])
                cost[node] = 0
        elif op.name == "broadcast" and recompute != "all":
            x = node.inputs[0]
            if cost[x] > CHEAP and x not in remade and sizes.product(x.shape) != sizes.product(node.shape):
                keep_source(x)
                cost[node] = 0
            elif node.shape and len(node.shape) - 1 not in node["axes"] and sizes.hint(node.shape[-1]) >= ROW:
                cost[node] = 0  # once for a row
        if op.kind == "elementwise":
            # What can leave a contraction with its result is stored in place of it, unless it waits for more; what is
            # made of that is judged by what it costs, like anything else.
            epilogue[node] = any(
                (i.op.kind == "contraction" or (epilogue.get(i, False) and i not in kept)) and i.shape == node.shape
                and level[i] == level[node]
                for i in node.inputs
            )
            if epilogue[node] and uses.get(node, 0) > 1 and recompute != "all":
                kept.add(node)
        if op.name not in VIEWS:
            again = recompute == "all" or cost[node] <= CHEAP or (node in shifted and flops[node] <= STENCIL)
            if (uses.get(node, 0) > 1 and not again) or count[node] > LONGEST:
                kept.add(node)
        if node in kept:
            cost[node] = flops[node] = count[node] = 0
    return kept if recompute == "all" else combine_residuals(order, kept)


def _shifted(order: Sequence[Node]) -> set[Node]:
    """Values that others, through elementwise operations and shifts alone, read at a shifted place."""
    found: set[Node] = set()
    for node in reversed(order):
        if _is_shift(node) or (node.op.kind == "elementwise" and node in found):
            found.update(i for i in node.inputs if i.op.kind == "elementwise" or _is_shift(i))
    return found


def _is_shift(node: Node) -> bool:
    """Whether nearly all of an array is another one in a different place."""
    if node.op.name != "concat":
        return node.op.name in ("slice", "pad")
    axis = node["axis"]
    return 8 * max(sizes.hint(x.shape[axis]) for x in node.inputs) >= 7 * sizes.hint(node.shape[axis])


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
            expander.ops, expander.cost = expander.ops + 4 * len(values), expander.cost + 4 * len(values)
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
