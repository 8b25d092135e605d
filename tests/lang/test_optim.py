"""Optimisers against their recurrences in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad


def train(optimizer, steps, run, dtype="f", values=None):
    w = ad.variable(np.array([1.0, -2.0, 3.0], dtype), name="w")
    updates = optimizer.minimize((w * w * [1.0, 2.0, 3.0]).sum() / 2)
    for _ in range(steps):
        new = run(list(updates.values()), values)
        for v, a in zip(updates, new, strict=True):
            assert v.dtype == a.dtype and v.shape == a.shape
            v.value = a
    return w, updates


def reference(step, steps):
    w = np.array([1.0, -2.0, 3.0])
    for t in range(1, steps + 1):
        w = step(w, w * [1, 2, 3], t)
    return w


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_sgd(dtype, run):
    w, updates = train(ad.optim.SGD(0.1), 5, run, dtype)
    assert list(updates) == [w]
    np.testing.assert_allclose(w.value, reference(lambda w, g, t: w - 0.1 * g, 5), rtol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum(nesterov, run):
    state = {"b": 0}

    def step(w, g, t):
        state["b"] = 0.9 * state["b"] + g
        return w - 0.05 * (g + 0.9 * state["b"] if nesterov else state["b"])

    w, updates = train(ad.optim.SGD(0.05, momentum=0.9, nesterov=nesterov), 6, run)
    assert {v.name for v in updates} == {"w", "sgd.momentum.w"}
    np.testing.assert_allclose(w.value, reference(step, 6), rtol=1e-5)


def adam(lr, decay):
    state = {"m": 0, "v": 0}

    def step(w, g, t):
        state["m"] = 0.9 * state["m"] + 0.1 * g
        state["v"] = 0.999 * state["v"] + 0.001 * g * g
        m, v = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
        return w - lr * (m / (np.sqrt(v) + 1e-8) + decay * w)

    return step


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_adam(dtype, run):
    w, updates = train(ad.optim.Adam(0.1), 8, run, dtype)
    assert {"adam.m.w", "adam.v.w", "w"} < {v.name for v in updates}
    assert all(not v.requires_grad for v in updates if v is not w)
    np.testing.assert_allclose(w.value, reference(adam(0.1, 0), 8), rtol=1e-5 if dtype == "f" else 1e-10)


def test_adamw(run):
    w, _ = train(ad.optim.AdamW(0.1, weight_decay=0.2), 8, run)
    np.testing.assert_allclose(w.value, reference(adam(0.1, 0.2), 8), rtol=1e-5)


def test_learning_rates(run):
    rate = ad.input("rate", (), "float64")
    w, _ = train(ad.optim.SGD(rate), 1, run, values={rate: 0.1})
    np.testing.assert_allclose(w.value, [0.9, -1.6, 2.1], rtol=1e-6)
    w, _ = train(ad.optim.Adam(ad.variable(0.1, "lr", requires_grad=False)), 3, run)
    np.testing.assert_allclose(w.value, reference(adam(0.1, 0), 3), rtol=1e-5)
    with pytest.raises(ad.ShapeError):
        ad.optim.SGD(ad.input("r", (2,)))
    with pytest.raises(ad.DTypeError):
        ad.optim.SGD("fast")


def test_which_variables():
    w, frozen, b = ad.variable(1.0, "w"), ad.variable(2.0, "f", requires_grad=False), ad.variable(3.0, "b")
    loss = w * frozen * b
    assert list(ad.optim.SGD(1).minimize(loss)) == [w, b]
    assert list(ad.optim.SGD(1).minimize(loss, [b])) == [b]
    with pytest.raises(ad.GradientError, match="no variable"):
        ad.optim.SGD(1).minimize(frozen * 2)
    with pytest.raises(ad.GradientError, match="only variables"):
        ad.optim.SGD(1).minimize(loss, [w * 2])
    with pytest.raises(ad.GradientError, match="not a scalar"):
        ad.optim.SGD(1).minimize(w * np.ones(2))
    # Dropping the handle does not thaw the variable.
    total = w * ad.variable(1.0, "g", requires_grad=False)
    assert list(ad.optim.SGD(1).minimize(total)) == [w]


def test_clipping(run):
    a, b = ad.constant([3.0, 0.0]), ad.constant([0.0, 4.0])
    clipped = run(ad.optim.clip_by_global_norm([a, b], 1.0))
    np.testing.assert_allclose(clipped, [[0.6, 0], [0, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(run(ad.optim.clip_by_global_norm([a, b], 10.0)), [[3, 0], [0, 4]], rtol=1e-6)


def test_two_optimisers_in_one_step_have_states_of_their_own():
    w, b = ad.variable(1.0, "w"), ad.variable([1.0], "b")
    loss = w * b.sum()
    updates = {**ad.optim.Adam(1).minimize(loss, [w]), **ad.optim.Adam(1).minimize(loss, [b])}
    assert len({v.name for v in updates}) == len(updates) == 10
