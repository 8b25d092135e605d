"""Shifted, padded and joined arrays: vectors that lie inside the bounds, across them and outside, at every length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjoint as ad


def shifts(x: Any, fill: float) -> list[Any]:
    """Arrays whose elements are those of x elsewhere, or a fill; x has at least two elements."""
    one = ad.full((1,), fill, str(x.dtype))
    return [
        ad.pad(x, (1, 0), constant_values=fill),
        ad.pad(x, (9, 18), constant_values=fill),
        ad.flip(ad.pad(x, (2, 1))),
        ad.pad(ad.flip(x), (1, 2)),
        ad.pad(x[1:-1], (1, 1), constant_values=fill),
        ad.concat([one, x[:-1]]),
        ad.concat([x[1:], one, x]),
        ad.pad(x > 0, (3, 0)),
        ad.where(ad.pad(x[1:], (0, 1)) > 0, ad.pad(x[:-1], (1, 0), constant_values=fill), x),
        x + ad.concat([one, 2 * x[:-1]]) - ad.concat([3 * x[1:], one]),
        ad.concat([ad.pad(x[:-1], (1, 0)) > 0, x < 0]),
        x[:, None] * ad.pad(x, (1, 1))[None, 1:-1] + ad.pad(ad.stack([x] * 3), ((0, 0), (0, 1)))[0, 1:],
    ]


@pytest.mark.parametrize("target", ["native", "x86-64"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_every_length(dtype: str, target: str) -> None:
    x = ad.input("x", (ad.Dim("n", min=2),), dtype)
    outputs = shifts(x, 7)
    compiled = ad.compile(x, outputs, name="shifted", threads=1, target=target)
    interpreted = ad.compile(x, outputs, name="shifted", backend="numpy")
    rng = np.random.default_rng(0)
    for n in (*range(2, 41), 70, 300):
        # Small whole numbers, so that sums and products are exact.
        value = rng.integers(-9, 10, n).astype(dtype)
        for k, (got, want) in enumerate(zip(compiled(value), interpreted(value), strict=True)):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want, err_msg=f"output {k}, {n} elements")


@pytest.mark.parametrize("n", [2, 17, 100])
def test_known_lengths(n: int) -> None:
    x = ad.input("x", (n,), "float64")
    outputs = shifts(x, -1)
    outputs.append(ad.grad(sum((y * y).sum() for y in outputs if y.dtype == x.dtype), x))
    value = np.random.default_rng(n).integers(-9, 10, n).astype(np.float64)
    found = [ad.compile(x, outputs, threads=1, backend=b)(value) for b in ("c", "numpy")]
    for k, (got, want) in enumerate(zip(*found, strict=True)):
        np.testing.assert_array_equal(got, want, err_msg=f"output {k}")


def test_a_pad_of_two_axes() -> None:
    x = ad.input("x", ("m", "n"), "float64")
    y = ad.pad(x, ((1, 2), (3, 1)), constant_values=5.0)
    function = ad.compile(x, [y, y[1:-2, 2:-2] - x], threads=1)
    for m, n in ((1, 1), (3, 8), (4, 29), (2, 64)):
        value = np.random.default_rng(n).standard_normal((m, n))
        padded, shifted = function(value)
        want = np.pad(value, ((1, 2), (3, 1)), constant_values=5.0)
        np.testing.assert_array_equal(padded, want)
        np.testing.assert_array_equal(shifted, want[1:-2, 2:-2] - value)
