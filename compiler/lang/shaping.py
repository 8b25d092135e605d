"""Functions that rearrange: no arithmetic, shapes only. Axes may be negative; ShapeError where things do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.node import type_text
from ..graph.sizes import Extent, Size
from . import checks
from .array import Array
from .explain import complain
from .lift import (
    apply,
    as_array,
    axes_of,
    broadcast_shapes,
    cast_node,
    common_dtype,
    one_axis,
    reshaped,
    stretch,
    wrap,
)


def reshape(x: Any, shape: Any, copy: bool | None = None) -> Array:
    """The same elements in row-major order as `shape`, of which one extent may be -1.

    `copy` is taken for compatibility: symbolic arrays are values, which a copy could not be told from.
    """
    x = as_array(x)
    given = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    unknown = [k for k, n in enumerate(given) if checks.is_whole(n) and n == -1]
    if len(unknown) > 1:
        raise complain(ShapeError, f"reshape: only one extent may be -1, got {tuple(given)}", x)
    if unknown:
        rest = sizes.product(sizes.as_shape([n for k, n in enumerate(given) if k not in unknown]))
        quotient: Extent = sizes.floordiv(x.size, rest) if rest != 0 else 0
        if rest == 0 or sizes.mul(quotient, rest) != x.size:
            raise complain(ShapeError, f"reshape: cannot reshape {type_text(x.shape, x.dtype)} to {tuple(given)}", x)
        given[unknown[0]] = quotient
    target = sizes.as_shape(given)
    if sizes.product(target) != x.size:
        text = f"reshape: cannot reshape {type_text(x.shape, x.dtype)} to {list(target)}: the sizes differ"
        raise complain(ShapeError, text, x)
    return wrap(reshaped(x.node, target), (x,))


def ravel(x: Any) -> Array:
    """All elements in row-major order along one axis."""
    return reshape(x, -1) if 0 not in as_array(x).shape else reshape(x, (0,))


def permute_dims(x: Any, axes: Sequence[int]) -> Array:
    """Axis k of the result is axis `axes[k]` of x."""
    x = as_array(x)
    axes = checks.sequence("axes", axes, x)
    found = tuple(a % x.ndim if checks.is_whole(a) and -x.ndim <= a < x.ndim else -1 for a in axes)
    if sorted(found) != list(range(x.ndim)):
        text = f"permute_dims: {tuple(axes)} is not a permutation of the axes of {type_text(x.shape, x.dtype)}"
        raise complain(ShapeError, text, x)
    node = x.node
    if node.op.name == "permute":
        found, node = tuple(node["axes"][a] for a in found), node.inputs[0]
    return wrap(b.permute(node, found), (x,))


def matrix_transpose(x: Any) -> Array:
    """The last two axes exchanged."""
    x = as_array(x)
    if x.ndim < 2:
        text = f"matrix_transpose: at least 2 axes are needed, got {type_text(x.shape, x.dtype)}"
        raise complain(ShapeError, text, x)
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def moveaxis(x: Any, source: Any, destination: Any) -> Array:
    """Moves axes to new positions; the others keep their order."""
    x = as_array(x)
    sources = [one_axis("moveaxis", a, x) for a in (source if isinstance(source, (tuple, list)) else (source,))]
    targets = [
        one_axis("moveaxis", a, x) for a in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    if len(sources) != len(targets) or len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise complain(ShapeError, f"moveaxis: {source} and {destination} do not pair up distinct axes", x)
    order = [a for a in range(x.ndim) if a not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return permute_dims(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    x = as_array(x)
    order = list(range(x.ndim))
    i, j = one_axis("swapaxes", axis1, x), one_axis("swapaxes", axis2, x)
    order[i], order[j] = j, i
    return permute_dims(x, order)


def broadcast_to(x: Any, shape: Any) -> Array:
    """x stretched to `shape` by NumPy's rule."""
    x = as_array(x)
    target = sizes.as_shape(shape)
    rank = x.ndim
    fits = rank <= len(target) and all(m in (1, n) for m, n in zip(x.shape, target[len(target) - rank :], strict=True))
    if not fits:
        text = f"broadcast_to: {type_text(x.shape, x.dtype)} does not broadcast to [{', '.join(map(str, target))}]"
        raise complain(ShapeError, text, x)
    return wrap(stretch(x.node, target), (x,))


def broadcast_arrays(*arrays: Any) -> list[Array]:
    """Arrays stretched to the shape that they have in common by NumPy's rule; dtypes stay."""
    values = [as_array(a) for a in arrays]
    shape = broadcast_shapes("broadcast_arrays", [v.shape for v in values], values)
    return [wrap(stretch(v.node, shape), (v,)) for v in values]


def expand_dims(x: Any, axis: Any = 0) -> Array:
    """New axes of extent 1 at the given positions of the result."""
    x = as_array(x)
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(given)
    at = new_axes("expand_dims", given, rank, x)
    shape: list[Extent] = list(x.shape)
    for a in at:
        shape.insert(a, 1)
    return wrap(reshaped(x.node, tuple(shape)), (x,))


