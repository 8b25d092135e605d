"""Arrays made of nothing but a shape: of one value, ramps, grids. Extents may be run-time ones."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import FLOAT32, FLOAT64, INT64
from ..graph.node import Node, type_text
from ..graph.sizes import Extent, Shape, Size
from . import arithmetic as ar
from . import checks
from .array import Array
from .explain import complain, refuse
from .lift import as_array, cast_node, common_dtype, operands_of, reshaped, stretch, weak_kind, wrap


def full(shape: Any, value: Any, dtype: Any = None) -> Array:
    """An array of one value; of the value's dtype (floats float32, ints int64) unless said."""
    target = None if dtype is None else dtypes.as_dtype(dtype)
    scalar = as_array(value, target)
    if scalar.shape != ():
        raise refuse(ShapeError, f"the value must be a scalar, got {type_text(scalar.shape, scalar.dtype)}", scalar)
    return wrap(stretch(scalar.node if target is None else cast_node(scalar, target), sizes.as_shape(shape)), (scalar,))


def zeros(shape: Any, dtype: Any = "float32") -> Array:
    """An array of zeros."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = "float32") -> Array:
    """An array of ones."""
    return full(shape, 1, dtype)


def full_like(x: Any, value: Any, dtype: Any = None) -> Array:
    """An array of one value with the shape of x, and its dtype unless said."""
    x = as_array(x)
    return full(x.shape, value, x.dtype if dtype is None else dtype)


def zeros_like(x: Any, dtype: Any = None) -> Array:
    """Zeros with the shape of x, and its dtype unless said."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Array:
    """Ones with the shape of x, and its dtype unless said."""
    return full_like(x, 1, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Array:
    """start, start + step, … as long as they are before `stop`: [⌈(stop - start) / step⌉].

    int64 unless one of the numbers is a float, then float32, or `dtype`. `start` and `stop` may be run-time extents,
    with a step of 1 and `stop` at least `start`.
    """
    if stop is None:
        start, stop = 0, start
    numbers = (start, stop, step)
    if any(isinstance(v, Size) for v in numbers):
        if step != 1 or not all(isinstance(v, (int, Size)) for v in numbers):
            raise complain(ShapeError, "arange: run-time bounds need ints beside them and a step of 1")
        count: Extent = sizes.add(stop, sizes.mul(start, -1))
    else:
        if not all(checks.is_number(v) and math.isfinite(v) for v in numbers) or not step:
            raise complain(ShapeError, f"arange: finite numbers and a step other than 0 are expected, got {numbers}")
        count = max(0, math.ceil((stop - start) / step))
    floating = any(isinstance(v, float) or weak_kind(v) == "f" for v in numbers)
    kind = dtypes.as_dtype(dtype) if dtype is not None else FLOAT32 if floating else INT64
    if kind == dtypes.BOOL:
        raise complain(DTypeError, "arange: not defined in bool; compare numbers instead")
    if floating:
        # Rounded once, from float64, as NumPy does.
        ramp = Array(b.iota((count,), 0, FLOAT64))
        return ar.astype(ramp * float(step) + float(start), kind)
    ramp = Array(b.iota((count,), 0, kind))
    scaled = ramp * int(step) if step != 1 else ramp
    if isinstance(start, Size):
        return scaled + Array(b.cast(b.extent(start), kind))
    return scaled + int(start) if start != 0 else scaled


def linspace(start: Any, stop: Any, num: Any = 50, *, endpoint: bool = True, dtype: Any = None) -> Array:
    """`num` evenly spaced numbers [num] from `start` to `stop`, which is the last one unless `endpoint` is False.

    `start` and `stop` are numbers or 0-d arrays, `num` an int or a run-time extent. float32 unless an array or `dtype`
    says otherwise; numbers are rounded once, from float64.
    """
    first, last = operands_of(start, stop)
    checks.flag("endpoint", endpoint)
    if any(isinstance(v, Array) and v.shape != () for v in (first, last)):
        raise complain(ShapeError, "linspace: start and stop must be scalars", first, last)
    found = common_dtype([first, last])
    kind = dtypes.as_dtype(dtype) if dtype is not None else found if dtypes.is_float(found) else FLOAT32
    if not dtypes.is_float(kind):
        raise complain(DTypeError, f"linspace: a floating dtype is expected, got {kind}; use arange or astype")
    (count,) = sizes.as_shape((num,))
    known = not isinstance(first, Array) and not isinstance(last, Array)
    wide = FLOAT64 if known else kind
    low, high = (Array(cast_node(v, wide)) if not isinstance(v, Array) else ar.astype(v, wide) for v in (first, last))
    ramp = Array(b.iota((count,), 0, INT64))
    spaces: Any = sizes.add(count, -1) if endpoint else count
    spaces = max(1, spaces) if isinstance(spaces, int) else ar.maximum(Array(b.extent(spaces)), 1)
    step = (high - low) / (Array(cast_node(spaces, wide)))
    result = ar.astype(ramp, wide) * step + low
    if endpoint:
        at_end = ar.logical_and(ar.equal(ramp, Array(b.extent(sizes.add(count, -1)))), ramp > 0)
        result = ar.where(at_end, high, result)
    return ar.astype(wrap(result.node, (first, last)), kind)


def eye(n: Any, m: Any = None, k: int = 0, dtype: Any = "float32") -> Array:
    """Ones on diagonal k (counted upwards) of an n × m matrix of zeros; m is n unless said."""
    shape: Shape = sizes.as_shape((n, n if m is None else m))
    checks.whole("k", k)
    row, column = (Array(b.iota(shape, axis)) for axis in range(2))
    return ar.astype(ar.equal(column, row + k if k else row), dtype)


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Array]:
    """The coordinates of a grid: each 1-d array stretched along an axis of its own; dtypes stay.

    With `indexing="ij"` array k lies along axis k; with "xy" the first two axes are exchanged.
    """
    values = [as_array(a) for a in arrays]
    checks.choice("indexing", indexing, ("xy", "ij"), kind=ShapeError)
    for v in values:
        if v.ndim > 1:
            raise complain(ShapeError, f"meshgrid: arrays of rank 1 are expected, got {v.ndim}", v)
    shape = [v.size for v in values]
    axes = list(range(len(values)))
    if indexing == "xy" and len(values) > 1:
        shape[:2] = shape[1::-1]
        axes[:2] = [1, 0]

    def spread(v: Array, axis: int) -> Node:
        return b.broadcast(reshaped(v.node, (v.size,)), tuple(shape), (axis,))

    return [wrap(spread(v, axis), (v,)) for v, axis in zip(values, axes, strict=True)]
