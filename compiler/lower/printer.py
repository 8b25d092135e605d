"""Kernels and the memory plan as text, for people."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import sizes
from .ir import (
    Across,
    Branch,
    Call,
    Const,
    Expr,
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
    operands,
)
from .lowering import Module
from .memory import aligned, nbytes

_LONG = 72


class _Text(dict[int, str]):
    """How the expressions of a block read, by id, and which of them were walked."""

    def __init__(self) -> None:
        super().__init__()
        self.walked: set[int] = set()


def kernel_text(kernel: Kernel) -> str:
    """One kernel: its signature, then its loops, a line a statement."""
    params = ", ".join(
        f"{'' if b in kernel.writes else 'const '}{b.name}: {b.dtype}[{', '.join(map(str, b.shape))}]"
        for b in kernel.params
    )
    lines = [f"kernel {kernel.name}({params})  chunks={kernel.chunks}"]
    for b in kernel.scratch:
        lines.append(f"  scratch {b.name}: {b.dtype}[{', '.join(map(str, b.shape))}]")
    _block(kernel.body, 1, lines)
    return "\n".join(lines)


def _block(body: Sequence[Stmt], depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    uses, text = _uses(body), _Text()
    for s in body:
        if isinstance(s, Loop):
            hi = f"min({s.hi}, {s.limit})" if s.limit is not None else str(s.hi)
            kind = f"vec {s.lanes}" if s.kind == "vec" else s.kind
            kind += f" x{s.unroll}" if s.unroll > 1 else ""
            lines.append(f"{pad}for {s.var} in {s.lo} .. {hi} {kind}:")
            _block(s.body, depth + 1, lines)
        elif isinstance(s, Store):
            lines.append(f"{pad}{_element(s.buf.name, s.index)} = {_expression(s.value, pad, lines, text, uses)}")
        elif isinstance(s, Reduce):
            value = _expression(s.value, pad, lines, text, uses)
            lines.append(f"{pad}{_element(s.buf.name, s.index)} {s.combine}= {value}")
        elif isinstance(s, Call):
            args = ", ".join(f"{b.name} + {i}" if str(i) != "0" else b.name for b, i in s.args)
            lines.append(f"{pad}{s.kernel.name}({args}, {', '.join(map(str, s.sizes))})")
        elif isinstance(s, Prefetch):
            lines.append(f"{pad}prefetch {_element(s.buf.name, s.index)}")


def _element(name: str, at: Sequence[object]) -> str:
    return f"{name}[{', '.join(map(str, at))}]" if at else name


def _expression(root: Expr, pad: str, lines: list[str], text: _Text, uses: dict[int, int]) -> str:
    """The expression on one line; shared and long parts get lines of their own before it.

    `text` holds what statements before it in the same block have printed, `uses` how often the block uses each part.
    """
    for e in expressions([root], text.walked):
        t = _one(e, text)
        if e is not root and isinstance(e, Op) and (uses[id(e)] > 1 or len(t) > _LONG):
            name = f"t{len(lines)}"
            lines.append(f"{pad}{name} = {t}")
            t = name
        text[id(e)] = t
    return text[id(root)]


def _uses(body: Sequence[Stmt]) -> dict[int, int]:
    roots = [s.value for s in body if isinstance(s, (Store, Reduce))]
    uses: dict[int, int] = {}
    for e in (*roots, *(o for user in expressions(roots) for o in operands(user))):
        uses[id(e)] = uses.get(id(e), 0) + 1
    return uses


def _one(e: Expr, text: dict[int, str]) -> str:
    if isinstance(e, Const):
        return str(e.value)
    if isinstance(e, IndexValue):
        return f"({e.index})"
    if isinstance(e, Load):
        element = _element(e.buf.name, e.index)
        if e.guards:
            fill = text[id(e.fill)] if e.fill is not None else "0"
            return f"({element} if {' and '.join(map(str, e.guards))} else {fill})"
        return element
    if isinstance(e, Guarded):
        return f"({text[id(e.expr)]} if {' and '.join(map(str, e.guards))} else {text[id(e.fill)]})"
    if isinstance(e, Across):
        return f"across({e.combine}, {e.buf.name}{'' if e.positions is None else f', {e.positions.name}'})"
    return f"{e.name}({', '.join(text[id(a)] for a in e.args)})"


def module_text(module: Module) -> str:
    """All kernels in the order of execution, loops around them indented."""
    parts = [kernel_text(k) for k in module.tiles]
    _steps(module.steps, 0, parts)
    return "\n\n".join(parts) + "\n"


def _steps(steps: Sequence[Step], depth: int, parts: list[str]) -> None:
    pad = "  " * depth
    for step in steps:
        if isinstance(step, Run):
            parts.append("\n".join(pad + line for line in kernel_text(step.kernel).split("\n")))
        elif isinstance(step, Branch):
            parts.append(f"{pad}if {step.flag}:")
            _steps(step.then, depth + 1, parts)
            parts.append(f"{pad}else:")
            _steps(step.otherwise, depth + 1, parts)
        elif isinstance(step, ScanLoop):
            pieces = "" if step.pieces == 1 else f", each of {step.pieces} pieces"
            parts.append(f"{pad}for {step.var} in 0 .. {step.length} seq{' -' if step.reverse else ''}{pieces}:")
            _steps(step.steps, depth + 1, parts)
        else:
            _while(step, depth, parts)


def _while(step: WhileLoop, depth: int, parts: list[str]) -> None:
    pad = "  " * depth
    limit = "" if step.limit is None else f", at most {step.limit} times"
    trips = "" if step.trips is None else f", counted by {step.trips}"
    parts.append(f"{pad}for {step.var} in 0 .. while {step.flag}{limit}{trips}, where")
    _steps(step.test, depth + 2, parts)
    parts.append(f"{pad}do:")
    if step.record != 0:
        parts.append(f"{pad}  push {step.record} bytes: {', '.join(map(str, step.places))}")
    _steps(step.steps, depth + 1, parts)


def memory_text(module: Module) -> str:
    """The memory plan: every buffer with its bytes, place and lifetime in kernels, then totals."""
    layout = module.layout
    rows = [("buffer", "type", "bytes", "offset", "kernels")]
    for buf in [*module.inputs, *module.variables, *module.outputs]:
        rows.append((buf.name, f"{buf.dtype}[{', '.join(map(str, buf.shape))}]", str(nbytes(buf)), "argument", ""))
    ends = {sizes.add(at, aligned(nbytes(buf))): buf.name for buf, at in layout.offsets.items()}
    for buf, offset in layout.offsets.items():
        first, last = layout.lifetimes[buf]
        kind = f"{buf.dtype}[{', '.join(map(str, buf.shape))}]"
        place = str(offset) if isinstance(offset, int) else f"after {ends[offset]}"
        rows.append((buf.name, kind, str(nbytes(buf)), place, f"{first}..{last}"))
    widths = [max(len(r[k]) for r in rows) for k in range(5)]
    lines = ["  ".join(
        r[k].rjust(widths[k]) if k in (2, 3) else r[k].ljust(widths[k]) for k in range(5)).rstrip() for r in rows]
    scratch = sizes.mul(layout.scratch_stride, module.target.workers)
    lines.append(f"arena {layout.arena} bytes, of {layout.unshared} without sharing")
    lines.append(f"scratch {scratch} bytes: {layout.scratch_stride} for each of {module.target.workers} workers")
    lines.append(f"workspace {layout.total} bytes")
    return "\n".join(lines) + "\n"
