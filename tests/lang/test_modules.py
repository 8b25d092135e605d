"""Modules: names, containers, the flag of training, and what is printed."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

nn = ad.nn


class Block(nn.Module):
    def __init__(self, width):
        self.inner = nn.Linear(width, width)
        self.shift = ad.variable(np.zeros(width, "f"))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(ad.relu(self.inner(x)) + self.shift)


class Net(nn.Module):
    def __init__(self):
        self.blocks = nn.ModuleList(Block(4) for _ in range(2))
        self.heads = nn.ModuleDict({"mean": nn.Linear(4, 1)})
        self.others = [nn.Linear(4, 2, bias=False), {"deep": (nn.ReLU(), nn.Linear(2, 2))}]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return {name: head(x) for name, head in self.heads.items()}


BLOCK = ["inner.weight", "inner.bias", "shift", "drop.key"]
NAMES = [
    *(f"blocks.{k}.{name}" for k in range(2) for name in BLOCK),
    "heads.mean.weight", "heads.mean.bias", "others.0.weight", "others.1.deep.1.weight", "others.1.deep.1.bias",
]  # fmt: skip


def test_names_follow_the_attributes():
    net = Net()
    assert list(net.named_variables()) == NAMES == [v.name for v in net.named_variables().values()]
    assert list(net.named_parameters()) == [n for n in NAMES if not n.endswith("key")]
    assert net.named_modules()["others.1.deep.1"] is net.others[1]["deep"][1]
    assert list(net.named_modules())[:4] == ["", "blocks", "blocks.0", "blocks.0.inner"]
    assert net.named("critic") is net and net.blocks[0].shift.name == "critic.blocks.0.shift"


def test_what_is_added_later_is_named_too():
    net = Net().named("net")
    net.blocks.append(Block(4)).append(Block(4))
    net.heads["spread"] = nn.Linear(4, 1)
    net.blocks[3].extra = nn.Linear(4, 4)
    assert net.blocks[2].shift.name == "net.blocks.2.shift"
    assert net.heads["spread"].bias.name == "net.heads.spread.bias"
    assert net.blocks[3].extra.weight.name == "net.blocks.3.extra.weight"
    assert len(net.blocks) == 4 and list(net.heads) == ["mean", "spread"] and len(net.heads) == 2
    with pytest.raises(ad.GraphError, match="a name is a non-empty string"):
        net.heads[3] = nn.ReLU()


def test_shared_variables_count_once():
    class Tied(nn.Module):
        def __init__(self):
            self.embed = nn.Embedding(7, 3)
            self.head = nn.Linear(3, 7)
            self.head.weight = self.embed.weight

        def forward(self, i):
            return self.head(self.embed(i))

    tied = Tied()
    assert list(tied.named_parameters()) == ["embed.weight", "head.bias"]
    assert tied.parameter_count() == 28
    again = nn.Sequential(tied, tied)
    assert list(again.named_parameters()) == ["0.embed.weight", "0.head.bias"] == [p.name for p in again.parameters()]


def test_the_flag_of_training_reaches_everything():
    seen = []

    class Probe(nn.Module):
        def __init__(self, name):
            self.label = name

        def forward(self, x, training=False):
            seen.append((self.label, training))
            return x

    class Outer(nn.Module):
        def __init__(self):
            self.a, self.b = Probe("a"), Probe("b")
            self.c = nn.Sequential(Probe("c"), ad.relu, nn.Sequential(Probe("d")))

        def forward(self, x):
            return self.c(self.b(self.a(x), training=False))

    x, outer = ad.input("x", (2,)), Outer()
    outer(x, training=True)
    assert seen == [("a", True), ("b", False), ("c", True), ("d", True)]
    seen.clear()
    outer(x)
    assert [flag for _, flag in seen] == [False] * 4
    seen.clear()
    Probe("e")(x, True)
    Probe("f")(x, training=True)
    assert seen == [("e", True), ("f", True)]

    class Fails(nn.Module):
        def forward(self, x):
            raise KeyError

    seen.clear()
    with pytest.raises(KeyError):
        Fails()(x, training=True)
    Probe("g")(x)
    assert seen == [("g", False)]


def test_counts():
    assert nn.Linear(3, 4).parameter_count() == 16
    assert Net().parameter_count() == 2 * (20 + 4) + 5 + 8 + 6
    norm = nn.BatchNorm(5)
    assert norm.parameter_count() == 10 and len(norm.named_variables()) == 4
    norm.scale.requires_grad = False
    assert norm.parameter_count() == 5


def test_a_printed_model():
    model = nn.Sequential(nn.Linear(3, 4), ad.relu, Block(4), nn.Softmax(0))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(weight=[4, 3], bias=[4])\n"
        "  (1): relu\n"
        "  (2): Block(shift=[4]\n"
        "    (inner): Linear(weight=[4, 4], bias=[4])\n"
        "    (drop): Dropout(p=0.5, key=[])\n"
        "  )\n"
        "  (3): Softmax(axis=0)\n"
        ")"
    )
    assert repr(nn.ModuleDict({"a": nn.ReLU()})) == "ModuleDict(\n  (a): ReLU()\n)"


def test_a_summary():
    net = Net()
    assert nn.summary(net, ad.input("x", ("batch", 4))).splitlines() == [
        "layer           kind     output             parameters",
        "blocks.0.inner  Linear   float32[batch, 4]          20",
        "blocks.0.drop   Dropout  float32[batch, 4]           0",
        "blocks.0        Block    float32[batch, 4]           4",
        "blocks.1.inner  Linear   float32[batch, 4]          20",
        "blocks.1.drop   Dropout  float32[batch, 4]           0",
        "blocks.1        Block    float32[batch, 4]           4",
        "heads.mean      Linear   float32[batch, 1]           5",
        "(whole)         Net      float32[batch, 1]           0",
        "total                                               67",
    ]
    twice = nn.Linear(2, 2)
    rows = nn.summary(nn.Sequential(twice, twice), ad.input("x", (2,))).splitlines()
    assert [row.split()[-1] for row in rows[1:]] == ["6", "0", "0", "6"]


ACTIVATIONS = [
    (nn.ReLU(), ad.relu), (nn.Sigmoid(), ad.sigmoid), (nn.Tanh(), ad.tanh), (nn.SiLU(), ad.silu),
    (nn.Softplus(), ad.softplus), (nn.GELU("tanh"), lambda x: ad.gelu(x, "tanh")),
    (nn.LeakyReLU(0.3), lambda x: ad.leaky_relu(x, 0.3)), (nn.ELU(0.5), lambda x: ad.elu(x, 0.5)),
    (nn.Softmax(0), lambda x: ad.softmax(x, 0)), (nn.LogSoftmax(), ad.log_softmax),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "function"), ACTIVATIONS, ids=lambda x: type(x).__name__)
def test_activations_are_their_functions(layer, function):
    x = ad.input("x", (2, 3))
    assert layer(x).node is function(x).node
