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


def test_two_optimisers_in_one_step_have_states_of_their_own():
    w, b = ad.variable(1.0, "w"), ad.variable([1.0], "b")
    loss = w * b.sum()
    updates = {**ad.optim.Adam(1).minimize(loss, [w]), **ad.optim.Adam(1).minimize(loss, [b])}
    assert len({v.name for v in updates}) == len(updates) == 10


C = np.array([1.0, 2.0, 3.0])


def sgd(state, w, g, t, lr=0.05, momentum=0.0, nesterov=False, dampening=0.0, decay=0.0):
    g = g + decay * w
    if momentum:
        state["b"] = g if t == 1 else momentum * state["b"] + (1 - dampening) * g
        g = g + momentum * state["b"] if nesterov else state["b"]
    return w - lr * g


def rmsprop(state, w, g, t, momentum=0.0, centered=False, decay=0.0):
    g = g + decay * w
    state["v"] = 0.9 * state.get("v", 0) + 0.1 * g**2
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    scaled = g / (np.sqrt(state["v"] - state["m"] ** 2 if centered else state["v"]) + 1e-8)
    state["b"] = momentum * state.get("b", 0) + scaled
    return w - 0.01 * state["b"]


def adagrad(state, w, g, t):
    g = g + 0.1 * w
    state["s"] = state.get("s", 0) + g**2
    return w - 0.05 * g / (np.sqrt(state["s"]) + 1e-10)


def lion(state, w, g, t, decay=0.1):
    m = state.get("m", 0)
    state["m"] = 0.99 * m + 0.01 * g
    return w - 0.05 * (np.sign(0.9 * m + 0.1 * g) + decay * w)


def adam_l2(state, w, g, t):
    g = g + 0.1 * w
    state["m"], state["v"] = 0.8 * state.get("m", 0) + 0.2 * g, 0.9 * state.get("v", 0) + 0.1 * g**2
    return w - 0.05 * (state["m"] / (1 - 0.8**t)) / (np.sqrt(state["v"] / (1 - 0.9**t)) + 1e-6)


O = ad.optim
TRAJECTORIES = {
    "sgd": (lambda: O.SGD(0.05, weight_decay=0.1), lambda *a: sgd(*a, decay=0.1)),
    "momentum": (
        lambda: O.SGD(0.05, 0.9, weight_decay=0.1, dampening=0.3),
        lambda *a: sgd(*a, momentum=0.9, decay=0.1, dampening=0.3),
    ),
    "nesterov": (lambda: O.SGD(0.05, 0.9, nesterov=True), lambda *a: sgd(*a, momentum=0.9, nesterov=True)),
    "adam": (lambda: O.Adam(0.05, (0.8, 0.9), 1e-6, weight_decay=0.1), adam_l2),
    "adamw": (
        lambda: O.AdamW(0.05, weight_decay=0.2), lambda s, w, g, t: s.setdefault("rule", adam(0.05, 0.2))(w, g, t)
    ),
    "rmsprop": (lambda: O.RMSprop(0.01, 0.9, weight_decay=0.1), lambda *a: rmsprop(*a, decay=0.1)),
    "rmsprop centred": (
        lambda: O.RMSprop(0.01, 0.9, momentum=0.7, centered=True),
        lambda *a: rmsprop(*a, momentum=0.7, centered=True),
    ),
    "adagrad": (lambda: O.Adagrad(0.05, weight_decay=0.1), adagrad),
    "lion": (lambda: O.Lion(0.05, weight_decay=0.1), lion),
    "lion plain": (lambda: O.Lion(0.05), lambda *a: lion(*a, decay=0)),
}


def trajectory(make, dtype, backend, steps=10, **how):
    w = ad.variable(np.array([1.0, -2.0, 3.0], dtype), name="w")
    loss = (w * w * C.astype(dtype)).sum() / 2 + ad.sin(w).sum()
    step = ad.compile([], loss, updates=make().minimize(loss, **how), backend=backend)
    found = []
    for _ in range(steps):
        step()
        found.append(w.value.copy())
    return np.array(found)


def followed(rule, steps=10):
    w, state, found = np.array([1.0, -2.0, 3.0]), {}, []
    for t in range(1, steps + 1):
        w = rule(state, w, w * C + np.cos(w), t)
        found.append(w)
    return np.array(found)


@pytest.mark.parametrize(("dtype", "backend"), [("f", "numpy"), ("d", "numpy"), ("f", "c"), ("d", "c")])
@pytest.mark.parametrize("name", TRAJECTORIES)
def test_ten_steps(name, dtype, backend):
    make, rule = TRAJECTORIES[name]
    # The difference that `centered` takes the root of starts out as a tenth of its terms.
    tolerance = 1e-10 if dtype == "d" else 1e-3 if name == "rmsprop centred" else 2e-5
    np.testing.assert_allclose(trajectory(make, dtype, backend), followed(rule), rtol=tolerance, atol=tolerance)


