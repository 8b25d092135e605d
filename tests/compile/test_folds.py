"""Extrema in lanes, over the rows of a product that is never stored, and what they select: against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjoint as ad


def both(inputs: list[Any], outputs: Any, values: list[Any], **options: Any) -> tuple[Any, str]:
    """The results of compiled code, equal to the interpreter's and the same on one thread and two, and the kernels."""
    compiled = [ad.compile(inputs, outputs, threads=n, **options) for n in (1, 2)]
    results = [[np.array(a) for a in f(*values)] for f in compiled]
    for one, two, want in zip(*results, ad.compile(inputs, outputs, backend="numpy")(*values), strict=True):
        assert one.dtype == want.dtype
        np.testing.assert_array_equal(one, two)
        if one.dtype.kind == "i":
            np.testing.assert_array_equal(one, want)
        else:
            tolerance = 100 * np.finfo(one.dtype).eps
            np.testing.assert_allclose(one, want, rtol=tolerance, atol=tolerance * np.nanmax(np.abs(want), initial=1))
    return results[0], compiled[0].dump("kernels")


@pytest.mark.parametrize("target", ["native", "x86-64"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
def test_first_of_equals_and_first_nan(dtype: str, target: str) -> None:
    """Few different numbers, so that equals lie in one lane and in several; axes of whole vectors, less and more."""
    rng = np.random.default_rng(0)
    x = ad.input("x", ("n", 21, "m"), dtype)
    y = ad.permute_dims(x, (1, 0, 2))
    outputs = [f(z, axis) for f in (ad.argmax, ad.argmin) for z in (x, y) for axis in (0, 1, 2, None)]
    for n, m in ((1, 1), (3, 70), (33, 5)):
        value = rng.integers(0, 3, (n, 21, m)).astype(dtype)
        results = [both([x], outputs, [value], target=target)]
        if value.dtype.kind == "f":
            value[rng.random(value.shape) < 0.05] = np.nan
            results.append(both([x], outputs, [value], target=target))
            value[...] = -np.inf
            results.append(both([x], outputs, [value], target=target))
        assert all(a.dtype == np.int64 for found, _ in results for a in found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "k", "d"), [(300, 300, 7), (1029, 37, 16), (2048, 20, 5)])
def test_nearest_without_distances(n: int, k: int, d: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    p, c = ad.input("p", (n, d), dtype), ad.input("c", (k, d), dtype)
    distances = (c**2).sum(-1) - 2 * (p @ c.T)
    values = [rng.integers(-2, 3, a.shape).astype(dtype) for a in (p, c)]
    for outputs in ([ad.argmin(distances, 1)], [ad.argmin(distances, 1), ad.max(ad.abs(distances), 1)]):
        _, kernels = both([p, c], outputs, values)
        assert f"[{n}, {k}]" not in kernels
        with_nan = [values[0].copy(), values[1]]
        with_nan[0][n // 2] = np.nan
        both([p, c], outputs, with_nan)


def test_products_that_others_need_are_stored() -> None:
    rng = np.random.default_rng(1)
    p, c = ad.input("p", (300, 5), "float64"), ad.input("c", (20, 5), "float64")
    product = p @ c.T
    values = [rng.integers(-2, 3, a.shape).astype(float) for a in (p, c)]
    for outputs in (
        [ad.argmax(product, 1), product],
        [ad.argmax(product, 1), product.sum(1)],
        [ad.argmax(product, 1), ad.argmax(product, 0)],
        [ad.max(product, 1).sum(), ad.argmax(ad.exp(product), 1)],
        [ad.argmax(product.T + 1, 0), ad.max(ad.abs(product.T), 0)],
    ):
        both([p, c], outputs, values)


def test_numbers_of_rows_that_are_not_known() -> None:
    rng = np.random.default_rng(2)
    p, c = ad.input("p", ("n", 6), "float64"), ad.input("c", ("k", 6), "float64")
    outputs = [ad.argmin((c**2).sum(-1) - 2 * (p @ c.T), -1)]
    for n, k in ((1, 1), (300, 9), (17, 40)):
        both([p, c], outputs, [rng.integers(-2, 3, s).astype(float) for s in ((n, 6), (k, 6))])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_of_extrema_of_products(dtype: str) -> None:
    """The gradient and the diagonal of the Hessian of k-means through a plain minimum: nothing of n·k is stored."""
    rng = np.random.default_rng(3)
    p, c = ad.input("p", (300, 6), dtype), ad.input("c", (40, 6), dtype)
    squares = (p**2).sum(-1, keepdims=True) + (c**2).sum(-1)
    value = ad.min(squares - 2 * (p @ c.T), -1).sum()
    by = ad.grad(value, [p, c])
    outputs = [value, *by, ad.jvp(by[1], c, ad.ones_like(c))]
    values = [rng.integers(-3, 4, a.shape).astype(dtype) for a in (p, c)]
    (_, by_p, by_c, diagonal), kernels = both([p, c], outputs, values)
    assert "[300, 40]" not in kernels
    nearest = np.argmin(((values[0][:, None] - values[1]) ** 2).sum(-1), -1)
    np.testing.assert_allclose(by_p, 2 * (values[0] - values[1][nearest]), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(diagonal, np.repeat(2 * np.bincount(nearest, minlength=40)[:, None], 6, 1), rtol=1e-6)
    np.testing.assert_allclose(by_c.sum(0), -by_p.sum(0), rtol=1e-4, atol=1e-3)


def test_shares_that_are_subnormal_count_as_nothing() -> None:
    """exp(-740) is subnormal in float64, exp(-700) is not: the latter stays in the gradient."""
    x = ad.input("x", (4,), "float64")
    gradient = ad.compile(x, ad.grad(ad.logsumexp(x, 0), x))
    np.testing.assert_allclose(gradient(np.array([0.0, -700.0, -740.0, -2.0])),
                               np.array([1.0, np.exp(-700.0), 0.0, np.exp(-2.0)]) / (1 + np.exp(-2.0)), rtol=1e-14)


@pytest.mark.parametrize("shape", [(3, 5, 7), (40, 9, 1), (1, 300, 2), (0, 4, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scattering_along_inner_axes(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(4)
    where = rng.integers(0, shape[1], 50)
    x, u = ad.input("x", shape, dtype), ad.input("u", (shape[0], 50, shape[2]), dtype)
    i = ad.input("i", (50,), "int64")
    outputs = [x.at[:, i].add(u), x.at[:, i].set(u), *ad.grad((ad.take(x, i, 1) ** 3).sum(), [x])]
    values = [rng.integers(-3, 4, shape).astype(dtype), rng.integers(-3, 4, u.shape).astype(dtype), where]
    both([x, u, i], outputs, values)


@pytest.mark.parametrize("n", [2, 9, 300, 9001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stages_of_a_step_read_their_neighbours(n: int, dtype: str) -> None:
    """What neighbours compute is computed again, in one kernel for a step and one for its adjoint."""
    x = ad.input("x", (ad.Dim("n", min=2),), dtype)

    def slope(y: Any) -> Any:
        return x * ad.concat([ad.ones((1,), dtype), y[:-1]])

    def step(_: Any, y: Any) -> Any:
        first = slope(y)
        second = slope(y + first / 2)
        return y + (first + 2 * second + slope(y + second)) / 4

    y = ad.fori_loop(5, step, ad.zeros_like(x))
    value = np.random.default_rng(n).uniform(0.5, 1, n).astype(dtype)
    _, kernels = both([x], [y, ad.grad(y.sum(), x)], [value])
    assert [line.count("kernel") for line in kernels.splitlines() if line.startswith("  kernel")] == [1, 1]
