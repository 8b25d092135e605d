"""Reductions over axes that hold one element, or over several in turn."""

from __future__ import annotations

from ..graph import build as b
from ..graph import dtypes
from ..graph.node import Node, make
from .engine import Rule, Uses


def _unit_axes(node: Node, uses: Uses) -> Node | None:
    """Axes of extent 1 need no reduction: they are reshaped away."""
    (x,), axes = node.inputs, node["axes"]
    units = {a for a in axes if x.shape[a] == 1}
    if axes and not units:
        return None
    squeezed = b.reshape(x, tuple(n for k, n in enumerate(x.shape) if k not in units))
    rest = tuple(a - sum(1 for u in units if u < a) for a in axes if a not in units)
    if rest:
        return make(node.op, (squeezed,), rest)
    if node.op.name == "argmax":
        return b.zeros_like(node)
    if node.op.name == "sum" and dtypes.is_float(node.dtype):
        # 0 + −0 is 0: see `_sum_of_one`.
        return None
    return b.cast(squeezed, node.dtype)


def _sum_of_one(node: Node, uses: Uses) -> Node | None:
    """A sum over axes of extent 1 only, which keeps −0 where adding it to 0 would lose its sign."""
    (x,) = node.inputs
    return b.reshape(x, node.shape) if all(x.shape[a] == 1 for a in node["axes"]) and x.dtype == node.dtype else None


def _sum_of_sum(node: Node, uses: Uses) -> Node | None:
    """Two sums or products in a row of integers, or two maxima, are one."""
    (x,) = node.inputs
    if x.op is not node.op or not uses.once(x) or (node.op.name != "max" and dtypes.is_float(x.dtype)):
        return None
    source = x.inputs[0]
    kept = [k for k in range(len(source.shape)) if k not in x["axes"]]
    axes = sorted({*x["axes"], *(kept[a] for a in node["axes"])})
    return make(node.op, (source,), tuple(axes))


RULES = (
    Rule("reduce-unit-axes", "exact", ("sum", "prod", "max", "argmax"), _unit_axes),
    Rule("sum-of-one", "rounding", ("sum",), _sum_of_one),
    Rule("reduce-twice", "exact", ("sum", "prod", "max"), _sum_of_sum),
)
