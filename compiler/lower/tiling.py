"""How a contraction is tiled: which operand is read where it lies, which is packed, and what a tile measures.

One operand (the rows) is read where it lies, by broadcast, through two strides; the other (the columns) is packed into
panels of a few vectors. Which operand is which, and so along which axis the lanes run, follows from what has to be
packed and how the result lies in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Index, IVar
from ..graph.sizes import Extent
from .ir import Expr, Load, expressions
from .options import Choice
from .stages import Stage

STORED = 0.6  # vector operations that a byte costs on its way to main memory and back
GATHERED = 50.0  # copies in order that an element costs which is computed while it is turned, lane by lane
PANEL_BYTES = 32768  # what a packed panel may take of the first cache
TURNED = 2.0  # times the cost of a copy: packing what lies along the depth
DEEP = 512  # steps of depth in a panel that tiles stream from the second cache
TALLEST = ({2: 6}, {3: 8, 4: 6})  # rows of tiles by their vectors, with few registers and with many; else 8


@dataclass(eq=False, slots=True)
class Plan:
    """How a contraction is tiled. Axes are the stage's own loop variables."""

    rows_operand: int
    batch: tuple[IVar, ...]
    rows: tuple[IVar, ...]
    columns: tuple[IVar, ...]
    outer: tuple[IVar, ...]  # summed axes whose steps are separate panels
    depth: tuple[IVar, ...]
    tile_rows: int
    tile_vectors: int
    lanes: int
    cost: float
    panel_bytes: int = PANEL_BYTES
    deep: bool = False  # the rows' operand is contiguous along the depth

    @property
    def width(self) -> int:
        return self.tile_vectors * self.lanes


def merged_stride(offset: Index, axes: Sequence[IVar]) -> Extent | None:
    """The stride of several adjacent axes taken as one, None where they do not merge."""
    stride: Extent | None = None
    span: Extent = 1
    for v in reversed(axes):
        c = offset.affine_in(v)
        if v.extent == 1:
            continue
        if c is None:
            return None
        if stride is None:
            stride, span = c, sizes.mul(c, v.extent)
        else:
            if c != span:
                return None
            span = sizes.mul(span, v.extent)
    return 0 if stride is None else stride


def _merge_suffix(offset: Index, axes: Sequence[IVar]) -> tuple[tuple[IVar, ...], tuple[IVar, ...]]:
    """Splits axes into those that do not merge and the longest suffix that does."""
    for k in range(len(axes) + 1):
        if merged_stride(offset, axes[k:]) is not None:
            return tuple(axes[:k]), tuple(axes[k:])
    raise AssertionError("an empty suffix always merges")


def plan(stage: Stage, target: Target, computed: Collection[int] = ()) -> Plan | None:
    """The cheaper orientation, or None where the general schedule serves better (too little reuse).

    `computed` operands have to be stored to be read as rows. That costs if it goes beyond the second cache, and is
    avoided if the other operand, which every panel is multiplied by, stays within.
    """

    def cost(o: Plan) -> float:
        if o.rows_operand not in computed:
            return o.cost
        rows, again = _bytes(stage, o.rows_operand, ()), _bytes(stage, 1 - o.rows_operand, o.batch)
        return o.cost + (STORED * rows if rows > target.l2 and 2 * again <= target.l2 else 0)

    return min(orientations(stage, target, computed), key=cost, default=None)


def _bytes(stage: Stage, operand: int, batch: Collection[IVar]) -> int:
    """The size of an operand of a contraction, of one batch if its axes are given."""
    total = stage.node.dtype.itemsize
    used = {v for e in _loads(stage.factors[operand]) for i in e.index for v in i.vars()}  # type: ignore[index]
    for v in used - set(batch):
        total *= sizes.hint(v.extent)
    return total


def orientations(stage: Stage, target: Target, computed: Collection[int] = ()) -> list[Plan]:
    """The plans of a contraction: either operand's own axes may be the rows. What is `computed` while it is packed
    cannot be turned by whole vectors."""
    if stage.factors is None:
        return []
    uses = [index_vars(factor) for factor in stage.factors]
    batch = tuple(v for v in stage.axes if (v in uses[0]) == (v in uses[1]))
    if any((v in uses[0]) != (v in uses[1]) for v in stage.reduce):
        return []
    own = [tuple(v for v in stage.axes if v in uses[k] and v not in uses[1 - k]) for k in (0, 1)]
    options = [_orient(stage, k, batch, own[k], own[1 - k], target, 1 - k in computed) for k in (0, 1)]
    return [o for o in options if o is not None]


