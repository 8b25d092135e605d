"""`vmap` as users meet it: axes, trees, what is shared, and composed with derivatives and control flow."""

from __future__ import annotations

import numpy as np

import adjoint as ad

RNG = np.random.default_rng(6)
X, Y, M = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))
F = "float64"


def run(results, **values):
    inputs = [ad.input(n, a.shape, F) for n, a in values.items()]
    arrays, made = list(values.values()), results(*inputs)
    got, want = (ad.compile(inputs, made, backend=b)(*arrays) for b in ("c", "numpy"))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    return got


def test_axes_of_arguments_and_results():
    rows, shared, columns, moved, nested = run(
        lambda x, y, m: [
            ad.vmap(ad.vecdot)(x, y),
            ad.vmap(lambda v, k: v @ k, in_axes=(0, None))(x, m),
            ad.vmap(lambda v: v[0] - v[-1], in_axes=-1)(x),
            ad.vmap(lambda v: ad.outer(v, v), out_axes=-1)(x),
            ad.vmap(ad.vmap(ad.multiply, in_axes=(None, 0)), in_axes=(0, None))(x[:, 0], y[0]),
        ],
        x=X, y=Y, m=M,
    )  # fmt: skip
    np.testing.assert_allclose(rows, (X * Y).sum(1))
    np.testing.assert_allclose(shared, X @ M)
    np.testing.assert_allclose(columns, X[0] - X[-1])
    np.testing.assert_allclose(moved, np.einsum("bi,bj->ijb", X, X))
    np.testing.assert_allclose(nested, np.outer(X[:, 0], Y[0]))


def test_trees_and_what_is_closed_over():
    x, y = ad.input("x", (4, 3), F), ad.input("y", (4, 3), F)
    w = ad.variable(np.arange(3.0), name="w")
    found = ad.vmap(lambda p: {"dot": ad.sum(p["x"] * p["y"]), "w": (p["x"] * w, w)})({"x": x, "y": y})
    got = ad.compile([x, y], found)(X, Y)
    np.testing.assert_allclose(got["dot"], (X * Y).sum(1))
    np.testing.assert_allclose(got["w"][0], X * np.arange(3))
    np.testing.assert_array_equal(got["w"][1], np.broadcast_to(np.arange(3.0), (4, 3)))


def test_gradients_of_examples_and_derivatives_of_batches():
    def energy(v):
        return ad.sum(ad.sin(v) * ad.roll(v, 1))

    each, all_, hessians, tangents = run(
        lambda x, y: [
            ad.vmap(lambda v: ad.grad(energy(v), v))(x),
            ad.grad(ad.sum(ad.vmap(energy)(x)), x),
            ad.vmap(lambda v: ad.hessian(energy(v), v))(x),
            ad.jvp(ad.vmap(energy)(x), x, y),
        ],
        x=X, y=Y,
    )  # fmt: skip
    slopes = np.cos(X) * np.roll(X, 1, 1) + np.roll(np.sin(X), -1, 1)
    np.testing.assert_allclose(each, slopes)
    np.testing.assert_allclose(all_, slopes)
    np.testing.assert_allclose(tangents, (slopes * Y).sum(1))
    np.testing.assert_allclose(hessians[:, [0, 1, 2], [0, 1, 2]], -np.sin(X) * np.roll(X, 1, 1))


def test_branches_and_loops_of_each_example():
    """Examples go their own ways: those of the other branch, or that are done, leave no trace."""

    def follow(v):
        v = ad.while_loop(lambda s: ad.sum(s * s) < 50, lambda s: s * 2, v)
        last, steps = ad.scan(lambda c, k: (c * k, c), v, ad.arange(1, 4, dtype=F))
        return ad.cond(v[0] > 0, lambda: last / steps[0], lambda: ad.sqrt(v[0]) * v)

    def by_hand(v):
        k = 1.0
        while (v * v).sum() < 50:
            v, k = v * 2, k * 2
        return np.full(3, 6.0) if v[0] > 0 else np.full(3, np.nan)

    values, slopes = run(
        lambda x: [ad.vmap(follow)(x), ad.vmap(lambda v: ad.grad(ad.sum(follow(v)), v))(x)], x=X
    )  # fmt: skip
    taken = X[:, 0] > 0
    assert taken.any() and not taken.all()
    for value, example in zip(values, X, strict=True):
        np.testing.assert_allclose(value, by_hand(example))
    np.testing.assert_allclose(slopes[taken], 0, atol=1e-12)
    assert np.isnan(slopes[~taken]).any()


def test_run_time_numbers_of_examples():
    x = ad.input("x", ("n", 3), F)
    f = ad.compile(x, ad.vmap(lambda v: ad.cond(ad.sum(v) > 0, lambda: v, lambda: -v))(x))
    for n in (1, 4):
        np.testing.assert_array_equal(f(X[:n]), np.where(X[:n].sum(1, keepdims=True) > 0, X[:n], -X[:n]))
    empty = ad.input("empty", (0, 3), F)
    assert ad.compile(empty, ad.vmap(lambda v: ad.sum(v))(empty))(np.zeros((0, 3))).shape == (0,)
