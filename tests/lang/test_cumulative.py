"""Running sums, products and extrema, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(6)


def data(shape: Any, dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        hard = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0], dtype)
        return np.where(RNG.random(shape) < 0.1, RNG.choice(hard, shape), RNG.normal(size=shape)).astype(dtype)
    if dtype.kind == "b":
        return RNG.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    ends = RNG.choice(np.array([info.min, info.max], dtype), shape)
    return np.where(RNG.random(shape) < 0.2, ends, RNG.integers(1, 9, shape)).astype(dtype)


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_values(dtype: str, axis: int, backend: str) -> None:
    x = ad.input("x", (ad.Dim("n", min=0), 5, 7), dtype)
    wide = dtype if dtype.startswith("float") else "int64"
    f = ad.compile(x, [
        ad.cumulative_sum(x, axis), ad.cumulative_prod(x, axis), ad.cummax(x, axis), ad.cummin(x, axis),
        ad.cumulative_sum(x, axis, include_initial=True), ad.cumulative_prod(x, axis, dtype="float64"),
        ad.flip(ad.cumulative_sum(ad.flip(x, axis), axis), axis),
    ], backend=backend)
    for n in (0, 1, 2, 300):
        a = data((n, 5, 7), dtype)
        with np.errstate(all="ignore"):
            sums = np.cumsum(a, axis, dtype=wide)
            first = np.zeros([1 if k == axis % 3 else e for k, e in enumerate(a.shape)], wide)
            want = [
                sums, np.cumprod(a, axis, dtype=wide), np.maximum.accumulate(a, axis), np.minimum.accumulate(a, axis),
                np.concatenate([first, sums], axis), np.cumprod(a, axis, dtype="float64"),
                np.flip(np.cumsum(np.flip(a, axis), axis, dtype=wide), axis),
            ]
        for got, expected in zip(f(a), want, strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


def test_where_there_is_one_axis(run: Any) -> None:
    assert run(ad.cumulative_sum([1, 2, 3])).tolist() == [1, 3, 6]
    assert run(ad.cumulative_prod([2.0, 3.0], include_initial=True)).tolist() == [1, 2, 6]
    assert run(ad.cummax([1.0, 3.0, 2.0])).tolist() == [1, 3, 3]
    x = ad.input("x", (2, 3))
    a = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
    np.testing.assert_array_equal(run(x.cumsum(), {x: a}), np.cumsum(a))
    np.testing.assert_array_equal(run(x.cumprod(1), {x: a}), np.cumprod(a, 1))
    for name in ("cumulative_sum", "cumulative_prod", "cummax", "cummin"):
        with pytest.raises(ad.ShapeError, match=rf"{name}: float32\[2, 3\] has 2 axes; say which"):
            getattr(ad, name)(x)
        with pytest.raises(ad.ShapeError, match=f"{name}: axis 2 is out of range"):
            getattr(ad, name)(x, axis=2)
    with pytest.raises(ad.DTypeError, match="cumulative_sum: not defined in bool"):
        ad.cumulative_sum(x, 0, dtype="bool")


def test_the_bits_do_not_depend_on_threads() -> None:
    x = ad.input("x", (600, 900))
    outputs = [ad.cumulative_sum(x, 0), ad.cumulative_sum(x, 1), ad.cumulative_prod(x, 0), ad.cummax(x, 1)]
    a = RNG.normal(size=(600, 900)).astype(np.float32)
    one, four = (ad.compile(x, outputs, threads=n)(a) for n in (1, 4))
    for p, q, want in zip(one, four, (np.cumsum(a, 0), np.cumsum(a, 1), np.cumprod(a, 0),
                                      np.maximum.accumulate(a, 1)), strict=True):
        np.testing.assert_array_equal(p, q)
        np.testing.assert_array_equal(p, want)


def test_extrema_pass_cotangents_to_the_first(run: Any) -> None:
    x = ad.input("x", (6,))
    weights = np.float32([1, 2, 4, 8, 16, 32])
    for fn, values, want in (
        (ad.cummax, [1, 3, 3, 2, 5, 5], [1, 14, 0, 0, 48, 0]),
        (ad.cummin, [1, 3, 1, 0, 0, 5], [7, 0, 0, 56, 0, 0]),
        (ad.cummax, [1, np.nan, 3, np.nan, 5, 5], [1, 62, 0, 0, 0, 0]),
    ):
        g = ad.grad((fn(x) * weights).sum(), x)
        a = np.float32(values)
        np.testing.assert_array_equal(run(g, {x: a}), want)
        np.testing.assert_array_equal(ad.compile(x, g)(a), want)


def test_gradients_of_products_with_zeros(run: Any) -> None:
    """dΣw·cumprod/dx by leaving each factor out in turn."""
    a = np.float64([[2, 3, 0.5, 4], [2, 0, 3, 5], [0, 2, 0, 3], [0, 0, 0, 0]])
    weights = np.float64([1, 10, 100, 1000])
    x = ad.input("x", a.shape, "float64")
    g = ad.grad((ad.cumulative_prod(x, 1) * weights).sum(), x)
    want = np.zeros(a.shape)
    for k in range(4):
        without = a.copy()
        without[:, k] = 1
        want[:, k] = (np.cumprod(without, 1) * weights)[:, k:].sum(1)
    np.testing.assert_array_equal(run(g, {x: a}), want)
    np.testing.assert_array_equal(ad.compile(x, g)(a), want)
