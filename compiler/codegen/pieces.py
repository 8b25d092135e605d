"""Loops in pieces of their rows: a function that takes pieces through all iterations, and the call that shares them
out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph import sizes
from ..lower.ir import Buf, Kernel, Run, ScanLoop
from .types import memory

if TYPE_CHECKING:
    from .entry import EntryPrinter


class PiecesPrinter:
    """Prints one loop. Its statements and arrays are those of the entry; how kernels run, and where the arrays are, is
    what differs."""

    def __init__(self, entry: EntryPrinter, loop: ScanLoop) -> None:
        self.entry, self.loop = entry, loop
        self.kernels = [step.kernel for step in loop.steps if isinstance(step, Run)]
        self.slot = {k: n for n, k in enumerate(self.kernels)}
        self.name = entry.printer.names.fresh(f"{entry.module.name}_pieces")
        # Arrays keep their names, which others give way to.
        fresh = entry.printer.names.fresh
        self.task, self.piece, self.spent, self.numbers = (fresh(n) for n in ("loop", "piece", "spent", "kernels"))

    def print(self, indent: int) -> str:
        """Prints the call to the entry; gives the function."""
        loop, entry = self.loop, self.entry
        pad = "  " * indent
        outer = self._outer()
        scratch = any(entry.calls.of[k].scratch for k in self.kernels)
        dims = dict.fromkeys(d for k in self.kernels for d in entry.calls.of[k].dims)
        dims.update(dict.fromkeys(sizes.dims_of(loop.length)))
        dims.update(dict.fromkeys(d for v in loop.views if v.base for d in sizes.dims_of(v.base.strides[0])))
        dims.update(dict.fromkeys(d for k in self.kernels for d in sizes.dims_of(k.chunks)))
        values = [entry.pointer_to(b) for b in outer] + [d.name for d in dims]
        fields = [f"{entry.constness(b)}{memory(b.dtype)} *{b.name};" for b in outer]
        fields += [f"int64_t {d.name};" for d in dims]
        if scratch:
            values += ["scratch", entry.printer.extent(entry.module.layout.scratch_stride)]
            fields += ["char *scratch;", "int64_t stride;"]
        count, spent = len(self.kernels), self.spent
        most = f"{entry.module.name.upper()}_WORKERS"
        fields += ["adjoint_context *context;", f"uint64_t *{self.spent};"]
        text = self._function(fields, outer, list(dims), scratch)
        numbers = ", ".join(str(entry.number[k]) for k in self.kernels)
        pieces, n = entry.printer.extent(loop.pieces), entry.printer.extent(loop.length)
        entry.out += [
            f"{pad}{{",
            f"{pad}  static const int32_t {self.numbers}[{count}] = {{{numbers}}};",
            f"{pad}  uint64_t {spent}[{most} * {count}];",
            f"{pad}  const struct {self.name} task = {{{', '.join([*values, 'context', spent])}}};",
            f"{pad}  const uint64_t start = context->clock ? context->clock() : 0;",
            f"{pad}  if (context->clock) memset({spent}, 0, sizeof {spent});",
            f"{pad}  run_chunks(context, {self.name}_chunks, &task, {pieces});",
            f"{pad}  if (context->clock)",
            f"{pad}    adjoint_attribute(context, start, {spent}, {most}, {self.numbers}, {count}, {n});",
            f"{pad}}}",
        ]
        self._leave(pad, n)
        return text

    def _outer(self) -> list[Buf]:
        """The arrays that the loop gets from outside, in order of appearance."""
        own = set(self.loop.views)
        found: dict[Buf, None] = {}
        for _, current, following, _ in self.loop.carries:
            found.update({current: None, following: None})
        found.update(dict.fromkeys(v.base for v in self.loop.views if v.base is not None))
        for k in self.kernels:
            found.update(dict.fromkeys(b for b in self.entry.calls.buffers[k] if b not in own))
        return list(found)

    def _function(self, fields: list[str], outer: list[Buf], dims: list[sizes.Dim], scratch: bool) -> str:
        entry, loop, task = self.entry, self.loop, self.task
        pointers, out = entry.pointer, entry.out
        moving = [b for _, current, following, _ in loop.carries for b in (current, following)]
        entry.pointer = {b: b.name if b in moving else f"{task}->{b.name}" for b in outer}
        entry.out, entry.within = [], self
        t = entry.variable(loop.var)
        lines = [f"const struct {self.name} *{task} = task;"]
        lines += [f"const int64_t {d.name} = {task}->{d.name};" for d in dims]
        if scratch:
            lines.append(f"char *const scratch = {task}->scratch + worker * {task}->stride;")
        lines.append(f"adjoint_context *const context = {task}->context;")
        each = f"{len(self.kernels)} * " if len(self.kernels) > 1 else ""
        lines.append(f"uint64_t *const {self.spent} = {task}->{self.spent} + {each}worker;")
        lines.append(f"for (int64_t {self.piece} = begin; {self.piece} < end; {self.piece}++) {{")
        lines += [f"  {memory(b.dtype)} *{b.name} = {task}->{b.name};" for b in moving]
        lines.append("  " + entry.head(loop, t))
        entry.iteration(loop, t, 3)
        lines += [line.removeprefix("  ") for line in entry.out]
        lines += ["  }", "}"]
        entry.pointer, entry.out, entry.within = pointers, out, None
        body = "\n".join(f"  {line}" for line in lines)
        used = [line for line in lines if not line.startswith("const int64_t")]
        unused = [d.name for d in dims if not any(d.name in line for line in used)]
        body += "".join(f"\n  (void){name};" for name in unused)
        return (
            f"struct {self.name} {{\n  " + "\n  ".join(fields) + "\n};\n\n"
            f"static void {self.name}_chunks(const void *task, int64_t begin, int64_t end, int32_t worker)\n{{\n"
            f"{body}\n}}\n"
        )

    def run(self, kernel: Kernel, indent: int) -> None:
        """Prints a call for the chunks of a kernel that belong to the piece."""
        entry = self.entry
        f = entry.calls.of[kernel]
        entry.called[f] = None
        args = [entry.pointer_to(b) for b in entry.calls.buffers[kernel]]
        args += [d.name for d in f.dims]
        if f.scratch:
            args.append("scratch")
        each = kernel.per_piece
        first, last = (self.piece, f"{self.piece} + 1")
        if each != 1:
            n = entry.printer.extent(each)
            first, last = f"{self.piece} * {n}", f"({self.piece} + 1) * {n}"
        if sizes.mul(each, self.loop.pieces) != kernel.chunks:
            n = entry.printer.extent(kernel.chunks)
            last = f"{last} < {n} ? {last} : {n}"
        call = f"{entry.name_of(f)}({', '.join([*args, first, last])})"
        entry.out.append(f"{'  ' * indent}TIMED({self.spent}[{self.slot[kernel]}], {call});")

    def _leave(self, pad: str, n: str) -> None:
        """Every piece has swapped its carries after each iteration; now the entry does."""
        length = self.loop.length
        if not self.loop.carries or (isinstance(length, int) and length % 2 == 0):
            return
        inner = pad if isinstance(length, int) else f"{pad}  "
        if inner != pad:
            self.entry.out.append(f"{pad}if ({n} % 2) {{")
        self.entry.swap(self.loop, inner)
        if inner != pad:
            self.entry.out.append(f"{pad}}}")
