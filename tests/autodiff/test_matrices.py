"""Jacobians, Hessians and products with them: shapes, structures, modes, and nested in one another."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph.node import toposort

RNG = np.random.default_rng(5)
A, V, W = RNG.standard_normal((4, 3)), RNG.uniform(0.5, 1.5, 3), RNG.standard_normal(3)
F = "float64"


def run(results, **values):
    """By compiled code; backend="numpy" has to agree."""
    inputs = [ad.input(n, a.shape, F) for n, a in values.items()]
    made = results(*inputs)
    arrays = list(values.values())
    got, want = (ad.compile(inputs, made, backend=b)(*arrays) for b in ("c", "numpy"))
    for a, b in zip(ad.lang.tree.flatten(got)[0], ad.lang.tree.flatten(want)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    return got


def test_jacobians_have_the_axes_of_the_result_then_those_of_the_argument():
    wide, tall, square, zero, same = run(
        lambda v, a: [
            ad.jacobian(ad.sum(ad.sin(v)) * v[:2], v),
            ad.jacobian(a @ v, v),
            ad.jacobian(a * a, a),
            ad.jacobian(ad.stop_gradient(v), v),
            ad.jacobian(ad.sum(v * v), v),
        ],
        v=V, a=A,
    )  # fmt: skip
    np.testing.assert_allclose(wide, np.sin(V).sum() * np.eye(2, 3) + np.outer(V[:2], np.cos(V)))
    np.testing.assert_array_equal(tall, A)
    expected = 2 * np.einsum("ij,ik,jl->ijkl", A, np.eye(4), np.eye(3))
    np.testing.assert_allclose(square, expected)
    assert not zero.any() and zero.shape == (3, 3)
    np.testing.assert_allclose(same, 2 * V)


@pytest.mark.parametrize(("n", "m"), [(2, 9), (9, 2)])
def test_the_mode_is_that_of_fewer_seeds_and_all_go_in_one_sweep(n, m):
    """A loop is batched as it is: the Jacobian has the loop itself, and one of tangents or cotangents."""
    x, w = ad.input("x", (n,), F), ad.input("w", (n, m), F)
    y = ad.scan(lambda c, v: (ad.sin(c) * v, None), ad.tanh(x @ w), ad.arange(5, dtype=F))[0]
    nodes = toposort([ad.jacobian(y, x).node])
    scans = [s for s in nodes if s.op.name == "scan"]
    seeds = {shape[0] for s in scans for shape in s.shape if len(shape) == 2 and shape[1] == m}
    assert len(scans) <= 2 and seeds - {5} == {min(n, m)}


def test_trees_give_a_block_for_each_pair():
    found = run(lambda v, w: ad.jacobian({"p": v * w, "s": ad.sum(v)}, [v, w]), v=V, w=W)
    assert sorted(found) == ["p", "s"]
    np.testing.assert_allclose(found["p"][0], np.diag(W))
    np.testing.assert_allclose(found["p"][1], np.diag(V))
    np.testing.assert_array_equal(found["s"][0], np.ones(3))
    assert not found["s"][1].any()
    blocks = run(lambda v, w: ad.hessian(ad.sum(v * v * w), {"v": v, "w": w}), v=V, w=W)
    np.testing.assert_allclose(blocks["v"]["v"], np.diag(2 * W))
    np.testing.assert_allclose(blocks["v"]["w"], np.diag(2 * V))
    np.testing.assert_allclose(blocks["w"]["v"], np.diag(2 * V))
    assert not blocks["w"]["w"].any()


def test_hessians_and_their_products():
    def f(x):
        return ad.sum(ad.exp(x) * ad.roll(x, 1)) * ad.sum(x)

    whole, product, again, both = run(
        lambda v, w: [
            ad.hessian(f(v), v),
            ad.hvp(f(v), v, w),
            ad.jacobian(ad.grad(f(v), v), v),
            ad.hvp(f(v) * ad.sum(w), [v, w], [w, v]),
        ],
        v=V, w=W,
    )  # fmt: skip
    np.testing.assert_allclose(whole, whole.T, rtol=1e-12)
    np.testing.assert_allclose(product, whole @ W, rtol=1e-12)
    np.testing.assert_allclose(again, whole, rtol=1e-12)
    assert [b.shape for b in both] == [(3,), (3,)]


def test_modes_nest_to_any_order():
    """Third derivatives of Σ x⁴: 24 x on the diagonal, in four ways."""
    ones = ad.constant(np.ones(3))

    def ways(x):
        y = ad.sum(x**4)
        g = ad.grad(y, x)
        return [
            ad.jvp(ad.jvp(g, x, ones), x, ones),
            ad.grad(ad.sum(ad.grad(ad.sum(g), x)), x),
            ad.sum(ad.jacobian(ad.hessian(y, x), x), (1, 2)),
            ad.grad(ad.sum(ad.hvp(y, x, ones)), x),
        ]

    for way in run(ways, x=V):
        np.testing.assert_allclose(way, 24 * V, rtol=1e-12)


def test_tangents_are_structured_as_what_they_are_tangents_of():
    found = run(lambda v, w: ad.jvp({"a": v * w, "b": [ad.sum(v)]}, (v, w), (w, 2 * v)), v=V, w=W)
    np.testing.assert_allclose(found["a"], W * W + 2 * V * V)
    np.testing.assert_allclose(found["b"][0], W.sum())


def test_run_time_and_empty_extents():
    x = ad.input("x", ("n",), F)
    f = ad.compile(x, [ad.jacobian(x * x, x), ad.hessian(ad.sum(x**3), x)])
    for n in (1, 4):
        v = np.arange(1.0, n + 1)
        first, second = f(v)
        np.testing.assert_array_equal(first, np.diag(2 * v))
        np.testing.assert_array_equal(second, np.diag(6 * v))
    shapes = run(lambda e: [ad.jacobian(e * 2, e), ad.hessian(ad.sum(e), e)], e=np.zeros((0, 2)))
    assert [s.shape for s in shapes] == [(0, 2, 0, 2)] * 2