def test_centred_spread_never_falls_below_zero():
    w = ad.variable(np.full(64, 0.1, "f"), "w")
    g = ad.constant(np.linspace(1e-3, 1e3, 64, dtype="f"))
    step = ad.compile([], [], updates=O.RMSprop(1e-6, 0.5, eps=1.0, centered=True).apply({w: g}), backend="numpy")
    for _ in range(60):
        step()
    assert np.isfinite(w.value).all()


def test_groups_have_options_of_their_own():
    w, b, c = ad.variable([1.0, -2.0], "w"), ad.variable([3.0], "b"), ad.variable(2.0, "c")
    loss = (w * w).sum() + (b * b).sum() + c * c
    groups = [{"params": [w], "weight_decay": 0.5}, {"params": b, "lr": 0.0}, c]
    step = ad.compile([], loss, updates=O.SGD(0.1).minimize(loss, groups), backend="numpy")
    step()
    np.testing.assert_allclose(w.value, [1 - 0.1 * 2.5, -2 + 0.1 * 5], rtol=1e-6)
    assert b.value == 3
    np.testing.assert_allclose(c.value, 1.6)
    # Corrections of Adam go by the betas of their group.
    adam = O.Adam(0.1)
    updates = adam.minimize(loss, [{"params": [w, b], "betas": (0.5, 0.5)}, c])
    names = {"adam.correction1.w", "adam.correction2.w", "adam.correction1.c", "adam.correction2.c"}
    names |= {f"adam.{s}.{v}" for s in "mv" for v in "wbc"}
    assert set(adam.state) == names and {v.name for v in updates} == names | {"w", "b", "c"}
    assert all((v.value == 0).all() for v in adam.state.values())
    for group, text in (
        ([{"params": w, "speed": 1}], "no option is called 'speed'; there are lr, betas"),
        ([{"lr": 1}], 'a dict with "params"'),
    ):
        with pytest.raises(ad.GraphError, match=text):
            O.Adam(0.1).minimize(loss, group)
    with pytest.raises(ad.GradientError, match="listed twice"):
        O.Adam(0.1).minimize(loss, [w, {"params": [b, w]}])
    with pytest.raises(ad.DTypeError, match="learning rate"):
        O.Adam(0.1).minimize(loss, [{"params": w, "lr": "fast"}])


def test_options_that_make_no_sense():
    with pytest.raises(ad.GraphError, match="nesterov"):
        O.SGD(0.1, nesterov=True)
    with pytest.raises(ad.GraphError, match="nesterov"):
        O.SGD(0.1, 0.9, nesterov=True, dampening=0.1)
    with pytest.raises(ad.GraphError, match="betas"):
        O.Adam(betas=(0.9, 1.0))
    with pytest.raises(ad.GraphError, match="betas"):
        O.Lion(betas=(0.9,))


def test_state_is_saved_and_loaded(tmp_path):
    def make():
        w = ad.variable(np.array([1.0, -2.0], "f"), "w")
        adam = O.Adam(O.linear(0.1, 0.0, 9))
        loss = (w * w).sum()
        step = ad.compile([], loss, updates=adam.minimize(loss), backend="numpy")
        return w, adam, step

    w, adam, step = make()
    for _ in range(4):
        step()
    ad.save(tmp_path / "state.npz", [w, *adam.state.values()])
    assert adam.state["adam.step.w"].value == 4
    v, other, again = make()
    ad.load(tmp_path / "state.npz", [v, *other.state.values()])
    for _ in range(3):
        step()
        again()
    np.testing.assert_array_equal(v.value, w.value)
    assert set(adam.state) == {"adam.m.w", "adam.v.w", "adam.correction1.w", "adam.correction2.w", "adam.step.w"}


def test_minimize_clips():
    slope = C * [1, -2, 3] + np.cos([1, -2, 3])
    got = trajectory(lambda: O.SGD(1.0), "d", "numpy", 1, clip_value=2)[0]
    np.testing.assert_allclose(got, [1, -2, 3] - np.clip(slope, -2, 2))
    got = trajectory(lambda: O.SGD(1.0), "d", "numpy", 1, clip_norm=0.5)[0]
    np.testing.assert_allclose(got, [1, -2, 3] - slope / np.linalg.norm(slope) / 2)
    both = np.clip(slope, -2, 2)
    got = trajectory(lambda: O.SGD(1.0), "d", "numpy", 1, clip_norm=0.5, clip_value=2)[0]
    np.testing.assert_allclose(got, [1, -2, 3] - both / np.linalg.norm(both) / 2)
