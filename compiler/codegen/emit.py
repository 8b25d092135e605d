"""module → artifact: prints kernels, merges equal ones, and assembles translation units and the header."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np

from ..artifact import ABI, ABI_HEADER, Artifact, CheckInfo, DimSpec, KernelInfo, Param, Unit
from ..graph import sizes
from ..graph.node import Node
from ..graph.sizes import Dim
from ..lower.ir import Buf, Kernel
from ..lower.lowering import Module
from .entry import EntryPrinter
from .env import template
from .expr import ExprPrinter
from .indices import Names
from .kernel import Function, KernelPrinter
from .prelude import LONG, macro_of, prelude
from .types import memory

ONE_UNIT = 400  # lines of kernels up to which starting a second compiler costs more than it saves
UNIT_LINES = 2500  # most lines per unit: compile time grows faster than linearly
LONG_UNIT = 1500  # lines of kernels from which on the time to compile outweighs what the second level gains
INLINED = 24  # calls of one vector math function in a kernel from which on it is called: inlined, each costs gcc 60 ms


@dataclass(eq=False, slots=True)
class Calls:
    """The printed functions of a module: which function serves a kernel, and with which buffers in which order."""

    functions: list[Function]
    of: dict[Kernel, Function]
    buffers: dict[Kernel, list[Buf]]


def emit(module: Module, version: str, site_numbers: dict[Node, int], *, split: bool = True) -> Artifact:
    """The C of a module. The text depends on the module alone: no path, line, time or hash seed enters it.

    `split` puts long code into several units, which compile side by side; exports are easier to take along in one.
    """
    sites = {n: k for k, n in enumerate(module.checks)}
    calls = print_functions(module, sites)
    dims = used_dims(module)
    groups = _split(calls.functions) if split else [[f for f in calls.functions if not f.kernel.inner]]
    several = len(groups) > 1
    prefix = f"{module.name}_" if several else ""
    entry = EntryPrinter(module, calls, dims, prefix)
    fields = _fields(module, dims)
    params = _params(module, dims, site_numbers)
    name, target = module.name, module.target
    dynamic = not isinstance(module.layout.total, int)
    header = template("header.h.j2").render(
        name=name, upper=name.upper(), guard=f"{name.upper()}_H", version=version, target=target.name, abi=ABI_HEADER,
        workers=target.workers, fields=fields, dynamic=dynamic, workspace=module.layout.total,
    )
    description = json.dumps(
        {"name": name, "abi": ABI, "target": target.name,
         "arguments": [{"name": p.name, "role": p.role, "dtype": p.dtype, "shape": list(p.shape)} for p in params]}
    )
    parts = entry.parts()
    parallel = bool(entry.parallel)
    setup, body = parts[0].setup, parts[0].body
    if len(parts) == 1:
        parts = []
    else:
        setup = []
        body = [f"  if ({p.name}(args, workspace, context)) return context->status;" for p in parts]
    workspace = ExprPrinter(Names(), {}).extent(module.layout.total)
    used = sorted({d for d in dims if not isinstance(module.layout.total, int) and
                   d in sizes.dims_of(module.layout.total)}, key=lambda d: d.name)
    entry_text = template("entry.c.j2").render(
        name=name, parallel=parallel, setup=setup, body=body, parts=parts, workspace=workspace,
        description=_returned(description),
        extents=[f"const int64_t {d.name} = args->{d.name};" for d in used],
    )
    units = []
    for number, group in enumerate(groups):
        last = number == len(groups) - 1
        units.append(_unit(module, calls, group, number, header, entry_text if last else "", prefix, version, several,
                           entry.thunks() if last else []))
    return Artifact(
        name=name, abi=ABI, target=target, header=header, units=tuple(units), params=params,
        dims=tuple(DimSpec(d.name, d.min, d.max) for d in dims),
        kernels=tuple(_info(k, site_numbers) for k in module.kernels),
        checks=tuple(
            CheckInfo(sites[n], f"{n['label']}: index out of range", site_numbers.get(n, -1)) for n in module.checks
        ),
        parallel=parallel,
        workspace=None if dynamic else module.layout.total,  # type: ignore[arg-type]
    )


def print_functions(module: Module, sites: dict[Node, int]) -> Calls:
    """Prints every kernel; kernels whose functions are equal share the first one's."""
    callees = {k: k.name for k in module.tiles}
    by_text: dict[str, Function] = {}
    calls = Calls([], {}, {})
    for kernel in [*module.tiles, *module.kernels]:
        printed = KernelPrinter(kernel, sites, callees, module.names).print_function()
        found = by_text.get(printed.text)
        if found is None:
            found = by_text[printed.text] = printed
            printed.name = kernel.name
            calls.functions.append(printed)
        calls.of[kernel] = found
        calls.buffers[kernel] = [b for b in kernel.params if b.storage != "constant"]
    return calls


