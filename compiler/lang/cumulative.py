"""Running sums, products and extrema. `axis` may be left out where there is but one.

The order of rounding is that of the elements, whatever the number of threads. For results from the last element on,
flip operand and result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ShapeError
from ..graph import build as b
from ..graph import dtypes, sequence
from ..graph.dtypes import INT64
from ..graph.node import Node, type_text
from . import checks
from .array import Array
from .explain import complain
from .indexing import picked
from .lift import apply, as_array, one_axis, wrap
from .reducing import mirrored, summand
from .sorting import ordered


def _axis(name: str, axis: int | None, x: Array) -> int:
    if axis is None and x.ndim != 1:
        raise complain(ShapeError, f"{name}: {type_text(x.shape, x.dtype)} has {x.ndim} axes; say which", x)
    return one_axis(name, 0 if axis is None else axis, x)


def _accumulated(
    name: str, build: Callable[[Node, int], Node], x: Any, axis: int | None, dtype: Any, initial: int,
    include_initial: bool,
) -> Array:
    x = as_array(x)
    k = _axis(name, axis, x)
    if dtype is None:
        dtype = x.dtype if dtypes.is_float(x.dtype) else INT64
    result = build(summand(name, x, dtype).node, k)
    if checks.flag("include_initial", include_initial, x):
        low = [1 if a == k else 0 for a in range(x.ndim)]
        result = b.pad(result, low, [0] * x.ndim, value=initial)
    return wrap(result, (x,))


def cumulative_sum(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Array:
    """The sums of the first elements of an axis: of one, of two, … ; of integers and bools in int64, unless said.

    `include_initial` puts the sum of none in front. Raises ShapeError, DTypeError.
    """
    return _accumulated("cumulative_sum", sequence.running_sum, x, axis, dtype, 0, include_initial)


def cumulative_prod(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Array:
    """The products of the first elements of an axis: of one, of two, … ; of integers and bools in int64, unless said.

    `include_initial` puts the product of none in front. The derivative divides by nothing, so zeros do no harm. Raises
    ShapeError, DTypeError.
    """
    return _accumulated("cumulative_prod", sequence.running_product, x, axis, dtype, 1, include_initial)


def _running(name: str, x: Any, axis: int | None, least: bool) -> Array:
    x = as_array(x)
    k = _axis(name, axis, x)
    keys = ordered(x)
    return picked(x, apply("running_argmax", ((mirrored(keys) if least else keys).node,), k, of=(x,)), k)


def cummax(x: Any, axis: int | None = None) -> Array:
    """The greatest of the first elements of an axis, NaN from the first NaN on; of the shape and dtype of x.

    The first maximum takes the whole cotangent, as in `max`. Raises ShapeError.
    """
    return _running("cummax", x, axis, False)


def cummin(x: Any, axis: int | None = None) -> Array:
    """The least of the first elements of an axis, NaN from the first NaN on; of the shape and dtype of x.

    The first minimum takes the whole cotangent, as in `min`. Raises ShapeError.
    """
    return _running("cummin", x, axis, True)
