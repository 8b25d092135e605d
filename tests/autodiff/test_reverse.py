"""Reverse mode: worked examples, structure, errors, depth."""

from __future__ import annotations

import time

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph.interp import evaluate


def value(y, **values):
    return evaluate([y.node], {k.node: v for k, v in values.pop("at").items()})[0]


def test_quadratic_form_of_a_vector():
    x = ad.input("x", (4,))
    y = 2 * ad.vecdot(x, x)
    np.testing.assert_allclose(value(ad.grad(y, x), at={x: np.arange(4)}), 4 * np.arange(4))


def test_square_with_a_cotangent():
    x = ad.input("x", (4,))
    g = ad.grad(x * x, x, cotangent=np.ones(4))
    np.testing.assert_allclose(value(g, at={x: np.arange(4)}), 2 * np.arange(4))


def test_detach_cuts():
    x = ad.input("x", (3,))
    g = ad.grad((x * x.detach()).sum(), x)
    np.testing.assert_allclose(value(g, at={x: [1, 2, 3]}), [1, 2, 3])


def test_two_arguments():
    x, y = ad.input("x"), ad.input("y")
    gx, gy = ad.grad(x * y + x**2, [x, y])
    assert (value(gx, at={x: 1, y: 2}), value(gy, at={x: 1})) == (4, 1)


def test_polynomial():
    x = ad.input("x")
    assert value(ad.grad(x**3 - 2 * x**2 + x - 1, x), at={x: 3}) == 16


@pytest.mark.parametrize("power", [lambda x: x**4, lambda x: ad.pow(x, ad.constant(4.0)), lambda x: x * x * x * x])
def test_higher_orders(power):
    x = ad.input("x")
    first = ad.grad(power(x), x)
    second = ad.grad(first, x)
    third = ad.grad(second, x)
    np.testing.assert_allclose([value(g, at={x: 2}) for g in (first, second, third)], [32, 48, 48])


def test_least_squares():
    w, x, t, b = ad.input("w", (3,)), ad.input("x", (3,)), ad.input("t"), ad.input("b")
    loss = (w @ x + b - t) ** 2
    at = {w: [1, 2, 3], x: [1, 0, -1], t: 1, b: 0.5}
    error = (1 - 3) + 0.5 - 1
    np.testing.assert_allclose(value(ad.grad(loss, w), at=at), 2 * error * np.array([1, 0, -1]))
    np.testing.assert_allclose(value(ad.grad(loss, b), at=at), 2 * error)


def test_quadratic_form_of_a_symmetric_matrix():
    a, x = ad.input("a", (3, 3)), ad.input("x", (3,))
    m = np.array([[2, 1, 0], [1, 3, 1], [0, 1, 4]], "f")
    np.testing.assert_allclose(value(ad.grad(x @ a @ x, x), at={a: m, x: [1, 2, 3]}), 2 * m @ [1, 2, 3])


def test_trace_of_a_product():
    a, b = ad.input("a", (4, 3)), ad.input("b", (4, 3))
    m = np.arange(12, dtype="f").reshape(4, 3)
    np.testing.assert_allclose(value(ad.grad(ad.trace(a.T @ b), a), at={a: m + 1, b: m}), m)


def test_an_intermediate_may_be_named():
    x = ad.input("x")
    h = x * x
    y = h * x
    gh, gx = ad.grad(y, [h, x])
    assert (value(gh, at={x: 3}), value(gx, at={x: 3})) == (3, 27)


def test_structure_of_the_arguments_is_kept():
    x, y = ad.input("x"), ad.input("y")
    z = x * y
    result = ad.grad(z, {"a": x, "b": (y, [x])})
    assert set(result) == {"a", "b"} and isinstance(result["b"][1], list)
    value_, (gx, gy) = ad.value_and_grad(z, (x, y))
    assert value_ is z and gx.node is y.node and gy.node is x.node
    total = ad.vjp([x * y, x + y], [x, y], [2.0, 3.0])
    assert [float(value(g, at={x: 5, y: 7})) for g in total] == [17, 13]


