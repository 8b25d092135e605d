"""Window schedules: convolutions and their gradients, with images that lie padded in scratch (see `windows.py`)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import gcd, prod

from ..artifact import Target
from ..graph import index, sizes
from ..graph.dtypes import DType
from ..graph.index import Index, IVar
from ..graph.sizes import Dim, Extent
from .fuse import Classes, Group
from .instantiate import Shared
from .ir import Buf, Call, Const, Expr, Kernel, Load, Loop, Op, Reduce, Stmt, Store
from .schedule import Placement, lanes_for
from .tiles import BLOCK, PANELS, SERIAL, finished, placed
from .windows import (
    IMAGE_BYTES,
    PANEL_BYTES,
    RESULT_BYTES,
    Window,
    WindowPlan,
    panels,
    row_blocks,
    runs,
    tile_height,
    vectors,
)

Level = tuple[Extent, Extent, Extent]  # a loop over the depth: steps, and how far each moves in both operands


def nested_tile_kernel(
    dtype: DType, rows: tuple[int, int], vectors: int, lanes: int, adds: bool, levels: int
) -> Kernel:
    """c[rows, width] (+)= Σ a[row offset + depth offset] · b[depth offset, width], in registers.

    Rows come in two levels with a stride each; the depth has as many levels as it takes to walk through a window.
    """
    width, count = vectors * lanes, rows[0] * rows[1]
    outer_row, inner_row, c_row = (Dim(n, min=0) for n in ("outer_row", "inner_row", "c_row"))
    a = Buf("a", dtype, (1,), "arg")
    b = Buf("b", dtype, (1,), "arg")
    c = Buf("c", dtype, (count, width), "arg", (c_row, 1))
    acc = Buf("c", dtype, (count, width), "register")
    column = Buf("b", dtype, (width,), "register")
    row = Buf("a", dtype, (count, lanes), "register")
    depth = [Dim(f"depth{n}", min=0) for n in range(levels)]
    a_step, b_step = ([Dim(f"{side}_step{n}", min=0) for n in range(levels)] for side in "ab")
    i, j = IVar("i", count), IVar("j", width)
    ks = [IVar(f"k{n}", depth[n]) for n in range(levels)]
    at = (index.of(i), index.of(j))
    a_at, b_at = (Index(zip(ks, steps, strict=True)) for steps in (a_step, b_step))
    a_at = index.add(a_at, index.scale(index.floordiv(index.of(i), rows[1]), outer_row))
    a_at = index.add(a_at, index.scale(index.mod(index.of(i), rows[1]), inner_row))

    def columns(statement: Stmt, vectors: int = vectors) -> Loop:
        return Loop(j, index.ZERO, index.of(vectors * lanes), "vec", [statement], lanes, vectors)

    def each_row(*statements: Stmt) -> Loop:
        return Loop(i, index.ZERO, index.of(count), "unroll", list(statements))

    product = Op("pair", (Load(row, (index.of(i), index.ZERO), dtype), Load(column, (index.of(j),), dtype)), dtype)
    step: list[Stmt] = [
        columns(Store(column, (index.of(j),), Load(b, (index.add(b_at, index.of(j)),), dtype))),
        each_row(columns(Store(row, at, Load(a, (a_at,), dtype)), 1), columns(Reduce(acc, at, "fma", product))),
    ]
    for k in reversed(ks):
        step = [Loop(k, index.ZERO, index.of(k.extent), "seq", step)]
    begin: Expr = Load(c, at, dtype) if adds else Const(0, dtype)
    body = [each_row(columns(Store(acc, at, begin))), *step, each_row(columns(Store(c, at, Load(acc, at, dtype))))]
    height = f"{rows[0]}_{rows[1]}" if rows[0] > 1 else f"{count}"
    name = f"tile_{'add_' if adds else ''}{height}x{width}_{levels}{'d' if dtype.itemsize == 8 else ''}"
    kernel = Kernel(name, [a, b, c], {c}, 1, body, inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [outer_row, inner_row, c_row]
    for n in range(levels):
        kernel.size_params += [depth[n], a_step[n], b_step[n]]
    kernel.title = f"c[{count}, {width}] {'+' if adds else ''}= a[{count}, depth] @ b[depth, {width}]"
    return kernel


def _merged(levels: Sequence[Level]) -> list[Level]:
    """Levels without those of one step; what lies evenly in both operands becomes one."""
    found: list[Level] = []
    for extent, a, b in levels:
        if extent == 1:
            continue
        if found and found[-1][1] == sizes.mul(a, extent) and found[-1][2] == sizes.mul(b, extent):
            found[-1] = (sizes.mul(found[-1][0], extent), a, b)
        else:
            found.append((extent, a, b))
    return found or [(1, 0, 0)]


class Picture:
    """How an image lies in scratch: lead axes, then the phases of the strides, then the places of each phase."""

    def __init__(self, lead: Sequence[int], windows: Sequence[Window], reach: Sequence[int], phased: bool) -> None:
        self.windows, self.reach = windows, reach
        self.strides = [w.out_step if phased else 1 for w in windows]
        places = [-(-r // s) for r, s in zip(reach, self.strides, strict=True)]
        self.pitches = [prod(places[k + 1 :]) for k in range(len(places))]
        self.plane = prod(places)
        self.places = places
        each = self.plane * prod(self.strides)
        self.lead = [each * prod(lead[k + 1 :]) for k in range(len(lead))]
        self.size = each * prod(lead)

    def phase(self, phases: Sequence[int]) -> int:
        return self.plane * sum(p * prod(self.strides[k + 1 :]) for k, p in enumerate(phases))


class WindowScheduler:
    """Builds the kernel of a contraction over windows. `build` is the only entry."""

    def __init__(
        self, group: Group, plan: WindowPlan, classes: Classes, place: Placement, target: Target, name: str,
        tiles: dict[tuple[object, ...], Kernel],
    ) -> None:
        self.group, self.plan, self.classes, self.place, self.target = group, plan, classes, place, target
        self.stage = group.stages[0]
        self.dtype = self.stage.node.dtype
        self.kernel = Kernel(name, [], set(), 1, [])
        self.tiles = tiles
        self.values: dict[IVar, Index] = {v: index.ZERO for v in self.stage.loop_axes if v.extent == 1}

    def build(self) -> Kernel:
        body = self._positions() if self.plan.over_positions else self._places()
        chunks = self.chunk.extent
        self.kernel.chunks = chunks
        self.kernel.body = [Loop(self.chunk, index.ZERO, index.of(chunks), "chunk", body)]
        self.kernel.nodes = [s.node for s in self.group.stages]
        self.kernel.flops = sizes.mul(2, sizes.product(v.extent for v in self.stage.loop_axes))
        self.kernel.serial = sizes.hint(self.kernel.flops) < SERIAL
        return self.kernel

    def _chunks(self, name: str, extents: Sequence[Extent]) -> tuple[Index, ...]:
        self.chunk = IVar(name, sizes.product(extents))
        return index.unflatten(index.of(self.chunk), tuple(extents))

    def _scratch(self, name: str, shape: tuple[Extent, ...]) -> Buf:
        buf = Buf(name, self.dtype, shape, "scratch")
        self.kernel.scratch.append(buf)
        return buf

    def _clear(self, buf: Buf) -> Stmt:
        z = IVar("z", sizes.product(buf.shape))
        at = (*(index.ZERO,) * (len(buf.shape) - 1), index.of(z))
        return Loop(z, index.ZERO, index.of(z.extent), "vec", [Store(buf, at, Const(0, self.dtype))], self.plan.lanes)

    # Images to scratch

    def _copy_image(
        self, picture: Picture, home: Buf, values: dict[IVar, Index], lead: Sequence[tuple[IVar, Index | None]],
        shift: Index,
    ) -> list[Stmt]:
        """Copies what lies at the places from `shift` on of the first window, padding included for all but the last.

        `lead` are the variables of the lead axes, with a limit for blocks that may be incomplete.
        """
        loops: list[tuple[IVar, Index | None]] = []
        values = dict(values)
        where = index.ZERO
        for (v, limit), pitch in zip(lead, picture.lead, strict=True):
            if isinstance(v.extent, int) and v.extent != 1:
                loops.append((v, limit))
            where = index.add(where, index.scale(index.of(v), pitch))
        result: list[Stmt] = []
        for phases in itertools.product(*(range(s) for s in picture.strides)):
            inner = self._copy_phase(picture, home, values, phases, where, shift)
            result.extend(inner)
        for v, limit in reversed(loops):
            result = [Loop(v, index.ZERO, index.of(v.extent), "seq", result, limit=limit)]
        return result

    def _copy_phase(
        self, picture: Picture, home: Buf, values: dict[IVar, Index], phases: Sequence[int], where: Index, shift: Index
    ) -> list[Stmt]:
        values = dict(values)
        where = index.add(where, picture.phase(phases))
        rows: list[IVar] = []
        last = len(phases) - 1
        for k, (w, phase) in enumerate(zip(picture.windows, phases, strict=True)):
            stride, pitch = picture.strides[k], picture.pitches[k]
            start = shift if k == 0 else index.ZERO
            if k < last or start != index.ZERO:
                # Rows outside the image are cleared by the guards of its elements.
                u = IVar("u" if k < last else "v", -(-(picture.reach[k] - phase) // stride))
                at, place = index.of(u), index.add(index.scale(index.of(u), stride), index.add(start, phase))
            else:
                found = _elements(w, picture.reach[k], stride, phase)
                if found is None:
                    return []
                first, step, count = found
                u = IVar("e", count)
                numerator = first * w.divisor - w.low
                place = index.add(index.scale(index.of(u), step * w.divisor), numerator)
                at = index.add(index.scale(index.of(u), step * w.divisor // stride), numerator // stride)
            values[w.place] = place
            where = index.add(where, index.scale(at, pitch))
            rows.append(u)
        value = placed(self.plan.image, values, self.place, {}, Shared())
        body: list[Stmt] = [Store(home, (where,), value)]
        body = [Loop(rows[-1], index.ZERO, index.of(rows[-1].extent), "vec", body, lanes_for(body, self.target))]
        for u in reversed(rows[:-1]):
            body = [Loop(u, index.ZERO, index.of(u.extent), "seq", body)]
        return body

    # Lanes along positions

    def _positions(self) -> list[Stmt]:
        p = self.plan
        windows = p.windows
        lead = [v.extent for v in p.outer]
        outs = [w.out.extent for w in windows]
        band, bands = self._bands(lead, outs)  # type: ignore[arg-type]
        batch = (*p.own, *p.shared)
        *at, which = self._chunks("chunk", (*(v.extent for v in batch), bands))
        self.values.update(zip(batch, at, strict=True))
        first = index.scale(which, band)
        reach = [w.reach(band if k == 0 else w.out.extent, w.summed.extent) for k, w in enumerate(windows)]  # type: ignore[arg-type]
        picture = Picture(lead, windows, reach, True)  # type: ignore[arg-type]
        columns = 1 + sum((n - 1) * s for n, s in zip((band, *outs[1:]), picture.pitches, strict=True))  # type: ignore[operator]
        count = vectors(p, columns)
        width = count * p.lanes
        blocks = -(-columns // width)
        image = self._scratch("image", (picture.size + width,))
        leads = [IVar("c", v.extent) for v in p.outer]
        values = {**self.values, **{v: index.of(c) for v, c in zip(p.outer, leads, strict=True)}}
        body = [self._clear(image)]
        body += self._copy_image(picture, image, values, [(c, None) for c in leads], index.scale(first, windows[0].out_step))
        weights, base, steps, packing = self._other()
        body += packing
        row = max(p.rows, key=lambda v: sizes.hint(v.extent), default=IVar("row", 1))
        rest = [v for v in p.rows if v is not row]
        loops = [IVar("o", v.extent) for v in rest]
        for v, o in zip(rest, loops, strict=True):
            base = index.add(base, index.scale(index.of(o), steps[v]))
        assert isinstance(row.extent, int)
        height = tile_height(row.extent, p.tall)
        result = self._scratch("tile", (height, blocks * width))
        full, left = divmod(row.extent, height)
        r = IVar("r", full)
        tiled: list[Stmt] = []
        for start, rows, loop in ((index.scale(index.of(r), height), height, r), (index.of(full * height), left, None)):
            if not rows:
                continue
            offset = index.add(base, index.scale(start, steps.get(row, 0)))
            inner = self._tile_row(picture, image, weights, offset, steps, row, rows, result, blocks, count)
            inner += self._finish_row(picture, result, {**dict(zip(rest, map(index.of, loops), strict=True))}, row,
                                      start, rows, first, band)
            if loop is not None and full > 1:
                inner = [Loop(loop, index.ZERO, index.of(full), "seq", inner)]
            elif loop is not None:
                inner = [Loop(loop, index.ZERO, index.of(1), "seq", inner)]
            tiled += inner
        for o in reversed(loops):
            tiled = [Loop(o, index.ZERO, index.of(o.extent), "seq", tiled)]
        return body + tiled

    def _bands(self, lead: Sequence[int], outs: Sequence[int]) -> tuple[int, int]:
        """How many positions of the first axis a chunk takes, and the number of chunks that makes."""
        p, itemsize = self.plan, self.dtype.itemsize
        first, *others = p.windows

        def fits(band: int) -> bool:
            reach = [first.reach(band, first.summed.extent), *(w.reach(w.out.extent, w.summed.extent) for w in others)]  # type: ignore[arg-type]
            picture = Picture(lead, p.windows, reach, True)
            columns = picture.plane
            return picture.size * itemsize <= IMAGE_BYTES and p.tall * columns * itemsize <= RESULT_BYTES

        most = outs[0]
        while most > 1 and not fits(most):
            most = -(-most // 2)
        batch = sizes.hint(sizes.product(v.extent for v in (*p.own, *p.shared)))
        work = 2 * prod(sizes.hint(v.extent) for v in self.stage.loop_axes)
        wanted = max(1, min(-(-PANELS // max(1, batch)), work // BLOCK))
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

    def _call(
        self, a: Buf, a_at: Index, b: Buf, b_at: Index, c: Buf, c_at: Index, rows: tuple[int, int], count: int,
        adds: bool, strides: tuple[Extent, Extent, Extent], levels: Sequence[Level],
    ) -> Stmt:
        levels = _merged(levels)
        key = (self.dtype, rows, count, self.plan.lanes, adds, len(levels))
        if key not in self.tiles:
            self.tiles[key] = nested_tile_kernel(*key)
        sizes_ = [index.of(s) for s in (*strides, *(n for level in levels for n in level))]
        return Call(self.tiles[key], ((a, a_at), (b, b_at), (c, c_at)), tuple(sizes_))

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
        whole = p.windows[0].out.extent
        assert isinstance(whole, int)
        limit = None if whole % band == 0 else index.add(index.of(whole), index.scale(first, -1))
        for k in reversed(range(len(ys))):
            kind, lanes = ("vec", lanes_for(body, self.target)) if k == len(ys) - 1 else ("seq", 1)
            body = [Loop(ys[k], index.ZERO, index.of(ys[k].extent), kind, body, lanes, limit=limit if k == 0 else None)]
        return [Loop(i, index.ZERO, index.of(rows), "seq", body)]

    # Positions as the depth

    def _places(self) -> list[Stmt]:
        p = self.plan
        columns = prod(v.extent for v in p.rows)  # type: ignore[misc]
        count = vectors(p, columns)
        width = count * p.lanes
        block, blocks = row_blocks(p, self.stage)
        *at, panel, block_at, part = self._chunks("chunk", (*(v.extent for v in p.shared), panels(p), blocks, p.parts))
        self.values.update(zip(p.shared, at, strict=True))
        self.first_column = index.scale(panel, width)
        own = [IVar("c", block if k == 0 else v.extent) for k, v in enumerate(p.own)]
        first_own = index.scale(block_at, block)
        left = None
        if p.own and p.own[0].extent != block * blocks:
            left = index.add(index.of(p.own[0].extent), index.scale(first_own, -1))
        band = self._depth(own, width)
        first = p.windows[0]
        reach = [w.reach(w.out.extent, band if k == 0 else w.summed.extent) for k, w in enumerate(p.windows)]  # type: ignore[arg-type]
        picture = Picture([v.extent for v in own], p.windows, reach, False)  # type: ignore[misc]
        pixels = prod(w.summed.extent for w in p.windows[1:])  # type: ignore[misc]
        image = self._scratch("image", (picture.size,))
        packed = self._scratch("panel", (band * pixels, width))
        axes = [*zip(own, picture.lead, strict=True)]
        places = [IVar("k", w.out.extent) for w in p.windows]
        axes += [(k, w.out_step * pitch) for k, w, pitch in zip(places, p.windows, picture.pitches, strict=True)]
        tiled, rows = self._row_tile(axes, count)
        total = prod(v.extent for v, _ in axes)  # type: ignore[misc]
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

        def step(start: Index, depth: int) -> list[Stmt]:
            body = self._copy_image(picture, image, values, leads, index.scale(start, first.sum_step))
            body += self._pack(packed, {**self.values, **outer}, start, depth, columns)
            return body + self._multiply(picture, image, packed, sums, axes, tiled, rows, count, depth)

        whole, rest = divmod(first.summed.extent, band)  # type: ignore[operator]
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
        return [self._clear(image), self._clear(sums), *around,
                *self._finish_sums(sums, line, own, first_own, left, places, part, columns, width)]

    def _depth(self, own: Sequence[IVar], width: int) -> int:
        """How many positions of the first axis go at once."""
        p, itemsize = self.plan, self.dtype.itemsize
        first, *others = p.windows
        whole = first.summed.extent
        assert isinstance(whole, int)
        if first.sum_step < 0:
            return whole
        pixels = prod(w.summed.extent for w in others)  # type: ignore[misc]
        each = prod(v.extent for v in own) * prod(w.reach(w.out.extent, w.summed.extent) for w in others)  # type: ignore[misc, arg-type]
        most = max(1, PANEL_BYTES // (pixels * width * itemsize))
        while most > 1 and each * first.reach(first.out.extent, most) * itemsize > IMAGE_BYTES:  # type: ignore[arg-type]
            most = -(-most // 2)
        return -(-whole // -(-whole // most))

    def _row_tile(self, axes: Sequence[tuple[IVar, int]], count: int) -> tuple[tuple[IVar, ...], tuple[int, int]]:
        """The axes along which tiles have their rows, and how many of each: one in part, or two wholly."""
        p = self.plan
        one = max((v for v, _ in axes), key=lambda v: tile_height(sizes.hint(v.extent), p.tall))
        height = tile_height(sizes.hint(one.extent), p.tall)
        room = (24 if p.tall == 8 else 12) // count
        pair = axes[-2:]
        several = prod(v.extent for v, _ in pair)  # type: ignore[misc]
        if len(pair) == 2 and height < several <= room:
            return (pair[0][0], pair[1][0]), (pair[0][0].extent, pair[1][0].extent)  # type: ignore[return-value]
        return (one,), (1, height)

    def _pack(self, packed: Buf, values: dict[IVar, Index], start: Index, depth: int, columns: int) -> list[Stmt]:
        """The other operand with its columns side by side, position after position; columns that do not exist are 0."""
        p = self.plan
        width = packed.shape[1]
        assert isinstance(width, int)
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

    def _valid(self, columns: int, width: int) -> tuple[Index, Index | None]:
        """How many columns of a panel exist."""
        if columns <= width:
            return index.of(columns), None
        if columns % width == 0:
            return index.of(width), None
        return index.of(width), index.add(index.of(columns), index.scale(self.first_column, -1))

    def _multiply(
        self, picture: Picture, image: Buf, packed: Buf, sums: Buf, axes: Sequence[tuple[IVar, int]],
        tiled: Sequence[IVar], rows: tuple[int, int], count: int, depth: int,
    ) -> list[Stmt]:
        """Adds what a panel gives to all sums."""
        p = self.plan
        width = count * p.lanes
        levels: list[Level] = []
        apart = width
        a_at = index.ZERO
        for k in reversed(range(len(p.windows))):
            w, pitch = p.windows[k], picture.pitches[k]
            extent = depth if k == 0 else w.summed.extent
            levels.insert(0, (extent, w.sum_step * pitch, apart))
            apart *= extent  # type: ignore[operator]
            a_at = index.add(a_at, w.start * pitch)
        step = dict(axes)
        others = [v for v, _ in axes if v not in tiled]
        sizes_ = tuple(v.extent for v in (*others, *tiled))
        for v in others:
            a_at = index.add(a_at, index.scale(index.of(v), step[v]))

        def tile(start: Index, rows: tuple[int, int]) -> list[Stmt]:
            line = index.linear([*map(index.of, others), start, *([index.ZERO] * (len(tiled) - 1))], sizes_)
            strides = (step[tiled[0]] if len(tiled) == 2 else 0, step[tiled[-1]], width)
            begin = index.add(a_at, index.scale(start, step[tiled[0]]))
            return [self._call(image, begin, packed, index.ZERO, sums, index.scale(line, width), rows, count, True,
                               strides, levels)]

        if len(tiled) == 2:
            body = tile(index.ZERO, rows)
        else:
            full, left = divmod(tiled[0].extent, rows[1])  # type: ignore[operator]
            r = IVar("r", full)
            body = [Loop(r, index.ZERO, index.of(full), "seq", tile(index.scale(index.of(r), rows[1]), rows))]
            if left:
                body += tile(index.of(full * rows[1]), (1, left))
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
        values = {**self.values, **dict(zip(p.rows, index.unflatten(column, tuple(v.extent for v in p.rows)), strict=True))}
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


def _elements(window: Window, reach: int, stride: int, phase: int) -> tuple[int, int, int] | None:
    """The elements of the image whose places lie in a phase: the first, how many apart they are, and their number."""
    step = stride // gcd(stride, window.divisor)
    least = max(0, -(-window.low // window.divisor))
    for first in range(least, least + step):
        place = first * window.divisor - window.low
        if place % stride == phase:
            last = min(window.size - 1, (reach - 1 + window.low) // window.divisor)
            return (first, step, (last - first) // step + 1) if last >= first else None
    return None
