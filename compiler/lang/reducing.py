"""Reductions. `axis` is None (all), an int or a tuple; `keepdims` leaves axes of extent 1."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import BOOL, FLOAT32, INT64, UINT8, DType
from ..graph.node import Node, type_text
from ..graph.sizes import Shape
from . import arithmetic as ar
from . import checks
from .array import Array
from .explain import complain
from .lift import apply, as_array, axes_of, reshaped, weak_kind, wrap

_INFINITY = float("inf")


def _kept(result: Array, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if not checks.flag("keepdims", keepdims, x):
        return result
    shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
    return wrap(reshaped(result.node, shape), (result,))


def _needs_elements(name: str, x: Array, axes: tuple[int, ...]) -> None:
    for a in axes:
        if sizes.lower_bound(x.shape[a]) < 1:
            text = f"{name}: axis {a} of {type_text(x.shape, x.dtype)} may be empty, and nothing has no {name}"
            raise complain(ShapeError, text, x)


def summand(name: str, x: Array, dtype: Any) -> Array:
    """An operand of a sum or product that was asked for in a dtype. Raises DTypeError for bool."""
    if dtypes.as_dtype(dtype) == BOOL:
        raise complain(DTypeError, f"{name}: not defined in bool", x)
    return ar.astype(x, dtype)


def _widened(name: str, x: Any, axis: Any, keepdims: bool, dtype: Any) -> Array:
    """A sum or product in `dtype`; where that is None, of integers and bools in int64."""
    x = as_array(x)
    if dtype is not None:
        return ar.astype(_widened(name, summand(name, x, dtype), axis, keepdims, None), dtype)
    axes = axes_of(name, axis, x)
    source = ar.astype(x, INT64) if x.dtype == BOOL else x
    if not axes:
        return source if dtypes.is_float(x.dtype) else ar.astype(x, INT64)
    return _kept(apply(name, (source.node,), axes, of=(x,)), x, axes, keepdims)


def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Array:
    """The sum over axes; of integers and bools in int64, unless said."""
    return _widened("sum", x, axis, keepdims, dtype)


def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Array:
    """The product over axes; of integers and bools in int64, unless said. The derivative divides by nothing."""
    return _widened("prod", x, axis, keepdims, dtype)


def count(shape: Shape, axes: tuple[int, ...], dtype: DType, less: float = 0) -> Node:
    """The number of elements along axes, less a number but not below 0, as a 0-d node of a floating dtype."""
    total = sizes.product(shape[a] for a in axes)
    if isinstance(total, int):
        left = total - less
        return b.literal(left if left > 0 else 0, dtype)
    n = b.cast(b.extent(total), dtype)
    return n if less == 0 else b.make("relu", (b.sub(n, less),))


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """The mean over axes; of integers and bools in float32; NaN of nothing."""
    x = as_array(x)
    axes = axes_of("mean", axis, x)
    if not dtypes.is_float(x.dtype):
        x = ar.astype(x, FLOAT32)
    return ar.divide(sum(x, axes, keepdims), wrap(count(x.shape, axes, x.dtype)))


def max(x: object, axis: Any = None, keepdims: bool = False) -> Array:
    """The greatest element; NaN where there is one; the first maximum takes the whole cotangent."""
    x = as_array(x)
    axes = axes_of("max", axis, x)
    _needs_elements("max", x, axes)
    if x.dtype == BOOL:
        return any(x, axis, keepdims)
    if not axes:
        return x
    return _kept(apply("max", (x.node,), axes, of=(x,)), x, axes, keepdims)


def mirrored(x: Array) -> Array:
    """Reverses the order of values without overflow."""
    return ar.negative(x) if dtypes.is_float(x.dtype) else ar.subtract(as_array(_TOP[x.dtype], x.dtype), x)


# The mirror of an integer is its complement: -1 - x, for unsigned ones top - x.
_TOP = {dtypes.INT32: -1, INT64: -1, UINT8: 255}


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """The least element; NaN where there is one; the first minimum takes the whole cotangent."""
    x = as_array(x)
    axes = axes_of("min", axis, x)
    _needs_elements("min", x, axes)
    if x.dtype == BOOL:
        return all(x, axis, keepdims)
    return mirrored(max(mirrored(x), axes, keepdims)) if axes else x


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """int64 position of the first NaN, else of the first maximum; within the flattened array where axis is None."""
    x = as_array(x)
    axes = axes_of("argmax", axis, x)
    _needs_elements("argmax", x, axes)
    if x.dtype == BOOL:
        x = ar.astype(x, UINT8)
    if not axes:
        return wrap(b.full(0, x.shape, INT64), (x,))
    return _kept(apply("argmax", (x.node,), axes, of=(x,)), x, axes, keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """int64 position of the first NaN, else of the first minimum."""
    x = as_array(x)
    _needs_elements("argmin", x, axes_of("argmin", axis, x))
    return argmax(mirrored(ar.astype(x, UINT8) if x.dtype == BOOL else x), axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """Whether some element is true (not 0); False of nothing."""
    x = as_array(x)
    return ar.not_equal(sum(ar.astype(x, BOOL), axes_of("any", axis, x), keepdims), 0)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """Whether every element is true (not 0); True of nothing."""
    x = as_array(x)
    return ar.equal(sum(ar.logical_not(ar.astype(x, BOOL)), axes_of("all", axis, x), keepdims), 0)


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """How many elements are not 0, in int64; NaN is not 0."""
    x = as_array(x)
    return sum(ar.astype(x, BOOL), axes_of("count_nonzero", axis, x), keepdims)


def var(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Array:
    """The sum of squared distances from the mean, divided by n - correction; not finite where that is not positive."""
    x = as_array(x)
    axes = axes_of("var", axis, x)
    checks.number("correction", correction, x)
    if not dtypes.is_float(x.dtype):
        x = ar.astype(x, FLOAT32)
    distance = ar.subtract(x, mean(x, axes, keepdims=True))
    squares = sum(ar.multiply(distance, distance), axes, keepdims)
    return ar.divide(squares, wrap(count(x.shape, axes, x.dtype, correction)))


def root(v: Array) -> Array:
    """The square root with derivative 0 at 0."""
    nought = ar.equal(v, 0)
    return ar.where(nought, 0, ar.sqrt(ar.where(nought, 1, v)))


def std(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Array:
    """The square root of `var`; derivative 0 at 0."""
    x = as_array(x)
    return root(var(x, axes_of("std", axis, x), correction, keepdims))


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Array:
    """(Σ |x|**ord) ** (1/ord) over axes; max |x| for inf, min |x| for -inf, the number of elements other than 0 for 0.

    The derivative is 0 at 0, and for elements that are 0; of equal extrema the first one takes it all. The sum of
    powers may overflow where the norm does not. Integers give float32. Raises GraphError if `ord` is no real number.
    """
    x = as_array(x)
    if weak_kind(ord) not in ("i", "f") or ord != ord:
        raise complain(GraphError, f"vector_norm: ord is a number, got {ord!r}", x)
    axes = axes_of("vector_norm", axis, x)
    x = x if dtypes.is_float(x.dtype) else ar.astype(x, FLOAT32)
    if ord == 0:
        return ar.astype(count_nonzero(x, axes, keepdims), x.dtype)
    if ord == 1:
        return sum(ar.abs(x), axes, keepdims)
    if ord == 2:
        return root(sum(ar.multiply(x, x), axes, keepdims))
    if ord in (_INFINITY, -_INFINITY):
        _needs_elements("vector_norm", x, axes)
        return (max if ord > 0 else min)(ar.abs(x), axes, keepdims)
    # Powers of 0 and their derivatives are set apart: 0 or infinite, and 0.
    zero = ar.equal(x, 0)
    powers = ar.where(zero, 0 if ord > 0 else _INFINITY, ar.pow(ar.abs(ar.where(zero, 1, x)), ord))
    total = sum(powers, axes, keepdims)
    none = ar.equal(total, 0)
    return ar.where(none, 0 if ord > 0 else _INFINITY, ar.pow(ar.where(none, 1, total), 1 / ord))
