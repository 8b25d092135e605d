"""`ad.nn.init`: initial values as NumPy arrays, for `ad.variable` and for `layer.weight.value = …`.

Shapes are [out, in, …] as layers have them: fan_in is in times the extents behind, fan_out is out times these. All take
`seed` (an int, a NumPy generator, or None for the generator that `ad.nn.seed` restarts) and `dtype`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import GraphError, ShapeError
from ..graph import dtypes, sizes
from . import checks
from .explain import complain, refuse

Values = np.ndarray[Any, Any]
Seed = int | np.random.Generator | None

_default = [np.random.default_rng(0)]


def seed(number: int) -> None:
    """Restarts the generator that layers made without a `seed` of their own draw initial values from."""
    _default[0] = np.random.default_rng(checks.whole("number", number, least=0))


def generator(given: Seed) -> np.random.Generator:
    """The generator that a `seed` argument stands for."""
    if given is None:
        return _default[0]
    if isinstance(given, np.random.Generator):
        return given
    if not checks.is_whole(given) or given < 0:
        raise refuse(GraphError, f"seed must be None, an int of at least 0 or a NumPy generator, got {given!r}")
    return np.random.default_rng(given)


def _shape(shape: Any) -> tuple[int, ...]:
    """A shape of ints. Raises ShapeError."""
    found = sizes.as_shape(shape)
    if not all(isinstance(n, int) for n in found):
        raise refuse(ShapeError, f"initial values have a shape of ints, got {shape!r}")
    return tuple(map(int, found))


def _floating(name: str, dtype: Any) -> np.dtype[Any]:
    found = dtypes.as_dtype(dtype)
    if not dtypes.is_float(found):
        raise complain(GraphError, f"{name}: initial values are floats, not {found}")
    return found


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of weights [out, in, …]. Raises ShapeError for fewer than two axes."""
    shape = _shape(shape)
    if len(shape) < 2:
        raise refuse(ShapeError, f"fans are those of weights [out, in, …], got {list(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def gain(nonlinearity: str, slope: float = 0.01) -> float:
    """The factor that keeps the scale of values before a nonlinearity; `slope` is that of "leaky_relu"."""
    checks.number("slope", slope)
    known = {
        "linear": 1.0, "conv": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75,
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
    }  # fmt: skip
    if nonlinearity not in known:
        raise complain(GraphError, f"gain: nonlinearity is one of {', '.join(known)}, got {nonlinearity!r}")
    return known[nonlinearity]


def zeros(shape: tuple[int, ...], *, dtype: Any = "float32") -> Values:
    return np.zeros(_shape(shape), dtypes.as_dtype(dtype))


def ones(shape: tuple[int, ...], *, dtype: Any = "float32") -> Values:
    return np.ones(_shape(shape), dtypes.as_dtype(dtype))


def constant(shape: tuple[int, ...], value: float, *, dtype: Any = "float32") -> Values:
    return np.full(_shape(shape), checks.number("value", value), dtypes.as_dtype(dtype))


def uniform(
    shape: tuple[int, ...], low: float = 0.0, high: float = 1.0, *, seed: Seed = None, dtype: Any = "float32"
) -> Values:
    """Uniform in [low, high)."""
    low, high = checks.number("low", low), checks.number("high", high, least=low)
    return generator(seed).uniform(low, high, _shape(shape)).astype(_floating("uniform", dtype))


def normal(
    shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0, *, seed: Seed = None, dtype: Any = "float32"
) -> Values:
    """Normal with a mean and a standard deviation."""
    mean, std = checks.number("mean", mean), checks.number("std", std, least=0)
    return (mean + std * generator(seed).standard_normal(_shape(shape))).astype(_floating("normal", dtype))


def truncated_normal(
    shape: tuple[int, ...],
    mean: float = 0.0,
    std: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    *,
    seed: Seed = None,
    dtype: Any = "float32",
) -> Values:
    """Normal under the condition of lying within [low, high].

    Uniform proposals, accepted by the ratio of densities: Robert, "Simulation of truncated normal variables", 1995.
    """
    target, shape = _floating("truncated_normal", dtype), _shape(shape)
    for role, value in (("mean", mean), ("std", std), ("low", low), ("high", high)):
        checks.number(role, value)
    if not (std > 0 and math.isfinite(low) and math.isfinite(high) and low < high):
        text = f"truncated_normal: std must be positive and low < high finite, got {std}, {low}, {high}"
        raise complain(GraphError, text)
    rng, left, right = generator(seed), (low - mean) / std, (high - mean) / std
    nearest = min(max(left, 0.0), right)
    found: list[Values] = []
    missing = math.prod(shape)
    while missing:
        x = rng.uniform(left, right, 2 * missing + 16)
        kept = x[rng.random(len(x)) < np.exp((nearest**2 - x**2) / 2)][:missing]
        found.append(kept)
        missing -= len(kept)
    values = np.concatenate([np.empty(0), *found]).reshape(shape)
    return np.clip(mean + std * values, low, high).astype(target)


def xavier_uniform(shape: tuple[int, ...], gain: float = 1.0, *, seed: Seed = None, dtype: Any = "float32") -> Values:
    """Uniform within ±gain · √(6 / (fan_in + fan_out)).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    bound = checks.number("gain", gain) * math.sqrt(6 / max(sum(fans(shape)), 1))
    return uniform(shape, -bound, bound, seed=seed, dtype=dtype)


def xavier_normal(shape: tuple[int, ...], gain: float = 1.0, *, seed: Seed = None, dtype: Any = "float32") -> Values:
    """Normal with standard deviation gain · √(2 / (fan_in + fan_out)); see `xavier_uniform`."""
    std = checks.number("gain", gain, least=0) * math.sqrt(2 / max(sum(fans(shape)), 1))
    return normal(shape, 0.0, std, seed=seed, dtype=dtype)


def _kaiming(shape: tuple[int, ...], a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise refuse(GraphError, f'mode is "fan_in" or "fan_out", got {mode!r}')
    return gain(nonlinearity, a) / math.sqrt(max(fans(shape)[mode == "fan_out"], 1))


def kaiming_uniform(
    shape: tuple[int, ...],
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    seed: Seed = None,
    dtype: Any = "float32",
) -> Values:
    """Uniform within ±gain · √(3 / fan) for the fan of `mode`; `a` is the slope of "leaky_relu".

    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.
    """
    bound = math.sqrt(3) * _kaiming(shape, a, mode, nonlinearity)
    return uniform(shape, -bound, bound, seed=seed, dtype=dtype)


def kaiming_normal(
    shape: tuple[int, ...],
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    seed: Seed = None,
    dtype: Any = "float32",
) -> Values:
    """Normal with standard deviation gain / √fan; see `kaiming_uniform`."""
    return normal(shape, 0.0, _kaiming(shape, a, mode, nonlinearity), seed=seed, dtype=dtype)


def orthogonal(shape: tuple[int, ...], gain: float = 1.0, *, seed: Seed = None, dtype: Any = "float32") -> Values:
    """gain times a matrix [out, rest] with orthonormal rows, or columns where these are fewer.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear networks", 2014.
    """
    target, shape = _floating("orthogonal", dtype), _shape(shape)
    checks.number("gain", gain)
    if len(shape) < 2:
        raise complain(ShapeError, f"orthogonal: at least two axes are needed, got {list(shape)}")
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator(seed).standard_normal((max(rows, columns), min(rows, columns))))
    # Signs of the diagonal make the distribution that of all rotations and reflections alike.
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(target)


def fan_uniform(shape: tuple[int, ...], fan_in: int, *, seed: Seed = None, dtype: Any = "float32") -> Values:
    """Uniform within ±1/√fan_in: what weights and biases of layers start from."""
    bound = 1 / math.sqrt(max(fan_in, 1))
    return uniform(shape, -bound, bound, seed=seed, dtype=dtype)
