"""What masks leave of a tiled contraction: bounds of the depth of each tile, and tiles that need not be computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..graph import index
from ..graph.index import Index, IVar
from .cuts import Cuts, Region
from .groups import Classes, Group
from .nests import Arrangement, Nest
from .schedule import Placement
from .stages import Stage
from .tiling import Plan


@dataclass(slots=True)
class Tile:
    """Where a tile lies: its first row and column, and how many of each it has at most."""

    row: Index
    column: Index
    height: int
    width: int


@dataclass(slots=True)
class Skipped:
    """Tiles all of whose rows and columns are at least so far apart are constant, with a value for each result."""

    gap: int
    below: bool  # rows minus columns, else columns minus rows
    values: dict[Stage, float]

    def runs(self, t: Tile) -> Index:
        """At least 1 where a tile has to be computed."""
        if self.below:
            return index.add(index.add(t.column, index.scale(t.row, -1)), t.width - 1 + self.gap)
        return index.add(index.add(t.row, index.scale(t.column, -1)), t.height - 1 + self.gap)


@dataclass(slots=True)
class Bounds:
    """Which steps of depth tiles need: with `extents` of rows, columns and depth, and gaps by side."""

    extents: dict[str, int] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)  # steps before position + gap
    since: dict[str, int] = field(default_factory=dict)  # steps after position - gap

    def of(self, t: Tile, depth: int) -> tuple[Index, Index]:
        """The first step that a tile needs, and how many from there on."""
        first, last = index.ZERO, index.of(depth)
        for side, start, size in (("rows", t.row, t.height), ("columns", t.column, t.width)):
            most = self.extents.get(side, 0)
            gap = self.until.get(side)
            if gap is not None and size - 1 + gap >= 0 and most - 1 + gap <= depth:
                last = index.add(start, size - 1 + gap)
                break
        for side, start in (("rows", t.row), ("columns", t.column)):
            gap = self.since.get(side)
            if gap is not None and gap <= 1 and self.extents[side] - gap <= depth:
                first = index.add(start, 1 - gap)
                break
        return first, index.add(last, index.scale(first, -1))


def _only(axes: Sequence[IVar]) -> IVar | None:
    long = [v for v in axes if v.extent != 1]
    return long[0] if len(long) == 1 and isinstance(long[0].extent, int) else None


def bounds_of(stage: Stage, plan: Plan, cuts: Cuts) -> Bounds:
    """From where an operand is 0."""
    found = Bounds()
    depth = _only((*plan.outer, *plan.depth))
    if stage.factors is None or depth is None:
        return found
    sides = (("rows", plan.rows_operand, plan.rows), ("columns", 1 - plan.rows_operand, plan.columns))
    for side, operand, axes in sides:
        v = _only(axes)
        if v is None:
            continue
        assert isinstance(v.extent, int)
        found.extents[side] = v.extent
        factor = stage.factors[operand]
        for r in cuts.regions(factor):
            if {r.high, r.low} != {depth, v} or cuts.value(factor, r, summed=True) != 0.0:
                continue
            into = found.until if r.high is depth else found.since
            into[side] = min(r.gap, into.get(side, r.gap))
    return found


def skipped_of(group: Group, plan: Plan, classes: Classes, cuts: Cuts, place: Placement) -> Skipped | None:
    """From where all results of a contraction and its epilogue are constant, or nothing depends on them."""
    row, column = _only(plan.rows), _only(plan.columns)
    if row is None or column is None or any(s.reduce for s in group.stages[1:]):
        return None
    find = classes.find
    stored = [s for s in group.stages if place.external(s)]
    ends = {find(row), find(column)}
    candidates: dict[tuple[IVar, IVar, int], None] = {}
    for s in stored:
        for r in _seen(s, cuts):
            if {find(r.high), find(r.low)} == ends:
                candidates[find(r.high), find(r.low), r.gap] = None
    for high, low, gap in sorted(candidates, key=lambda c: c[2]):
        values: dict[Stage, float] = {}
        for s in stored:
            axes = [find(v) for v in s.axes]
            value = cuts.corner(s.node, axes.index(high), axes.index(low), gap)
            if value is None:
                break
            values[s] = value
        else:
            return Skipped(gap, high is find(row), values)
    return None


def _seen(stage: Stage, cuts: Cuts) -> list[Region]:
    """The regions that a value and its readers are made with, in the variables of the value."""
    found = list(cuts.regions(stage.value)) if stage.factors is None else []
    for s in cuts.readers.get(stage.node, ()):
        for read, at in s.reads:
            if read is stage.node:
                names = {i.as_var(): v for i, v in zip(at, stage.axes, strict=True)}
                regions = [r for r in cuts.regions(s.value) if {r.high, r.low} <= names.keys()]
                found += [Region(names[r.high], names[r.low], r.gap) for r in regions]
    return found


@dataclass(slots=True)
class Ending:
    """Where the lanes of a nest can stop: from there on nothing is added, and what is stored is constant."""

    end: Index
    values: dict[Stage, float]


def ending_of(rows: Arrangement, nest: Nest, cuts: Cuts) -> Ending | None:
    """The end of a nest of one axis, that of the lanes, in each row."""
    find, vec = rows.classes.find, rows.vec
    if rows.flat or vec is None or nest.axes != (vec,) or vec in rows.frame or not isinstance(vec.extent, int):
        return None
    first = nest.stages[0]
    candidates = [
        (find(r.low), r.gap) for r in cuts.regions(first.value)
        if find(r.high) is vec and find(r.low) in rows.frame and find(r.low) in rows.at
    ]  # fmt: skip
    for low, gap in sorted(candidates, key=lambda c: c[1]):
        values: dict[Stage, float] = {}
        for s in nest.stages:
            names = {find(v): v for v in s.loop_axes}
            if low not in names or vec not in names or rows.frame_reduced(s):
                break
            here = Region(names[vec], names[low], gap)
            if s.reduce:
                if s.combine == "argmax" or not cuts.ends(s, here):
                    break
                continue
            value = cuts.value(s.value, here)
            if not isinstance(value, float):
                break
            values[s] = value + 0.0
        else:
            return Ending(index.add(rows.at[low], gap), values)
    return None
