"""Loops in the graph, and traced functions."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

XS = np.arange(12, dtype="f").reshape(4, 3)


def test_cumulative_sum(run):
    x = ad.input("x", (4, 3))
    last, ys = ad.scan(lambda c, v: (c + v, c * 2), ad.zeros(3), x)
    assert ys.shape == (4, 3)
    np.testing.assert_allclose(run(last, {x: XS}), XS.sum(0))
    np.testing.assert_allclose(run(ys, {x: XS}), 2 * (np.cumsum(XS, 0) - XS))
    _, back = ad.scan(lambda c, v: (c + v, c + v), ad.zeros(3), x, reverse=True)
    np.testing.assert_allclose(run(back, {x: XS}), np.cumsum(XS[::-1], 0)[::-1])


def test_trees_and_what_is_closed_over(run):
    x, w = ad.input("x", (4, 3)), ad.variable(np.eye(3, dtype="f") * 2, name="w")
    scale = w @ ad.ones(3)

    def body(carry, v):
        h = ad.tanh(v["a"] @ (w + 1)) * scale + carry["h"]
        return {"h": h, "n": carry["n"] + 1}, (h.sum(), [v["b"]])

    carry, (sums, [bs]) = ad.scan(body, {"h": np.zeros(3, "f"), "n": 0}, {"a": x, "b": ad.arange(4)})
    assert (carry["n"].dtype, sums.shape, bs.dtype) == (np.int64, (4,), np.int64)
    h, expected = np.zeros(3), []
    for row in XS:
        h = np.tanh(row @ (w.value + 1)) * 2 + h
        expected.append(h.sum())
    np.testing.assert_allclose(run(carry["h"], {x: XS}), h, rtol=1e-5)
    np.testing.assert_allclose(run(sums, {x: XS}), expected, rtol=1e-5)
    assert run(carry["n"], {x: XS}) == 4


def test_weak_carries_take_the_dtype_of_the_body(run):
    x = ad.input("x", (3,), "float64")
    last, _ = ad.scan(lambda c, v: (c + v, None), 0, x)
    assert last.dtype == np.float64 and run(last, {x: [1, 2, 3.5]}) == 6.5


def test_run_time_length(run):
    n = ad.Dim("n", min=0)
    x = ad.input("x", (n,))
    last, ys = ad.scan(lambda c, v: (c * 2 + v, c), 1.0, x)
    assert ys.shape == (n,)
    assert run(last, {x: np.ones(3)}, {n: 3}) == 15 and run(last, {x: np.ones(0)}, {n: 0}) == 1
    count, none = ad.scan(lambda c, _: (c + 1, None), 0, length=5)
    assert run(count) == 5 and none is None


def test_nested(run):
    x = ad.input("x", (4, 3))

    def outer(c, row):
        inner, _ = ad.scan(lambda s, v: (s + v * c, None), 0.0, row)
        return c + inner, inner

    last, ys = ad.scan(outer, 1.0, x)
    c, expected = 1.0, []
    for row in XS:
        inner = (row * c).sum()
        expected.append(inner)
        c += inner
    np.testing.assert_allclose(run(ys, {x: XS}), expected, rtol=1e-6)
    np.testing.assert_allclose(run(last, {x: XS}), c, rtol=1e-6)


def test_equal_loops_are_one_node():
    x = ad.input("x", (4,))
    first, second = (ad.scan(lambda c, v: (c + ad.sin(v), c), 0.0, x) for _ in range(2))
    assert first[0].node is second[0].node


def test_errors():
    x, kept = ad.input("x", (4,)), []
    with pytest.raises(ad.ShapeError, match="carry 0 goes in as"):
        ad.scan(lambda c, v: (ad.stack([c, v]), None), 0.0, x)
    with pytest.raises(ad.DTypeError, match="carry 0 goes in as int64 and comes out of the body as float32"):
        ad.scan(lambda c, v: (c + v, None), ad.constant(0), x)
    with pytest.raises(ad.ShapeError, match="lengths differ"):
        ad.scan(lambda c, v: (c, None), 0.0, [x, ad.zeros(3)])
    with pytest.raises(ad.GraphError, match="structured differently"):
        ad.scan(lambda c, v: ([c], None), 0.0, x)
    with pytest.raises(ad.GraphError, match="pair"):
        ad.scan(lambda c, v: c, 0.0, x)
    ad.scan(lambda c, v: (c, kept.append(v * 2)), 0.0, x)
    with pytest.raises(ad.GraphError, match="leaked"):
        kept[0] + 1
    with pytest.raises(ad.GraphError, match="leaked"):
        ad.scan(lambda c, v: (c + kept[0], None), 0.0, x)


def test_errors_of_branches_and_loops():
    x, n = ad.input("x", (4,)), ad.input("n", (), "int64")
    with pytest.raises(ad.DTypeError, match="must be a bool, got float32"):
        ad.cond(ad.sum(x), lambda: x, lambda: x)
    with pytest.raises(ad.ShapeError, match="must be 0-d"):
        ad.cond(x > 0, lambda: x, lambda: x)
    with pytest.raises(ad.ShapeError, match=r"result 0 is float32\[4\] if true and float32\[\] if false"):
        ad.cond(n > 0, lambda: x, lambda: x.sum())
    with pytest.raises(ad.DTypeError, match="result 0"):
        ad.cond(n > 0, lambda: n, lambda: n.astype("float32"))
    with pytest.raises(ad.GraphError, match="different structures"):
        ad.cond(n > 0, lambda: x, lambda: (x,))
    with pytest.raises(ad.DTypeError, match="must be a bool"):
        ad.while_loop(lambda s: s, lambda s: s, x.sum())
    with pytest.raises(ad.ShapeError, match="carry 0 goes in as"):
        ad.while_loop(lambda s: ad.sum(s) < 1, lambda s: ad.concat([s, s]), x)
    with pytest.raises(ad.ShapeError, match="max_iterations"):
        ad.while_loop(lambda s: s < 1, lambda s: s, x.sum(), max_iterations=-1)
    with pytest.raises(ad.DTypeError, match="fori_loop: n must be a 0-d integer"):
        ad.fori_loop(x, lambda i, c: c, 0.0)
    with pytest.raises(ad.ShapeError, match="vmap: 4 examples and 3"):
        ad.vmap(lambda a, c: a)(x, ad.zeros(3))
    with pytest.raises(ad.ShapeError, match="has no axis 2"):
        ad.vmap(lambda a: a, in_axes=2)(x)
    with pytest.raises(ad.ShapeError, match="no argument"):
        ad.vmap(lambda a: a, in_axes=None)(x)


def test_random_numbers_differ_between_examples_and_iterations(run):
    key, x = ad.random.key(3), ad.input("x", (5,))
    drawn = run(ad.vmap(lambda v: v + ad.random.uniform(key, (2,)))(x), {x: np.zeros(5, "f")})
    assert len(np.unique(drawn)) == 10
    total = ad.while_loop(
        lambda s: s[0] < 3,
        lambda s: (s[0] + 1, ad.concat([s[1][1:], ad.reshape(ad.random.uniform(key, ()), (1,))])),
        (0, ad.zeros(3)),
    )[1]
    assert len(np.unique(run(total))) == 3


def test_function(monkeypatch, run):
    compiled = []

    def compile(inputs, outputs, **options):
        compiled.append(options)
        return lambda *arrays: run(outputs, dict(zip(inputs, arrays, strict=True)))

    monkeypatch.setattr("adjoint.lang.tracing._compile", compile)

    @ad.function(static=("power",), threads=1)
    def f(x, pair, power=2, negate=False):
        y = x**power * pair["a"]
        return -y if negate else y

    a = np.ones(3, "f") * 3
    for _ in range(2):
        np.testing.assert_allclose(f(a, {"a": 2.0}), 18 * np.ones(3))
    assert f.traces == 1 and compiled == [{"name": "f", "threads": 1}]
    np.testing.assert_allclose(f(a, {"a": 2.0}, power=3, negate=True), -54 * np.ones(3))
    assert f(a.astype("d"), {"a": 1.0}).dtype == np.float64 and f.traces == 3
    x = ad.input("x", (3,))
    assert isinstance(f(x, {"a": x}), ad.Array) and f.traces == 3
    with pytest.raises(ad.SymbolicError):
        f(a)
    with pytest.raises(ad.SymbolicError, match="no parameter"):
        ad.function(lambda x: x, static=("y",))
