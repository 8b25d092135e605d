"""Layers that normalise: parameters and running statistics for `normalisation`."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph.node import type_text
from . import checks, init
from . import normalisation as nm
from .array import Array
from .create import variable
from .explain import complain
from .lift import as_array
from .module import Module


def _extents(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(checks.whole("shape", n, least=0) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))


class LayerNorm(Module):
    """Normalises over the trailing axes of extent `shape`: `scale` of ones and `bias` of zeros."""

    numbered = True

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5, *, dtype: Any = "float32") -> None:
        self.scale = variable(init.ones(_extents(shape), dtype=dtype), name="scale")
        self.bias = variable(init.zeros(_extents(shape), dtype=dtype), name="bias")
        self.eps = eps

    def forward(self, x: Any) -> Array:
        return nm.layer_norm(x, self.scale, self.bias, self.eps)


class RMSNorm(Module):
    """Divides by the root of the mean square over the trailing axes of extent `shape`: `scale` of ones."""

    numbered = True

    def __init__(self, shape: int | tuple[int, ...], eps: float | None = None, *, dtype: Any = "float32") -> None:
        self.scale = variable(init.ones(_extents(shape), dtype=dtype), name="scale")
        self.eps = eps

    def forward(self, x: Any) -> Array:
        return nm.rms_norm(x, self.scale, self.eps)


class GroupNorm(Module):
    """Normalises x[N, channels, …] by groups of channels: `scale` of ones and `bias` of zeros [channels]."""

    numbered = True

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, dtype: Any = "float32"
    ) -> None:
        checks.whole("num_channels", num_channels, least=0)
        if checks.whole("num_groups", num_groups) < 1 or num_channels % num_groups:
            text = f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups"
            raise complain(ShapeError, text)
        self.scale = variable(init.ones((num_channels,), dtype=dtype), name="scale") if affine else None
        self.bias = variable(init.zeros((num_channels,), dtype=dtype), name="bias") if affine else None
        self.num_groups, self.eps = num_groups, eps

    def forward(self, x: Any) -> Array:
        return nm.group_norm(x, self.num_groups, self.scale, self.bias, self.eps)


class BatchNorm(Module):
    """Normalises x[N, channels, …] per channel: by the batch in training, else by `running_mean` and `running_var`.

    Functions that compute a result in training also move the running statistics towards those of the batch, by
    `momentum`, unless they are compiled with `state_updates=False`. `scale` of ones and `bias` of zeros [channels].
    """

    numbered = True
    ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        dtype: Any = "float32",
    ) -> None:
        shape = (checks.whole("num_features", num_features, least=0),)
        checks.number("momentum", momentum, least=0, most=1)
        checks.number("eps", eps, least=0)
        self.scale = variable(init.ones(shape, dtype=dtype), name="scale") if affine else None
        self.bias = variable(init.zeros(shape, dtype=dtype), name="bias") if affine else None
        self.running_mean = variable(init.zeros(shape, dtype=dtype), name="running_mean", requires_grad=False)
        self.running_var = variable(init.ones(shape, dtype=dtype), name="running_var", requires_grad=False)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Any, training: bool = False) -> Array:
        x = as_array(x)
        if self.ranks and x.ndim not in self.ranks:
            wanted = " or ".join(map(str, self.ranks))
            text = f"{type(self).__name__}: x must have {wanted} axes: {type_text(x.shape, x.dtype)}"
            raise complain(ShapeError, text, x)
        return nm.batch_norm(
            x, self.running_mean, self.running_var, self.scale, self.bias, training, self.momentum, self.eps
        )


class BatchNorm1d(BatchNorm):
    """`BatchNorm` of [N, channels] or [N, channels, length]."""

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """`BatchNorm` of [N, channels, height, width]."""

    ranks = (4,)
