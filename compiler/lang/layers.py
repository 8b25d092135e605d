"""Layers of linear maps, lookups and dropout. See `Module` for how layers are named and called."""

from __future__ import annotations

from typing import Any

from . import checks, init
from . import functional as fn
from . import random as rand
from .array import Array
from .create import variable
from .lift import as_array
from .module import Module
from .state import carry


class Linear(Module):
    """x[..., in] to [..., out]: `weight` [out, in] and `bias` [out], uniform within ±1/√in."""

    numbered = True

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, seed: Any = None, dtype: Any = "float32"
    ) -> None:
        rng = init.generator(seed)
        shape = (checks.whole("out_features", out_features, least=0), checks.whole("in_features", in_features, least=0))
        self.weight = variable(init.fan_uniform(shape, in_features, seed=rng, dtype=dtype), name="weight")
        self.bias = (
            variable(init.fan_uniform(shape[:1], in_features, seed=rng, dtype=dtype), name="bias") if bias else None
        )

    def forward(self, x: Any) -> Array:
        return fn.linear(x, self.weight, self.bias)


class Embedding(Module):
    """Integer indices of any rank to rows of `weight` [n, width], drawn from a standard normal distribution."""

    numbered = True

    def __init__(self, n: int, width: int, *, seed: Any = None, dtype: Any = "float32") -> None:
        shape = (checks.whole("n", n, least=0), checks.whole("width", width, least=0))
        self.weight = variable(init.normal(shape, seed=seed, dtype=dtype), name="weight")

    def forward(self, indices: Any) -> Array:
        return fn.embedding(indices, self.weight)


def own_key(seed: Any) -> Array:
    """A variable that holds a key of random numbers, for layers that draw."""
    return variable(init.generator(seed).integers(2**63, dtype="int64"), name="key")


def advance(y: Array, key: Array) -> Array:
    """y, whose computation takes the key variable on to what the next call draws from."""
    return carry(y, {key: rand.fold_in(key, 0)})


class Dropout(Module):
    """In training each element is 0 with probability `p`, else divided by 1 - p; otherwise x as it is.

    The `key` is a variable that every call of a compiled function advances. Every use of the layer draws for itself.
    """

    numbered = True

    def __init__(self, p: float = 0.5, *, seed: Any = None) -> None:
        fn.checked_probability("Dropout", p)
        self.p = p
        self.key = own_key(seed)

    def forward(self, x: Any, training: bool = False) -> Array:
        x = as_array(x)
        return advance(fn.dropout(x, self.p, self.key), self.key) if training and self.p else x
