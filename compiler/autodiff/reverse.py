"""Reverse mode: appends to the graph the nodes that compute cotangents."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GradientError
from ..graph import build as b
from ..graph import dtypes, sites
from ..graph.node import Node, describe, toposort


def _carries(node: Node) -> bool:
    """Whether a derivative can pass through a node of this kind and type."""
    if node.op.name == "stop_gradient":
        return False
    kinds = node.dtype if isinstance(node.dtype, tuple) else (node.dtype,)
    return any(dtypes.is_float(d) for d in kinds)


def between(ys: Sequence[Node], xs: Sequence[Node]) -> list[Node]:
    """The nodes that lie on a differentiable path from some x to some y, operands first."""
    sources = set(xs)
    active: set[Node] = set()
    order = []
    for node in toposort(ys):
        if node in sources or (_carries(node) and any(i in active for i in node.inputs)):
            active.add(node)
            order.append(node)
    return order


def vjp(ys: Sequence[Node], xs: Sequence[Node], cotangents: Sequence[Node]) -> list[Node | None]:
    """The cotangent of every x for cotangents of every y; None where no y depends on it.

    Contributions to one node are added one after the other, its last user in topological order first. Nodes made
    for a forward node carry its sites and name it as `stems_from`.
    """
    active = between(ys, xs)
    known = set(active)
    pending: dict[Node, list[Node]] = {}
    for y, g in zip(ys, cotangents, strict=True):
        if y in known:
            pending.setdefault(y, []).append(g)
    wanted = set(xs)
    found: dict[Node, Node] = {}
    for node in reversed(active):
        parts = pending.pop(node, None)
        if parts is None:
            continue
        with sites.at(node.sites, node):
            g = parts[0]
            for part in parts[1:]:
                g = b.add(g, part)
            if node in wanted:
                found[node] = g
            if not any(i in known for i in node.inputs):
                continue
            for operand, part in zip(node.inputs, pull(node, g, known), strict=True):
                if part is not None:
                    pending.setdefault(operand, []).append(part)
    return [found.get(x) for x in xs]


def pull(node: Node, g: Node, wanted: set[Node]) -> list[Node | None]:
    """The cotangents of the wanted inputs of one node, given its own."""
    if node.op.partials is not None:
        partials = node.op.partials(*node.inputs, node)
        return [_apply(p, g) if i in wanted else None for i, p in zip(node.inputs, partials, strict=True)]
    if node.op.vjp is None:
        raise GradientError(f"{node.op.name} has no derivative: {describe(node)}")
    # Rules may give a function instead of a node, so that nothing is built for operands that need nothing.
    parts = node.op.vjp(node, g)
    return [
        None if i not in wanted else p() if callable(p) else p for i, p in zip(node.inputs, parts, strict=True)
    ]


def _apply(partial: object, g: Node) -> Node | None:
    if partial is None:
        return None
    if not isinstance(partial, Node):
        return partial(g)  # type: ignore[operator, no-any-return]
    if b.constant_value(g) == 1:
        return partial
    return b.mul(g, partial)  # type: ignore[no-any-return]
