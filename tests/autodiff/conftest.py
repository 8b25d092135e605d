"""Derivatives against central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph.interp import evaluate

STEP = 1e-5


def value(y: ad.Array, xs: Sequence[ad.Array], arrays: Sequence[Any]) -> Any:
    return evaluate([y.node], {x.node: a for x, a in zip(xs, arrays, strict=True)})[0]


def _directional(y: ad.Array, xs: Sequence[ad.Array], arrays: Sequence[Any], rng: Any) -> ad.Array:
    """Compares dy along a random direction with differences; returns Σ gradient · direction as a scalar."""
    gradients = ad.grad(y, list(xs))
    directions = [rng.uniform(0.5, 1, a.shape) * rng.choice([-1, 1], a.shape) for a in arrays]
    slope = sum(((g * d).sum() for g, d in zip(gradients, directions, strict=True)), ad.constant(np.zeros(())))
    for x, g in zip(xs, gradients, strict=True):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)
    ahead = value(y, xs, [a + STEP * d for a, d in zip(arrays, directions, strict=True)])
    behind = value(y, xs, [a - STEP * d for a, d in zip(arrays, directions, strict=True)])
    expected = (ahead - behind) / (2 * STEP)
    got = value(slope, xs, arrays)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
    return slope


def check(fn: Callable[..., ad.Array], *arrays: Any, order: int = 2) -> None:
    """Derivatives of fn(*arrays) in all floating arguments, up to `order`, against central differences."""
    rng = np.random.default_rng(7)
    arrays = tuple(np.asarray(a, np.float64) for a in arrays)
    xs = [ad.input(f"x{k}", a.shape, "float64") for k, a in enumerate(arrays)]
    y = fn(*xs)
    scalar = (y * rng.uniform(0.5, 1.5, y.shape)).sum()
    for _ in range(order):
        scalar = _directional(scalar, xs, arrays, rng)


@pytest.fixture(name="check")
def _check() -> Callable[..., None]:
    return check
