"""Extrema over the rows of a contraction, found as its tiles are finished: the product itself is never stored.

A maximum, or its position, goes through the rows of a tile plan in order, with the columns as lanes. No sum does: its
tree must not depend on what it is fused with.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..artifact import Target
from ..graph import index, sizes
from ..graph.dtypes import INT64
from ..graph.index import Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .blocks import depth_step
from .epilogue import placed
from .instantiate import Shared, place_index
from .ir import Buf, Const, Expr, Kernel, Load, Loop, Reduce, Stmt, Store
from .schedule import clear, identity_of, lanes_for
from .stages import Stage
from .tiles import TileScheduler
from .tiling import Plan, narrower, orientations

PANELS = 8  # panels of columns that keep a few cores busy


class Folding:
    """Which stages fold into the contractions of a program."""

    def __init__(
        self, stages: Sequence[Stage], roots: Collection[Node], plans: dict[Stage, Plan], target: Target
    ) -> None:
        self.roots, self.plans, self.target = frozenset(roots), plans, target
        self.readers: dict[Node, list[Stage]] = {}
        for s in stages:
            for node, _ in s.reads:
                self.readers.setdefault(node, []).append(s)

    def take(self, stage: Stage, first: Stage, members: Collection[Stage]) -> bool:
        """Whether a stage, or all that read it if it is elementwise, can follow a contraction and its epilogue, whose
        values nothing else needs. The plan of the contraction then has the axes that they reduce as its rows."""
        if first not in self.plans:
            return False
        made = {s.node for s in members if s is first or not s.reduce}
        if stage.reduce and not any(node in made for node, _ in stage.reads):
            return False
        rows: tuple[int, ...] | None = None
        for producer in (*members, stage):
            if producer.reduce and producer is not first:
                continue
            if producer.node in self.roots or not _in_place(producer, first, members):
                return False
            for reader in self.readers.get(producer.node, ()):
                if reader in members or (reader is stage and not stage.reduce):
                    continue
                over = reduced_by(reader, producer)
                if over is None or rows not in (None, over):
                    return False
                rows = over
        if rows is None:
            return False
        found = plan_over(first, tuple(first.axes[k] for k in rows), self.target)
        if found is None:
            return False
        self.plans[first] = found
        return True


def _in_place(stage: Stage, first: Stage, members: Collection[Stage]) -> bool:
    """Whether the axes of a stage are those of a contraction, one by one."""
    made = {s.node for s in members}
    own = tuple(index.of(v) for v in stage.axes)
    return stage is first or (
        stage.node.shape == first.node.shape and all(at == own for node, at in stage.reads if node in made)
    )


def reduced_by(stage: Stage, producer: Stage) -> tuple[int, ...] | None:
    """The axes of a producer's value over which a stage takes an extremum, in its order; None unless it is one, and
    reads every element once, in the producer's own loops."""
    # What the others give depends on the order, a maximum not, and its position on the first of equals alone.
    if stage.node.op.kind != "reduction" or stage.combine not in ("max", "argmax") or not stage.axes:
        return None
    found: tuple[int, ...] | None = None
    for node, at in stage.reads:
        if node is not producer.node:
            continue
        number = {i.as_var(): k for k, i in enumerate(at)}
        if len(number) != len(at) or number.keys() != set(stage.loop_axes):
            return None
        # Lanes are the columns, whose order among themselves must be that of the result.
        if [number[v] for v in stage.axes] != sorted(number[v] for v in stage.axes):
            return None
        axes = tuple(number[v] for v in stage.reduce)
        if found not in (None, axes):
            return None
        found = axes
    return found


def plan_over(stage: Stage, rows: tuple[IVar, ...], target: Target) -> Plan | None:
    """A plan for a contraction with these axes as rows, all of them, which one panel after the other goes through."""
    for plan in orientations(stage, target):
        found = narrower(plan)  # a chunk is one panel, and cores want several
        depth = sizes.product(v.extent for v in found.depth)
        whole = isinstance(depth, int) and depth_step(depth, found.width, stage.node.dtype.itemsize) == depth
        whole = whole and all(v.extent == 1 for v in found.outer) and all(isinstance(v.extent, int) for v in rows)
        panels = sizes.product(v.extent for v in (*found.batch, *found.columns))
        if found.rows == rows and whole and sizes.hint(panels) >= PANELS * found.width:
            return found
    return None


