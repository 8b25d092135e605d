"""Forward mode: appends to the graph the nodes that compute tangents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import GradientError
from ..graph import build as b
from ..graph import sites
from ..graph.node import Node, Token, describe, make
from . import loops, reverse

# The tangents of a node's results: a node, or for a loop one per result.
Tangent = Any


def jvp(ys: Sequence[Node], xs: Sequence[Node], tangents: Sequence[Node | None]) -> list[Node | None]:
    """The tangent of every y for tangents of the xs; None where it is zero by structure.

    Nodes made for a forward node carry its sites and name it as `stems_from`.
    """
    found: dict[Node, Tangent] = {x: t for x, t in zip(xs, tangents, strict=True) if t is not None}
    sources = set(xs)
    for node in reverse.between(ys, [x for x in xs if x in found]):
        if node in sources:
            continue
        given = {k: found[i] for k, i in enumerate(node.inputs) if i in found}
        if not given:
            continue
        with sites.at(node.sites, node):
            tangent = push(node, given)
        if tangent is not None:
            found[node] = tangent
    return [found.get(y) for y in ys]


def push(node: Node, given: Mapping[int, Tangent]) -> Tangent:
    """The tangent of a node, for tangents of some of its inputs by position."""
    if node.op.name == "item":
        return given[0][node["number"]]
    if node.op.name in loops.TANGENTS:
        return loops.TANGENTS[node.op.name](node, given)
    if node.op.name == "where":
        chosen = [given.get(k) for k in (1, 2)]
        return b.where(node.inputs[0], *(b.zeros_like(node) if t is None else t for t in chosen))
    if node.op.partials is not None:
        total: Node | None = None
        partials = node.op.partials(*node.inputs, node)
        for k, tangent in given.items():
            part = reverse.scaled(partials[k], tangent)
            if part is not None:
                total = part if total is None else b.add(total, part)
        return total
    return _transposed_twice(node, given)


def _transposed_twice(node: Node, given: Mapping[int, Node]) -> Node | None:
    """The rule of reverse mode is linear in the cotangent, and its transpose is the rule of forward mode: one
    declaration serves both.

    Source: Radul et al., You Only Linearize Once (2023), read from right to left.
    """
    if node.op.vjp is None:
        raise GradientError(f"{node.op.name} has no derivative: {describe(node)}")
    cotangent = make("input", (), Token("cotangent"), node.shape, node.dtype)
    parts = node.op.vjp(node, cotangent)
    pairs = []
    for k, tangent in given.items():
        part = parts[k]
        value = part() if callable(part) else part
        if value is not None:
            pairs.append((value, tangent))
    if not pairs:
        return None
    known = frozenset((*node.inputs, node))
    return reverse.vjp([v for v, _ in pairs], [cotangent], [t for _, t in pairs], known)[0]
