"""Operations on the bits of integers, and on bools, whose only bit is their truth.

Operands are promoted and broadcast as in arithmetic; floats raise DTypeError. No derivative passes.
"""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError
from ..graph import dtypes
from ..graph.dtypes import BOOL
from . import arithmetic as ar
from .array import Array
from .explain import complain
from .lift import align, apply, common_dtype, operands_of


def _integers(op: str, *values: Any) -> Array:
    operands = operands_of(*values)
    dtype = common_dtype(operands)
    if not dtypes.is_integer(dtype):
        raise complain(DTypeError, f"{op}: operands must be integers, got {dtype}", *operands)
    return apply(op, align(op, operands, dtype), of=operands)


def _is_bool(*values: Any) -> bool:
    return common_dtype(operands_of(*values)) == BOOL


def bitwise_and(x: Any, y: Any) -> Array:
    """x & y; of bools, logical and."""
    return ar.logical_and(x, y) if _is_bool(x, y) else _integers("bitwise_and", x, y)


def bitwise_or(x: Any, y: Any) -> Array:
    """x | y; of bools, logical or."""
    return ar.logical_or(x, y) if _is_bool(x, y) else _integers("bitwise_or", x, y)


def bitwise_xor(x: Any, y: Any) -> Array:
    """x ^ y; of bools, whether they differ."""
    return ar.logical_xor(x, y) if _is_bool(x, y) else _integers("bitwise_xor", x, y)


def bitwise_invert(x: Any) -> Array:
    """~x: every bit turned over; of bools, logical not."""
    return ar.logical_not(x) if _is_bool(x) else _integers("bitwise_invert", x)


def bitwise_left_shift(x: Any, y: Any) -> Array:
    """x << y, zeros coming in; 0 where y is negative or not below the width of the dtype."""
    return _integers("bitwise_left_shift", x, y)


def bitwise_right_shift(x: Any, y: Any) -> Array:
    """x >> y, copies of the sign coming in, and nothing but those where y is negative or not below the width."""
    return _integers("bitwise_right_shift", x, y)
