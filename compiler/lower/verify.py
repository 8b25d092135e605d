"""Checks the invariants of the kernel IR."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import VerifyError
from ..graph import index
from ..graph.index import Index, IVar, Lookup
from ..graph.node import Node
from .ir import (
    Across,
    Buf,
    Call,
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
)
from .lowering import Module
from .printer import kernel_text

COMBINES = frozenset({"add", "max", "argmax", "fma"})


def verify_module(module: Module) -> None:
    """Verifies every kernel of a module. Raises VerifyError with the kernel's text around what is wrong."""
    for kernel in [*module.tiles, *module.kernels]:
        verify_kernel(kernel)


def verify_kernel(kernel: Kernel) -> None:
    """Every variable is bound by a loop around its use, every buffer is declared and indexed by its rank within its
    extents, types agree, vector loops hold straight lines, and what is written is declared to be."""
    _Verifier(kernel).block(kernel.body, frozenset())


class _Verifier:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.known = {*kernel.params, *kernel.scratch, *kernel.registers}

    def fail(self, message: str) -> VerifyError:
        return VerifyError(f"kernel {self.kernel.name}: {message}\n{kernel_text(self.kernel)}")

    def block(self, body: Sequence[Stmt], bound: frozenset[IVar]) -> None:
        for stmt in body:
            if isinstance(stmt, Loop):
                self.loop(stmt, bound)
            elif isinstance(stmt, Store):
                self.access(stmt.buf, stmt.index, bound)
                self.written(stmt.buf)
                self.value(stmt.value, bound)
                if stmt.value.dtype != stmt.buf.dtype:
                    raise self.fail(f"{stmt.value.dtype} is stored to {stmt.buf.name}, which holds {stmt.buf.dtype}")
            elif isinstance(stmt, Reduce):
                if stmt.combine not in COMBINES:
                    raise self.fail(f"there is no combine {stmt.combine!r}")
                self.access(stmt.buf, stmt.index, bound)
                self.written(stmt.buf)
                self.value(stmt.value, bound)
            elif isinstance(stmt, Prefetch):
                self.declared(stmt.buf)
                for i in stmt.index:
                    self.bound(i, bound)
            elif isinstance(stmt, Call):
                for (buf, offset), param in zip(stmt.args, stmt.kernel.params, strict=True):
                    self.declared(buf)
                    self.bound(offset, bound)
                    if param in stmt.kernel.writes:
                        self.written(buf)
                for size in stmt.sizes:
                    self.bound(size, bound)

    def loop(self, loop: Loop, bound: frozenset[IVar]) -> None:
        if loop.var in bound:
            raise self.fail(f"loop variable {loop.var} is bound twice")
        for i in (loop.lo, loop.hi, *([loop.limit] if loop.limit is not None else [])):
            self.bound(i, bound)
        if loop.kind == "vec":
            if not all(isinstance(s, (Store, Reduce, Prefetch)) for s in loop.body):
                raise self.fail(f"vector loop {loop.var} holds more than a straight line")
            if loop.lanes < 2 or loop.lanes & (loop.lanes - 1):
                raise self.fail(f"vector loop {loop.var} has {loop.lanes} lanes")
        self.block(loop.body, bound | {loop.var})

    def written(self, buf: Buf) -> None:
        if buf.storage in ("arg", "arena", "view") and buf not in self.kernel.writes:
            raise self.fail(f"{buf.name} is written but declared as read")
        if buf.storage == "constant":
            raise self.fail(f"the constant {buf.name} is written")

    def declared(self, buf: Buf) -> None:
        if isinstance(buf, Node):
            raise self.fail(f"node {buf!r} has no buffer")
        if buf not in self.known:
            raise self.fail(f"{buf.name} is neither a parameter nor local")

    def access(self, buf: Buf, at: tuple[Index, ...], bound: frozenset[IVar], guarded: bool = False) -> None:
        self.declared(buf)
        if buf.storage == "lanes" or (buf.storage == "register" and not buf.shape):
            if at:
                raise self.fail(f"the register {buf.name} is indexed")
            return
        if len(at) != len(buf.shape):
            raise self.fail(f"{buf.name} has {len(buf.shape)} axes and is indexed by {len(at)}")
        for i in at:
            self.bound(i, bound)
            low = index.bounds(i)
            if not guarded and low is not None and isinstance(low[0], int) and low[0] < 0:
                raise self.fail(f"{buf.name} is read or written at {i}, which can be negative")

    def bound(self, i: Index, bound: frozenset[IVar]) -> None:
        for var in i.vars():
            if var not in bound:
                raise self.fail(f"variable {var} is used outside its loop")
        for atom, _ in i.terms:
            if isinstance(atom, Lookup):
                self.declared(atom.key[0])

    def value(self, root: object, bound: frozenset[IVar]) -> None:
        for e in expressions([root]):  # type: ignore[list-item]
            if isinstance(e, Load):
                self.access(e.buf, e.index, bound, bool(e.guards))
                if e.dtype != e.buf.dtype:
                    raise self.fail(f"{e.buf.name} holds {e.buf.dtype} and is read as {e.dtype}")
                for g in e.guards:
                    self.bound(g.index, bound)
            elif isinstance(e, IndexValue):
                self.bound(e.index, bound)
            elif isinstance(e, Guarded):
                for g in e.guards:
                    self.bound(g.index, bound)
                if not e.dtype == e.expr.dtype == e.fill.dtype:
                    raise self.fail("a guarded choice mixes types")
            elif isinstance(e, Across):
                self.declared(e.buf)
            elif isinstance(e, Op) and e.name in ("add", "sub", "mul", "div", "fma", "max", "min", "pair") and any(
                a.dtype != e.dtype for a in e.args
            ):
                raise self.fail(f"{e.name} of {', '.join(str(a.dtype) for a in e.args)} gives {e.dtype}")
