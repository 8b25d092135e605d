"""Special functions against SciPy, compiled and interpreted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

import adjoint as ad

RNG = np.random.default_rng(0)
EDGES = np.array([0.0, -0.0, -1.0, -2.0, -17.0, -1e20, np.inf, -np.inf, np.nan, 1, 2, 0.5, -0.5, 1e10, 1e30, -1e-30])
ORDERS = [1, 2, 3, 8, 25, 100]
FUNCTIONS = {
    "erf": (ad.erf, special.erf),
    "erfc": (ad.erfc, special.erfc),
    "lgamma": (ad.lgamma, special.gammaln),
    "digamma": (ad.digamma, special.digamma),
    **{
        f"polygamma {n}": (lambda x, n=n: ad.polygamma(n, x), lambda x, n=n: special.polygamma(n, x))
        for n in (0, *ORDERS)
    },
}
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}


def points(name):
    """Magnitudes of all sizes, and small numbers of both signs where the functions turn."""
    small = RNG.uniform(-11, 11, 700)
    return np.concatenate([EDGES, small, RNG.uniform(0, 3, 300), np.exp(RNG.uniform(-25, 25, 100))])


def far_from_roots(fn, x, want):
    """Where no sign changes within a hundredth of the argument, nor is the value small beside the function's terms."""
    with np.errstate(all="ignore"):
        steady = [np.sign(fn(x * step)) == np.sign(want) for step in (0.99, 1.01)]
        large = np.abs(want) > 0.02 if fn in (special.gammaln, special.digamma) else True
        return steady[0] & steady[1] & np.isfinite(want) & large


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name, dtype):
    fn, reference = FUNCTIONS[name]
    a = points(name).astype(dtype)
    x = ad.input("x", a.shape, dtype)
    with np.errstate(all="ignore"):
        exact = reference(a.astype("float64"))
        want = exact.astype(dtype)
        usual = far_from_roots(reference, a.astype("float64"), exact) & np.isfinite(want)
        if dtype == "float32":
            usual &= (np.abs(want) > np.finfo(dtype).tiny) | (want == 0)
    if name.startswith("polygamma"):  # SciPy multiplies a sum that may underflow by the factorial
        usual &= np.abs(exact) > 1e-290 * float(math.factorial(int(name.split()[1])))
    tolerance = TOLERANCE[dtype]
    for backend in ("c", "numpy"):
        got = ad.compile(x, fn(x), backend=backend)(a)
        assert got.dtype == dtype
        np.testing.assert_allclose(got[usual], want[usual], rtol=tolerance, atol=0, err_msg=backend)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=backend)
        infinite = np.isinf(want)
        np.testing.assert_array_equal(got[infinite], want[infinite], err_msg=backend)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["lgamma", "digamma", "polygamma 2"])
def test_near_roots_the_error_is_small_against_the_terms(name, dtype):
    fn, reference = FUNCTIONS[name]
    roots = {"lgamma": [1, 2, -2.4570247382208006], "digamma": [1.4616321449683623, -0.5040830082644554]}
    around = np.array(roots.get(name, [-0.5, -2.8]))[:, None] + np.linspace(-1e-3, 1e-3, 33)
    a = around.ravel().astype(dtype)
    x = ad.input("x", a.shape, dtype)
    got = ad.compile(x, fn(x))(a)
    np.testing.assert_allclose(got, reference(a.astype("float64")), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_lgamma_and_digamma_keep_their_roots():
    x = ad.input("x", (3,), "float64")
    one, two = ad.compile(x, [ad.lgamma(x), ad.digamma(x)])(np.array([1.0, 2.0, 1.0 + 1e-9]))
    assert one[0] == one[1] == 0
    np.testing.assert_allclose(one[2], -np.euler_gamma * 1e-9, rtol=1e-7)
    root = 1.4616321449683623  # the nearest float
    (value,) = ad.compile(x, ad.digamma(x)[:1])(np.full(3, root))
    assert 0 < abs(value) < 1e-16
    np.testing.assert_allclose(two[:2], [-np.euler_gamma, 1 - np.euler_gamma], rtol=1e-15)


def test_slopes():
    a = np.array([-2.5, -0.3, 0.2, 1.0, 4.0, 30.0])
    x = ad.input("x", a.shape, "float64")
    pairs = [
        (ad.erf, 2 / np.sqrt(np.pi) * np.exp(-(a**2))),
        (ad.erfc, -2 / np.sqrt(np.pi) * np.exp(-(a**2))),
        (ad.lgamma, special.digamma(a)),
        (ad.digamma, special.polygamma(1, a)),
        (lambda v: ad.polygamma(3, v), special.polygamma(4, a)),
    ]
    for got, (_, want) in zip(
        ad.compile(x, [ad.grad(f(x).sum(), x) for f, _ in pairs])(a), pairs, strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_gelu_is_exact_in_the_tail():
    a = np.array([-1e4, -30, -8, -3, -0.1, 0, 0.1, 3, 50, 1e4])
    for dtype, rtol in (("float32", 2e-6), ("float64", 1e-14)):
        x = ad.input("x", a.shape, dtype)
        value, slope = ad.compile(x, [ad.gelu(x), ad.grad(ad.gelu(x).sum(), x)])(a.astype(dtype))
        with np.errstate(under="ignore"):
            b = a.astype(dtype).astype("float64")
            want, tiny = b * special.ndtr(b), 2 * np.finfo(dtype).tiny
            steep = special.ndtr(b) + b * np.exp(-b * b / 2) / np.sqrt(2 * np.pi)
        # The argument of erfc is rounded, which counts for as much as x^2 is large.
        scale = np.maximum(1, b * b)
        assert (np.abs(value - want) <= rtol * scale * np.abs(want) + tiny).all()
        assert (np.abs(slope - steep) <= rtol * scale * np.abs(steep) + tiny).all()


def test_shapes_and_dtypes(run):
    n = ad.Dim("n", min=0)
    x, k = ad.input("x", (n, 3), "float64"), ad.input("k", (4,), "int32")
    f = ad.compile(x, [ad.polygamma(2, x), ad.erfc(x)])
    for rows in (0, 1, 7):
        a = RNG.uniform(0.2, 5, (rows, 3))
        got, other = f(a)
        np.testing.assert_allclose(got, special.polygamma(2, a), rtol=1e-13)
        np.testing.assert_allclose(other, special.erfc(a), rtol=4e-15)
    assert ad.lgamma(k).dtype == np.float32 and ad.lgamma(3.5).shape == ()
    np.testing.assert_allclose(run(ad.lgamma(k), {k: [3, 4, 5, 6]}), special.gammaln([3, 4, 5, 6]), rtol=1e-6)
    assert ad.compile([], ad.digamma(10.0))() == np.float32(special.digamma(10))


def test_errors():
    x = ad.input("x", (3,))
    for n in (-1, 101, 1.5, True, x):
        with pytest.raises(ad.GraphError, match="polygamma: n is an int from 0 to 100"):
            ad.polygamma(n, x)
    assert ad.polygamma(0, x).node is ad.digamma(x).node