def test_functions():
    def f(p, scale):
        return (p["w"] * p["b"]).sum() * scale

    w, b = ad.input("w", (2,)), ad.input("b", (2,))
    y, g = ad.value_and_grad(f)({"w": w, "b": b}, 3)
    at = {w: [1, 2], b: [3, 4]}
    assert value(y, at=at) == 33
    np.testing.assert_allclose(value(g["w"], at=at), [9, 12])
    x = ad.input("x")
    gx, gy = ad.grad(lambda p, q: p * p * q, (0, 1))(x, x)
    assert (value(gx, at={x: 3}), value(gy, at={x: 3})) == (18, 9)
    assert value(ad.grad(ad.grad(lambda p: p**3))(x), at={x: 2}) == 12


def test_independence():
    x, y = ad.input("x", (2,)), ad.input("y")
    np.testing.assert_allclose(value(ad.grad(y * y, x), at={y: 1}), [0, 0])
    with pytest.raises(ad.GradientError, match='does not depend on input "x"'):
        ad.grad(y * y, x, strict=True)
    with pytest.raises(ad.GradientError, match="depend"):
        ad.grad(ad.sum(x.detach()), x, strict=True)


def test_errors():
    x, n = ad.input("x", (2,)), ad.input("n", (2,), "int64")
    with pytest.raises(ad.GradientError, match=r"float32\[2\] is not a scalar"):
        ad.grad(x, x)
    with pytest.raises(ad.GradientError, match="floating dtype, got int64"):
        ad.grad(x.sum(), n)
    with pytest.raises(ad.GradientError, match="floating dtype, got int64"):
        ad.grad(n.sum(), x)
    with pytest.raises(ad.GradientError, match="another shape"):
        ad.grad(x, x, cotangent=np.ones(3))
    with pytest.raises(ad.GradientError, match="without loss"):
        ad.grad(x, x, cotangent=np.full(2, 0.1))
    with pytest.raises(ad.GradientError, match="what to differentiate by"):
        ad.grad(x.sum())
    with pytest.raises(ad.GradientError, match="symbolic array"):
        ad.grad(x.sum(), np.ones(2))


def test_only_what_lies_between_is_built():
    x, y = ad.input("x", (3, 3)), ad.input("y", (3, 3))
    g = ad.grad((x @ y).sum(), x)
    from adjoint.graph.node import toposort

    assert x.node not in toposort([g.node])


def test_adjoint_nodes_know_their_origin():
    x = ad.input("x", (3,))
    h = ad.tanh(x)
    g = ad.grad(h.sum(), x)
    assert g.node.stems_from is h.node
    assert g.node.sites == h.node.sites


@pytest.mark.parametrize(
    ("fn", "at", "expected"),
    [
        (ad.relu, 0, 0),
        (ad.abs, 0, 0),
        (ad.sign, 0, 0),
        (lambda x: ad.maximum(x, 1.0), 1, 0.5),
        (lambda x: ad.clip(x, -1, 1), 1, 1),
        (lambda x: ad.std(ad.stack([x, x])), 2, 0),
        (lambda x: ad.vector_norm(ad.stack([x, x])), 0, 0),
        (lambda x: ad.pow(x, ad.constant(0.0)), 3, 0),
        (lambda x: ad.pow(x, ad.constant(0.0)), 0, 0),
        (lambda x: ad.where(x > 0, ad.log(x), 0.0), 0, 0),
        (lambda x: ad.where(x > 0, ad.sqrt(x), x), -1, 1),
        (ad.floor, 1.5, 0),
        (ad.softplus, 0, 0.5),
    ],
)
def test_kinks(fn, at, expected):
    x = ad.input("x")
    assert value(ad.grad(fn(x), x), at={x: at}) == expected


