"""Activations as modules, for those who want to see them in a printed model; functions do in a `Sequential` too."""

from __future__ import annotations

from typing import Any

from . import activations as act
from . import arithmetic as ar
from .array import Array
from .module import Module


class ReLU(Module):
    """`ad.relu`."""

    def forward(self, x: Any) -> Array:
        return ar.relu(x)


class Sigmoid(Module):
    """`ad.sigmoid`."""

    def forward(self, x: Any) -> Array:
        return ar.sigmoid(x)


class Tanh(Module):
    """`ad.tanh`."""

    def forward(self, x: Any) -> Array:
        return ar.tanh(x)


class SiLU(Module):
    """`ad.silu`."""

    def forward(self, x: Any) -> Array:
        return act.silu(x)


class Softplus(Module):
    """`ad.softplus`."""

    def forward(self, x: Any) -> Array:
        return act.softplus(x)


class GELU(Module):
    """`ad.gelu` in the form that `approximate` names."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Array:
        return act.gelu(x, self.approximate)


class LeakyReLU(Module):
    """`ad.leaky_relu` with a slope below 0."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Array:
        return act.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """`ad.elu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Array:
        return act.elu(x, self.alpha)


class Softmax(Module):
    """`ad.softmax` along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Array:
        return act.softmax(x, self.axis)


class LogSoftmax(Module):
    """`ad.log_softmax` along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Array:
        return act.log_softmax(x, self.axis)
