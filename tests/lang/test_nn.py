"""Layers and losses against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(4)


def test_cross_entropy(run):
    x, t = RNG.standard_normal((4, 5)).astype("f") * 100, np.array([1, 0, 4, -1])
    m = x.astype("d") - x.max(1, keepdims=True)
    expected = (np.log(np.exp(m).sum(1)) - m[range(4), t]).mean()
    labels = ad.input("t", (4,), "int32")
    loss = ad.nn.cross_entropy(x, labels)
    np.testing.assert_allclose(run(loss, {labels: t}), expected, rtol=1e-6)
    np.testing.assert_allclose(run(ad.nn.cross_entropy(x.T, t, axis=0)), expected, rtol=1e-6)
    with pytest.raises(ad.ExecutionError, match=r"cross_entropy: .*index out of range: got 5, bound 5"):
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


def test_names_are_unique():
    a, b = ad.nn.Linear(2, 2), ad.nn.Linear(2, 2)
    assert len({p.name for p in (*a.parameters(), *b.parameters())}) == 4 and a.weight.name.startswith("linear")
    model = ad.nn.Sequential(a, ad.relu, b)
    assert [p.name for p in model.parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model.named("critic")[2].bias.name == "critic.2.bias"
