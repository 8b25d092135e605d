"""Products of vectors and matrices in chunks of rows or columns; outer products that update what they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program


def program_of(outputs: list[ad.Array], inputs: list[ad.Array]) -> Program:
    return Program("f", tuple(x.node for x in inputs), tuple(y.node for y in outputs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "n"), [(784, 512), (1030, 67), (4099, 17), (70, 4100), (5, 70000)])
def test_vector_times_matrix(dtype: str, k: int, n: int) -> None:
    """Chunks of rows with some left over, blocks of columns, both; the vector computed on the way; two threads."""
    x, w, v = ad.input("x", (k,), dtype), ad.input("w", (k, n), dtype), ad.input("v", (n,), dtype)
    y = ad.tanh(x * 0.5) @ w
    rng = np.random.default_rng(3)
    values = {a.node: rng.normal(size=a.shape).astype(dtype) for a in (x, w, v)}
    program = program_of([x @ w, ad.relu(y + v), w @ v], [x, w, v])
    oracle.check(program, values)
    one, two = (oracle.run(program, values, threads=threads) for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_vector_times_matrix_of_run_time_size() -> None:
    x, w = ad.input("x", ("k",)), ad.input("w", ("k", "n"))
    function = ad.compile([x, w], [x @ w, (x * 2) @ (w * w)])
    rng = np.random.default_rng(4)
    for k, n in [(1, 1), (3, 40), (64, 1), (700, 300), (33, 9000)]:
        a, b = rng.normal(size=k).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
        for got, want, size in zip(function(a, b), (a @ b, (a * 2) @ (b * b)), (abs(a) @ abs(b), 2 * abs(a) @ (b * b)),
                                   strict=True):
            assert (np.abs(got - want) <= 1e-5 * size).all()


def network(order: list[str], rows: int) -> tuple[Any, dict[str, ad.Array], list[np.ndarray], ad.Array]:
    rng = np.random.default_rng(5)
    shapes = {"a": (70, 130), "b": (130, 90), "c": (90, 3)}
    weights = {k: ad.variable(rng.normal(size=s).astype(np.float32) * 0.1, name=k) for k, s in shapes.items()}
    x = ad.input("x", (rows, 70))
    h = ad.relu(ad.relu(x @ weights["a"]) @ weights["b"])
    loss = ((h @ weights["c"]) ** 2).mean()
    gradients = dict(zip(weights, ad.grad(loss, list(weights.values())), strict=True))
    updates = {weights[k]: weights[k] - 0.5 * gradients[k] for k in order}
    data = [rng.normal(size=(rows, 70)).astype(np.float32)]
    return ad.compile(x, loss, updates=updates), weights, data, loss


@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]])
def test_updates_replace_old_values_in_place(order: list[str], rows: int) -> None:
    """Every weight is read by the backward pass before its new value is made, in whatever order updates are named."""
    step, weights, (x,), _ = network(order, rows)
    before = {k: w.value.copy() for k, w in weights.items()}
    assert "_copy(" not in step.dump("kernels")
    step(x)
    a, b, c = (before[k].astype(np.float64) for k in "abc")
    h = np.maximum(x @ a, 0)
    g = np.maximum(h @ b, 0)
    dy = 2 * (g @ c) / (rows * 3)
    dg = (dy @ c.T) * (g > 0)
    dh = (dg @ b.T) * (h > 0)
    for name, gradient in (("a", x.T @ dh), ("b", h.T @ dg), ("c", g.T @ dy)):
        np.testing.assert_allclose(weights[name].value, before[name] - 0.5 * gradient, rtol=2e-5, atol=2e-5)
