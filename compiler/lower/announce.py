"""Prefetches of stacks: a loop over records of arrays that no cache holds asks for the next record while it works."""

from __future__ import annotations

from ..graph import index, sizes
from ..graph.index import Guard, Index
from ..graph.sizes import Extent
from .ir import Buf, Kernel, Load, Loop, Prefetch, Reduce, Stmt, Store, expressions, walk

LINE = 64  # bytes
NEAR = 1024  # bytes that memory needs as a head start at least


def distance(view: Buf, backwards: bool) -> int:
    """By how many elements what a coming iteration touches lies ahead, or behind; 0 where it is not known."""
    assert view.base is not None
    record = view.base.strides[0]
    if not isinstance(record, int) or record * view.dtype.itemsize < LINE:
        return 0
    records = -(-NEAR // (record * view.dtype.itemsize))
    return record * records * (-1 if backwards else 1)


def bytes_of(views: list[Buf]) -> Extent:
    """What the arrays that a loop steps through take together."""
    bases = dict.fromkeys(v.base for v in views if v.base is not None)
    return sum(sizes.hint(sizes.product(b.shape), 1 << 10) * b.dtype.itemsize for b in bases)


def announce(kernel: Kernel) -> None:
    """Adds prefetches to the vector loops that walk along views with a distance."""
    if not any(p.ahead for p in kernel.params):
        return
    done: set[Buf] = set()
    for stmt in walk(kernel.body):
        if isinstance(stmt, Loop) and stmt.kind == "vec":
            stmt.body.extend(_coming(stmt, done))


def _coming(loop: Loop, done: set[Buf]) -> list[Stmt]:
    found: list[Stmt] = []
    straight = [s for s in loop.body if isinstance(s, (Store, Reduce))]
    touched: list[tuple[object, tuple[Index, ...], tuple[Guard, ...]]] = [(s.buf, s.index, ()) for s in straight]
    touched += [(e.buf, e.index, e.guards) for e in expressions([s.value for s in straight]) if isinstance(e, Load)]
    for buf, at, guards in touched:
        if not isinstance(buf, Buf) or not buf.ahead or not at or guards or buf.strides[-1] != 1:
            continue
        if buf in done or index.linear_strides(at, buf.strides).affine_in(loop.var) != 1:
            continue
        done.add(buf)
        found.append(Prefetch(buf, (*at[:-1], index.add(at[-1], buf.ahead))))
    return found
