"""Losses against sums written out in NumPy, label by label."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(11)
X = RNG.standard_normal((6, 5)) * 3
LABELS = np.array([0, 4, 2, 2, 1, 3])
SHARES = RNG.dirichlet(np.ones(5), 6)
WEIGHT = RNG.uniform(0.5, 2, 5)
TARGET = RNG.uniform(0, 1, X.shape)


def log_softmax(x):
    return np.array([row - row.max() - np.log(np.exp(row - row.max()).sum()) for row in x])


def reduced(losses, reduction, total):
    return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / total}[reduction]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [None, 2, -100])
def test_cross_entropy_of_labels(reduction, weight, smoothing, ignored, run):
    w = np.ones(5) if weight is None else weight
    labels = np.where(LABELS == 1, ignored, LABELS) if ignored == -100 else LABELS
    losses, total = np.zeros(6), 0.0
    for i, (row, t) in enumerate(zip(log_softmax(X), labels, strict=True)):
        if t != ignored:
            losses[i] = -(1 - smoothing) * w[t] * row[t] - smoothing / 5 * (w * row).sum()
            total += w[t]
    how = {"weight": weight, "ignore_index": ignored, "label_smoothing": smoothing, "reduction": reduction}
    want = reduced(losses, reduction, total)
    np.testing.assert_allclose(run(ad.nn.cross_entropy(X, labels, **how)), want, rtol=1e-12)
    np.testing.assert_allclose(run(ad.nn.cross_entropy(X.T, labels, 0, **how)), want, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities(reduction, weight, smoothing, run):
    w = np.ones(5) if weight is None else weight
    target = (1 - smoothing) * SHARES + smoothing / 5
    want = reduced(-(w * target * log_softmax(X)).sum(1), reduction, 6)
    how = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
    np.testing.assert_allclose(run(ad.nn.cross_entropy(X, SHARES, **how)), want, rtol=1e-12)
    np.testing.assert_allclose(run(ad.nn.cross_entropy(X.T, SHARES.T, 0, **how)), want, rtol=1e-12)


def test_cross_entropy_over_an_inner_axis(run):
    x, t = RNG.standard_normal((2, 4, 3)), RNG.integers(0, 4, (2, 3))
    rows = np.moveaxis(x, 1, -1).reshape(-1, 4)
    want = -log_softmax(rows)[range(6), t.ravel()].reshape(2, 3)
    np.testing.assert_allclose(run(ad.nn.cross_entropy(x, t, 1, reduction="none")), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_cross_entropy_of_extreme_logits(dtype, run):
    inf = np.inf
    x = np.array([[1e4, -1e4, 0], [-inf, 0, 0], [3e38, -3e38, 0], [0, -inf, -inf]], dtype)
    want = [0, np.log(2), 3e38, 0]
    losses = run(ad.nn.cross_entropy(x, [0, 1, 2, 0], reduction="none"))
    assert losses.dtype == np.dtype(dtype)
    np.testing.assert_allclose(losses, want, rtol=1e-6)
    # Classes of probability 0 may have a logit of -inf.
    logits = ad.input("x", x.shape, dtype)
    shares = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1], [1, 0, 0]], dtype)
    by_share = ad.nn.cross_entropy(logits, shares, reduction="none")
    np.testing.assert_allclose(run(by_share, {logits: x}), want, rtol=1e-6)
    slope = run(ad.grad(by_share.sum(), logits), {logits: x})
    np.testing.assert_allclose(slope, [[0, 0, 0], [0, 0, 0], [1, 0, -1], [0, 0, 0]], atol=1e-6)


def test_nothing_that_counts(run):
    assert np.isnan(run(ad.nn.cross_entropy(X, np.full(6, -1), ignore_index=-1)))
    assert run(ad.nn.cross_entropy(X, np.full(6, -1), ignore_index=-1, reduction="sum")) == 0
    assert run(ad.nn.cross_entropy(np.zeros((0, 3), "f"), np.zeros(0, int), reduction="sum")) == 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_nll(reduction, weight, run):
    w = np.ones(5) if weight is None else weight
    counts = LABELS != 2
    losses = np.array([-w[t] * row[t] * (t != 2) for row, t in zip(X, LABELS, strict=True)])
    got = run(ad.nn.nll_loss(X, LABELS, weight=weight, ignore_index=2, reduction=reduction))
    np.testing.assert_allclose(got, reduced(losses, reduction, (w[LABELS] * counts).sum()), rtol=1e-12)
    np.testing.assert_allclose(run(ad.nn.nll_loss(X.T, LABELS, 0)), -X[range(6), LABELS].mean(), rtol=1e-12)


def _huber(d, edge):
    return np.where(np.abs(d) <= edge, d * d / 2, edge * (np.abs(d) - edge / 2))


ELEMENTWISE = {
    "mse_loss": (ad.nn.mse_loss, lambda x, t: (x - t) ** 2),
    "l1_loss": (ad.nn.l1_loss, lambda x, t: abs(x - t)),
    "huber_loss": (lambda x, t, **r: ad.nn.huber_loss(x, t, 0.7, **r), lambda x, t: _huber(x - t, 0.7)),
    "smooth_l1_loss": (lambda x, t, **r: ad.nn.smooth_l1_loss(x, t, 0.7, **r), lambda x, t: _huber(x - t, 0.7) / 0.7),
    "smooth_l1_loss 0": (lambda x, t, **r: ad.nn.smooth_l1_loss(x, t, 0, **r), lambda x, t: abs(x - t)),
    "bce logits": (
        ad.nn.binary_cross_entropy_with_logits,
        lambda x, t: t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x)),
    ),
    "bce logits weighted": (
        lambda x, t, **r: ad.nn.binary_cross_entropy_with_logits(x, t, WEIGHT[:, None][:1], pos_weight=WEIGHT, **r),
        lambda x, t: WEIGHT[0] * (WEIGHT * t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x))),
    ),
    "bce": (
        lambda x, t, **r: ad.nn.binary_cross_entropy(ad.sigmoid(x), t, WEIGHT, **r),
        lambda x, t: WEIGHT * (t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x))),
    ),
    "kl_div": (ad.nn.kl_div, lambda x, t: t * (np.log(t) - x)),
    "kl_div log": (
        lambda x, t, **r: ad.nn.kl_div(x, ad.log(ad.constant(t)), log_target=True, **r),
        lambda x, t: t * (np.log(t) - x),
    ),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses(name, reduction, run):
    loss, reference = ELEMENTWISE[name]
    want = reduced(reference(X, TARGET), reduction, X.size)
    np.testing.assert_allclose(run(loss(X, TARGET, reduction=reduction)), want, rtol=1e-10)
    single = run(loss(X.astype("f"), TARGET.astype("f"), reduction=reduction))
    np.testing.assert_allclose(single, want, rtol=1e-5, atol=1e-6)
    if "weighted" not in name and name != "bce":
        assert single.dtype == np.float32


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_binary_cross_entropy_at_extremes(dtype, run):
    x, t = np.array([1e4, -1e4, -1e4, 60, -60, 0, 0], dtype), np.array([0, 1, 0, 1, 0, 1, 0], dtype)
    logits = ad.input("x", x.shape, dtype)
    loss = ad.nn.binary_cross_entropy_with_logits(logits, t, reduction="none")
    want = [1e4, 1e4, 0, np.exp(-60), np.exp(-60), np.log(2), np.log(2)]
    np.testing.assert_allclose(run(loss, {logits: x}), want, rtol=1e-6)
    slope = run(ad.grad(loss.sum(), logits), {logits: x})
    np.testing.assert_allclose(slope, [1, -1, 0, -np.exp(-60), np.exp(-60), -0.5, 0.5], rtol=1e-6)
    p = ad.input("p", (4,), dtype)
    clamped = ad.nn.binary_cross_entropy(p, np.array([1, 0, 1, 0], dtype), reduction="none")
    ends = np.array([0, 1, 1, 0], dtype)
    np.testing.assert_array_equal(run(clamped, {p: ends}), [100, 100, 0, 0])
    np.testing.assert_array_equal(run(ad.grad(clamped.sum(), p), {p: ends}), [0, 0, -1, 1])


def test_divergence_of_distributions(run):
    x = log_softmax(X)
    want = (SHARES * (np.log(SHARES) - x)).sum() / 6
    np.testing.assert_allclose(run(ad.nn.kl_div(x, SHARES, reduction="batchmean")), want, rtol=1e-12)
    certain = np.eye(5)[LABELS]
    want = -x[range(6), LABELS].mean()
    np.testing.assert_allclose(run(ad.nn.kl_div(x, certain, reduction="batchmean")), want, rtol=1e-12)
    with np.errstate(divide="ignore"):
        logs = np.log(certain)
    np.testing.assert_allclose(run(ad.nn.kl_div(x, logs, log_target=True, reduction="batchmean")), want, rtol=1e-12)
    with pytest.raises(ad.ShapeError, match="batchmean"):
        ad.nn.kl_div(np.float64([1])[0:1].reshape(()), np.ones(()), reduction="batchmean")


def test_what_does_not_fit():
    x = ad.input("x", ("n", 5))
    with pytest.raises(ad.GraphError, match='mse_loss: reduction is "mean", "sum" or "none", got \'avg\''):
        ad.nn.mse_loss(x, x, reduction="avg")
    with pytest.raises(ad.ShapeError, match=r"huber_loss: shapes differ: float32\[n, 5\] and float32\[5\]"):
        ad.nn.huber_loss(x, ad.input("y", (5,)))
    with pytest.raises(ad.GraphError, match="delta"):
        ad.nn.huber_loss(x, x, 0)
    with pytest.raises(ad.GraphError, match="beta"):
        ad.nn.smooth_l1_loss(x, x, -1)
    with pytest.raises(ad.GraphError, match="label_smoothing"):
        ad.nn.cross_entropy(x, ad.input("t", ("n",), "int64"), label_smoothing=1.5)
    with pytest.raises(ad.GraphError, match="ignore_index"):
        ad.nn.cross_entropy(x, x, ignore_index=0)
    with pytest.raises(ad.ShapeError, match="one element per class"):
        ad.nn.cross_entropy(x, ad.input("t", ("n",), "int64"), weight=np.ones(4, "f"))
    with pytest.raises(ad.ShapeError, match=r"class probabilities must have the shape of logits"):
        ad.nn.cross_entropy(x, ad.input("t", ("n", 4)))
    with pytest.raises(ad.ShapeError, match=r"labels must have the shape of the logits without axis -1"):
        ad.nn.nll_loss(x, ad.input("t", (5,), "int64"))
    with pytest.raises(ad.DTypeError, match="labels must be integer"):
        ad.nn.nll_loss(x, ad.input("t", ("n",)))
    with pytest.raises(ad.DTypeError, match="floating"):
        ad.nn.mse_loss([1, 2], [1, 2])
    with pytest.raises(ad.ShapeError, match="does not broadcast"):
        ad.nn.binary_cross_entropy_with_logits(x, x, pos_weight=np.ones((2, 5), "f"))
