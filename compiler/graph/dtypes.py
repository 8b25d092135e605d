"""Element types and their promotion (Python array API standard)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from .sites import called, told

DType = np.dtype[Any]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)
UINT8 = np.dtype(np.uint8)
ALL = (FLOAT32, FLOAT64, INT32, INT64, BOOL, UINT8)
SUPPORTED = ", ".join(map(str, ALL))
NAMES = {dtype: str(dtype) for dtype in ALL}  # NumPy composes a name anew every time


def as_dtype(x: object) -> DType:
    """The supported dtype that `x` names; DTypeError otherwise."""
    try:
        if x is None:  # for which NumPy has a default
            raise TypeError
        dtype = np.dtype(x)  # type: ignore[call-overload]
    except (TypeError, AttributeError, ValueError):
        raise DTypeError(told(f"{called()}{x!r} is not a data type; supported are {SUPPORTED}")) from None
    if dtype not in ALL:
        raise DTypeError(told(f"{called()}dtype {dtype} is not supported; supported are {SUPPORTED}"))
    return dtype  # type: ignore[no-any-return]


def is_float(dtype: DType) -> bool:
    return dtype.kind == "f"


def is_integer(dtype: DType) -> bool:
    return dtype.kind in "iu"


def limits(dtype: DType) -> tuple[float | int | bool, float | int | bool]:
    """The least and the greatest value, of floats the infinities."""
    if is_float(dtype):
        return -float("inf"), float("inf")
    if dtype == BOOL:
        return False, True
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def promote(a: DType, b: DType) -> DType:
    """The dtype that strong operands of types `a` and `b` meet in.

    Follows the array API where it says something; an integer or bool with a float gives the float's dtype, bool with
    an integer the integer's.
    """
    if a == b:
        return a
    if is_float(a) or is_float(b):
        floats = [d for d in (a, b) if is_float(d)]
        return max(floats, key=lambda d: d.itemsize)
    if a == BOOL:
        return b
    if b == BOOL:
        return a
    return max(a, b, key=lambda d: d.itemsize)
