"""Initial values: bounds, moments and shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import adjoint as ad

init = ad.nn.init
SHAPE = (60, 40, 3)  # fan_in 120, fan_out 180


def test_constants():
    for values, wanted in ((init.zeros(SHAPE), 0), (init.ones(SHAPE), 1), (init.constant(SHAPE, 2.5), 2.5)):
        assert values.dtype == np.float32 and values.shape == SHAPE and (values == wanted).all()
    assert init.ones((2,), dtype="float64").dtype == np.float64


@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (lambda **k: init.uniform(SHAPE, -0.3, 0.3, **k), 0.3),
        (lambda **k: init.xavier_uniform(SHAPE, 2.0, **k), 2 * math.sqrt(6 / 300)),
        (lambda **k: init.kaiming_uniform(SHAPE, **k), math.sqrt(6 / 120)),
        (lambda **k: init.kaiming_uniform(SHAPE, math.sqrt(5), "fan_out", **k), math.sqrt(1 / 180)),
        (lambda **k: init.kaiming_uniform(SHAPE, nonlinearity="tanh", **k), 5 / 3 * math.sqrt(3 / 120)),
    ],
)
def test_uniform(make, bound):
    values = make(seed=1, dtype="float64")
    assert values.shape == SHAPE and stats.kstest(values.ravel() / bound, stats.uniform(-1, 2).cdf).pvalue > 0.01
    np.testing.assert_array_equal(make(seed=1), values.astype("f"))
    assert (make(seed=2) != values).any()


@pytest.mark.parametrize(
    ("make", "mean", "std"),
    [
        (lambda **k: init.normal(SHAPE, 0.5, 2.0, **k), 0.5, 2),
        (lambda **k: init.xavier_normal(SHAPE, 3.0, **k), 0, 3 * math.sqrt(2 / 300)),
        (lambda **k: init.kaiming_normal(SHAPE, nonlinearity="relu", **k), 0, math.sqrt(2 / 120)),
        (lambda **k: init.kaiming_normal(SHAPE, 0.2, "fan_out", **k), 0, math.sqrt(2 / 1.04 / 180)),
    ],
)
def test_normal(make, mean, std):
    values = make(seed=3, dtype="float64")
    assert values.shape == SHAPE and stats.kstest((values.ravel() - mean) / std, "norm").pvalue > 0.01


@pytest.mark.parametrize(("mean", "std", "low", "high"), [(0, 1, -2, 2), (1, 0.5, 1.2, 3), (0, 1, 4, 5), (0, 2, -9, 1)])
def test_truncated_normal(mean, std, low, high):
    values = init.truncated_normal((5000,), mean, std, low, high, seed=4, dtype="float64")
    ends = ((low - mean) / std, (high - mean) / std)
    assert stats.kstest((values - mean) / std, stats.truncnorm(*ends).cdf).pvalue > 0.01
    assert init.truncated_normal((0, 3)).shape == (0, 3) and init.truncated_normal(()).shape == ()
    single = init.truncated_normal((5000,), mean, std, low, high, seed=5)
    assert single.min() >= np.float32(low) and single.max() <= np.float32(high)


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (6, 2, 2)])
def test_orthogonal(shape):
    q = init.orthogonal(shape, 2.0, seed=6, dtype="float64").reshape(shape[0], -1) / 2
    small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(small, np.eye(min(q.shape)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign():
    first = [init.orthogonal((3, 3), seed=k)[0, 0] > 0 for k in range(200)]
    assert 70 < sum(first) < 130


def test_the_default_generator():
    init.seed(7)
    a, b = init.normal((3,)), init.normal((3,))
    ad.nn.seed(7)
    np.testing.assert_array_equal(init.normal((3,)), a)
    assert (a != b).any()


def test_gains():
    known = {"linear": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": 2**0.5, "selu": 0.75, "leaky_relu": (2 / 1.0001) ** 0.5}
    assert {name: init.gain(name) for name in known} == pytest.approx(known)
    assert init.gain("leaky_relu", 1.0) == 1


def test_what_does_not_fit():
    with pytest.raises(ad.ShapeError, match="fans are those of weights"):
        init.xavier_normal((3,))
    with pytest.raises(ad.ShapeError, match="two axes"):
        init.orthogonal((3,))
    with pytest.raises(ad.GraphError, match="mode"):
        init.kaiming_normal((3, 3), mode="fan")
    with pytest.raises(ad.GraphError, match="nonlinearity"):
        init.kaiming_normal((3, 3), nonlinearity="step")
    with pytest.raises(ad.GraphError, match="low < high"):
        init.truncated_normal((3,), low=2, high=1)
    with pytest.raises(ad.GraphError, match="floats"):
        init.normal((3,), dtype="int64")