def used_dims(module: Module) -> list[Dim]:
    """The run-time dimensions of the arguments, in order of appearance."""
    found: dict[Dim, None] = {}
    for buf in [*module.inputs, *module.variables, *module.outputs]:
        for extent in buf.shape:
            found.update(dict.fromkeys(sizes.dims_of(extent)))
    return list(found)


@dataclass(frozen=True, slots=True)
class _Field:
    declaration: str
    comment: str


def _fields(module: Module, dims: list[Dim]) -> list[_Field]:
    result = []
    groups = [("input", module.inputs), ("variable", module.variables), ("output", module.outputs)]
    for role, bufs in groups:
        for buf in bufs:
            constant = role == "input" or (role == "variable" and buf not in module.written)
            const = "const " if constant else ""
            shape = ", ".join(map(str, buf.shape))
            updated = ", updated" if role == "variable" and buf in module.written else ""
            result.append(_Field(f"{const}{memory(buf.dtype)} *{buf.name}", f"{role} {buf.dtype}[{shape}]{updated}"))
    result.extend(_Field(f"int64_t {d.name}", "extent") for d in dims)
    return result


def _params(module: Module, dims: list[Dim], site_numbers: dict[Node, int]) -> tuple[Param, ...]:
    result = []
    nodes = {"input": module.program.inputs, "variable": module.program.variables, "output": module.program.outputs}
    bufs = {"input": module.inputs, "variable": module.variables, "output": module.outputs}
    for role in ("input", "variable", "output"):
        for node, buf in zip(nodes[role], bufs[role], strict=True):
            shape = tuple(n if isinstance(n, int) else str(n) for n in buf.shape)
            label = node["token"].name if role != "output" else buf.name
            result.append(
                Param(buf.name, role, str(buf.dtype), shape, label, buf in module.written, site_numbers.get(node, -1))
            )
    result.extend(Param(d.name, "extent", "int64", (), f"dimension {d.name}") for d in dims)
    return tuple(result)


def _info(kernel: Kernel, site_numbers: dict[Node, int]) -> KernelInfo:
    sites = tuple(dict.fromkeys(site_numbers[n] for n in kernel.nodes if n in site_numbers))
    written = ", ".join(f"{b.name}[{', '.join(map(str, b.shape))}]" for b in kernel.params if b in kernel.writes)
    return KernelInfo(kernel.name, written, sites, sizes.hint(kernel.flops), sizes.hint(kernel.bytes))


