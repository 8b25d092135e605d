"""Flags, hooks, `backward`: what decides which gradients are taken and where they go."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import adjoint as ad

ONES = np.ones(3, np.float32)


def weights(**how):
    return ad.variable(np.array([1, 2, 3], np.float32), name="w", **how)


def test_results_inherit_requires_grad():
    x, w, frozen = ad.input("x", (3,)), weights(), ad.variable(ONES, name="frozen", requires_grad=False)
    assert w.requires_grad and not x.requires_grad and not frozen.requires_grad
    assert (x * w).requires_grad and not (x * frozen).requires_grad
    assert ad.concat([x, w]).requires_grad and (x @ w).requires_grad and w[1:].requires_grad
    assert not (w > 0).requires_grad and not ad.argmax(w).requires_grad
    assert not w.detach().requires_grad and (w.detach() * w).requires_grad
    last, ys = ad.scan(lambda c, e: (c + e, c * e), 0.0, w)
    assert last.requires_grad and ys.requires_grad
    closing = [ad.scan(lambda c, e, v=v: (c + e * v, None), ad.zeros(3), x)[0] for v in (2 * w, 2 * w.detach())]
    assert closing[0].requires_grad and not closing[1].requires_grad
    assert ad.checkpoint(lambda v: v * w)(x).requires_grad
    assert ad.vmap(lambda e: e * e)(w).requires_grad and ad.grad((w * w).sum(), w).requires_grad
    assert w.is_leaf and x.is_leaf and not (x * w).is_leaf


def test_requires_grad_is_set_on_leaves():
    x = ad.input("x", (3,))
    x.requires_grad = True
    assert (x * 2).requires_grad
    with pytest.raises(ad.GraphError, match=r"results .* inherit"):
        (x * 2).requires_grad = False
    with pytest.raises(ad.GraphError, match="floating"):
        ad.input("i", (3,), "int64").requires_grad = True
    with pytest.raises(ad.GraphError, match="floating"):
        ad.variable([1, 2], requires_grad=True)


def test_grad_mode_as_context_decorator_and_statement():
    w = weights()
    with ad.no_grad():
        assert not ad.is_grad_enabled() and not (w * 2).requires_grad
        with ad.set_grad_enabled(True):
            assert (w * 2).requires_grad
        assert not ad.is_grad_enabled()
    assert ad.is_grad_enabled()

    @ad.no_grad()
    def frozen(v):
        return v * v

    @ad.set_grad_enabled(False)
    def off(v):
        return frozen(v) + v

    assert ad.is_grad_enabled()
    assert not frozen(w).requires_grad and not off(w).requires_grad and (w * 2).requires_grad
    assert not ad.no_grad(lambda v: v * v)(w).requires_grad
    ad.set_grad_enabled(False)
    try:
        assert not (w * 2).requires_grad
    finally:
        ad.set_grad_enabled(True)
    assert (w * 2).requires_grad
    block = ad.no_grad()
    assert ad.is_grad_enabled(), "nothing happens before the block is entered"
    with block, block:
        pass
    assert ad.is_grad_enabled()


def test_minimize_and_backward_leave_frozen_variables_alone():
    w, frozen = weights(), ad.variable(ONES, name="frozen", requires_grad=False)
    loss = (w * frozen).sum()
    assert list(ad.optim.SGD(0.1).minimize(loss)) == [w]
    assert [v.name for v in ad.backward(loss)] == ["w.grad"]
    assert frozen.grad is None


def test_backward_accumulates_over_calls():
    """The gradients of mini-batches add up to that of the batch; then one step is made."""
    rng = np.random.default_rng(0)
    images, target = rng.standard_normal((8, 3)).astype("f"), rng.standard_normal(8).astype("f")
    x, t, w = ad.input("x", ("n", 3)), ad.input("t", ("n",)), weights()
    assert w.grad is None
    loss = ((x @ w - t) ** 2).sum()
    add = ad.compile([x, t], loss, updates=ad.backward(loss), name="add")
    assert w.grad is w.grad and w.grad.name == "w.grad" and not w.grad.requires_grad
    for k in range(0, 8, 2):
        add(images[k : k + 2], target[k : k + 2])
    whole = ad.compile([x, t], ad.grad(loss, w), name="whole")(images, target)
    np.testing.assert_allclose(w.grad.value, whole, rtol=1e-5)
    before = w.value.copy()
    step = ad.compile([], [], updates=ad.optim.SGD(0.5).apply({w: w.grad}), name="step")
    step()
    np.testing.assert_allclose(w.value, before - 0.5 * whole, rtol=1e-5)
    memory = w.grad.value
    ad.zero_grad([w])
    assert not memory.any(), "zeroed at once, in place"
    assert ad.backward(loss).keys() == {w.grad}, "the same variable again"


def test_backward_of_several_losses():
    w = weights()
    updates = ad.backward((2 * w).sum())
    updates = ad.backward(w * w, np.array([1, 0, 0], np.float32), updates=updates)
    ad.compile([], [], updates=updates, backend="numpy")()
    assert w.grad.value.tolist() == [4, 2, 2]


def test_retained_gradients():
    x, w = ad.input("x", (3,)), weights()
    y = x * w
    z = (y * y).sum()
    y.retain_grad()
    step = ad.compile(x, [], updates=ad.backward(z))
    step(ONES)
    step(ONES)
    assert y.grad.value.tolist() == [4, 8, 12] and w.grad.value.tolist() == [4, 8, 12]
    ad.zero_grad([y, w])
    assert not y.grad.value.any() and not w.grad.value.any()
    w.retain_grad()  # leaves keep theirs anyway
    for bad, text in ((x, "ad.grad"), (ad.argmax(y), "not floating"), (ad.input("b", ("n",)) * w[0], "run time")):
        with pytest.raises(ad.GradientError, match=text):
            bad.retain_grad()


def test_usual_mistakes_of_backward():
    x, w = ad.input("x", (3,)), weights()
    for bad in ((x * x).sum(), (w.detach() * x).sum(), ad.constant(1.0)):
        with pytest.raises(ad.GradientError, match="nothing that requires a gradient"):
            ad.backward(bad)
    with pytest.raises(ad.GradientError, match="not a scalar"):
        ad.backward(x * w)
    with pytest.raises(ad.GradientError, match="floating dtype"):
        ad.backward(ad.argmax(w))
    with pytest.raises(ad.GradientError, match="symbolic"):
        ad.backward(3.0)
    with pytest.raises(ad.GradientError, match="another shape"):
        ad.backward(x * w, np.ones(4, np.float32))
    x.requires_grad = True
    with pytest.raises(ad.GradientError, match=r'input "x"; take ad\.grad'):
        ad.backward((x * w).sum())
    with pytest.raises(ad.GradientError, match="floating dtype"):
        ad.grad(w.sum(), ad.input("i", (3,), "int32"))


def test_a_hook_makes_a_node_of_its_own(run):
    x = ad.input("x", (3,))
    y, same = x * 2, x * 2
    assert y.node is same.node
    before, seen = (y * y).sum(), []
    handle = y.register_hook(seen.append)
    y.register_hook(lambda g: g * 10)
    after = (y * y).sum()
    assert y.node is not same.node
    at = {x: np.array([1, 2, 3], np.float32)}
    first, second, other = run([ad.grad(before, x), ad.grad(after, x), ad.grad((same * same).sum(), x)], at)
    assert first.tolist() == other.tolist() == [8, 16, 24] and second.tolist() == [80, 160, 240]
    assert len(seen) == 1
    assert run(seen[0], at).tolist() == [4, 8, 12], "observed ahead of the second hook"
    assert run(ad.grad(after, y), at).tolist() == [40, 80, 120]
    assert run(ad.jvp(after, x, np.ones(3, np.float32)), at) == 48, "tangents pass"
    handle.remove()
    handle.remove()
    count = len(seen)
    ad.grad(after, x)
    assert len(seen) == count


def test_a_hook_on_a_leaf_applies_to_every_gradient(run):
    w = weights()
    node = w.node
    loss = (w * w).sum()
    handle = w.register_hook(lambda g: ad.clip(g, -3, 3))
    assert w.node is node
    assert run(ad.grad(loss, w)).tolist() == [2, 3, 3]
    assert run(ad.value_and_grad(lambda v: (v * v).sum())(w)[1]).tolist() == [2, 3, 3]
    ad.compile([], [], updates=ad.backward(loss), backend="numpy")()
    assert w.grad.value.tolist() == [2, 3, 3]
    assert run(ad.grad(loss, w * 1)).tolist() == [0, 0, 0], "an equal array elsewhere has no hook"
    handle.remove()
    assert run(ad.grad(loss, w)).tolist() == [2, 4, 6]


def test_hooks_in_loops_batches_compiled_code_and_pickles(run):
    xs = ad.input("xs", (4, 2))

    def norm_clipped(c, x):
        h = c * x
        h.register_hook(lambda g: g / ad.maximum(ad.sqrt((g * g).sum()), 1e-3))
        return h, h

    def loss(xs):
        return ad.scan(norm_clipped, ad.ones(2), xs)[0].sum()

    values = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    g = ad.grad(loss(xs), xs)
    stacked = ad.input("stacked", (3, 4, 2))
    batched = ad.grad(ad.vmap(loss)(stacked).sum(), stacked)
    examples = np.stack([values, values[::-1], values / 2])
    want = [run(g, {xs: e}) for e in examples]
    np.testing.assert_allclose(run(batched, {stacked: examples}), want, rtol=1e-5)
    f = ad.compile([xs, stacked], [g, batched], name="hooked")
    for _ in range(2):
        one, many = f(values, examples)
        np.testing.assert_allclose(one, want[0], rtol=1e-5)
        np.testing.assert_allclose(many, want, rtol=1e-5)
        f = pickle.loads(pickle.dumps(f))


def test_bad_hooks():
    x = ad.input("x", (3,))
    y = x * x
    y.register_hook(lambda g: g[:2])
    with pytest.raises(ad.GradientError, match=r"a hook of .* returns float32\[2\] in place of float32\[3\]"):
        ad.grad(y.sum(), x)
    with pytest.raises(ad.GradientError, match="no gradient"):
        ad.argmax(x).register_hook(lambda g: g)
    w = weights()

    def cell(c, e):
        h = c * e
        h.register_hook(lambda g: g * w[0])
        return h, None

    with pytest.raises(ad.GradientError, match=r"within the body of a loop(.|\n)*variable \"w\""):
        ad.grad(ad.scan(cell, 1.0, x)[0], x)
