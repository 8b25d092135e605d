"""Layers: objects that own named variables and are called as `layer(x, training=False)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from ..graph import sites
from . import functional as fn
from . import windows
from .array import Array
from .create import variable
from .normalisation import layer_norm

_default = [np.random.default_rng(0)]


def seed(number: int) -> None:
    """Restarts the generator that layers made without a `seed` of their own draw initial values from."""
    _default[0] = np.random.default_rng(number)


def _generator(given: int | np.random.Generator | None) -> np.random.Generator:
    if given is None:
        return _default[0]
    return given if isinstance(given, np.random.Generator) else np.random.default_rng(given)


def _members(prefix: str, value: Any) -> Iterator[tuple[str, Array]]:
    """Variables within an attribute: an array, a module, or a list, tuple or dict of such."""
    if isinstance(value, Array):
        if value.node.op.name == "variable":
            yield prefix, value
    elif isinstance(value, Module):
        for name, v in value.named_variables().items():
            yield f"{prefix}.{name}", v
    elif isinstance(value, (list, tuple)):
        for k, part in enumerate(value):
            yield from _members(f"{prefix}.{k}", part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _members(f"{prefix}.{key}", part)


def _label(path: str, value: Any) -> None:
    """Tells modules within an attribute what their scope is called."""
    if isinstance(value, Module):
        object.__setattr__(value, "_label", path)
    elif isinstance(value, (list, tuple, dict)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            _label(f"{path}.{key}", part)


class Module:
    """Base of layers and models. Subclasses define `forward(self, x, …)` or `forward(self, x, …, training)`.

    Variables are found in attributes, in the order in which these were set, and take their path as their name:
    `model.layers = [Linear(…), Linear(…)]` gives `layers.0.weight` and so on. Names must be unique within a program:
    of two models side by side, call one `model.named("critic")`, or make both attributes of a third.
    """

    # Layers that may stand alone get a number, so that two of them do not take the same names.
    numbered = False
    _label: str

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if self.numbered and "_label" not in vars(self):
            object.__setattr__(self, "_label", _own_name(self))
        for path, v in _members(name, value):
            v.name = f"{self._label}.{path}" if self.numbered else path
        _label(name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        label = getattr(self, "_label", type(self).__name__.lower())
        # `training` reaches those that ask for it.
        if "training" in kwargs and not _takes_training(self.forward):
            kwargs.pop("training")
        with sites.scope(label):
            return self.forward(*args, **kwargs)

    def named(self, prefix: str) -> Self:
        """Puts `prefix` before the names of all variables; returns the module."""
        for path, v in self.named_variables().items():
            v.name = f"{prefix}.{path}"
        _label(prefix, self)
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def named_variables(self) -> dict[str, Array]:
        """Every variable by its path, each once."""
        found: dict[str, Array] = {}
        seen: set[int] = set()
        for name, value in vars(self).items():
            for path, v in _members(name, value):
                if id(v.node) not in seen:
                    seen.add(id(v.node))
                    found[path] = v
        return found

    def named_parameters(self) -> dict[str, Array]:
        """The variables that require gradients, by path."""
        return {name: v for name, v in self.named_variables().items() if v.requires_grad}

    def parameters(self) -> list[Array]:
        """The variables that require gradients."""
        return list(self.named_parameters().values())


def _takes_training(forward: Callable[..., Any]) -> bool:
    import inspect

    parameters = inspect.signature(forward).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def _uniform(rng: np.random.Generator, fan_in: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    bound = 1 / np.sqrt(max(fan_in, 1))
    return rng.uniform(-bound, bound, shape).astype(dtype)


_numbers: dict[str, int] = {}


def _own_name(layer: Module) -> str:
    """What a layer is called until it becomes part of another: `linear0`, `linear1`, …"""
    kind = type(layer).__name__.lower()
    number = _numbers[kind] = _numbers.get(kind, -1) + 1
    return f"{kind}{number}"


class Linear(Module):
    """x[..., in] to [..., out]: `weight` [out, in] and `bias` [out], uniform within ±1/√in."""

    numbered = True

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, seed: Any = None, dtype: Any = "float32"
    ) -> None:
        rng = _generator(seed)
        self.weight = variable(_uniform(rng, in_features, (out_features, in_features), dtype), name="weight")
        self.bias = variable(_uniform(rng, in_features, (out_features,), dtype), name="bias") if bias else None

    def forward(self, x: Any) -> Array:
        return fn.linear(x, self.weight, self.bias)


class Conv2d(Module):
    """[N, in, H, W] to [N, out, H', W']: `weight` [out, in / groups, KH, KW] and `bias` [out]; see `conv2d`."""

    numbered = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        seed: Any = None,
        dtype: Any = "float32",
    ) -> None:
        rng = _generator(seed)
        kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        fan_in = in_channels // groups * kernel[0] * kernel[1]
        shape = (out_channels, in_channels // groups, *kernel)
        self.weight = variable(_uniform(rng, fan_in, shape, dtype), name="weight")
        self.bias = variable(_uniform(rng, fan_in, (out_channels,), dtype), name="bias") if bias else None
        self.geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def forward(self, x: Any) -> Array:
        return windows.conv2d(x, self.weight, self.bias, **self.geometry)


class LayerNorm(Module):
    """Normalises over the trailing axes of extent `shape`: `scale` of ones and `bias` of zeros."""

    numbered = True

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5, *, dtype: Any = "float32") -> None:
        extents = shape if isinstance(shape, tuple) else (shape,)
        self.scale = variable(np.ones(extents, dtype), name="scale")
        self.bias = variable(np.zeros(extents, dtype), name="bias")
        self.eps = eps

    def forward(self, x: Any) -> Array:
        return layer_norm(x, self.scale, self.bias, self.eps)


class Embedding(Module):
    """Integer indices of any rank to rows of `weight` [n, width], drawn from a standard normal distribution."""

    numbered = True

    def __init__(self, n: int, width: int, *, seed: Any = None, dtype: Any = "float32") -> None:
        self.weight = variable(_generator(seed).standard_normal((n, width)).astype(dtype), name="weight")

    def forward(self, indices: Any) -> Array:
        return fn.embedding(indices, self.weight)


class Sequential(Module):
    """Layers one after the other; plain functions such as `ad.relu` may stand between them."""

    def __init__(self, *layers: Callable[..., Any]) -> None:
        self.layers = list(layers)
        for k, layer in enumerate(layers):
            _label(str(k), layer)
        for path, v in self.named_variables().items():
            v.name = path

    def named_variables(self) -> dict[str, Array]:
        """Every variable by its path, each once; layers are numbered."""
        return {path.removeprefix("layers."): v for path, v in super().named_variables().items()}

    def __getitem__(self, k: int) -> Callable[..., Any]:
        return self.layers[k]

    def __len__(self) -> int:
        return len(self.layers)

    def forward(self, x: Any, training: bool = False) -> Any:
        for layer in self.layers:
            x = layer(x, training=training) if isinstance(layer, Module) else layer(x)
        return x
