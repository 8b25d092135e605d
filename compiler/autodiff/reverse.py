"""Reverse mode: appends to the graph the nodes that compute cotangents."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ..errors import GradientError
from ..graph import build as b
from ..graph import dtypes, sites
from ..graph.node import Node, Token, describe, toposort
from . import loops
from .masks import Cotangent, chosen, keeps_zero, only_moves, total


def _carries(node: Node) -> bool:
    """Whether a derivative can pass through a node of this kind and type."""
    if node.op.name == "stop_gradient":
        return False
    kinds = node.dtype if isinstance(node.dtype, tuple) else (node.dtype,)
    return any(dtypes.is_float(d) for d in kinds)


def between(ys: Sequence[Node], xs: Sequence[Node], known: Collection[Node] = ()) -> list[Node]:
    """The nodes that lie on a differentiable path from some x to some y, operands first; none leads through `known`."""
    sources = set(xs)
    active: set[Node] = set()
    order = []
    for node in toposort(ys, stop=known.__contains__ if known else None):
        if node in sources or (_carries(node) and any(i in active for i in node.inputs)):
            active.add(node)
            order.append(node)
    return order


def vjp(
    ys: Sequence[Node], xs: Sequence[Node], cotangents: Sequence[Node], known: Collection[Node] = ()
) -> list[Node | None]:
    """The cotangent of every x for cotangents of every y; None where no y depends on it.

    Contributions to one node are added one after the other, its last user in topological order first. Nodes made
    for a forward node carry its sites and name it as `stems_from`.
    """
    active = between(ys, xs, known)
    reached = set(active)
    pending: dict[Node, list[Any]] = {}
    for y, seed in zip(ys, cotangents, strict=True):
        if y in reached:
            pending.setdefault(y, []).append(Cotangent(seed))
    wanted = set(xs)
    found: dict[Node, Node] = {}
    for node in reversed(active):
        parts = pending.pop(node, None)
        if parts is None:
            continue
        with sites.at(node.sites, node):
            if node.op.name in loops.COTANGENTS:
                for operand, part in _pull_loop(node, parts, reached):
                    pending.setdefault(operand, []).append(part)
                continue
            g = total(parts)
            if node.op.name == "hook" and node["mark"].hooks:
                g = Cotangent(hooked(node["mark"], g.settled()))
            if node in wanted:
                found[node] = g.settled()
            if node.op.name == "item":
                pending.setdefault(node.inputs[0], []).append((node["number"], g))
            elif any(i in reached for i in node.inputs):
                for operand, part in pull(node, g, reached):
                    pending.setdefault(operand, []).append(part)
    return [found.get(x) for x in xs]


def pull(node: Node, g: Cotangent, wanted: set[Node]) -> Iterator[tuple[Node, Cotangent]]:
    """The wanted inputs of a node, each with the cotangent that it gets from the node's own."""
    positions = [k for k, i in enumerate(node.inputs) if i in wanted]
    if node.op.partials is not None:
        partials = node.op.partials(*node.inputs, node)
        for k in positions:
            value = scaled(partials[k], g.value)
            if value is None:
                continue
            if node.op.name == "where" or (node.op.name == "clip" and value.op.name == "where"):
                yield node.inputs[k], chosen(node, k, g, value)
            else:
                dirty = bool(g.masks) and (g.dirty or not keeps_zero(value, g.value))
                yield node.inputs[k], Cotangent(value, g.masks, dirty)
        return
    if node.op.vjp is None:
        raise GradientError(f"{node.op.name} has no derivative: {describe(node)}")
    moves = only_moves(node)
    passes = moves or node.op.name in ("cast", "broadcast")
    parts = node.op.vjp(node, g.value if moves else g.settled())
    for k in positions:
        # Rules may give a function instead of a node, so that nothing is built for operands that need nothing.
        part = parts[k]
        value = part() if callable(part) else part
        if value is None:
            continue
        masks = g.masks if node.op.name == "cast" else tuple(m.through(node, k) for m in g.masks) if passes else ()
        yield node.inputs[k], Cotangent(value, masks, g.dirty and moves)


def _pull_loop(
    node: Node, parts: Sequence[tuple[int, Cotangent]], wanted: set[Node]
) -> Iterator[tuple[Node, Cotangent]]:
    numbers = dict.fromkeys(number for number, _ in parts)
    given = {n: total([g for number, g in parts if number == n]).settled() for n in numbers}
    for operand, part in zip(node.inputs, loops.COTANGENTS[node.op.name](node, given, wanted), strict=True):
        if part is not None and operand in wanted:
            yield operand, Cotangent(part)


def hooked(token: Token, g: Node) -> Node:
    """A gradient after all hooks of a leaf or of a `hook` node, in the order of their registration."""
    for hook in token.hooks:
        g = hook(g)
    return g


def scaled(partial: Any, g: Node) -> Node | None:
    """A partial, a factor or a function, applied to a tangent or cotangent."""
    if partial is None or not isinstance(partial, Node):
        return None if partial is None else partial(g)
    return partial if b.constant_value(g) == 1 else b.mul(g, partial)
