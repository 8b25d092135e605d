"""Products against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(2)


def _r(*shape):
    return RNG.standard_normal(shape).astype("f")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 2)),
        ((4,), (4,)),
        ((4,), (4, 2)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((1, 3, 1), (2, 1, 5)),
        ((3, 0), (0, 2)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_matmul(a, b, dtype, run):
    p, q = (3 * _r(*a)).astype(dtype), (3 * _r(*b)).astype(dtype)
    x, y = ad.input("x", a, dtype), ad.input("y", b, dtype)
    z = x @ y
    expected = p @ q
    assert (z.shape, z.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(z, {x: p, y: q}), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [0, 1, 2, ([0], [1]), ([-1, 0], [0, 1]), (1, 0)])
def test_tensordot(axes, run):
    p, q = _r(3, 3), _r(3, 3)
    np.testing.assert_allclose(run(ad.tensordot(p, q, axes)), np.tensordot(p, q, axes), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "ij,jk->ik",
        "ij,jk",
        "ij,ij->",
        "ij,ij->ji",
        "bij,bjk->bik",
        "bij,kj->bki",
        "i,j->ij",
        "ij,k->kij",
        "ij,k->j",
        "...ij,...jk->...ik",
        "ij->ji",
        "ij->",
        "ij->j",
        "bij->b",
        "...i->...",
        "ba",
        "ij , jk -> k",
    ],
)
def test_einsum(text, run):
    extents = {"i": 2, "j": 3, "k": 4, "b": 5, "a": 2}
    terms = text.split("->")[0].replace(" ", "").split(",")
    arrays = []
    for term in terms:
        lead = (5,) if "..." in term else ()
        arrays.append(_r(*lead, *(extents[c] for c in term.replace("...", ""))))
    np.testing.assert_allclose(run(ad.einsum(text, *arrays)), np.einsum(text, *arrays), rtol=1e-5, atol=1e-5)


def test_small_ones(run):
    p, q = _r(4), _r(4)
    np.testing.assert_allclose(run(ad.outer(p, q)), np.outer(p, q), rtol=1e-6)
    np.testing.assert_allclose(run(ad.vecdot(p, q)), p @ q, rtol=1e-5)
    np.testing.assert_allclose(run(ad.trace(np.outer(p, q))), p @ q, rtol=1e-5)


def test_run_time_extents(run):
    n = ad.Dim("n")
    x, w = ad.input("x", (n, 3)), ad.constant(_r(3, 2))
    assert (x @ w).shape == (n, 2) and (x.T @ x).shape == (3, 3)
    p = _r(4, 3)
    np.testing.assert_allclose(run(x @ x.T, {x: p}, {n: 4}), p @ p.T, rtol=1e-5)
    with pytest.raises(ad.ShapeError, match="inner dimensions"):
        x.T @ ad.input("y", (4, 2))
