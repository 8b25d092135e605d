"""The passes, in order, each with what it turns into what."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from .artifact import Artifact, Target
from .codegen.emit import emit
from .graph.control import toposort_deep
from .graph.node import Node, toposort
from .graph.program import Program
from .graph.verify import verify_program
from .lower.lowering import Module, lower
from .lower.options import Options
from .lower.verify import verify_module
from .rewrite.rules import rewrite
from .timing import timed
from .version import VERSION


@dataclass(slots=True)
class Compilation:
    """Every stage of one compilation, and what was counted on the way."""

    program: Program
    optimized: Program
    module: Module
    artifact: Artifact
    firings: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def compile_program(
    program: Program, target: Target, options: Options | None = None, *, split: bool = True
) -> Compilation:
    """Runs all passes. Under ADJOINT_VERIFY=1 every level is verified after each of them; for `split` see `emit`."""
    with _uncollected():
        return _passes(program, target, options or Options(), split)


def _passes(program: Program, target: Target, options: Options, split: bool) -> Compilation:
    verify = os.environ.get("ADJOINT_VERIFY") == "1"
    seconds: dict[str, float] = {}
    with timed(seconds, "verify"):
        verify_program(program)  # graph → the same graph, or an error that names the node
    with timed(seconds, "rewrite"):
        optimized, firings = rewrite(program, disabled=options.disabled, fused=target.fma)  # graph → smaller graph
    if verify:
        verify_program(optimized)
    with timed(seconds, "lower"):
        module = lower(optimized, target, options)  # graph → kernels with buffers
    if verify:
        verify_module(module)
    with timed(seconds, "emit"):
        artifact = emit(module, VERSION, site_numbers(program, optimized), split=split)  # kernels → C
    return Compilation(program, optimized, module, artifact, firings, seconds)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keeps the cycle collector off: passes make many objects and no garbage in cycles, and it would walk them all
    again and again, which makes long programs cost more than their length."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def site_numbers(*programs: Program) -> dict[Node, int]:
    """Numbers nodes, and so the lines that made them, by their place in the graph alone; those of bodies come last."""
    numbers: dict[Node, int] = {}
    for order in (toposort, toposort_deep):
        for program in programs:
            for node in order((*program.inputs, *program.variables, *program.roots)):
                if node not in numbers:
                    numbers[node] = len(numbers)
    return numbers


def site_table(numbers: Mapping[Node, int]) -> dict[int, str]:
    """Number → the user's line, from the live graph."""
    return {k: str(node.sites[0]) for node, k in numbers.items() if node.sites}
