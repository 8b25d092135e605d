"""Window schedule with positions as the depth: gradients of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..graph import index, sizes
from ..graph.index import Index, IVar
from ..graph.sizes import Extent
from .epilogue import finished, placed
from .instantiate import Shared
from .ir import Buf, Call, Const, Load, Loop, Routine, Stmt, Store
from .microkernel import place_tile_kernel, tile_of
from .schedule import lanes_for
from .sliding import Picture, WindowScheduler
from .tiling import merged_stride
from .windows import IMAGE_BYTES, PANEL_BYTES, known, panels, row_blocks, tile_height, vectors

STRETCH = 64  # positions that are turned at once, so that what is written stays near


class PlaceScheduler(WindowScheduler):
    """Chunks are some channels of several images. Tiles have channels and places of the kernel as rows, and channels of
    the packed operand as columns; sums stay in scratch until all images of a chunk went through."""

    def body(self) -> list[Stmt]:
        p = self.plan
        columns = prod(known(v) for v in p.rows)
        count = vectors(p, columns)
        width = count * p.lanes
        block, blocks = row_blocks(p, self.stage)
        *at, panel, block_at, part = self._chunks("chunk", (*(v.extent for v in p.shared), panels(p), blocks, p.parts))
        self.values.update(zip(p.shared, at, strict=True))
        self.first_column = index.scale(panel, width)
        own = [IVar("c", block if k == 0 else known(v)) for k, v in enumerate(p.own)]
        first_own = index.scale(block_at, block)
        left = None
        if p.own and p.own[0].extent != block * blocks:
            left = index.add(index.of(p.own[0].extent), index.scale(first_own, -1))
        band = self._depth(own, width)
        first = p.windows[0]
        depths = [band, *(known(w.summed) for w in p.windows[1:])]
        reach = [w.reach(known(w.out), n) for w, n in zip(p.windows, depths, strict=True)]
        picture = Picture([known(v) for v in own], p.windows, reach, False)
        pixels = prod(depths[1:])
        image = self._scratch("image", (picture.size,))
        packed = self._scratch("panel", (band * pixels, width))
        axes = [*zip(own, picture.lead, strict=True)]
        steps = [IVar("y", n) for n in depths]
        where = index.ZERO
        for y, w, pitch in zip(steps, p.windows, picture.pitches, strict=True):
            where = index.add(where, index.scale(index.add(index.scale(index.of(y), w.sum_step), w.start), pitch))
        table = self._table(steps, where)
        places = [IVar("k", w.out.extent) for w in p.windows]
        axes += [(k, w.out_step * pitch) for k, w, pitch in zip(places, p.windows, picture.pitches, strict=True)]
        tiled, rows = self._row_tile(axes, count)
        total = prod(known(v) for v, _ in axes)
        sums = self._scratch("sums", (total, width))
        unit = IVar("n", p.per_part)
        units = sizes.product(v.extent for v in p.outer)
        number = index.add(index.scale(part, p.per_part), index.of(unit))
        outer = dict(zip(p.outer, index.unflatten(number, tuple(v.extent for v in p.outer)), strict=True))
        values = {**self.values, **outer}
        if p.own:
            values[p.own[0]] = index.add(first_own, index.of(own[0]))
            values.update({v: index.of(c) for v, c in zip(p.own[1:], own[1:], strict=True)})
        leads = [(c, left if k == 0 else None) for k, c in enumerate(own)]
        whole, rest = divmod(known(first.summed), band)

        def step(start: Index, depth: int) -> list[Stmt]:
            shift = None if whole == 1 and not rest else index.scale(start, first.sum_step)
            body = self._copy_image(picture, image, values, leads, shift)
            body += self._pack(packed, {**self.values, **outer}, start, depth, columns)
            return body + self._multiply(table, image, packed, sums, axes, tiled, rows, count, depth * pixels)

        if whole == 1 and not rest:
            body = step(index.ZERO, band)
        else:
            b = IVar("b", whole)
            body = [Loop(b, index.ZERO, index.of(whole), "seq", step(index.scale(index.of(b), band), band))]
            if rest:
                body += step(index.of(whole * band), rest)
        last = None
        if not (isinstance(units, int) and isinstance(p.parts, int) and units == p.parts * p.per_part):
            last = index.add(index.of(units), index.scale(part, -p.per_part))
        around: list[Stmt] = [Loop(unit, index.ZERO, index.of(p.per_part), "seq", body, limit=last)]
        order = [v for v, _ in axes if v not in tiled] + list(tiled)
        line = index.linear([index.of(v) for v in order], tuple(v.extent for v in order))
        self.before += [self._clear(image), *([self._clear(packed)] if columns % width else [])]
        return [self._clear(sums), *around,
                *self._finish_sums(sums, line, own, first_own, left, places, part, columns, width)]

    def _depth(self, own: Sequence[IVar], width: int) -> int:
        """How many positions of the first axis go at once."""
        p, itemsize = self.plan, self.dtype.itemsize
        first, *others = p.windows
        whole = known(first.summed)
        if first.sum_step < 0:
            return whole
        pixels = prod(known(w.summed) for w in others)
        each = prod(known(v) for v in own) * prod(w.reach(known(w.out), known(w.summed)) for w in others)
        most = max(1, PANEL_BYTES // (pixels * width * itemsize))
        while most > 1 and each * first.reach(known(first.out), most) * itemsize > IMAGE_BYTES:
            most = -(-most // 2)
        return -(-whole // -(-whole // most))

    def _row_tile(self, axes: Sequence[tuple[IVar, int]], count: int) -> tuple[tuple[IVar, ...], tuple[int, int]]:
        """The axes along which tiles have their rows, and how many of each: one in part, or two wholly."""
        p = self.plan
        one = max((v for v, _ in axes), key=lambda v: tile_height(known(v), p.tall))
        height = tile_height(known(one), p.tall)
        room = (24 if p.tall == 8 else 12) // count
        pair = axes[-2:]
        several = prod(known(v) for v, _ in pair)
        if len(pair) == 2 and height < several <= room:
            return (pair[0][0], pair[1][0]), (known(pair[0][0]), known(pair[1][0]))
        return (one,), (1, height)

    def _pack(self, packed: Buf, values: dict[IVar, Index], start: Index, depth: int, columns: int) -> list[Stmt]:
        """The other operand with its columns side by side, position after position; columns that do not exist are 0."""
        p = self.plan
        width = packed.shape[1]
        assert isinstance(width, int)
        if (across := self._across(columns, width)) is not None:
            return self._turn(*across, packed, values, start, depth, min(columns, width))
        j = IVar("j", width)
        column = index.add(self.first_column, index.of(j))
        values = {**values, **dict(zip(p.rows, index.unflatten(column, tuple(v.extent for v in p.rows)), strict=True))}
        ys = [IVar("y", depth if k == 0 else w.summed.extent) for k, w in enumerate(p.windows)]
        for k, (w, y) in enumerate(zip(p.windows, ys, strict=True)):
            values[w.summed] = index.add(start, index.of(y)) if k == 0 else index.of(y)
        line = index.linear([index.of(y) for y in ys], tuple(y.extent for y in ys))
        value = placed(p.other, values, self.place, {}, Shared())
        body: list[Stmt] = [Store(packed, (line, index.of(j)), value)]
        hi, limit = self._valid(columns, width)
        loops: list[Stmt] = [Loop(j, index.ZERO, hi, "vec", body, lanes_for(body, self.target), limit=limit)]
        if limit is not None or hi.const != width:
            z = IVar("z", width)
            zero: list[Stmt] = [Store(packed, (line, index.of(z)), Const(0, self.dtype))]
            loops = [Loop(z, index.ZERO, index.of(width), "vec", zero, p.lanes), *loops]
        for y in reversed(ys):
            loops = [Loop(y, index.ZERO, index.of(y.extent), "seq", loops)]
        return loops

    def _across(self, columns: int, width: int) -> tuple[Buf, Index, Extent] | None:
        """The other operand with the stride of its columns, where it is contiguous along the positions."""
        p = self.plan
        if not isinstance(p.other, Load) or p.other.guards or (columns > width and columns % width):
            return None
        source = self.place.buffer(p.other.buf)
        offset = index.linear_strides(p.other.index, source.strides)
        summed = [w.summed for w in p.windows]
        if any(offset.affine_in(v) is None for v in (*p.rows, *p.shared, *p.outer, *summed)):
            return None
        stride = merged_stride(offset, p.rows)
        if merged_stride(offset, summed) != 1 or stride is None or stride in (0, 1):
            return None
        return source, offset, stride

    def _turn(
        self, source: Buf, offset: Index, stride: Extent, packed: Buf, values: dict[IVar, Index], start: Index,
        depth: int, columns: int,
    ) -> list[Stmt]:
        """The panel from columns that lie across, a stretch of positions at a time; other columns stay as they are."""
        p = self.plan
        first = index.unflatten(self.first_column, tuple(v.extent for v in p.rows))
        values = {**values, **dict(zip(p.rows, first, strict=True))}
        values.update({w.summed: start if k == 0 else index.ZERO for k, w in enumerate(p.windows)})
        base, width = index.substitute(offset, values), packed.shape[1]
        count = depth * prod(known(w.summed) for w in p.windows[1:])

        def turned(at: Index, steps: int) -> Stmt:
            args = ((source, index.add(base, at)), (packed, index.scale(at, width)))
            sizes_ = tuple(index.of(n) for n in (stride, width, columns, steps))
            return Call(Routine("turn", self.dtype, (False, True)), args, sizes_)

        s = IVar("s", count // STRETCH)
        found: list[Stmt] = []
        if count >= STRETCH:
            body = [turned(index.scale(index.of(s), STRETCH), STRETCH)]
            found.append(Loop(s, index.ZERO, index.of(s.extent), "seq", body))
        if count % STRETCH:
            found.append(turned(index.of(count - count % STRETCH), count % STRETCH))
        return found

    def _valid(self, columns: int, width: int) -> tuple[Index, Index | None]:
        """How many columns of a panel exist."""
        if columns <= width:
            return index.of(columns), None
        if columns % width == 0:
            return index.of(width), None
        return index.of(width), index.add(index.of(columns), index.scale(self.first_column, -1))

    def _multiply(
        self, table: Buf, image: Buf, packed: Buf, sums: Buf, axes: Sequence[tuple[IVar, int]],
        tiled: Sequence[IVar], rows: tuple[int, int], count: int, depth: int,
    ) -> list[Stmt]:
        """Adds what a panel gives to all sums."""
        p = self.plan
        width = count * p.lanes
        a_at = index.ZERO
        step = dict(axes)
        others = [v for v, _ in axes if v not in tiled]
        sizes_ = tuple(v.extent for v in (*others, *tiled))
        for v in others:
            a_at = index.add(a_at, index.scale(index.of(v), step[v]))

        def tiled_at(start: Index, rows: tuple[int, int]) -> list[Stmt]:
            line = index.linear([*map(index.of, others), start, *([index.ZERO] * (len(tiled) - 1))], sizes_)
            outer_row = step[tiled[0]] if len(tiled) == 2 else 0
            begin = index.add(a_at, index.scale(start, step[tiled[0]]))
            tile = tile_of(self.tiles, place_tile_kernel, (self.dtype, rows, count, p.lanes))
            return [Call(
                tile, ((image, begin), (table, index.ZERO), (packed, index.ZERO), (sums, index.scale(line, width))),
                tuple(index.of(n) for n in (depth, outer_row, step[tiled[-1]])),
            )]

        if len(tiled) == 2:
            body = tiled_at(index.ZERO, rows)
        else:
            full, left = divmod(known(tiled[0]), rows[1])
            r = IVar("r", full)
            body = [Loop(r, index.ZERO, index.of(full), "seq", tiled_at(index.scale(index.of(r), rows[1]), rows))]
            if left:
                body += tiled_at(index.of(full * rows[1]), (1, left))
        for v in reversed(others):
            body = [Loop(v, index.ZERO, index.of(v.extent), "seq", body)]
        return body

    def _finish_sums(
        self, sums: Buf, line: Index, own: Sequence[IVar], first_own: Index, left: Index | None,
        places: Sequence[IVar], part: Index, columns: int, width: int,
    ) -> list[Stmt]:
        """Leaves the sums of a chunk of images, or what follows from sums of all of them."""
        p = self.plan
        j = IVar("j", width)
        column = index.add(self.first_column, index.of(j))
        values = dict(self.values)
        values.update(zip(p.rows, index.unflatten(column, tuple(v.extent for v in p.rows)), strict=True))
        values.update({w.out: index.of(k) for w, k in zip(p.windows, places, strict=True)})
        for k, (v, c) in enumerate(zip(p.own, own, strict=True)):
            values[v] = index.add(first_own, index.of(c)) if k == 0 else index.of(c)
        element = Load(sums, (line, index.of(j)), self.dtype)
        if p.parts == 1:
            body = finished(self.group, self.classes, self.place, values, element)
        else:
            home = self.place.partial(self.stage, p.parts)
            body = [Store(home, (part, *(values[v] for v in self.stage.axes)), element)]
        hi, limit = self._valid(columns, width)
        loops: list[Stmt] = [Loop(j, index.ZERO, hi, "vec", body, lanes_for(body, self.target), limit=limit)]
        for k, v in reversed(list(enumerate([*own, *places]))):
            bound = left if k == 0 and own else None
            loops = [Loop(v, index.ZERO, index.of(v.extent), "seq", loops, limit=bound)]
        return loops
