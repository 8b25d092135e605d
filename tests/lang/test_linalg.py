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
        ((0, 3), (3, 2)),
        ((0,), (0,)),
        ((0,), (0, 3)),
        ((2, 0, 3), (3, 2)),
        ((0, 2, 3), (1, 3, 2)),
        ((2, 1, 4, 3), (3,)),
        ((3,), (2, 1, 3, 1)),
        ((1,), (1, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_matmul(a, b, dtype, run):
    p, q = (3 * _r(*a)).astype(dtype), (3 * _r(*b)).astype(dtype)
    x, y = ad.input("x", a, dtype), ad.input("y", b, dtype)
    z = x @ y
    expected = p @ q
    assert (z.shape, z.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(z, {x: p, y: q}), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "axes"),
    [
        *(((3, 3), (3, 3), axes) for axes in (0, 1, 2, ([0], [1]), ([-1, 0], [0, 1]), (1, 0), np.int64(1), [0, -1])),
        ((2, 3, 4), (3, 4, 5), 2),
        ((2, 3, 4), (4, 3, 5), ((1, 2), (1, 0))),
        ((2, 3), (4,), 0),
        ((), (3,), 0),
        ((2, 3, 4), (4, 2, 3), ([2, 0, 1], [0, 1, 2])),
        ((2, 0), (0, 3), 1),
        ((0, 2), (2, 0), 1),
        ((2, 3), (3, 2), ([], [])),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
def test_tensordot(a, b, axes, dtype, run):
    p, q = (np.asarray(2 * _r(*s)).astype(dtype) for s in (a, b))
    y, expected = ad.tensordot(p, q, axes), np.tensordot(p, q, axes)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axes", [3, -1, ([0], [0, 1]), ([0, 0], [0, 1]), ([2], [0]), ([0], [0]), 1.5, ([0],), "ab"])
def test_tensordot_of_axes_that_do_not_fit(axes):
    with pytest.raises(ad.ShapeError, match="tensordot"):
        ad.tensordot(_r(2, 3), _r(3, 2), axes)


@pytest.mark.parametrize(
    ("a", "b", "axis"),
    [
        ((4,), (4,), -1),
        ((2, 3), (3,), -1),
        ((3, 2), (3, 1), 0),
        ((2, 1, 4), (3, 4), -1),
        ((0,), (0,), 0),
        ((2, 0), (0,), -1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_vecdot(a, b, axis, dtype, run):
    p, q = (3 * _r(*a)).astype(dtype), (3 * _r(*b)).astype(dtype)
    expected = np.vecdot(p, q, axis=axis)
    y = ad.vecdot(p, q, axis)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(y), expected, rtol=1e-5)


def test_vecdot_of_other_extents():
    with pytest.raises(ad.ShapeError, match="extents 1 and 3 along axis -1"):
        ad.vecdot(_r(2, 1), _r(3))
    with pytest.raises(ad.ShapeError, match="extents 2 and 4 do not broadcast"):
        ad.vecdot(_r(2, 3), _r(4, 3))


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2), (0, 3), (1, 1), (2, 3, 5), (2, 2, 0, 0)])
@pytest.mark.parametrize("offset", [0, 1, -1, 2, -3, 9])
def test_diagonal_and_trace(shape, offset, run):
    x = (9 * _r(*shape)).astype("int32")
    for y, expected in [
        (ad.diagonal(x, offset), np.diagonal(x, offset, -2, -1)),
        (ad.trace(x, offset), np.trace(x, offset, -2, -1, dtype=np.int64)),
        (ad.trace(x.astype("f"), offset), np.trace(x.astype("f"), offset, -2, -1)),
    ]:
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(run(y), expected)


def test_outer(run):
    for dtype in ("float32", "int32", "bool"):
        p, q = (2 * _r(4)).astype(dtype), (2 * _r(3)).astype(dtype)
        y = ad.outer(p, q)
        assert y.dtype == dtype
        np.testing.assert_array_equal(run(y), np.outer(p, q))
    with pytest.raises(ad.ShapeError, match="two vectors"):
        ad.outer(_r(2, 2), _r(2))


def test_errors_of_matmul():
    with pytest.raises(ad.ShapeError, match="extents 2 and 3 do not broadcast"):
        ad.matmul(_r(2, 3, 4), _r(3, 4, 5))
    with pytest.raises(ad.ShapeError, match="at least one axis"):
        ad.matmul(_r(3), 2.0)


def test_run_time_extents(run):
    n = ad.Dim("n")
    x, w = ad.input("x", (n, 3)), ad.constant(_r(3, 2))
    assert (x @ w).shape == (n, 2) and (x.T @ x).shape == (3, 3)
    p = _r(4, 3)
    np.testing.assert_allclose(run(x @ x.T, {x: p}, {n: 4}), p @ p.T, rtol=1e-5)
    np.testing.assert_allclose(run(ad.trace(x @ x.T), {x: p}, {n: 4}), np.trace(p @ p.T), rtol=1e-5)
    with pytest.raises(ad.ShapeError, match="inner dimensions"):
        x.T @ ad.input("y", (4, 2))
    with pytest.raises(ad.ShapeError, match=r"diagonal 0 of .* cannot be told"):
        ad.trace(x)
    square = ad.input("s", (ad.Dim("m", min=2), ad.Dim("m", min=2)))
    assert str(ad.diagonal(square, -2).shape) == "((m - 2),)"
    with pytest.raises(ad.ShapeError, match="diagonal 3 of"):
        ad.diagonal(square, 3)
