"""The softmax family and activations, written in terms of primitives."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DTypeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import FLOAT32, INT64
from . import arithmetic as ar
from . import checks, special
from . import reducing as rd
from .array import Array
from .explain import complain
from .lift import as_array, axes_of, wrap
from .shaping import expand_dims, new_axes
from .tiling import pad

_INFINITY = float("inf")


def _floating(x: Any) -> Array:
    x = as_array(x)
    return x if dtypes.is_float(x.dtype) else ar.astype(x, FLOAT32)


def _top(x: Array, axis: Any) -> Array:
    """The maximum over axes, kept, as a constant; −inf of nothing."""
    axes = axes_of("max", axis, x)
    bare = [k for k in axes if sizes.lower_bound(x.shape[k]) < 1]
    # One −inf more along an axis that may be empty.
    padded = pad(x, [(0, 1 if k in bare else 0) for k in range(x.ndim)], constant_values=-_INFINITY) if bare else x
    return ar.stop_gradient(rd.max(padded, axes, keepdims=True))


def shifted(x: Array, axis: Any) -> tuple[Array, Array, Array]:
    """(x - m, m, rows that are all −inf), with m the maximum over the axis, kept, and 0 for such rows.

    What is computed from the result does not depend on m, so no derivative passes through it.
    """
    top = _top(x, axis)
    dead = ar.equal(top, -_INFINITY)
    shift = ar.where(dead, 0, top)
    return ar.subtract(x, shift), shift, dead


def softmax(x: Any, axis: Any = -1) -> Array:
    """exp(x) / Σ exp(x) over the axis. Rows of −inf give zeros, with zero derivative."""
    x = _floating(x)
    axes = axes_of("softmax", axis, x)
    d, _, dead = shifted(x, axes)
    e = ar.exp(d)
    return ar.divide(e, ar.where(dead, 1, rd.sum(e, axes, keepdims=True)))


def log_softmax(x: Any, axis: Any = -1) -> Array:
    """x - logsumexp(x) over the axis, without the cancellation. Rows of −inf stay −inf, with zero derivative."""
    x = _floating(x)
    axes = axes_of("log_softmax", axis, x)
    d, _, dead = shifted(x, axes)
    total = rd.sum(ar.exp(d), axes, keepdims=True)
    return ar.subtract(ar.where(dead, -_INFINITY, d), ar.log(ar.where(dead, 1, total)))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """log Σ exp(x) over axes. Rows of −inf, or of nothing, give −inf, with zero derivative; a +inf gives +inf."""
    x = _floating(x)
    axes = axes_of("logsumexp", axis, x)
    top = _top(x, axes)
    shift = ar.where(ar.isfinite(top), top, 0)
    total = rd.sum(ar.exp(ar.subtract(x, shift)), axes, keepdims=True)
    dead = ar.equal(top, -_INFINITY)
    result = ar.where(dead, -_INFINITY, ar.add(ar.log(ar.where(dead, 1, total)), shift))
    if checks.flag("keepdims", keepdims, x):
        return result
    return result.reshape(tuple(n for k, n in enumerate(x.shape) if k not in axes))


def gelu(x: object, approximate: str = "none") -> Array:
    """The Gaussian error linear unit, x Φ(x); `approximate="tanh"` is the usual approximation by a tanh."""
    x = _floating(x)
    if checks.choice("approximate", approximate, ("none", "tanh"), x) == "tanh":
        # (1 + tanh z) / 2 is the logistic function of 2z, which is cheaper than tanh.
        c = 2 * math.sqrt(2 / math.pi)
        twice = x * (c + 0.044715 * c * (x * x))
        return ar.multiply(x, ar.sigmoid(twice))
    # erfc keeps the digits of the tail, where 1 + erf cancels.
    return ar.multiply(x, ar.multiply(special.erfc(ar.multiply(x, -math.sqrt(0.5))), 0.5))


def silu(x: Any) -> Array:
    """x · sigmoid(x)."""
    x = _floating(x)
    return ar.multiply(x, ar.sigmoid(x))


def softplus(x: Any) -> Array:
    """log(1 + exp(x)), without overflow."""
    x = _floating(x)
    # log1p by hand: below the resolution of 1 + e the logarithm is e itself.
    positive = ar.greater(x, 0)
    magnitude = ar.where(positive, ar.negative(x), x)
    e = ar.exp(magnitude)
    whole = ar.add(e, 1)
    small = ar.equal(whole, 1)
    tail = ar.where(small, e, ar.log(ar.where(small, 1, whole)))
    return ar.add(ar.where(positive, x, 0), tail)


def log_sigmoid(x: Any) -> Array:
    """log(sigmoid(x)), without cancellation or overflow."""
    return ar.negative(softplus(ar.negative(_floating(x))))


def hard_tanh(x: Any) -> Array:
    """x held within [-1, 1]; derivative 1 at the bounds."""
    return ar.clip(_floating(x), -1, 1)


def leaky_relu(x: Any, slope: float = 0.01) -> Array:
    """x where positive, else slope · x."""
    x = _floating(x)
    return ar.where(ar.greater(x, 0), x, ar.multiply(slope, x))


def elu(x: Any, alpha: float = 1.0) -> Array:
    """x where positive, else alpha · (exp(x) - 1)."""
    x = _floating(x)
    positive = ar.greater(x, 0)
    return ar.where(positive, x, alpha * (ar.exp(ar.where(positive, 0, x)) - 1))


def one_hot(i: Any, n: Any, axis: int = -1, dtype: Any = "float32") -> Array:
    """1 at position i of a new axis of extent n, 0 elsewhere; all 0 for an i outside 0 … n - 1."""
    i = as_array(i)
    if not dtypes.is_integer(i.dtype):
        raise complain(DTypeError, f"one_hot: indices must be integers, got {i.dtype}", i)
    (k,) = new_axes("one_hot", (axis,), i.ndim + 1, i)
    wide = expand_dims(ar.astype(i, INT64), k)
    (extent,) = sizes.as_shape((n,))
    shape = tuple(extent if a == k else m for a, m in enumerate(wide.shape))
    ramp = wrap(b.iota(shape, k))
    return ar.astype(ar.equal(wide, ramp), dtype)
