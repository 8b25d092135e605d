"""Concatenations in memory: every operand is computed straight into its place, by loops without a choice of operand."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import sizes
from ..graph.node import Node, make
from ..graph.sizes import Extent
from .stages import Part, Stage, assembly_stage, make_stage

MOST = 32  # operands: each of them is a statement
SHORTEST = 16  # elements that an operand has in one piece: less is too little for loops of its own


def assembled(node: Node) -> bool:
    """Whether a concatenation that lies in memory is put together from its operands, one after another."""
    if node.op.name != "concat" or len(node.inputs) > MOST or 0 in node.shape:
        return False
    return all(sizes.hint(sizes.product(x.shape[node["axis"] :])) >= SHORTEST for x in node.inputs)


def assembly(
    node: Node, kept: Callable[[Node], bool], once: Callable[[Node], bool], number: Callable[[], int]
) -> list[Stage]:
    """A stage for every operand and one that stands for the whole, which has nothing left to do. `number` tells the
    copies of one operand apart."""
    axis = node["axis"]
    start: Extent = 0
    stages: list[Stage] = []
    for x in node.inputs:
        own = make("copy", (x,), number())
        stage = make_stage(own, kept, once)
        stage.part = Part(node, axis, start)
        start = sizes.add(start, x.shape[axis])
        stages.append(stage)
    return [*stages, assembly_stage(node, [s.node for s in stages])]
