"""What the schedules have in common: their questions about memory, where reductions start, how wide lanes are, chunks
of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..artifact import Target
from ..graph import index, sizes
from ..graph.dtypes import BOOL, DType
from ..graph.index import IVar
from ..graph.node import Node
from ..graph.reduction import identity
from ..graph.sizes import Extent, Shape
from .cuts import Cuts
from .ir import Buf, Const, Expr, Kernel, Loop, Reduce, Stmt, Store, expressions
from .stages import Stage

if TYPE_CHECKING:
    from .pieces import Pieces

WHOLE = 64  # elements that are whole vectors of any type
SERIAL = 1 << 16  # flops of rows below which one core is as fast as several


class Placement(Protocol):
    """What a schedule asks about memory."""

    cuts: Cuts

    def buffer(self, node: Node) -> Buf: ...
    def external(self, stage: Stage) -> bool: ...
    def partial(self, stage: Stage, chunks: Extent) -> Buf: ...
    def result(self, stage: Stage) -> Buf: ...
    def contiguous(self, node: Node) -> bool: ...
    def before_loop(self, value: Expr, dtype: DType, shape: Shape) -> Buf | None: ...
    def run_before_loop(self, kernel: Kernel) -> None: ...
    def temporary(self, name: str, dtype: DType, shape: Shape) -> Buf: ...
    @property
    def pieces(self) -> Pieces | None: ...


def identity_of(combine: str, dtype: DType) -> Const:
    """What a reduction starts from: combined with it, every value stays as it is."""
    return Const(identity("add" if combine == "fma" else combine, dtype), dtype)


def clear(buf: Buf, value: Const, target: Target) -> Loop:
    """Fills a row of scratch with one value."""
    z = IVar("z", buf.shape[0])
    body: list[Stmt] = [Store(buf, (index.of(z),), value)]
    return Loop(z, index.ZERO, index.of(z.extent), "vec", body, lanes_for(body, target))


def lanes_for(body: Sequence[Stmt], target: Target) -> int:
    """Lanes so that the widest type that takes part fills a register."""
    widest = 4
    roots = [s.value for s in body if isinstance(s, (Store, Reduce))]
    for e in expressions(roots):
        if e.dtype != BOOL:
            widest = max(widest, e.dtype.itemsize)
    for s in body:
        if isinstance(s, (Store, Reduce)) and s.buf.dtype != BOOL:
            widest = max(widest, s.buf.dtype.itemsize)
        if isinstance(s, Reduce) and s.positions is not None:
            widest = max(widest, s.positions.dtype.itemsize)
    return max(2, target.vector_bytes // widest)


def chunk_count(rows: Extent, per_chunk: int) -> Extent:
    if isinstance(rows, int):
        return max(1, -(-rows // per_chunk))
    return sizes.ceildiv(rows, per_chunk)


def in_chunks_of(
    per_chunk: Extent, row: IVar, body: list[Stmt], chunk: IVar, before: Sequence[Stmt] = (), after: Sequence[Stmt] = ()
) -> list[Stmt]:
    """A loop over the rows of a chunk, and one over the chunks around it; each is left out where there is but one."""
    if row.extent != 1:
        if chunk.extent == 1:
            lo, hi, limit = index.ZERO, index.of(row.extent), None
        else:
            lo = index.scale(index.of(chunk), per_chunk)
            hi = index.add(lo, per_chunk)
            exact = isinstance(row.extent, int) and isinstance(per_chunk, int) and row.extent % per_chunk == 0
            limit = None if exact else index.of(row.extent)
        body = [Loop(row, lo, hi, "seq", body, limit=limit)]
    body = [*before, *body, *after]
    if chunk.extent != 1:
        body = [Loop(chunk, index.ZERO, index.of(chunk.extent), "chunk", body)]
    return body
