"""Pooling over 1, 2 and 3 axes. Arguments are PyTorch's; the stride is the window's size unless given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes, views
from ..graph.contraction import contract, plain
from ..graph.dtypes import DType
from ..graph.node import type_text
from . import arithmetic as ar
from . import reducing as rd
from .array import Array
from .explain import complain
from .filling import arange
from .lift import as_array, reshaped, wrap
from .linalg import tensordot
from .shaping import moveaxis, reshape
from .tiling import pad
from .windows import Axis, images, per_axis, reach, window_axis


def max_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Array:
    """The maximum over windows of x[N, C, W]; see `max_pool2d`."""
    return _max_pool("max_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Array:
    """The maximum over windows of x[N, C, H, W]: [N, C, H', W'], in the dtype of x.

    H' = (H + 2·padding - dilation·(kernel_size - 1) - 1) // stride + 1, with `ceil_mode` rounded up where the last
    window starts before the padding behind the axis. Padding never is the maximum; NaN is. The first maximum of a
    window, row by row, takes its cotangent. Raises ShapeError where windows do not fit, or padding is more than half
    of one.
    """
    return _max_pool("max_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Array:
    """The maximum over windows of x[N, C, D, H, W]; see `max_pool2d`."""
    return _max_pool("max_pool3d", 3, x, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean over windows of x[N, C, W]; see `avg_pool2d`."""
    return _avg_pool("avg_pool1d", 1, x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean over windows of x[N, C, H, W]: [N, C, H', W'], H' as for `max_pool2d`; of integers in float32.

    Zeros of the padding count as elements unless `count_include_pad` is False; what `ceil_mode` lets hang over the
    padded image never counts. Raises ShapeError where windows do not fit, or padding is more than half of one.
    """
    return _avg_pool("avg_pool2d", 2, x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool3d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean over windows of x[N, C, D, H, W]; see `avg_pool2d`."""
    return _avg_pool("avg_pool3d", 3, x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Array:
    """x[N, C, W] to [N, C, output_size]; see `adaptive_avg_pool2d`."""
    return _adaptive("adaptive_avg_pool1d", 1, x, output_size)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Array:
    """x[N, C, H, W] to [N, C, *output_size]: cell i of m along an axis of n is the mean of [i·n // m, ⌈(i + 1)·n / m⌉).

    Raises ShapeError for a run-time extent that is no multiple of its cells.
    """
    return _adaptive("adaptive_avg_pool2d", 2, x, output_size)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Array:
    """x[N, C, D, H, W] to [N, C, *output_size]; see `adaptive_avg_pool2d`."""
    return _adaptive("adaptive_avg_pool3d", 3, x, output_size)


def _axes(
    name: str, rank: int, x: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> list[Axis]:
    images(name, rank, x)
    kernel = per_axis(name, "kernel_size", kernel_size, rank, 1)
    s = kernel if stride is None else per_axis(name, "stride", stride, rank, 1)
    p, d = per_axis(name, "padding", padding, rank, 0), per_axis(name, "dilation", dilation, rank, 1)
    if any(2 * q > reach(k, e) for q, k, e in zip(p, kernel, d, strict=True)):
        raise complain(ShapeError, f"{name}: padding {padding} is more than half of the window {kernel_size}", x)
    return [
        window_axis(name, n, kernel[a], s[a], p[a], p[a], d[a], ceil_mode, x) for a, n in enumerate(x.shape[2:])
    ]


def _overhang(axis: Axis, ceil_mode: bool) -> int:
    """How far the last window reaches beyond the axis; at a run-time extent, at most."""
    if isinstance(axis.positions, int) and isinstance(axis.extent, int):
        return max(0, (axis.positions - 1) * axis.stride + axis.reach - axis.low - axis.extent)
    return axis.reach - 1 if ceil_mode else axis.low


def _tiled(axes: Sequence[Axis]) -> bool:
    """Whether windows lie side by side within the axes."""
    return all(
        a.stride == a.kernel and a.dilation == 1 and a.low == 0
        and a.positions == sizes.floordiv(a.extent, a.kernel)
        for a in axes
    )


def _tiles(x: Array, axes: Sequence[Axis]) -> tuple[Array, tuple[int, ...]]:
    """Windows side by side as axes of their own, and which axes: no element is copied."""
    used = (*x.shape[:2], *(sizes.mul(a.positions, a.kernel) for a in axes))
    node = x.node if used == x.shape else b.slice(x.node, [0] * x.ndim, used, [1] * x.ndim)
    shape = [n for a in axes for n in (a.positions, a.kernel)]
    return wrap(reshaped(node, (*x.shape[:2], *shape)), (x,)), tuple(range(3, 3 + 2 * len(axes), 2))


def _max_pool(
    name: str, rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Array:
    x = as_array(x)
    axes = _axes(name, rank, x, kernel_size, stride, padding, dilation, ceil_mode)
    if _tiled(axes):
        return rd.max(*_tiles(x, axes))
    widths = ((0, 0), (0, 0), *((a.low, _overhang(a, ceil_mode)) for a in axes))
    padded = pad(x, widths, constant_values=dtypes.limits(x.dtype)[0])
    node = views.windows(
        padded.node, *([getattr(a, part) for a in axes] for part in ("kernel", "stride", "dilation", "positions"))
    )
    return rd.max(wrap(node, (x,)), tuple(range(2 + rank, 2 + 2 * rank)))


def _avg_pool(
    name: str, rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool
) -> Array:
    x = as_array(x)
    if not dtypes.is_float(x.dtype):
        x = ar.astype(x, "float32")
    axes = _axes(name, rank, x, kernel_size, stride, padding, 1, ceil_mode)
    if _tiled(axes):
        return rd.mean(*_tiles(x, axes))
    kernel = tuple(a.kernel for a in axes)
    n_out = 2 + rank
    places = tuple(plain(n_out + a) for a in range(rank))
    x_map = (plain(0), plain(1), *(axis.map(2 + a, n_out + a) for a, axis in enumerate(axes)))
    extents = (*x.shape[:2], *(a.positions for a in axes), *kernel)
    total = wrap(contract(x.node, b.full(1, kernel, x.dtype), extents, n_out, x_map, places), (x,))
    if count_include_pad and not ceil_mode:
        return ar.divide(total, int(np.prod(kernel)))
    counts = [_count(axis, count_include_pad) for axis in axes]
    number = reshape(counts[0], (-1, *(1 for _ in axes[1:])))
    for a, count in enumerate(counts[1:], 1):
        number = ar.multiply(number, reshape(count, (-1, *(1 for _ in axes[a + 1 :]))))
    return ar.divide(total, ar.astype(number, x.dtype))


def _count(axis: Axis, count_include_pad: bool) -> Array:
    """The elements of every window along an axis."""
    start = ar.subtract(ar.multiply(arange(axis.positions), axis.stride), axis.low)
    n = wrap(b.extent(axis.extent))
    end = ar.minimum(ar.add(start, axis.kernel), ar.add(n, axis.low))
    if not count_include_pad:
        start, end = ar.maximum(start, 0), ar.minimum(end, n)
    return ar.subtract(end, start)


def _adaptive(name: str, rank: int, x: Any, output_size: Any) -> Array:
    x = as_array(x)
    images(name, rank, x)
    cells = per_axis(name, "output_size", output_size, rank, 1)
    result = x if dtypes.is_float(x.dtype) else ar.astype(x, "float32")
    for axis, m in enumerate(cells, 2):
        n = x.shape[axis]
        width = sizes.floordiv(n, m)
        if sizes.mul(width, m) == n and n != 0:
            split = (*result.shape[:axis], m, width, *result.shape[axis + 1 :])
            result = rd.mean(wrap(reshaped(result.node, split), (result,)), axis + 1)
        elif isinstance(n, int) and n > 0:
            result = moveaxis(tensordot(result, _cells(n, m, result.dtype), (axis, 0)), -1, axis)
        else:
            text = f"{name}: axis {axis} of {type_text(x.shape, x.dtype)} does not divide into {m} cells before a call"
            raise complain(ShapeError, text, x)
    return result


def _cells(n: int, m: int, dtype: DType) -> np.ndarray[Any, Any]:
    """[n, m]: what every element of an axis counts for in every cell."""
    weights = np.zeros((n, m), dtype)
    for i in range(m):
        start, stop = i * n // m, -(-(i + 1) * n // m)
        weights[start:stop, i] = 1 / (stop - start)
    return weights
