"""Derivatives through loops and branches: both modes, second order, batches, nested in one another."""

from __future__ import annotations

import numpy as np
import pytest
from controls import CASES, XS, H, W

import adjoint as ad


@pytest.mark.parametrize("name", CASES)
def test_control(name, check):
    fn, *arrays = CASES[name]
    check(fn, *arrays)


def test_the_gradient_of_a_loop_that_depends_on_data():
    """b = 2a, doubled until its norm passes 1000; times 100 where its sum is not positive."""
    a = ad.input("a", (3,), "float64")
    b = ad.while_loop(lambda b: ad.vector_norm(b) < 1000, lambda b: b * 2, a * 2)
    c = ad.cond(ad.sum(b) > 0, lambda: b, lambda: 100 * b)
    f = ad.compile([a], [c, ad.grad(ad.sum(c), a)], backend="numpy")
    for value in ([0.1, -0.3, 0.5], [-0.1, -0.3, 0.05], [4000.0, 1, 1]):
        c, slope = f(np.array(value))
        np.testing.assert_array_equal(slope, np.full(3, c[0] / value[0]))


def test_examples_of_a_batch_take_their_own_numbers_of_iterations():
    x, w = ad.input("x", (4,), "float64"), ad.input("w", (), "float64")
    values = np.array([0.1, 9.0, 20.0, 3.0])

    def count(x):
        return ad.while_loop(lambda s: s < 10, lambda s: s * w + 1, x)

    def slopes(x):
        y = count(x)
        g, h = ad.grad(y, [x, w])
        return y, g, h, ad.grad(h, w)

    one = ad.input("one", (), "float64")
    alone = ad.compile([one, w], slopes(one), backend="numpy")
    together = ad.compile([x, w], ad.vmap(slopes)(x), backend="numpy")(values, 1.5)
    for k, value in enumerate(values):
        np.testing.assert_allclose([part[k] for part in together], alone(value, 1.5), rtol=1e-12)


def test_one_contraction_after_the_loop_sums_over_iterations():
    xs, h, w = (ad.input(n, a.shape, "float64") for n, a in (("xs", XS), ("h", H), ("w", W)))
    last, _ = ad.scan(lambda h, x: (ad.tanh(x @ w + h), None), h, xs)
    g = ad.grad(last.sum(), w).node
    assert g.op.name == "contract" and g["extents"][2:] == (5,)


def test_a_linear_loop_leaves_nothing_behind_but_its_length():
    x = ad.input("x", (3,), "float64")
    y = ad.while_loop(lambda s: ad.sum(s) < 10, lambda s: s * 2, x)
    (loop,) = [n for n in ad.graph.node.toposort([ad.grad(y.sum(), x).node]) if n.op.name == "while"]
    assert [n.dtype.kind for n in loop["body"].outputs] == ["f", "b"]
