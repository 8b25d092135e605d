"""Exchanging nodes for others in the graph above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import sites
from .node import Node, make, toposort


def substitute(
    roots: Sequence[Node], values: Mapping[Node, Node], transparent: str | None = None, stem: Node | None = None
) -> list[Node]:
    """The roots with every key of `values` replaced; what does not depend on one stays the same object.

    Nodes of the operation `transparent` give way to their first operand. New nodes stem from what the old ones stem
    from, else from `stem`.
    """
    new: dict[Node, Node] = dict(values)
    for node in toposort(roots, stop=new.__contains__):
        if node in new:
            continue
        if node.op.name == transparent:
            new[node] = new[node.inputs[0]]
            continue
        inputs = tuple(new[i] for i in node.inputs)
        if inputs == node.inputs:
            new[node] = node
            continue
        with sites.at(node.sites, stem if node.stems_from is None else node.stems_from):
            new[node] = make(node.op, inputs, *node.attrs)
    return [new[r] for r in roots]
