"""Loops whose rows never meet: pieces of the rows go through all iterations, each on its own.

A row is what one index of an axis selects in every array that an iteration makes, a sequence of a batch for instance.
No iteration reads another row than the one that it computes, so a core can take a piece of the rows through the whole
loop: cores meet once, and what an iteration hands on to the next stays in the caches of one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ..artifact import Target
from ..graph import sizes
from ..graph.index import IVar
from ..graph.node import Node
from ..graph.sizes import Dim, Extent
from .blocks import CHUNKS
from .schedule import SERIAL, WHOLE
from .stages import GRAIN, Stage
from .tiling import Plan, orientations, tile_height

TILES = 2  # tiles of rows in a piece at least: each panel of a matrix then serves more than one
LEAST = 1 << 11  # operations of a piece in one iteration from which on calling kernels costs little beside them
MANY = 16  # pieces from which on it does not matter whether all cores have as many
DEARER = 1.25  # what a product may take longer, as the cost model has it, for its rows to stay apart


class UnfitError(Exception):
    """A kernel of a loop cannot be cut into the pieces of the loop's rows."""


@dataclass(frozen=True, slots=True)
class Iterations:
    """A loop of known length: pairs of what an iteration starts from and what it leaves to the next."""

    carries: tuple[tuple[Node, Node], ...]
    length: Extent


@dataclass(frozen=True, slots=True)
class Pieces:
    """`extent` rows, `each` to a piece, but for the last; `axes` tells which axis of a node's value the rows are."""

    extent: Extent
    each: int
    axes: Mapping[Node, int]

    @property
    def count(self) -> Extent:
        return sizes.ceildiv(self.extent, self.each)

    def row(self, stage: Stage) -> IVar:
        """The axis of a stage that runs over the rows."""
        if stage.node not in self.axes or stage.combines:
            raise UnfitError
        return stage.axes[self.axes[stage.node]]

    def lead(self, stage: Stage) -> bool:
        """Whether the rows of a stage's value lie one after another."""
        return stage.node in self.axes and all(n == 1 for n in stage.node.shape[: self.axes[stage.node]])


def find_pieces(
    stages: Sequence[Stage], loop: Iterations, plans: Mapping[Stage, Plan], told: Collection[Dim], target: Target
) -> Pieces | None:
    """Pieces for a loop with these stages, or None where its rows meet, or are too few. `told` are extents that are not
    known before the call. How many pieces there are follows from shapes and target."""
    dims = {d for s in stages for v in s.loop_axes for d in sizes.dims_of(v.extent)}
    work = sum(s.work() for s in stages)
    dims.update(sizes.dims_of(loop.length))
    if dims & set(told) or loop.length == 1:
        return None
    axes = independent(stages, loop.carries)
    if axes is None:
        return None
    made = [s for s in stages if not s.parts]
    extent = made[0].axes[axes[made[0].node]].extent
    if isinstance(extent, int) and work * sizes.hint(loop.length) < 4 * SERIAL:
        return None
    each = _rows(made, axes, extent, work, plans, target)
    if each is None:
        return None
    found = Pieces(extent, each, axes)
    least = max(2, min(target.workers, CHUNKS))
    return found if not isinstance(found.count, int) or found.count >= least else None


def independent(stages: Sequence[Stage], carries: Sequence[tuple[Node, Node]]) -> dict[Node, int] | None:
    """The axis of rows that never meet, for every value that iterations make or hand on; None if there is none."""
    links = _links(stages, carries)
    start = carries[0][0] if carries else stages[0].node
    for axis, extent in enumerate(start.shape):
        if extent == 1:
            continue
        found = {start: axis}
        # What nothing connects with the rest may have its rows wherever it has as many.
        for node in links:
            if node not in found:
                same = [k for k, n in enumerate(node.shape) if n == extent]
                if not same:
                    break
                found[node] = same[0]
            if not _spread(node, links, found):
                break
        else:
            if all(_keeps(s, found, extent) for s in stages):
                return found
    return None


_Links = dict[Node, dict[int, list[tuple[Node, int]]]]


