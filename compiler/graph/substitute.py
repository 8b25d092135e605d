"""Exchanging nodes for others in the graph above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import sites
from .node import Node, make, toposort


def substitute(roots: Sequence[Node], values: Mapping[Node, Node]) -> list[Node]:
    """The roots with every key of `values` replaced; what does not depend on one stays the same object."""
    new: dict[Node, Node] = dict(values)
    for node in toposort(roots, stop=new.__contains__):
        if node in new:
            continue
        inputs = tuple(new[i] for i in node.inputs)
        if inputs == node.inputs:
            new[node] = node
            continue
        with sites.at(node.sites, node.stems_from):
            new[node] = make(node.op, inputs, *node.attrs)
    return [new[r] for r in roots]
