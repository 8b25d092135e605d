"""What the position of an extremum selects is taken or scattered, not multiplied by zeros.

The derivative of a maximum is an array with one value in every row, at the position of the maximum. A sum over it, or a
contraction with it, needs these values only. Positions come from `argmax`, and so lie within the axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..graph import build as b
from ..graph import dtypes
from ..graph.contraction import OperandMap, plain
from ..graph.node import Node, make
from .arithmetic import is_number
from .engine import Rule, Uses


@dataclass(frozen=True, slots=True)
class _Selected:
    """where(position along the axis == at, value, 0); `at` and `value` have the other axes."""

    condition: Node
    axis: int
    at: Node
    value: Node

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(k for k in range(len(self.condition.shape)) if k != self.axis)


def _selected(x: Node) -> _Selected | None:
    if x.op.name != "where" or not dtypes.is_float(x.dtype) or not is_number(x.inputs[2], 0.0):
        return None
    condition, value, _ = x.inputs
    if condition.op.name != "equal":
        return None
    for positions, spread in (condition.inputs, condition.inputs[::-1]):
        axis = _counted(positions)
        if axis is None or spread.op.name != "broadcast" or spread.inputs[0].op.name != "argmax":
            continue
        at = spread.inputs[0]
        others = tuple(k for k in range(len(x.shape)) if k != axis)
        (source,), reduced = at.inputs, at["axes"]
        whole = len(reduced) == 1 and source.shape[reduced[0]] == x.shape[axis]
        if not whole or spread["axes"] != others or at.shape != tuple(x.shape[k] for k in others):
            continue
        within = _along(value, others, at)
        return None if within is None else _Selected(condition, axis, at, within)
    return None


def _counted(x: Node) -> int | None:
    """The axis along which an array holds positions."""
    if x.op.name == "iota":
        return x["axis"]  # type: ignore[no-any-return]
    if x.op.name == "permute" and x.inputs[0].op.name == "iota":
        return x["axes"].index(x.inputs[0]["axis"])  # type: ignore[no-any-return]
    return None


def _along(value: Node, others: tuple[int, ...], at: Node) -> Node | None:
    """A value of the other axes alone, without the axis along which it is spread out."""
    number = b.constant_value(value)
    if number is not None:
        return b.full(number, at.shape, value.dtype)
    if value.op.name == "broadcast" and value["axes"] == others and value.inputs[0].shape == at.shape:
        return value.inputs[0]
    return None


def _scaled(node: Node, uses: Uses) -> Node | None:
    """Minus or a number times what is selected: the sign and the number go to the value."""
    x = node.inputs[0]
    if (found := _selected(x)) is None:
        return None
    if node.op.name == "negative":
        return b.where(found.condition, b.neg(x.inputs[1]), 0)
    number = b.constant_value(node.inputs[1])
    if number is None or not math.isfinite(number):
        return None
    return b.where(found.condition, b.mul(x.inputs[1], number), 0)


def _sum(node: Node, uses: Uses) -> Node | None:
    """Σ along the axis is the value; Σ over all others a scatter."""
    found = _selected(node.inputs[0])
    if found is None:
        return None
    if node["axes"] == (found.axis,):
        return found.value
    if node["axes"] == found.others:
        return make("scatter_add", (found.at, found.value), 0, node.shape[0])
    return None


def _contraction(node: Node, uses: Uses) -> Node | None:
    """Σ along the axis takes from the other operand, Σ over all others scatters it."""
    maps = node["a_map"], node["b_map"]
    for k in (1, 0):
        found, x = _selected(node.inputs[k]), node.inputs[1 - k]
        if found is None:
            continue
        mine, its = _plain_labels(node.inputs[k], maps[k], node), _plain_labels(x, maps[1 - k], node)
        if mine is None or its is None:
            continue
        along, others = mine[found.axis], [mine[a] for a in found.others]
        inner, rest = [n for n in its if n in others], [n for n in its if n not in mine]
        summed = range(node["n_out"], len(node["extents"]))
        if any(n in summed for n in rest):
            continue
        if along in summed and along in its and not inner and not any(n in summed for n in others):
            return _taken(node, found, x, its, along, others)
        if along not in summed and along not in its and len(inner) == len(others) and all(n in summed for n in others):
            return _scattered(node, found, x, its, along, others)
    return None


def _plain_labels(x: Node, axes: OperandMap, node: Node) -> list[int] | None:
    """The labels that the axes of an operand are, each one of its own."""
    labels = [axis[0][0][0] for axis in axes if axis[0]]
    whole = all(a == plain(n) and s == node["extents"][n] for a, n, s in zip(axes, labels, x.shape, strict=False))
    return labels if whole and len(labels) == len(axes) == len(set(labels)) else None


def _taken(node: Node, found: _Selected, x: Node, its: list[int], along: int, others: list[int]) -> Node:
    axis = its.index(along)
    values = make("take", (x, found.at), axis)
    labels = [*its[:axis], *others, *its[axis + 1 :]]
    scale = b.broadcast(found.value, values.shape, [labels.index(n) for n in others])
    return b.permute(b.mul(values, scale), [labels.index(n) for n in range(node["n_out"])])


def _scattered(node: Node, found: _Selected, x: Node, its: list[int], along: int, others: list[int]) -> Node:
    rest = [n for n in its if n not in others]
    updates = b.permute(x, [its.index(n) for n in (*others, *rest)])
    updates = b.mul(updates, b.broadcast(found.value, updates.shape, range(len(others))))
    result = make("scatter_add", (found.at, updates), 0, node["extents"][along])
    labels = [along, *rest]
    return b.permute(result, [labels.index(n) for n in range(node["n_out"])])


RULES = (
    Rule("scaled-selection", "rounding", ("negative", "multiply"), _scaled),
    Rule("sum-of-selection", "rounding", ("sum",), _sum),
    Rule("contracted-selection", "rounding", ("contract",), _contraction),
)
