"""Layers of convolutions and pooling, called as `layer(x)` on x[N, C, …]."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

from ..errors import ShapeError
from ..graph import sizes
from ..graph.node import type_text
from . import checks, convolution, init, pooling
from .array import Array
from .create import variable
from .explain import complain
from .lift import as_array, reshaped, wrap
from .module import Module
from .windows import per_axis


class _Weighted(Module):
    """A kernel and perhaps a bias, uniform within ±1/√(elements of weight[0]), and the function that applies them."""

    numbered = True
    rank: ClassVar[int]
    function: ClassVar[Callable[..., Array]]
    geometry: dict[str, Any]

    def forward(self, x: Any) -> Array:
        return type(self).function(x, self.weight, self.bias, **self.geometry)

    def _fill(self, shape: tuple[int, ...], outs: int, bias: bool, seed: Any, dtype: Any) -> None:
        rng, fan = init.generator(seed), prod(shape[1:])
        self.weight = variable(init.fan_uniform(shape, fan, seed=rng, dtype=dtype), name="weight")
        self.bias = variable(init.fan_uniform((outs,), fan, seed=rng, dtype=dtype), name="bias") if bias else None

    def _shares(self, in_channels: int, out_channels: int, groups: int) -> tuple[int, int]:
        """Channels of a group; raises ShapeError where they do not divide."""
        checks.whole("in_channels", in_channels, least=0)
        checks.whole("out_channels", out_channels, least=0)
        checks.whole("groups", groups, least=1)
        if in_channels % groups or out_channels % groups:
            text = f"{in_channels} and {out_channels} channels do not fit {groups} groups"
            raise complain(ShapeError, f"{type(self).__name__}: {text}")
        return in_channels // groups, out_channels // groups


class _Conv(_Weighted):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        seed: Any = None,
        dtype: Any = "float32",
    ) -> None:
        share, _ = self._shares(in_channels, out_channels, groups)
        kernel = per_axis(type(self).__name__, "kernel_size", kernel_size, self.rank, 1)
        self._fill((out_channels, share, *kernel), out_channels, bias, seed, dtype)
        self.geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


class _ConvTranspose(_Weighted):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        *,
        seed: Any = None,
        dtype: Any = "float32",
    ) -> None:
        _, share = self._shares(in_channels, out_channels, groups)
        kernel = per_axis(type(self).__name__, "kernel_size", kernel_size, self.rank, 1)
        self._fill((in_channels, share, *kernel), out_channels, bias, seed, dtype)
        self.geometry = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
        }


class Conv1d(_Conv):
    """[N, in, W] to [N, out, W']: `weight` [out, in / groups, KW] and `bias` [out]; see `conv1d`."""

    rank, function = 1, convolution.conv1d


class Conv2d(_Conv):
    """[N, in, H, W] to [N, out, H', W']: `weight` [out, in / groups, KH, KW] and `bias` [out]; see `conv2d`."""

    rank, function = 2, convolution.conv2d


class Conv3d(_Conv):
    """[N, in, D, H, W] to [N, out, D', H', W']: `weight` [out, in / groups, KD, KH, KW] and `bias` [out]."""

    rank, function = 3, convolution.conv3d


class ConvTranspose1d(_ConvTranspose):
    """[N, in, W] to [N, out, W']: `weight` [in, out / groups, KW] and `bias` [out]; see `conv_transpose1d`."""

    rank, function = 1, convolution.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """[N, in, H, W] to [N, out, H', W']: `weight` [in, out / groups, KH, KW], `bias` [out]; see `conv_transpose2d`."""

    rank, function = 2, convolution.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """[N, in, D, H, W] to [N, out, D', H', W']: `weight` [in, out / groups, KD, KH, KW] and `bias` [out]."""

    rank, function = 3, convolution.conv_transpose3d


class _Pool(Module):
    function: ClassVar[Callable[..., Array]]
    geometry: dict[str, Any]

    def forward(self, x: Any) -> Array:
        return type(self).function(x, **self.geometry)


class _MaxPool(_Pool):
    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> None:
        self.geometry = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "ceil_mode": ceil_mode,
        }


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.geometry = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
        }


class MaxPool1d(_MaxPool):
    """The maximum over windows of x[N, C, W]; see `max_pool1d`."""

    function = pooling.max_pool1d


class MaxPool2d(_MaxPool):
    """The maximum over windows of x[N, C, H, W]; see `max_pool2d`."""

    function = pooling.max_pool2d


class MaxPool3d(_MaxPool):
    """The maximum over windows of x[N, C, D, H, W]; see `max_pool3d`."""

    function = pooling.max_pool3d


class AvgPool1d(_AvgPool):
    """The mean over windows of x[N, C, W]; see `avg_pool1d`."""

    function = pooling.avg_pool1d


class AvgPool2d(_AvgPool):
    """The mean over windows of x[N, C, H, W]; see `avg_pool2d`."""

    function = pooling.avg_pool2d


class AvgPool3d(_AvgPool):
    """The mean over windows of x[N, C, D, H, W]; see `avg_pool3d`."""

    function = pooling.avg_pool3d


class Flatten(Module):
    """Axes `start_axis` to `end_axis`, both included, as one: [N, C, H, W] to [N, C·H·W] unless said otherwise."""

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis, self.end_axis = checks.whole("start_axis", start_axis), checks.whole("end_axis", end_axis)

    def forward(self, x: Any) -> Array:
        x = as_array(x)
        first, last = (a + x.ndim if a < 0 else a for a in (self.start_axis, self.end_axis))
        if not 0 <= first <= last < x.ndim:
            text = f"Flatten: axes {self.start_axis} to {self.end_axis} do not name axes of"
            raise complain(ShapeError, f"{text} {type_text(x.shape, x.dtype)}", x)
        merged = sizes.product(x.shape[first : last + 1])
        return wrap(reshaped(x.node, (*x.shape[:first], merged, *x.shape[last + 1 :])), (x,))
