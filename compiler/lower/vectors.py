"""Vector schedule: a vector times a matrix whose rows lie as the lanes do, as chunks of rows added up side by side.

Every chunk owns one partial result and walks through its rows of the matrix in the order in which they lie in memory,
a few at once, so that the partial result is loaded and stored once for all of them. Chunks are combined in their order
by a stage of a later kernel. Where the columns alone make enough chunks, a chunk has all rows of its columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .instantiate import Shared, instantiate
from .ir import Const, Expr, Kernel, Load, Loop, Reduce, Stmt, Store
from .schedule import Placement
from .stages import Stage

LEAST = 1 << 16  # elements of a matrix that is worth more than one chunk
SERIAL = 1 << 17  # elements below which one core is as fast as several
GRAIN = 1 << 15  # elements of a chunk
CHUNKS = 64  # most chunks of rows
COLUMNS = 4096  # of a chunk: its partial result stays in the first cache
ENOUGH = 16  # chunks of columns for which rows are not divided
TOGETHER = 4  # rows taken at once


@dataclass(eq=False, slots=True)
class VectorPlan:
    """`column` is the axis of the lanes; rows are all that is summed over, flat."""

    column: IVar
    rows: Extent
    block: int  # columns of a chunk
    per_chunk: Extent  # rows of a chunk


def plan_vector(stage: Stage) -> VectorPlan | None:
    """The plan, or None where the stage is no such product, or too small a one."""
    axes = [v for v in stage.axes if v.extent != 1]
    if stage.factors is None or len(axes) != 1:
        return None
    column = axes[0]
    both = [f for f in stage.factors if isinstance(f, Load) and any(column in i.vars() for i in f.index)]
    if len(both) != 1 or both[0].guards:
        return None
    matrix = both[0]
    offset = index.linear(matrix.index, matrix.buf.shape)
    if offset.affine_in(column) != 1 or any(offset.affine_in(v) in (None, 0, 1) for v in stage.reduce if v.extent != 1):
        return None
    rows = sizes.product(v.extent for v in stage.reduce)
    n = sizes.hint(column.extent)
    if n < 16 or sizes.hint(rows) * n < LEAST:
        return None
    block = n if isinstance(column.extent, int) and n <= COLUMNS else COLUMNS
    per_chunk: Extent = rows
    if -(-n // block) < ENOUGH:
        per_chunk = max(2 * TOGETHER, -(-GRAIN // block))
        if isinstance(rows, int):
            per_chunk = max(per_chunk, -(-rows // CHUNKS))
        per_chunk = -(-per_chunk // TOGETHER) * TOGETHER
        if isinstance(rows, int):
            per_chunk = min(per_chunk, rows)
    return VectorPlan(column, rows, block, per_chunk)


def vector_kernel(stage: Stage, plan: VectorPlan, place: Placement, target: Target, name: str) -> Kernel:
    """The kernel of one such product."""
    column, rows = plan.column, plan.rows
    parts: Extent = 1
    if isinstance(plan.per_chunk, int):
        parts = sizes.ceildiv(rows, plan.per_chunk)
    blocks = sizes.ceildiv(column.extent, plan.block)
    chunk = IVar("chunk", sizes.product((parts, blocks)))
    part, block_at = index.unflatten(index.of(chunk), (parts, blocks))
    first_row, first = index.scale(part, plan.per_chunk), index.scale(block_at, plan.block)
    lanes = max(2, target.vector_bytes // stage.node.dtype.itemsize)
    whole = plan.block == column.extent
    exact = isinstance(column.extent, int) and column.extent % plan.block == 0
    left = None if exact else index.add(index.of(column.extent), index.scale(first, -1))
    home = place.result(stage) if parts == 1 else place.partial(stage, parts)
    shared_reads = place.buffer

    def columns(body: list[Stmt], j: IVar) -> Loop:
        return Loop(j, index.ZERO, index.of(plan.block), "vec", body, lanes, limit=None if whole else left)

    def at(j: IVar) -> tuple[Index, ...]:
        mine = index.add(first, index.of(j))
        lead = () if parts == 1 else (part,)
        return (*lead, *(mine if v is column else index.ZERO for v in stage.axes))

    def value(row: Index, j: IVar) -> Expr:
        values = dict.fromkeys(stage.axes, index.ZERO)
        values[column] = index.add(first, index.of(j))
        values.update(zip(stage.reduce, index.unflatten(row, tuple(v.extent for v in stage.reduce)), strict=True))

        def resolve(node: Node, where: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
            return Load(shared_reads(node), where, node.dtype, guards, fill)

        return instantiate(stage.value, values, resolve, shared_reads, Shared())

    z = IVar("j", plan.block)
    body: list[Stmt] = [columns([Store(home, at(z), Const(0, stage.node.dtype))], z)]
    here = index.of(plan.per_chunk)
    end: Index | None = None
    if not (isinstance(rows, int) and isinstance(plan.per_chunk, int) and rows % plan.per_chunk == 0):
        end = index.add(index.of(rows), index.scale(first_row, -1))
    group = IVar("r", sizes.floordiv(plan.per_chunk, TOGETHER))
    j = IVar("j", plan.block)
    together: list[Stmt] = []
    for k in range(TOGETHER):
        row = index.add(index.add(first_row, index.scale(index.of(group), TOGETHER)), k)
        together.append(Reduce(home, at(j), "fma", value(row, j)))
    stop = None if end is None else index.floordiv(end, TOGETHER)
    body.append(Loop(group, index.ZERO, index.of(group.extent), "seq", [columns(together, j)], limit=stop))
    if end is not None or not isinstance(plan.per_chunk, int) or plan.per_chunk % TOGETHER:
        rest, j = IVar("rest", plan.per_chunk), IVar("j", plan.block)
        single: list[Stmt] = [Reduce(home, at(j), "fma", value(index.add(first_row, index.of(rest)), j))]
        from_row = index.scale(index.floordiv(here if end is None else end, TOGETHER), TOGETHER)
        body.append(Loop(rest, from_row, here, "seq", [columns(single, j)], limit=end))
    kernel = Kernel(name, [], set(), chunk.extent, body)
    if chunk.extent != 1:
        kernel.body = [Loop(chunk, index.ZERO, index.of(chunk.extent), "chunk", body)]
    kernel.nodes = [stage.node]
    kernel.flops = sizes.product((2, rows, column.extent))
    kernel.serial = sizes.hint(rows) * sizes.hint(column.extent) < SERIAL
    return kernel
