"""Identities of elementwise operations that keep every bit, −0 and infinities included."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..graph import build as b
from ..graph import dtypes
from ..graph.dtypes import BOOL, FLOAT32, FLOAT64, INT32, INT64, UINT8, DType
from ..graph.node import Node, make
from .engine import Rule, Uses


def is_number(node: Node, value: float) -> bool:
    """Whether every element is this number; 0.0 and -0.0 are two."""
    found = b.constant_value(node)
    if found is None or found != value:
        return False
    return not isinstance(found, float) or math.copysign(1.0, found) == math.copysign(1.0, value)


def _float(node: Node) -> bool:
    return dtypes.is_float(node.dtype)


def _constant_right(node: Node, uses: Uses) -> Node | None:
    """2 * x → x * 2: other rules look for numbers on the right."""
    x, y = node.inputs
    if b.constant_value(x) is not None and b.constant_value(y) is None:
        return make(node.op, (y, x))
    return None


def _neutral(node: Node, uses: Uses) -> Node | None:
    """x + −0, x − 0, x · 1, x / 1; x + 0 and x // 1 for integers only, since −0 + 0 is 0 and x // 1 a whole number."""
    x, y = node.inputs
    name = node.op.name
    if name == "add":
        return x if is_number(y, -0.0 if _float(x) else 0) else None
    if name in ("subtract", "logical_or"):
        return x if is_number(y, 0) else None
    if name == "floor_divide" and _float(x):
        return None
    return x if is_number(y, 1) else None


def _absorbing(node: Node, uses: Uses) -> Node | None:
    """n · 0, n % 1, p and False, p or True."""
    x, y = node.inputs
    name = node.op.name
    if name == "multiply":
        return y if not _float(x) and is_number(y, 0) else None
    if name == "remainder":
        return b.zeros_like(node) if not _float(x) and is_number(y, 1) else None
    return y if is_number(y, name == "logical_or") else None


def _same_operands(node: Node, uses: Uses) -> Node | None:
    """max(x, x), p and p; n = n and n − n, where n is no float."""
    x, y = node.inputs
    if x is not y:
        return None
    name = node.op.name
    if name in ("maximum", "minimum", "logical_and", "logical_or"):
        return x
    if _float(x):
        return None
    return b.full(name in ("equal", "less_equal"), node.shape, node.dtype)


def _twice(node: Node, uses: Uses) -> Node | None:
    """−(−x), not not p; |−x|; relu and |·| of themselves."""
    (x,) = node.inputs
    name = node.op.name
    if name in ("negative", "logical_not"):
        return x.inputs[0] if x.op is node.op else None
    if name == "abs" and x.op.name == "negative" and x.dtype.kind != "u":
        return make("abs", x.inputs)
    return x if x.op is node.op else None


def _negated(node: Node, uses: Uses) -> Node | None:
    """a + −b, a − −b, −a + b; signs of factors cancel or go into a constant."""
    x, y = node.inputs
    name = node.op.name
    minus_x, minus_y = (i.inputs[0] if i.op.name == "negative" else None for i in (x, y))
    if name == "add":
        if minus_y is not None:
            return make("subtract", (x, minus_y))
        return make("subtract", (y, minus_x)) if minus_x is not None else None
    if name == "subtract":
        return make("add", (x, minus_y)) if minus_y is not None else None
    if minus_x is not None and minus_y is not None:
        return make(name, (minus_x, minus_y))
    value = b.constant_value(y)
    if value is not None and _float(x):
        if value == -1:
            return b.neg(x)  # type: ignore[no-any-return]
        if minus_x is not None:
            return make(name, (minus_x, b.full(-value, y.shape, y.dtype)))
    return None


def _negative_product(node: Node, uses: Uses) -> Node | None:
    """−(x · c) → x · −c."""
    (x,) = node.inputs
    if x.op.name not in ("multiply", "divide") or not uses.once(x) or not _float(x):
        return None
    value = b.constant_value(x.inputs[1])
    return None if value is None else make(x.op, (x.inputs[0], b.full(-value, x.shape, x.dtype)))


def _doubled(node: Node, uses: Uses) -> Node | None:
    """x + x → x · 2, which meets other factors."""
    x, y = node.inputs
    return b.mul(x, 2.0) if x is y and _float(x) else None


