"""What the tiles of a contraction read: panels of the columns' operand, packed, turned or in place, and rows where they
lie or packed as well."""

from __future__ import annotations

from collections.abc import Callable

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .blocks import TALL, Strip, cut, cut_in_place, cut_rows, depth_step, shallow, shared_rows, strips
from .epilogue import placed
from .instantiate import Shared
from .ir import Buf, Call, Const, Load, Loop, Prefetch, Routine, Stmt, Store
from .prepacked import prepack
from .schedule import Placement, lanes_for
from .stages import Stage
from .tiling import Plan, lie_across, merged_stride

Outer = dict[IVar, Index]

FEW = 32  # rows for which packing columns that lie as panels do takes longer than it saves
NEAR = 0.8  # of the second cache, that an operand may take and still be read where it lies
AHEAD = 16  # steps of depth by which what is packed next is announced


class Panels:
    """The cut of a contraction into chunks, and the packing of one chunk. `panel` and `rows` are the room for it; who
    schedules the tiles decides which of them there are."""

    def __init__(self, stage: Stage, plan: Plan, place: Placement, target: Target) -> None:
        self.stage, self.plan, self.place, self.target = stage, plan, place, target
        self.per_piece: Extent = 1
        self._measure()
        self.panel: dict[Strip, Buf] = {}
        self.rows: Buf | None = None

    def _measure(self) -> None:
        """Extents, and where the chunk lies."""
        p = self.plan
        dtype = self.stage.node.dtype
        self.m = sizes.product(v.extent for v in p.rows)
        self.n = sizes.product(v.extent for v in p.columns)
        self.depth = sizes.product(v.extent for v in p.depth)
        batch = sizes.product(v.extent for v in p.batch)
        self.full, self.last = strips(self.n, p)
        self.outer = bool(p.outer) and sizes.product(v.extent for v in p.outer) != 1
        # Announcing what lies beyond a small array costs more than waiting for it.
        self.far = sizes.hint(sizes.mul(self.n, self.depth)) * dtype.itemsize > self.target.l1
        self.in_order = self._in_order()
        self.lies = self._lies()
        worth = self.lies is None or not self._small()
        self.packed = prepack(self.stage, p, self.place, self.target) if worth else None
        self.lies = None if self.packed is not None else self.lies
        # Where tiles read columns in place again and again, all but the first find them near.
        self.ahead = self.far and isinstance(self.m, int) and self.m <= FEW
        self.across = None if self.lies or self.packed else self._across()
        self.apart = self.packed is None and self.place.pieces is None and self._packs_apart()
        self.step = self.depth if self.lies else depth_step(self.depth, p.width, dtype.itemsize, p.panel_bytes)
        self.several = self.outer or self.step != self.depth
        reduced = sizes.hint(sizes.product(v.extent for v in self.stage.reduce))
        self.block, self.panels = self._cut(batch, reduced)
        across = lie_across(self._direct()[1], p.rows, p.depth)
        # Which lines of the rows a tile asks for, no machine foresees.
        self.scattered = across and sizes.hint(sizes.mul(self.m, self.depth)) * dtype.itemsize > self.target.l1
        self.downward = across and not shallow(self.step, p.width, self.several, dtype.itemsize)
        self.rides = self.downward and self._rides()
        blocks = sizes.ceildiv(self.m, self.block)
        groups = sizes.ceildiv(sizes.ceildiv(self.n, p.width), self.panels)
        chunks = sizes.product((batch, groups, blocks))
        self.chunk = IVar("chunk", chunks)
        b_at, group_at, block_at = self._order(batch, groups, blocks)
        self.b_at = b_at
        self.batch_at = dict(zip(p.batch, index.unflatten(b_at, tuple(v.extent for v in p.batch)), strict=True))
        self.first_panel = index.scale(group_at, self.panels)
        self.first_row = index.scale(block_at, self.block)

    def _order(self, batch: Extent, groups: Extent, blocks: Extent) -> tuple[Index, Index, Index]:
        """Which batch, group of panels and block of rows a chunk is. Where the loop around is cut into pieces, those
        of a piece lie together."""
        chunk, along, p = index.of(self.chunk), self._leading(), self.plan
        if (along is p.rows) if along else self.packed is not None:
            # Neighbours share rows: what an iteration hands on to the next then stays with the core that made it.
            self.per_piece = sizes.mul(batch, groups)
            block_at, b_at, group_at = index.unflatten(chunk, (blocks, batch, groups))
        elif along is p.columns:
            self.per_piece = sizes.product((sizes.floordiv(self._lines(along), p.width * self.panels), batch, blocks))
            group_at, b_at, block_at = index.unflatten(chunk, (groups, batch, blocks))
        else:
            self.per_piece = sizes.product((self._lines(along), groups, blocks)) if along else 1
            b_at, group_at, block_at = index.unflatten(chunk, (batch, groups, blocks))
        return b_at, group_at, block_at

    def _leading(self) -> tuple[IVar, ...]:
        """Which axes of the plan the rows lead that the loop around is cut along; none where it is not."""
        if self.place.pieces is None:
            return ()
        row, p = self.place.pieces.row(self.stage), self.plan
        return next(axes for axes in (p.rows, p.columns, p.batch) if row in axes[:1])

    def _lines(self, along: tuple[IVar, ...]) -> Extent:
        """How many of the points of these axes lie in a piece."""
        assert self.place.pieces is not None
        return sizes.product((self.place.pieces.each, *(v.extent for v in along[1:])))

    def _cut(self, batch: Extent, reduced: int) -> tuple[int, int]:
        """Rows and panels of a chunk."""
        along, p = self._leading(), self.plan
        if along and along is not p.batch:
            lines = self._lines(along)
            assert isinstance(lines, int)
            if along is p.rows:
                return lines, -(-self.n // p.width) if isinstance(self.n, int) else 1
            rows = self.m if isinstance(self.m, int) else TALL * p.tile_rows
            return rows, lines // p.width if isinstance(self.n, int) else 1
        if self.apart:
            return cut_rows(self.plan, self.m, self.n, batch, reduced, self.target)
        itemsize = self.stage.node.dtype.itemsize
        if self.lies is not None and isinstance(self.m, int) and isinstance(self.n, int):
            return cut_in_place(self.plan, self.m, self.n, batch, reduced, self.target)
        block, panels = cut(
            self.plan, self.m, self.n, batch, reduced, self.step, self.several, itemsize, self.target
        )
        if self.packed is not None and isinstance(self.m, int):
            block = shared_rows(self.plan, self.m, reduced, block, self.target)
        return block, panels

    def _small(self) -> bool:
        """Whether the columns' operand fits half of the first cache."""
        size = sizes.product((self.n, self.depth, self.stage.node.dtype.itemsize))
        return isinstance(size, int) and size <= self.target.l1 // 2

    def _near(self, factor: Load) -> bool:
        """Whether many rows can read the columns' operand over and over where it lies: it stays in the second cache,
        a tile's rows in the first. Vectors that straddle lines would take twice as long, and where rows are few, it
        pays to fetch what another core wrote all at once, as a copy."""
        p, itemsize = self.plan, self.stage.node.dtype.itemsize
        buf = self.place.buffer(factor.buf)
        if not p.deep or self.outer or not isinstance(self.depth, int) or sizes.hint(self.m) < sizes.hint(self.n):
            return False
        if buf.storage != "arena" and not (isinstance(factor.buf, Node) and factor.buf.op.name == "variable"):
            return False  # the caller chooses where it lies
        vector = self.target.vector_bytes // itemsize
        if any(not isinstance(stride, int) or stride % vector for stride in buf.strides[:-1]):
            return False
        size = sizes.hint(sizes.product(factor.buf.shape)) * itemsize
        return size <= self.target.l2 * NEAR and 2 * p.tile_rows * self.depth * itemsize <= self.target.l1

    def _packs_apart(self) -> bool:
        """Whether a kernel in front packs all panels."""
        return False

    def _panel_from(self, at: Index) -> Index:
        """The first line of a panel: of those of the chunk, or of all."""
        if self.apart:
            return index.scale(index.add(self.first_panel, at), self.depth)
        if self.rides:
            return index.ZERO  # the next panel takes its place
        return index.scale(at, self.step)

    def _lies(self) -> tuple[Buf, Index, Extent] | None:
        """The columns' operand with the stride of its depth, where it need not be packed: it lies as panels do, and is
        so small, or used by so few rows, that reading it in place costs less than a copy."""
        p = self.plan
        assert self.stage.factors is not None
        factor = self.stage.factors[1 - p.rows_operand]
        if self.in_order is None or not isinstance(self.m, int) or not isinstance(factor, Load):
            return None
        if self.m > FEW and not self._small() and not self._near(factor):
            return None
        step = depth_step(self.depth, p.width, self.stage.node.dtype.itemsize, p.panel_bytes)
        if self.last is not None and not self.last.whole and step != self.depth:
            return None
        return self.in_order

    def _in_order(self) -> tuple[Buf, Index, Extent] | None:
        """The columns' operand with the stride of its depth, where its columns lie side by side."""
        p = self.plan
        assert self.stage.factors is not None
        factor = self.stage.factors[1 - p.rows_operand]
        if not isinstance(factor, Load) or factor.guards:
            return None
        if not isinstance(self.depth, int) or not isinstance(self.n, int):
            return None
        source = self.place.buffer(factor.buf)
        offset = index.linear_strides(factor.index, source.strides)
        if any(offset.affine_in(v) is None for v in (*p.depth, *p.columns, *p.outer, *p.batch)):
            return None
        stride = merged_stride(offset, p.depth)
        if merged_stride(offset, p.columns) != 1 or stride is None:
            return None
        return source, offset, stride

    def _rides(self) -> bool:
        """Whether the first tile of a panel packs it on the way: every chunk has such a tile, and more that follow."""
        tile = self.plan.tile_rows
        if self.in_order is None or self.lies or self.packed or self.apart or not isinstance(self.m, int):
            return False
        return self.block >= 2 * tile and (self.m % self.block or self.block) >= tile

    def _across(self) -> tuple[Buf, Index, Extent] | None:
        """The columns' operand with the stride of its columns, where it is contiguous along the depth instead."""
        p = self.plan
        assert self.stage.factors is not None
        factor = self.stage.factors[1 - p.rows_operand]
        if not isinstance(factor, Load) or factor.guards or not isinstance(self.n, int):
            return None
        source = self.place.buffer(factor.buf)
        offset = index.linear_strides(factor.index, source.strides)
        if any(offset.affine_in(v) is None for v in (*p.depth, *p.columns, *p.outer, *p.batch)):
            return None
        stride = merged_stride(offset, p.columns)
        if merged_stride(offset, p.depth) != 1 or stride is None or stride in (0, 1):
            return None
        return source, offset, stride

    def _direct(self) -> tuple[Buf, Index]:
        """The rows' operand and where its elements lie."""
        assert self.stage.factors is not None
        direct = self.stage.factors[self.plan.rows_operand]
        assert isinstance(direct, Load)
        source = self.place.buffer(direct.buf)
        return source, index.linear_strides(direct.index, source.strides)

    def _over_panels(self, make: Callable[[Strip, Index], list[Stmt]]) -> list[Stmt]:
        """Statements for every panel of the chunk, by its number within the chunk."""
        found: list[Stmt] = []
        whole = self.n // self.plan.width if isinstance(self.n, int) else None
        rest = None if whole is None else index.add(index.of(whole), index.scale(self.first_panel, -1))
        body: list[Stmt]
        if self.full is not None and (body := make(self.full, index.of(q := IVar("p", self.panels)))):
            even = whole is None or (self.last is None and whole % self.panels == 0)
            found.append(Loop(q, index.ZERO, index.of(self.panels), "seq", body, limit=None if even else rest))
        if self.last is not None:
            assert rest is not None
            if not rest.terms:
                found += make(self.last, rest)
            else:
                q = IVar("last", self.panels)
                limit = index.add(rest, 1) if self.panels > 1 else None
                if body := make(self.last, index.of(q)):
                    found.append(Loop(q, rest, index.of(self.panels), "seq", body, limit=limit))
        return found

    def first_column(self, at: Index) -> Index:
        return index.scale(index.add(self.first_panel, at), self.plan.width)

    def _columns_left(self, at: Index) -> Index:
        return index.add(index.of(self.n), index.scale(self.first_column(at), -1))

    def _rows_left(self) -> Index | None:
        """Rows of the chunk, where they may be fewer than a block."""
        if isinstance(self.m, int) and self.m % self.block == 0:
            return None
        return index.add(index.of(self.m), index.scale(self.first_row, -1))

    def _pack(self, start: Index, outer: Outer, count: Extent) -> list[Stmt]:
        """Fills the panels of the chunk with `count` steps of the columns' operand, a step of all of them at a time."""
        p = self.plan
        if not self.panel:
            return []
        if self.across is not None:
            return self._over_panels(lambda strip, at: self._turn(strip, at, start, outer, count))
        values = {**self.batch_at, **outer}
        if count == self.depth:
            loops = [IVar(f"k{n}" if len(p.depth) > 1 else "k", v.extent) for n, v in enumerate(p.depth)]
            values.update({v: index.of(k) for v, k in zip(p.depth, loops, strict=True)})
            line = index.linear([index.of(k) for k in loops], tuple(k.extent for k in loops))
        else:
            loops = [IVar("k", count)]
            line = index.of(loops[0])
            flat = index.add(start, line)
            values.update(zip(p.depth, index.unflatten(flat, tuple(v.extent for v in p.depth)), strict=True))
        packed = self._over_panels(lambda strip, at: self._line(strip, at, line, loops[-1], values))
        if not packed:
            return []
        for v in reversed(loops):
            packed = [Loop(v, index.ZERO, index.of(v.extent), "seq", packed)]
        return packed

    def _turn(self, strip: Strip, at: Index, start: Index, outer: Outer, count: Extent) -> list[Stmt]:
        """One panel of an operand that lies across: its columns are contiguous along the depth."""
        if strip not in self.panel:
            return []
        assert self.across is not None and strip.valid is not None
        source, offset, stride = self.across
        panel = self.panel[strip]
        p = self.plan
        column = self.first_column(at)
        values = {**self.batch_at, **outer, **dict.fromkeys(p.depth, index.ZERO)}
        values.update(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
        first = index.scale(self._panel_from(at), strip.width) if strip is self.full else index.ZERO
        call = Call(
            Routine("turn", panel.dtype, (False, True)),
            ((source, index.add(index.substitute(offset, values), start)), (panel, first)),
            tuple(index.of(n) for n in (stride, strip.width, strip.valid, count)),
        )
        if strip.whole:
            return [call]
        k, z = IVar("k", count), IVar("z", strip.width)
        zero: list[Stmt] = [Store(panel, (index.of(k), index.of(z)), Const(0, panel.dtype))]
        clear = Loop(z, index.ZERO, index.of(strip.width), "vec", zero, strip.lanes)
        return [Loop(k, index.ZERO, index.of(count), "seq", [clear]), call]

    def _line(self, strip: Strip, at: Index, line: Index, k: IVar, values: Outer) -> list[Stmt]:
        """One step of a panel; columns that do not exist are 0."""
        p = self.plan
        if strip not in self.panel or (self.rides and strip.whole):
            return []
        panel = self.panel[strip]
        if strip is self.full:
            line = index.add(line, self._panel_from(at))
        j = IVar("j", strip.width)
        column = index.add(self.first_column(at), index.of(j))
        there = dict(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
        assert self.stage.factors is not None
        value = placed(self.stage.factors[1 - p.rows_operand], {**values, **there}, self.place, {}, Shared())
        body: list[Stmt] = [Store(panel, (line, index.of(j)), value)]
        if self.far and isinstance(value, Load) and not value.guards:
            later = {k: index.add(index.of(k), AHEAD)}
            body.append(Prefetch(value.buf, tuple(index.substitute(i, later) for i in value.index)))
        hi = index.of(strip.valid if strip.valid is not None else strip.width)
        limit = None if strip.valid is not None else self._columns_left(at)
        packed: list[Stmt] = [Loop(j, index.ZERO, hi, "vec", body, lanes_for(body, self.target), limit=limit)]
        if not strip.whole:
            z = IVar("z", strip.width)
            zero: list[Stmt] = [Store(panel, (line, index.of(z)), Const(0, panel.dtype))]
            packed = [Loop(z, index.ZERO, index.of(strip.width), "vec", zero, strip.lanes), *packed]
        return packed

    def _pack_rows(self, start: Index, outer: Outer, count: Extent) -> list[Stmt]:
        """Fills the room for the chunk's rows with `count` steps, one step of all of them at a time."""
        if self.rows is None:
            return []
        p = self.plan
        k, i, t = IVar("k", count), IVar("i", p.tile_rows), IVar("t", -(-self.block // p.tile_rows))
        row = index.add(self.first_row, index.add(index.scale(index.of(t), p.tile_rows), index.of(i)))
        at = index.add(start, index.of(k))
        values = {**self.batch_at, **outer}
        values.update(zip(p.rows, index.unflatten(row, tuple(v.extent for v in p.rows)), strict=True))
        values.update(zip(p.depth, index.unflatten(at, tuple(v.extent for v in p.depth)), strict=True))
        assert self.stage.factors is not None
        value = placed(self.stage.factors[p.rows_operand], values, self.place, {}, Shared())
        line = index.add(index.scale(index.of(t), self.step), index.of(k))
        body: list[Stmt] = [Store(self.rows, (line, index.of(i)), value)]
        left = index.add(index.of(self.m), index.scale(row, -1))
        left = index.add(left, index.of(i))
        limit = left if not (isinstance(self.m, int) and self.m % p.tile_rows == 0) else None
        lanes = 2
        while lanes * 2 <= min(p.tile_rows, p.lanes):
            lanes *= 2
        each = Loop(i, index.ZERO, index.of(p.tile_rows), "vec", body, lanes, limit=limit)
        there = self._rows_left()
        tiles = None if there is None else index.floordiv(index.add(there, p.tile_rows - 1), p.tile_rows)
        return [Loop(k, index.ZERO, index.of(count), "seq",
                     [Loop(t, index.ZERO, index.of(t.extent), "seq", [each], limit=tiles)])]
