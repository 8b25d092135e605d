"""Indexing: ints, slices, Ellipsis, None and integer arrays, with NumPy's meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, SymbolicError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import BOOL, INT64
from ..graph.node import Node, make, type_text
from ..graph.sizes import Extent, Shape
from ..graph.structural import slice_extent
from .array import Array
from .explain import complain
from .lift import apply, as_array, as_numpy, broadcast_shapes, one_axis, reshaped, stretch, wrap


@dataclass(frozen=True, slots=True)
class Selection:
    """What a key says about an array: a slice per axis, the shape that leaves, and index arrays into that.

    `arrays` holds (axis of `shape`, axis of the array, index array); `apart` tells whether the arrays and ints of the
    key are separated by others, which puts the axes of the arrays first in the result.
    """

    starts: tuple[Extent, ...]
    stops: tuple[Extent, ...]
    steps: tuple[int, ...]
    shape: Shape
    arrays: tuple[tuple[int, int, Any], ...]
    apart: bool

    def sliced(self, x: Node) -> Node:
        bounds = zip(self.starts, self.stops, self.steps, x.shape, strict=True)
        if any(s != 0 or e != n or k != 1 for s, e, k, n in bounds):
            return b.slice(x, self.starts, self.stops, self.steps)
        return x


@dataclass(frozen=True, slots=True)
class Gather:
    """Index arrays as one `take` along one axis: the indexed axes are brought together and merged.

    `order` permutes the axes of the array, `merged` is the shape then, `flat` the index along `axis` of it; `last`
    permutes the axes of what is taken.
    """

    order: tuple[int, ...]
    merged: Shape
    axis: int
    flat: Node
    last: tuple[int, ...]

    def merge(self, x: Node) -> Node:
        return reshaped(b.permute(x, self.order), self.merged)

    def unmerge(self, y: Node, shape: Shape) -> Node:
        """The array of `shape` that `merge` turns into `y`."""
        return b.permute(reshaped(y, tuple(shape[a] for a in self.order)), inverse(self.order))


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    return tuple(sorted(range(len(order)), key=lambda k: order[k]))


def getitem(x: Array, key: Any) -> Array:
    """x[key]. Raises ShapeError for bounds that do not fit, SymbolicError for masks."""
    chosen = select(x, key)
    result = wrap(reshaped(chosen.sliced(x.node), chosen.shape), (x,))
    if not chosen.arrays:
        return result
    how = gather(x, chosen)
    handles = [index for _, _, index in chosen.arrays]
    taken = apply("take", (how.merge(result.node), how.flat), how.axis, of=(x, *handles))
    return wrap(b.permute(taken.node, how.last), (taken,)) if how.last else taken


def select(x: Array, key: Any) -> Selection:
    items = _items(x, key)
    starts: list[Extent] = []
    stops: list[Extent] = []
    steps: list[int] = []
    shape: list[Extent] = []  # after basic indexing
    arrays: list[tuple[int, int, Any]] = []
    advanced: list[int] = []  # positions in the key of ints and arrays, which NumPy treats alike
    axis = 0
    for place, item in enumerate(items):
        if item is None:
            shape.append(1)
            continue
        n = x.shape[axis]
        if isinstance(item, slice):
            start, stop, step = _bounds(x, axis, item)
            shape.append(slice_extent(start, stop, step))
        elif isinstance(item, (Array, np.ndarray)):
            arrays.append((len(shape), axis, item))
            advanced.append(place)
            start, stop, step = 0, n, 1
            shape.append(n)
        else:
            advanced.append(place)
            start = _position(x, axis, item)
            stop, step = sizes.add(start, 1), 1
        starts.append(start)
        stops.append(stop)
        steps.append(step)
        axis += 1
    apart = any(q - p > 1 for p, q in pairwise(advanced))
    return Selection(tuple(starts), tuple(stops), tuple(steps), tuple(shape), tuple(arrays), apart)


def _items(x: Array, key: Any) -> list[Any]:
    """The key with one entry per axis (and None for new ones)."""
    items: list[Any] = []
    for item in key if isinstance(key, tuple) else (key,):
        if isinstance(item, (list, tuple)):
            item = as_numpy(item) if len(item) else np.zeros(0, np.int64)
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
    if used > x.ndim:
        raise complain(ShapeError, f"too many indices for {type_text(x.shape, x.dtype)}: {used} for {x.ndim} axes", x)
    if dots > 1:
        raise complain(ShapeError, f"an index has at most one Ellipsis, got {dots}", x)
    fill = [slice(None)] * (x.ndim - used)
    at = next((k for k, i in enumerate(items) if i is Ellipsis), None)
    return [*items, *fill] if at is None else [*items[:at], *fill, *items[at + 1 :]]


def _position(x: Array, axis: int, at: int) -> Extent:
    n = x.shape[axis]
    least = sizes.lower_bound(n)
    if not -least <= at < least:
        hint = f'; declare ad.Dim("{n}", min=…) if it is never shorter' if not isinstance(n, int) else ""
        text = f"index {at} is out of range for axis {axis} of extent {n}: {type_text(x.shape, x.dtype)}{hint}"
        raise complain(ShapeError, text, x)
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
        if bound is not None and not isinstance(bound, sizes.Size) and not hasattr(bound, "__index__"):
            raise complain(SymbolicError, f"a slice's bounds are ints or extents, got {bound!r}", x)
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


def checked(name: str, x: Array, axis: int, index: Any) -> Node:
    """The index as int64 within the axis; constants are checked now, others by the call."""
    owner = x.node.op.name + (f' "{x.name}"' if x.name else "")
    return in_range(name, index, x.shape[axis], f"axis {axis}", owner, x)


def in_range(name: str, index: Any, n: Extent, axis: str, owner: str, *of: Any) -> Node:
    """An index (a handle or a NumPy array) as int64 from 0 to below n; errors call what it counts `axis` of `owner`.

    Negative ones count from the end. Raises ShapeError for a constant out of range; others fail the call.
    """
    if isinstance(index, np.ndarray) and isinstance(n, int) and dtypes.is_integer(index.dtype):
        bad = (index < -n) | (index >= n)
        if bad.any():
            text = f"{name}: index {int(index[bad].flat[0])} is out of range for {axis} of extent {n}"
            raise complain(ShapeError, text, *of)
        return as_array(np.where(index < 0, index + n, index).astype(np.int64)).node
    handle = as_array(index)
    if not dtypes.is_integer(handle.dtype):
        raise complain(DTypeError, f"{name}: an index must be an integer, got {handle.dtype}", *of, handle)
    return make("check_index", (b.cast(handle.node, INT64),), n, f"{name}: {axis} of {owner}")


def times(x: Node, n: Extent) -> Node:
    """An integer node times an extent."""
    return make("multiply", (x, b.broadcast(b.extent(n), x.shape, ())))


def gather(x: Array, chosen: Selection) -> Gather:
    """How the index arrays of a selection of x, which broadcast against each other, pick from what its slices leave."""
    axes = [axis for axis, _, _ in chosen.arrays]
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    first = axes[0] if together else 0
    left = chosen.shape
    others = [k for k in range(len(left)) if k not in axes]
    order = (*others[:first], *axes, *others[first:])
    handles = [as_array(index) for _, _, index in chosen.arrays]
    shape = broadcast_shapes("indexing", [h.shape for h in handles], handles)
    flat: Node | None = None
    for _, axis, index in chosen.arrays:
        part = stretch(checked("indexing", x, axis, index), shape)
        flat = part if flat is None else b.add(times(flat, x.shape[axis]), part)
    assert flat is not None
    merged = (
        *(left[k] for k in others[:first]),
        sizes.product(left[k] for k in axes),
        *(left[k] for k in others[first:]),
    )
    moved = range(first, first + len(shape))
    rank = len(shape) + len(others)
    last = (*moved, *(k for k in range(rank) if k not in moved)) if chosen.apart and first else ()
    return Gather(order, merged, first, flat, last)


def take(x: Any, indices: Any, axis: int | None = 0) -> Array:
    """Elements of x along an axis at integer indices of any rank, whose axes replace it; of all of x, flattened, where
    the axis is None.

    Negative indices count from the end; one out of range fails the call (ExecutionError), a constant one now.
    """
    x = as_array(x)
    if axis is None:
        x, axis = wrap(reshaped(x.node, (x.size,)), (x,)), 0
    k = one_axis("take", axis, x)
    indices = _integers("take", x, indices)
    return apply("take", (x.node, checked("take", x, k, indices)), k, of=(x, indices))


def _integers(name: str, x: Array, indices: Any) -> Any:
    """Indices as a handle or an array of integers; an empty list has no dtype of its own."""
    if isinstance(indices, Array):
        return indices
    indices = as_numpy(indices if not isinstance(indices, (list, tuple)) or len(indices) else np.zeros(0, np.int64))
    if not dtypes.is_integer(indices.dtype):
        raise complain(DTypeError, f"{name}: an index must be an integer, got {indices.dtype}", x)
    return indices


def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Array:
    """result[…, j, …] = x[…, indices[…, j, …], …] along an axis, for indices of the rank of x, such as `argsort` gives.

    The other axes of both broadcast against each other. Where the axis is None, x is flattened and indices are 1-d.
    Negative indices count from the end; one out of range fails the call (ExecutionError), a constant one now.
    """
    x = as_array(x)
    if axis is None:
        x, axis = wrap(reshaped(x.node, (x.size,)), (x,)), 0
    k = one_axis("take_along_axis", axis, x)
    indices = _integers("take_along_axis", x, indices)
    handle = as_array(indices)
    if handle.ndim != x.ndim:
        text = f"take_along_axis: indices of rank {handle.ndim} for an array of rank {x.ndim}"
        raise complain(ShapeError, text, x, handle)
    beside = [tuple(1 if a == k else n for a, n in enumerate(v.shape)) for v in (x, handle)]
    shape = list(broadcast_shapes("take_along_axis", beside, (x, handle)))
    shape[k] = handle.shape[k]
    # Axes before and behind along which all indices are the same need no index of their own.
    own = [a for a in range(x.ndim) if a == k or handle.shape[a] != 1]
    low, high = own[0], own[-1] + 1
    source = stretch(x.node, (*shape[:low], *x.shape[low:high], *shape[high:]))
    inner = tuple(shape[low:high])
    index = checked("take_along_axis", x, k, indices)
    index = stretch(reshaped(index, index.shape[low:high]), inner)
    flat = _flat(index, x.shape[low:high], k - low)
    merged = reshaped(source, (*shape[:low], sizes.product(x.shape[low:high]), *shape[high:]))
    return apply("take", (merged, flat), low, of=(x, handle))


def _flat(index: Node, shape: Shape, k: int) -> Node:
    """Row-major positions in an array of some shape: the index along axis k, its own place along the others."""
    flat: Node | None = None
    for a, n in enumerate(shape):
        part = index if a == k else b.iota(index.shape, a) if n != 1 else b.zeros_like(index)
        flat = part if flat is None else b.add(times(flat, n), part)
    assert flat is not None
    return flat


def picked(x: Array, at: Array, axis: int) -> Array:
    """Elements of x along an axis at int64 positions that are known to lie in it; the other axes go along."""
    flat = _flat(at.node, x.shape, axis)
    return apply("take", (reshaped(x.node, (x.size,)), flat), 0, of=(x, at))