def _divide_by_power(node: Node, uses: Uses) -> Node | None:
    """x / c → x · (1/c) where c is a power of two: both round the same number."""
    x, y = node.inputs
    value = b.constant_value(y)
    if value is None or not math.isfinite(value) or abs(math.frexp(value)[0]) != 0.5:
        return None
    with np.errstate(over="ignore"):
        reciprocal = node.dtype.type(1) / node.dtype.type(value)
    if not np.isfinite(reciprocal) or 1 / float(reciprocal) != value:
        return None
    return b.mul(x, float(reciprocal))  # type: ignore[no-any-return]


def _where(node: Node, uses: Uses) -> Node | None:
    """where(c, a, a), where of a known condition, where(not c, a, b)."""
    c, x, y = node.inputs
    if x is y:
        return x
    value = b.constant_value(c)
    if value is not None:
        return x if value else y
    if c.op.name == "logical_not":
        return make("where", (c.inputs[0], y, x))
    # The same question asked twice: only the answer that leads here can be meant.
    if x.op.name == "where" and x.inputs[0] is c:
        return make("where", (c, x.inputs[1], y))
    if y.op.name == "where" and y.inputs[0] is c:
        return make("where", (c, x, y.inputs[2]))
    return None


def _where_bool(node: Node, uses: Uses) -> Node | None:
    """where(p, True, q) and its kin are logic."""
    if node.dtype != BOOL:
        return None
    c, x, y = node.inputs
    if is_number(x, 1):
        return c if is_number(y, 0) else make("logical_or", (c, y))
    if is_number(y, 0):
        return make("logical_and", (c, x))
    return None


def _not_equal(node: Node, uses: Uses) -> Node | None:
    """not (a = b) → a ≠ b and back; a NaN differs from everything."""
    (x,) = node.inputs
    other = {"equal": "not_equal", "not_equal": "equal"}.get(x.op.name)
    return make(other, x.inputs) if other is not None else None


_HOLDS: dict[DType, tuple[DType, ...]] = {
    BOOL: (BOOL, UINT8, INT32, INT64, FLOAT32, FLOAT64),
    UINT8: (UINT8, INT32, INT64, FLOAT32, FLOAT64),
    INT32: (INT32, INT64, FLOAT64),
    INT64: (INT64,),
    FLOAT32: (FLOAT32, FLOAT64),
    FLOAT64: (FLOAT64,),
}


def _cast(node: Node, uses: Uses) -> Node | None:
    """A cast to the same type; a detour over a type that holds every value."""
    (x,) = node.inputs
    if x.dtype == node.dtype:
        return x
    if x.op.name != "cast":
        return None
    source = x.inputs[0]
    if x.dtype not in _HOLDS[source.dtype]:
        return None
    # An integer that takes the way over a float saturates where it would wrap, unless it fits anyway.
    saturates = dtypes.is_float(x.dtype) and not dtypes.is_float(source.dtype) and dtypes.is_integer(node.dtype)
    if saturates and node.dtype not in _HOLDS[source.dtype]:
        return None
    return b.cast(source, node.dtype)


def _stop_gradient(node: Node, uses: Uses) -> Node | None:
    """Such nodes have done their work once derivatives are built."""
    return node.inputs[0]


def _rule(name: str, ops: str, apply: Callable[[Node, Uses], Node | None]) -> Rule:
    return Rule(name, "exact", tuple(ops.split()), apply)


RULES = (
    _rule("constant-right", "add multiply equal not_equal logical_and logical_or", _constant_right),
    _rule("neutral", "add subtract multiply divide floor_divide logical_and logical_or", _neutral),
    _rule("absorbing", "multiply remainder logical_and logical_or", _absorbing),
    _rule(
        "same-operands",
        "maximum minimum logical_and logical_or subtract equal not_equal less less_equal",
        _same_operands,
    ),
    _rule("twice", "negative logical_not abs relu", _twice),
    _rule("negated", "add subtract multiply divide", _negated),
    _rule("negative-product", "negative", _negative_product),
    _rule("doubled", "add", _doubled),
    _rule("divide-by-power-of-two", "divide", _divide_by_power),
    _rule("where", "where", _where),
    _rule("where-of-bools", "where", _where_bool),
    _rule("not-equal", "logical_not", _not_equal),
    _rule("cast", "cast", _cast),
    _rule("stop-gradient", "stop_gradient hook", _stop_gradient),
)