def _split(functions: list[Function]) -> list[list[Function]]:
    """Units of similar and bounded length, at least two of which can compile side by side.

    Tile kernels go with everyone who calls them, being small.
    """
    outer = [(f, f.text.count("\n")) for f in functions if not f.kernel.inner]
    total = sum(length for _, length in outer)
    count = 1 if total <= ONE_UNIT else max(2, -(-total // UNIT_LINES))
    groups: list[list[Function]] = [[]]
    lines = 0
    for f, length in outer:
        if lines + length / 2 > total * len(groups) / count and groups[-1]:
            groups.append([])
        groups[-1].append(f)
        lines += length
    return groups


def _unit(
    module: Module, calls: Calls, group: list[Function], number: int, header: str, entry: str, prefix: str,
    version: str, several: bool, thunks: list[str],
) -> Unit:
    inner = {calls.of[k] for f in group for k in f.calls}
    members = [f for f in calls.functions if f in inner] + group
    needs: set[tuple[str, str]] = set()
    types: set[str] = set()
    for f in members:
        needs |= f.needs
        types |= f.types
    tables = dict.fromkeys(b for f in members for b in f.tables)
    functions = []
    for f in members:
        static = "static " if not several or f.kernel.inner else ""
        if not f.kernel.inner:
            static = f"KERNEL {static}"
        text = _finish(f, prefix if not f.kernel.inner else "", static)
        functions.append({"comment": _comment(f), "text": text})
    declarations = []
    if several and entry:
        for f in calls.functions:
            if not f.kernel.inner and f not in group:
                declarations.append(_finish(f, prefix, "").partition("\n")[0] + ";")
    elif several:
        declarations.extend(_finish(f, prefix, "").partition("\n")[0] + ";" for f in group)
    aligned = any("ADJOINT_ALIGNED" in f.text for f in members)
    text = template("unit.c.j2").render(
        title=f"{module.name}" + (f", part {number}" if several else ""), version=version, target=module.target.name,
        prelude=prelude(needs, module.target, types, _called(members)), interface=header, aligned=aligned,
        prefetch=any("ADJOINT_PREFETCH" in f.text for f in members), checks=any(f.checks for f in members),
        tables=[_table(b) for b in tables], declarations=declarations,
        functions=functions, entry="\n".join(thunks) + ("\n" if thunks else "") + entry,
    )
    text = re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
    long = sum(f.text.count("\n") for f in calls.functions) > LONG_UNIT
    return Unit(f"{module.name}_{number}" if several else module.name, text, effort=1 if long else 2)


def _called(members: list[Function]) -> set[tuple[str, str]]:
    """The vector math that some kernel uses so often, or is so long, that inlining it would take the C compiler too
    long."""
    return {
        (function, kind) for f in members for function, kind in f.needs
        if (macro := macro_of(function)) and (macro in LONG or f.text.count(f"{kind}_{function}(") > INLINED)
    }


def _finish(f: Function, prefix: str, static: str) -> str:
    names = [b.name for b in f.kernel.params if b.storage != "constant"]
    return f.named(prefix + f.name, names).replace("$static$", static)


def _comment(f: Function) -> str:
    k = f.kernel
    if k.title:
        return _safe(k.title)

    def show(b: Buf) -> str:
        return f"{b.name}[{', '.join(map(str, b.shape))}]"

    writes = ", ".join(show(b) for b in k.params if b in k.writes)
    reads = ", ".join(show(b) for b in k.params if b not in k.writes)
    return _safe(f"{writes} from {reads}" if reads else writes)


def _safe(text: str) -> str:
    """Text of users must not end a comment."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ")


def _returned(text: str) -> str:
    """Statements that return a text. C99 promises no more than 4095 characters of a literal, joined ones included."""
    if len(text) < 4000:
        return f"return {_c_string(text)};"
    characters = [f"'\\{c}'" if c in "'\\" else f"'{c}'" for c in text]
    rows = [", ".join(characters[k : k + 20]) for k in range(0, len(text), 20)]
    return "static const char text[] = {\n    " + ",\n    ".join(rows) + ", 0\n  };\n  return text;"


def _c_string(text: str) -> str:
    """A C string literal of any text: what is not printable ASCII is escaped, trigraphs cannot arise."""
    out = []
    for byte in text.encode():
        c = chr(byte)
        if c in '"\\':
            out.append("\\" + c)
        elif c == "?" or not 32 <= byte < 127:
            out.append(f"\\{byte:03o}")
        else:
            out.append(c)
    # Lines of a readable length. None ends in an escape, which the next digit could seem to go on.
    pieces, piece = [], ""
    for c in out:
        piece += c
        if len(piece) >= 400 and "\\" not in piece[-4:]:
            pieces.append(piece)
            piece = ""
    if piece:
        pieces.append(piece)
    return "\n    ".join(f'"{p}"' for p in pieces) or '""'


def _table(buf: Buf) -> str:
    printer = ExprPrinter(Names(), {})
    assert buf.array is not None
    flat = np.ascontiguousarray(buf.array).reshape(-1)
    texts = [printer.literal(v.item(), buf.dtype) for v in flat] or ["0"]
    rows = [", ".join(texts[k : k + 8]) for k in range(0, len(texts), 8)]
    return f"static const {memory(buf.dtype)} {buf.name}[{max(1, flat.size)}] = {{\n  " + ",\n  ".join(rows) + "\n};"
