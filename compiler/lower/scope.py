"""The lowering of one graph: what is stored where, which stages become which kernels, and in what order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..artifact import Target
from ..graph import index, sizes
from ..graph.control import in_order
from ..graph.dtypes import DType
from ..graph.index import IVar
from ..graph.node import Node
from ..graph.sizes import Dim, Extent, Shape
from .announce import announce
from .assembly import assembled, assembly
from .chains import Chain, Chains, chained
from .cuts import Cuts
from .folds import Folding, FoldScheduler
from .follow import followed
from .fuse import Fuser
from .groups import Group
from .ir import (
    Buf,
    Expr,
    Kernel,
    Load,
    Loop,
    Op,
    Run,
    Step,
    Stmt,
    Store,
    expressions,
    row_major,
)  # fmt: skip
from .kept import choose_kept
from .loops import Loops
from .memory import nbytes
from .names import identifier
from .options import Options
from .params import collect_params, looked_up
from .pieces import Iterations, Pieces, UnfitError, cut_plan, find_pieces
from .places import PlaceScheduler
from .positions import PositionScheduler
from .rows import RowScheduler
from .scatter import scatter_kernel
from .sequence import SequenceScheduler
from .sliding import WindowScheduler
from .stages import Stage, make_stage
from .tiles import TileScheduler
from .tiling import Plan, chosen, plan
from .turned import turned
from .vectors import VectorPlan, plan_vector, vector_kernel
from .windows import WindowPlan, plan_windows

FEW = 16  # chunks whose results are added up in one expression
LINE = 64  # bytes of a cache line


@dataclass(eq=False, slots=True)
class Shared:
    """What the lowering of a function and of its loop bodies have in common."""

    target: Target
    options: Options
    tiles: dict[tuple[object, ...], Kernel] = field(default_factory=dict)
    kernels: list[Kernel] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    copies: int = 0
    told: set[Dim] = field(default_factory=set)  # extents that loops bind

    def number(self) -> int:
        """A number for a copy that belongs to no output or update; theirs are positive."""
        self.copies += 1
        return -self.copies

    def unique(self, name: str) -> str:
        """A C identifier that nothing else in the module has."""
        name = stem = identifier(name)
        while name in self.names:
            self.names[stem] += 1
            name = f"{stem}_{self.names[stem] - 1}"
        self.names[name] = 1
        return name


class Scope:
    """The lowering of one graph: the function's, or a loop body's. Answers the schedules' questions about memory."""

    def __init__(
        self, shared: Shared, leaves: Mapping[Node, Buf], outputs: Mapping[Node, Buf], updates: Mapping[Node, Buf],
        deferred: bool, outside: Scope | None = None, fixed: Collection[Buf] = (), loop: Iterations | None = None,
    ) -> None:
        """`outside` is the scope of the loop whose body this is, `fixed` what its iterations leave as it is. With
        `loop` its rows are cut into pieces if they never meet."""
        self.shared, self.deferred = shared, deferred
        self.outside, self.fixed, self.loop = outside, frozenset(fixed), loop
        self.pieces: Pieces | None = None
        self.leaves = dict(leaves)
        self.outputs, self.updates = outputs, updates
        self.buffers: dict[Node, Buf] = {}
        self.copies: list[tuple[Buf, Buf]] = []
        self.gapless: set[Node] = set()
        self.steps: list[Step] = []

    def run(self, roots: Sequence[Node]) -> list[Step]:
        # What checks depend on comes first, so that a failing call has not touched state.
        order = in_order(roots)
        checks = [n for n in order if n.op.name == "check_index"]
        if checks:
            order = in_order([*checks, *roots])
        self.roots = set(roots)
        self.shared.told.update(n["trips"] for n in order if n.op.name == "while" and n["trips"] is not None)
        self.plans: dict[Stage, Plan] = {}
        self.windows: dict[Stage, WindowPlan] = {}
        self.pictures: Kernel | None = None  # the last kernel of windows
        self.vectors: dict[Stage, VectorPlan] = {}
        kept = choose_kept(order, roots, self._packed_operand, self.shared.options.recompute)
        users: dict[Node, int] = {}
        for node in order:
            for operand in node.inputs:
                users[operand] = users.get(operand, 0) + 1

        def once(node: Node) -> bool:
            return users.get(node) == 1 and node not in kept

        stages = []
        for node in order:
            if node not in kept or 0 in node.shape:
                continue
            if assembled(node):
                stages += assembly(node, kept.__contains__, once, self.shared.number)
                continue
            stage = _loop_stage(node) if node.op.kind == "control" else make_stage(node, kept.__contains__, once)
            if node.op.kind == "contraction":
                windows = plan_windows(stage, kept.__contains__, self.shared.target)
                found = self._plan(stage) if windows is None else None
                along = plan_vector(stage) if windows is None and found is None else None
                if windows is not None:
                    self.windows[stage] = windows
                elif found is not None:
                    self.plans[stage] = chosen(found, self.shared.options.choice)
                elif along is not None:
                    self.vectors[stage] = along
            stages.append(stage)
        if self.loop is not None and stages:
            self.pieces = find_pieces(stages, self.loop, self.plans, self.shared.told, self.shared.target)
        if (pieces := self.pieces) is not None:
            self.plans = {s: cut_plan(s, p, pieces, self.shared.target) for s, p in self.plans.items()}
        # New values of variables come last, so that they can replace old ones that nothing reads any more.
        stages.sort(key=lambda s: s.node in self.updates and s.node not in users)
        kinds = {**dict.fromkeys(self.plans, "tile"), **dict.fromkeys(self.vectors, "vector")}
        kinds.update((s, "tile" if p.parts == 1 else "split") for s, p in self.windows.items())
        folding = Folding(stages, roots, self.plans, self.shared.target)
        self.fuser = Fuser(stages, kinds, self._homes(), folding.take)
        self.groups = self.fuser.run()
        self._index_readers()
        self.cuts = Cuts(stages, self.readers, self.roots)
        self.chains: dict[Group, Chain] = {}
        if self.outside is None:
            chains = Chains(self, self.shared.target, self.windows)
            self.groups, self.chains = chains.run(self.groups), chains.found
            self.buffers.update(chains.buffers())
        self.position = 0
        # Not a plain loop: scheduling a group may insert another behind it, which combines chunks.
        while self.position < len(self.groups):
            chain = self.chains.get(self.groups[self.position])
            if chain is not None:
                self._follow(chain)
            else:
                self._schedule(self.groups[self.position])
                self.position += 1
        for source, home in self.copies:
            self._copy(source, home)
        return self.steps

    def _homes(self) -> dict[Node, Node]:
        nodes = {home: node for node, home in self.leaves.items()}
        return {node: nodes[home] for node, home in self.updates.items()}

    def within(
        self, leaves: Mapping[Node, Buf], outputs: Mapping[Node, Buf], roots: Sequence[Node]
    ) -> list[Step]:
        """The steps of an inner graph that is none of a loop."""
        return Scope(self.shared, leaves, outputs, {}, False).run(roots)

    def body(
        self, leaves: Mapping[Node, Buf], outputs: Mapping[Node, Buf], fixed: Collection[Buf], loop: Iterations | None
    ) -> Scope:
        """The scope of a loop's body; `fixed` are the buffers that no iteration changes."""
        return Scope(self.shared, leaves, outputs, {}, False, self, fixed, loop)

    def before_loop(self, value: Expr, dtype: DType, shape: Shape) -> Buf | None:
        """Memory for elements of `value` in another order, which a kernel can fill before the loop whose body this is;
        None outside of loops, where the value changes, and where the order takes much more room."""
        reads = [e.buf for e in expressions([value]) if isinstance(e, Load)]
        if self.outside is None or not reads or not all(self.leaves.get(n) in self.fixed for n in reads):
            return None
        room = 2 * sum(sizes.hint(sizes.product(n.shape)) for n in dict.fromkeys(reads))
        if not all(isinstance(n, int) for n in shape) or sizes.hint(sizes.product(shape)) > room + LINE**2:
            return None
        if looked_up(value) or any(isinstance(e, Op) and e.name == "check_index" for e in expressions([value])):
            return None
        return Buf(self.shared.unique("packed"), dtype, shape, "arena")

    def run_before_loop(self, kernel: Kernel) -> None:
        """Runs a kernel before the loop whose body this is, and those around it that leave alone what it reads."""
        collect_params(kernel)
        reads = {p for p in kernel.params if p not in kernel.writes}
        home = self.outside
        assert home is not None
        while home.outside is not None and reads <= home.fixed:
            home = home.outside
        home.add(kernel)

    def _plan(self, stage: Stage, computed: Collection[int] = ()) -> Plan | None:
        """How a contraction is tiled. Panels are scratch, whose size has to be known before the call: a depth that
        only a loop tells has none."""
        if any(d in self.shared.told for v in stage.reduce for d in sizes.dims_of(v.extent)):
            return None
        return plan(stage, self.shared.target, computed)

    def _packed_operand(self, node: Node, computed: set[int]) -> set[int]:
        """Which operand of a contraction is packed, and so may be computed on the way: of those that nothing has stored
        so far, rather one that would go to main memory and back."""
        def alone(n: Node) -> bool:
            return n is not node

        probe = make_stage(node, alone)
        windows = plan_windows(probe, alone, self.shared.target)
        if windows is not None:
            return {windows.operand} if windows.over_positions else {0, 1}
        found = self._plan(probe, computed)
        return set() if found is None else {1 - found.rows_operand}

    def _index_readers(self) -> None:
        self.readers: dict[Node, set[Stage]] = {}
        for group in self.groups:
            for s in group.stages:
                self._register(s)

    def _register(self, s: Stage) -> None:
        for node, _ in s.reads:
            self.readers.setdefault(node, set()).add(s)
        if s.node.op.kind == "control" and s.node.op.name != "item":
            for node in s.node.inputs:
                self.readers.setdefault(node, set()).add(s)

    def _schedule(self, group: Group) -> None:
        self.group = group
        first = group.stages[0]
        name = self._name(_kernel_name(group))
        if group.kind == "loop":
            Loops(self).lower(first.node, name)
            return
        if self.pieces is not None and (group.kind not in ("row", "tile") or first in self.windows):
            raise UnfitError
        context = (self.fuser.classes, self, self.shared.target)
        if first in self.windows:
            windows = self.windows[first]
            over = PositionScheduler if windows.over_positions else PlaceScheduler
            self._add_tiled(over(group, windows, *context, self.shared.tiles), group)
            self.pictures = self.shared.kernels[-1]
        elif group.kind == "tile":
            make = FoldScheduler if any(s.reduce for s in group.stages[1:]) else TileScheduler
            if self.pieces is not None and make is FoldScheduler:
                raise UnfitError
            self._add_tiled(make(group, self.plans[first], *context, self.shared.tiles), group)
        elif group.kind == "vector":
            self.add(vector_kernel(first, self.vectors[first], self, self.shared.target, name))
        elif group.kind == "scatter":
            self.add(scatter_kernel(first, self, self.shared.target, name))
        elif group.kind == "sequence":
            self.add(SequenceScheduler(first, self, self.shared.target, name).build())
        elif self.pieces is None and first.node not in self.updates and (copy := turned(group, self, name)):
            self.add(copy)
        else:
            self.rows = RowScheduler(group, self.fuser.classes, self, self.shared.target, name)
            self._add_rows(self.rows.build())

    def _add_tiled(self, tiles: TileScheduler | WindowScheduler, group: Group) -> None:
        packing = tiles.packing(self._name("pack"))
        if packing is not None:
            self.add(packing)
        self.add(tiles.build(self._name(_kernel_name(group))))

    def _follow(self, chain: Chain) -> None:
        """Schedules the members of a chain, as one kernel."""
        context = (self.fuser.classes, self, self.shared.target)
        name = self._name(_kernel_name(*chain.axes))
        kernels: list[Kernel] = []
        for group in chain.axes:
            assert self.groups[self.position] is group
            if group.kind == "tile":
                tiles = TileScheduler(group, self.plans[group.stages[0]], *context, self.shared.tiles)
                assert not tiles.apart
                kernels.append(tiles.build(name))
            else:
                kernels.append(RowScheduler(group, *context, name, chain.count).build())
            self.position += 1
        self.add(chained(kernels, chain, self.buffers, name))

    def _name(self, name: str) -> str:
        """The name of the next kernel. A number keeps kernels apart, in order, and clear of names of the C library."""
        return f"k{len(self.shared.kernels)}_{name}"

    def add(self, kernel: Kernel) -> None:
        collect_params(kernel)
        for buf in kernel.params:
            kernel.bytes = sizes.add(kernel.bytes, nbytes(buf))
        announce(kernel)
        self.shared.kernels.append(kernel)
        self.steps.append(Run(kernel))

    def _add_rows(self, kernel: Kernel) -> None:
        """Adds a kernel of rows, to that of the pictures that it reads where these were the last."""
        before = self.steps[-1] if self.steps else None
        if isinstance(before, Run) and before.kernel is self.pictures:
            collect_params(kernel)
            if (both := followed(before.kernel, kernel)) is not None:
                self.steps.pop()
                self.shared.kernels.pop()
                self.pictures = kernel = both
        self.add(kernel)

    def _copy(self, source: Buf, home: Buf) -> None:
        self.add(_copy_kernel(source, home, self._name("copy"), self.shared.target))

    def in_memory(self, node: Node) -> Buf:
        """The buffer of a value that the entry itself addresses: tables of constants lie within kernels."""
        found = self.buffer(node)
        if found.storage != "constant":
            return found
        home = Buf(self.shared.unique("copied"), node.dtype, node.shape, "arena")
        self._copy(found, home)
        return home

    def buffer(self, node: Node | Buf) -> Buf:
        if isinstance(node, Buf):
            return node
        found = self.leaves.get(node) or self.buffers.get(node)
        if found is None:
            if node.op.name == "constant":
                found = Buf(self.shared.unique("table"), node.dtype, node.shape, "constant", array=node["data"].array)
                self.leaves[node] = found
            else:
                found = self._place(node)
        return found

    def external(self, stage: Stage) -> bool:
        """Whether anything outside the stage's group reads it, or any index is looked up in it."""
        if stage.node in self.roots or stage.part is not None or stage.node.op.name == "check_index":
            return True  # a check is made though nothing may read what it gives
        mine = self.fuser.group_of[stage].root()
        return any(
            self.fuser.group_of[r].root() is not mine or stage.node in r.lookups
            for r in self.readers.get(stage.node, ())
        )

    def temporary(self, name: str, dtype: DType, shape: Shape) -> Buf:
        return Buf(self.shared.unique(name), dtype, shape, "arena")

    def result(self, stage: Stage) -> Buf:
        return self.buffer(stage.node if stage.part is None else stage.part.whole)

    def _place(self, node: Node) -> Buf:
        if node in self.outputs:
            found = self.outputs[node]
        elif node in self.updates:
            home = self.updates[node]
            if self._in_place(node, home):
                found = home
            else:
                found = Buf(self.shared.unique(f"new_{home.name}"), node.dtype, node.shape, "arena")
                self.copies.append((found, home))
        else:
            found = Buf(self.shared.unique(_value_name(node)), node.dtype, node.shape, "arena", self.gaps(node))
        self.buffers[node] = found
        return found

    def contiguous(self, node: Node) -> bool:
        """Whether a node's memory has no gaps; what is not placed yet is then kept without."""
        found = self.leaves.get(node) or self.buffers.get(node)
        if found is None:
            self.gapless.add(node)
            return True
        return found.strides == row_major(found.shape)

    def gaps(self, node: Node) -> tuple[Extent, ...]:
        """The strides of a value: rows of a power of two bytes fall into few sets of a cache, and get a gap of a line.

        Not where a loop or a flat walk takes the array as one piece, and not where axes are merged in reading it.
        """
        strides = row_major(node.shape)
        row = node.shape[-1] * node.dtype.itemsize if node.shape and isinstance(node.shape[-1], int) else 1
        if len(node.shape) < 2 or row % 1024 or node in self.gapless or node in self.roots:
            return strides
        for reader in self.readers.get(node, ()):
            if reader.node.op.kind in ("control", "scatter"):
                return strides
            tiling = self.plans.get(reader)
            together = () if tiling is None else (tiling.rows, tiling.depth)
            for read, at in reader.reads:
                if read is not node:
                    continue
                if any(len(i.terms) > 1 or (i.terms and i.as_var() is None) for i in at):
                    return strides
                if any(at[-1].as_var() in axes and at[-2].as_var() in axes for axes in together):
                    return strides
        return (*row_major((*node.shape[:-1], strides[-2] + LINE // node.dtype.itemsize))[:-1], 1)

    def _in_place(self, node: Node, home: Buf) -> bool:
        """Whether the new value may overwrite the variable: all other reads of the old one are done by then."""
        if self.deferred or self.fuser.maker[node].parts:
            return False
        variable = next(n for n, b in self.leaves.items() if b is home)
        maker = self.fuser.maker[node]
        identity = {self.fuser.classes.find(v) for v in maker.axes}
        for reader in self.readers.get(variable, ()):
            group = self.fuser.group_of[reader].root()
            number = self.groups.index(group)
            if number > self.position:
                return False
            if number < self.position:
                continue
            if group.kind == "tile":
                if reader in self.plans or reader in self.windows:
                    return False
            elif group.kind != "row" or self.rows.nest_of[reader].level > self.rows.nest_of[maker].level:
                return False
            elif reader is not maker and self.rows.nest_of[reader] is not self.rows.nest_of[maker] and (
                self.rows.nests.index(self.rows.nest_of[reader]) > self.rows.nests.index(self.rows.nest_of[maker])
            ):
                return False
            for read, at in reader.reads:
                if read is not variable:
                    continue
                for axis, i in zip(maker.axes, at, strict=True):
                    v = i.as_var()
                    if axis.extent != 1 and (v is None or self.fuser.classes.find(v) is not
                                             self.fuser.classes.find(axis)):
                        return False
            if {self.fuser.classes.find(v) for v in reader.axes} != identity or reader.reduce:
                return False
        return True

    def partial(self, stage: Stage, chunks: Extent) -> Buf:
        """Memory for a reduction's chunks, and the stage that combines them, in the kernel that wants it first."""
        buf = Buf(self.shared.unique(f"{_value_name(stage.node)}_parts"), stage.node.dtype,
                  (chunks, *stage.node.shape), "arena")
        axes = tuple(IVar(f"i{k}", n) for k, n in enumerate(stage.node.shape))
        combining = "add" if stage.combine == "fma" else stage.combine
        over: tuple[IVar, ...] = (IVar("part", chunks),)
        parts = [index.of(over[0])]
        if isinstance(chunks, int) and chunks <= FEW and combining in ("add", "mul", "max"):
            over, parts = (), [index.of(k) for k in range(chunks)]
        # The buffer stands where other stages have a node; it has a shape as they do.
        reads: list[Any] = [(buf, (part, *(index.of(v) for v in axes))) for part in parts]
        value: Expr = Load(buf, reads[0][1], stage.node.dtype)
        for _, at in reads[1:]:
            value = Op(combining or "add", (value, Load(buf, at, stage.node.dtype)), stage.node.dtype)
        combine = Stage(stage.node, axes, over, combining if over else None, value, reads, len(parts), len(parts),
                        combines=True)
        self._insert(combine, stage)
        return buf

    def _insert(self, combine: Stage, stage: Stage) -> None:
        fuser = self.fuser
        fuser.maker[stage.node] = combine
        readers = self.readers.get(stage.node, set())
        for group in self.groups[self.position + 1 :]:
            if any(s in readers for s in group.stages):
                if group.kind == "row" and fuser.prepend(group, combine):
                    return
                break
        group = Group("row", [combine], -1, ops=2)
        group.frame = fuser.frame([combine])
        fuser.group_of[combine] = group
        self.groups.insert(self.position + 1, group)


def _loop_stage(node: Node) -> Stage:
    return Stage(node, (), (), None, Load(node, (), node.dtype), [], 0, 1)


def _value_name(node: Node) -> str:
    return {"contract": "product", "add": "sum_", "sum": "total"}.get(node.op.name, node.op.name)


def _kernel_name(*groups: Group) -> str:
    """Names what a kernel does by its most telling operations, at most three."""
    names: list[str] = []
    for group in groups:
        first = len(names)
        names += [_value_name(s.node if s.part is None else s.part.whole).rstrip("_") for s in group.stages]
        if group.kind in ("tile", "split"):
            names[first] = "matmul"
    distinct = list(dict.fromkeys(n for n in names if n not in ("copy", "cast")))
    return "_".join(distinct[:3]) or "copy"


def _copy_kernel(source: Buf, home: Buf, name: str, target: Target) -> Kernel:
    n = sizes.product(home.shape)
    v = IVar("i", n)
    at = (*(index.ZERO,) * (len(home.shape) - 1), index.of(v)) if home.shape else ()
    body: list[Stmt] = [Store(home, at, Load(source, at, home.dtype))]
    lanes = target.vector_bytes // max(4, home.dtype.itemsize)
    loop = [Loop(v, index.ZERO, index.of(n), "vec", body, lanes)] if home.shape else body
    kernel = Kernel(name, [], set(), 1, list(loop))
    kernel.title = f"{home.name} = {source.name}"
    return kernel
