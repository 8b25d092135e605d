"""What tiles announce while they compute: the part of the columns' operand that is packed once they are done.

A panel that comes from far away, or that another core wrote, is read at the speed of memory while arithmetic waits.
Tiles of the first rows therefore ask for a place of it with every few steps of depth, each tile for its own share.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import index
from ..graph.index import Index
from ..graph.sizes import Extent
from .ir import Buf
from .microkernel import STEPS
from .panels import Outer, Panels

LINE = 64  # bytes that memory hands out at once
LEAST, MOST = 8, 48  # tiles one below the other: fewer do not get to ask for all, to more of them packing is nothing


@dataclass(frozen=True, slots=True)
class Coming:
    """`count` steps from `start` on of panels that lie `further` columns to the right; the first `tiles` of a panel ask
    for them."""

    start: Index
    further: int
    count: int
    tiles: int


def coming(panels: Panels, start: Index, further: int, count: Extent) -> Coming | None:
    """What is packed next, None where tiles do not ask: nothing is packed, panels are near, or rows are
    too few to ask or enough not to care."""
    plan = panels.plan
    if panels.apart or panels.packed is not None or panels.lies is not None or not panels.far or panels.outer:
        return None
    if not isinstance(count, int) or not isinstance(panels.m, int) or not plan.deep or panels.full is None:
        return None
    itemsize = panels.stage.node.dtype.itemsize
    if panels.in_order is not None:
        tiles = STEPS * plan.width * itemsize // LINE
    elif panels.across is not None and count == panels.depth:
        tiles = STEPS * plan.width * itemsize // LINE
    else:
        return None
    if not LEAST <= panels.block // plan.tile_rows <= MOST or count < STEPS:
        return None
    return Coming(start, further, count, tiles)


def first_asked(panels: Panels, what: Coming, at: Index, number: Index, outer: Outer) -> tuple[Buf, Index, Extent]:
    """The first place that the tile with this number asks for, and the distance to the next: one line of some
    steps where columns lie side by side, all lines of some columns where steps do."""
    p, line = panels.plan, LINE // panels.stage.node.dtype.itemsize
    column = index.add(panels.first_column(at), what.further)
    values = {**panels.batch_at, **outer, **dict.fromkeys(p.depth, index.ZERO)}
    values.update(zip(p.columns, index.unflatten(column, tuple(v.extent for v in p.columns)), strict=True))
    found = panels.in_order or panels.across
    assert found is not None
    source, offset, stride = found
    base = index.substitute(offset, values)
    if panels.in_order is not None:
        base = index.add(base, index.scale(what.start, stride))
        base = index.add(base, index.scale(index.mod(number, STEPS), what.count // STEPS * stride))
        return source, index.add(base, index.scale(index.floordiv(number, STEPS), line)), stride
    return source, index.add(base, index.scale(number, line // STEPS * stride)), line
