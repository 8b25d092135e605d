"""Run-time extents as values: positions of extrema over several axes, means, indices and loops that use them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import GraphError
from adjoint.graph import build as b
from adjoint.graph.dtypes import FLOAT32
from adjoint.graph.node import make
from adjoint.graph.program import Program
from adjoint.graph.verify import verify_program
from adjoint.lang.array import Array

SHAPES = [(1, 3, 1), (4, 3, 5), (2, 3, 40)]


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def first(a: Any, axes: tuple[int, ...], extremum: Any) -> Any:
    """1 at the first extremum of every group along axes, else 0."""
    rest = [k for k in range(a.ndim) if k not in axes]
    moved = np.transpose(a, (*rest, *axes)).reshape([a.shape[k] for k in rest] + [-1])
    hot = np.zeros(moved.shape, a.dtype)
    np.put_along_axis(hot, extremum(moved, axis=-1)[..., None], 1, -1)
    return np.transpose(hot.reshape([a.shape[k] for k in (*rest, *axes)]), np.argsort((*rest, *axes)))


def test_extrema_over_several_axes_of_run_time_extent() -> None:
    x = ad.input("x", ("m", 3, "n"))
    sets = [(0, 1, 2), (1, 2), (0, 2), (0, 1)]
    outputs = [ad.argmax(x)]
    outputs += [ad.grad(ad.sum(ad.max(x, axis=axes)), x) for axes in sets]
    outputs += [ad.grad(ad.sum(ad.min(x, axis=axes)), x) for axes in sets]
    f, g = ad.compile([x], outputs), ad.compile([x], outputs, backend="numpy")
    for shape in SHAPES:
        a = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)
        want = [np.argmax(a), *(first(a, axes, how) for how in (np.argmax, np.argmin) for axes in sets)]
        for results in (f(a), g(a)):
            for got, expected in zip(results, want, strict=True):
                np.testing.assert_array_equal(got, expected)


def test_extents_as_operands_of_everything() -> None:
    x, k = ad.input("x", ("m", "n")), ad.input("k", (3,))
    m, n = (Array(b.extent(e)) for e in x.shape)
    half = Array(b.extent(x.shape[0] * 2 + x.shape[1]))
    count, steps = ad.scan(lambda c, i: (c + n, c * i.astype("int64") + m), m, k)
    means = [ad.mean(x), ad.mean(x, axis=0), x * n.astype("float32")]
    outputs = [m, half, m * n + half, ad.take(k, m * 0), count, steps, *means]
    f, g = ad.compile([x, k], outputs), ad.compile([x, k], outputs, backend="numpy")
    h = pickle.loads(pickle.dumps(f))
    for rows, columns in ((1, 1), (5, 3), (2, 70)):
        a, c = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns), np.arange(3, dtype=np.float32)
        results = f(a, c)
        assert [int(r) for r in results[:3]] == [rows, 2 * rows + columns, rows * columns + 2 * rows + columns]
        assert int(results[4]) == rows + 3 * columns
        for others in (g(a, c), h(a, c)):
            for got, want in zip(results, others, strict=True):
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=1e-6)


def test_an_extent_must_be_bound_and_shows_in_dumps() -> None:
    x = ad.input("x", ("m", 4))
    assert "extent m" in ad.compile([x], ad.mean(x, axis=0)).dump("graph")
    assert b.extent(7).op.name == "literal"
    other = make("input", (), x.node["token"], (4,), FLOAT32)
    with pytest.raises(GraphError, match='dimension "m" is not bound'):
        verify_program(Program("f", (other,), (b.extent(x.shape[0]),)))
