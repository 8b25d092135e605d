"""Contractions absorb the views of their operands, and of themselves, into their index maps; those that sum nothing are
products."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import build as b
from ..graph.contraction import AxisMap, OperandMap, contract
from ..graph.node import Node
from ..graph.sizes import Extent
from .engine import Rule, Uses

_ZERO: AxisMap = ((), 0, 1)


def _whole(axis: AxisMap, extent: Extent, extents: Sequence[Extent]) -> bool:
    """Whether the map stays inside an axis of this extent whatever the labels are, so that nothing is padding."""
    terms, offset, divisor = axis
    if divisor != 1 or offset != 0:
        return False
    terms = tuple(t for t in terms if extents[t[0]] != 1)
    if not terms:
        return extent != 0
    return len(terms) == 1 and terms[0][1] == 1 and extents[terms[0][0]] == extent


def _through(x: Node, axes: OperandMap, extents: Sequence[Extent]) -> tuple[Node, OperandMap] | None:
    """The operand below a view and the map that reads it directly."""
    y = x.inputs[0] if x.inputs else x
    maps: list[AxisMap] = [_ZERO] * len(y.shape)
    if x.op.name == "permute":
        for k, axis in enumerate(x["axes"]):
            maps[axis] = axes[k]
        return y, tuple(maps)
    if x.op.name == "diagonal":
        return y, (*axes, axes[-1])
    if x.op.name == "broadcast":
        placed = x["axes"]
        for axis in range(len(x.shape)):
            if axis in placed and y.shape[placed.index(axis)] == x.shape[axis]:
                maps[placed.index(axis)] = axes[axis]
            elif not _whole(axes[axis], x.shape[axis], extents):
                return None
        return y, tuple(maps)
    if x.op.name == "reshape":
        mine = [k for k, n in enumerate(x.shape) if n != 1]
        theirs = [k for k, n in enumerate(y.shape) if n != 1]
        if [x.shape[k] for k in mine] != [y.shape[k] for k in theirs]:
            return None
        if not all(_whole(axes[k], 1, extents) for k, n in enumerate(x.shape) if n == 1):
            return None
        for k, axis in zip(mine, theirs, strict=True):
            maps[axis] = axes[k]
        return y, tuple(maps)
    return None


def _labels(*maps: OperandMap) -> set[int]:
    return {label for axes in maps for terms, _, _ in axes for label, _ in terms}


def _absorb(node: Node, uses: Uses) -> Node | None:
    """contract(view(a), b): every label must still be one of an operand's."""
    extents, n_out = node["extents"], node["n_out"]
    operands, maps = list(node.inputs), [node["a_map"], node["b_map"]]
    for k in range(2):
        found = _through(operands[k], maps[k], extents)
        if found is not None and _labels(found[1], maps[1 - k]) == _labels(*maps):
            operands[k], maps[k] = found
    if operands == list(node.inputs):
        return None
    return contract(operands[0], operands[1], extents, n_out, maps[0], maps[1])


def _permuted(node: Node, uses: Uses) -> Node | None:
    """permute(contract(a, b)) renumbers the output labels."""
    (x,), axes = node.inputs, node["axes"]
    if x.op.name != "contract" or not uses.once(x):
        return None
    (a, b), extents, n_out = x.inputs, x["extents"], x["n_out"]
    renamed = {old: new for new, old in enumerate(axes)}

    def rename(operand: OperandMap) -> OperandMap:
        return tuple(
            (tuple(sorted((renamed.get(label, label), c) for label, c in terms)), offset, divisor)
            for terms, offset, divisor in operand
        )

    new_extents = (*(extents[a] for a in axes), *extents[n_out:])
    return contract(a, b, new_extents, n_out, rename(x["a_map"]), rename(x["b_map"]))


def _spread(x: Node, axes: OperandMap, extents: Sequence[Extent], n_out: int) -> Node | None:
    """The operand as an array over the labels of the result; None where its map is more than a choice of axes."""
    placed: list[int] = []
    for (terms, _, _), n in zip(axes, x.shape, strict=True):
        labels = [label for label, _ in terms if extents[label] != 1]
        placed += labels
        if not _whole((terms, 0, 1), n, extents) or (not labels and n != 1):
            return None
    if any(offset != 0 or divisor != 1 for _, offset, divisor in axes) or len(set(placed)) != len(placed):
        return None
    kept = b.reshape(x, tuple(extents[label] for label in placed))
    order = sorted(range(len(placed)), key=lambda k: placed[k])
    return b.broadcast(b.permute(kept, order), tuple(extents[:n_out]), sorted(placed))


def _product(node: Node, uses: Uses) -> Node | None:
    """A contraction with one term in every sum is a product, which can be computed wherever it is read."""
    extents, n_out = node["extents"], node["n_out"]
    if any(n != 1 for n in extents[n_out:]):
        return None
    factors = [
        _spread(x, axes, extents, n_out) for x, axes in zip(node.inputs, (node["a_map"], node["b_map"]), strict=True)
    ]
    return None if factors[0] is None or factors[1] is None else b.mul(factors[0], factors[1])


RULES = (
    # The sum would turn a product of -0 into 0.
    Rule("contract-product", "rounding", ("contract",), _product),
    Rule("contract-views", "exact", ("contract",), _absorb),
    Rule("permuted-contract", "exact", ("permute",), _permuted),
)