def test_first_extremum_takes_all():
    x = ad.input("x", (4,))
    np.testing.assert_array_equal(value(ad.grad(x.max(), x), at={x: [1, 3, 3, 2]}), [0, 1, 0, 0])
    np.testing.assert_array_equal(value(ad.grad(x.min(), x), at={x: [1, 3, 1, 2]}), [1, 0, 0, 0])


def test_rows_of_minus_infinity():
    x = ad.input("x", (2, 3))
    rows = np.array([[-np.inf] * 3, [1, 2, -np.inf]])
    weights = np.arange(6, dtype="f").reshape(2, 3)
    for y in ((ad.softmax(x) * weights).sum(), ad.logsumexp(x, -1)[0], ad.logsumexp(x, -1)[1]):
        g = value(ad.grad(y, x), at={x: rows})
        assert np.isfinite(g).all() and (g[0] == 0).all()


def test_no_grad():
    x = ad.input("x", requires_grad=True)
    with ad.no_grad():
        h = x * x
    assert not h.requires_grad and (x * x).requires_grad
    assert value(ad.grad(h * x, x), at={x: 3}) == 9

    @ad.no_grad()
    def square(v):
        return v * v

    assert not square(x).requires_grad


def test_deep_chain_of_masks():
    x, c = ad.input("x", (2, 2)), ad.input("c", (2, 2), "bool")
    y = ad.log(x)
    for k in range(5_000):
        y = ad.where(ad.logical_xor(c, c.T) if k % 3 else c, y if k % 2 else y.T, 1.0)
    g = ad.grad(y.sum(), x)
    at = {x: [[0, 1], [2, 0]], c: np.zeros((2, 2), bool)}
    np.testing.assert_array_equal(value(g, at=at), np.zeros((2, 2)))


def test_deep_chain():
    n = 100_000
    x = ad.input("x", (2,))
    y, began = x, time.perf_counter()
    for k in range(n):
        y = ad.sin(y) if k % 2 else y + x
    built = time.perf_counter() - began
    g = ad.grad(y.sum(), x)
    total = time.perf_counter() - began
    assert np.isfinite(value(g, at={x: [0.1, 0.2]})).all()
    # Ten times what it takes, for machines under load; anything quadratic is far beyond.
    assert built < 1e-3 * n and total < 2e-3 * n


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: ad.where(x > 0, ad.log(x), 0.0),
        lambda x: ad.where(x <= 0, 0.0, ad.sqrt(x) * ad.log(x)),
        lambda x: ad.where(x > 0, ad.log(x.reshape(2, 2).T.reshape(4)), 0.0),
        lambda x: ad.where(ad.stack([x > 0, x > 0]), ad.broadcast_to(1 / x, (2, 4)), 0.0),
        lambda x: ad.where(x > 0, ad.concat([ad.log(x[:2]), ad.rsqrt(x[2:])]), 1.0),
        lambda x: ad.where(x > 0, ad.where(x < 2, ad.log(x), ad.log(x) ** 2), 1.0),
    ],
)
def test_the_branch_not_taken_reaches_nothing(fn):
    x = ad.input("x", (4,))
    at = np.array([1, 0, 0, 3], "f")
    g = value(ad.grad(fn(x).sum(), x), at={x: at})
    h = value(ad.grad(ad.grad(fn(x).sum(), x).sum(), x), at={x: at})
    assert np.isfinite(g).all() and np.isfinite(h).all() and (g[1:3] == 0).all() and g[0] != 0


def test_masks_cost_nothing_where_nothing_can_go_wrong():
    x, w = ad.input("x", (3,)), ad.input("w", (3, 3))
    from adjoint.graph.node import toposort

    g = ad.grad(ad.where(x > 0, -(2 * (x @ w)) + x, 0).sum(), x)
    assert sum(n.op.name == "where" for n in toposort([g.node])) == 1
