"""Window schedules, what they share: images that lie padded in scratch, and tiles that read them there (see
`windows.py`)."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import gcd, prod

from ..artifact import Target
from ..graph import index, sizes
from ..graph.dtypes import INT32, DType
from ..graph.index import Index, IVar
from ..graph.sizes import Extent
from .blocks import SERIAL
from .epilogue import placed
from .groups import Classes, Group
from .instantiate import Shared
from .ir import Buf, Const, IndexValue, Kernel, Loop, Stmt, Store
from .schedule import Placement, lanes_for
from .windows import Window, WindowPlan


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

    def at(self, places: Sequence[Index]) -> Index:
        """Where an element of a plane lies, by its places along the windows."""
        found = index.ZERO
        for k, (place, stride, pitch) in enumerate(zip(places, self.strides, self.pitches, strict=True)):
            found = index.add(found, index.scale(index.floordiv(place, stride), pitch))
            found = index.add(found, index.scale(index.mod(place, stride), self.plane * prod(self.strides[k + 1 :])))
        return found


class WindowScheduler(ABC):
    """Builds the kernel of a contraction over windows. `build` is the only entry; `body` is what a schedule adds."""

    def __init__(
        self, group: Group, plan: WindowPlan, classes: Classes, place: Placement, target: Target,
        tiles: dict[tuple[object, ...], Kernel],
    ) -> None:
        self.group, self.plan, self.classes, self.place, self.target = group, plan, classes, place, target
        self.stage = group.stages[0]
        self.dtype = self.stage.node.dtype
        self.kernel = Kernel("", [], set(), 1, [])
        self.before: list[Stmt] = []  # what a range of chunks begins with
        self.tiles = tiles
        self.values: dict[IVar, Index] = {v: index.ZERO for v in self.stage.loop_axes if v.extent == 1}

    def packing(self, name: str) -> Kernel | None:
        """The kernel that packs an operand, to run before the other; None where none is needed."""
        return None

    def build(self, name: str) -> Kernel:
        self.kernel.name = name
        body = self.body()
        chunks = self.chunk.extent
        self.kernel.chunks = chunks
        self.kernel.body = [*self.before, Loop(self.chunk, index.ZERO, index.of(chunks), "chunk", body)]
        self.kernel.nodes = [s.node for s in self.group.stages]
        self.kernel.flops = sizes.mul(2, sizes.product(v.extent for v in self.stage.loop_axes))
        self.kernel.serial = sizes.hint(self.kernel.flops) < SERIAL
        return self.kernel

    @abstractmethod
    def body(self) -> list[Stmt]:
        """What a chunk does; tells the number of chunks."""

    def _chunks(self, name: str, extents: Sequence[Extent]) -> tuple[Index, ...]:
        self.chunk = IVar(name, sizes.product(extents))
        return index.unflatten(index.of(self.chunk), tuple(extents))

    def _scratch(self, name: str, shape: tuple[Extent, ...], dtype: DType | None = None) -> Buf:
        buf = Buf(name, dtype or self.dtype, shape, "scratch")
        self.kernel.scratch.append(buf)
        return buf

    def _clear(self, buf: Buf) -> Stmt:
        z = IVar("z", sizes.product(buf.shape))
        at = (*(index.ZERO,) * (len(buf.shape) - 1), index.of(z))
        return Loop(z, index.ZERO, index.of(z.extent), "vec", [Store(buf, at, Const(0, self.dtype))], self.plan.lanes)

    def _copy_image(
        self, picture: Picture, home: Buf, values: dict[IVar, Index], lead: Sequence[tuple[IVar, Index | None]],
        shift: Index | None,
    ) -> list[Stmt]:
        """Copies what lies at the places from `shift` on of the first window, padding included for all but the last;
        None where all of them lie there, whatever is copied.

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
        self, picture: Picture, home: Buf, values: dict[IVar, Index], phases: Sequence[int], where: Index,
        shift: Index | None,
    ) -> list[Stmt]:
        values = dict(values)
        where = index.add(where, picture.phase(phases))
        rows: list[IVar] = []
        last = len(phases) - 1
        for k, (w, phase) in enumerate(zip(picture.windows, phases, strict=True)):
            stride, pitch = picture.strides[k], picture.pitches[k]
            start = shift if k == 0 and shift is not None else index.ZERO
            if k < last or (k == 0 and shift is not None):
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

    def _table(self, loops: Sequence[IVar], where: Index) -> Buf:
        """Where the steps of the depth lie, filled when a range of chunks begins."""
        extents = tuple(v.extent for v in loops)
        table = self._scratch("at", (sizes.product(extents),), INT32)
        line = index.linear([index.of(v) for v in loops], extents)
        fill: list[Stmt] = [Store(table, (line,), IndexValue(where, INT32))]
        for v in reversed(loops):
            fill = [Loop(v, index.ZERO, index.of(v.extent), "seq", fill)]
        self.before += fill
        return table


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
