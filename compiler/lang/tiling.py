"""Functions that place elements several times or elsewhere: padding, rolling, repeating. Axes may be negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.node import Node, type_text
from ..graph.sizes import Extent, Size
from . import checks
from .array import Array
from .explain import complain
from .indexing import take
from .lift import apply, as_array, as_numpy, axes_of, cast_node, one_axis, reshaped, weak_kind, wrap
from .shaping import concat, ravel

MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def pad(x: object, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Array:
    """x with elements around it; `pad_width` is a number, a pair (before, after), or a pair per axis.

    `mode` says what they are: "constant" the scalar `constant_values`, "edge" the outermost element, "reflect" the
    elements mirrored at the outermost one, "symmetric" mirrored beyond it, "wrap" those of the other end. Raises
    ShapeError for widths that do not fit, or where an empty axis has nothing to repeat.
    """
    x = as_array(x)
    checks.choice("mode", mode, MODES, x, kind=ShapeError)
    widths = _widths(x, pad_width)
    if not any(n != 0 for pair in widths for n in pair):
        return x
    if mode == "constant":
        value = as_array(constant_values)
        if value.shape != ():
            raise complain(ShapeError, "pad: constant_values must be a scalar", x, constant_values)
        if dtypes.is_float(value.dtype) and not dtypes.is_float(x.dtype):
            text = f"pad: constant_values of {value.dtype} do not fit {x.dtype}; use astype on either"
            raise complain(DTypeError, text, x, constant_values)
        fill = cast_node(value if weak_kind(constant_values) is None else constant_values, x.dtype)
        low, high = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
        return apply("pad", (x.node, fill), low, high, (0,) * x.ndim, of=(x, constant_values))
    for axis, (before, after) in enumerate(widths):
        if before != 0 or after != 0:
            x = _extend(x, axis, before, after, mode)
    return x


def _widths(x: Array, given: Any) -> list[tuple[Extent, Extent]]:
    if isinstance(given, (int, np.integer, Size)):
        given = (given, given)
    pairs = given.tolist() if isinstance(given, np.ndarray) else list(checks.sequence("pad_width", given, x))
    if len(pairs) == 2 and all(isinstance(p, (int, np.integer, Size)) for p in pairs):
        pairs = [tuple(pairs)] * x.ndim
    if len(pairs) == 1 and x.ndim > 1:
        pairs = pairs * x.ndim
    if len(pairs) != x.ndim or any(not isinstance(p, (tuple, list)) or len(p) != 2 for p in pairs):
        raise complain(ShapeError, f"pad: {given} does not give a pair for each of {x.ndim} axes", x)
    widths = [tuple(n if isinstance(n, Size) else checks.whole("a width", n, x) for n in p) for p in pairs]
    if any(isinstance(n, int) and n < 0 for p in widths for n in p):
        raise complain(ShapeError, f"pad: widths must not be negative, got {given}; use a slice to remove elements", x)
    return [(p[0], p[1]) for p in widths]


def _extend(x: Array, axis: int, before: Extent, after: Extent, mode: str) -> Array:
    """One axis with elements of its own in front and behind."""
    n = x.shape[axis]
    least = sizes.lower_bound(n)
    if least < 1:
        raise complain(ShapeError, f"pad: axis {axis} of {type_text(x.shape, x.dtype)} may be empty: no {mode}", x)
    if mode == "edge":
        ends = [_strip(x, axis, 0, 1, 1), _strip(x, axis, sizes.add(n, -1), n, 1)]
        parts = [_stretched(e, axis, width) for e, width in zip(ends, (before, after), strict=True)]
    else:
        reach = least - 1 if mode == "reflect" else least
        if not (isinstance(before, int) and isinstance(after, int) and max(before, after) <= reach):
            if isinstance(n, int) and isinstance(before, int) and isinstance(after, int):
                # Several times around: NumPy says which element comes where.
                return take(x, np.pad(np.arange(n), (before, after), mode=mode), axis)  # type: ignore[call-overload]
            text = f"pad: widths ({before}, {after}) may exceed axis {axis} of run-time extent {n}"
            raise complain(ShapeError, f'{text}; declare ad.Dim("{n}", min=…) if it is never shorter', x)
        if mode == "wrap":
            ends = [_strip(x, axis, sizes.add(n, -before), n, 1), _strip(x, axis, 0, after, 1)]
        else:
            skip = 1 if mode == "reflect" else 0
            first, last = before - 1 + skip, sizes.add(n, -1 - skip)
            ends = [_strip(x, axis, first, skip - 1, -1), _strip(x, axis, last, sizes.add(last, -after), -1)]
        parts = [wrap(e, (x,)) for e in ends]
    return concat([parts[0], x, parts[1]], axis)


def _strip(x: Array, axis: int, start: Extent, stop: Extent, step: int) -> Node:
    """A piece that is known to lie within the axis."""
    bounds = [(start, stop, step) if k == axis else (0, n, 1) for k, n in enumerate(x.shape)]
    return b.slice(x.node, *zip(*bounds, strict=True))


def _stretched(x: Node, axis: int, width: Extent) -> Array:
    rest = tuple(n for k, n in enumerate(x.shape) if k != axis)
    shape = tuple(width if k == axis else n for k, n in enumerate(x.shape))
    return wrap(b.broadcast(reshaped(x, rest), shape, [k for k in range(len(shape)) if k != axis]))


def roll(x: object, shift: Any, axis: Any = None) -> Array:
    """Elements moved along axes, those pushed out coming in again at the other end; of the flattened array where the
    axis is None. A tuple of axes takes one shift for all or one each. A run-time extent must be at least the shift."""
    x = as_array(x)
    if axis is None:
        return wrap(reshaped(roll(ravel(x), shift, 0).node, x.shape), (x,))
    axes = [one_axis("roll", a, x) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    shifts = list(shift) if isinstance(shift, (tuple, list)) else [shift] * len(axes)
    if len(shifts) != len(axes):
        raise complain(ShapeError, f"roll: {len(shifts)} shifts for {len(axes)} axes", x)
    for k, by in zip(axes, shifts, strict=True):
        if not checks.is_whole(by):
            raise complain(ShapeError, f"roll: a shift is an int, got {by!r}", x)
        x = _rolled(x, int(by), k)
    return x


def _rolled(x: Array, shift: int, axis: int) -> Array:
    n = x.shape[axis]
    if isinstance(n, int):
        shift = shift % n if n else 0
    elif abs(shift) > sizes.lower_bound(n):
        text = f"roll: the shift {shift} may exceed axis {axis} of run-time extent {n}"
        raise complain(ShapeError, f'{text}; declare ad.Dim("{n}", min={abs(shift)}) if it is never shorter', x)
    if shift == 0:
        return x
    cut = sizes.add(n, -shift) if shift > 0 else -shift
    parts = [_strip(x, axis, cut, n, 1), _strip(x, axis, 0, cut, 1)]
    return concat([wrap(p, (x,)) for p in parts], axis)


def flip(x: object, axis: Any = None) -> Array:
    """Elements in reverse order along the given axes, or all."""
    x = as_array(x)
    axes = axes_of("flip", axis, x)
    return x[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(x.ndim))]


def repeat(x: object, repeats: Any, axis: int | None = None) -> Array:
    """Every element `repeats` times in a row along an axis, of the flattened array where the axis is None.

    `repeats` is a number (or a run-time extent), or an array of them per element, which must be known now.
    """
    x = as_array(x)
    if axis is None:
        x, axis = ravel(x), 0
    k = one_axis("repeat", axis, x)
    n = x.shape[k]
    if isinstance(repeats, Array):
        text = "repeat: repeats that are data give a result of unknown size; use ints, a list or a NumPy array"
        raise complain(DTypeError, text, x, repeats)
    if isinstance(repeats, (list, tuple, np.ndarray)):
        counts = as_numpy(repeats) if len(np.shape(repeats)) == 0 or len(repeats) else np.zeros(0, np.int64)
        if not dtypes.is_integer(counts.dtype) or counts.ndim > 1 or (counts < 0).any():
            raise complain(ShapeError, f"repeat: repeats are ints of at least 0, got {repeats!r}", x)
        if counts.size != 1:
            if counts.size != n:
                raise complain(ShapeError, f"repeat: {counts.size} repeats for axis {axis} of extent {n}", x)
            return take(x, np.repeat(np.arange(n), counts), k)
        repeats = int(counts.reshape(-1)[0])
    if not isinstance(repeats, Size) and (not hasattr(repeats, "__index__") or repeats < 0):
        raise complain(ShapeError, f"repeat: repeats are ints of at least 0, got {repeats!r}", x)
    times = repeats if isinstance(repeats, Size) else repeats.__index__()
    wide = (*x.shape[: k + 1], times, *x.shape[k + 1 :])
    copies = b.broadcast(x.node, wide, [a for a in range(len(wide)) if a != k + 1])
    return wrap(reshaped(copies, (*x.shape[:k], sizes.mul(n, times), *x.shape[k + 1 :])), (x,))


def tile(x: Any, repetitions: Any) -> Array:
    """Whole copies of x side by side: `repetitions` is a number (or run-time extent) for the last axis, or one for each
    of the last axes; new axes come in front where there are more of them than axes."""
    x = as_array(x)
    many: Sequence[Any] = repetitions if isinstance(repetitions, (tuple, list)) else (repetitions,)
    counts = sizes.as_shape(many)
    rank = max(x.ndim, len(counts))
    shape = (*(1,) * (rank - x.ndim), *x.shape)
    counts = (*(1,) * (rank - len(counts)), *counts)
    wide = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    copies = b.broadcast(reshaped(x.node, shape), wide, range(1, 2 * rank, 2))
    return wrap(reshaped(copies, tuple(sizes.mul(c, n) for c, n in zip(counts, shape, strict=True))), (x,))
