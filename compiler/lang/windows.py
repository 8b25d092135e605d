"""Convolution as a contraction, and pooling. Images are [N, C, H, W], kernels [O, C / groups, KH, KW]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.contraction import AxisMap, contract, plain
from ..graph.node import Node, type_text
from ..graph.sizes import Extent
from . import arithmetic as ar
from . import reducing as rd
from .array import Array
from .explain import complain
from .lift import as_array, cast_node, common_dtype, reshaped, wrap
from .shaping import concat, expand_dims, reshape
from .tiling import pad


def _pair(name: str, what: str, value: Any, least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or any(not isinstance(v, int) or v < least for v in pair):
        text = f"{name}: {what} must be an int of at least {least} or a pair of such, got {value!r}"
        raise complain(ShapeError, text)
    return pair[0], pair[1]


def _positions(name: str, n: Extent, kernel: int, stride: int, padding: int, dilation: int, *of: Any) -> Extent:
    """The number of places of a window along an axis."""
    room = sizes.add(n, 2 * padding - dilation * (kernel - 1) - 1)
    if sizes.lower_bound(n) + 2 * padding - dilation * (kernel - 1) - 1 < 0:
        reach = dilation * (kernel - 1) + 1
        raise complain(ShapeError, f"{name}: a window of {reach} does not fit an axis of {n} padded by {padding}", *of)
    return sizes.add(sizes.floordiv(room, stride), 1)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """Cross-correlation: x[N, C, H, W] with weight[O, C / groups, KH, KW] (+ bias[O]) gives [N, O, H', W'].

    H' = (H + 2·padding - dilation·(KH - 1) - 1) // stride + 1. Raises ShapeError where channels, groups or extents
    do not fit.
    """
    x, weight = as_array(x), as_array(weight)
    texts = f"{type_text(x.shape, x.dtype)} by {type_text(weight.shape, weight.dtype)}"
    if x.ndim != 4 or weight.ndim != 4:
        raise complain(ShapeError, f"conv2d: x [N, C, H, W] and weight [O, C, KH, KW] are expected: {texts}", x, weight)
    s, p, d = _pair("conv2d", "stride", stride, 1), _pair("conv2d", "padding", padding, 0), _pair(
        "conv2d", "dilation", dilation, 1
    )
    n, channels, height, width = x.shape
    out, per_group, kh, kw = weight.shape
    if not all(isinstance(e, int) for e in (channels, out, per_group, kh, kw)):
        raise complain(ShapeError, "conv2d: channels and kernel extents must be fixed", x, weight)
    if groups < 1 or channels != per_group * groups or out % groups:
        raise complain(ShapeError, f"conv2d: channels do not fit {groups} groups: {texts}", x, weight)
    image = [
        _positions("conv2d", e, k, s[a], p[a], d[a], x, weight)
        for a, (e, k) in enumerate(((height, kh), (width, kw)))
    ]
    dtype = common_dtype((x, weight))
    dtype = dtype if dtypes.is_float(dtype) else dtypes.FLOAT32
    a, c = cast_node(x, dtype), cast_node(weight, dtype)
    if groups == 1:
        node = _convolve(a, c, (n,), out, per_group, image, (kh, kw), s, p, d)
    else:
        a = reshaped(a, (n, groups, per_group, height, width))
        share = sizes.floordiv(out, groups)
        c = reshaped(c, (groups, share, per_group, kh, kw))
        node = _convolve(a, c, (n, groups), share, per_group, image, (kh, kw), s, p, d)
        node = reshaped(node, (n, out, *image))
    y = wrap(node, (x, weight))
    if bias is None:
        return y
    bias = as_array(bias)
    if bias.shape != (out,):
        raise complain(ShapeError, f"conv2d: bias must have shape ({out},)", x, weight, bias)
    return ar.add(y, reshape(bias, (out, 1, 1)))


def _convolve(
    x: Node,
    weight: Node,
    lead: tuple[Extent, ...],
    outs: Extent,
    channels: Extent,
    image: list[Extent],
    kernel: tuple[Extent, Extent],
    s: tuple[int, int],
    p: tuple[int, int],
    d: tuple[int, int],
) -> Node:
    """Labels: n, (group,) o, h, w; then c, kh, kw, which are summed over. A group is shared by image and kernel."""
    groups = len(lead) - 1
    extents = (*lead, outs, *image, channels, *kernel)
    o = len(lead)
    h, c, k = o + 1, o + 3, o + 4
    windows: list[AxisMap] = [(((h + a, s[a]), (k + a, d[a])), -p[a], 1) for a in range(2)]
    x_map = (*(plain(label) for label in range(len(lead))), plain(c), *windows)
    w_map = (*(plain(1 + g) for g in range(groups)), plain(o), plain(c), plain(k), plain(k + 1))
    return contract(x, weight, extents, o + 3, x_map, w_map)


def _windows(x: Array, kernel: tuple[int, int], stride: tuple[int, int], image: list[Extent]) -> list[Array]:
    """For every place in the window, the elements that lie there, over all positions."""
    found = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            starts: list[Extent] = [0, 0, i, j]
            stops = [*x.shape[:2], *(
                sizes.add(sizes.mul(sizes.add(m, -1), st), o + 1)
                for m, st, o in zip(image, stride, (i, j), strict=True)
            )]
            found.append(wrap(b.slice(x.node, starts, stops, (1, 1, *stride)), (x,)))
    return found


def _pool(
    name: str,
    x: Array,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    fill: float,
    reduce: Callable[..., Array],
    fold: Callable[[list[Array]], Array],
) -> Array:
    """`reduce` over axes where windows do not overlap, else `fold` of the elements at every place in the window."""
    if x.ndim != 4:
        raise complain(ShapeError, f"{name}: x must be [N, C, H, W], got {type_text(x.shape, x.dtype)}", x)
    kernel = _pair(name, "kernel_size", kernel_size, 1)
    s = kernel if stride is None else _pair(name, "stride", stride, 1)
    p = _pair(name, "padding", padding, 0)
    if any(2 * q > k for q, k in zip(p, kernel, strict=True)):
        raise complain(ShapeError, f"{name}: padding {padding} is more than half of the window {kernel}", x)
    image = [_positions(name, e, k, st, q, 1, x) for e, k, st, q in zip(x.shape[2:], kernel, s, p, strict=True)]
    if any(p):
        x = pad(x, ((0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])), constant_values=fill)
    if s != kernel:
        return fold(_windows(x, kernel, s, image))
    # Windows that do not overlap are axes of their own: no element is copied.
    used = tuple(sizes.mul(m, k) for m, k in zip(image, kernel, strict=True))
    node = b.slice(x.node, (0, 0, 0, 0), (*x.shape[:2], *used), (1,) * 4) if used != x.shape[2:] else x.node
    split = wrap(reshaped(node, (*x.shape[:2], image[0], kernel[0], image[1], kernel[1])), (x,))
    return reduce(split, (3, 5))


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Array:
    """The maximum over windows of x[N, C, H, W]; the stride is the window's size unless given.

    The first maximum of a window, row by row, takes its cotangent.
    """
    x = as_array(x)
    least = -float("inf") if dtypes.is_float(x.dtype) else np.iinfo(x.dtype).min if x.dtype.kind in "iu" else False

    def fold(places: list[Array]) -> Array:
        return rd.max(concat([expand_dims(a, -1) for a in places], -1), -1)

    return _pool("max_pool2d", x, kernel_size, stride, padding, least, rd.max, fold)


def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Array:
    """The mean over windows of x[N, C, H, W], padding included; the stride is the window's size unless given."""
    x = as_array(x)
    if not dtypes.is_float(x.dtype):
        x = ar.astype(x, "float32")

    def fold(places: list[Array]) -> Array:
        total = places[0]
        for a in places[1:]:
            total = ar.add(total, a)
        return ar.divide(total, len(places))

    return _pool("avg_pool2d", x, kernel_size, stride, padding, 0, rd.mean, fold)
