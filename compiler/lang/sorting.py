"""Orders along an axis. NaN stands behind every number, in descending order too; equal elements keep their order."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.dtypes import BOOL, UINT8
from ..graph.node import type_text
from . import arithmetic as ar
from . import checks
from .array import Array
from .explain import complain
from .indexing import picked
from .lift import apply, as_array, cast_node, common_dtype, one_axis, operands_of, wrap
from .reducing import mirrored


def ordered(x: Array) -> Array:
    """The array, bools as numbers: what can be compared by less and greater."""
    return ar.astype(x, UINT8) if x.dtype == BOOL else x


def _order(name: str, x: Array, axis: int, descending: bool) -> Array:
    checks.flag("descending", descending, x)
    keys = ordered(x)
    return apply("argsort", ((mirrored(keys) if descending else keys).node,), axis, of=(x,))


def argsort(x: Any, axis: int = -1, descending: bool = False) -> Array:
    """int64 positions along an axis that bring its elements into order, of the shape of x.

    The sort is stable, in descending order too, and puts NaN last. Raises ShapeError.
    """
    x = as_array(x)
    return _order("argsort", x, one_axis("argsort", axis, x), descending)


def sort(x: Any, axis: int = -1, descending: bool = False) -> Array:
    """The elements of an axis in order, NaN last; cotangents go back to where each element came from."""
    x = as_array(x)
    k = one_axis("sort", axis, x)
    return picked(x, _order("sort", x, k, descending), k)


def topk(x: Any, k: int, axis: int = -1) -> tuple[Array, Array]:
    """The k greatest elements of an axis in descending order and their int64 positions, of the same shape.

    Of equal elements the first ones are taken, NaN only where there are not enough numbers. Raises ShapeError if k may
    be more than the axis has.
    """
    x = as_array(x)
    at = one_axis("topk", axis, x)
    least = sizes.lower_bound(x.shape[at])
    if not checks.is_whole(k) or not 0 <= k <= least:
        text = f"topk: k is an int from 0 to {least} for axis {at} of {type_text(x.shape, x.dtype)}, got {k!r}"
        raise complain(ShapeError, text, x)
    order = _order("topk", x, at, descending=True).node
    stops = [int(k) if a == at else n for a, n in enumerate(x.shape)]
    indices = wrap(b.slice(order, [0] * x.ndim, stops, [1] * x.ndim), (x,))
    return picked(x, indices, at), indices


def searchsorted(sorted: Any, values: Any, side: str = "left") -> Array:
    """int64 positions, of the shape of `values`, at which they would go into the ascending array `sorted[n]`.

    In front of equal elements, with side="right" behind them; NaN counts as greater than every number. Operands meet
    in a common dtype. Raises ShapeError if `sorted` has not one axis.
    """
    checks.choice("side", side, ("left", "right"), sorted, values)
    keys, x = operands_of(sorted, values)
    keys = as_array(keys)
    dtype = common_dtype((keys, x))
    nodes = [cast_node(operand, UINT8 if dtype == BOOL else dtype) for operand in (keys, x)]
    return apply("searchsorted", nodes, side == "right", of=(keys, x))
