"""Functions that rearrange: no arithmetic, shapes only. Axes may be negative; ShapeError where things do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.node import make, type_text
from ..graph.sizes import Extent, Shape, Size
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


def reshape(x: Any, shape: Any) -> Array:
    """The same elements in row-major order as `shape`, of which one extent may be -1."""
    x = as_array(x)
    given = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    unknown = [k for k, n in enumerate(given) if not isinstance(n, (str, Size)) and n == -1]
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


def permute_dims(x: Any, axes: Sequence[int]) -> Array:
    """Axis k of the result is axis `axes[k]` of x."""
    x = as_array(x)
    found = tuple(a % x.ndim if x.ndim and -x.ndim <= a < x.ndim else a for a in axes)
    if sorted(found) != list(range(x.ndim)):
        raise complain(ShapeError, f"permute_dims: {tuple(axes)} is not a permutation of {x.ndim} axes", x)
    node = x.node
    if node.op.name == "permute":
        found, node = tuple(node["axes"][a] for a in found), node.inputs[0]
    return wrap(b.permute(node, found), (x,))


def matrix_transpose(x: Any) -> Array:
    """The last two axes exchanged."""
    x = as_array(x)
    if x.ndim < 2:
        raise complain(ShapeError, f"matrix_transpose: at least 2 axes are needed, got {x.ndim}", x)
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


def broadcast_to(x: Any, shape: Any) -> Array:
    x = as_array(x)
    target = sizes.as_shape(shape)
    if broadcast_shapes("broadcast_to", (x.shape, target), (x,)) != target:
        text = f"broadcast_to: {type_text(x.shape, x.dtype)} does not broadcast to {list(target)}"
        raise complain(ShapeError, text, x)
    return wrap(stretch(x.node, target), (x,))


def expand_dims(x: Any, axis: Any) -> Array:
    """New axes of extent 1 at the given positions of the result."""
    x = as_array(x)
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(given)
    at = sorted(a % rank for a in given if -rank <= a < rank)
    if len(set(at)) != len(given):
        raise complain(ShapeError, f"expand_dims: {axis} does not name distinct axes of a result of rank {rank}", x)
    shape: list[Extent] = list(x.shape)
    for a in at:
        shape.insert(a, 1)
    return wrap(reshaped(x.node, tuple(shape)), (x,))


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
    values = [as_array(a) for a in arrays]
    if not values:
        raise complain(ShapeError, "concat: at least one array is needed")
    if axis is None:
        values, axis = [reshape(v, -1) for v in values], 0
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
    values = [as_array(a) for a in arrays]
    for v in values[1:]:
        if v.shape != values[0].shape:
            texts = f"{type_text(values[0].shape, values[0].dtype)} and {type_text(v.shape, v.dtype)}"
            raise complain(ShapeError, f"stack: shapes differ: {texts}", values[0], v)
    return concat([expand_dims(v, axis) for v in values], axis)


def pad(x: object, pad_width: Any, value: Any = 0) -> Array:
    """x with `value` around it; `pad_width` is a number, a pair, or a pair per axis."""
    x = as_array(x)
    widths = _widths(x, pad_width)
    if not any(n != 0 for pair in widths for n in pair):
        return x
    fill = cast_node(value, x.dtype)
    if fill.shape != ():
        raise complain(ShapeError, "pad: the value must be a scalar", x, value)
    low, high = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
    return apply("pad", (x.node, fill), low, high, (0,) * x.ndim, of=(x, value))


def _widths(x: Array, given: Any) -> list[tuple[Extent, Extent]]:
    if isinstance(given, (int, Size)):
        given = (given, given)
    pairs = list(given)
    if len(pairs) == 2 and all(isinstance(p, (int, Size)) for p in pairs):
        pairs = [tuple(pairs)] * x.ndim
    if len(pairs) == 1 and x.ndim > 1:
        pairs = pairs * x.ndim
    if len(pairs) != x.ndim or any(len(p) != 2 for p in pairs):
        raise complain(ShapeError, f"pad: {given} does not give a pair for each of {x.ndim} axes", x)
    if any(isinstance(n, int) and n < 0 for p in pairs for n in p):
        raise complain(ShapeError, f"pad: widths must not be negative, got {given}; use a slice to remove elements", x)
    return [(p[0], p[1]) for p in pairs]


def flip(x: object, axis: Any = None) -> Array:
    """Elements in reverse order along the given axes, or all."""
    x = as_array(x)
    axes = axes_of("flip", axis, x)
    return x[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(x.ndim))]


def roll(x: object, shift: int, axis: int) -> Array:
    """Elements moved along an axis of fixed extent, those pushed out coming in again at the other end."""
    x = as_array(x)
    k = one_axis("roll", axis, x)
    n = x.shape[k]
    if not isinstance(n, int):
        raise complain(ShapeError, f"roll: axis {axis} has the run-time extent {n}", x)
    cut = -shift % n if n else 0
    if cut == 0:
        return x
    lead = (slice(None),) * k
    return concat([x[(*lead, slice(cut, None))], x[(*lead, slice(None, cut))]], k)


def split(x: Any, sections: int, axis: int = 0) -> list[Array]:
    """Equal parts along an axis."""
    x = as_array(x)
    k = one_axis("split", axis, x)
    width = sizes.floordiv(x.shape[k], sections)
    if sizes.mul(width, sections) != x.shape[k]:
        raise complain(ShapeError, f"split: axis {axis} does not divide into {sections} equal parts", x)
    zeros, parts = [0] * x.ndim, []
    for part in range(sections):
        starts: list[Extent] = list(zeros)
        stops: list[Extent] = list(x.shape)
        starts[k], stops[k] = sizes.mul(width, part), sizes.mul(width, part + 1)
        parts.append(wrap(b.slice(x.node, starts, stops, [1] * x.ndim), (x,)))
    return parts


def full(shape: Any, value: Any, dtype: Any = None) -> Array:
    """An array of one value; of the value's dtype (floats float32, ints int64) unless said."""
    from ..graph import dtypes

    scalar = as_array(value, dtypes.as_dtype(dtype) if dtype is not None else None)
    target = sizes.as_shape(shape)
    node = cast_node(scalar, dtypes.as_dtype(dtype)) if dtype is not None else scalar.node
    return wrap(stretch(node, target), (scalar,))


