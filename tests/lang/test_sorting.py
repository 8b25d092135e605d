"""Sorting, the greatest elements and searches, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(4)
DTYPES = ["float32", "float64", "int32", "int64", "uint8", "bool"]


def data(shape: Any, dtype: Any) -> Any:
    """Many ties; NaN, infinities and both zeros among floats, the ends of the range among integers."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        hard = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0], dtype)
        return np.where(RNG.random(shape) < 0.3, RNG.choice(hard, shape), RNG.integers(-3, 4, shape)).astype(dtype)
    if dtype.kind == "b":
        return RNG.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    ends = RNG.choice(np.array([info.min, info.max], dtype), shape)
    return np.where(RNG.random(shape) < 0.2, ends, RNG.integers(0, 9, shape)).astype(dtype)


def descending(x: Any, axis: int) -> Any:
    """Stable, NaN last."""
    keys = -x if x.dtype.kind == "f" else ~x
    return np.argsort(keys, axis=axis, kind="stable")


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_orders(dtype: str, axis: int, backend: str) -> None:
    x = ad.input("x", ("n", 5, 7), dtype)
    outputs = [ad.argsort(x, axis), x.argsort(axis, descending=True), ad.sort(x, axis),
               ad.sort(x, axis, descending=True)]
    f = ad.compile(x, outputs, backend=backend)
    for n in (1, 2, 8, 9, 16, 40, 131):
        a = data((n, 5, 7), dtype)
        up, down = np.argsort(a, axis=axis, kind="stable"), descending(a, axis)
        want = [up, down, np.take_along_axis(a, up, axis), np.take_along_axis(a, down, axis)]
        for got, expected in zip(f(a), want, strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
            if got.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


@pytest.mark.parametrize("n", [*range(12), 15, 16, 17, 63, 64, 65, 1000, 4097])
def test_every_length(n: int) -> None:
    x = ad.input("x", (ad.Dim("n", min=0),))
    f = ad.compile(x, ad.argsort(x))
    for a in (data((n,), "float32"), np.arange(n, dtype=np.float32), np.arange(n, dtype=np.float32)[::-1].copy()):
        np.testing.assert_array_equal(f(a), np.argsort(a, kind="stable"))


def test_what_is_sorted_is_computed_on_the_way_and_used_in_place() -> None:
    x = ad.input("x", (40, 30))
    w = ad.variable(data((40, 30), "float32"), name="w")
    before = w.value.copy()
    f = ad.compile(x, ad.sort(ad.tanh(x).mT * 2, axis=0), updates={w: ad.sort(w, axis=0)})
    a = RNG.normal(size=(40, 30)).astype(np.float32)
    np.testing.assert_allclose(f(a), np.sort(np.tanh(a).T * 2, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(w.value, np.sort(before, axis=0, kind="stable"))


def test_in_a_loop(run: Any) -> None:
    """The rows of a matrix merged into a sorted one, step by step."""
    xs = ad.input("xs", (5, 9))
    last, _ = ad.scan(lambda c, x: (ad.sort(ad.maximum(c, x)), ad.argsort(c)), ad.zeros((9,)), xs)
    a = RNG.normal(size=(5, 9)).astype(np.float32)
    want = np.zeros(9, np.float32)
    for row in a:
        want = np.sort(np.maximum(want, row))
    np.testing.assert_array_equal(ad.compile(xs, last)(a), want)
    np.testing.assert_array_equal(run(last, {xs: a}), want)


def test_rows_in_many_threads() -> None:
    x = ad.input("x", (3000, 70))
    a = data((3000, 70), "float32")
    got = [ad.compile(x, [ad.argsort(x), ad.argsort(x, 0)], threads=n)(a) for n in (1, 4)]
    for both in got:
        for axis, order in ((1, both[0]), (0, both[1])):
            np.testing.assert_array_equal(order, np.argsort(a, axis=axis, kind="stable"))


def test_nothing_and_one_element() -> None:
    x, y = ad.input("x", (3, 0)), ad.input("y", (0, 4))
    values, indices = ad.topk(x, 0)
    f = ad.compile([x, y], [ad.sort(x), ad.argsort(y, 0), ad.argsort(y), values, indices, ad.sort(y)])
    for got, shape in zip(f(np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32)),
                          [(3, 0), (0, 4), (0, 4), (3, 0), (3, 0), (0, 4)], strict=True):
        assert got.shape == shape
    one = ad.input("one", (1,))
    assert ad.compile(one, ad.argsort(one))(np.float32([7])).tolist() == [0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_topk(dtype: str) -> None:
    x = ad.input("x", (6, "n", 3), dtype) if dtype == "int64" else ad.input("x", (6, 11, 3), dtype)
    a = data((6, 11, 3), dtype)
    for axis, k in ((0, 2), (1, 1), (-1, 3), (0, 6)):
        values, indices = ad.topk(x, k, axis)
        assert values.dtype == x.dtype and indices.dtype == np.int64
        want = np.take(descending(a, axis), np.arange(k), axis)
        got = ad.compile(x, [values, indices])(a)
        np.testing.assert_array_equal(got[1], want)
        np.testing.assert_array_equal(got[0], np.take_along_axis(a, want, axis))


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_searchsorted(dtype: str, backend: str) -> None:
    keys, x = ad.input("keys", (ad.Dim("m", min=0),), dtype), ad.input("x", (4, ad.Dim("n", min=0)), dtype)
    outputs = [ad.searchsorted(keys, x, side) for side in ("left", "right")]
    f = ad.compile([keys, x], outputs, backend=backend)
    for m, n in ((0, 3), (1, 3), (37, 300), (64, 1), (5, 0)):
        a, v = np.sort(data((m,), dtype)), data((4, n), dtype)
        for got, side in zip(f(a, v), ("left", "right"), strict=True):
            assert got.dtype == np.int64
            np.testing.assert_array_equal(got, np.searchsorted(a, v, side))


def test_searchsorted_of_other_operands(run: Any) -> None:
    assert run(ad.searchsorted([1.0, 2.0, 2.0, 5.0], 2)) == 1
    assert run(ad.searchsorted([1, 2, 2, 5], 2.5, side="right")) == 3
    x = ad.input("x", (3, 2))
    assert ad.compile(x, ad.searchsorted([], x))(np.ones((3, 2), np.float32)).tolist() == [[0, 0]] * 3


def test_a_computed_array_is_searched() -> None:
    e, x = ad.input("e", (300,)), ad.input("x", (70,))
    f = ad.compile([e, x], ad.searchsorted(ad.sort(e) * 2, x + 1))
    a, v = RNG.normal(size=300).astype(np.float32), RNG.normal(size=70).astype(np.float32)
    np.testing.assert_array_equal(f(a, v), np.searchsorted(np.sort(a) * np.float32(2), v + np.float32(1)))


def test_ties_keep_their_places_in_gradients(run: Any) -> None:
    x = ad.input("x", (5,))
    weights = np.float32([1, 2, 3, 4, 5])
    up, down = ((ad.sort(x, descending=d) * weights).sum() for d in (False, True))
    a = np.float32([1, 0, 1, np.nan, 0])
    for y, want in ((up, [3, 1, 4, 5, 2]), (down, [1, 3, 2, 5, 4])):
        np.testing.assert_array_equal(run(ad.grad(y, x), {x: a}), want)
        np.testing.assert_array_equal(ad.compile(x, ad.grad(y, x))(a), want)


def test_errors_name_what_is_wrong() -> None:
    x = ad.input("x", (3, "n"))
    with pytest.raises(ad.ShapeError, match="sort: axis 2 is out of range for 2 axes"):
        ad.sort(x, 2)
    with pytest.raises(ad.ShapeError, match=r"topk: k is an int from 0 to 1 for axis 1 of float32\[3, n\], got 2"):
        ad.topk(x, 2)
    with pytest.raises(ad.ShapeError, match="argsort: axis -1 is out of range for 0 axes"):
        ad.argsort(1.0)
    with pytest.raises(ad.GraphError, match='side is "left" or "right", got'):
        ad.searchsorted([1.0], x, "middle")
    with pytest.raises(ad.ShapeError, match="what is searched must have one axis"):
        ad.searchsorted(x, 1.0)
    with pytest.raises(ad.GraphError, match="descending is True or False"):
        ad.sort(x, descending="yes")
