"""backend="numpy": a program run node by node."""

from __future__ import annotations

from typing import Any

import numpy as np

from .collect import program_dims
from .errors import ExecutionError
from .graph.interp import evaluate
from .graph.program import Program


class Interpreter:
    """The executor of backend="numpy": the graph as the user wrote it, one NumPy call per node."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.dims = program_dims(program)

    def run(self, inputs: list[Any], outputs: list[Any], extents: list[int]) -> None:
        program = self.program
        leaves = dict(zip(program.inputs, inputs, strict=True))
        leaves.update({v: v["token"].storage.array for v in program.variables})
        try:
            values = evaluate(program.roots, leaves, dict(zip(self.dims, extents, strict=True)))
        except ExecutionError as error:
            raise ExecutionError(f"{program.name}: {error}") from None
        values = [np.array(v) for v in values]
        for buffer, value in zip(outputs, values, strict=False):
            buffer[...] = value
        for (variable, _), value in zip(program.updates, values[len(program.outputs) :], strict=True):
            variable["token"].storage.array[...] = value
