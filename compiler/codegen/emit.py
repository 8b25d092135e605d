"""module → artifact: prints kernels, merges equal ones, and assembles translation units and the header."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..artifact import ABI, ABI_HEADER, Artifact, CheckInfo, DimSpec, KernelInfo, Param
from ..graph import sizes
from ..graph.elementwise import failure
from ..graph.node import Node
from ..graph.sizes import Dim
from ..lower.ir import Kernel, Run, ScanLoop, Step, WhileLoop, in_pieces, inner_steps
from ..lower.lowering import Module
from .env import template
from .kernel import Function, KernelPrinter
from .types import memory
from .units import Calls, print_units

SMALL = 1 << 19  # operations of a small function, which take less than a millisecond on any machine


def emit(module: Module, version: str, site_numbers: dict[Node, int], *, split: bool = True) -> Artifact:
    """The C of a module. The text depends on the module alone: no path, line, time or hash seed enters it.

    `split` puts long code into several units, which compile side by side; exports are easier to take along in one.
    """
    sites = {n: k for k, n in enumerate(module.checks)}
    calls = print_functions(module, sites)
    dims = used_dims(module)
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
    units = print_units(module, calls, dims, header, description, version, split)
    return Artifact(
        name=name, abi=ABI, target=target, header=header, units=units, params=params,
        dims=tuple(DimSpec(d.name, d.min, d.max) for d in dims),
        kernels=tuple(_info(k, site_numbers) for k in module.kernels),
        checks=tuple(
            CheckInfo(sites[n], failure(n), site_numbers.get(n, -1)) for n in module.checks
        ),
        parallel=any(k.chunks != 1 and not k.serial for k in module.kernels) or bool(in_pieces(module.steps)),
        workspace=None if dynamic else module.layout.total,  # type: ignore[arg-type]
        functions=len(calls.functions),
        small=not dims and _is_small(module.steps),
    )


def _is_small(steps: Sequence[Step]) -> bool:
    """Whether a call does few operations, whatever the data are."""
    total = 0
    pending = [(step, 1) for step in steps]
    while pending:
        step, times = pending.pop()
        if isinstance(step, WhileLoop):
            return False
        if isinstance(step, ScanLoop):
            times *= sizes.hint(step.length)
        if isinstance(step, Run):
            total += times * max(1, sizes.hint(step.kernel.flops))
        pending += [(inner, times) for within in inner_steps(step) for inner in within]
        if total > SMALL:
            return False
    return True


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
