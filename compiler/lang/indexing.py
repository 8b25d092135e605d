"""Indexing: ints, slices, Ellipsis, None and integer arrays, with NumPy's meaning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, SymbolicError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import BOOL, INT64
from ..graph.node import Node, make, type_text
from ..graph.sizes import Extent
from .array import Array
from .explain import complain
from .lift import apply, as_array, as_numpy, broadcast_shapes, one_axis, reshaped, stretch, wrap


def getitem(x: Array, key: Any) -> Array:
    """x[key]. Raises ShapeError for bounds that do not fit, SymbolicError for masks."""
    items = _items(x, key)
    starts: list[Extent] = []
    stops: list[Extent] = []
    steps: list[int] = []
    shape: list[Extent] = []  # after basic indexing
    arrays: list[tuple[int, Any]] = []  # (axis after basic indexing, index)
    advanced: list[int] = []  # positions in the key of ints and arrays, which NumPy treats alike
    axis = 0
    for place, item in enumerate(items):
        if item is None:
            shape.append(1)
            continue
        n = x.shape[axis]
        if isinstance(item, slice):
            start, stop, step = _bounds(x, axis, item)
            starts.append(start)
            stops.append(stop)
            steps.append(step)
            shape.append(_extent(start, stop, step))
        elif isinstance(item, (Array, np.ndarray)):
            arrays.append((len(shape), item))
            advanced.append(place)
            starts.append(0)
            stops.append(n)
            steps.append(1)
            shape.append(n)
        else:
            advanced.append(place)
            at = _position(x, axis, item)
            starts.append(at)
            stops.append(sizes.add(at, 1))
            steps.append(1)
        axis += 1
    node = x.node
    if any(s != 0 or e != n or k != 1 for s, e, k, n in zip(starts, stops, steps, x.shape, strict=True)):
        node = b.slice(node, starts, stops, steps)
    result = wrap(reshaped(node, tuple(shape)), (x,))
    if not arrays:
        return result
    apart = any(q - p > 1 for p, q in pairwise(advanced))
    return _gather(result, arrays, apart)


def _items(x: Array, key: Any) -> list[Any]:
    """The key with one entry per axis (and None for new ones)."""
    items: list[Any] = []
    for item in key if isinstance(key, tuple) else (key,):
        if isinstance(item, list):
            item = as_numpy(item) if item else np.zeros(0, np.int64)
        if isinstance(item, np.ndarray) and item.ndim == 0 and item.dtype.kind in "iu":
            item = int(item)
        if isinstance(item, (bool, np.bool_)) or (isinstance(item, (Array, np.ndarray)) and item.dtype == BOOL):
            text = "a boolean mask gives a result whose size depends on data; use ad.where(mask, x, other)"
            raise complain(SymbolicError, text, x)
        if isinstance(item, (Array, np.ndarray)) and not dtypes.is_integer(item.dtype):
            raise complain(DTypeError, f"an index must be an integer, got {item.dtype}", x, item)
        if isinstance(item, np.ndarray):
            item = item.astype(np.int64)
        known = item is None or item is Ellipsis or isinstance(item, (slice, Array, np.ndarray))
        if not known and not hasattr(item, "__index__"):
            raise complain(SymbolicError, f"cannot index with {item!r}", x)
        items.append(item if known else item.__index__())
    used = sum(1 for i in items if i is not None and i is not Ellipsis)
    dots = sum(1 for i in items if i is Ellipsis)
    if used > x.ndim or dots > 1:
        raise complain(ShapeError, f"too many indices for {type_text(x.shape, x.dtype)}: {used} for {x.ndim} axes", x)
    fill = [slice(None)] * (x.ndim - used)
    at = next((k for k, i in enumerate(items) if i is Ellipsis), None)
    return [*items, *fill] if at is None else [*items[:at], *fill, *items[at + 1 :]]


def _position(x: Array, axis: int, at: int) -> Extent:
    n = x.shape[axis]
    least = sizes.lower_bound(n)
    if not -least <= at < least:
        hint = f'; declare ad.Dim("{n}", min=…) if it is never shorter' if not isinstance(n, int) else ""
        raise complain(ShapeError, f"index {at} is out of range for axis {axis} of extent {n}{hint}", x)
    return at if at >= 0 else sizes.add(n, at)


def _bounds(x: Array, axis: int, item: slice) -> tuple[Extent, Extent, int]:
    """(start, stop, step) within the axis, in a canonical form: equal selections give equal bounds."""
    n = x.shape[axis]
    step = 1 if item.step is None else item.step
    if isinstance(step, (Array, sizes.Size)) or not hasattr(step, "__index__") or step.__index__() == 0:
        raise complain(ShapeError, f"a slice's step must be an int other than 0, got {item.step!r}", x)
    step = step.__index__()
    for bound in (item.start, item.stop):
        if isinstance(bound, Array):
            text = "a slice whose bound is data has no fixed size; use ad.take with an index array"
            raise complain(SymbolicError, text, x, bound)
    if isinstance(n, int) and not isinstance(item.start, sizes.Size) and not isinstance(item.stop, sizes.Size):
        chosen = range(n)[slice(item.start, item.stop, step)]
        if not chosen:
            return 0, 0, 1
        return chosen[0], chosen[-1] + (1 if step > 0 else -1), step if len(chosen) > 1 else (1 if step > 0 else -1)
    start: Extent = _edge(x, axis, item.start) if item.start is not None else (0 if step > 0 else sizes.add(n, -1))
    stop: Extent = _edge(x, axis, item.stop) if item.stop is not None else (n if step > 0 else -1)
    return start, stop, step


def _edge(x: Array, axis: int, bound: Any) -> Extent:
    n = x.shape[axis]
    if isinstance(bound, sizes.Size):
        return bound
    at = bound.__index__()
    if abs(at) > sizes.lower_bound(n):
        text = f"slice bound {at} may lie outside axis {axis} of run-time extent {n}"
        raise complain(ShapeError, f'{text}; declare ad.Dim("{n}", min={abs(at)}) if it is never shorter', x)
    return at if at >= 0 else sizes.add(n, at)


def _extent(start: Extent, stop: Extent, step: int) -> Extent:
    from ..graph.structural import slice_extent

    return slice_extent(start, stop, step)


def checked(name: str, x: Array, axis: int, index: Any) -> Node:
    """The index as int64 within the axis; constants are checked now, others by the call."""
    n = x.shape[axis]
    if isinstance(index, np.ndarray) and isinstance(n, int):
        bad = (index < -n) | (index >= n)
        if bad.any():
            text = f"{name}: index {int(index[bad].flat[0])} is out of range for axis {axis} of extent {n}"
            raise complain(ShapeError, text, x)
        return as_array(np.where(index < 0, index + n, index).astype(np.int64)).node
    handle = as_array(index)
    if not dtypes.is_integer(handle.dtype):
        raise complain(DTypeError, f"{name}: an index must be an integer, got {handle.dtype}", x, handle)
    label = f'{name}: axis {axis} of {x.node.op.name}' + (f' "{x.name}"' if x.name else "")
    return make("check_index", (b.cast(handle.node, INT64),), n, label)


def _gather(x: Array, arrays: Sequence[tuple[int, Any]], apart: bool) -> Array:
    """Picks along the axes of index arrays, which broadcast against each other."""
    axes = [axis for axis, _ in arrays]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise complain(
            ShapeError,
            "index arrays must stand side by side; permute the axes or use ad.take along one axis after the other",
            x,
        )
    handles = [as_array(index) for _, index in arrays]
    shape = broadcast_shapes("indexing", [h.shape for h in handles], handles)
    flat: Node | None = None
    for (axis, index), n in zip(arrays, x.shape[axes[0] :], strict=False):
        part = stretch(checked("index", x, axis, index), shape)
        if flat is not None:
            if not isinstance(n, int):
                raise complain(ShapeError, f"index arrays beside each other need fixed extents, axis {axis} has {n}", x)
            part = b.add(b.mul(flat, n), part)
        flat = part
    assert flat is not None
    axis, last = axes[0], axes[-1] + 1
    merged = (*x.shape[:axis], sizes.product(x.shape[axis:last]), *x.shape[last:])
    result = apply("take", (reshaped(x.node, merged), flat), axis, of=(x, *handles))
    if not apart or axis == 0:
        return result
    moved = range(axis, axis + len(shape))
    order = (*moved, *(k for k in range(result.ndim) if k not in moved))
    return wrap(b.permute(result.node, order), (result,))


def take(x: Any, indices: Any, axis: int = 0) -> Array:
    """Elements of x along an axis at integer indices of any rank, whose axes replace it.

    Negative indices count from the end; one out of range fails the call (ExecutionError), a constant one now.
    """
    x = as_array(x)
    k = one_axis("take", axis, x)
    if not isinstance(indices, Array):
        indices = as_numpy(indices if not isinstance(indices, (list, tuple)) or len(indices) else np.zeros(0, np.int64))
        if not dtypes.is_integer(indices.dtype):
            raise complain(DTypeError, f"take: an index must be an integer, got {indices.dtype}", x)
    return apply("take", (x.node, checked("take", x, k, indices)), k, of=(x, indices))
