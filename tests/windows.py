"""Convolution and pooling by direct loops, one output element after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Ints = Sequence[int]


def _padded(x: Any, around: Sequence[tuple[int, int]], fill: float) -> Any:
    return np.pad(x, ((0, 0), (0, 0), *around), constant_values=fill)


def convolve(x: Any, w: Any, stride: Ints, around: Sequence[tuple[int, int]], dilation: Ints, groups: int = 1) -> Any:
    """x[N, C, …] by w[O, C / groups, …]; `around` are zeros before and behind every axis."""
    p = _padded(x, around, 0)
    o, share, *kernel = w.shape
    image = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(p.shape[2:], kernel, stride, dilation, strict=True)]
    y = np.zeros((x.shape[0], o, *image))
    for k in range(o):
        first = k // (o // groups) * share
        for at in np.ndindex(*image):
            for place in np.ndindex(*kernel):
                where = tuple(s * i + d * j for s, i, d, j in zip(stride, at, dilation, place, strict=True))
                for c in range(share):
                    y[(slice(None), k, *at)] += p[(slice(None), first + c, *where)] * w[(k, c, *place)]
    return y


def convolve_transposed(
    x: Any, w: Any, stride: Ints, padding: Ints, extra: Ints, dilation: Ints, groups: int = 1
) -> Any:
    """x[N, C, …] by w[C, O / groups, …]: every element adds a scaled kernel; then `padding` is cut off."""
    channels, share, *kernel = w.shape
    per_group = channels // groups
    whole = [(n - 1) * s + d * (k - 1) + 1 + e
             for n, s, d, k, e in zip(x.shape[2:], stride, dilation, kernel, extra, strict=True)]
    y = np.zeros((x.shape[0], share * groups, *whole))
    for c in range(channels):
        first = c // per_group * share
        for at in np.ndindex(*x.shape[2:]):
            for place in np.ndindex(*kernel):
                where = tuple(s * i + d * j for s, i, d, j in zip(stride, at, dilation, place, strict=True))
                for o in range(share):
                    y[(slice(None), first + o, *where)] += x[(slice(None), c, *at)] * w[(c, o, *place)]
    return y[(..., *(slice(p, n - p) for p, n in zip(padding, whole, strict=True)))]


def places(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """Positions of a window along an axis, found by trying."""
    reach, count = d * (k - 1) + 1, 0
    while count * s - p + reach <= n + p:
        count += 1
    # One more may hang over, if it starts within the axis or the padding before it.
    return count + (ceil_mode and (count - 1) * s - p + reach < n + p and count * s - p < n)


def pool(
    x: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool, how: str,
    count_include_pad: bool = True,
) -> Any:
    geometry = list(zip(x.shape[2:], kernel, stride, padding, dilation, strict=True))
    y = np.zeros((*x.shape[:2], *(places(*g, ceil_mode) for g in geometry)), x.dtype)
    for at in np.ndindex(*y.shape[2:]):
        inside, counted = [], 0
        for place in np.ndindex(*kernel):
            where = [s * i - p + d * j for (_, _, s, p, d), i, j in zip(geometry, at, place, strict=True)]
            if all(0 <= i < n for i, n in zip(where, x.shape[2:], strict=True)):
                inside.append(x[(..., *where)])
            counted += all(-g[3] <= i < g[0] + g[3] for g, i in zip(geometry, where, strict=True))
        stacked = np.stack(inside)
        y[(..., *at)] = stacked.max(0) if how == "max" else stacked.sum(0) / (
            counted if count_include_pad else len(inside))
    return y
