"""Layers against NumPy, and their state from call to call."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

nn = ad.nn
RNG = np.random.default_rng(31)
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "c"])


def filled(layer):
    for v in layer.parameters():
        v.value = RNG.standard_normal(v.value.shape)
    return layer


def test_norms(run):
    x = RNG.standard_normal((3, 6, 4))
    layer = filled(nn.RMSNorm((6, 4), 1e-3, dtype="float64"))
    want = x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-3) * layer.scale.value
    np.testing.assert_allclose(run(layer(x)), want, rtol=1e-10)
    layer = filled(nn.GroupNorm(2, 6, dtype="float64"))
    g = x.reshape(3, 2, -1)
    y = ((g - g.mean(-1, keepdims=True)) / np.sqrt(g.var(-1, keepdims=True) + 1e-5)).reshape(x.shape)
    want = y * layer.scale.value[:, None] + layer.bias.value[:, None]
    np.testing.assert_allclose(run(layer(x)), want, rtol=1e-9, atol=1e-12)
    plain = nn.GroupNorm(2, 6, affine=False, dtype="float64")
    assert not plain.named_variables()
    np.testing.assert_allclose(run(plain(x)), y, rtol=1e-9, atol=1e-12)
    with pytest.raises(ad.ShapeError, match="6 channels do not divide into 4 groups"):
        nn.GroupNorm(4, 6)


@BACKENDS
def test_batch_norm(backend):
    layer = filled(nn.BatchNorm2d(3, momentum=0.2, dtype="float64"))
    scale, bias = (v.value[:, None, None] for v in (layer.scale, layer.bias))
    x = ad.input("x", ("n", 3, 4, 2), "float64")
    train = ad.compile(x, layer(x, training=True), backend=backend)
    test = ad.compile(x, layer(x), backend=backend)
    fixed = ad.compile(x, layer(x, training=True), backend=backend, state_updates=False)
    mean, var = np.zeros(3), np.ones(3)
    for n in (4, 1, 9):
        data = RNG.standard_normal((n, 3, 4, 2)) * 2 + 1
        m, v = data.mean((0, 2, 3)), data.var((0, 2, 3))
        want = (data - m[:, None, None]) / np.sqrt(v[:, None, None] + 1e-5) * scale + bias
        np.testing.assert_allclose(fixed(data), want, rtol=1e-9, atol=1e-10)
        np.testing.assert_array_equal(layer.running_mean.value, mean)
        np.testing.assert_allclose(train(data), want, rtol=1e-9, atol=1e-10)
        mean, var = 0.8 * mean + 0.2 * m, 0.8 * var + 0.2 * data.var((0, 2, 3), ddof=1)
        np.testing.assert_allclose(layer.running_mean.value, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var.value, var, rtol=1e-12)
        mean, var = layer.running_mean.value.copy(), layer.running_var.value.copy()
        want = (data - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5) * scale + bias
        np.testing.assert_allclose(test(data), want, rtol=1e-9, atol=1e-10)
        np.testing.assert_array_equal(layer.running_mean.value, mean)


def test_batch_norm_of_other_ranks():
    assert nn.BatchNorm1d(3)(ad.input("x", ("n", 3))).shape[1] == 3
    with pytest.raises(ad.ShapeError, match=r"BatchNorm1d: x must have 2 or 3 axes: float32\[2, 3, 4, 5\]"):
        nn.BatchNorm1d(3)(ad.input("x", (2, 3, 4, 5)))
    with pytest.raises(ad.ShapeError, match="BatchNorm2d"):
        nn.BatchNorm2d(3)(ad.input("x", (2, 3)))
    assert [v.name.split(".")[1] for v in nn.BatchNorm(3, affine=False).named_variables().values()] == [
        "running_mean", "running_var",
    ]  # fmt: skip


@BACKENDS
def test_a_training_step_brings_the_state_along(backend):
    model = nn.Sequential(nn.Linear(5, 8, seed=1), nn.BatchNorm(8), ad.relu, nn.Dropout(0.3, seed=2), nn.Linear(8, 1))
    x, y = ad.input("x", ("n", 5)), ad.input("y", ("n", 1))
    loss = nn.mse_loss(model(x, training=True), y)
    step = ad.compile([x, y], loss, updates=ad.optim.Adam(0.02).minimize(loss), backend=backend)
    data = RNG.standard_normal((64, 5)).astype("f")
    before = {name: v.value.copy() for name, v in model.named_variables().items()}
    losses = [float(step(data, data[:, :1] * 2)) for _ in range(120)]
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    assert all((v.value != before[name]).any() for name, v in model.named_variables().items())
    evaluate = ad.compile(x, model(x), backend=backend)
    np.testing.assert_array_equal(evaluate(data), evaluate(data))
    assert np.mean((evaluate(data) - data[:, :1] * 2) ** 2) < losses[0]


def test_dropout_function(run):
    x = ad.input("x", (200, 100))
    values = RNG.standard_normal((200, 100)).astype("f")
    y = nn.dropout(x, 0.25, ad.random.key(3))
    got, slope = run([y, ad.grad(y.sum(), x)], {x: values})
    kept = got != 0
    assert abs(kept.mean() - 0.75) < 0.01
    np.testing.assert_allclose(got, np.where(kept, values / 0.75, 0), rtol=1e-6)
    np.testing.assert_allclose(slope, kept / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(run(nn.dropout(x, 0, ad.random.key(3)), {x: values}), values)
    assert (run(nn.dropout(x, 1, ad.random.key(3)), {x: values}) == 0).all()
    # What is dropped reaches nothing, whatever it is.
    values[~kept] = np.inf
    assert np.isfinite(run(y, {x: values})).all()
    for p in (-0.1, 1.5, "half"):
        with pytest.raises(ad.GraphError, match="probability"):
            nn.dropout(x, p, ad.random.key(0))
    with pytest.raises(ad.GraphError, match="Dropout: p is a probability"):
        nn.Dropout(2)
    with pytest.raises(ad.DTypeError, match="floating"):
        nn.dropout(ad.input("i", (3,), "int64"), 0.5, ad.random.key(0))


def masks(backend, **how):
    layer = nn.Dropout(0.5, seed=5)
    x = ad.input("x", (50,))
    f = ad.compile(x, [layer(x, training=True), layer(x, training=True), layer(x)], backend=backend, **how)
    return [f(np.ones(50, "f")) for _ in range(3)]


@BACKENDS
def test_dropout_layer(backend):
    calls = masks(backend)
    drawn = [tuple(m) for call in calls for m in call[:2]]
    # Every use of the layer and every call of the function draws for itself.
    assert len(set(drawn)) == 6 and all((call[2] == 1).all() for call in calls)
    assert all(set(d) <= {0.0, 2.0} for d in drawn)
    again = masks(backend)
    for a, b in zip(calls, again, strict=True):
        np.testing.assert_array_equal(a, b)
    still = masks(backend, state_updates=False)
    np.testing.assert_array_equal(still[0], still[1])
    np.testing.assert_array_equal(still[0], calls[0])


def attention(layer, q, k, v, hidden=None):
    e, h = layer.embed_dim, layer.num_heads
    w, b = layer.in_proj_weight.value, layer.in_proj_bias.value
    parts = [x @ w[i * e : (i + 1) * e].T + b[i * e : (i + 1) * e] for i, x in enumerate((q, k, v))]
    out = np.zeros((len(q), e))
    for head in range(h):
        at = slice(head * e // h, (head + 1) * e // h)
        qh, kh, vh = (p[:, at] for p in parts)
        scores = qh @ kh.T / np.sqrt(e // h)
        scores = scores if hidden is None else np.where(hidden, -np.inf, scores) if hidden.dtype == bool else (
            scores + hidden
        )
        e_ = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, at] = e_ / e_.sum(-1, keepdims=True) @ vh
    return out @ layer.out_proj.weight.value.T + layer.out_proj.bias.value


def test_multi_head_attention(run):
    layer = filled(nn.MultiHeadAttention(8, 2, dtype="float64"))
    assert list(layer.named_parameters()) == ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    q, k, v = (RNG.standard_normal((3, n, 8)) for n in (4, 5, 5))
    hidden = RNG.random((4, 5)) < 0.3
    padding = RNG.random((3, 5)) < 0.3
    hidden[:, 0] = padding[:, 0] = False
    added = RNG.standard_normal((4, 5))
    cases = [
        ({}, [None] * 3), ({"attn_mask": hidden}, [hidden] * 3), ({"attn_mask": added}, [added] * 3),
        ({"key_padding_mask": padding}, [np.tile(p, (4, 1)) for p in padding]),
        ({"key_padding_mask": padding, "attn_mask": hidden}, [p | hidden for p in padding]),
        ({"key_padding_mask": padding, "attn_mask": added}, [np.where(p, -np.inf, added) for p in padding]),
    ]  # fmt: skip
    for options, seen in cases:
        want = [attention(layer, *x) for x in zip(q, k, v, seen, strict=True)]
        np.testing.assert_allclose(run(layer(q, k, v, **options)), want, rtol=1e-9)
    future = np.triu(np.ones((4, 4), bool), 1)
    x = ad.constant(q)
    want = [attention(layer, a, a, a, future) for a in q]
    np.testing.assert_allclose(run(layer(x, is_causal=True)), want, rtol=1e-9)
    np.testing.assert_allclose(run(layer(x, x)), [attention(layer, a, a, a) for a in q], rtol=1e-9)
    want = [attention(layer, a, b, b) for a, b in zip(q, k, strict=True)]
    np.testing.assert_allclose(run(layer(q, k)), want, rtol=1e-9)


@BACKENDS
def test_attention_drops_weights_in_training(backend):
    layer = nn.MultiHeadAttention(8, 2, dropout=0.5, bias=False, seed=3)
    x = ad.input("x", (2, 6, 8))
    f = ad.compile(x, [layer(x, training=True), layer(x)], backend=backend)
    data = RNG.standard_normal((2, 6, 8)).astype("f")
    (a, still), (b, again) = f(data), f(data)
    assert (a != b).any() and (a != still).any()
    np.testing.assert_array_equal(still, again)


def test_attention_that_does_not_fit():
    with pytest.raises(ad.ShapeError, match="embed_dim 8 does not divide into 3 heads"):
        nn.MultiHeadAttention(8, 3)
    layer = nn.MultiHeadAttention(8, 2)
    with pytest.raises(ad.ShapeError, match=r"\[\.\.\., n, 8\] is expected, got float32\[3, 7\]"):
        layer(ad.input("x", (3, 7)))
    x = ad.input("x", (2, 3, 8))
    with pytest.raises(ad.DTypeError, match="key_padding_mask must be bool"):
        layer(x, key_padding_mask=ad.input("m", (2, 3)))
    with pytest.raises(ad.ShapeError, match="key_padding_mask must have the shape"):
        layer(x, key_padding_mask=ad.input("m", (3,), "bool"))


@BACKENDS
@pytest.mark.parametrize("batch_first", [False, True])
def test_lstm(backend, batch_first):
    layer = nn.LSTM(3, 5, batch_first=batch_first, seed=4, dtype="float64")
    x, h0, c0 = RNG.standard_normal((7, 2, 3)), RNG.standard_normal((2, 5)), RNG.standard_normal((2, 5))
    for start in (None, (h0, c0)):
        h, c = (np.zeros((2, 5)), np.zeros((2, 5))) if start is None else start
        hs = []
        for now in x:
            gates = now @ layer.weight_ih.value.T + layer.bias_ih.value
            gates = gates + h @ layer.weight_hh.value.T + layer.bias_hh.value
            i, f, g, o = np.split(gates, 4, -1)
            i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
            hs.append(h)
        data = x.swapaxes(0, 1) if batch_first else x
        given = ad.input("x", data.shape, "float64")
        every, (last, cell) = layer(given, None if start is None else start)
        got = ad.compile(given, [every, last, cell], backend=backend)(data)
        every = np.array(hs).swapaxes(0, 1) if batch_first else np.array(hs)
        for a, b in zip(got, (every, h, c), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_lstm_options():
    layer = nn.LSTM(3, 5, bias=False)
    assert list(layer.named_parameters()) == ["weight_ih", "weight_hh"]
    assert np.abs(layer.weight_ih.value).max() <= 5**-0.5
    assert layer(ad.input("x", (4, "n", 3)))[0].shape[2] == 5
    with pytest.raises(ad.ShapeError, match="three axes"):
        layer(ad.input("x", (4, 3)))