class FoldScheduler(TileScheduler):
    """Builds the kernel of a contraction, its epilogue, and extrema over its rows: one chunk is a panel, all rows."""

    def build(self, name: str) -> Kernel:
        p = self.plan
        self.best: dict[Stage, tuple[Buf, Buf | None]] = {}
        before: list[Stmt] = []
        for k, s in enumerate(self._folding()):
            best = Buf(f"best{k}", s.value.dtype, (p.width,), "scratch")
            where = Buf(f"where{k}", INT64, (p.width,), "scratch") if s.combine == "argmax" else None
            self.best[s] = best, where
            before.append(clear(best, identity_of("max", best.dtype), self.target))
            if where is not None:
                # Where nothing is greater than the start, the first position is the right one.
                before.append(clear(where, Const(0, INT64), self.target))
        kernel = super().build(name)
        kernel.scratch += [b for pair in self.best.values() for b in pair if b is not None]
        (chunk,) = kernel.body
        assert isinstance(chunk, Loop)
        chunk.body = [*before, *chunk.body, *self._results()]
        return kernel

    def _folding(self) -> list[Stage]:
        return [s for s in self.group.stages if s.reduce and s is not self.stage]

    def _packs_apart(self) -> bool:
        return False  # a chunk folds all rows

    def _cut(self, batch: Extent, reduced: int) -> tuple[int, int]:
        assert isinstance(self.m, int)
        return self.m, 1

    def _places(self, row: Index, column: Index) -> dict[IVar, Index]:
        """The index of every class of axes for a row and a column of the whole product."""
        p = self.plan
        values = dict(self.batch_at)
        values.update(zip(p.rows, index.unflatten(row, tuple(v.extent for v in p.rows)), strict=True))
        values.update(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
        return {self.classes.find(v): at for v, at in values.items()}

    def _epilogue(
        self, tile: Buf, first: Index, hi: Index, left: Index | None, row: Index, height: Index, limit: Index | None
    ) -> list[Stmt]:
        i, j = IVar("i", height.const), IVar("j", hi.const)
        by_class = self._places(index.add(index.add(self.first_row, row), index.of(i)), index.add(first, index.of(j)))
        local: dict[Node, Expr] = {self.stage.node: Load(tile, (index.of(i), index.of(j)), tile.dtype)}
        shared = Shared()
        body: list[Stmt] = []
        for s in self.group.stages:
            mine = {v: by_class[self.classes.find(v)] for v in s.loop_axes if self.classes.find(v) in by_class}
            if s is not self.stage:
                local[s.node] = placed(s.value, mine, self.place, local, shared)
            if s in self.best:
                best, where = self.best[s]
                position = None if s.position is None else place_index(s.position, mine, self.place.buffer)
                body.append(Reduce(best, (index.of(j),), s.combine or "max", local.pop(s.node), where, position))
            elif self.place.external(s):
                body.append(Store(self.place.result(s), s.stored_at([mine[v] for v in s.axes]), local[s.node]))
        inner = Loop(j, index.ZERO, hi, "vec", body, lanes_for(body, self.target), limit=left)
        return [Loop(i, index.ZERO, height, "seq", [inner], limit=limit)]

    def _results(self) -> list[Stmt]:
        j = IVar("j", self.plan.width)
        by_class = self._places(index.ZERO, index.add(self.first_column(index.ZERO), index.of(j)))
        body: list[Stmt] = []
        for s, (best, where) in self.best.items():
            at = s.stored_at([by_class[self.classes.find(v)] for v in s.axes])
            source = best if where is None else where
            body.append(Store(self.place.result(s), at, Load(source, (index.of(j),), source.dtype)))
        even = isinstance(self.n, int) and self.n % self.plan.width == 0
        left = None if even else self._columns_left(index.ZERO)
        lanes = lanes_for(body, self.target)
        return [Loop(j, index.ZERO, index.of(self.plan.width), "vec", body, lanes, limit=left)]
