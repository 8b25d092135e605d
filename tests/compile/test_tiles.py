"""Products in blocks of rows, groups of panels and blocks of depth: what the blocks leave over, every orientation,
operands read in place, turned or packed on either side, results stored directly or through an epilogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjoint as ad

FORMS = ("nn", "nt", "tn", "tt")
SHAPES = [
    (150, 800, 330),  # groups of panels, several blocks of rows, a narrow last panel, blocks of depth with a rest
    (64, 1540, 256),  # the same with nothing left over, and more blocks of depth
    (203, 9, 1030),  # shallow: row by row
    (3, 1200, 200),  # few rows: wide tiles over an operand in place
    (14, 1100, 36),  # two tiles of rows, a last panel of four columns
    (40, 50, 130),  # small enough to be read in place by many rows
]


def compiled(shape: tuple[int, ...], form: str, dtype: str, target: str | None) -> tuple[Any, list[np.ndarray]]:
    m, k, n = shape
    a = ad.input("a", (m, k) if form[0] == "n" else (k, m), dtype)
    b = ad.input("b", (k, n) if form[1] == "n" else (n, k), dtype)
    v = ad.input("v", (n,), dtype)
    x, y = a if form[0] == "n" else a.T, b if form[1] == "n" else b.T
    product = x @ y
    outputs = [product, ad.tanh(x @ y + v), (y.T @ x.T) * 0.5]
    rng = np.random.default_rng(7)
    data = [rng.normal(size=i.shape).astype(dtype) for i in (a, b, v)]
    return ad.compile([a, b, v], outputs, threads=2, target=target), data


@pytest.mark.parametrize(
    ("dtype", "target", "shapes"),
    [("float32", None, SHAPES), ("float64", None, SHAPES[::3]), ("float32", "x86-64-v3", SHAPES[::2])],
)
@pytest.mark.parametrize("form", FORMS)
def test_blocks(form: str, dtype: str, target: str | None, shapes: list[tuple[int, ...]]) -> None:
    eps = np.finfo(dtype).eps
    for shape in shapes:
        try:
            function, (a, b, v) = compiled(shape, form, dtype, target)
        except ad.CompileError:
            pytest.skip("this machine cannot run the target")
        x, y = (w.astype(np.float64) for w in (a if form[0] == "n" else a.T, b if form[1] == "n" else b.T))
        size = np.abs(x) @ np.abs(y)
        plain, tail, turned = function(a, b, v)
        assert (np.abs(plain - x @ y) <= 8 * eps * size).all(), shape
        assert (np.abs(tail - np.tanh(x @ y + v)) <= 8 * eps * (size + 1)).all(), shape
        assert (np.abs(turned.T - 0.5 * (x @ y)) <= 8 * eps * size).all(), shape


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_few_numbers(form: str) -> None:
    rng = np.random.default_rng(8)
    for batch, m, k, n in [(50, 3, 3, 3), (7, 2, 2, 2), (9, 4, 5, 6), (11, 2, 9, 3), (3, 1, 4, 4), (5, 4, 1, 4)]:
        a = rng.normal(size=(batch, m, k) if form[0] == "n" else (batch, k, m)).astype(np.float32)
        b = rng.normal(size=(batch, k, n) if form[1] == "n" else (batch, n, k)).astype(np.float32)
        x, y = ad.input("a", a.shape), ad.input("b", b.shape)
        product = (x if form[0] == "n" else ad.matrix_transpose(x)) @ (y if form[1] == "n" else ad.matrix_transpose(y))
        want = (a if form[0] == "n" else a.swapaxes(1, 2)) @ (b if form[1] == "n" else b.swapaxes(1, 2))
        np.testing.assert_allclose(ad.compile([x, y], product)(a, b), want, rtol=1e-5, atol=1e-5)


def test_a_product_updates_a_variable_that_later_blocks_do_not_read() -> None:
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(70, 900)).astype(np.float32), rng.normal(size=(900, 300)).astype(np.float32)
    w = ad.variable(np.zeros((70, 300), np.float32), name="w")
    u = ad.variable(rng.normal(size=(304, 304)).astype(np.float32), name="u")
    x, y = ad.input("x", a.shape), ad.input("y", b.shape)
    before = u.value.copy()
    step = ad.compile([x, y], w.sum(), updates={w: x @ y, u: u @ u})
    assert step(a, b) == 0
    np.testing.assert_allclose(w.value, a @ b, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(u.value, before @ before, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("m", "k", "n", "dtype"), [(140, 768, 100, "float32"), (61, 787, 70, "float64")])
def test_sums_over_the_rows_of_both(m: int, k: int, n: int, dtype: str) -> None:
    """The gradient of a weight: in parts or blocks of depth, the first tile of a panel packs it for the others."""
    rng = np.random.default_rng(10)
    a, b, start = (rng.normal(size=shape).astype(dtype) for shape in ((k, m), (k, n), (m, n)))
    x, y = ad.input("x", a.shape, dtype), ad.input("y", b.shape, dtype)
    found = []
    for threads in (1, 2):
        w = ad.variable(start, name="w")
        step = ad.compile([x, y], [], updates={w: w - 0.5 * (x.T @ y)}, threads=threads)
        step(a, b)
        found.append(w.value.copy())
    assert "tile_pack" in step.dump("kernels")
    size = np.abs(start) + np.abs(a).T.astype(np.float64) @ np.abs(b)
    want = start - 0.5 * (a.T.astype(np.float64) @ b)
    assert (np.abs(found[0] - want) <= 8 * np.finfo(dtype).eps * size).all()
    assert found[0].tobytes() == found[1].tobytes()