def tile_height(rows: Extent, most: int) -> int:
    """Rows of a tile, at most so many: where their number is known, such that tiles are alike."""
    return -(-rows // -(-rows // most)) if isinstance(rows, int) else most


def chosen(plan: Plan, choice: Choice) -> Plan:
    """The plan with a choice made about its tiles and panels."""
    if choice == Choice():
        return plan
    vectors, rows = plan.tile_vectors, plan.tile_rows
    if choice.vectors:
        columns = sizes.hint(sizes.product(v.extent for v in plan.columns))
        vectors = min(choice.vectors, -(-columns // plan.lanes))
    if choice.rows:
        rows = tile_height(sizes.product(v.extent for v in plan.rows), choice.rows)
    panel_bytes = choice.panel_bytes or plan.panel_bytes
    return replace(plan, tile_vectors=vectors, tile_rows=rows, panel_bytes=panel_bytes)


def narrower(plan: Plan) -> Plan:
    """The plan with a tile of two vectors at most."""
    if plan.tile_vectors <= 2:
        return plan
    return replace(plan, tile_vectors=2, tile_rows=tile_height(sizes.product(v.extent for v in plan.rows), 8))


def index_vars(factor: Expr) -> set[IVar]:
    """The variables that an operand is read by."""
    found: set[IVar] = set()
    for e in _loads(factor):
        for i in (*e.index, *(g.index for g in e.guards)):
            found |= i.vars()
    return found


def _loads(factor: Expr) -> list[Load]:
    return [e for e in expressions([factor]) if isinstance(e, Load)]


def _tile_vectors(columns: Extent, lanes: int, target: Target) -> int:
    """Vectors of a tile whose rows lie along the depth: few rows and many columns, for columns are read one after the
    other, rows from as many places as there are. Panels are alike as far as they can be."""
    if not isinstance(columns, int) or target.registers < 32:
        return 1 if sizes.hint(columns) <= lanes else 2
    count = -(-columns // lanes)
    return -(-count // -(-count // 4))


def _orient(
    stage: Stage, rows_operand: int, batch: tuple[IVar, ...], rows: tuple[IVar, ...], columns: tuple[IVar, ...],
    target: Target, computed: bool,
) -> Plan | None:
    assert stage.factors is not None
    direct = stage.factors[rows_operand]
    packed = stage.factors[1 - rows_operand]
    if not isinstance(direct, Load) or direct.guards:
        return None
    dtype = stage.node.dtype
    lanes = max(2, target.vector_bytes // dtype.itemsize)
    offset = index.linear(direct.index, direct.buf.shape)
    if any(offset.affine_in(v) is None for v in (*rows, *stage.reduce, *batch)):
        return None
    out = index.linear([index.of(v) for v in stage.axes], stage.node.shape)
    row_rest, row_tile = _merge_suffix(offset, rows)
    column_rest, column_tile = _merge_suffix(out, columns)
    # Summed axes in the order in which the rows lie in memory merge best.
    summed = sorted(stage.reduce, key=lambda v: -sizes.hint(offset.affine_in(v) or 0))
    outer, depth = _merge_suffix(offset, summed)
    m, n, k = (sizes.hint(sizes.product(v.extent for v in axes)) for axes in (row_tile, column_tile, depth))
    if m * n * k < 8 or m < 2 or n < 2 or k < 2:
        return None
    along = column_tile[-1] if column_tile else None
    loads = _loads(packed)
    pack_stride = 1.0
    for load in loads:
        at = index.linear(load.index, load.buf.shape)
        stride = at.affine_in(along) if along is not None else 0
        turned = load is packed and not load.guards and merged_stride(at, depth) == 1
        away = GATHERED if computed else TURNED if turned else 8.0
        pack_stride = max(pack_stride, 1.0 if stride in (0, 1) and not load.guards else away)
    if pack_stride == TURNED and min(m, n) < 4 and k >= 4 * lanes and merged_stride(offset, depth) == 1:
        return None  # both lie along the depth, and so can the lanes
    m_static = sizes.product(v.extent for v in row_tile)
    vectors = 1 if n <= lanes else 2
    deep = merged_stride(offset, depth) == 1
    if deep:
        vectors = _tile_vectors(sizes.product(v.extent for v in column_tile), lanes, target)
    lies = isinstance(packed, Load) and pack_stride == 1
    if lies and isinstance(m_static, int) and m_static <= 4:
        # Few rows: a wider tile keeps as many sums going.
        most = target.registers // 2 // m_static if target.registers >= 32 else 6 // m_static
        vectors = max(vectors, min(8, most, n // lanes))
    tall = TALLEST[target.registers >= 32].get(vectors, 8)
    tile_rows = tile_height(m_static, tall)
    out_stride = 1.0 if merged_stride(out, column_tile) == 1 else 10.0
    padded = -(-n // lanes) * lanes / n
    rest = 1
    for v in (*batch, *row_rest, *column_rest, *outer):
        rest *= sizes.hint(v.extent)
    packing = 0.0 if lies and m <= 2 * tall else n * k * 0.25 * pack_stride
    # Rows that lie across are fetched line by line for every panel: from far away, where they are many.
    far = 4 * m * k * dtype.itemsize > target.l2 and merged_stride(offset, depth) != 1
    fetched = m * k * -(-n // (vectors * lanes)) if far else 0
    cost = rest * (padded * m * n * k / lanes + packing + m * n * 0.3 * out_stride + fetched)
    if not row_tile or not column_tile or not depth:
        return None
    panel_bytes = max(PANEL_BYTES, DEEP * vectors * lanes * dtype.itemsize) if deep else PANEL_BYTES
    return Plan(
        rows_operand, (*batch, *row_rest, *column_rest), row_tile, column_tile, outer, depth, tile_rows, vectors, lanes,
        cost, panel_bytes, deep,
    )