def _links(stages: Sequence[Stage], carries: Sequence[tuple[Node, Node]]) -> _Links:
    """Which axes of which other values go together with an axis of a value."""
    links: _Links = {n: {} for n in (*(p for p, _ in carries), *(s.node for s in stages))}

    def link(a: Node, i: int, b: Node, k: int) -> None:
        links[a].setdefault(i, []).append((b, k))
        links[b].setdefault(k, []).append((a, i))

    for before, after in carries:
        for k in range(len(before.shape)):
            link(before, k, after, k)
    for s in stages:
        number = {v: k for k, v in enumerate(s.axes)}
        for node, at in s.reads:
            for k, i in enumerate(at):
                v = i.as_var()
                if node in links and v in number:
                    link(s.node, number[v], node, k)
        if s.part is not None:
            for k in range(len(s.node.shape)):
                if k != s.part.axis:
                    link(s.node, k, s.part.whole, k)
    return links


def _spread(start: Node, links: _Links, found: dict[Node, int]) -> bool:
    """Follows links from a value's axis; False where another value would have rows along two axes."""
    pending = [start]
    while pending:
        node = pending.pop()
        for other, axis in links[node].get(found[node], ()):
            if other not in found:
                found[other] = axis
                pending.append(other)
            elif found[other] != axis:
                return False
    return True


def _keeps(s: Stage, found: Mapping[Node, int], extent: Extent) -> bool:
    """Whether a row of a stage is made of the same row of what it reads."""
    if s.parts:
        return True
    if s.target is not None or s.node.op.kind in ("control", "sequence", "scatter") or s.node.op.name == "check_index":
        return False
    if s.part is not None and found[s.part.whole] != found[s.node]:
        return False
    row = s.axes[found[s.node]]
    return row.extent == extent and all(at[found[node]].as_var() is row for node, at in s.reads if node in found)


def _rows(
    stages: Sequence[Stage], axes: Mapping[Node, int], extent: Extent, work: int, plans: Mapping[Stage, Plan],
    target: Target,
) -> int | None:
    """Rows of a piece."""
    rows = sizes.hint(extent)
    wanted = max(CHUNKS, 2 * target.workers)
    tall = [p.tile_rows for s, p in plans.items() if p.rows == (s.axes[axes[s.node]],)]
    wide = [p.width for s, p in plans.items() if p.columns == (s.axes[axes[s.node]],)]
    if tall or wide:
        least = max([TILES * n for n in tall] + wide)
        if not isinstance(extent, int):
            return least
        stored = sum(s.node.dtype.itemsize * sizes.hint(sizes.product(s.node.shape)) for s in stages) // rows
        count = min(wanted, rows // least)
        if count < 2:
            return None
        # As many for one core as for another.
        each = min(-(-rows // (1 << (count.bit_length() - 1))), max(least, target.l2 // 2 // max(1, stored)))
        tile = max(wide) if wide else tile_height(each, max(tall))
        return -(-each // tile) * tile
    most = max(sizes.hint(sizes.product(v.extent for v in s.loop_axes)) // rows for s in stages)
    each = max(1, GRAIN // max(1, most))
    if isinstance(extent, int):
        each = min(each, max(-(-extent // wanted), -(-LEAST * extent // max(1, work))))
        count = 1 << (-(-extent // each) - 1).bit_length()
        each = max(1, -(-extent // count)) if count <= MANY else each
    if any(axes[s.node] == len(s.axes) - 1 for s in stages):
        each = -(-each // WHOLE) * WHOLE  # lanes may lie along the rows
    return each


def cut_plan(stage: Stage, plan: Plan, pieces: Pieces, target: Target) -> Plan:
    """The plan of a contraction in pieces: the rows of the loop lead the rows or columns of tiles, or what tiles go
    over."""
    row = pieces.row(stage)
    for found in (plan, *orientations(stage, target)):
        if found.cost > DEARER * plan.cost or row not in (*found.rows[:1], *found.columns[:1], *found.batch[:1]):
            continue
        along = next(axes for axes in (found.rows, found.columns, found.batch) if row in axes[:1])
        if along is found.batch:
            return found
        lines = sizes.mul(pieces.each, sizes.product(v.extent for v in along[1:]))
        if not isinstance(lines, int):
            continue
        if along is found.columns:
            if lines % found.width == 0:
                return found
            continue
        tile = next(n for n in range(found.tile_rows, 0, -1) if lines % n == 0)
        if 2 * tile >= found.tile_rows:
            return replace(found, tile_rows=tile)
    raise UnfitError
