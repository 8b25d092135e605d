"""Window schedule with lanes along positions: convolutions and the gradients of their images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod

from ..graph import index, sizes
from ..graph.index import Index, IVar
from ..graph.sizes import Extent
from .blocks import BLOCK
from .epilogue import finished, placed
from .instantiate import Shared
from .ir import Buf, Load, Loop, Stmt, Store
from .schedule import lanes_for
from .sliding import Level, Picture, WindowScheduler
from .windows import CHUNKS, IMAGE_BYTES, RESULT_BYTES, known, runs, tile_height, vectors


class PositionScheduler(WindowScheduler):
    """Chunks are images, or bands of them. Tiles have channels as rows and positions as columns; what lies between the
    end of one row of a picture and the begin of the next is computed in vain and never stored."""

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
        body = [self._clear(image)]
        shift = index.scale(first, windows[0].out_step)
        body += self._copy_image(picture, image, values, [(c, None) for c in leads], shift)
        weights, base, steps, packing = self._other()
        body += packing
        row = max(p.rows, key=lambda v: sizes.hint(v.extent), default=IVar("row", 1))
        rest = [v for v in p.rows if v is not row]
        loops = [IVar("o", v.extent) for v in rest]
        for v, o in zip(rest, loops, strict=True):
            base = index.add(base, index.scale(index.of(o), steps[v]))
        height = tile_height(known(row), p.tall)
        result = self._scratch("tile", (height, blocks * width))
        full, left = divmod(known(row), height)
        r = IVar("r", full)
        tiled: list[Stmt] = []
        for start, rows, loop in ((index.scale(index.of(r), height), height, r), (index.of(full * height), left, None)):
            if not rows:
                continue
            offset = index.add(base, index.scale(start, steps.get(row, 0)))
            inner = self._tile_row(picture, image, weights, offset, steps, row, rows, result, blocks, count)
            others = dict(zip(rest, map(index.of, loops), strict=True))
            inner += self._finish_row(picture, result, others, row, start, rows, first, band)
            tiled += inner if loop is None else [Loop(loop, index.ZERO, index.of(full), "seq", inner)]
        for o in reversed(loops):
            tiled = [Loop(o, index.ZERO, index.of(o.extent), "seq", tiled)]
        return body + tiled

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

    def _other(self) -> tuple[Buf, Index, dict[IVar, Extent], list[Stmt]]:
        """The other operand as memory: where it begins, how far its variables move in it, and what puts it there."""
        p = self.plan
        moving = [v for v in (*p.rows, *p.outer, *(w.summed for w in p.windows)) if v.extent != 1]
        if isinstance(p.other, Load) and not p.other.guards:
            buf = self.place.buffer(p.other.buf)
            offset = index.linear_strides(p.other.index, buf.strides)
            steps = {v: offset.affine_in(v) for v in moving}
            if all(s is not None for s in steps.values()):
                at = {**self.values, **dict.fromkeys(moving, index.ZERO)}
                base = index.linear_strides([index.substitute(i, at) for i in p.other.index], buf.strides)
                return buf, base, {v: s for v, s in steps.items() if s is not None}, []
        weights = self._scratch("weights", tuple(v.extent for v in moving) or (1,))
        own = [IVar("w", v.extent) for v in moving]
        values = {**self.values, **{v: index.of(o) for v, o in zip(moving, own, strict=True)}}
        value = placed(p.other, values, self.place, {}, Shared())
        body: list[Stmt] = [Store(weights, tuple(index.of(o) for o in own) or (index.ZERO,), value)]
        for o in reversed(own):
            body = [Loop(o, index.ZERO, index.of(o.extent), "seq", body)]
        return weights, index.ZERO, dict(zip(moving, weights.strides, strict=False)), body

    def _tile_row(
        self, picture: Picture, image: Buf, weights: Buf, base: Index, steps: dict[IVar, Extent], row: IVar, rows: int,
        result: Buf, blocks: int, count: int,
    ) -> list[Stmt]:
        """All tiles of some rows: one call for every phase that places of the windows fall into."""
        p = self.plan
        width = count * p.lanes
        q = IVar("q", blocks)
        column = index.scale(index.of(q), width)
        body: list[Stmt] = []
        for several in itertools.product(*(runs(w) for w in p.windows)):
            levels: list[Level] = [
                (v.extent, steps.get(v, 0), pitch) for v, pitch in zip(p.outer, picture.lead, strict=True)
            ]
            a_at, b_at = base, index.add(column, picture.phase([run.phase for run in several]))
            for w, run, pitch in zip(p.windows, several, picture.pitches, strict=True):
                step = steps.get(w.summed, 0)
                levels.append((run.count, sizes.mul(step, run.step), run.apart * pitch))
                a_at = index.add(a_at, sizes.mul(step, run.first))
                b_at = index.add(b_at, run.at * pitch)
            body.append(self._call(weights, a_at, image, b_at, result, column, (1, rows), count, bool(body),
                                   (0, steps.get(row, 0), blocks * width), levels))
        return [Loop(q, index.ZERO, index.of(blocks), "seq", body)]

    def _finish_row(
        self, picture: Picture, result: Buf, rest: dict[IVar, Index], row: IVar, start: Index, rows: int, first: Index,
        band: int,
    ) -> list[Stmt]:
        """What happens to finished rows, picture by picture; the last axis of positions is that of the lanes."""
        p = self.plan
        i = IVar("i", rows)
        values = {**self.values, **rest, row: index.add(start, index.of(i))}
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
