"""Recomputation in place of memory: the same bits, and less of it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(3)


def mlp(checkpointed, depth=16, width=32, every=4, batch=128):
    x = ad.input("x", (batch, width))
    rng = np.random.default_rng(0)
    weights = [ad.variable((rng.standard_normal((width, width)) / 6).astype("f"), name=f"w{k}") for k in range(depth)]

    def block(h, ws):
        for w in ws:
            h = ad.tanh(h @ w)
        return h

    h = x
    for k in range(0, depth, every):
        h = (ad.checkpoint(block) if checkpointed else block)(h, weights[k : k + every])
    loss = (h * np.linspace(-1, 1, batch * width).astype("f").reshape(batch, width)).sum()
    return x, weights, loss


def test_memory_falls_and_bits_stay():
    values = RNG.standard_normal((128, 32)).astype("f")
    found = []
    for checkpointed in (False, True):
        x, weights, loss = mlp(checkpointed)
        f = ad.compile(x, [loss, *ad.grad(loss, weights)], name="mlp")
        found.append((f.memory, f(values)))
        if checkpointed:
            reference = ad.compile(x, [loss, *ad.grad(loss, weights)], backend="numpy")(values)
    (plain, one), (less, other) = found
    assert less < 0.6 * plain
    for a, b, c in zip(one, other, reference, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(b, c, rtol=1e-3, atol=1e-4)


def test_rules_that_round_decide_about_both_runs_as_about_one():
    """Products that the adjoint reads are FMAs in neither run."""
    x, w = ad.input("x", (4, 16)), ad.variable(RNG.standard_normal((16, 16)).astype("f"), name="w")
    values = RNG.standard_normal((4, 16)).astype("f")

    def block(h):
        return ad.log(1 + ad.exp(h) * ad.sigmoid(h @ w))

    found = []
    for step in (block, ad.checkpoint(block)):
        loss = (step(step(x)) ** 2).sum()
        found.append(ad.compile(x, [loss, *ad.grad(loss, [x, w])], name="rounded")(values))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_interpreter_agrees_to_the_bit(run):
    x, weights, loss = mlp(True, 6, 8, 3, 5)
    y, others, plain = mlp(False, 6, 8, 3, 5)
    values = RNG.standard_normal((5, 8)).astype("f")
    for a, b in zip(ad.grad(loss, [x, *weights]), ad.grad(plain, [y, *others]), strict=True):
        np.testing.assert_array_equal(run(a, {x: values}), run(b, {y: values}))


def test_the_forward_run_is_not_computed_twice_where_nothing_is_differentiated():
    x = ad.input("x", (4,))
    y = ad.checkpoint(lambda v: ad.exp(v) + 1)(x)
    text = ad.compile(x, [y, ad.exp(x)], name="plain").dump("optimized")
    assert text.count("= exp") == 1 and "after" not in text and "= call" not in text
    twice = ad.compile(x, ad.grad(ad.checkpoint(lambda v: ad.exp(v).sum() ** 2)(x), x), name="twice")
    assert "= after" in twice.dump("optimized")


CASES = {
    "nested": lambda x, y: ad.checkpoint(lambda a: ad.checkpoint(lambda b: ad.sin(b * y))(ad.exp(a)) * a)(x),
    "of a tree": lambda x, y: ad.checkpoint(lambda d, n: [d["a"] * d["b"] * n, None])({"a": x, "b": ad.tanh(y)}, 2)[0],
    "of a loop": lambda x, y: ad.checkpoint(lambda a: ad.scan(lambda c, e: (ad.sin(c * e), c), y, a)[1])(x),
    "in a loop": lambda x, y: ad.scan(lambda c, e: (ad.checkpoint(lambda a: ad.sin(a * e + y))(c), c), y, x)[1],
    "in a branch": lambda x, y: ad.cond(ad.sum(y) > 0, lambda: ad.checkpoint(lambda a: ad.exp(a) * y)(x), lambda: x),
    "in a while": lambda x, y: ad.while_loop(
        lambda c: ad.sum(c) < 30, lambda c: ad.checkpoint(lambda a: a * ad.exp(y * 0.5))(c), x
    ),
    "of a custom rule": lambda x, y: ad.checkpoint(
        lambda a: ad.custom_rule(lambda v: (ad.sin(v), v), backward=lambda v, g: g * ad.cos(v))(a * y)
    )(x),
}


@pytest.mark.parametrize("name", CASES)
def test_all_orders_and_modes(name, run):
    """Values, both modes and second derivatives are those without the checkpoint."""
    x, y = ad.input("x", (4, 3), "float64"), ad.input("y", (3,), "float64")
    at = {x: RNG.uniform(0.3, 1, (4, 3)), y: RNG.uniform(0.3, 1, 3)}

    def quantities():
        z = CASES[name](x, y)
        gradients = ad.grad((z * z).sum(), [x, y])
        second = ad.grad(sum((g * g).sum() for g in gradients), [x, y])
        return [z, *gradients, *second, ad.jvp(z, y, np.ones(3)), *ad.hvp((z * z).sum(), [x, y], [at[x], at[y]])]

    given = quantities()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ad, "checkpoint", lambda fn: fn)
        plain = quantities()
    for a, b in zip(run(given, at), run(plain, at), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    if name in ("nested", "in a loop", "of a loop"):
        f = ad.compile([x, y], given, name="checkpointed")
        for a, b in zip(pickle.loads(pickle.dumps(f))(at[x], at[y]), run(plain, at), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_steps_in_place_and_run_time_extents():
    """Weights are written where they are once nothing computes with the old ones again."""
    x = ad.input("x", ("n", 3))
    start = [np.eye(3, dtype="f") * 0.5 + 0.1 * k for k in range(4)]
    found = []
    for wrap in (ad.checkpoint, lambda f: f):
        weights = [ad.variable(s, name=f"w{k}") for k, s in enumerate(start)]
        h = x
        for k in range(0, 4, 2):
            h = wrap(lambda v, a=weights[k], b=weights[k + 1]: ad.tanh(ad.tanh(v @ a) @ b))(h)
        loss = (h * h).sum()
        step = ad.compile(x, loss, updates=ad.optim.Adam(1e-2).minimize(loss), name="step", crosscheck=True)
        for n in (4, 1, 4):
            step(np.full((n, 3), 0.3, np.float32))
        found.append([w.value.copy() for w in weights])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_of_nothing():
    x = ad.input("x", (0, 3))
    y = ad.checkpoint(lambda v: ad.exp(v).sum() ** 2)(x)
    value, slope = ad.compile(x, [y, ad.grad(y, x)], name="empty")(np.zeros((0, 3), np.float32))
    assert value == 0 and slope.shape == (0, 3)


def test_batched(run):
    x, y = ad.input("x", (5, 3), "float64"), ad.input("y", (3,), "float64")
    at = {x: RNG.uniform(0.3, 1, (5, 3)), y: RNG.uniform(0.3, 1, 3)}
    f = ad.checkpoint(lambda a: ad.sin(a * y).sum())
    together = run(ad.vmap(ad.grad(f))(x), at)
    np.testing.assert_allclose(together, np.cos(at[x] * at[y]) * at[y], rtol=1e-12)
    np.testing.assert_allclose(run(ad.grad(ad.vmap(f)(x).sum(), y), at), (np.cos(at[x] * at[y]) * at[x]).sum(0))


def test_state_and_random_draws_pass():
    """The statistics of a layer are updated once; dropout drops the same elements again."""
    key, x, steps = ad.random.key(1), ad.input("x", (64,), "float64"), ad.variable(np.float64(0), name="steps")

    def layer(v):
        kept = ad.nn.dropout(ad.exp(v), 0.5, key)
        return ad.lang.state.carry(kept, {steps: steps + v.sum()})

    y = ad.checkpoint(layer)(x)
    f = ad.compile(x, [y, ad.grad((y * y).sum(), x)], name="noisy")
    values = RNG.uniform(0, 1, 64)
    out, slope = f(values)
    np.testing.assert_allclose(steps.value, values.sum())
    np.testing.assert_allclose(slope, 2 * out * out, rtol=1e-12)
    assert 10 < (out == 0).sum() < 54


def rnn(every, n, reverse=False, length=None):
    xs = ad.input("xs", (length or n, 3), "float64")
    w = ad.variable(np.random.default_rng(1).standard_normal((3, 3)), name="w")

    def cell(h, x):
        h = ad.tanh(h @ w + x)
        return h, {"sum": h.sum(), "all": h}

    last, ys = ad.scan(cell, ad.ones(3, dtype="float64"), xs, reverse=reverse, checkpoint_every=every)
    loss = (last * last).sum() + (ys["sum"] * np.arange(n)).sum() if length is None else (last * last).sum()
    return xs, w, [last, ys["all"], ys["sum"], *ad.grad(loss, [xs, w])]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [1, 3, 5, 10, 12])
def test_scan_in_chunks(every, reverse, run):
    values = RNG.uniform(-1, 1, (10, 3))
    xs, _, whole = rnn(None, 10, reverse)
    ys, _, parts = rnn(every, 10, reverse)
    for a, b in zip(run(whole, {xs: values}), run(parts, {ys: values}), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_draws_in_chunks_differ_and_are_made_again(run):
    key, xs = ad.random.key(5), ad.input("xs", (10, 3))

    def cell(c, x):
        y = ad.exp(x) * ad.random.uniform(key, (3,))
        return c + y.sum(), y

    total, ys = ad.scan(cell, 0.0, xs, checkpoint_every=4)
    drawn, slope = run([ys, ad.grad(total, xs)], {xs: np.zeros((10, 3), "f")})
    assert len(np.unique(drawn)) == 30
    np.testing.assert_array_equal(drawn, slope)


def test_scan_in_chunks_of_run_time_length():
    xs, _, whole = rnn(None, 0, length="n")
    ys, _, parts = rnn(4, 0, length="n")
    f, g = ad.compile(xs, whole, name="whole"), ad.compile(ys, parts, name="parts")
    for n in (1, 3, 4, 10, 12):
        values = RNG.uniform(-1, 1, (n, 3))
        for a, b in zip(f(values), g(values), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_a_scan_in_chunks_needs_less():
    memory = []
    for every in (None, 16):
        h, w = ad.input("h", (16, 16)), ad.variable(RNG.standard_normal((16, 16)).astype("f"), name="w")
        last, _ = ad.scan(lambda c, _, w=w: (ad.sin(c @ w), None), h, length=256, checkpoint_every=every)
        memory.append(ad.compile(h, ad.grad(last.sum(), [w, h]), name="deep").memory)
    assert memory[1] < 0.3 * memory[0]


def test_chunks_are_counted():
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ad.ShapeError, match="checkpoint_every"):
            ad.scan(lambda c, x: (c, None), 0.0, ad.ones(3), checkpoint_every=bad)
    assert ad.scan(lambda c, x: (c + x, c), 0.0, ad.ones(0), checkpoint_every=2)[1].shape == (0,)
