"""Several rows side by side where each is only summed up: their sums do not wait for one another, and what is the same
for all of them, such as the vector that a matrix is multiplied by, is read once.

Every row keeps accumulators of its own, so no bit changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..artifact import Target
from ..graph import index
from ..graph.index import Index, IVar
from .instantiate import Shared, place_guards, place_index
from .ir import (
    Across,
    Buf,
    Expr,
    Guarded,
    IndexValue,
    Kernel,
    Load,
    Loop,
    Op,
    Prefetch,
    Reduce,
    Stmt,
    Store,
    expressions,
    walk,
)  # fmt: skip

MOST = 12  # operations of a row's element: more of them fill the registers by themselves


def jam_rows(kernel: Kernel, target: Target) -> None:
    """Rewrites the loops over such rows in a kernel, those of constant length."""
    together = 4 if target.registers >= 32 else 2
    kernel.body = _block(kernel.body, kernel, together)


def _block(body: Sequence[Stmt], kernel: Kernel, together: int) -> list[Stmt]:
    found: list[Stmt] = []
    for stmt in body:
        if not isinstance(stmt, Loop) or stmt.kind not in ("seq", "chunk"):
            found.append(stmt)
            continue
        rows = index.add(stmt.hi, index.scale(stmt.lo, -1))
        count = rows.const if not rows.terms and isinstance(rows.const, int) and stmt.limit is None else 0
        if stmt.kind == "chunk" or count < together or not _sums_up(stmt.body):
            stmt.body = _block(stmt.body, kernel, together)
            found.append(stmt)
            continue
        found.append(_jammed(stmt, count // together, kernel, together))
        if count % together:
            stmt.lo = index.add(stmt.lo, count - count % together)
            found.append(stmt)
    return found


def _sums_up(body: Sequence[Stmt]) -> bool:
    """Whether a row is one loop of lanes that adds to accumulators of its own, and then a few single values."""
    at = next((k for k, s in enumerate(body) if isinstance(s, Loop)), len(body))
    if at == len(body):
        return False
    own, loop, after = _own(body), body[at], body[at + 1 :]
    assert isinstance(loop, Loop)
    adds = [s for s in loop.body if isinstance(s, Reduce)]
    ends = [s for s in after if isinstance(s, (Store, Reduce))]
    if loop.kind != "vec" or len(ends) != len(after) or any(isinstance(s, (Store, Loop)) for s in loop.body):
        return False
    if not all(isinstance(s, Store) and s.buf in own and s.buf.storage == "lanes" for s in body[:at]):
        return False
    if not all(s.buf in own for s in adds) or any(isinstance(s, Reduce) and s.positions for s in (*adds, *ends)):
        return False
    made = expressions([s.value for s in adds])
    every = expressions([s.value for s in (*adds, *ends)])
    if len(made) > MOST or any(isinstance(e, Op) and e.name == "check_index" for e in every):
        return False
    # The rows' last statements come one after the other, but after all that reads ahead of them.
    written = {s.buf for s in ends if s.buf.storage not in ("lanes", "register")}
    return not any(isinstance(e, Load) and e.buf in written for e in every)


def _own(body: Sequence[Stmt]) -> set[Buf]:
    """Registers that a row sets before it uses them."""
    known: set[Buf] = set()
    own: set[Buf] = set()
    for s in walk(body):
        if isinstance(s, (Store, Reduce)) and s.buf.storage in ("lanes", "register"):
            if isinstance(s, Store) and s.buf not in known:
                own.add(s.buf)
            known.add(s.buf)
    return own


def _jammed(loop: Loop, groups: int, kernel: Kernel, together: int) -> Loop:
    """The loop over groups of rows: all begin, then one loop of lanes for all, then all end, in their order."""
    group = IVar(loop.var.name, groups)
    inner = next(s for s in loop.body if isinstance(s, Loop))
    at = next(k for k, s in enumerate(loop.body) if s is inner)
    start: list[Stmt] = []
    lanes: list[Stmt] = []
    end: list[Stmt] = []
    own, shared = _own(loop.body), Shared()
    for k in range(together):
        row = index.add(loop.lo, index.add(index.scale(index.of(group), together), k))
        renamed = {b: b for b in own}
        if k:
            for b in sorted(own, key=kernel.registers.index):
                renamed[b] = Buf(f"{b.name}_{k}", b.dtype, b.shape, b.storage)
                kernel.registers.append(renamed[b])
        values = {loop.var: row}
        start += [_moved(s, values, renamed, shared) for s in loop.body[:at]]
        lanes += [_moved(s, values, renamed, shared) for s in inner.body]
        end += [_moved(s, values, renamed, shared) for s in loop.body[at + 1 :]]
    all_lanes = Loop(inner.var, inner.lo, inner.hi, "vec", lanes, inner.lanes, inner.unroll, inner.limit)
    return Loop(group, index.ZERO, index.of(group.extent), "seq", [*start, all_lanes, *end])


def _moved(s: Stmt, values: Mapping[IVar, Index], renamed: Mapping[Buf, Buf], shared: Shared) -> Stmt:
    """A statement for another row."""

    def place(at: Sequence[Index]) -> tuple[Index, ...]:
        return tuple(place_index(i, values, lambda buf: buf) for i in at)

    if isinstance(s, Prefetch):
        return Prefetch(s.buf, place(s.index))
    assert isinstance(s, (Store, Reduce))
    memo: dict[int, Expr] = {}
    for e in expressions([s.value]):
        new: Expr = e
        if isinstance(e, Load):
            guards = place_guards(e.guards, values, lambda buf: buf)
            fill = memo[id(e.fill)] if e.fill is not None and guards else None
            new = Load(renamed.get(e.buf, e.buf), place(e.index), e.dtype, guards, fill)
        elif isinstance(e, Op):
            new = Op(e.name, tuple(memo[id(a)] for a in e.args), e.dtype, e.attr)
        elif isinstance(e, IndexValue):
            new = IndexValue(place((e.index,))[0], e.dtype)
        elif isinstance(e, Guarded):
            guards = place_guards(e.guards, values, lambda buf: buf)
            new = Guarded(guards, memo[id(e.expr)], memo[id(e.fill)], e.dtype) if guards else memo[id(e.expr)]
        elif isinstance(e, Across):
            new = Across(e.combine, renamed.get(e.buf, e.buf), e.dtype)
        # What a row keeps in registers changes between its statements, and is read anew by each.
        kept = isinstance(new, Load) and new.buf.storage == "register"
        memo[id(e)] = new if kept else shared.keep(new)
    home, at = renamed.get(s.buf, s.buf), place(s.index)
    if isinstance(s, Store):
        return Store(home, at, memo[id(s.value)])
    return Reduce(home, at, s.combine, memo[id(s.value)])
