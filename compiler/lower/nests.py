"""How the loops of a row kernel lie: the frame that its stages share, the axis of the lanes, and nests in levels.

A stage that needs a finished reduction over inner axes starts a new level; stages of one level with the same inner
axes share one nest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..graph import index, sizes
from ..graph.index import Index, IVar, Quotient
from ..graph.node import Node
from ..graph.sizes import Extent
from .groups import Classes, Group, settled
from .ir import Guarded, IndexValue, Load, expressions
from .pieces import UnfitError
from .schedule import Placement
from .stages import Part, Stage

FLAT_BLOCK = 4096  # elements of a block when a kernel has only one long axis
WINDOW = 4  # places of a window that are gone through side by side
LANES = 16  # neighbours that lie within twice as many elements can be picked from two vectors
COLUMN_BLOCK = 256  # the same where every block carries accumulators


def _gain(offset: Index, v: IVar) -> int:
    """What lanes along a variable are worth to an access: most where they are neighbours in memory."""
    stride = offset.affine_in(v)
    if stride in (0, 1):
        return 2 if stride == 1 else 0
    if stride not in (None, 2):
        return -1
    found = index.along(offset, v, LANES)
    return -1 if found is None or min(found) < 0 or max(found) >= 2 * LANES else 1


@dataclass(eq=False, slots=True)
class Nest:
    """Inner loops shared by stages of one level."""

    level: int
    axes: tuple[IVar, ...]
    vec: bool
    stages: list[Stage] = field(default_factory=list)


class Arrangement:
    """The loops of one group of row stages, and the indices at which these loops touch what the stages touch."""

    def __init__(self, group: Group, classes: Classes, place: Placement, walks_flat: bool = True) -> None:
        """`walks_flat` allows one walk through arrays that are walked through alike, whatever their axes."""
        self.group, self.classes, self.place = group, classes, place
        self.maker = {s.node: s for s in group.stages}
        self.frame = settled(group.frame, group.stages, classes)
        self.pieces = place.pieces
        whole = self.pieces is None or all(map(self.pieces.lead, group.stages))
        self.flat = walks_flat and whole and self._is_flat()
        self.vec = self._choose_vec()
        if any(any(classes.find(v) is self.vec for v in s.reduce) and self._inner_out(s) for s in group.stages):
            # Lanes that are summed up have no place each in an array of results.
            self.frame = [c for c in self.frame if c is not self.vec]
        self.lead = self._lead()
        self._split_frame()
        self._split_windows()
        self._assign_nests()

    def _class_axes(self, stage: Stage) -> list[IVar]:
        return [self.classes.find(v) for v in stage.loop_axes]

    def _is_flat(self) -> bool:
        """Whether every access is either the same contiguous walk over equal shapes or a single element."""
        first = self.group.stages[0]
        for s in self.group.stages:
            if s.reduce or s.target or s.node.shape != first.node.shape or len(s.axes) < 2:
                return False
            if all(v.extent == 1 for v in s.axes):
                return False
            own = tuple(index.of(v) for v in s.axes)
            for node, at in s.reads:
                lead = max(0, len(at) - len(own))  # chunks of sums lie one behind the other
                same = at[lead:] == own and not any(i.terms for i in at[:lead])
                if not same and any(i.terms for i in at):
                    return False
                if same and (node.shape[lead:] != s.node.shape or not self.place.contiguous(node)):
                    return False
            if any(isinstance(e, (IndexValue, Guarded)) or (isinstance(e, Load) and e.guards)
                   for e in expressions([s.value])):
                return False
        return all(
            self.place.contiguous(s.node if s.part is None else s.part.whole) and _in_one_piece(s.part)
            for s in self.group.stages
        )

    def _choose_vec(self) -> IVar | None:
        """The class along which most memory is contiguous."""
        if self.flat:
            n = sizes.product(self.group.stages[0].node.shape)
            return IVar("i", n)
        # Every array counts once, by its size: how often a schedule reads it must not turn the lanes around.
        walks: dict[tuple[Node, IVar], int] = {}
        for s in self.group.stages:
            own = (s.node, tuple(index.of(v) for v in s.axes))
            for node, at in [*s.reads, *([own] if self.place.external(s) and s.target is None else [])]:
                offset = index.linear(at, node.shape)
                for v in s.loop_axes:
                    if v.extent == 1:
                        continue
                    gain = _gain(offset, v)
                    key = (node, self.classes.find(v))
                    walks[key] = min(walks.get(key, 2), gain)
        score: dict[IVar, int] = {}
        for (node, c), gain in walks.items():
            elements = math.prod(max(1, sizes.hint(n)) for n in node.shape)
            score[c] = score.get(c, 0) + gain * elements * min(sizes.hint(c.extent), 8)
        best = max(score.items(), key=lambda item: (item[1], -item[0].order), default=None)
        if best is None or best[1] <= 0 or sizes.hint(best[0].extent) < 2:
            return None
        return best[0]

    def _split_frame(self) -> None:
        """Maps classes to kernel indices: frame classes from one flat frame variable, the rest to inner loops."""
        self.inner_extent: dict[IVar, Index] = {}
        self.limit: Index | None = None
        extents: list[Extent] = []
        order: list[IVar] = []
        vec = self.vec
        if self.flat:
            assert vec is not None
            self.frame = [vec]
        block = 0
        if vec is not None and vec in self.frame:
            others = not self.flat and any(set(self._class_axes(s)) - set(self.frame) for s in self.group.stages)
            block = COLUMN_BLOCK if others else FLAT_BLOCK
            if isinstance(vec.extent, int) and vec.extent <= block:
                block = 0
            if self.pieces is not None and vec is self.lead:
                block = self._flat_rows() * self.pieces.each if self.flat else self.pieces.each
        for c in sorted(self.frame, key=lambda c: c is not self.lead):
            if c is not vec:
                extents.append(c.extent)
                order.append(c)
        self.at: dict[IVar, Index] = {}
        inner: IVar | None = None
        if vec is not None and vec in self.frame:
            inner = IVar("j", block or vec.extent)
            if block:
                extents.insert(0 if vec is self.lead else len(extents), sizes.ceildiv(vec.extent, block))
                order.insert(0 if vec is self.lead else len(order), vec)
        self.frame_extents = tuple(extents)
        self.frame_extent = sizes.product(extents)
        self.row = IVar("row", self.frame_extent)
        coordinates = index.unflatten(index.of(self.row), tuple(extents))
        self.at.update(zip(order, coordinates, strict=True))
        if inner is not None:
            assert vec is not None
            start = index.scale(self.at[vec], block) if block else index.ZERO
            self.at[vec] = index.add(start, index.of(inner))
            self.vec_var = inner
            self.inner_extent[vec] = index.of(inner.extent)
            if block and not (isinstance(vec.extent, int) and vec.extent % block == 0):
                self.limit = index.add(index.of(vec.extent), index.scale(start, -1))
        elif vec is not None:
            self.vec_var = IVar("j", vec.extent)
            self.at[vec] = index.of(self.vec_var)
            self.inner_extent[vec] = index.of(vec.extent)

    def _lead(self) -> IVar | None:
        """The class of the rows of a loop that is cut into pieces; it comes first among the rows of the kernel."""
        if self.pieces is None:
            return None
        if self.flat:
            return self.vec
        leads = {self.classes.find(self.pieces.row(s)) for s in self.group.stages}
        if len(leads) > 1 or not leads <= set(self.frame):
            raise UnfitError
        return leads.pop()

    def _flat_rows(self) -> int:
        """Elements of a row of the loop where the kernel takes all axes as one."""
        assert self.pieces is not None
        s = self.group.stages[0]
        found = sizes.product(s.node.shape[self.pieces.axes[s.node] + 1 :])
        if not isinstance(found, int):
            raise UnfitError
        return found

    def _split_windows(self) -> None:
        """Walks along inner axes window by window, where indices ask for the window and the place within it: what is
        the same all over a window is then found once for it."""
        self.split: dict[IVar, tuple[IVar, IVar]] = {}
        if self.flat:
            return
        for size, c in sorted(self._windowed(), key=lambda found: (found[1].order, found[0])):
            if c not in self.at and c is not self.vec and c not in self.split and sizes.hint(c.extent) > size:
                window, place = IVar(c.name, sizes.floordiv(c.extent, size)), IVar("p", size)
                self.split[c] = window, place
                self.at[c] = index.add(index.scale(index.of(window), size), index.of(place))

    def _windowed(self) -> set[tuple[int, IVar]]:
        """Classes that are divided by a few elements, with how many."""
        found: set[tuple[int, IVar]] = set()
        for s in self.group.stages:
            own = set(s.loop_axes)
            pending = [i for _, at in s.reads for i in at]
            while pending:
                for atom, _ in pending.pop().terms:
                    if not isinstance(atom, Quotient):
                        continue
                    pending.append(atom.key[0])
                    v, size = atom.key[0].as_var(), atom.key[1]
                    if v in own and isinstance(size, int) and size <= WINDOW and isinstance(v.extent, int) and (
                        v.extent % size == 0
                    ):
                        found.add((size, self.classes.find(v)))
        return found

    def _inner(self, stage: Stage) -> tuple[IVar, ...]:
        """Classes that the stage loops over inside the frame; the vector class is always inside."""
        if self.flat:
            assert self.vec is not None
            return (self.vec,)
        found = dict.fromkeys(self._class_axes(stage))
        inner = [c for c in found if (c not in self.frame or c is self.vec) and c.extent != 1]
        return tuple(sorted(inner, key=lambda c: c is self.vec))

    def frame_reduced(self, stage: Stage) -> bool:
        return any(self.classes.find(v) in self.frame for v in stage.reduce)

    def _inner_reduced(self, stage: Stage) -> tuple[IVar, ...]:
        inner = self._inner(stage)
        reduced = {self.classes.find(v) for v in stage.reduce}
        return tuple(c for c in inner if c in reduced)

    def _inner_out(self, stage: Stage) -> tuple[IVar, ...]:
        reduced = set(self._inner_reduced(stage))
        return tuple(c for c in self._inner(stage) if c not in reduced)

    def _partly(self, stage: Stage) -> bool:
        """Whether it reduces some inner axes and keeps others, in a way that takes loops of its own.

        What is also reduced over the rows adds to its results in place, unless the lanes themselves are reduced.
        """
        reduced = self._inner_reduced(stage)
        if not reduced or len(reduced) == len(self._inner(stage)):
            return False
        return self.vec in reduced or not self.frame_reduced(stage)

    def _assign_nests(self) -> None:
        self.nests: list[Nest] = []
        level: dict[Stage, int] = {}
        key_of: dict[Stage, tuple[object, ...]] = {}
        by_key: dict[tuple[object, ...], Nest] = {}
        self.nest_of: dict[Stage, Nest] = {}
        for s in self.group.stages:
            inner = self._inner(s)
            alone = s.combine == "argmax" or self._partly(s)
            key: tuple[object, ...] = (inner, s if alone else None)
            least = 0
            for node, at in s.reads:
                producer = self.maker.get(node)
                if producer is None or producer is s:
                    continue
                same = (
                    key_of[producer] == key and not producer.reduce and self._same_place(producer, s, at)
                    and node not in s.lookups
                )
                least = max(least, level[producer] + (0 if same else 1))
            level[s], key_of[s] = least, key
            full = (least, *key)
            nest = by_key.get(full)
            if nest is None:
                vec = self.vec is not None and self.vec in inner
                nest = by_key[full] = Nest(least, inner, vec)
                self.nests.append(nest)
            nest.stages.append(s)
            self.nest_of[s] = nest
        self.nests.sort(key=lambda n: n.level)
        self.read_later = {
            self.maker[node]
            for s in self.group.stages
            for node, _ in s.reads
            if node in self.maker and self.nest_of[self.maker[node]] is not self.nest_of[s]
        }

    def _same_place(self, producer: Stage, s: Stage, at: Sequence[Index]) -> bool:
        find = self.classes.find
        if self.flat:
            return True
        for axis, i in zip(producer.axes, at, strict=True):
            if axis.extent == 1:
                continue
            v = i.as_var()
            if v is None or find(v) is not find(axis):
                return False
        return True

    def _flat_axis(self, s: Stage) -> int:
        """The axis that stands for all of them in a flat kernel: the last that indices mention, of stride 1."""
        return max(k for k, v in enumerate(s.axes) if v.extent != 1)

    def _out_index(self, s: Stage) -> tuple[Index, ...]:
        values = self._values_of(s) if self.flat else {v: self._axis_index(v) for v in s.axes}
        return s.stored_at([values[v] for v in s.axes])

    def _axis_index(self, v: IVar) -> Index:
        if v.extent == 1:
            return index.ZERO
        c = self.classes.find(v)
        return self.at[c] if c in self.at else index.of(c)

    def _values_of(self, s: Stage) -> dict[IVar, Index]:
        if self.flat:
            assert self.vec is not None
            flat = self._flat_axis(s)
            return {v: self.at[self.vec] if k == flat else index.ZERO for k, v in enumerate(s.axes)}
        return {v: self._axis_index(v) for v in s.loop_axes}

    def _scratch_index(self, producer: Stage, at: list[Index]) -> tuple[Index, ...]:
        """Index within one row's scratch: a blocked vector class counts from the start of its block."""
        result = []
        for i in at:
            if self.vec is not None and self.vec in self.frame:
                start = index.add(self.at[self.vec], index.scale(index.of(self.vec_var), -1))
                if self.vec_var in i.vars():
                    i = index.add(i, index.scale(start, -1))
            result.append(i)
        return tuple(result)

    def _scratch_at(self, s: Stage) -> tuple[Index, ...]:
        if self.flat:
            return (index.of(self.vec_var),)
        inner = self._inner_out(s)
        return tuple(
            index.of(self.vec_var) if c is self.vec else self.at.get(c, index.of(c))
            for c in map(self.classes.find, s.axes)
            if c in inner
        )


def _in_one_piece(part: Part | None) -> bool:
    return part is None or all(n == 1 for n in part.whole.shape[: part.axis])
