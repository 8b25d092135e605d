"""Schedules of the learning rate: functions of the number of steps done before, compiled into the step.

Each returns a function that takes a step counter, a 0-d integer array that starts from 0, and gives a 0-d float64
array. `ad.optim.Adam(ad.optim.cosine(1e-3, steps=1000))` keeps the counter as state of the optimiser; on its own a
schedule is an expression like any other: `ad.optim.linear(1.0, 0.0, 100)(counter)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import GraphError
from ..graph.dtypes import FLOAT64
from . import arithmetic as ar
from . import checks
from .array import Array
from .explain import complain
from .filling import full
from .lift import as_array, weak_kind

Schedule = Callable[[Any], Array]


def _numbers(name: str, **values: Any) -> None:
    for role, value in values.items():
        if weak_kind(value) not in ("i", "f"):
            raise complain(GraphError, f"{name}: {role} is a number, got {value!r}")


def _length(name: str, role: str, steps: Any, least: int = 1) -> None:
    if weak_kind(steps) != "i" or steps < least:
        raise complain(GraphError, f"{name}: {role} is an int of at least {least}, got {steps!r}")


def _time(step: Any) -> Array:
    return ar.astype(as_array(step), FLOAT64)


def constant(value: float) -> Schedule:
    """Always `value`."""
    _numbers("constant", value=value)
    return lambda step: full((), value, FLOAT64)


def step_decay(value: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """`value` times `gamma` for every `step_size` steps done."""
    _numbers("step_decay", value=value, gamma=gamma)
    _length("step_decay", "step_size", step_size)
    return lambda step: value * ar.pow(gamma, ar.floor(_time(step) / step_size))


def exponential(value: float, gamma: float) -> Schedule:
    """value · gammaᵗ after t steps."""
    _numbers("exponential", value=value, gamma=gamma)
    return lambda step: value * ar.pow(gamma, _time(step))


def linear(start: float, end: float, steps: int) -> Schedule:
    """From `start` to `end` in equal steps, then `end`."""
    _numbers("linear", start=start, end=end)
    _length("linear", "steps", steps)
    return lambda step: start + (end - start) * ar.minimum(_time(step) / steps, 1)


def cosine(peak: float, steps: int, warmup: int = 0, start: float = 0.0, final: float = 0.0) -> Schedule:
    """Linearly from `start` to `peak` in `warmup` steps, then down to `final` along half a cosine; `steps` in all.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without restarts.
    """
    _numbers("cosine", peak=peak, start=start, final=final)
    _length("cosine", "warmup", warmup, 0)
    _length("cosine", "steps", steps, warmup + 1)

    def rate(step: Any) -> Array:
        t = _time(step)
        part = ar.clip((t - warmup) / (steps - warmup), 0, 1)
        down = final + (peak - final) * 0.5 * (1 + ar.cos(math.pi * part))
        return down if not warmup else ar.where(ar.less(t, warmup), start + (peak - start) * (t / warmup), down)

    return rate


def piecewise(boundaries: Sequence[int], values: Sequence[float]) -> Schedule:
    """values[0] before step boundaries[0], values[1] from there on before boundaries[1], and so on."""
    values, boundaries = checks.sequence("values", values), checks.sequence("boundaries", boundaries)
    _numbers("piecewise", **{f"value {k}": v for k, v in enumerate(values)})
    if len(values) != len(boundaries) + 1:
        text = f"{len(boundaries)} boundaries take one value more, got {len(values)}"
        raise complain(GraphError, f"piecewise: {text}")
    for k, at in enumerate(boundaries):
        _length("piecewise", f"boundary {k}", at, boundaries[k - 1] + 1 if k else 0)

    def rate(step: Any) -> Array:
        t, result = as_array(step), full((), values[0], FLOAT64)
        for at, value in zip(boundaries, values[1:], strict=True):
            result = ar.where(ar.less(t, at), result, value)
        return result

    return rate
