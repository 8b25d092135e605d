"""Rows that follow the pictures they are made of: where a chunk reads only what the same chunk of the kernel before has
written, both become one kernel, and what passes between them is still in a cache.

Chains (`chains.py`) find their members among groups, by axes, and keep what passes between these in scratch alone. A
window reaches across axes and bands, so here the finished kernels tell what their chunks touch, and arrays stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..graph import index, sizes
from ..graph.index import Index, IVar
from .ir import Buf, Call, Kernel, Load, Loop, Op, Prefetch, Reduce, Stmt, Store, expressions
from .params import looked_up

CHUNKS = 16  # chunks of which no more than half may be lost
Straight = Store | Reduce | Call | Prefetch


def followed(first: Kernel, second: Kernel) -> Kernel | None:
    """Both kernels as one, with as many chunks as the one that has fewer; None where chunks depend on other chunks."""
    one, two = _chunks(first), _chunks(second)
    if first.serial or second.serial or one is None or two is None:
        return None
    chunks = [k.chunks for k in (first, second) if isinstance(k.chunks, int)]
    count, more = min(chunks), max(chunks)
    if any(b.storage == "view" for b in (*first.params, *second.params)):
        return None
    passed = (first.writes & set(second.params)) | (second.writes & set(first.params))
    if not first.writes & set(second.params) or more % count or 2 * count < min(more, CHUNKS):
        return None
    if not all(b.shape and _share(b, more) for b in passed):
        return None
    if not all(_within_chunks(k, passed) for k in (first, second)):
        return None
    chunk = one.var if chunks[0] == count else IVar("chunk", count)
    body: list[Stmt] = []
    for loop, each in ((one, chunks[0] // count), (two, chunks[1] // count)):
        start = index.scale(index.of(chunk), each)
        if loop.var is chunk:
            body += loop.body
        else:
            body.append(Loop(loop.var, start, index.add(start, each), "seq", loop.body))
    whole = Loop(chunk, index.ZERO, index.of(count), "chunk", body)
    name = f"{first.name}_{second.name.partition('_')[2]}"
    return Kernel(
        name, [], set(), count, [*first.body[:-1], *second.body[:-1], whole], [*first.nodes, *second.nodes],
        scratch=[*first.scratch, *second.scratch], registers=[*first.registers, *second.registers],
        flops=sizes.add(first.flops, second.flops), shares={b: _share(b, count) for b in passed},
    )


def _share(buf: Buf, chunks: int) -> int:
    """Elements of a chunk's part of an array, the gaps between rows included; 0 where it has none."""
    n, stride = buf.shape[0], buf.strides[0]
    return n // chunks * stride if isinstance(n, int) and n % chunks == 0 and isinstance(stride, int) else 0


def _chunks(kernel: Kernel) -> Loop | None:
    """The loop over a known number of chunks with which a kernel ends, if none of them can fail the call."""
    last = kernel.body[-1]
    if not isinstance(last, Loop) or last.kind != "chunk" or not isinstance(kernel.chunks, int):
        return None
    values = [s.value for s, _ in _flat(kernel.body, {}) if isinstance(s, (Store, Reduce))]
    return None if any(isinstance(e, Op) and e.name == "check_index" for e in expressions(values)) else last


def _within_chunks(kernel: Kernel, bufs: set[Buf]) -> bool:
    """Whether every chunk keeps to its own share of some buffers: an equal part of their first axis."""
    last = kernel.body[-1]
    assert isinstance(last, Loop) and isinstance(kernel.chunks, int)
    chunk, chunks = last.var, kernel.chunks

    def own(buf: Buf, at: Sequence[Index], values: dict[IVar, Index]) -> bool:
        assert isinstance(buf.shape[0], int)
        share = buf.shape[0] // chunks
        place = index.add(index.substitute(at[0], values), Index(((chunk, -share),)))
        return chunk not in place.vars() and index.within(place, share)

    for stmt, values in _flat(kernel.body, {}):
        if isinstance(stmt, Call) and any(b in bufs for b, _ in stmt.args):
            return False
        if not isinstance(stmt, (Store, Reduce)):
            continue
        if any(b in bufs for b in looked_up(stmt.value)):
            return False
        reads = [(e.buf, e.index) for e in expressions([stmt.value]) if isinstance(e, Load)]
        if not all(own(b, at, values) for b, at in (*reads, (stmt.buf, stmt.index)) if b in bufs):
            return False
    return True


def _flat(body: Sequence[Stmt], values: dict[IVar, Index]) -> Iterator[tuple[Straight, dict[IVar, Index]]]:
    """Every statement that is no loop, with the variables around it in terms of the chunk and of others from 0 on."""
    pending = [(s, values) for s in reversed(body)]
    while pending:
        stmt, values = pending.pop()
        if not isinstance(stmt, Loop):
            yield stmt, values
            continue
        if stmt.kind != "chunk":
            low = index.substitute(stmt.lo, values)
            span = index.add(index.substitute(stmt.hi, values), index.scale(low, -1))
            extent = span.const if not span.terms else stmt.var.extent
            values = {**values, stmt.var: index.add(low, index.of(IVar(stmt.var.name, extent)))}
        pending += [(s, values) for s in reversed(stmt.body)]
