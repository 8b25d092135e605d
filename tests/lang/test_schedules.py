"""Schedules against their formulas, and compiled into a step."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

O = ad.optim


def _cosine(t, peak, steps, warmup, start, final):
    if t < warmup:
        return start + (peak - start) * t / warmup
    part = min((t - warmup) / (steps - warmup), 1)
    return final + (peak - final) * (1 + np.cos(np.pi * part)) / 2


SCHEDULES = {
    "constant": (O.constant(0.3), lambda t: 0.3),
    "step_decay": (O.step_decay(0.5, 3, 0.1), lambda t: 0.5 * 0.1 ** (t // 3)),
    "exponential": (O.exponential(0.5, 0.9), lambda t: 0.5 * 0.9**t),
    "linear": (O.linear(1.0, 0.2, 8), lambda t: 1 - 0.8 * min(t / 8, 1)),
    "cosine": (O.cosine(1.0, 10), lambda t: _cosine(t, 1, 10, 0, 0, 0)),
    "warm-up": (O.cosine(1.0, 10, 4, 0.1, 0.2), lambda t: _cosine(t, 1, 10, 4, 0.1, 0.2)),
    "piecewise": (O.piecewise([2, 5], [1, 0.5, 0.25]), lambda t: [1, 0.5, 0.25][(t >= 2) + (t >= 5)]),
    "one piece": (O.piecewise([], [7.0]), lambda t: 7.0),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_values(name, run):
    schedule, formula = SCHEDULES[name]
    counter = ad.input("counter", (), "int64")
    rate = schedule(counter)
    assert rate.shape == () and rate.dtype == np.float64
    for t in [*range(13), 10**9]:
        np.testing.assert_allclose(run(rate, {counter: np.int64(t)}), formula(t), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_steps(name, backend):
    schedule, formula = SCHEDULES[name]
    w, b = ad.variable(0.0, "w"), ad.variable(np.zeros(2), "b")
    loss = w + b.sum().astype("float32")
    optimizer = O.SGD(schedule)
    step = ad.compile([], [], updates=optimizer.minimize(loss), backend=backend)
    for t in range(12):
        step()
        done = -sum(formula(k) for k in range(t + 1))
        np.testing.assert_allclose(w.value, done, rtol=1e-5)
        np.testing.assert_allclose(b.value, [done] * 2, rtol=1e-12)
    assert list(optimizer.state) == ["sgd.step.w"] and optimizer.state["sgd.step.w"].value == 12


def test_a_schedule_is_any_function_of_the_count():
    w = ad.variable(0.0, "w")
    # The rate is 1 for the first step, then 1/2, 1/3, …
    step = ad.compile([], [], updates=O.SGD(lambda t: 1 / (t + 1)).minimize(w * 1.0), backend="numpy")
    for _ in range(4):
        step()
    np.testing.assert_allclose(w.value, -25 / 12, rtol=1e-6)
    with pytest.raises(ad.ShapeError, match="learning rate"):
        O.SGD(lambda t: ad.constant([1.0])).minimize(w * 1.0)


def test_groups_share_the_counter():
    w, b = ad.variable(0.0, "w"), ad.variable(0.0, "b")
    sgd = O.SGD(O.constant(1.0))
    groups = [w, {"params": b, "lr": O.piecewise([1], [0.0, 1.0])}]
    step = ad.compile([], [], updates=sgd.minimize(w + b, groups), backend="numpy")
    for _ in range(3):
        step()
    assert (w.value, b.value) == (-3, -2) and list(sgd.state) == ["sgd.step.w"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: O.constant("fast"), "constant: value is a number"),
        (lambda: O.step_decay(1, 0), "step_decay: step_size is an int of at least 1"),
        (lambda: O.linear(1, 0, 2.5), "linear: steps is an int"),
        (lambda: O.cosine(1, 5, 5), "cosine: steps is an int of at least 6, got 5"),
        (lambda: O.cosine(1, 5, -1), "cosine: warmup is an int of at least 0"),
        (lambda: O.piecewise([3], [1, 2, 3]), "1 boundaries take one value more, got 3"),
        (lambda: O.piecewise([3, 3], [1, 2, 3]), "boundary 1 is an int of at least 4"),
        (lambda: O.exponential(1, None), "gamma is a number"),
    ],
)
def test_what_makes_no_sense(make, text):
    with pytest.raises(ad.GraphError, match=text):
        make()
