"""`crosscheck` and `debug_nans` find what is wrong, and where it came from."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph import build as b
from adjoint.rewrite import rules
from adjoint.rewrite.engine import Rule
from adjoint.runtime.native import NativeExecutor


def step(name="step", **how):
    x, w = ad.input("x", ("n", 3)), ad.variable(np.full(3, 0.5, np.float32), name="w")
    y = ad.tanh(x @ w)
    loss = (y * y).mean()
    return w, ad.compile(x, [loss, y, x > 0], updates={w: w - ad.grad(loss, w)}, name=name, **how)


X = np.random.default_rng(0).standard_normal((5, 3)).astype("f")


def test_right_code_passes():
    w, f = step(crosscheck=True, debug_nans=True)
    v, g = step()
    assert f.memory == g.memory
    for _ in range(2):
        for got, want in zip(f(X), g(X), strict=True):
            np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(w.value, v.value)


def test_a_wrong_rule_is_named(monkeypatch):
    wrong = Rule("wrong", "exact", ("tanh",), lambda node, uses: b.mul(node.inputs[0], 0.5))
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, wrong))
    monkeypatch.setenv("ADJOINT_VERIFY", "1")  # no artifact comes from the cache
    w, f = step("miscompiled", crosscheck=True)
    with pytest.raises(ad.ExecutionError, match=r'output 0 differs(.|\n)*rewriting: the rule "wrong"') as caught:
        f(X)
    assert "test_debugging.py:" in str(caught.value)
    assert (w.value == 0.5).all(), "a call that fails leaves variables as they were"


def test_wrong_code_is_told_from_wrong_rules(monkeypatch):
    right = NativeExecutor.run

    def run(self, inputs, outputs, extents):
        right(self, inputs, outputs, extents)
        outputs[1][2] += 0.25

    monkeypatch.setattr(NativeExecutor, "run", run)
    _, f = step(crosscheck=True)
    with pytest.raises(ad.ExecutionError, match=r"output 1 differs .* at \[2\](.|\n)*rewriting still agrees"):
        f(X)


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_the_first_nan_is_named(backend):
    x, w = ad.input("x", (3,)), ad.variable(np.ones(3, np.float32), name="w")
    root = ad.sqrt(x - 1)
    f = ad.compile(x, (root * w).sum(), updates={w: w + root}, name="rooted", debug_nans=True, backend=backend)
    assert f(np.full(3, 2, np.float32)) == 3
    before = w.value.copy()
    with pytest.raises(ad.ExecutionError, match=r"sqrt float32\[3\] \(.*py:\d+\) is the first with NaN, at \[1\]"):
        f(np.array([2, 0, 2], np.float32))
    np.testing.assert_array_equal(w.value, before)
    with pytest.raises(ad.ExecutionError, match=r'input "x" float32\[3\] .* is the first with infinity, at \[2\]'):
        f(np.array([2, 2, np.inf], np.float32))
