"""How a tiled contraction is cut: blocks of rows and groups of panels that make a chunk, blocks of depth, and what is
left over at the edges. All of it follows from shapes and target."""

from __future__ import annotations

from dataclasses import dataclass

from ..artifact import Target
from ..graph import sizes
from ..graph.sizes import Extent
from .tiling import PANEL_BYTES, Plan

SERIAL = 1 << 19  # flops below which one core is as fast as several
CHUNKS = 4  # chunks to aim at, at least; else two for every core
BLOCK = 1 << 17  # flops below which a chunk is not worth packing its panel once more
TALL = 16  # tiles of a chunk when the number of rows is not known
SHALLOW = 4096  # bytes of a panel below which results are written row by row
BLOCKS = 16  # chunks of rows to aim at where panels are packed in front
BLOCK_BYTES = 1 << 18  # of one operand in a chunk's block of depth, at most a quarter of the second cache


@dataclass(frozen=True, slots=True)
class Strip:
    """Columns of one panel: `width` of the tile, in `vectors` of `lanes`, of which `valid` exist (None: it varies)."""

    vectors: int
    lanes: int
    valid: int | None

    @property
    def width(self) -> int:
        return self.vectors * self.lanes

    @property
    def whole(self) -> bool:
        return self.valid == self.width


def strips(n: Extent, plan: Plan) -> tuple[Strip | None, Strip | None]:
    """The panels that are alike, and the last one where it is narrower."""
    if not isinstance(n, int):
        return Strip(plan.tile_vectors, plan.lanes, None), None
    width = plan.tile_vectors * plan.lanes
    full = Strip(plan.tile_vectors, plan.lanes, width) if n >= width else None
    left = n % width
    if not left:
        return full, None
    vectors, lanes = -(-left // plan.lanes), plan.lanes
    if vectors == 1:
        while lanes // 2 >= max(2, left):
            lanes //= 2
    return full, Strip(vectors, lanes, left)


def depth_step(depth: Extent, width: int, itemsize: int, panel_bytes: int = PANEL_BYTES) -> Extent:
    """Steps of the summed axes that are packed at once."""
    most = max(1, panel_bytes // (width * itemsize))
    if isinstance(depth, int) and depth > most * 3 // 2:
        return -(-depth // -(-depth // most))
    return depth


def shallow(step: Extent, width: int, several: bool, itemsize: int) -> bool:
    """Whether a tile takes so few steps that writing it takes longer than computing it."""
    return not several and isinstance(step, int) and step * width * itemsize <= SHALLOW


def cut(
    plan: Plan, m: Extent, n: Extent, batch: Extent, reduced: int, step: Extent, several: bool, itemsize: int,
    target: Target,
) -> tuple[int, int]:
    """Rows and panels of a chunk. A chunk packs its panels anew, and walks through its rows once for every panel."""
    tile, width = plan.tile_rows, plan.width
    if not isinstance(m, int):
        return TALL * tile, 1
    panels = sizes.hint(sizes.ceildiv(n, width))
    enough = max(CHUNKS, 2 * target.workers)
    others = sizes.hint(batch)
    block, group = m, 1
    if plan.deep and isinstance(step, int) and isinstance(n, int):
        # Rows pass by while panels stay in the second cache.
        group = min(target.l2 // 2 // (itemsize * step * width), -(-panels // -(-enough // others)))
        group = max(1, min(panels, group))
    elif several and isinstance(step, int) and isinstance(n, int):
        room = min(BLOCK_BYTES, target.l2 // 4) // itemsize
        block = min(m, max(4 * tile, room // step // tile * tile))
        group = max(1, min(panels, room // (step * width)))
        while group > 1 and others * -(-m // block) * -(-panels // group) < enough:
            group = -(-group // 2)
    if shallow(step, width, several, itemsize) and isinstance(n, int):
        # The result is what takes time: a chunk writes whole rows of it.
        group = max(1, min(panels, BLOCK_BYTES // (reduced * width * itemsize)))
    if block == m:
        have = max(1, others * -(-panels // group))
        work = 2 * block * reduced * width * group
        wanted = max(1, min(-(-enough // have), work // BLOCK, block // tile))
        block = -(-block // wanted)
        block = -(-block // tile) * tile
    return min(block, m), group


def shared_rows(plan: Plan, m: int, reduced: int, block: int, target: Target) -> int:
    """Rows of a chunk where panels are packed already: as few as make chunks for all cores, two tiles at least."""
    tile = plan.tile_rows
    wanted = min(max(CHUNKS, 2 * target.workers), 2 * m * reduced * plan.width // BLOCK, m // (2 * tile))
    if wanted < 2:
        return block
    each = -(-m // wanted)
    return min(block, -(-each // tile) * tile)


def cut_rows(plan: Plan, m: Extent, n: Extent, batch: Extent, reduced: int, target: Target) -> tuple[int, int]:
    """Rows and panels of a chunk where panels are packed in front: all panels, but where the rows could be few."""
    tile = plan.tile_rows
    if not isinstance(m, int) or not isinstance(n, int):
        return TALL * tile if not isinstance(m, int) else m, 1
    have = sizes.hint(batch)
    work = 2 * m * reduced * n
    wanted = max(1, min(-(-max(BLOCKS, 2 * target.workers) // have), work // BLOCK, m // tile))
    block = -(-m // wanted)
    return min(-(-block // tile) * tile, m), -(-n // plan.width)


def cut_in_place(plan: Plan, m: int, n: int, batch: Extent, reduced: int, target: Target) -> tuple[int, int]:
    """Rows and panels of a chunk where nothing is packed: the longer side is shared out first, so that chunks have
    little to read in common."""
    tile, width = plan.tile_rows, plan.width
    have, work = sizes.hint(batch), 2 * m * reduced * n // BLOCK
    rows, panels = -(-m // tile), -(-n // width)

    def shares(least: int) -> int:
        return max(1, min(-(-max(least, 2 * target.workers) // have), work))

    if n >= m and panels > 1:
        groups = min(shares(CHUNKS), panels)
        blocks = min(-(-shares(CHUNKS) // groups), rows)
    else:
        blocks = min(shares(BLOCKS), rows)
        groups = min(-(-shares(CHUNKS) // blocks), panels)
    return min(-(-rows // blocks) * tile, m), -(-panels // groups)
