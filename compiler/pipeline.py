"""The passes, in order, each with what it turns into what."""

from __future__ import annotations

from dataclasses import dataclass

from .artifact import Artifact, Target
from .codegen.emit import emit
from .graph.node import Node, toposort
from .graph.program import Program
from .lower.lowering import Module, Options, lower

VERSION = "0.1.0"


@dataclass(frozen=True, slots=True)
class Compiled:
    """Every stage of one compilation."""

    program: Program
    optimized: Program
    module: Module
    artifact: Artifact


def compile_program(program: Program, target: Target, options: Options | None = None) -> Compiled:
    """Runs all passes."""
    optimized = program
    module = lower(optimized, target, options)  # graph → kernels
    sites = site_numbers(program, optimized)  # nodes → user lines
    artifact = emit(module, VERSION, sites)  # kernels → C
    return Compiled(program, optimized, module, artifact)


def site_numbers(*programs: Program) -> dict[Node, int]:
    """Numbers the nodes that the user's lines are known of, in topological order."""
    numbers: dict[Node, int] = {}
    for program in programs:
        for node in toposort((*program.inputs, *program.variables, *program.roots)):
            if node not in numbers:
                numbers[node] = len(numbers)
    return numbers
