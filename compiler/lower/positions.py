"""Window schedule with lanes along positions: convolutions and the gradients of their images."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..graph import index, sizes
from ..graph.index import Index, IVar
from .blocks import BLOCK
from .epilogue import finished, placed
from .instantiate import Shared
from .ir import Buf, Call, Kernel, Load, Loop, Stmt, Store
from .microkernel import table_tile_kernel, tile_of
from .schedule import SERIAL, lanes_for
from .sliding import Picture, WindowScheduler
from .windows import CHUNKS, IMAGE_BYTES, RESULT_BYTES, known, tile_height, vectors


class PositionScheduler(WindowScheduler):
    """Chunks are images, or bands of them. Tiles have channels as rows and positions as columns; what lies between the
    end of one row of a picture and the begin of the next is computed in vain and never stored."""

    def packing(self, name: str) -> Kernel | None:
        """Puts the other operand in the order in which tiles read it: blocks of rows, steps of the depth, rows. What a
        loop leaves alone is packed before it."""
        p = self.plan
        count = prod(known(v) for v in p.rows)
        self.height = tile_height(count, p.tall)
        blocks = -(-count // self.height)
        loops, values = self._steps()
        depth = prod(known(v) for v in loops)
        shape = (sizes.mul(sizes.product(v.extent for v in p.shared), blocks), depth, self.height)
        kept = self.place.before_loop(p.other, self.dtype, shape)
        self.packed = kept or self.place.temporary("packed", self.dtype, shape)
        chunk, i = IVar("chunk", shape[0]), IVar("i", self.height)
        *shared, block = index.unflatten(index.of(chunk), (*(v.extent for v in p.shared), blocks))
        first = index.scale(block, self.height)
        values.update(zip(p.shared, shared, strict=True))
        rows = index.unflatten(index.add(first, index.of(i)), tuple(v.extent for v in p.rows))
        values.update(zip(p.rows, rows, strict=True))
        line = index.linear([index.of(k) for k in loops], tuple(k.extent for k in loops))
        value = placed(p.other, values, self.place, {}, Shared())
        body: list[Stmt] = [Store(self.packed, (index.of(chunk), line, index.of(i)), value)]
        lanes = 2
        while 2 * lanes <= min(self.height, p.lanes):
            lanes *= 2
        left = index.add(index.of(count), index.scale(first, -1)) if count % self.height else None
        body = [Loop(i, index.ZERO, index.of(self.height), "vec", body, lanes, limit=left)]
        for k in reversed(loops):
            body = [Loop(k, index.ZERO, index.of(k.extent), "seq", body)]
        body = [Loop(chunk, index.ZERO, index.of(chunk.extent), "chunk", body)]
        kernel = Kernel(name, [], set(), chunk.extent, body, nodes=[self.stage.node])
        kernel.serial = sizes.hint(sizes.product(shape)) < SERIAL
        if kept is None:
            return kernel
        kernel.name = f"k_{self.packed.name}"
        self.place.run_before_loop(kernel)
        return None

    def _steps(self) -> tuple[list[IVar], dict[IVar, Index]]:
        """Loops over the depth in the order of the steps, and what the summed variables are in them."""
        p = self.plan
        summed = [v for v in (*p.outer, *(w.summed for w in p.windows)) if v.extent != 1]
        loops = [IVar(f"k{n}", v.extent) for n, v in enumerate(summed)]
        values = dict.fromkeys((w.summed for w in p.windows), index.ZERO)
        return loops, {**values, **self.values, **{v: index.of(k) for v, k in zip(summed, loops, strict=True)}}

    def body(self) -> list[Stmt]:
        p = self.plan
        windows = p.windows
        lead = [known(v) for v in p.outer]
        outs = [known(w.out) for w in windows]
        band, bands = self._bands(lead, outs)
        batch = (*p.own, *p.shared)
        *at, which = self._chunks("chunk", (*(v.extent for v in batch), bands))
        self.values.update(zip(batch, at, strict=True))
        first = index.scale(which, band)
        reach = [w.reach(n, known(w.summed)) for w, n in zip(windows, (band, *outs[1:]), strict=True)]
        picture = Picture(lead, windows, reach, True)
        columns = 1 + sum((n - 1) * s for n, s in zip((band, *outs[1:]), picture.pitches, strict=True))
        count = vectors(p, columns)
        width = count * p.lanes
        blocks = -(-columns // width)
        image = self._scratch("image", (picture.size + width,))
        leads = [IVar("c", v.extent) for v in p.outer]
        values = {**self.values, **{v: index.of(c) for v, c in zip(p.outer, leads, strict=True)}}
        self.before = [self._clear(image)]
        shift = None if bands == 1 else index.scale(first, windows[0].out_step)
        body = self._copy_image(picture, image, values, [(c, None) for c in leads], shift)
        loops, at_step = self._steps()
        depth = prod(known(v) for v in loops)
        where = picture.at([index.add(index.scale(at_step[w.summed], w.sum_step), w.start) for w in windows])
        for v, pitch in zip(p.outer, picture.lead, strict=True):
            where = index.add(where, index.scale(at_step[v], pitch))
        table = self._table(loops, where)
        height, total = self.height, prod(known(v) for v in p.rows)
        result = self._scratch("tile", (height, blocks * width))
        shared = index.linear([self.values[v] for v in p.shared], tuple(v.extent for v in p.shared))
        full, left = divmod(total, height)
        r = IVar("r", full)
        for block, rows in ((index.of(r), height), (index.of(full), left)):
            if not rows or (block.terms and not full):
                continue
            number = index.add(index.scale(shared, -(-total // height)), block)
            q = IVar("q", blocks)
            column = index.scale(index.of(q), width)
            key = (self.dtype, rows, count, p.lanes)
            call = Call(
                tile_of(self.tiles, table_tile_kernel, key),
                ((self.packed, index.scale(number, depth * height)), (image, column), (table, index.ZERO),
                 (result, column)),
                (index.of(depth), index.of(height), index.of(blocks * width)),
            )
            inner: list[Stmt] = [Loop(q, index.ZERO, index.of(blocks), "seq", [call])]
            inner += self._finish_row(picture, result, index.scale(block, height), rows, first, band)
            body += [Loop(r, index.ZERO, index.of(full), "seq", inner)] if block.terms else inner
        return body

    def _bands(self, lead: Sequence[int], outs: Sequence[int]) -> tuple[int, int]:
        """How many positions of the first axis a chunk takes, and the number of chunks that makes."""
        p, itemsize = self.plan, self.dtype.itemsize

        def fits(band: int) -> bool:
            reach = [w.reach(n, known(w.summed)) for w, n in zip(p.windows, (band, *outs[1:]), strict=True)]
            picture = Picture(lead, p.windows, reach, True)
            columns = picture.plane
            return picture.size * itemsize <= IMAGE_BYTES and p.tall * columns * itemsize <= RESULT_BYTES

        most = outs[0]
        while most > 1 and not fits(most):
            most = -(-most // 2)
        batch = sizes.hint(sizes.product(v.extent for v in (*p.own, *p.shared)))
        work = 2 * prod(sizes.hint(v.extent) for v in self.stage.loop_axes)
        wanted = max(1, min(-(-CHUNKS // max(1, batch)), work // BLOCK))
        most = min(most, -(-outs[0] // wanted))
        bands = -(-outs[0] // most)
        return -(-outs[0] // bands), bands

    def _finish_row(
        self, picture: Picture, result: Buf, start: Index, rows: int, first: Index, band: int
    ) -> list[Stmt]:
        """What happens to finished rows, picture by picture; the last axis of positions is that of the lanes."""
        p = self.plan
        i = IVar("i", rows)
        row = index.unflatten(index.add(start, index.of(i)), tuple(v.extent for v in p.rows))
        values = {**self.values, **dict(zip(p.rows, row, strict=True))}
        column = index.ZERO
        ys: list[IVar] = []
        for k, (w, pitch) in enumerate(zip(p.windows, picture.pitches, strict=True)):
            y = IVar("x" if k == len(p.windows) - 1 else "y", band if k == 0 else w.out.extent)
            ys.append(y)
            values[w.out] = index.add(first, index.of(y)) if k == 0 else index.of(y)
            column = index.add(column, index.scale(index.of(y), pitch))
        body = finished(self.group, self.classes, self.place, values, Load(result, (index.of(i), column), self.dtype))
        whole = known(p.windows[0].out)
        limit = None if whole % band == 0 else index.add(index.of(whole), index.scale(first, -1))
        for k in reversed(range(len(ys))):
            kind, lanes = ("vec", lanes_for(body, self.target)) if k == len(ys) - 1 else ("seq", 1)
            body = [Loop(ys[k], index.ZERO, index.of(ys[k].extent), kind, body, lanes, limit=limit if k == 0 else None)]
        return [Loop(i, index.ZERO, index.of(rows), "seq", body)]
