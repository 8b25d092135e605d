"""Reductions over axes that hold one element or one value, over several in turn, and of permuted arrays."""

from __future__ import annotations

from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.node import Node, make
from ..graph.reduction import kept
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
    axes = sorted({*x["axes"], *(kept(x)[a] for a in node["axes"])})
    return make(node.op, (source,), tuple(axes))


def _of_broadcast(node: Node, uses: Uses) -> Node | None:
    """A sum over axes along which the operand does not vary is a product with their extent."""
    (x,), axes = node.inputs, node["axes"]
    if x.op.name != "broadcast":
        return None
    (y,), placed = x.inputs, x["axes"]
    own = [k for k, a in enumerate(placed) if a in axes and (y.shape[k] != 1 or x.shape[a] == 1)]
    stretched = [a for a in axes if a not in {placed[k] for k in own}]
    if not stretched:
        return None
    if node.op.name == "argmax":
        return b.zeros_like(node) if not own else None
    single = [k for k, a in enumerate(placed) if a in stretched]
    z = b.reshape(y, tuple(n for k, n in enumerate(y.shape) if k not in single))
    within = [k for k in range(len(placed)) if k not in single]
    inner = tuple(within.index(k) for k in own)
    if node.op.name == "max":
        z = make("max", (z,), inner) if inner else z
    else:
        if dtypes.is_float(x.dtype) and any(sizes.lower_bound(x.shape[a]) < 1 for a in stretched):
            return None  # infinity times nothing is no number
        z = b.cast(b.sum(z, inner), node.dtype)
        count = b.cast(b.extent(sizes.product(x.shape[a] for a in stretched)), node.dtype)
        z = b.mul(z, b.broadcast(count, z.shape, ()))
    return b.broadcast(z, node.shape, [kept(node).index(placed[k]) for k in within if k not in own])


def _exactly_of_broadcast(node: Node, uses: Uses) -> Node | None:
    """Sums of integers over axes along which the operand does not vary; maxima, and their positions, which are 0."""
    return None if node.op.name == "sum" and dtypes.is_float(node.dtype) else _of_broadcast(node, uses)


def _of_permuted(node: Node, uses: Uses) -> Node | None:
    """A sum or product of a permuted array is one of the array, where the axes that are left keep their order."""
    (x,) = node.inputs
    if x.op.name != "permute":
        return None
    left, mapped = [x["axes"][k] for k in kept(node)], [x["axes"][a] for a in node["axes"]]
    if left != sorted(left) or (node.op.name == "argmax" and mapped != sorted(mapped)):
        return None
    return make(node.op, x.inputs, tuple(sorted(mapped)))


def _exactly_of_permuted(node: Node, uses: Uses) -> Node | None:
    """The same reduction of the array for a permuted one, where the bits cannot tell: integers and extrema."""
    rounds = node.op.name in ("sum", "prod") and dtypes.is_float(node.dtype)
    return None if rounds else _of_permuted(node, uses)


RULES = (
    Rule("reduce-unit-axes", "exact", ("sum", "prod", "max", "argmax"), _unit_axes),
    Rule("sum-of-one", "rounding", ("sum",), _sum_of_one),
    Rule("reduce-twice", "exact", ("sum", "prod", "max"), _sum_of_sum),
    Rule("reduce-broadcast", "exact", ("sum", "max", "argmax"), _exactly_of_broadcast),
    Rule("sum-of-broadcast", "rounding", ("sum",), _of_broadcast),
    Rule("reduce-permuted", "exact", ("sum", "prod", "max", "argmax"), _exactly_of_permuted),
    Rule("sum-of-permuted", "rounding", ("sum", "prod"), _of_permuted),
)
