"""Which buffers of others a kernel touches: its parameters."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import index
from ..graph.index import IVar
from .ir import Buf, Call, Expr, Guarded, IndexValue, Kernel, Load, Reduce, Store, expressions, walk


def collect_params(kernel: Kernel) -> None:
    """Lists the buffers of others that a kernel reads and writes, in order of appearance."""
    seen: dict[Buf, None] = {}

    def note(buf: Buf) -> None:
        if buf.storage in ("arg", "arena", "constant", "view"):
            seen[buf] = None

    walked: set[int] = set()
    for stmt in walk(kernel.body):
        if isinstance(stmt, (Store, Reduce)):
            for e in expressions([stmt.value], walked):
                if isinstance(e, Load):
                    note(e.buf)
                    for i in e.index:
                        _note_lookups(i, note)
                elif isinstance(e, IndexValue):
                    _note_lookups(e.index, note)
                if isinstance(e, (Load, Guarded)):
                    for g in e.guards:
                        _note_lookups(g.index, note)
            for i in stmt.index:
                _note_lookups(i, note)
            note(stmt.buf)
            if stmt.buf.storage in ("arg", "arena", "view"):
                kernel.writes.add(stmt.buf)
        elif isinstance(stmt, Call):
            for buf, writes in stmt.touches():
                note(buf)
                if writes and buf.storage in ("arg", "arena", "view"):
                    kernel.writes.add(buf)
            for _, i in stmt.args:
                _note_lookups(i, note)
    kernel.params = list(seen)


def looked_up(value: Expr) -> list[object]:
    """What the indices and guards of an expression look up their values in."""
    found: list[object] = []
    for e in expressions([value]):
        indices = e.index if isinstance(e, Load) else (e.index,) if isinstance(e, IndexValue) else ()
        guards = e.guards if isinstance(e, (Load, Guarded)) else ()
        for i in (*indices, *(g.index for g in guards)):
            _note_lookups(i, found.append)
    return found


def _note_lookups(i: index.Index, note: Callable[[Buf], None]) -> None:
    pending = [i]
    while pending:
        for atom, _ in pending.pop().terms:
            if isinstance(atom, index.Lookup):
                note(atom.key[0])
                pending.extend(atom.key[1])
            elif not isinstance(atom, IVar):
                pending.append(atom.key[0])
