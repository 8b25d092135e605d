"""What is compiled: arguments, results and updates of state, over one graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .node import Node, toposort


@dataclass(frozen=True, slots=True)
class Program:
    """A function of `inputs` and the variables it reaches.

    `updates` pairs a variable with its new value; all right-hand sides and outputs read the values that variables
    have when the call begins. `variables` lists every variable reached or updated, in a deterministic order; a program
    that was made from another one keeps the other's, as `state`, for callers hand them over in that order.
    """

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[tuple[Node, Node], ...] = ()
    state: tuple[Node, ...] | None = None

    @property
    def roots(self) -> tuple[Node, ...]:
        return (*self.outputs, *(value for _, value in self.updates))

    @property
    def variables(self) -> tuple[Node, ...]:
        if self.state is not None:
            return self.state
        reached = [n for n in toposort(self.roots) if n.op.name == "variable"]
        return tuple(dict.fromkeys([*reached, *(v for v, _ in self.updates)]))

    def __reduce__(self) -> tuple[Any, ...]:
        from .serial import flatten_program, restore_program

        return (restore_program, flatten_program(self))

    def listed(self) -> Program:
        """The same program with its variables listed: looking for them goes through the whole graph."""
        return self if self.state is not None else replace(self, state=self.variables)

    def replaced(self, values: Mapping[Node, Node]) -> Program:
        """The program with its roots exchanged for what `values` gives; itself when nothing changes."""
        outputs = tuple(values.get(o, o) for o in self.outputs)
        updates = tuple((v, values.get(u, u)) for v, u in self.updates)
        if outputs == self.outputs and updates == self.updates:
            return self
        return replace(self, outputs=outputs, updates=updates, state=self.variables)