def zeros(shape: Any, dtype: Any = "float32") -> Array:
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = "float32") -> Array:
    return full(shape, 1, dtype)


def full_like(x: Any, value: Any, dtype: Any = None) -> Array:
    x = as_array(x)
    return full(x.shape, value, x.dtype if dtype is None else dtype)


def zeros_like(x: Any, dtype: Any = None) -> Array:
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Array:
    return full_like(x, 1, dtype)


def arange(start: Any, stop: Any = None, step: int = 1, dtype: Any = "int64") -> Array:
    """start, start + step, … below stop; integers; `stop` may be a run-time extent when start is 0 and step 1."""
    from ..graph import dtypes

    if stop is None:
        start, stop = 0, start
    kind = dtypes.as_dtype(dtype)
    if isinstance(stop, Size):
        if step != 1:
            raise complain(ShapeError, "arange: a run-time stop needs step 1")
        count: Extent = sizes.add(stop, sizes.mul(start, -1))
    else:
        if not all(hasattr(v, "__index__") for v in (start, stop, step)) or step == 0:
            raise complain(ShapeError, "arange: bounds and a step other than 0 must be ints; scale the result instead")
        count = len(range(start, stop, step))
    ramp = Array(make("iota", (), (count,), 0, kind))
    scaled = ramp * step if step != 1 else ramp
    return scaled + start if isinstance(start, Size) or start != 0 else scaled


def eye(n: Any, m: Any = None, dtype: Any = "float32") -> Array:
    """Ones on the diagonal of an n × m matrix of zeros."""
    shape: Shape = sizes.as_shape((n, n if m is None else m))
    row, column = (Array(b.iota(shape, k)) for k in range(2))
    return (row == column).astype(dtype)


def tril(x: Any, k: int = 0) -> Array:
    """The lower triangle of the last two axes, zeros above diagonal k."""
    from .arithmetic import where

    x = as_array(x)
    row, column = (Array(b.iota(x.shape[-2:], a)) for a in range(2))
    return where(column <= row + k, x, 0)


def triu(x: Any, k: int = 0) -> Array:
    """The upper triangle of the last two axes, zeros below diagonal k."""
    from .arithmetic import where

    x = as_array(x)
    row, column = (Array(b.iota(x.shape[-2:], a)) for a in range(2))
    return where(column >= row + k, x, 0)
