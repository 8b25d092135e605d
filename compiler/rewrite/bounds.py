"""Bounds that meet: `relu`, `clip`, `maximum` and `minimum` with numbers, and operations that never go below 0.

These keep every bit of the value but not the derivative at the bound, so they wait until derivatives are built.
"""

from __future__ import annotations

from ..graph import build as b
from ..graph import dtypes
from ..graph.node import Node, make
from .engine import Rule, Uses


def _number(node: Node) -> float | int | None:
    """The number that every element is, where it is one that compares."""
    value = b.constant_value(node)
    return None if value is None or value != value else value


def _open(node: Node, uses: Uses) -> Node | None:
    """clip(x, −∞, c) → min(c, x), clip(x, c, ∞) → max(c, x)."""
    x, low, high = node.inputs
    least, greatest = dtypes.limits(node.dtype)
    if _number(high) == greatest:
        return x if _number(low) == least else make("maximum", (low, x))
    return make("minimum", (high, x)) if _number(low) == least else None


def _nested(node: Node, uses: Uses) -> Node | None:
    """clip(clip(x, a, b), c, d): the inner bounds, held within the outer ones."""
    inner, *outer = node.inputs
    if inner.op.name != "clip":
        return None
    bounds = [_number(bound) for bound in (*inner.inputs[1:], *outer)]
    a, z, low, high = bounds
    if a is None or z is None or low is None or high is None or a > z or low > high:
        return None
    held = (b.full(min(max(bound, low), high), node.shape, node.dtype) for bound in (a, z))
    return make("clip", (inner.inputs[0], *held))


def _above_relu(node: Node, uses: Uses) -> Node | None:
    """max(relu(x), c) and clip(relu(x), c, ·) of a positive c: relu changes nothing that stays."""
    for k, x in enumerate(node.inputs if node.op.name == "maximum" else node.inputs[:1]):
        bound = _number(node.inputs[1 - k])
        if x.op.name == "relu" and bound is not None and bound > 0:
            return make(node.op, (*node.inputs[:k], x.inputs[0], *node.inputs[k + 1 :]))
    return None


def _relu(node: Node, uses: Uses) -> Node | None:
    """relu of what is never below 0."""
    (x,) = node.inputs
    if x.op.name in ("exp", "exp2", "sigmoid", "sqrt", "abs") and dtypes.is_float(x.dtype):
        return x
    if x.op.name == "maximum" and any((_number(i) or 0) > 0 for i in x.inputs):
        return x
    if x.op.name == "clip" and all((_number(i) or 0) > 0 for i in x.inputs[1:]):
        return x
    return None


RULES = (
    Rule("open-clip", "exact", ("clip",), _open),
    Rule("nested-clips", "exact", ("clip",), _nested),
    Rule("bound-above-relu", "exact", ("maximum", "clip"), _above_relu),
    Rule("relu-of-positive", "exact", ("relu",), _relu),
)
