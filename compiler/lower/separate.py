"""Outputs and updates with nodes of their own."""

from __future__ import annotations

from dataclasses import replace

from ..graph.node import Node, make
from ..graph.program import Program


def separate(program: Program) -> Program:
    """Gives every output and update a node of its own that can be stored where it belongs."""
    taken: set[Node] = set()
    counter = 0

    def own(node: Node, update: bool = False) -> Node:
        nonlocal counter
        # A loop leaves its last carry by itself, and cannot do so in place of a variable that it may still read.
        if node.op.kind == "leaf" or node in taken or node.op.name == "copy" or (update and node.op.name == "item"):
            counter += 1
            node = make("copy", (node,), counter)
        taken.add(node)
        return node

    outputs = tuple(own(n) for n in program.outputs)
    updates = tuple((v, own(u, update=True)) for v, u in program.updates)
    return replace(program, outputs=outputs, updates=updates, state=program.variables)