def new_axes(name: str, given: Sequence[Any], rank: int, *of: Any) -> list[int]:
    """Where new axes stand in a result of `rank` axes, in order. Raises ShapeError."""
    at = sorted(a % rank for a in given if checks.is_whole(a) and -rank <= a < rank)
    if len(set(at)) != len(given):
        shown = given[0] if len(given) == 1 else tuple(given)
        text = f"{name}: axis {shown!r} does not name distinct axes of a result of rank {rank}"
        raise complain(ShapeError, text, *of)
    return at


def squeeze(x: Any, axis: Any = None) -> Array:
    """Without the given axes, which must have extent 1; without all such axes where none is named."""
    x = as_array(x)
    axes = [k for k, n in enumerate(x.shape) if n == 1] if axis is None else axes_of("squeeze", axis, x)
    if any(x.shape[a] != 1 for a in axes):
        text = f"squeeze: axis {axis} of {type_text(x.shape, x.dtype)} has an extent other than 1"
        raise complain(ShapeError, text, x)
    return wrap(reshaped(x.node, tuple(n for k, n in enumerate(x.shape) if k not in axes)), (x,))


def concat(arrays: Sequence[Any], axis: int | None = 0) -> Array:
    """Arrays one behind the other along an axis; flattened first where the axis is None."""
    values = [as_array(a) for a in checks.sequence("arrays", arrays)]
    if not values:
        raise complain(ShapeError, "concat: at least one array is needed")
    if axis is None:
        values, axis = [ravel(v) for v in values], 0
    k = one_axis("concat", axis, values[0])
    for v in values[1:]:
        same = v.ndim == values[0].ndim and all(
            m == n for j, (m, n) in enumerate(zip(v.shape, values[0].shape, strict=True)) if j != k
        )
        if not same:
            texts = f"{type_text(values[0].shape, values[0].dtype)} and {type_text(v.shape, v.dtype)}"
            raise complain(ShapeError, f"concat: shapes differ beside axis {k}: {texts}", values[0], v)
    if len(values) == 1:
        return values[0]
    dtype = common_dtype(values)
    return apply("concat", [cast_node(v, dtype) for v in values], k, of=values)


def stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis."""
    values = [as_array(a) for a in checks.sequence("arrays", arrays)]
    if not values:
        raise complain(ShapeError, "stack: at least one array is needed")
    for v in values[1:]:
        if v.shape != values[0].shape:
            texts = f"{type_text(values[0].shape, values[0].dtype)} and {type_text(v.shape, v.dtype)}"
            raise complain(ShapeError, f"stack: shapes differ: {texts}", values[0], v)
    new_axes("stack", (axis,), values[0].ndim + 1, values[0])
    return concat([expand_dims(v, axis) for v in values], axis)


def split(x: Any, sections: Any, axis: int = 0) -> list[Array]:
    """Parts along an axis: `sections` equal ones, or those between the given positions, as slices take them."""
    x = as_array(x)
    k = one_axis("split", axis, x)
    lead = (slice(None),) * k
    if isinstance(sections, (tuple, list, np.ndarray)):
        edges = [None, *(e if isinstance(e, Size) else checks.whole("a position", e, x) for e in sections), None]
        return [x[(*lead, slice(low, high))] for low, high in pairwise(edges)]
    if isinstance(sections, Array) or not hasattr(sections, "__index__") or sections.__index__() < 1:
        raise complain(ShapeError, f"split: a positive number of parts or positions are expected, got {sections!r}", x)
    parts = sections.__index__()
    width = sizes.floordiv(x.shape[k], parts)
    if sizes.mul(width, parts) != x.shape[k]:
        text = f"split: axis {axis} of {type_text(x.shape, x.dtype)} does not divide into {parts} equal parts"
        raise complain(ShapeError, text, x)
    return [_part(x, k, sizes.mul(width, p), sizes.mul(width, p + 1)) for p in range(parts)]


def _part(x: Array, axis: int, start: Extent, stop: Extent) -> Array:
    """A piece that is known to lie within the axis."""
    starts = [start if a == axis else 0 for a in range(x.ndim)]
    stops = [stop if a == axis else n for a, n in enumerate(x.shape)]
    return wrap(b.slice(x.node, starts, stops, [1] * x.ndim), (x,))


def unstack(x: Any, axis: int = 0) -> tuple[Array, ...]:
    """The sub-arrays along an axis of fixed extent, without that axis."""
    x = as_array(x)
    k = one_axis("unstack", axis, x)
    n = x.shape[k]
    if not isinstance(n, int):
        raise complain(ShapeError, f"unstack: axis {axis} has the run-time extent {n}; use ad.scan", x)
    return tuple(x[(*(slice(None),) * k, i)] for i in range(n))
