"""The function that users call: lays out the workspace and runs the kernels in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..graph import index
from ..graph.index import IVar
from ..graph.sizes import Dim
from ..lower import memory as plan
from ..lower.ir import Branch, Buf, Kernel, Run, ScanLoop, Step, WhileLoop, inner_steps
from ..lower.lowering import Module
from .expr import ExprPrinter
from .indices import Names
from .kernel import Function
from .pieces import PiecesPrinter
from .types import memory

if TYPE_CHECKING:
    from .units import Calls


PART = 64  # kernel calls of a function: compilers take more than linear time over longer ones


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the entry: its name when it is a function of its own, declarations, statements, what it calls."""

    name: str
    setup: list[str]
    body: list[str]
    calls: list[Function]
    parallel: list[Function]
    loops: list[str]  # functions of loops in pieces


class EntryPrinter:
    """Prints the body of the entry function of a module."""

    def __init__(self, module: Module, calls: Calls, dims: list[Dim], prefix: str = "") -> None:
        self.module, self.calls, self.dims = module, calls, dims
        self.printer = ExprPrinter(Names(used=set(module.names)), {})
        self.out: list[str] = []
        self.called: dict[Function, None] = {}
        self.parallel: dict[Function, None] = {}
        self.loops: list[str] = []
        self.number = {k: n for n, k in enumerate(module.kernels)}
        self.prefix = prefix
        self.within: PiecesPrinter | None = None  # the loop in pieces that is being printed

    def parts(self) -> list[Part]:
        """The steps as functions of bounded length, called one after another; one part is the entry itself."""
        steps = self.module.steps
        # What a loop tells, and its tape, are known to one function only.
        whole = len(steps) <= 2 * PART or plan.counted(steps)
        size = max(1, len(steps)) if whole else PART
        found = []
        for number, start in enumerate(range(0, max(1, len(steps)), size)):
            self.out, self.called, self.parallel, self.loops = [], {}, {}, []
            setup = self.lines(steps[start : start + size])
            name = f"{self.module.name}_part{number}"
            found.append(Part(name, setup, self.out, list(self.called), list(self.parallel), self.loops))
        return found

    def lines(self, steps: list[Step]) -> list[str]:
        """Prints statements to `out`; gives the declarations that precede them."""
        args = [*self.module.inputs, *self.module.variables, *self.module.outputs]
        self.pointer: dict[Buf, str] = {b: f"args->{b.name}" for b in args}
        setup = [f"const int64_t {d.name} = args->{d.name};" for d in self.dims]
        layout = self.module.layout
        touched = plan.touched(steps)
        if touched & layout.offsets.keys() or layout.scratch_stride != 0:
            setup.append("char *const arena = workspace;")
        moving = self._moving(steps)
        for buf in sorted(touched & layout.offsets.keys(), key=lambda b: b.name):
            offset = layout.offsets[buf]
            shape = ", ".join(map(str, buf.shape))
            const = "" if buf in moving else "const "
            setup.append(
                f"{memory(buf.dtype)} *{const}{buf.name} = ({memory(buf.dtype)} *)(void *)"
                f"(arena + {self.printer.extent(offset)}); /* [{shape}] */"
            )
            self.pointer[buf] = buf.name
        if layout.scratch_stride != 0:
            setup.append(f"char *const scratch = arena + {self.printer.extent(layout.scratch)};")
        bound = list(dict.fromkeys(w.trips for w in plan.counted(steps) if w.trips is not None))
        setup += [f"int64_t {d.name} = 0; /* iterations */" for d in bound]
        if plan.growing(steps, layout):
            setup.append("uint64_t top = 0; /* of the tape */")
        self.steps(steps, 1)
        for name in [*(d.name for d in (*self.dims, *bound)), *(["scratch"] if layout.scratch_stride != 0 else [])]:
            uses = [*self.out, *(line for line in setup if f"const {name} =" not in line and
                                 f"int64_t {name} =" not in line)]
            if not any(name in line for line in uses):
                self.out.insert(0, f"  (void){name};")
        return setup

    def _moving(self, steps: list[Step]) -> set[Buf]:
        """Carries of loops: their pointers swap."""
        found: set[Buf] = set()
        for step in steps:
            if isinstance(step, (ScanLoop, WhileLoop)):
                found |= {b for _, current, following, _ in step.carries for b in (current, following)}
            for inner in inner_steps(step):
                found |= self._moving(inner)
        return found

    def steps(self, steps: list[Step], indent: int) -> None:
        for step in steps:
            if isinstance(step, Run):
                (self.within or self).run(step.kernel, indent)
            elif isinstance(step, Branch):
                self.branch(step, indent)
            elif isinstance(step, ScanLoop):
                self.scan(step, indent)
            else:
                self.loop(step, indent)

    def run(self, kernel: Kernel, indent: int) -> None:
        pad = "  " * indent
        f = self.calls.of[kernel]
        self.called[f] = None
        args = [self.pointer_to(b) for b in self.calls.buffers[kernel]]
        args += [d.name for d in f.dims]
        chunks = self.printer.extent(kernel.chunks)
        number = self.number[kernel]
        if kernel.chunks == 1 or kernel.serial:
            if f.checks:
                args.append("context")
            if f.scratch:
                args.append("scratch")
            self.out.append(f"{pad}PROFILED({number}, {self.name_of(f)}({', '.join([*args, '0', chunks])}));")
        else:
            self.parallel[f] = None
            if f.scratch:
                args += ["scratch", self.printer.extent(self.module.layout.scratch_stride)]
            self.out.append(f"{pad}{{")
            self.out.append(f"{pad}  const struct {f.name}_task task = {{{', '.join(args)}}};")
            self.out.append(f"{pad}  PROFILED({number}, run_chunks(context, {f.name}_chunks, &task, {chunks}));")
            self.out.append(f"{pad}}}")
        if kernel.checks:
            self.out.append(f"{pad}if (context->status) return context->status;")

    def name_of(self, f: Function) -> str:
        return f"{self.prefix}{f.name}"

    def thunks(self, functions: Iterable[Function]) -> list[str]:
        """The chunk functions behind `parallel_for`, each with the struct that carries its arguments."""
        result = []
        for f in functions:
            kernel = f.kernel
            fields = []
            args = []
            for b in self.calls.buffers[kernel]:
                const = "" if b in kernel.writes else "const "
                fields.append(f"{const}{memory(b.dtype)} *{b.name};")
                args.append(f"t->{b.name}")
            for d in f.dims:
                fields.append(f"int64_t {d.name};")
                args.append(f"t->{d.name}")
            if f.scratch:
                fields += ["char *scratch;", "int64_t stride;"]
                args.append("t->scratch + worker * t->stride")
            args += ["begin", "end"]
            unused = "" if f.scratch else "  (void)worker;\n"
            result.append(
                f"struct {f.name}_task {{\n  " + "\n  ".join(fields) + "\n};\n\n"
                f"static void {f.name}_chunks(const void *task, int64_t begin, int64_t end, int32_t worker)\n{{\n"
                f"  const struct {f.name}_task *t = task;\n{unused}  {self.name_of(f)}({', '.join(args)});\n}}\n"
            )
        return result

    def branch(self, branch: Branch, indent: int) -> None:
        pad = "  " * indent
        self.out.append(f"{pad}if (*{self.pointer_to(branch.flag)}) {{")
        self.steps(branch.then, indent + 1)
        self.out.append(f"{pad}}} else {{")
        self.steps(branch.otherwise, indent + 1)
        self.out.append(f"{pad}}}")

    def scan(self, loop: ScanLoop, indent: int) -> None:
        pad = "  " * indent
        for initial, current, _, _ in loop.carries:
            self.copy(pad, current, initial)
        for to, source in loop.before:
            self.copy(pad, to, source)
        if loop.pieces != 1:
            self.loops.append(PiecesPrinter(self, loop).print(indent))
        else:
            t = self.variable(loop.var)
            self.out.append(f"{pad}{self.head(loop, t)}")
            self.iteration(loop, t, indent + 1)
            self.out.append(f"{pad}}}")
        self.leave(loop, pad)
        for to, source in loop.after:
            self.copy(pad, to, source)

    def head(self, loop: ScanLoop, t: str) -> str:
        n = self.printer.extent(loop.length)
        if loop.reverse:
            return f"for (int64_t {t} = {n} - 1; {t} >= 0; {t}--) {{"
        return f"for (int64_t {t} = 0; {t} < {n}; {t}++) {{"

    def loop(self, loop: WhileLoop, indent: int) -> None:
        pad = "  " * indent
        for initial, current, _, _ in loop.carries:
            self.copy(pad, current, initial)
        t = self.variable(loop.var)
        if loop.record != 0:
            start = self.printer.names.fresh("records")
            self.out.append(f"{pad}const uint64_t {start} = top;")
            for base, offset in loop.places.items():
                at = self.printer.extent(offset)
                self.pointer[base] = self.on_tape(base, f"{start} + (uint64_t){at}" if at != "0" else start)
        self.out.append(f"{pad}int64_t {t} = 0;")
        more = f"{t} < {loop.limit}" if loop.limit is not None else ""
        self.out.append(f"{pad}for (; {more}; {t}++) {{")
        self.steps(loop.test, indent + 1)
        self.out.append(f"{pad}  if (!*{self.pointer_to(loop.flag)}) break;")
        if loop.record != 0:
            record = self.printer.extent(loop.record)
            self.out.append(f"{pad}  top = {start} + (uint64_t)({t} + 1) * (uint64_t){record};")
            self.reserve(pad + "  ")
        self.iteration(loop, t, indent + 1)
        self.out.append(f"{pad}}}")
        if loop.trips is not None:
            self.out.append(f"{pad}{loop.trips.name} = {t};")
        self.leave(loop, pad)
        for buf in self.module.layout.grown.get(loop, ()):
            at = self.printer.names.fresh(f"{buf.name}_at")
            self.out.append(f"{pad}const uint64_t {at} = top;")
            size = self.printer.extent(plan.aligned(plan.nbytes(buf)))
            self.out.append(f"{pad}top += (uint64_t){size}; /* {buf.name} */")
            self.pointer[buf] = self.on_tape(buf, at)
        if self.module.layout.grown.get(loop):
            self.reserve(pad)

    def pointer_to(self, buf: Buf) -> str:
        """Where a buffer is: views outside of loops stay at one record of what they are views of."""
        found = self.pointer.get(buf)
        if found is not None:
            return found
        assert buf.base is not None, buf
        base = self.pointer_to(buf.base)
        return base if buf.shift == 0 else (
            f"({base} + {self.printer.index(index.scale(index.of(buf.shift), buf.base.strides[0]))})"
        )

    def variable(self, var: IVar) -> str:
        t = self.printer.names.fresh("t")
        self.printer.names.vars[var] = t
        return t

    def on_tape(self, buf: Buf, at: str) -> str:
        """The tape may move whenever it grows, so its arrays are found anew for every use."""
        return f"(({memory(buf.dtype)} *)(void *)((char *)context->tape + {at}))"

    def reserve(self, pad: str) -> None:
        self.out.append(f"{pad}if (adjoint_reserve(context, top)) return context->status;")

    def iteration(self, loop: ScanLoop | WhileLoop, t: str, indent: int) -> None:
        pad = "  " * indent
        outer = self.printer.names.fresh("outer")
        keeps = isinstance(loop, ScanLoop) or loop.record == 0
        keeps = keeps and bool(plan.growing(loop.steps, self.module.layout))
        if keeps:
            self.out.append(f"{pad}const uint64_t {outer} = top;")
        for view in loop.views:
            assert view.base is not None
            single = isinstance(loop, ScanLoop) and loop.length == 1
            record = index.of(view.shift)
            if not single:
                record = index.add(record, index.of(loop.var))
            step = index.scale(record, view.base.strides[0])
            base = self.pointer_to(view.base)
            if base.startswith("(("):  # on the tape
                self.pointer[view] = f"({base} + {self.printer.index(step)})"
                continue
            const = self.constness(view.base)
            self.out.append(
                f"{pad}{const}{memory(view.dtype)} *const {view.name} = {base} + {self.printer.index(step)};"
            )
            self.pointer[view] = view.name
        self.steps(loop.steps, indent)
        self.swap(loop, pad)
        if keeps:
            self.out.append(f"{pad}top = {outer};")

    def constness(self, buf: Buf) -> str:
        """Which pointers are to what the caller only lends."""
        while buf.base is not None:
            buf = buf.base
        module = self.module
        lent = buf in module.inputs or (buf in module.variables and buf not in module.written)
        return "const " if lent else ""

    def swap(self, loop: ScanLoop | WhileLoop, pad: str) -> None:
        for _, current, following, _ in loop.carries:
            swap = f"{current.name}_swap"
            self.out.append(f"{pad}{memory(current.dtype)} *const {swap} = {current.name};")
            self.out.append(f"{pad}{current.name} = {following.name};")
            self.out.append(f"{pad}{following.name} = {swap};")

    def leave(self, loop: ScanLoop | WhileLoop, pad: str) -> None:
        for _, current, _, last in loop.carries:
            if last is not current:
                self.copy(pad, last, current)

    def copy(self, pad: str, to: Buf, source: Buf) -> None:
        nbytes = self.printer.extent(plan.nbytes(to))
        self.out.append(f"{pad}memcpy({self.pointer_to(to)}, {self.pointer_to(source)}, (size_t)({nbytes}));")
