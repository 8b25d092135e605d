"""`gradcheck` says True of right derivatives and names what is wrong with wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.lang import gradcheck as module

RNG = np.random.default_rng(4)
V = RNG.uniform(0.3, 1, (3, 2))

FUNCTIONS = {
    "analytic": lambda x, w: ad.tanh(x @ w) * ad.exp(x[:, :1]),
    "kinks elsewhere": lambda x, w: ad.softmax(ad.relu(x @ w)),
    "loop": lambda x, w: ad.scan(lambda c, e: (ad.sin(c @ w) + e, c), x[0], x)[1],
    "branch": lambda x, w: ad.cond(ad.sum(x) > 0, lambda: x @ w, lambda: x),
    "checkpoint": lambda x, w: ad.checkpoint(lambda a: ad.exp(a @ w))(x),
    "constant": lambda x, w: ad.ones((2,), dtype="float64") * 3 + 0 * w[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_derivatives(name):
    x, w = ad.input("x", (3, 2), "float64"), ad.variable(RNG.uniform(0.3, 1, (2, 2)), name="w")
    y = FUNCTIONS[name](x, w)
    assert ad.gradcheck(y, [x, w], [V, w.value], order=2) is True
    assert ad.gradcheck(y, x, V) is True, "variables have their own value"


def test_single_precision_run_time_extents_integers_and_scalars():
    x, i, s = ad.input("x", ("n", 2)), ad.input("i", (2,), "int64"), ad.input("s")
    y = ad.take(x, i) * s / x.sum()
    assert ad.gradcheck(y, [x, i, s], [V, np.array([2, 0]), 0.7], order=2)
    assert ad.gradcheck(ad.zeros((0,)) * s, s, 0.7)
    large = ad.input("large", (2000,))
    assert ad.gradcheck((ad.sin(large) ** 2).sum(), large, RNG.uniform(0, 1, 2000))


def test_complex_steps_are_exact():
    """Far closer than differences could tell; a step that leaves the analytic operations falls back to these."""
    x = ad.input("x", (3, 2), "float64")
    y = ad.exp(ad.sin(x) * x).sum() / ad.sqrt(x + 1)
    assert ad.gradcheck(y, x, V, rtol=1e-13, atol=1e-13)
    with pytest.raises(ad.GradientError, match="central differences"):
        ad.gradcheck(ad.abs(y), x, V, rtol=1e-13, atol=1e-15)


def scaled(factor):
    return ad.custom_rule(lambda a: (ad.sin(a), a), backward=lambda a, g: g * ad.cos(a) * factor)


def test_a_wrong_rule_is_named():
    x = ad.input("x", (3, 2), "float64")
    y = ad.exp(scaled(1.5)(x) * 2)
    with pytest.raises(ad.GradientError) as caught:
        ad.gradcheck(y, x, V)
    text = str(caught.value)
    assert "by x[" in text and "reverse mode gives" in text and "central differences give" in text
    assert "the rule of call is wrong" in text and text.count("test_gradcheck.py:") >= 4
    slope = 2 * np.exp(2 * np.sin(V)) * np.cos(V)
    worst = tuple(int(k) for k in text.split("by x[")[1].split("]")[0].split(","))
    got, want = (float(text.split(f"{how} ")[1].split(";")[0].split(",")[0]) for how in ("mode gives", "ces give"))
    weight = want / slope[worst]
    assert 0.5 <= abs(weight) <= 1
    np.testing.assert_allclose(got, 1.5 * slope[worst] * weight, rtol=1e-5)


def test_a_rule_wrong_to_second_order_only():
    """The first derivative is right at this point only because the factor is 1 there."""
    x = ad.input("x", (2,), "float64")
    y = ad.custom_rule(lambda a: (a * a, a), backward=lambda a, g: g * 2 * a.detach())(x)
    assert ad.gradcheck(y, x, V[0])
    with pytest.raises(ad.GradientError, match="derivative of order 2 by x"):
        ad.gradcheck(y, x, V[0], order=2)


def test_modes_that_disagree(monkeypatch):
    x = ad.input("x", (3, 2), "float64")
    right = module.forward.jvp
    monkeypatch.setattr(module.forward, "jvp", lambda *a: [2 * ad.Array(t) for t in right(*a)] and [
        (2 * ad.Array(t)).node for t in right(*a)
    ])  # fmt: skip
    with pytest.raises(ad.GradientError, match="forward mode gives"):
        ad.gradcheck(ad.sin(x), x, V)


def test_a_derivative_that_is_nan():
    x = ad.input("x", (2,), "float64")
    y = ad.custom_rule(lambda a: (a * a, a), backward=lambda a, g: g * 2 * a / (a - a))(x)
    with pytest.raises(ad.GradientError, match=r"reverse mode gives (inf|-inf|nan)"):
        ad.gradcheck(y, x, V[0])


def test_mistakes():
    x, z = ad.input("x", (3, 2)), ad.input("z", (2,))
    for call, kind, text in (
        (lambda: ad.gradcheck(ad.argmax(x), x, V), ad.GradientError, "floating dtype"),
        (lambda: ad.gradcheck(x * z, x, V), ad.GradientError, "has no value"),
        (lambda: ad.gradcheck(x * z, [x, z], [V]), ad.GradientError, "1 values for 2 arrays"),
        (lambda: ad.gradcheck(x, x, V[:2]), ad.ShapeError, r"shape \[2, 2\] for input \"x\""),
        (lambda: ad.gradcheck(x, x, V, order=0), ad.GradientError, "order"),
        (lambda: ad.gradcheck(x, ad.input("i", (2,), "int32"), V[0]), ad.GradientError, "none of xs"),
    ):
        with pytest.raises(kind, match=text):
            call()
