"""Layers, losses and windows against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(4)


def convolve(x, w, stride, padding, dilation, groups):
    n = x.shape[0]
    o, per_group, kh, kw = w.shape
    p = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    oh = (p.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (p.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, oh, ow))
    for k in range(o):
        g = k // (o // groups)
        for i in range(oh):
            for j in range(ow):
                top, left = i * stride[0], j * stride[1]
                patch = p[:, g * per_group : (g + 1) * per_group, top:, left:][:, :, :: dilation[0], :: dilation[1]]
                y[:, k, i, j] = (patch[:, :, :kh, :kw] * w[k]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [((1, 1), (0, 0), (1, 1)), ((2, 1), (1, 2), (1, 1)), ((3, 2), (1, 0), (2, 1))]
)
def test_conv2d(stride, padding, dilation, groups, run):
    x, w = RNG.standard_normal((2, 4, 8, 7)), RNG.standard_normal((6, 4 // groups, 3, 2))
    b = RNG.standard_normal(6)
    y = ad.nn.conv2d(x, w, b, stride, padding, dilation, groups)
    expected = convolve(x, w, stride, padding, dilation, groups) + b[:, None, None]
    assert y.shape == expected.shape
    np.testing.assert_allclose(run(y), expected, rtol=1e-9, atol=1e-9)


def _pooled(x, k, s, p, fill, reduce):
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::s, ::s]
    return reduce(windows, axis=(-2, -1))


@pytest.mark.parametrize(("k", "s", "p"), [(2, 2, 0), (3, 3, 0), (3, 2, 1), (2, 1, 0), (2, 2, 1)])
def test_pooling(k, s, p, run):
    x = RNG.standard_normal((2, 3, 7, 8)).astype("f")
    np.testing.assert_allclose(run(ad.nn.max_pool2d(x, k, s, p)), _pooled(x, k, s, p, -np.inf, np.max))
    np.testing.assert_allclose(run(ad.nn.avg_pool2d(x, k, s, p)), _pooled(x, k, s, p, 0, np.mean), rtol=1e-5, atol=1e-6)


def test_windows_that_do_not_fit():
    with pytest.raises(ad.ShapeError, match="a window of 5 does not fit"):
        ad.nn.conv2d(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 3, 3)), dilation=2)
    with pytest.raises(ad.ShapeError, match="stride"):
        ad.nn.conv2d(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 3, 3)), stride=0)
    with pytest.raises(ad.ShapeError, match="groups"):
        ad.nn.conv2d(np.zeros((1, 3, 4, 4)), np.zeros((2, 1, 3, 3)), groups=2)


def test_cross_entropy(run):
    x, t = RNG.standard_normal((4, 5)).astype("f") * 100, np.array([1, 0, 4, -1])
    m = x.astype("d") - x.max(1, keepdims=True)
    expected = (np.log(np.exp(m).sum(1)) - m[range(4), t]).mean()
    labels = ad.input("t", (4,), "int32")
    loss = ad.nn.cross_entropy(x, labels)
    np.testing.assert_allclose(run(loss, {labels: t}), expected, rtol=1e-6)
    np.testing.assert_allclose(run(ad.nn.cross_entropy(x.T, t, axis=0)), expected, rtol=1e-6)
    with pytest.raises(ad.ExecutionError, match=r"cross_entropy: .*index 5 is out of range"):
        run(loss, {labels: [0, 0, 5, 0]})
    with pytest.raises(ad.DTypeError):
        ad.nn.cross_entropy(x, ad.input("t", (4,)))


def test_layer_norm(run):
    x, s, b = RNG.standard_normal((3, 8)), RNG.standard_normal(8), RNG.standard_normal(8)
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * s + b
    np.testing.assert_allclose(run(ad.nn.layer_norm(x, s, b)), expected, rtol=1e-9)
    with pytest.raises(ad.ShapeError, match="layer_norm"):
        ad.nn.layer_norm(x, s[:3])


def test_attention_is_causal(run):
    q, k, v = (RNG.standard_normal((2, 4, 3)) for _ in range(3))
    y = run(ad.nn.scaled_dot_product_attention(q, k, v, is_causal=True))
    np.testing.assert_allclose(y[:, 0], v[:, 0])
    scores = np.exp(q[:, 3:] @ k.swapaxes(1, 2) / np.sqrt(3))
    np.testing.assert_allclose(y[:, 3:], scores / scores.sum(-1, keepdims=True) @ v)


class Net(ad.nn.Module):
    def __init__(self):
        self.embed = ad.nn.Embedding(10, 4, seed=1)
        self.blocks = [ad.nn.Sequential(ad.nn.Linear(4, 4, seed=k), ad.tanh) for k in range(2)]
        self.norm = ad.nn.LayerNorm(4)
        self.head = {"out": ad.nn.Linear(4, 3, bias=False, seed=9)}

    def forward(self, x, training=False):
        assert training
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head["out"](self.norm(x, training=training))


def test_modules(run):
    net = Net()
    names = ["embed.weight", *(f"blocks.{k}.0.{p}" for k in range(2) for p in ("weight", "bias"))]
    names += ["norm.scale", "norm.bias", "head.out.weight"]
    assert list(net.named_parameters()) == names == [p.name for p in net.parameters()]
    y = net([1, 2, 1], training=True)
    assert y.shape == (3, 3) and y.requires_grad
    h = net.embed.weight.value[[1, 2, 1]]
    for block in net.blocks:
        h = np.tanh(h @ block[0].weight.value.T + block[0].bias.value)
    h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(run(y), h @ net.head["out"].weight.value.T, rtol=1e-4, atol=1e-5)
    assert "blocks" not in y.node.sites[0].scope and y.node.sites[0].scope.startswith("net")
    net.norm.scale.requires_grad = False
    assert "norm.scale" not in net.named_parameters() and "norm.scale" in net.named_variables()


def test_initial_values_follow_the_seed():
    a, b, c = (ad.nn.Linear(3, 2, seed=s).weight.value for s in (1, 1, 2))
    assert (a == b).all() and (a != c).any() and np.abs(a).max() <= 3**-0.5
    ad.nn.seed(5)
    first = ad.nn.Conv2d(1, 2, 3).weight.value
    second = ad.nn.Conv2d(1, 2, 3).weight.value
    ad.nn.seed(5)
    assert (ad.nn.Conv2d(1, 2, 3).weight.value == first).all() and (first != second).any()


def test_conv_layer(run):
    layer = ad.nn.Conv2d(2, 4, (3, 2), stride=2, padding=1, groups=2, seed=0)
    x = RNG.standard_normal((1, 2, 6, 6)).astype("f")
    expected = convolve(x, layer.weight.value, (2, 2), (1, 1), (1, 1), 2) + layer.bias.value[:, None, None]
    np.testing.assert_allclose(run(layer(x)), expected, rtol=1e-5, atol=1e-5)


def test_names_are_unique():
    a, b = ad.nn.Linear(2, 2), ad.nn.Linear(2, 2)
    assert len({p.name for p in (*a.parameters(), *b.parameters())}) == 4 and a.weight.name.startswith("linear")
    model = ad.nn.Sequential(a, ad.relu, b)
    assert [p.name for p in model.parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model.named("critic")[2].bias.name == "critic.2.bias"
