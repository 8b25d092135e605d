"""`ad.check`: conditions on data."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import adjoint as ad


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_a_check_fails_the_call_and_leaves_variables(backend):
    x, total = ad.input("x", ("n",)), ad.variable(np.float32(0), name="total")
    y = ad.sqrt(ad.check(x, x >= 0, 'roots of "negative" numbers\n*/ "'))
    outputs = [y, ad.grad(y.sum(), x), ad.scan(lambda c, e: (ad.check(c + e, c < 10, "too much"), None), 0.0, x)[0]]
    f = ad.compile(x, outputs, updates={total: total + y.sum()}, name="rooted", backend=backend)
    for g in (f, pickle.loads(pickle.dumps(f))):
        root, slope, last = g(np.array([4, 1, 0.25], np.float32))
        assert root.tolist() == [2, 1, 0.5] and slope.tolist() == [0.25, 0.5, 1] and last == 5.25
    assert total.value == 3.5
    with pytest.raises(ad.ExecutionError, match=r'roots of "negative"(.|\n)*elements that fail: got 2, bound 1'):
        f(np.array([4, -1, -2, 1], np.float32))
    with pytest.raises(ad.ExecutionError, match=r"too much; elements that fail: got 1, bound 1(.|\n)*checks.py:\d+"):
        f(np.array([6, 6, 6], np.float32))
    assert total.value == 3.5


def test_checks_in_batches_and_of_several_elements(run):
    x = ad.input("x", (3, 2))
    y = ad.vmap(lambda e: ad.check(e.sum(), e > 0, "positive"))(x)
    assert run(y, {x: np.ones((3, 2), "f")}).tolist() == [2, 2, 2]
    with pytest.raises(ad.ExecutionError, match="positive"):
        run(y, {x: np.array([[1, 1], [1, -1], [1, 1]], "f")})
    assert ad.gradcheck(y, x, np.ones((3, 2)))
    nothing = ad.input("nothing", (0,))
    assert run(ad.check(nothing, nothing > 0, "never"), {nothing: np.zeros(0, "f")}).shape == (0,)


def test_mistakes():
    x = ad.input("x", (3,))
    with pytest.raises(ad.DTypeError, match="must be a bool, got float32"):
        ad.check(x, x, "text")
    with pytest.raises(ad.GraphError, match="non-empty string"):
        ad.check(x, x > 0, "")
