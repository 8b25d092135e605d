"""Tile schedule: contractions with reuse of both operands, as register tiles over a packed panel.

The panel is packed, and its prologue applied, per block of depth. Tiles go through a small buffer to the epilogue, an
ordinary loop nest over the tile, so that bounds, transposed results and any fused tail need no tile of their own.
"""

from __future__ import annotations

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .fuse import Classes, Group
from .instantiate import Shared, instantiate
from .ir import Buf, Call, Const, Expr, Guarded, Kernel, Load, Loop, Stmt, Store
from .microkernel import tile_kernel
from .schedule import Placement, lanes_for
from .tiling import Plan, merged_stride

PANEL_BYTES = 32768  # what a packed panel may take of the first cache
SERIAL = 1 << 19  # flops below which one core is as fast as several
PANELS = 8  # chunks to aim at where the columns alone give fewer
BLOCK = 1 << 17  # flops below which a chunk is not worth packing its panel once more
TALL = 16  # tiles of a chunk when the number of rows is not known



class TileScheduler:
    """Builds the kernel of a contraction and its epilogue."""

    def __init__(
        self, group: Group, plan: Plan, classes: Classes, place: Placement, target: Target, name: str,
        tiles: dict[tuple[object, ...], Kernel],
    ) -> None:
        self.group, self.plan, self.classes, self.place, self.target = group, plan, classes, place, target
        self.stage = group.stages[0]
        self.kernel = Kernel(name, [], set(), 1, [])
        self.tiles = tiles

    def build(self) -> Kernel:
        p = self.plan
        dtype = self.stage.node.dtype
        m = sizes.product(v.extent for v in p.rows)
        n = sizes.product(v.extent for v in p.columns)
        panels = sizes.ceildiv(n, p.width)
        batch = sizes.product(v.extent for v in p.batch)
        block, blocks = self._row_blocks(m, sizes.mul(batch, panels))
        chunks = sizes.product((batch, panels, blocks))
        self.kernel.chunks = chunks
        self.chunk = IVar("chunk", chunks)
        b_at, panel, block_at = index.unflatten(index.of(self.chunk), (batch, panels, blocks))
        self.batch_at = dict(
            zip(p.batch, index.unflatten(b_at, tuple(v.extent for v in p.batch)), strict=True)
        )
        self.first_column = index.scale(panel, p.width)
        self.first_row = index.scale(block_at, block)
        self.block = block
        depth = sizes.product(v.extent for v in p.depth)
        step = depth
        most = PANEL_BYTES // (p.width * dtype.itemsize)
        if isinstance(depth, int) and depth > most * 3 // 2:
            step = -(-depth // -(-depth // most))
        self.depth, self.depth_step = depth, step
        several = (bool(p.outer) and sizes.product(v.extent for v in p.outer) != 1) or step != depth
        self.panel = Buf("panel", dtype, (step, p.width), "scratch")
        rows_here = min(block, m) if isinstance(m, int) and isinstance(block, int) else block
        tile_shape: tuple[Extent, ...] = (rows_here, p.width) if several else (p.tile_rows, p.width)
        self.tile = Buf("tile", dtype, tile_shape, "scratch")
        self.kernel.scratch = [self.panel, self.tile]
        self.n, self.m = n, m
        body = self._several() if several else [*self._pack(index.ZERO, {}, depth), *self._row_loop(True, depth)]
        self.kernel.body = [Loop(self.chunk, index.ZERO, index.of(chunks), "chunk", body)]
        self.kernel.nodes = [s.node for s in self.group.stages]
        self.kernel.flops = sizes.mul(2, sizes.product(v.extent for v in self.stage.loop_axes))
        self.kernel.serial = sizes.hint(self.kernel.flops) < SERIAL
        return self.kernel

    def _row_blocks(self, m: Extent, columns: Extent) -> tuple[int | Extent, Extent]:
        """Rows per chunk and their number: whole columns where there are enough, for a panel is packed per chunk."""
        tile = self.plan.tile_rows
        if not isinstance(m, int):
            block = TALL * tile
            return block, sizes.ceildiv(m, block)
        work = 2 * m * sizes.hint(sizes.product(v.extent for v in self.stage.reduce)) * self.plan.width
        have = sizes.hint(columns)
        wanted = max(1, min(-(-PANELS // have), work // BLOCK, m // tile))
        block = -(-m // wanted)
        block = -(-block // tile) * tile
        return min(block, m), -(-m // block)

    def _valid_columns(self) -> tuple[Index, Index | None]:
        """How many columns of the panel exist: the width, or what is left in the last one."""
        width = index.of(self.plan.width)
        if isinstance(self.n, int) and self.n < self.plan.width:
            return index.of(self.n), None
        if isinstance(self.n, int) and self.n % self.plan.width == 0:
            return width, None
        return width, index.add(index.of(self.n), index.scale(self.first_column, -1))

    def _pack(self, start: Index, outer: dict[IVar, Index], count: Extent) -> list[Stmt]:
        """Fills the panel with `count` steps of the columns' operand; columns that do not exist are 0."""
        p = self.plan
        j = IVar("j", p.width)
        column = index.add(self.first_column, index.of(j))
        values = {**self.batch_at, **outer}
        values.update(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
        loops: list[IVar] = []
        if count == self.depth:
            ks = [IVar(f"k{n}" if len(p.depth) > 1 else "k", v.extent) for n, v in enumerate(p.depth)]
            values.update({v: index.of(k) for v, k in zip(p.depth, ks, strict=True)})
            line = index.linear([index.of(k) for k in ks], tuple(k.extent for k in ks))
            loops = ks
        else:
            k = IVar("k", count)
            flat = index.add(start, index.of(k))
            values.update(zip(p.depth, index.unflatten(flat, tuple(v.extent for v in p.depth)), strict=True))
            line = index.of(k)
            loops = [k]
        assert self.stage.factors is not None
        value = self._instantiate(self.stage.factors[1 - p.rows_operand], values, {}, Shared())
        body: list[Stmt] = [Store(self.panel, (line, index.of(j)), value)]
        hi, limit = self._valid_columns()
        lanes = lanes_for(body, self.target)
        packed: list[Stmt] = [Loop(j, index.ZERO, hi, "vec", body, lanes, limit=limit)]
        if limit is not None or hi.const != p.width:
            z = IVar("z", p.width)
            zero: list[Stmt] = [Store(self.panel, (line, index.of(z)), Const(0, self.panel.dtype))]
            packed = [Loop(z, index.ZERO, index.of(p.width), "vec", zero, p.lanes), *packed]
        for v in reversed(loops):
            packed = [Loop(v, index.ZERO, index.of(v.extent), "seq", packed)]
        return packed

    def _instantiate(
        self, expr: Expr, values: dict[IVar, Index], local: dict[Node, Expr], shared: Shared
    ) -> Expr:
        def resolve(node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
            if node in local:
                return local[node] if fill is None else Guarded(guards, local[node], fill, node.dtype)
            return Load(self.place.buffer(node), at, node.dtype, guards, fill)

        return instantiate(expr, values, resolve, self.place.buffer, shared)

    def _several(self) -> list[Stmt]:
        """Adds up panels of the summed axes in a block of results before the epilogue."""
        p = self.plan
        i, j = IVar("i", self.tile.shape[0]), IVar("j", p.width)
        zero: Stmt = Store(self.tile, (index.of(i), index.of(j)), Const(0, self.tile.dtype))
        lanes = p.lanes
        clear = Loop(i, index.ZERO, index.of(self.tile.shape[0]), "seq",
                     [Loop(j, index.ZERO, index.of(p.width), "vec", [zero], lanes)])
        outer_vars = [IVar(f"o{k}", v.extent) for k, v in enumerate(p.outer)]
        outer = {v: index.of(o) for v, o in zip(p.outer, outer_vars, strict=True)}
        body: list[Stmt] = []
        if self.depth_step == self.depth:
            body = [*self._pack(index.ZERO, outer, self.depth), *self._row_loop(False, self.depth, index.ZERO, outer)]
        else:
            assert isinstance(self.depth, int) and isinstance(self.depth_step, int)
            blocks, rest = divmod(self.depth, self.depth_step)
            s = IVar("s", blocks)
            start = index.scale(index.of(s), self.depth_step)
            step = [*self._pack(start, outer, self.depth_step), *self._row_loop(False, self.depth_step, start, outer)]
            body = [Loop(s, index.ZERO, index.of(blocks), "seq", step)]
            if rest:
                start = index.of(self.depth - rest)
                body += [*self._pack(start, outer, rest), *self._row_loop(False, rest, start, outer)]
        for o in reversed(outer_vars):
            body = [Loop(o, index.ZERO, index.of(o.extent), "seq", body)]
        return [clear, *body, *self._epilogue(index.ZERO, index.of(self.tile.shape[0]), self._rows_left())]

    def _rows_left(self) -> Index | None:
        if isinstance(self.m, int) and isinstance(self.block, int) and self.m % self.block == 0:
            return None
        return index.add(index.of(self.m), index.scale(self.first_row, -1))

    def _row_loop(
        self, finish: bool, count: Extent, start: Index = index.ZERO, outer: dict[IVar, Index] | None = None
    ) -> list[Stmt]:
        """All tiles of the block: full ones, then what is left row by row."""
        tile = self.plan.tile_rows
        left = self._rows_left()
        block = self.block
        if isinstance(self.m, int) and isinstance(block, int) and self.m % tile == 0 and block % tile == 0:
            r = IVar("r", sizes.floordiv(block, tile))
            last = None if left is None else index.floordiv(left, tile)
            row = index.scale(index.of(r), tile)
            body = self._tile(row, tile, finish, count, start, outer)
            return [Loop(r, index.ZERO, index.of(r.extent), "seq", body, limit=last)]
        full = IVar("r", sizes.floordiv(block, tile))
        there = index.of(block) if left is None else left
        bound = None if left is None else index.floordiv(left, tile)
        first = self._tile(index.scale(index.of(full), tile), tile, finish, count, start, outer)
        rest = IVar("rest", block)
        body = self._tile(index.of(rest), 1, finish, count, start, outer)
        whole = self._whole_rows(there)
        return [
            Loop(full, index.ZERO, index.of(full.extent), "seq", first, limit=bound),
            Loop(rest, whole, index.of(block), "seq", body, limit=left),
        ]

    def _whole_rows(self, count: Index) -> Index:
        """Where the rows that full tiles leave begin. Past a full block it lies beyond the end, so none are left."""
        tile = self.plan.tile_rows
        return index.scale(index.floordiv(count, tile), tile)

    def _tile(
        self, row: Index, height: int, finish: bool, count: Extent, start: Index, outer: dict[IVar, Index] | None
    ) -> list[Stmt]:
        p = self.plan
        assert self.stage.factors is not None
        direct = self.stage.factors[p.rows_operand]
        assert isinstance(direct, Load)
        source = self.place.buffer(direct.buf)
        values = {**self.batch_at, **(outer or {})}
        at_row = index.add(self.first_row, row)
        values.update(zip(p.rows, index.unflatten(at_row, tuple(v.extent for v in p.rows)), strict=True))
        values.update(dict.fromkeys(p.depth, index.ZERO))
        offset = index.linear_strides(direct.index, source.strides)
        row_stride, depth_stride = merged_stride(offset, p.rows), merged_stride(offset, p.depth)
        assert row_stride is not None and depth_stride is not None
        base = index.add(
            index.linear_strides([index.substitute(i, values) for i in direct.index], source.strides),
            index.scale(start, depth_stride),
        )
        key = (self.stage.node.dtype, height, p.tile_vectors, p.lanes, not finish)
        if key not in self.tiles:
            self.tiles[key] = tile_kernel(*key)
        kernel = self.tiles[key]
        tile_at = index.ZERO if finish else index.scale(row, p.width)
        call = Call(
            kernel,
            ((source, base), (self.panel, index.ZERO), (self.tile, tile_at)),
            (index.of(count), index.of(row_stride), index.of(depth_stride)),
        )
        return [call, *self._epilogue(row, index.of(height), None)] if finish else [call]

    def _epilogue(self, row: Index, height: Index, limit: Index | None) -> list[Stmt]:
        """What happens to the finished `height` rows from `row` on: the stages of the group, element by element."""
        p = self.plan
        i, j = IVar("i", height.const), IVar("j", p.width)
        at_row = index.add(index.add(self.first_row, row), index.of(i))
        column = index.add(self.first_column, index.of(j))
        values = dict(self.batch_at)
        values.update(zip(p.rows, index.unflatten(at_row, tuple(v.extent for v in p.rows)), strict=True))
        values.update(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
        by_class = {self.classes.find(v): at for v, at in values.items()}
        element = Load(self.tile, (index.of(i), index.of(j)), self.tile.dtype)
        local: dict[Node, Expr] = {self.stage.node: element}
        body: list[Stmt] = []
        shared = Shared()
        for s in self.group.stages:
            mine = {v: by_class[self.classes.find(v)] for v in s.axes}
            if s is not self.stage:
                local[s.node] = self._instantiate(s.value, mine, local, shared)
            if self.place.external(s):
                body.append(Store(self.place.result(s), tuple(mine[v] for v in s.axes), local[s.node]))
        out = index.linear([index.of(v) for v in self.stage.axes], self.stage.node.shape)
        hi, left = self._valid_columns()
        lanes = lanes_for(body, self.target)
        if merged_stride(out, p.columns) == 1 or merged_stride(out, p.rows) != 1:
            return [
                Loop(i, index.ZERO, height, "seq", [Loop(j, index.ZERO, hi, "vec", body, lanes, limit=left)],
                     limit=limit)
            ]
        # Lanes along the rows of the tile, where the result is contiguous.
        if isinstance(height.const, int):
            while lanes // 2 >= max(2, height.const):
                lanes //= 2
        inner = Loop(i, index.ZERO, height, "vec", body, lanes, limit=limit)
        return [Loop(j, index.ZERO, hi, "seq", [inner], limit=left)]
