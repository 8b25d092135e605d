"""program → module: stages, groups, kernels and memory, in the order of execution."""

from __future__ import annotations

from dataclasses import dataclass

from ..artifact import Target
from ..graph import sizes
from ..graph.node import Node
from ..graph.program import Program
from .ir import (
    Buf,
    Kernel,
    Op,
    Reduce,
    Step,
    Store,
    expressions,
    kernels_within,
    walk,
)  # fmt: skip
from .memory import Layout, growing, plan_memory
from .options import Options
from .scope import Scope, Shared
from .separate import separate
from .tall import split_sums


@dataclass(eq=False, slots=True)
class Module:
    """Everything that code generation needs. Inputs, variables and outputs are the arguments, in this order."""

    name: str
    target: Target
    program: Program
    inputs: list[Buf]
    variables: list[Buf]
    outputs: list[Buf]
    written: set[Buf]
    steps: list[Step]
    kernels: list[Kernel]  # in order of execution, those inside loops included
    tiles: list[Kernel]
    layout: Layout
    checks: list[Node]
    names: frozenset[str]  # of buffers and dimensions: a function's own variables have others


def lower(program: Program, target: Target, options: Options | None = None) -> Module:
    """Lowers a program for a target.

    Updates are written in place where nothing reads the old value later; if a data-dependent check could still fail
    after such a write, all updates go through memory of their own and are copied at the end.
    """
    options = options or Options()
    for deferred in (False, True):
        module, safe = _lower(program, target, options, deferred)
        if safe:
            break
    return module


def _lower(program: Program, target: Target, options: Options, deferred: bool) -> tuple[Module, bool]:
    shared = Shared(target, options)
    arguments = (*program.inputs, *program.variables, *program.outputs)
    shared.names.update({d.name: 1 for n in arguments for e in n.shape for d in sizes.dims_of(e)})
    inputs = {n: Buf(shared.unique(n["token"].name), n.dtype, n.shape, "arg") for n in program.inputs}
    variables = {n: Buf(shared.unique(n["token"].name), n.dtype, n.shape, "arg") for n in program.variables}
    separated = separate(split_sums(program, target))
    outputs = {
        n: Buf(shared.unique(f"out{k}" if len(program.outputs) > 1 else "out"), n.dtype, n.shape, "arg")
        for k, n in enumerate(separated.outputs)
    }
    shared.names.setdefault(program.name, 1)  # a file has tables beside functions
    scope = Scope(shared, {**inputs, **variables}, outputs, {u: variables[v] for v, u in separated.updates},
                  deferred)
    steps = scope.run(separated.roots)
    layout = plan_memory(steps, target)
    checks: list[Node] = []
    last_check, first_write = -1, len(shared.kernels)
    state = set(variables.values())
    on_tape = {k for loop in growing(steps, layout) for k in kernels_within(loop)}
    for k, kernel in enumerate(shared.kernels):
        if kernel in on_tape:
            last_check = k  # there may be no room for what the loop leaves behind
        found = [e.attr for e in _ops(kernel) if e.name == "check_index"]
        if found:
            last_check = k
            kernel.checks = True
            checks.extend(n for n in found if n not in checks)
        if kernel.writes & state:
            first_write = min(first_write, k)
    module = Module(
        program.name, target, program, list(inputs.values()), list(variables.values()),
        [outputs[n] for n in separated.outputs], {variables[v] for v, _ in program.updates}, steps, shared.kernels,
        list(shared.tiles.values()), layout, checks, frozenset(shared.names),
    )
    return module, deferred or last_check < first_write


def _ops(kernel: Kernel) -> list[Op]:
    roots = [s.value for s in walk(kernel.body) if isinstance(s, (Store, Reduce))]
    return [e for e in expressions(roots) if isinstance(e, Op)]
