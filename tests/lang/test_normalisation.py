"""Normalisation and the softmax family against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(12)
X = RNG.standard_normal((4, 6, 3, 2)) * 2 + 1
S, B = RNG.standard_normal(6), RNG.standard_normal(6)


def standard(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def per_channel(v, ndim=4):
    return v.reshape((-1,) + (1,) * (ndim - 2))


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm(groups, run):
    y = standard(X.reshape(4, groups, 6 // groups, 3, 2), (2, 3, 4)).reshape(X.shape)
    np.testing.assert_allclose(run(ad.nn.group_norm(X, groups)), y, rtol=1e-12)
    got = run(ad.nn.group_norm(X, groups, S, B))
    np.testing.assert_allclose(got, y * per_channel(S) + per_channel(B), rtol=1e-10, atol=1e-12)


def test_rms_norm(run):
    for dtype in "fd":
        x = X.astype(dtype)
        want = x / np.sqrt((x**2).mean(-1, keepdims=True) + np.finfo(dtype).eps)
        np.testing.assert_allclose(run(ad.nn.rms_norm(x)), want, rtol=1e-6)
    scale = RNG.standard_normal((3, 2))
    want = X / np.sqrt((X**2).mean((2, 3), keepdims=True) + 0.5) * scale
    np.testing.assert_allclose(run(ad.nn.rms_norm(X, scale, 0.5)), want, rtol=1e-12)


@pytest.mark.parametrize("x", [X, X[..., 0], X[..., 0, 0]], ids=lambda x: f"{x.ndim}d")
def test_batch_norm(x, run):
    axes = tuple(k for k in range(x.ndim) if k != 1)
    s, b = per_channel(S, x.ndim), per_channel(B, x.ndim)
    got = run(ad.nn.batch_norm(x, None, None, S, B, training=True))
    np.testing.assert_allclose(got, standard(x, axes) * s + b, rtol=1e-10, atol=1e-12)
    m, v = RNG.standard_normal(6), RNG.uniform(0.5, 2, 6)
    want = (x - per_channel(m, x.ndim)) / np.sqrt(per_channel(v, x.ndim) + 1e-3)
    np.testing.assert_allclose(run(ad.nn.batch_norm(x, m, v, eps=1e-3)), want, rtol=1e-12)


def test_running_statistics_of_batch_norm():
    x = ad.input("x", ("n", 3, 2), "float64")
    mean, var = ad.variable(np.zeros(3), "mean"), ad.variable(np.ones(3), "var")
    step = ad.compile(x, ad.nn.batch_norm(x, mean, var, training=True, momentum=0.3), backend="numpy")
    m, v = np.zeros(3), np.ones(3)
    for n in (4, 1, 7):
        data = RNG.standard_normal((n, 3, 2)) * 3 + 2
        step(data)
        m, v = 0.7 * m + 0.3 * data.mean((0, 2)), 0.7 * v + 0.3 * data.var((0, 2), ddof=1)
        np.testing.assert_allclose(mean.value, m, rtol=1e-12)
        np.testing.assert_allclose(var.value, v, rtol=1e-12)


def test_normalisation_of_what_is_constant(run):
    x = np.full((2, 4), 7, "f")
    for y in (ad.nn.layer_norm(x), ad.nn.group_norm(x, 2), ad.nn.batch_norm(x, training=True)):
        assert (run(y) == 0).all()
    assert (run(ad.nn.rms_norm(np.zeros((2, 4), "f"))) == 0).all()


@pytest.mark.parametrize(
    ("use", "kind", "text"),
    [
        (lambda x: ad.nn.group_norm(x, 4), ad.ShapeError, "6 channels do not divide into 4 groups"),
        (lambda x: ad.nn.group_norm(x, 2, np.ones(4, "f")), ad.ShapeError, "one element per channel"),
        (lambda x: ad.nn.batch_norm(x), ad.GraphError, "only training=True"),
        (lambda x: ad.nn.batch_norm(x, np.ones(6, "f")), ad.GraphError, "go together"),
        (lambda x: ad.nn.batch_norm(x, S, S, training=True), ad.GraphError, "must be a variable"),
        (lambda x: ad.nn.batch_norm(x[0, :, 0, 0], S, S), ad.ShapeError, "2 axes or more"),
        (lambda x: ad.nn.rms_norm(x, np.ones(3, "f")), ad.ShapeError, "trailing axes"),
        (lambda x: ad.nn.rms_norm(x.astype("int32")), ad.DTypeError, "floating"),
        (lambda x: ad.nn.layer_norm(x.sum()), ad.ShapeError, "1 axes or more"),
    ],
)
def test_what_does_not_fit(use, kind, text):
    with pytest.raises(kind, match=text):
        use(ad.input("x", X.shape))


def test_softmax_of_rows_without_an_element(run):
    inf = np.inf
    x = ad.input("x", (4, 3))
    values = np.array([[-inf, -inf, -inf], [0, -inf, 0], [1e4, -1e4, 1e4], [-3e38, 3e38, 0]], "f")
    share = np.array([[0, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5], [0, 1, 0]])
    np.testing.assert_allclose(run(ad.softmax(x), {x: values}), share)
    with np.errstate(divide="ignore", over="ignore"):
        logs = np.log(share)
        logs[2, 1], logs[3] = -2e4 - np.log(2), np.float32([-3e38, 3e38, 0]) - np.float32(3e38)
    np.testing.assert_allclose(run(ad.log_softmax(x), {x: values}), logs, rtol=1e-6)
    weight = np.array([1, 2, 4], "f")
    slope = run(ad.grad((ad.softmax(x) * weight).sum(), x), {x: values})
    np.testing.assert_allclose(slope, [[0, 0, 0], [-0.75, 0, 0.75], [-0.75, 0, 0.75], [0, 0, 0]])
    slope = run(ad.grad((ad.log_softmax(x) * weight).sum(), x), {x: values})
    np.testing.assert_allclose(slope, [[0, 0, 0], *(weight - 7 * share[1:])], atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_softmax_of_nothing(backend):
    x = ad.input("x", (3, ad.Dim("n", min=0)))
    outputs = [ad.softmax(x), ad.log_softmax(x), ad.logsumexp(x, 1), ad.softmax(x, 0), ad.logsumexp(x)]
    f = ad.compile(x, outputs, backend=backend)
    assert [a.shape for a in f(np.zeros((3, 0), "f"))] == [(3, 0), (3, 0), (3,), (3, 0), ()]
    assert (f(np.zeros((3, 0), "f"))[2] == -np.inf).all() and f(np.zeros((3, 0), "f"))[4] == -np.inf
    np.testing.assert_allclose(f(np.zeros((3, 2), "f"))[0], 0.5)
    q, k = ad.input("q", (2, 4)), ad.input("k", (ad.Dim("m", min=0), 4))
    seen = ad.compile([q, k], ad.nn.scaled_dot_product_attention(q, k, k), backend=backend)
    assert (seen(np.ones((2, 4), "f"), np.ones((0, 4), "f")) == 0).all()
    np.testing.assert_allclose(seen(np.ones((2, 4), "f"), np.full((3, 4), 5, "f")), 5)
