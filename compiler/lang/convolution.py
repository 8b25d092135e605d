"""Convolutions and transposed convolutions of 1, 2 and 3 axes: each is one contraction, and so are its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..graph import dtypes, sizes
from ..graph.contraction import AxisMap, contract, plain
from ..graph.node import type_text
from ..graph.sizes import Extent
from . import arithmetic as ar
from .array import Array
from .explain import complain
from .lift import as_array, cast_node, common_dtype, reshaped, wrap
from .shaping import reshape
from .windows import images, per_axis, reach, window_axis


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """Cross-correlation: x[N, C, W] with weight[O, C / groups, KW] (+ bias[O]) gives [N, O, W']; see `conv2d`."""
    return _convolution("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """Cross-correlation: x[N, C, H, W] with weight[O, C / groups, KH, KW] (+ bias[O]) gives [N, O, H', W'].

    H' = (H + 2·padding - dilation·(KH - 1) - 1) // stride + 1. `stride`, `padding` and `dilation` are a number or one
    for each axis; padding is also "valid" (none) or "same" (H' = H, for stride 1; of an odd number the greater half
    comes last). Integers are taken as float32. Raises ShapeError where channels, groups or extents do not fit.
    """
    return _convolution("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """Cross-correlation: x[N, C, D, H, W] with weight[O, C / groups, KD, KH, KW] (+ bias[O]); see `conv2d`."""
    return _convolution("conv3d", 3, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """The transpose of `conv1d`: x[N, C, W] with weight[C, O / groups, KW] gives [N, O, W']; see `conv_transpose2d`."""
    return _transposed("conv_transpose1d", 1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """The transpose of `conv2d`: x[N, C, H, W] with weight[C, O / groups, KH, KW] (+ bias[O]) gives [N, O, H', W'].

    H' = (H - 1)·stride - 2·padding + dilation·(KH - 1) + output_padding + 1: of the images that `conv2d` takes to H,
    `output_padding`, which is less than the stride or the dilation, chooses one. Raises ShapeError where channels,
    groups or extents do not fit.
    """
    return _transposed("conv_transpose2d", 2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """The transpose of `conv3d`: x[N, C, D, H, W] with weight[C, O / groups, KD, KH, KW]; see `conv_transpose2d`."""
    return _transposed("conv_transpose3d", 3, x, weight, bias, stride, padding, output_padding, groups, dilation)


def _convolution(
    name: str, rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Array:
    x, weight = as_array(x), as_array(weight)
    kernel = _kernel(name, rank, x, weight, groups, "O, C / groups")
    s, d = per_axis(name, "stride", stride, rank, 1), per_axis(name, "dilation", dilation, rank, 1)
    around = _padding(name, rank, padding, kernel, s, d, x, weight)
    axes = [
        window_axis(name, n, k, s[a], *around[a], d[a], False, x, weight)
        for a, (n, k) in enumerate(zip(x.shape[2:], kernel, strict=True))
    ]
    out, channels = weight.shape[:2]
    if x.shape[1] != sizes.mul(channels, groups) or sizes.mul(sizes.floordiv(out, groups), groups) != out:
        text = f"{name}: channels do not fit {groups} groups: {_texts(x, weight)}"
        raise complain(ShapeError, text, x, weight)
    first, inner = 2 + (groups > 1), 3 + (groups > 1) + rank
    maps = [axis.map(first + a, inner + a) for a, axis in enumerate(axes)]
    return _contracted(name, x, weight, bias, groups, out, [axis.positions for axis in axes], maps, False)


def _transposed(
    name: str, rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
    dilation: Any,
) -> Array:
    x, weight = as_array(x), as_array(weight)
    kernel = _kernel(name, rank, x, weight, groups, "C, O / groups")
    s, d = per_axis(name, "stride", stride, rank, 1), per_axis(name, "dilation", dilation, rank, 1)
    p, extra = per_axis(name, "padding", padding, rank, 0), per_axis(name, "output_padding", output_padding, rank, 0)
    if x.shape[1] != weight.shape[0] or sizes.mul(sizes.floordiv(weight.shape[0], groups), groups) != x.shape[1]:
        text = f"{name}: channels do not fit {groups} groups: {_texts(x, weight)}"
        raise complain(ShapeError, text, x, weight)
    first, inner = 2 + (groups > 1), 3 + (groups > 1) + rank
    image: list[Extent] = []
    maps: list[AxisMap] = []
    for a, (n, k) in enumerate(zip(x.shape[2:], kernel, strict=True)):
        if extra[a] >= max(s[a], d[a]):
            text = f"output_padding {extra[a]} must be less than the stride {s[a]} or the dilation {d[a]}"
            raise complain(ShapeError, f"{name}: {text}", x, weight)
        more = reach(k, d[a]) - s[a] - 2 * p[a] + extra[a]
        if sizes.lower_bound(n) * s[a] + more < 1:
            text = f"nothing is left of an axis of {n} by a window of {reach(k, d[a])} without the padding {p[a]}"
            raise complain(ShapeError, f"{name}: {text}", x, weight)
        image.append(sizes.add(sizes.mul(n, s[a]), more))
        # What x[i] gives to place k of the kernel lands at stride · i - padding + dilation · k.
        maps.append((((first + a, 1), (inner + a, -d[a])), p[a], s[a]))
    out = sizes.mul(weight.shape[1], groups)
    return _contracted(name, x, weight, bias, groups, out, image, maps, True)


def _texts(x: Array, weight: Array) -> str:
    return f"{type_text(x.shape, x.dtype)} by {type_text(weight.shape, weight.dtype)}"


def _kernel(name: str, rank: int, x: Array, weight: Array, groups: int, layout: str) -> list[int]:
    """The extents of the kernel."""
    images(name, rank, x)
    if weight.ndim != rank + 2:
        wanted = f"[{layout}, " + ", ".join(f"K{axis}" for axis in "DHW"[3 - rank :]) + "]"
        raise complain(ShapeError, f"{name}: weight must be {wanted}: {_texts(x, weight)}", x, weight)
    kernel = [n for n in weight.shape[2:] if isinstance(n, int) and n > 0]
    if len(kernel) != rank or not all(isinstance(n, int) for n in (x.shape[1], *weight.shape[:2])):
        text = f"{name}: channels and kernel must have fixed extents, the kernel's positive: {_texts(x, weight)}"
        raise complain(ShapeError, text, x, weight)
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise complain(ShapeError, f"{name}: groups must be a positive int, got {groups!r}", x, weight)
    return kernel


def _padding(
    name: str, rank: int, padding: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], *of: Any
) -> list[tuple[int, int]]:
    """Elements before and behind each axis."""
    if not isinstance(padding, str):
        return [(p, p) for p in per_axis(name, "padding", padding, rank, 0)]
    if padding not in ("same", "valid"):
        raise complain(ShapeError, f'{name}: padding is a number, a tuple, "same" or "valid", got {padding!r}', *of)
    if padding == "valid":
        return [(0, 0)] * rank
    if any(s != 1 for s in stride):
        raise complain(ShapeError, f'{name}: padding "same" needs stride 1, got {tuple(stride)}', *of)
    whole = [reach(k, d) - 1 for k, d in zip(kernel, dilation, strict=True)]
    return [(n // 2, n - n // 2) for n in whole]


def _contracted(
    name: str,
    x: Array,
    weight: Array,
    bias: Any,
    groups: int,
    out: Extent,
    image: Sequence[Extent],
    maps: Sequence[AxisMap],
    transposed: bool,
) -> Array:
    """Labels: n, (group,) o, positions; then c and places in the kernel, which are summed over."""
    dtype = common_dtype((x, weight))
    dtype = dtype if dtypes.is_float(dtype) else dtypes.FLOAT32
    a, w = cast_node(x, dtype), cast_node(weight, dtype)
    n, channels = x.shape[:2]
    kernel = weight.shape[2:]
    channels, share = sizes.floordiv(channels, groups), sizes.floordiv(out, groups)
    several = groups > 1
    if several:
        a = reshaped(a, (n, groups, channels, *x.shape[2:]))
        w = reshaped(w, (groups, *((channels, share) if transposed else (share, channels)), *kernel))
    lead = [plain(1)] if several else []
    o = 1 + several
    c = o + 1 + len(kernel)
    pair = (plain(c), plain(o)) if transposed else (plain(o), plain(c))
    node = contract(
        a,
        w,
        (n, *((groups,) if several else ()), share, *image, channels, *kernel),
        c,
        (plain(0), *lead, plain(c), *maps),
        (*lead, *pair, *(plain(c + 1 + k) for k in range(len(kernel)))),
    )
    y = wrap(reshaped(node, (n, out, *image)), (x, weight))
    if bias is None:
        return y
    bias = as_array(bias)
    if bias.shape != (out,):
        raise complain(ShapeError, f"{name}: bias must have shape ({out},)", x, weight, bias)
    return ar.add(y, reshape(bias, (out, *(1 for _ in kernel))))
