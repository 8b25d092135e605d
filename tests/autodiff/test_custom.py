"""Functions with rules of their own: one declaration, both modes, everywhere."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(5)
X, Y = RNG.uniform(0.3, 1, (2, 3)), RNG.uniform(0.3, 1, 3)


@ad.custom_rule(partials=lambda x, y, z: (y * z, x * z))
def exp_of_product(x, y):
    return ad.exp(x * y)


def _saving(x, y):
    z = ad.sin(x)
    return z * y, (z, x, y, "sin")


@ad.custom_rule(backward=lambda saved, g: (g * saved[2] * ad.cos(saved[1]), (g * saved[0]).sum(0)))
def sine_times(x, y):
    return _saving(x, y)


MATRIX = RNG.standard_normal((3, 4))
product = ad.custom_rule(lambda x: x @ MATRIX, transpose=lambda g: g @ MATRIX.T)
differences = ad.custom_rule(
    lambda x, y: (x[1:] - y, x[0] + y), transpose=lambda g, h: (ad.concat([h[None], g]), h - g.sum(0))
)


@ad.custom_rule(backward=lambda saved, g: saved * g)
def exp_that_saves_its_result(x):
    y = ad.exp(x)
    return y, y


def in_scan(x, y):
    return ad.scan(lambda c, e: (exp_of_product(c * 0.5, e), sine_times(e[None], c)[0]), y, x)[1]


def in_branch(x, y):
    return ad.cond(ad.sum(x) > 0, lambda: sine_times(x, y), lambda: x * y)


def in_while(x):
    return ad.while_loop(lambda c: ad.sum(c) < 20, lambda c: exp_that_saves_its_result(0.5 * c) + x, x)


CASES = {
    "partials": (exp_of_product, X, Y),
    "partials of scalars": (exp_of_product, np.float64(0.5), np.float64(0.7)),
    "saved": (sine_times, X, Y),
    "saved result": (exp_that_saves_its_result, X),
    "linear": (product, X),
    "linear in two, of two": (lambda x, y: ad.concat([differences(x, y)[0], differences(x, y)[1][None]]), X, Y),
    "composed": (lambda x, y: exp_that_saves_its_result(sine_times(exp_of_product(x, y), y)) @ MATRIX, X, Y),
    "in scan": (in_scan, X, Y),
    "in a branch": (in_branch, X, Y),
    "in a while": (in_while, Y),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_to_second_order_in_both_modes_and_batched(name, check):
    check(*CASES[name])


def doubled():
    """A rule that is wrong on purpose, so that it is seen whether it was used."""
    return ad.custom_rule(lambda x: (ad.sin(x), None), backward=lambda saved, g: 2 * g)


def test_the_rule_is_what_counts(run):
    x = ad.input("x", (3,), "float64")
    f = doubled()
    at = {x: Y}
    assert run(ad.grad(f(x).sum(), x), at).tolist() == [2, 2, 2]
    assert run(ad.jvp(f(x), x, np.ones(3)), at).tolist() == [2, 2, 2]
    assert run(ad.vmap(ad.grad(f))(x), at).tolist() == [2, 2, 2]
    assert run(ad.grad(ad.vmap(lambda e: f(e) * 3)(x).sum(), x), at).tolist() == [6, 6, 6]
    assert run(ad.jacobian(f(x), x), at).tolist() == (2 * np.eye(3)).tolist()
    last, _ = ad.scan(lambda c, e: (c + f(e), None), ad.constant(np.float64(0)), x)
    assert run(ad.grad(last, x), at).tolist() == [2, 2, 2]
    np.testing.assert_array_equal(run(f(x), at), np.sin(Y))


def test_cotangents_of_what_a_batch_shares_are_summed(run):
    x, y = ad.input("x", (4, 2, 3), "float64"), ad.input("y", (3,), "float64")
    batch = np.stack([X, X * 2, X + 1, X])
    at = {x: batch, y: Y}
    loss = ad.vmap(lambda e: sine_times(e, y))(x).sum()
    np.testing.assert_allclose(run(loss, at), (np.sin(batch) * Y).sum())
    np.testing.assert_allclose(run(ad.grad(loss, y), at), np.sin(batch).sum((0, 1)), rtol=1e-12)


def test_closing_over(run):
    w, x = ad.variable(np.array([2.0, 3, 4]), name="w"), ad.input("x", (3,), "float64")
    slope = ad.variable(np.float64(5.0), name="slope")
    f = ad.custom_rule(lambda v: (v * w, v), backward=lambda v, g: g * slope)
    loss = (f(x) * x).sum()
    at = {x: Y}
    np.testing.assert_allclose(run(ad.grad(loss, x), at), Y * [2, 3, 4] + 5 * Y)
    assert f(x).requires_grad
    with pytest.raises(ad.GradientError, match=r"closes over what is differentiated by(.|\n)*variable \"w\""):
        ad.grad(loss, w)
    with pytest.raises(ad.GradientError, match="closes over"):
        ad.jvp(loss, w, np.ones(3))
    assert run(ad.grad(loss, slope), at) == 0
    np.testing.assert_allclose(run(ad.grad(ad.grad(loss, x).sum(), slope), at), Y.sum())
    over_rows = ad.scan(lambda c, e: (c + f(e), None), ad.zeros(3, dtype="float64"), ad.stack([x, 2 * x]))[0]
    np.testing.assert_allclose(run(ad.grad(over_rows.sum(), x), at), [15, 15, 15])


def test_a_rule_that_is_not_linear():
    x = ad.input("x", (3,))
    clipped = ad.custom_rule(lambda v: (v, None), backward=lambda saved, g: ad.clip(g, -1, 1))
    y = (clipped(x) * 3).sum()
    f = ad.compile(x, ad.grad(y, x), backend="numpy")
    assert f(np.zeros(3, np.float32)).tolist() == [1, 1, 1]
    with pytest.raises(ad.GradientError, match="not linear"):
        ad.jvp(y, x, np.ones(3, np.float32))


def test_arguments_without_a_derivative(run):
    x, i = ad.input("x", (4,), "float64"), ad.input("i", (2,), "int64")
    pick = ad.custom_rule(
        lambda v, at: (ad.take(v[0], at) + v[1], at),
        backward=lambda at, g: ((ad.zeros(4, dtype="float64").at[at].add(g), None), None),
    )
    y = pick((x, ad.take(x, i)), i)
    at = {x: np.arange(4.0), i: np.array([3, 1])}
    assert run([y, ad.grad(y.sum(), x)], at)[1].tolist() == [0, 1, 0, 1]
    number = ad.custom_rule(lambda v, n: v * n, partials=lambda v, n, y: (n, None))
    assert run(ad.grad(number(x, 3).sum(), x), at).tolist() == [3] * 4


def test_compiled_and_carried_around():
    x, y = ad.input("x", (2, 3), "float64"), ad.input("y", (3,), "float64")
    z = CASES["composed"][0](x, y).sum() + in_scan(x, y).sum()
    outputs = [z, *ad.grad(z, [x, y]), ad.jvp(ad.grad(z, y), x, X)]
    compiled = ad.compile([x, y], outputs, name="ruled")
    numpy = ad.compile([x, y], outputs, backend="numpy", name="ruled")
    for f in (compiled, pickle.loads(pickle.dumps(compiled)), pickle.loads(pickle.dumps(numpy))):
        for got, want in zip(f(X, Y), numpy(X, Y), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)
    text = compiled.dump("graph")
    assert "call" in text and "kind=custom" in text and "0x" not in text
    assert "= call" not in compiled.dump("optimized")


def test_a_pickled_graph_keeps_its_rule(run):
    x = ad.input("x", (3,), "float64")
    node = pickle.loads(pickle.dumps(doubled()(x).node))
    (leaf,) = node.inputs[0].inputs
    y = ad.Array(node)
    assert run(ad.grad(y.sum(), ad.Array(leaf)), {ad.Array(leaf): Y}).tolist() == [2, 2, 2]


BAD = {
    "give one of": lambda x: ad.custom_rule(lambda v: v),
    "must return a pair": lambda x: ad.custom_rule(lambda v: v, backward=lambda s, g: g)(x),
    "must return 2 values": lambda x: ad.custom_rule(lambda v, w: v, partials=lambda v, w, y: w)(x, x),
    r"cotangent float32\[2\] for an argument float32\[3\]": lambda x: ad.custom_rule(
        lambda v: (v, None), backward=lambda s, g: g[:2]
    )(x),
    "results must be floating": lambda x: ad.custom_rule(lambda v: (v > 0, None), backward=lambda s, g: g)(x),
    "takes floating arguments": lambda x: ad.custom_rule(lambda v, i: v, transpose=lambda g: (g, g))(
        x, ad.input("i", (3,), "int32")
    ),
    "a cotangent for every argument": lambda x: ad.custom_rule(lambda v, w: v + w, transpose=lambda g: (g, None))(x, x),
    "has one result": lambda x: ad.custom_rule(lambda v: (v, v), partials=lambda v, y: y)(x),
    "shape and dtype of the arguments": lambda x: ad.custom_rule(lambda v: v.sum(), partials=lambda v, y: y)(x),
}


@pytest.mark.parametrize("text", BAD)
def test_mistakes(text):
    with pytest.raises(ad.GradientError, match=text):
        BAD[text](ad.input("x", (3,)))
