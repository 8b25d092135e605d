"""Reductions. `axis` is None (all), an int or a tuple; `keepdims` leaves axes of extent 1."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import BOOL, FLOAT32, INT64, UINT8, DType
from ..graph.node import Node, type_text
from ..graph.sizes import Shape
from . import arithmetic as ar
from .array import Array
from .explain import complain
from .lift import apply, as_array, axes_of, reshaped, wrap


def _kept(result: Array, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if not keepdims:
        return result
    shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
    return wrap(reshaped(result.node, shape), (result,))


def _needs_elements(name: str, x: Array, axes: tuple[int, ...]) -> None:
    for a in axes:
        if sizes.lower_bound(x.shape[a]) < 1:
            text = f"{name}: axis {a} of {type_text(x.shape, x.dtype)} may be empty, and nothing has no {name}"
            raise complain(ShapeError, text, x)


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over axes; of integers and bools in int64."""
    x = as_array(x)
    axes = axes_of("sum", axis, x)
    source = x if dtypes.is_float(x.dtype) else ar.astype(x, INT64) if x.dtype == BOOL else x
    if not axes:
        return source if dtypes.is_float(x.dtype) else ar.astype(x, INT64)
    return _kept(apply("sum", (source.node,), axes, of=(x,)), x, axes, keepdims)


def count(shape: Shape, axes: tuple[int, ...], dtype: DType) -> Node:
    """The number of elements along axes as a 0-d node of a floating dtype."""
    total = sizes.product(shape[a] for a in axes)
    return b.literal(total, dtype) if isinstance(total, int) else b.cast(b.extent(total), dtype)


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
    return ar.not_equal(sum(ar.astype(x, BOOL), axis, keepdims), 0)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """Whether every element is true (not 0); True of nothing."""
    return ar.equal(sum(ar.logical_not(ar.astype(x, BOOL)), axis, keepdims), 0)


def var(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Array:
    """The mean squared distance from the mean, divided by n - correction."""
    x = as_array(x)
    axes = axes_of("var", axis, x)
    if not dtypes.is_float(x.dtype):
        x = ar.astype(x, FLOAT32)
    distance = ar.subtract(x, mean(x, axes, keepdims=True))
    n = wrap(count(x.shape, axes, x.dtype))
    return ar.divide(sum(ar.multiply(distance, distance), axes, keepdims), n if correction == 0 else n - correction)


def _root(v: Array) -> Array:
    """The square root with derivative 0 at 0."""
    nought = ar.equal(v, 0)
    return ar.where(nought, 0, ar.sqrt(ar.where(nought, 1, v)))


def std(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Array:
    """The square root of `var`; derivative 0 at 0."""
    return _root(var(x, axis, correction, keepdims))


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """The Euclidean norm; derivative 0 at 0."""
    x = as_array(x)
    x = x if dtypes.is_float(x.dtype) else ar.astype(x, FLOAT32)
    return _root(sum(ar.multiply(x, x), axis, keepdims))
