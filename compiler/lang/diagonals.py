"""Diagonals and triangles of matrices. Diagonal k starts k columns to the right of the corner, or -k rows below it."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.node import type_text
from ..graph.sizes import Extent
from . import checks
from .arithmetic import where
from .array import Array
from .explain import complain, refuse
from .lift import apply, as_array, one_axis, wrap
from .shaping import moveaxis


def diagonal(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Array:
    """Diagonal `offset` of the matrices in two axes, the last two unless said; it becomes the last axis."""
    x = as_array(x)
    if x.ndim < 2:
        raise refuse(ShapeError, f"at least 2 axes are needed, got {type_text(x.shape, x.dtype)}", x)
    i, j = one_axis("diagonal", axis1, x), one_axis("diagonal", axis2, x)
    if i == j:
        raise complain(ShapeError, f"diagonal: two axes are needed, got {axis1} and {axis2}", x)
    offset = checks.whole("offset", offset, x)
    x = moveaxis(x, (i, j), (-2, -1))
    row, column = max(0, -offset), max(0, offset)
    n, m = x.shape[-2:]
    for extent, first in ((n, row), (m, column)):
        if not isinstance(extent, int) and sizes.lower_bound(extent) < first:
            text = f"diagonal: offset {offset} may leave an axis of run-time extent {extent}"
            raise complain(ShapeError, f'{text}; declare ad.Dim("{extent}", min={first}) if it is never shorter', x)
    length = _lesser(sizes.add(n, -row), sizes.add(m, -column))
    if length is None:
        text = f"diagonal: how long diagonal {offset} of {type_text(x.shape, x.dtype)} is cannot be told before a call"
        raise complain(ShapeError, text, x)
    if isinstance(length, int) and length <= 0:
        row, column, length = 0, 0, 0
    starts = (*(0 for _ in x.shape[:-2]), row, column)
    stops = (*x.shape[:-2], sizes.add(row, length), sizes.add(column, length))
    whole = stops == x.shape and row == column == 0
    square = x.node if whole else b.slice(x.node, starts, stops, [1] * x.ndim)
    return apply("diagonal", (square,), of=(x,))


def _lesser(a: Extent, c: Extent) -> Extent | None:
    """The lesser of two extents, when it can be told."""
    if isinstance(a, int) and isinstance(c, int):
        return min(a, c)
    gap = sizes.add(c, sizes.mul(a, -1))
    if isinstance(gap, int):
        return a if gap >= 0 else c
    for less, more in ((a, c), (c, a)):
        if isinstance(less, int) and sizes.lower_bound(more) >= less:
            return less
    return None


def diag(x: Any, k: int = 0) -> Array:
    """A matrix of zeros with x on diagonal k for an x of one axis; diagonal k for an x of two."""
    x, k = as_array(x), checks.whole("k", k)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise complain(ShapeError, f"diag: 1 or 2 axes are expected, got {x.ndim}", x)
    n = sizes.add(x.shape[0], abs(k))
    # The row of an element is its number, or its number plus -k; the column follows.
    low, high = (0, k) if k >= 0 else (-k, 0)
    spread = b.broadcast(b.pad(x.node, (low,), (high,)), (n, n), (0,))
    row, column = (Array(b.iota((n, n), axis)) for axis in range(2))
    return where(column - row == k, wrap(spread, (x,)), 0)


def tril(x: Any, k: int = 0) -> Array:
    """The lower triangles of the last two axes, zeros above diagonal k."""
    row, column, x = _places("tril", x, k)
    return where(column <= row + k, x, 0)


def triu(x: Any, k: int = 0) -> Array:
    """The upper triangles of the last two axes, zeros below diagonal k."""
    row, column, x = _places("triu", x, k)
    return where(column >= row + k, x, 0)


def _places(name: str, x: Any, k: int) -> tuple[Array, Array, Array]:
    x = as_array(x)
    if x.ndim < 2:
        raise complain(ShapeError, f"{name}: at least 2 axes are needed, got {type_text(x.shape, x.dtype)}", x)
    checks.whole("k", k, x)
    row, column = (Array(b.iota(x.shape[-2:], axis)) for axis in range(2))
    return row, column, x
