"""What the schedules have in common: their questions about memory, where reductions start, how wide lanes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..artifact import Target
from ..graph.dtypes import BOOL, DType
from ..graph.node import Node
from ..graph.reduction import identity
from ..graph.sizes import Extent
from .ir import Buf, Const, Reduce, Stmt, Store, expressions
from .stages import Stage


class Placement(Protocol):
    """What a schedule asks about memory."""

    def buffer(self, node: Node) -> Buf: ...
    def external(self, stage: Stage) -> bool: ...
    def partial(self, stage: Stage, chunks: Extent) -> Buf: ...
    def result(self, stage: Stage) -> Buf: ...
    def contiguous(self, node: Node) -> bool: ...


def identity_of(combine: str, dtype: DType) -> Const:
    """What a reduction starts from: combined with it, every value stays as it is."""
    return Const(identity("add" if combine == "fma" else combine, dtype), dtype)


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
    return max(2, target.vector_bytes // widest)
