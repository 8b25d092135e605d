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
    _both_modes(y, xs, arrays, rng)
    _batched(fn, y, xs, arrays)
    for _ in range(order):
        scalar = _directional(scalar, xs, arrays, rng)


def _both_modes(y: ad.Array, xs: Sequence[ad.Array], arrays: Sequence[Any], rng: Any) -> None:
    """Forward and reverse mode are transposes: ⟨ȳ, J ẋ⟩ = ⟨Jᵀ ȳ, ẋ⟩, for the function and for its gradient."""
    results: list[ad.Array] = [y]
    results += ad.grad((y * rng.uniform(0.5, 1.5, y.shape)).sum(), list(xs))
    dots = [rng.standard_normal(a.shape) for a in arrays]
    for z in results:
        bar = rng.standard_normal(z.shape)
        forwards = (ad.jvp(z, list(xs), dots) * bar).sum()
        backwards = sum((g * d).sum() for g, d in zip(ad.vjp(z, list(xs), bar), dots, strict=True))
        one, other = value(forwards, xs, arrays), value(backwards, xs, arrays)
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def _batched(fn: Callable[..., ad.Array], y: ad.Array, xs: Sequence[ad.Array], arrays: Sequence[Any]) -> None:
    """A batch gives what its examples give one by one, and so does the gradient of each."""
    examples = [np.stack([a, a[..., ::-1] if a.ndim else a + 0.1]) for a in arrays]
    stacks = [ad.input(f"s{k}", e.shape, "float64") for k, e in enumerate(examples)]

    def slopes(*own: ad.Array) -> Any:
        z = fn(*own)
        return [z, *ad.grad((z * z).sum(), list(own))]

    together = ad.vmap(slopes)(*stacks)
    alone = [y, *ad.grad((y * y).sum(), list(xs))]
    for whole, single in zip(together, alone, strict=True):
        found = value(whole, stacks, examples)
        for k in range(2):
            expected = value(single, xs, [e[k] for e in examples])
            np.testing.assert_allclose(found[k], expected, rtol=1e-10, atol=1e-10)


@pytest.fixture(name="check")
def _check() -> Callable[..., None]:
    return check
