"""Checks the invariants of the kernel IR."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import VerifyError
from ..graph import index
from ..graph.index import Index, IVar, Lookup
from ..graph.node import Node
from .ir import (
    Across,
    Branch,
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
    Run,
    ScanLoop,
    Step,
    Stmt,
    Store,
    WhileLoop,
    expressions,
    inner_steps,
    walk,
)
from .lowering import Module
from .printer import kernel_text

COMBINES = frozenset({"add", "mul", "max", "argmax", "fma"})


def verify_module(module: Module) -> None:
    """Verifies every kernel of a module. Raises VerifyError with the kernel's text around what is wrong."""
    for kernel in [*module.tiles, *module.kernels]:
        verify_kernel(kernel)
    verify_order(module.steps)


def verify_kernel(kernel: Kernel) -> None:
    """Every variable is bound by a loop around its use, every buffer is declared and indexed by its rank within its
    extents, types agree, vector loops hold straight lines, and what is written is declared to be."""
    _Verifier(kernel).block(kernel.body, frozenset())


def verify_order(steps: Sequence[Step]) -> None:
    """No kernel reads memory of the arena before something has written it: an earlier kernel, or a statement of its own
    that stands before the read."""
    _order(steps, set())


def _order(steps: Sequence[Step], written: set[Buf]) -> None:
    for step in steps:
        if isinstance(step, Run):
            _reads_what_is_written(step.kernel, written)
            continue
        if isinstance(step, Branch):
            _has_value(step.flag, written, "a branch depends on")
            sides = [set(written), set(written)]
            for inner, side in zip(inner_steps(step), sides, strict=True):
                _order(inner, side)
            written |= sides[0] & sides[1]
            continue
        for initial, current, _, _ in step.carries:
            _has_value(initial, written, "a loop starts from")
            written.add(current)
        if isinstance(step, ScanLoop):
            for to, source in step.before:
                _has_value(source, written, "a loop starts from")
                written.add(_base(to))
        for inner in inner_steps(step):
            _order(inner, written)
        if isinstance(step, ScanLoop):
            written.update(_base(to) for to, _ in step.after)
        if isinstance(step, WhileLoop):
            _has_value(step.flag, written, "a loop depends on")
        for _, _, following, last in step.carries:
            _has_value(following, written, "a loop goes on with")
            written.add(_base(last))


def _reads_what_is_written(kernel: Kernel, written: set[Buf]) -> None:
    walked: set[int] = set()
    for stmt in walk(kernel.body):
        if isinstance(stmt, Call):
            for buf, writes in stmt.touches():
                if writes:
                    written.add(_base(buf))
                else:
                    _has_value(buf, written, f"kernel {kernel.name} reads")
        if not isinstance(stmt, (Store, Reduce)):
            continue
        for e in expressions([stmt.value], walked):
            if isinstance(e, Load):
                _has_value(e.buf, written, f"kernel {kernel.name} reads")
            indices = e.index if isinstance(e, Load) else (e.index,) if isinstance(e, IndexValue) else ()
            for i in indices:
                for buf in _looked_up(i):
                    _has_value(buf, written, f"kernel {kernel.name} looks up indices in")
        if isinstance(stmt, Reduce):
            _has_value(stmt.buf, written, f"kernel {kernel.name} adds to")
        written.add(_base(stmt.buf))


def _base(buf: Buf) -> Buf:
    while buf.base is not None:
        buf = buf.base
    return buf


def _has_value(buf: Buf, written: set[Buf], what: str) -> None:
    root = _base(buf)
    if root.storage == "arena" and root not in written:
        raise VerifyError(f"{what} {buf.name}, which nothing has written before")


def _looked_up(i: Index) -> list[Buf]:
    found, pending = [], [i]
    while pending:
        for atom, _ in pending.pop().terms:
            if isinstance(atom, Lookup):
                found.append(atom.key[0])
                pending.extend(atom.key[1])
            elif not isinstance(atom, IVar):
                pending.append(atom.key[0])
    return found


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
                for buf, writes in stmt.touches():
                    self.declared(buf)
                    if writes:
                        self.written(buf)
                for _, offset in stmt.args:
                    self.bound(offset, bound)
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
        for buf in _looked_up(i):
            self.declared(buf)

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
                if e.positions is not None:
                    self.declared(e.positions)
            elif isinstance(e, Op) and e.name in ("add", "sub", "mul", "div", "fma", "max", "min", "pair") and any(
                a.dtype != e.dtype for a in e.args
            ):
                raise self.fail(f"{e.name} of {', '.join(str(a.dtype) for a in e.args)} gives {e.dtype}")
