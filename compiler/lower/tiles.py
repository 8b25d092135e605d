"""Tile schedule: contractions with reuse of both operands, as register tiles over a packed panel.

The panel is packed, and its prologue applied, per block of depth; or, where there are more rows than columns, all
panels are packed by a kernel in front, and a chunk takes its rows through all of them, so that rows stay with a core
from kernel to kernel. Tiles go through a small buffer to the epilogue, an ordinary loop nest over the tile, so that
bounds, transposed results and any fused tail need no tile of their own.
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
from .tiling import Plan, index_vars, merged_stride

PANEL_BYTES = 32768  # what a packed panel may take of the first cache
SERIAL = 1 << 19  # flops below which one core is as fast as several
PANELS = 8  # chunks to aim at where the columns alone give fewer
BLOCK = 1 << 17  # flops below which a chunk is not worth packing its panel once more
TALL = 16  # tiles of a chunk when the number of rows is not known
BLOCKS = 16  # chunks of rows to aim at where panels are packed in front


class TileScheduler:
    """Builds the kernel of a contraction and its epilogue, and the one that packs its panels if that stands apart."""

    def __init__(
        self, group: Group, plan: Plan, classes: Classes, place: Placement, target: Target,
        tiles: dict[tuple[object, ...], Kernel],
    ) -> None:
        self.group, self.plan, self.classes, self.place, self.target = group, plan, classes, place, target
        self.stage = group.stages[0]
        self.kernel = Kernel("", [], set(), 1, [])
        self.tiles = tiles
        self.m = sizes.product(v.extent for v in plan.rows)
        self.n = sizes.product(v.extent for v in plan.columns)
        self.depth = sizes.product(v.extent for v in plan.depth)
        self.panels = sizes.ceildiv(self.n, plan.width)
        self.kernel.flops = sizes.mul(2, sizes.product(v.extent for v in self.stage.loop_axes))
        self.kernel.serial = sizes.hint(self.kernel.flops) < SERIAL
        self.apart = plan.parts == 1 and self._packs_apart()
        self.parts: Buf | None = None
        self.span = self.depth
        if plan.parts > 1 and not self.kernel.serial:
            self.parts = place.parts(group, plan.parts)
            self.span = sizes.floordiv(self.depth, plan.parts)

    def build(self, name: str) -> Kernel:
        p = self.plan
        self.kernel.name = name
        dtype = self.stage.node.dtype
        m, panels, span = self.m, self.panels, self.span
        batch = sizes.product(v.extent for v in p.batch)
        step = span
        most = PANEL_BYTES // (p.width * dtype.itemsize)
        if isinstance(span, int) and span > most * 3 // 2:
            step = -(-span // -(-span // most))
        self.depth_step = step
        panel: Index | IVar = IVar("panel", panels)
        if not self.apart:
            parts = 1 if self.parts is None else self.parts.shape[0]
            block, blocks = self._row_blocks(m, sizes.product((parts, batch, panels)))
            self.chunk = IVar("chunk", sizes.product((parts, batch, panels, blocks)))
            extents = (parts, batch, panels, blocks)
            self.part, b_at, panel, block_at = index.unflatten(index.of(self.chunk), extents)
            self.from_step = index.ZERO if self.parts is None else index.scale(self.part, self.span)
            self.panel = Buf("panel", dtype, (step, p.width), "scratch")
            self.kernel.scratch.append(self.panel)
        else:
            self.from_step = index.ZERO
            block, blocks = self._row_blocks(m, batch)
            # Where the rows could be few, panels are chunks of their own.
            split = isinstance(m, int)
            self.chunk = IVar("chunk", sizes.product((batch, blocks) if split else (batch, blocks, panels)))
            if split:
                b_at, block_at = index.unflatten(index.of(self.chunk), (batch, blocks))
            else:
                b_at, block_at, panel = index.unflatten(index.of(self.chunk), (batch, blocks, panels))
        self.batch_at = dict(
            zip(p.batch, index.unflatten(b_at, tuple(v.extent for v in p.batch)), strict=True)
        )
        self.panel_at = index.of(panel)
        self.first_column = index.scale(self.panel_at, p.width)
        self.first_row = index.scale(block_at, block)
        self.block = block
        several = (bool(p.outer) and sizes.product(v.extent for v in p.outer) != 1) or step != span
        rows_here = min(block, m) if isinstance(m, int) and isinstance(block, int) else block
        tile_shape: tuple[Extent, ...] = (rows_here, p.width) if several else (p.tile_rows, p.width)
        self.tile = Buf("tile", dtype, tile_shape, "scratch")
        self.kernel.scratch.append(self.tile)
        first = self.from_step
        body = (
            self._several() if several else [*self._packed(first, {}, span), *self._row_loop(True, span, first)]
        )
        if isinstance(panel, IVar):
            body = [Loop(panel, index.ZERO, index.of(panels), "seq", body)]
        self.kernel.chunks = self.chunk.extent
        self.kernel.body = [Loop(self.chunk, index.ZERO, index.of(self.chunk.extent), "chunk", body)]
        self.kernel.nodes = [s.node for s in self.group.stages]
        return self.kernel

    def _packs_apart(self) -> bool:
        """Whether panels are packed by a kernel of their own: they are the same for all rows, are less than these, and
        stay in the second cache while rows go by."""
        p = self.plan
        assert self.stage.factors is not None
        used = index_vars(self.stage.factors[1 - p.rows_operand])
        if p.outer or self.kernel.serial or any(v in used and v.extent != 1 for v in p.batch):
            return False
        size = sizes.hint(sizes.mul(self.panels, self.depth)) * p.width * self.stage.node.dtype.itemsize
        if 2 * size > self.target.l2:
            return False
        rows = sizes.mul(sizes.product(v.extent for v in p.batch), self.m)
        return not isinstance(rows, int) or rows > max(sizes.hint(self.n), 2 * p.tile_rows)

    def packing(self, name: str) -> Kernel | None:
        """The kernel that packs all panels, to run before the other; None where every chunk packs its own."""
        if not self.apart:
            return None
        p = self.plan
        kernel = Kernel(name, [], set(), self.panels, [], nodes=[self.stage.node], serial=self.kernel.serial)
        self.panel = self.place.temporary("packed", self.stage.node.dtype, (self.panels, self.depth, p.width))
        chunk = IVar("chunk", self.panels)
        self.batch_at, self.panel_at = dict.fromkeys(p.batch, index.ZERO), index.of(chunk)
        self.first_column = index.scale(self.panel_at, p.width)
        kernel.body = [Loop(chunk, index.ZERO, index.of(self.panels), "chunk", self._pack(index.ZERO, {}, self.depth))]
        return kernel

    def _packed(self, start: Index, outer: dict[IVar, Index], count: Extent) -> list[Stmt]:
        """Fills the panel, if that has not been done in front."""
        return [] if self.apart else self._pack(start, outer, count)

    def _panel_from(self, start: Index) -> Index:
        """The offset of the part of the panel that begins with step `start` of the depth."""
        if not self.apart:
            return index.ZERO
        return index.linear_strides((self.panel_at, start, index.ZERO), self.panel.strides)

    def _line(self, k: Index) -> tuple[Index, ...]:
        """Where line k of the panel lies."""
        return (self.panel_at, k) if self.apart else (k,)

    def _row_blocks(self, m: Extent, columns: Extent) -> tuple[int | Extent, Extent]:
        """Rows per chunk and their number: whole columns where there are enough, for a panel is packed per chunk."""
        tile = self.plan.tile_rows
        if not isinstance(m, int):
            block = TALL * tile
            return block, sizes.ceildiv(m, block)
        work = 2 * m * sizes.hint(sizes.product(v.extent for v in self.stage.reduce))
        work *= sizes.hint(self.n) if self.apart else self.plan.width
        have = sizes.hint(columns)
        wanted = max(1, min(-(-(BLOCKS if self.apart else PANELS) // have), work // BLOCK, m // tile))
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
        body: list[Stmt] = [Store(self.panel, (*self._line(line), index.of(j)), value)]
        hi, limit = self._valid_columns()
        lanes = lanes_for(body, self.target)
        packed: list[Stmt] = [Loop(j, index.ZERO, hi, "vec", body, lanes, limit=limit)]
        if limit is not None or hi.const != p.width:
            z = IVar("z", p.width)
            zero: list[Stmt] = [Store(self.panel, (*self._line(line), index.of(z)), Const(0, self.panel.dtype))]
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
        if self.depth_step == self.span:
            first = self.from_step
            body = [*self._packed(first, outer, self.span), *self._row_loop(False, self.span, first, outer)]
        else:
            assert isinstance(self.span, int) and isinstance(self.depth_step, int)
            blocks, rest = divmod(self.span, self.depth_step)
            s = IVar("s", blocks)
            start = index.add(self.from_step, index.scale(index.of(s), self.depth_step))
            step = [*self._packed(start, outer, self.depth_step), *self._row_loop(False, self.depth_step, start, outer)]
            body = [Loop(s, index.ZERO, index.of(blocks), "seq", step)]
            if rest:
                start = index.add(self.from_step, self.span - rest)
                body += [*self._packed(start, outer, rest), *self._row_loop(False, rest, start, outer)]
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
            ((source, base), (self.panel, self._panel_from(start)), (self.tile, tile_at)),
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
            if self.parts is not None:
                body.append(Store(self.parts, (self.part, *(mine[v] for v in s.axes)), local[s.node]))
            elif self.place.external(s):
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
