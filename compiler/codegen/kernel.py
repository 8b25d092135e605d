"""Kernels to C functions: signature, registers, scratch, loops."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph import index
from ..graph.dtypes import BOOL
from ..graph.index import Guard, Index, IVar
from ..graph.sizes import Dim
from ..lower import memory as plan
from ..lower.ir import (
    Buf,
    Call,
    Const,
    Expr,
    Kernel,
    Load,
    Loop,
    Prefetch,
    Reduce,
    Routine,
    Stmt,
    Store,
    expressions,
    operands,
    row_major,
    walk,
)  # fmt: skip
from .expr import Value
from .indices import Lanes, Names
from .statements import StatementPrinter, is_pair
from .types import element, lane, memory
from .versions import bounds_of, decided, verdicts

_NONE: frozenset[Buf] = frozenset()
_PLACEHOLDER = re.compile(r"\$(\d+)\$")


@dataclass(eq=False, slots=True)
class Function:
    """A printed kernel. `text` has placeholders for its name and its buffers, so equal kernels have equal texts."""

    kernel: Kernel
    text: str
    dims: tuple[Dim, ...]
    checks: bool
    scratch: bool  # takes a pointer to scratch in the workspace
    calls: tuple[Kernel, ...]
    needs: frozenset[tuple[str, str]]
    types: frozenset[str]
    tables: tuple[Buf, ...]
    used: frozenset[str]
    name: str = ""

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    def named(self, name: str, names: Sequence[str]) -> str:
        """The text for a function called `name` whose buffers have these names.

        The text does not depend on the names, so that equal kernels are found. Should a local have one of them, the
        parameter gives way.
        """
        taken, free = set(self.used), []
        for wanted in names:
            while wanted in taken:
                wanted += "_"
            taken.add(wanted)
            free.append(wanted)
        text = _PLACEHOLDER.sub(lambda m: free[int(m.group(1))], self.text)
        return text.replace("$name$", name)


class KernelPrinter(StatementPrinter):
    """Prints one kernel."""

    def __init__(
        self, kernel: Kernel, sites: dict[Any, int], callees: dict[Kernel, str], taken: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(Names(taken=taken), sites)
        self.kernel, self.callees = kernel, callees
        self.written, self.shares = kernel.writes, kernel.shares
        self.calls: list[Kernel] = []
        self.names.used |= {"begin", "end", "context", "scratch", "workspace", "args"}

    def print_function(self) -> Function:
        k = self.kernel
        tables = tuple(b for b in k.params if b.storage == "constant")
        buffers = [b for b in k.params if b.storage != "constant"]
        for number, buf in enumerate(buffers):
            self.names.params[buf] = f"${number}$"
        for buf in tables:
            self.names.params[buf] = buf.name
        self._declare_registers()
        scratch = bool(k.scratch) and not plan.on_stack(k)
        self._declare_scratch(scratch)
        self.block(k.body, {})
        chunked = any(isinstance(s, Loop) and s.kind == "chunk" for s in k.body)
        body = self.out
        dims = list(dict.fromkeys([*k.size_params, *self.names.dims]))
        params = [
            f"{'' if b in k.writes else 'const '}{memory(b.dtype)} *restrict {self.names.params[b]}" for b in buffers
        ]
        params += [f"int64_t {d.name}" for d in dims]
        if k.checks:
            params.append("adjoint_context *context")
        if scratch:
            params.append("char *restrict scratch")
        if not k.inner:
            params += ["int64_t begin", "int64_t end"]
        lines = [] if k.inner or chunked else ["  (void)begin;", "  (void)end;"]
        lines += [f"  (void){d.name};" for d in k.size_params if d not in self.names.dims]
        text = f"$static$void $name$({', '.join(params) or 'void'})\n{{\n" + "\n".join([*lines, *body]) + "\n}\n"
        return Function(
            k, text, tuple(dims), k.checks, scratch, tuple(dict.fromkeys(self.calls)), frozenset(self.needs),
            frozenset(self.types), tables, frozenset(self.names.used),
        )

    def _declare_registers(self) -> None:
        for stmt in walk(self.kernel.body):
            if isinstance(stmt, Loop) and stmt.kind == "vec":
                for inner in stmt.body:
                    if isinstance(inner, Reduce) and inner.buf.storage == "lanes":
                        self.acc_lanes[inner.buf] = (stmt.lanes, stmt.unroll)
                        if inner.positions is not None:
                            self.acc_lanes[inner.positions] = (stmt.lanes, stmt.unroll)
                    if isinstance(inner, (Store, Reduce)) and inner.buf.storage == "register" and inner.buf.shape:
                        self.acc_lanes[inner.buf] = (stmt.lanes, 1)
        for buf in self.kernel.registers:
            lanes, copies = self.acc_lanes.get(buf, (1, 1))
            kind = "m32" if buf.dtype == BOOL else element(buf.dtype)
            names = []
            positions: list[tuple[int, ...]] = [()]
            for k, extent in enumerate(buf.shape):
                assert isinstance(extent, int)
                count = extent // lanes if k == len(buf.shape) - 1 else extent
                positions = [(*p, c) for p in positions for c in range(count)]
            for p in positions:
                for c in range(copies):
                    parts = [str(x) for x in p] + ([str(c)] if copies > 1 else [])
                    name = self.names.fresh(buf.name + "_".join(parts))
                    self.registers[(buf, p, c)] = name
                    names.append(name)
            for start in range(0, len(names), 12):
                self.emit(f"{self.ctype(lane(kind, lanes))} {', '.join(names[start : start + 12])};")

    def _declare_scratch(self, shared: bool) -> None:
        offset: Any = 0
        for buf in self.kernel.scratch:
            if buf.base is not None:
                self.names.locals[buf] = self.names.locals[buf.base]
                continue
            name = self.names.fresh(buf.name)
            self.names.locals[buf] = name
            extents = buf.shape if buf.strides == row_major(buf.shape) else (plan.spanned(buf),)
            extent = " * ".join(self.extent(n) for n in extents) or "1"
            if shared:
                self.emit(f"{memory(buf.dtype)} *const {name} = ({memory(buf.dtype)} *)(void *)(scratch + "
                          f"{self.extent(offset)}); /* [{', '.join(map(str, buf.shape))}] */")
                offset = offset + plan.aligned(plan.nbytes(buf))
            else:
                self.emit(f"ADJOINT_ALIGNED {memory(buf.dtype)} {name}[{extent}];")

    def block(self, body: Sequence[Stmt], memo: dict[int, Value]) -> None:
        memo = dict(memo)
        segment: list[Store | Reduce] = []
        written: set[Buf] = set()
        walked: set[int] = set()
        near: dict[int, frozenset[Buf]] = {}  # what of the kernel's own an expression reads

        def flush() -> None:
            if segment:
                self.run(segment, memo)
                segment.clear()
                written.clear()

        for stmt in body:
            if isinstance(stmt, (Store, Reduce)):
                for e in expressions([stmt.value], walked):
                    near[id(e)] = _near(e, near)
                if not written.isdisjoint(near[id(stmt.value)]):
                    flush()
                segment.append(stmt)
                written.add(stmt.buf)
                continue
            flush()
            if isinstance(stmt, Loop):
                self.loop(stmt, memo)
            elif isinstance(stmt, Call):
                self.call_kernel(stmt)
            elif isinstance(stmt, Prefetch):
                at = index.linear_strides(stmt.index, stmt.buf.strides)
                if self.lanes is not None:
                    at = index.substitute(at, {self.lanes.var: self.lanes.at})
                self.emit(f"ADJOINT_PREFETCH({self.pointer(stmt.buf, at)});")
        flush()

    def call_kernel(self, stmt: Call) -> None:
        args = [self.pointer(buf, i) for buf, i in stmt.args]
        args += [self.index(i) for i in stmt.sizes]
        if isinstance(stmt.kernel, Routine):
            self.emit(self.call(stmt.kernel.name, element(stmt.kernel.dtype), *args) + ";")
            return
        self.calls.append(stmt.kernel)
        self.emit(f"{self.callees[stmt.kernel]}({', '.join(args)});")

    def loop(self, loop: Loop, memo: dict[int, Value]) -> None:
        if loop.kind == "unroll":
            self.unrolled(loop, memo)
        elif loop.kind == "vec":
            self.vector_loop(loop, memo)
        elif loop.kind == "chunk":
            name = self.declare(loop.var)
            self.emit(f"for (int64_t {name} = begin; {name} < end; {name}++) {{")
            self.nested(loop.body, memo)
        else:
            self.sequential(loop, memo)

    def declare(self, var: IVar) -> str:
        name = self.names.fresh(var.name)
        self.names.vars[var] = name
        return name

    def nested(self, body: Sequence[Stmt], memo: dict[int, Value]) -> None:
        self.indent += 1
        self.block(body, memo)
        self.indent -= 1
        self.emit("}")

    def unrolled(self, loop: Loop, memo: dict[int, Value]) -> None:
        lo, hi = self.resolve(loop.lo).const, self.resolve(loop.hi).const
        assert isinstance(lo, int) and isinstance(hi, int)
        for value in range(lo, hi):
            self.known[loop.var] = index.of(value)
            self.block(loop.body, memo)
        del self.known[loop.var]

    def sequential(self, loop: Loop, memo: dict[int, Value]) -> None:
        lo, hi = self.resolve(loop.lo), self.resolve(loop.hi)
        if not lo.terms and not hi.terms and isinstance(lo.const, int) and isinstance(hi.const, int) and (
            loop.limit is None and hi.const - lo.const == 1
        ):
            self.known[loop.var] = lo
            self.block(loop.body, memo)
            del self.known[loop.var]
            return
        bound = self.bound(loop)
        name = self.declare(loop.var)
        if loop.unroll > 1:
            self.emit(f"ADJOINT_UNROLL({loop.unroll})")
        self.emit(f"for (int64_t {name} = {self.index(lo)}; {name} < {bound}; {name}++) {{")
        self.nested(loop.body, memo)

    def bound(self, loop: Loop) -> str:
        """The upper bound as C; the lesser of two gets a name."""
        hi = self.index(loop.hi)
        if loop.limit is None:
            return hi
        limit = self.index(loop.limit)
        name = self.names.temp("stop")
        self.needs.add(("min", "i64"))
        self.emit(f"const int64_t {name} = i64_min({hi}, {limit});")
        return name

    def vector_loop(self, loop: Loop, memo: dict[int, Value]) -> None:
        memo = dict(memo)
        self.hoist(loop, memo)
        lanes = loop.lanes
        hi = self.resolve(loop.hi)
        static = not hi.terms and isinstance(hi.const, int) and loop.limit is None
        if static:
            n = hi.const
            assert isinstance(n, int)
            full, rest = n // lanes, n % lanes
            if full and (_named(loop.body) or (full <= max(loop.unroll, 1) and not (rest and full > 1))):
                for c in range(full):
                    self.lanes_body(loop, index.of(c * lanes), None, c % loop.unroll, memo)
            elif full:
                self.vector_main(loop, str(full * lanes), memo, full)
            if rest:
                self.lanes_body(loop, index.of(full * lanes), str(rest), 0, memo)
            return
        bound = self.bound(loop)
        if not bound.isidentifier():
            name = self.names.temp("stop")
            self.emit(f"const int64_t {name} = {bound};")
            bound = name
        var = self.vector_main(loop, bound, memo, None)
        if all(_multiple(i, lanes) for i in (hi, loop.limit) if i is not None):
            return
        self.emit(f"if ({var} < {bound}) {{")
        self.indent += 1
        left = self.names.temp("left")
        self.emit(f"const int64_t {left} = {bound} - {var};")
        self.lanes_body(loop, index.of(self.vector_var), left, 0, memo)
        self.indent -= 1
        self.emit("}")

    def hoist(self, loop: Loop, memo: dict[int, Value]) -> None:
        """Prints what is the same for all lanes once, before the loop."""
        stored = {s.buf for s in loop.body if isinstance(s, (Store, Reduce))}
        roots: list[Expr] = []
        for s in loop.body:
            if isinstance(s, Prefetch):
                continue
            assert isinstance(s, (Store, Reduce)), "a vector loop holds a straight line"
            roots.extend(s.value.args if is_pair(s) else [s.value])  # type: ignore[union-attr]
        self.lanes = Lanes(loop.var, loop.lanes, index.ZERO)
        order = expressions(roots)
        varying = self.varies(order)
        self.lanes = None
        moving: set[int] = set()
        for e in order:
            if (isinstance(e, Load) and e.buf in stored) or any(id(o) in moving for o in operands(e)):
                moving.add(id(e))
        fixed = [e for e in order if id(e) not in varying and id(e) not in moving and not isinstance(e, Const)]
        inner = {id(o) for e in fixed for o in operands(e)}
        tops = [e for e in fixed if id(e) not in inner or any(
            id(o) == id(e) for v in order if id(v) in varying for o in operands(v))]
        for e, v in zip(tops, self.values(tops, memo), strict=True):
            if not v.text.isidentifier() and not (isinstance(e, Load) and e.buf.storage == "register"):
                memo[id(e)] = self.name(v, "c")

    def vector_main(self, loop: Loop, bound: str, memo: dict[int, Value], trips: int | None) -> str:
        """The loop over whole vectors, unrolled where accumulators come in copies."""
        lanes, unroll = loop.lanes, loop.unroll
        var = IVar(loop.var.name, loop.var.extent)
        name = self.names.fresh(loop.var.name)
        self.names.vars[var] = name
        self.vector_var = var
        if trips is not None and (unroll == 1 or trips % unroll == 0):
            step = lanes * unroll
            self.emit(f"for (int64_t {name} = 0; {name} < {bound}; {name} += {step}) {{")
            self.copies(loop, var, unroll, memo)
            return name
        self.emit(f"int64_t {name} = 0;")
        if unroll > 1:
            step = lanes * unroll
            self.emit(f"for (; {name} + {step} <= {bound}; {name} += {step}) {{")
            self.copies(loop, var, unroll, memo)
        self.emit(f"for (; {name} + {lanes} <= {bound}; {name} += {lanes}) {{")
        self.copies(loop, var, 1, memo)
        return name

    def copies(self, loop: Loop, var: IVar, count: int, memo: dict[int, Value]) -> None:
        self.indent += 1
        texts: list[list[str]] = []
        for c in range(count):
            outside, self.out = self.out, []
            self.lanes_body(loop, index.add(index.of(var), c * loop.lanes), None, c, memo)
            texts.append(self.out)
            self.out = outside
        if len({len(t) for t in texts}) == 1 and all(line.endswith(";") and " for (" not in line for line in texts[0]):
            # Step by step side by side: a core looks only so far ahead for work that does not wait.
            self.out.extend(line for step in zip(*texts, strict=True) for line in step)
        else:
            self.out.extend(line for text in texts for line in text)
        self.indent -= 1
        self.emit("}")

    def lanes_body(self, loop: Loop, at: Index, count: str | None, copy: int, memo: dict[int, Value]) -> None:
        before = self.lanes
        self.lanes = Lanes(loop.var, loop.lanes, at, count, copy)
        known = verdicts(loop.body, loop.var) if count is None else {}
        if known:
            self.versions(loop, known, memo)
        else:
            self.block(loop.body, memo)
        self.lanes = before

    def versions(self, loop: Loop, known: Mapping[Guard, bool], memo: dict[int, Value]) -> None:
        """A straight line of whole vectors, without its guards where these do as expected."""
        assert self.lanes is not None
        sides = bounds_of(known, loop.var, self.lanes.at, loop.lanes)
        easy = decided(loop.body, known)
        if not sides:
            self.block(easy, memo)
            return
        conditions = [f"{self.paren(self.index(low))} <= {self.index(high)}" for low, high in sides]
        self.emit(f"if ({' && '.join(conditions)}) {{")
        self.nested(easy, memo)
        self.emit("else {")
        self.nested(loop.body, memo)


def _multiple(i: Index, n: int) -> bool:
    return all(isinstance(c, int) and c % n == 0 for c in (i.const, *(c for _, c in i.terms)))


def _named(body: Sequence[Stmt]) -> bool:
    """Whether a straight line writes or reads a row of registers, which have names rather than places."""
    lines = [s for s in body if isinstance(s, (Store, Reduce))]
    touched = [s.buf for s in lines] + [e.buf for e in expressions([s.value for s in lines]) if isinstance(e, Load)]
    return any(buf.storage == "register" and buf.shape for buf in touched)


def _near(e: Expr, near: Mapping[int, frozenset[Buf]]) -> frozenset[Buf]:
    """The registers, scratch and lanes that an expression reads, from what its operands read."""
    found = _NONE
    if isinstance(e, Load) and e.buf.storage in ("register", "scratch", "lanes"):
        found = frozenset((e.buf,))
    for o in operands(e):
        if below := near[id(o)]:
            found |= below
    return found
