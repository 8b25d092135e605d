"""Elementary functions against NumPy: special values, dtypes, shapes; derivatives where formulas meet their limits."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

inf, nan = np.inf, np.nan
UNARY = {
    "exp2": np.exp2, "expm1": np.expm1, "log1p": np.log1p, "log2": np.log2, "log10": np.log10, "cbrt": np.cbrt,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint,
}  # fmt: skip
BINARY = {"hypot": np.hypot, "atan2": np.arctan2, "logaddexp": np.logaddexp}
HARD = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, inf, -inf, nan, 1e-40, -1e-40, 3e38, -3e38, 1e5, -1e5, 7.0]


def near(got, want):
    """Within 3 units in the last place of the wider NumPy value; NaN, infinities and signs of zeros as there."""
    rounded = want.astype(got.dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
    np.testing.assert_array_equal(np.signbit(got[rounded == 0]), np.signbit(rounded[rounded == 0]))
    usual = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~usual], rounded[~usual])
    assert (np.abs(got[usual] - want[usual]) <= 3 * np.spacing(np.abs(rounded[usual]))).all(), (got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values(dtype):
    values = np.array(HARD, dtype)
    pairs = np.meshgrid(values, values)
    x, y = ad.input("x", ("n",), dtype), ad.input("y", ("n",), dtype)
    outputs = {name: getattr(ad, name)(x) for name in UNARY} | {name: getattr(ad, name)(x, y) for name in BINARY}
    got = ad.compile([x, y], outputs)(pairs[0].ravel(), pairs[1].ravel())
    wide = [p.ravel().astype(np.float64 if dtype == "float32" else np.longdouble) for p in pairs]
    with np.errstate(all="ignore"):
        for name, function in UNARY.items():
            near(got[name], function(wide[0]))
        for name, function in BINARY.items():
            near(got[name], function(*wide))


def test_dtypes_and_shapes():
    x, k, flags = ad.input("x", (2, 1), "float64"), ad.input("k", (3,), "int32"), ad.input("b", (0,), "bool")
    assert (ad.atan2(x, k).shape, ad.atan2(x, k).dtype) == ((2, 3), np.float64)
    assert ad.hypot(k, 1).dtype == np.float32 and ad.exp2(k).dtype == np.float32
    assert (ad.sinh(flags).shape, ad.sinh(flags).dtype) == ((0,), np.float32)
    assert ad.round(k) is k and ad.trunc(k) is k and ad.floor(k) is k
    assert ad.trunc(2.5).dtype == np.float32
    with pytest.raises(ad.ShapeError, match="hypot"):
        ad.hypot(ad.input("a", (2,)), ad.input("c", (3,)))


@pytest.mark.parametrize(
    ("name", "at", "want"),
    [
        ("cbrt", (0.0,), (inf,)),
        ("hypot", (0.0, 0.0), (0, 0)),
        ("hypot", (3e300, -4e300), (0.6, -0.8)),
        ("atan2", (0.0, 0.0), (0, 0)),
        ("atan2", (1e-300, 1e-300), (5e299, -5e299)),
        ("logaddexp", (2.0, 2.0), (0.5, 0.5)),
        ("logaddexp", (inf, inf), (0.5, 0.5)),
        ("logaddexp", (-inf, -inf), (0.5, 0.5)),
        ("logaddexp", (-inf, 1.0), (0, 1)),
        ("asin", (1.0,), (inf,)),
        ("acosh", (1e300,), (1e-300,)),
        ("asinh", (1e300,), (1e-300,)),
        ("atan", (1e300,), (0,)),
        ("expm1", (-50.0,), (np.exp(-50.0),)),
        ("round", (2.5,), (0,)),
        ("trunc", (-1.0,), (0,)),
    ],
)
def test_derivatives_at_limits(name, at, want):
    xs = [ad.input(f"x{k}", (), "float64") for k in range(len(at))]
    gradients = ad.grad(getattr(ad, name)(*xs), xs)
    got = ad.compile(xs, gradients, backend="numpy")(*at)
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_the_second_derivative_of_logaddexp_at_a_tie():
    x, y = ad.input("x", (), "float64"), ad.input("y", (), "float64")
    second = ad.grad(ad.grad(ad.logaddexp(x, y), x), x)
    assert ad.compile([x, y], second, backend="numpy")(1.5, 1.5) == 0.25
