"""Which values of a contraction's epilogue are stored for later kernels.

The backward pass often reads several values that were made from one contraction, and reads them together: of gelu, the
argument and its sigmoid give the derivative. Where fewer bytes leave the epilogue when such a combination is made there
and stored in place of its parts, it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.node import Node


def combine_residuals(order: Sequence[Node], kept: set[Node]) -> set[Node]:
    """`kept` with the combinations that replace several values of one contraction."""
    family = _families(order)
    users: dict[Node, list[Node]] = {}
    for node in order:
        for operand in dict.fromkeys(node.inputs):
            users.setdefault(operand, []).append(node)
    leaving: dict[Node, list[Node]] = {}
    for node, root in family.items():
        if any(family.get(user) is not root for user in users.get(node, ())):
            leaving.setdefault(root, []).append(node)
    added: set[Node] = set()
    for nodes in leaving.values():
        fresh = [n for n in nodes if n not in kept]
        stored = [n for n in nodes if n in kept]
        sources = {s for n in fresh for s in _sources(n, kept, family)}
        if fresh and _bytes({*stored, *fresh}) < _bytes({*stored, *sources}):
            added.update(fresh)
    return kept | added if added else kept


def _families(order: Sequence[Node]) -> dict[Node, Node]:
    """The contraction whose epilogue a value can be made in: it is of the same shape, and all else that it is made of
    are constants, inputs and variables."""
    family: dict[Node, Node] = {}
    settled: set[Node] = set()  # made of leaves alone
    for node in order:
        op = node.op
        if op.kind == "leaf" or (op.name == "broadcast" and node.inputs[0] in settled):
            settled.add(node)
        elif op.kind == "contraction":
            family[node] = node
        elif op.kind == "elementwise":
            roots = {family.get(i) for i in node.inputs if i not in settled}
            root = next(iter(roots)) if len(roots) == 1 else None
            if root is not None and root.shape == node.shape:
                family[node] = root
    return family


def _sources(node: Node, kept: set[Node], family: dict[Node, Node]) -> set[Node]:
    """The stored values of its family that a value is made of where it is used."""
    found: set[Node] = set()
    seen = {node}
    pending = [node]
    while pending:
        for operand in pending.pop().inputs:
            if operand in seen or operand not in family:
                continue
            seen.add(operand)
            if operand in kept:
                found.add(operand)
            else:
                pending.append(operand)
    return found


def _bytes(nodes: set[Node]) -> int:
    return sum(n.dtype.itemsize for n in nodes)
