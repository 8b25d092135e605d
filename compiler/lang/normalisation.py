"""Normalisation to mean 0 and variance 1, or to a mean square of 1, over some axes. Variances are the biased ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import dtypes
from ..graph.node import type_text
from . import arithmetic as ar
from . import checks
from . import reducing as rd
from .array import Array
from .explain import complain
from .lift import as_array, wrap
from .state import carry


def _input(name: str, given: Any, least: int) -> Array:
    x = as_array(given)
    if not dtypes.is_float(x.dtype):
        raise complain(DTypeError, f"{name}: x must be floating, got {x.dtype}", x)
    if x.ndim < least:
        raise complain(ShapeError, f"{name}: x must have {least} axes or more: {type_text(x.shape, x.dtype)}", x)
    return x


def _trailing(name: str, x: Array, *parameters: Any) -> tuple[int, ...]:
    """The trailing axes that parameters have; the last one where none is given."""
    rank = next((as_array(p).ndim for p in parameters if p is not None), 1)
    for p in parameters:
        if p is not None and (rank > x.ndim or as_array(p).shape != x.shape[x.ndim - rank :]):
            text = f"{name}: a parameter does not fit the trailing axes of {type_text(x.shape, x.dtype)}"
            raise complain(ShapeError, text, x, p)
    return tuple(range(x.ndim - rank, x.ndim))


def _channels(name: str, x: Array, *parameters: Any) -> list[Array | None]:
    """Parameters of one element per channel, axis 1 of x, shaped to broadcast with x."""
    found: list[Array | None] = []
    for p in parameters:
        if p is not None:
            p = as_array(p)
            if p.shape != (x.shape[1],):
                texts = f"{type_text(p.shape, p.dtype)} for {type_text(x.shape, x.dtype)}"
                raise complain(ShapeError, f"{name}: a parameter must have one element per channel: {texts}", x, p)
            p = p.reshape((x.shape[1], *(1,) * (x.ndim - 2)))
        found.append(p)
    return found


def _standard(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array, Array]:
    """((x - mean) / √(variance + eps), mean, variance) with axes kept."""
    checks.number("eps", eps, x, least=0)
    mean = rd.mean(x, axes, keepdims=True)
    centred = ar.subtract(x, mean)
    variance = rd.mean(ar.multiply(centred, centred), axes, keepdims=True)
    return ar.multiply(centred, ar.rsqrt(ar.add(variance, eps))), mean, variance


def _affine(y: Array, scale: Any, bias: Any) -> Array:
    if scale is not None:
        y = ar.multiply(y, scale)
    return y if bias is None else ar.add(y, bias)


def layer_norm(x: Any, scale: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    """(x - mean) / √(variance + eps) · scale + bias, over the trailing axes that `scale` (or `bias`) has.

    Over the last axis where neither is given. Raises ShapeError for parameters that do not fit.
    """
    x = _input("layer_norm", x, 1)
    axes = _trailing("layer_norm", x, scale, bias)
    return _affine(_standard(x, axes, eps)[0], scale, bias)


def rms_norm(x: Any, scale: Any = None, eps: float | None = None) -> Array:
    """x / √(mean of x² + eps) · scale, over the trailing axes that `scale` has, else over the last.

    `eps` is the resolution of the dtype unless given. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
    """
    x = _input("rms_norm", x, 1)
    axes = _trailing("rms_norm", x, scale)
    floor = float(np.finfo(x.dtype).eps) if eps is None else checks.number("eps", eps, x, least=0)
    square = rd.mean(ar.multiply(x, x), axes, keepdims=True)
    return _affine(ar.multiply(x, ar.rsqrt(ar.add(square, floor))), scale, None)


def group_norm(x: Any, num_groups: int, scale: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    """x[N, C, …] normalised over each of `num_groups` runs of channels together with the axes behind them.

    `scale` and `bias` are [C]. C must be fixed and divisible. Wu and He, "Group Normalization", 2018.
    """
    x = _input("group_norm", x, 2)
    channels = x.shape[1]
    if not isinstance(channels, int) or checks.whole("num_groups", num_groups, x) < 1 or channels % num_groups:
        text = f"group_norm: {channels} channels do not divide into {num_groups} groups"
        raise complain(ShapeError, text, x)
    grouped = x.reshape((x.shape[0], num_groups, channels // num_groups, *x.shape[2:]))
    y = _standard(grouped, tuple(range(2, grouped.ndim)), eps)[0].reshape(x.shape)
    return _affine(y, *_channels("group_norm", x, scale, bias))


def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    scale: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """x[N, C, …] normalised per channel; `scale`, `bias` and the running statistics are [C].

    With `training` by the statistics of the batch, else by the running ones. Running statistics that are given while
    training must be variables: the result carries their updates, old · (1 - momentum) + new · momentum with the
    unbiased variance, to the functions that it is compiled into. Ioffe and Szegedy, "Batch Normalization", 2015.
    """
    x = _input("batch_norm", x, 2)
    axes = tuple(k for k in range(x.ndim) if k != 1)
    factors = _channels("batch_norm", x, scale, bias)
    means, variances = _channels("batch_norm", x, running_mean, running_var)
    if (means is None) != (variances is None):
        raise complain(GraphError, "batch_norm: running_mean and running_var go together", x)
    checks.number("eps", eps, x, least=0)
    if not training:
        if means is None or variances is None:
            raise complain(GraphError, "batch_norm: without running statistics there is only training=True", x)
        return _affine(ar.multiply(ar.subtract(x, means), ar.rsqrt(ar.add(variances, eps))), *factors)
    y, mean, variance = _standard(x, axes, eps)
    y = _affine(y, *factors)
    if means is None:
        return y
    checks.number("momentum", momentum, x, least=0, most=1)
    n = wrap(rd.count(x.shape, axes, x.dtype))
    unbiased = ar.multiply(variance, ar.divide(n, ar.maximum(ar.subtract(n, 1), 1)))
    updates = {}
    for old, new in ((as_array(running_mean), mean), (as_array(running_var), unbiased)):
        fresh = ar.astype(ar.stop_gradient(new).reshape(old.shape), old.dtype)
        updates[old] = ar.add(ar.multiply(1 - momentum, old), ar.multiply(momentum, fresh))
    return carry(y, updates)
