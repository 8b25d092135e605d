"""Tile schedule: contractions with reuse of both operands, as register tiles.

The columns' operand is packed into panels, and its prologue applied, per block of depth; where it lies as a panel would
and few rows use it, it is read in place. Whole tiles of a plain contraction go straight to the result. All others go
through a small buffer to the epilogue, an ordinary loop nest over the tile, so that bounds, transposed results and any
fused tail need no tile of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Index, IVar
from ..graph.sizes import Extent
from .asking import Coming, coming, first_asked
from .blocks import SERIAL, Strip
from .corners import Bounds, Skipped, Tile, bounds_of, skipped_of, suited
from .epilogue import filled, finished
from .groups import Classes, Group
from .ir import Buf, Call, Const, Kernel, Load, Loop, Stmt, Store
from .microkernel import tile_kernel, tile_of
from .panels import Outer, Panels
from .schedule import Placement, lanes_for
from .tiling import Plan, index_vars, lie_across, merged_stride


class TileScheduler(Panels):
    """Builds the kernel of a contraction and its epilogue, and the one that packs its panels if that stands apart.

    It does where there are more rows than columns: a chunk then takes its rows through all panels, so that rows stay
    with a core from kernel to kernel.
    """

    def __init__(
        self, group: Group, plan: Plan, classes: Classes, place: Placement, target: Target,
        tiles: dict[tuple[object, ...], Kernel],
    ) -> None:
        self.group, self.classes = group, classes
        self.kernel = Kernel("", [], set(), 1, [])
        self.kernel.flops = sizes.mul(2, sizes.product(v.extent for v in group.stages[0].loop_axes))
        self.kernel.serial = sizes.hint(self.kernel.flops) < SERIAL
        self.tiles = tiles
        self.asking = False  # whether tiles announce what is packed next
        self.skipped = skipped_of(group, plan, classes, place.cuts, place)
        super().__init__(group.stages[0], plan if self.skipped is None else suited(plan), place, target)

    def build(self, name: str) -> Kernel:
        self.kernel.name = name
        self.home = None if self.outer else self._home()
        self.bounds: Bounds | None = None
        if not self.several:
            self.bounds = bounds_of(self.stage, self.plan, self.place.cuts)
            if self.bounds.until or self.bounds.since or self.skipped is not None:
                self.rides = False  # the first tile may take in a part of its panel, or nothing
        self._scratch()
        if self.several:
            body = self._several()
        else:
            body = [*([] if self.apart else self._pack(index.ZERO, {}, self.depth)), *self._single()]
        self.kernel.chunks, self.kernel.per_piece = self.chunk.extent, self.per_piece
        self.kernel.body = [Loop(self.chunk, index.ZERO, index.of(self.chunk.extent), "chunk", body)]
        self.kernel.nodes = [s.node for s in self.group.stages]
        return self.kernel

    def _packs_apart(self) -> bool:
        """Whether all panels are packed in front: they are the same for all rows, are less than these, and stay in the
        second cache while rows go by."""
        p = self.plan
        assert self.stage.factors is not None
        used = index_vars(self.stage.factors[1 - p.rows_operand])
        if self.lies or p.outer or self.kernel.serial or any(v in used and v.extent != 1 for v in p.batch):
            return False
        size = sizes.hint(sizes.mul(self.n, self.depth)) * self.stage.node.dtype.itemsize
        if 2 * size > self.target.l2:
            return False
        rows = sizes.mul(sizes.product(v.extent for v in p.batch), self.m)
        return not isinstance(rows, int) or rows > max(sizes.hint(self.n), 2 * p.tile_rows)

    def packing(self, name: str) -> Kernel | None:
        """The kernel that packs all panels, to run before the other; None where every chunk packs its own."""
        if not self.apart:
            return None
        panels = sizes.ceildiv(self.n, self.plan.width)
        dtype = self.stage.node.dtype
        for strip, count in ((self.full, panels), (self.last, 1)):
            if strip is not None:
                shape = (sizes.mul(count, self.depth), strip.width)
                self.panel[strip] = self.place.temporary("packed", dtype, shape)
        chunk = IVar("chunk", panels)
        self.batch_at, self.first_panel, self.panels = dict.fromkeys(self.plan.batch, index.ZERO), index.of(chunk), 1
        pack = self._pack(index.ZERO, {}, self.depth)
        self._measure()
        body: list[Stmt] = [Loop(chunk, index.ZERO, index.of(panels), "chunk", pack)]
        return Kernel(name, [], set(), panels, body, nodes=[self.stage.node])

    def _home(self) -> tuple[Buf, Extent] | None:
        """The result with the stride of its rows, where whole tiles can be stored straight into it."""
        p = self.plan
        if len(self.group.stages) > 1 or not isinstance(self.n, int):
            return None
        home = self.place.result(self.stage)
        out = index.linear_strides([index.of(v) for v in self.stage.axes], home.strides)
        stride = merged_stride(out, p.rows)
        return (home, stride) if stride is not None and merged_stride(out, p.columns) == 1 else None

    def _scratch(self) -> None:
        """Panels, and room for tiles that are not finished or not whole."""
        p, dtype = self.plan, self.stage.node.dtype
        wide = self.full or self.last
        assert wide is not None
        found: list[Buf] = []
        self.tile: dict[Strip, Buf] = {}
        rows = self.block if self.several else min(p.tile_rows, self.m) if isinstance(self.m, int) else p.tile_rows
        for name, strip, count in (("panel", self.full, self.panels), ("edge", self.last, 1)):
            if strip is None:
                continue
            if not self.apart and self.packed is None and (self.lies is None or not strip.whole):
                lines = self.step if self.rides else sizes.mul(count, self.step)
                self.panel[strip] = Buf(name, dtype, (lines, strip.width), "scratch")
                found.append(self.panel[strip])
            if self.home is None or not strip.whole:
                shared = self.several and self.home is None
                width = self.panels * p.width if shared else strip.width
                known = next(iter(self.tile.values()), None) if shared else None
                label = "tile" if strip is wide else "edge_tile"
                self.tile[strip] = known or Buf(label, dtype, (rows, width), "scratch")
                found += [self.tile[strip]] if known is None else []
        self.rows = self._rows_panel()
        self.kernel.scratch = [*found, self.rows] if self.rows is not None else found

    def _rows_panel(self) -> Buf | None:
        """Room for the chunk's rows, tile by tile, where a step of depth takes them far: tiles would read a few numbers
        here and there, and more than one panel reads them."""
        p = self.plan
        if not self.several or self.panels < 2 or not isinstance(self.m, int) or not isinstance(self.step, int):
            return None
        source, offset = self._direct()
        if not lie_across(offset, p.rows, p.depth):
            return None
        count = -(-self.block // p.tile_rows) * self.step
        return Buf("rows", source.dtype, (count, p.tile_rows), "scratch")

    def _single(self) -> list[Stmt]:
        """Tiles whose whole depth is one block."""

        def tile(strip: Strip, at: Index, row: Index, height: int, asks: Coming | None) -> list[Stmt]:
            where = self._where(strip, at, row, height)
            start, count = index.ZERO, index.of(self.depth)
            if self.bounds is not None and isinstance(self.depth, int):
                start, count = self.bounds.of(where, self.depth)
            made = self._tile(strip, at, row, height, True, False, count, start, {}, asks)
            return made if self.skipped is None else self._unless_skipped(made, self.skipped, where, strip, at, row)

        return self._over_tiles(tile, self._next_chunk(self.depth))

    def _next_chunk(self, count: Extent) -> Coming | None:
        """The first steps of the next chunk's panels, if these are others."""
        alike = isinstance(self.m, int) and self.block < self.m
        if alike or self.bounds is not None or self.skipped is not None:
            return None
        return coming(self, index.ZERO, self.panels * self.plan.width, count)

    def _over_tiles(
        self, tile: Callable[[Strip, Index, Index, int, Coming | None], list[Stmt]], asks: Coming | None
    ) -> list[Stmt]:
        """Statements for all tiles of the chunk, of which the first rows ask for what is packed next. A tile's rows
        stay in the first cache while panels stream by: these lie one step after another, which machines foresee. Rows
        across the depth are no stream but lines here and there, of few sets of the first cache: there a panel stays."""
        self.asking = self.asking or asks is not None
        if self.downward:
            return self._over_panels(
                lambda strip, at: self._over_rows(lambda row, height, _: tile(strip, at, row, height, None), 0)
            )

        def line(row: Index, height: int, asking: bool) -> list[Stmt]:
            now = asks if asking else None
            return self._over_panels(lambda strip, at: tile(strip, at, row, height, now))

        return self._over_rows(line, 0 if asks is None else asks.tiles)

    def _several(self) -> list[Stmt]:
        """Adds up blocks of the summed axes in the result, or in room for all of the chunk before the epilogue."""
        p = self.plan
        outer_vars = [IVar(f"o{k}", v.extent) for k, v in enumerate(p.outer)]
        outer = {v: index.of(o) for v, o in zip(p.outer, outer_vars, strict=True)}
        fresh = not any(o.extent != 1 for o in outer_vars)

        def block(start: Index, count: Extent, adds: bool, asks: Coming | None) -> list[Stmt]:
            def one(strip: Strip, at: Index, row: Index, height: int, asks: Coming | None) -> list[Stmt]:
                return self._tile(strip, at, row, height, False, adds, count, start, outer, asks)

            fill = [] if self.apart else self._pack(start, outer, count)
            return [*fill, *self._pack_rows(start, outer, count), *self._over_tiles(one, asks)]

        body: list[Stmt]
        if self.step == self.depth:
            body = block(index.ZERO, self.depth, not fresh, self._next_chunk(self.depth))
        else:
            assert isinstance(self.depth, int) and isinstance(self.step, int)
            # Blocks of full size but the first and the last one are a loop.
            starts = [*range(0, self.depth, self.step)]
            count = len(starts)
            last = self.depth - starts[-1]
            after_this = coming(self, index.of(self.step), 0, self.step)
            body = block(index.ZERO, self.step, not fresh, after_this)
            s = IVar("s", count - 1)
            if count > 2:
                at = index.scale(index.of(s), self.step)
                following = coming(self, index.add(at, self.step), 0, self.step)
                middle = block(at, self.step, True, following)
                body.append(Loop(s, index.of(1), index.of(count - 1), "seq", middle))
            body += block(index.of(starts[-1]), last, True, self._next_chunk(last))
        for o in reversed(outer_vars):
            body = [Loop(o, index.ZERO, index.of(o.extent), "seq", body)]
        left = self._rows_left()
        before: list[Stmt] = []
        after: list[Stmt] = []
        if self.home is None:
            tile = next(iter(self.tile.values()))
            if not fresh:
                before = [self._clear(tile)]
            first = self.first_column(index.ZERO)
            width = self.panels * p.width
            columns = None if isinstance(self.n, int) and self.n % width == 0 else index.add(
                index.of(self.n), index.scale(first, -1))
            after = self._epilogue(tile, first, index.of(width), columns, index.ZERO, index.of(self.block), left)
        elif self.last is not None and not self.last.whole:
            assert self.last.valid is not None
            edge = self.tile[self.last]
            valid = self.last.valid
            after = self._last_panel(
                lambda at: self._epilogue(edge, self.first_column(at), index.of(valid), None, index.ZERO,
                                          index.of(self.block), left)
            )
        return [*before, *body, *after]

    def _where(self, strip: Strip, at: Index, row: Index, height: int) -> Tile:
        width = strip.width if strip.valid is None else strip.valid
        return Tile(index.add(self.first_row, row), self.first_column(at), height, width)

    def _unless_skipped(
        self, made: list[Stmt], skipped: Skipped, where: Tile, strip: Strip, at: Index, row: Index
    ) -> list[Stmt]:
        """The statements of a tile where it has to be computed, elsewhere what is known of it."""
        runs = skipped.runs(where)
        if not runs.terms:
            runs_at_all = isinstance(runs.const, int) and runs.const >= 1
            return made if runs_at_all else self._known(skipped, where, strip, row)
        one, other = IVar("runs", 1), IVar("known", 1)
        known = index.add(index.scale(runs, -1), 1)
        return [
            Loop(one, index.ZERO, index.of(1), "seq", made, limit=runs),
            Loop(other, index.ZERO, index.of(1), "seq", self._known(skipped, where, strip, row), limit=known),
        ]

    def _known(self, skipped: Skipped, where: Tile, strip: Strip, row: Index) -> list[Stmt]:
        def made(values: dict[IVar, Index], at: tuple[Index, ...]) -> list[Stmt]:
            return filled(self.group, self.classes, self.place, values, skipped.values)

        left = None if strip.valid is not None else index.add(index.of(self.n), index.scale(where.column, -1))
        return self._elements(where.column, index.of(where.width), left, row, index.of(where.height), None, made)

    def _last_panel(self, make: Callable[[Index], list[Stmt]]) -> list[Stmt]:
        return self._over_panels(lambda strip, at: make(at) if strip is self.last else [])[-1:]

    def _clear(self, tile: Buf) -> Stmt:
        i, j = IVar("i", tile.shape[0]), IVar("j", tile.shape[1])
        zero: Stmt = Store(tile, (index.of(i), index.of(j)), Const(0, tile.dtype))
        return Loop(i, index.ZERO, index.of(i.extent), "seq",
                    [Loop(j, index.ZERO, index.of(j.extent), "vec", [zero], self.plan.lanes)])

    def _over_rows(self, one: Callable[[Index, int, bool], list[Stmt]], asking: int) -> list[Stmt]:
        """Statements for all tiles of the chunk's rows, by first row, height and whether they are among the first
        `asking`: full ones, then what is left, as one lower tile or, if that varies, row by row."""
        tile = self.plan.tile_rows
        left = self._rows_left()
        whole = None if left is None else index.floordiv(left, tile)
        count, first = self.block // tile, int(self.rides)
        found: list[Stmt] = one(index.ZERO, tile, False) if self.rides else []
        turn = max(first, min(asking, count))
        for begin, end in ((first, turn), (turn, count)):
            if begin < end:
                r = IVar("r", count)
                each = one(index.scale(index.of(r), tile), tile, begin < asking)
                found.append(Loop(r, index.of(begin), index.of(end), "seq", each, limit=whole))
        if not isinstance(self.m, int):
            assert left is not None and whole is not None
            # Past a full block the first row lies beyond the end, so none are left.
            rest = IVar("rest", self.block)
            each = one(index.of(rest), 1, False)
            found.append(Loop(rest, index.scale(whole, tile), index.of(self.block), "seq", each, limit=left))
        elif self.m % tile:
            lower = self.m % tile
            if whole is None:
                found += one(index.of(self.block - lower), lower, False)
            else:
                q = IVar("rest", self.block)
                found.append(Loop(q, whole, index.of(-(-self.block // tile)), "seq",
                                  one(index.scale(index.of(q), tile), lower, False), limit=index.add(whole, 1)))
        return found

    def _tile(
        self, strip: Strip, at: Index, row: Index, height: int, finish: bool, adds: bool, count: Extent | Index,
        start: Index, outer: Outer, asks: Coming | None,
    ) -> list[Stmt]:
        p = self.plan
        source, offset = self._direct()
        values = {**self.batch_at, **outer}
        at_row, column = index.add(self.first_row, row), self.first_column(at)
        values.update(zip(p.rows, index.unflatten(at_row, tuple(v.extent for v in p.rows)), strict=True))
        values.update(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
        values.update(dict.fromkeys(p.depth, index.ZERO))
        row_stride, depth_stride = merged_stride(offset, p.rows), merged_stride(offset, p.depth)
        assert row_stride is not None and depth_stride is not None
        base = index.add(index.substitute(offset, values), index.scale(start, depth_stride))
        if self.rows is not None:
            # Tiles begin at multiples of their height, so this is tile after tile.
            source, base, row_stride, depth_stride = self.rows, index.scale(row, self.step), 1, p.tile_rows
        panel: tuple[Buf, Index, Extent]
        packs: list[tuple[Buf, Index]] = []
        if strip in self.panel:
            first = self._panel_from(at) if strip is self.full else index.ZERO
            if self.apart or finish:
                first = index.add(first, start)
            panel = self.panel[strip], index.scale(first, strip.width), strip.width
            packs = [panel[:2]] if self.rides and strip.whole and row == index.ZERO else []
        elif self.packed is not None:
            first = self.packed.at(self.b_at, index.add(self.first_panel, at), outer, start)
            panel = self.packed.buf, first, p.width
        if packs or (strip not in self.panel and self.packed is None):
            assert self.in_order is not None
            columns, there, stride = self.in_order
            panel = columns, index.add(index.substitute(there, values), index.scale(start, stride)), stride
        result: tuple[Buf, Index, Extent]
        if strip not in self.tile:
            assert self.home is not None
            home, stride = self.home
            where = [values[v] for v in self.stage.axes]
            result = home, index.linear_strides(where, home.strides), stride
        else:
            tile = self.tile[strip]
            width = tile.shape[1]
            place = index.ZERO if finish else index.scale(row, width)
            if self.several and self.home is None:
                place = index.add(place, index.scale(at, p.width))
            result = tile, place, width
        ahead = self.far if packs else self.ahead and strip not in self.panel
        across = self.scattered and self.rows is None
        shape = (self.stage.node.dtype, height, strip.vectors, strip.lanes, adds, ahead, bool(packs), across)
        # One kernel serves those that have nothing to ask for as well, as compiling another takes longer.
        asking = (self.asking and strip is self.full and height == p.tile_rows) or (*shape, True) in self.tiles
        key = (*shape, asking)
        args = [(source, base), panel[:2], *packs, result[:2]]
        strides = [count, row_stride, depth_stride, panel[2], result[2]]
        if asking:
            idle = source, base, 0
            asked, first, step = idle if asks is None else (
                first_asked(self, asks, at, index.floordiv(row, p.tile_rows), outer)
            )
            args.append((asked, first))
            strides.append(step)
        call = Call(tile_of(self.tiles, tile_kernel, key), tuple(args), tuple(index.of(n) for n in strides))
        if not finish or strip not in self.tile:
            return [call]
        hi = index.of(strip.valid if strip.valid is not None else strip.width)
        left = None if strip.valid is not None else self._columns_left(at)
        return [call, *self._epilogue(self.tile[strip], column, hi, left, row, index.of(height), None)]

    def _epilogue(
        self, tile: Buf, first: Index, hi: Index, left: Index | None, row: Index, height: Index, limit: Index | None
    ) -> list[Stmt]:
        """What happens to the finished `height` rows from `row` on: the stages of the group, element by element."""
        def made(values: dict[IVar, Index], at: tuple[Index, ...]) -> list[Stmt]:
            return finished(self.group, self.classes, self.place, values, Load(tile, at, tile.dtype))

        return self._elements(first, hi, left, row, height, limit, made)

    def _elements(
        self, first: Index, hi: Index, left: Index | None, row: Index, height: Index, limit: Index | None,
        made: Callable[[dict[IVar, Index], tuple[Index, ...]], list[Stmt]],
    ) -> list[Stmt]:
        """What `made` makes of the elements of `height` rows from `row` on, by their indices and places in the tile."""
        p = self.plan
        i, j = IVar("i", height.const), IVar("j", hi.const)
        at_row = index.add(index.add(self.first_row, row), index.of(i))
        column = index.add(first, index.of(j))
        values = dict(self.batch_at)
        values.update(zip(p.rows, index.unflatten(at_row, tuple(v.extent for v in p.rows)), strict=True))
        values.update(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
        body = made(values, (index.of(i), index.of(j)))
        out = index.linear([index.of(v) for v in self.stage.axes], self.stage.node.shape)
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
