"""Rules that round differently."""

from __future__ import annotations

import math

from ..graph import build as b
from ..graph import dtypes
from ..graph.node import Node, make
from ..graph.reduction import kept
from .arithmetic import is_number
from .engine import Rule, Uses


def _is_product(x: Node, uses: Uses) -> bool:
    return x.op.name == "multiply" and dtypes.is_float(x.dtype) and uses.once(x)


def _is_absorbed(x: Node, uses: Uses) -> bool:
    """A product of floats, a factor of which all of its users could take over."""
    if x.op.name != "multiply" or not dtypes.is_float(x.dtype):
        return False
    return uses.once(x) or uses.only(x, ("multiply", "sum"))


def _fma(node: Node, uses: Uses) -> Node | None:
    """a·b + c, a·b − c, c − a·b with one rounding, where nothing else needs the product."""
    x, y = node.inputs
    subtract = node.op.name == "subtract"
    if x is y:
        return None
    if _is_product(x, uses):
        return make("fma", (*x.inputs, b.neg(y) if subtract else y))
    if _is_product(y, uses):
        first, second = y.inputs
        if subtract:
            # The sign goes into a constant factor where there is one.
            value = b.constant_value(second)
            if value is not None:
                second = b.full(-value, second.shape, second.dtype)
            else:
                first = b.neg(first)
        return make("fma", (first, second, x))
    return None


def _scaled_twice(node: Node, uses: Uses) -> Node | None:
    """(x · c) · d → x · (c · d) for numbers c and d."""
    x, y = node.inputs
    d = b.constant_value(y)
    if d is None or not _is_product(x, uses):
        return None
    c = b.constant_value(x.inputs[1])
    if c is None:
        return None
    both = float(node.dtype.type(c) * node.dtype.type(d))
    return b.mul(x.inputs[0], both) if 0 < abs(both) < float("inf") else None


def _plus_zero(node: Node, uses: Uses) -> Node | None:
    """x + 0 → x, which keeps −0 where the sum would lose its sign."""
    x, y = node.inputs
    return x if dtypes.is_float(x.dtype) and is_number(y, 0.0) else None


def _power(node: Node, uses: Uses) -> Node | None:
    """x**0, x**1 … x**4, x**−1, x**−2 by multiplication and division, x**0.5 by a square root, infinite at −∞ too."""
    x, p = node.inputs
    value = b.constant_value(p)
    if value == 0:
        return b.full(1, node.shape, node.dtype)
    if value == 1:
        return x
    if value == 2:
        return b.mul(x, x)  # type: ignore[no-any-return]
    if value == 3:
        return b.mul(b.mul(x, x), x)  # type: ignore[no-any-return]
    if value == 4:
        square = b.mul(x, x)
        return b.mul(square, square)  # type: ignore[no-any-return]
    if value == 0.5:
        return b.where(b.equal(x, -math.inf), math.inf, make("sqrt", (x,)))
    if value in (-1, -2):
        inverse = b.div(1.0, x)
        return inverse if value == -1 else b.mul(inverse, inverse)  # type: ignore[no-any-return]
    return None


def _rsqrt(node: Node, uses: Uses) -> Node | None:
    """1 / sqrt(x)."""
    x, y = node.inputs
    return make("rsqrt", y.inputs) if is_number(x, 1.0) and y.op.name == "sqrt" and uses.once(y) else None


def _minus_square(node: Node, uses: Uses) -> Node | None:
    """y · (1 − y) → fma(−y, y, y), which is y − y² rounded once; with a rounded y² it would be lost near 1."""
    for y, rest in (node.inputs, node.inputs[::-1]):
        if rest.op.name == "subtract" and is_number(rest.inputs[0], 1.0) and rest.inputs[1] is y and uses.once(rest):
            return make("fma", (b.neg(y), y, y))
    return None


def _sum_of_scaled(node: Node, uses: Uses) -> Node | None:
    """Σ x·c → c · Σ x, where c does not vary along the summed axes."""
    (x,), axes = node.inputs, node["axes"]
    if not _is_absorbed(x, uses):
        return None
    for factor, other in (x.inputs[::-1], x.inputs):
        if factor.op.name != "broadcast":
            continue
        y, placed = factor.inputs[0], factor["axes"]
        if any(a in axes and y.shape[k] != 1 for k, a in enumerate(placed)):
            continue
        left = kept(node)
        held = [k for k, a in enumerate(placed) if a in left]
        squeezed = b.reshape(y, tuple(y.shape[k] for k in held))
        scale = b.broadcast(squeezed, node.shape, [left.index(placed[k]) for k in held])
        return b.mul(b.sum(other, axes), scale)  # type: ignore[no-any-return]
    return None


def _constant_outward(node: Node, uses: Uses) -> Node | None:
    """(x · c) · y → (x · y) · c, so that numbers meet; a number in several products leaves them all."""
    x, y = node.inputs
    if b.constant_value(y) is not None:
        return None
    for product, other in ((x, y), (y, x)):
        if product is other or not _is_absorbed(product, uses):
            continue
        if b.constant_value(product.inputs[1]) is not None:
            return b.mul(b.mul(product.inputs[0], other), product.inputs[1])  # type: ignore[no-any-return]
    return None


def _added_twice(node: Node, uses: Uses) -> Node | None:
    """(a + x) + x → a + x · 2."""
    first, x = node.inputs
    if first.op.name != "add" or not uses.once(first) or not dtypes.is_float(x.dtype) or x not in first.inputs:
        return None
    a, other = first.inputs
    return b.add(other if a is x else a, b.mul(x, 2.0))  # type: ignore[no-any-return]


RULES = (
    Rule("plus-zero", "rounding", ("add",), _plus_zero),
    Rule("small-power", "rounding", ("power",), _power),
    Rule("added-twice", "rounding", ("add",), _added_twice),
    Rule("minus-square", "rounding", ("multiply",), _minus_square, fused=True),
    Rule("constant-outward", "rounding", ("multiply",), _constant_outward),
    Rule("scaled-twice", "rounding", ("multiply",), _scaled_twice),
    Rule("rsqrt", "rounding", ("divide",), _rsqrt),
    Rule("sum-of-scaled", "rounding", ("sum",), _sum_of_scaled),
    Rule("fma", "rounding", ("add", "subtract"), _fma, phase=2),
)
