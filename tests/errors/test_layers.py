"""Misuses of layers, losses, initial values, optimisers and schedules."""

from __future__ import annotations

import numpy as np
from misuse import check_built, misuse, table

import adjoint as ad
from adjoint import DTypeError, GradientError, GraphError, ShapeError, nn, optim

x = ad.input("x", (3, 4))
v = ad.input("v", (4,))
s = ad.input("s")
i = ad.input("i", (3,), dtype="int64")
labels = ad.input("labels", (5,), dtype="int64")
image = ad.input("image", (2, 3, 8, 8))
steps = ad.input("steps", (7, 2, 4))
key = ad.random.key(0)
w = ad.variable(np.ones((4, 2), np.float32), name="w")
whole = ad.variable([1, 2], name="whole")
loss = (w**2).sum()
X, V, IMAGE = r'x = input "x" +float32\[3, 4\]', 'v = input "v"', r'image = input "image" +float32\[2, 3, 8, 8\]'
W = r'w = variable "w" +float32\[4, 2\]'
init = nn.init


def rate_without_step():
    return 0.1


class Stepless(optim.Optimizer):
    kind = "stepless"


LAYERS = [
    misuse("linear-negative", lambda: nn.Linear(-1, 3), ShapeError, "Linear: in_features must be .* got -1"),
    misuse("linear-fraction", lambda: nn.Linear(3, 2.5), ShapeError, "Linear: out_features must be .* got 2.5"),
    misuse("linear-dtype", lambda: nn.Linear(3, 4, dtype="int32"), GraphError, "uniform: initial values .* not int32"),
    misuse("linear-seed", lambda: nn.Linear(3, 4, seed="a"), GraphError, "Linear: seed must be .* got 'a'"),
    misuse("linear-shape", lambda: nn.Linear(5, 4)(x), ShapeError, r"linear: .* float32\[3, 4\] by float32\[4, 5\]", X),
    misuse("linear-string", lambda: nn.Linear(4, 4)("a"), DTypeError, "Linear: 'a' is no array"),
    misuse("linear-arguments", lambda: nn.Linear(4, 4)(x, x), ad.SymbolicError, "Linear: forward .* 2 arguments"),
    misuse("linear-no-argument", lambda: nn.Linear(4, 4)(), ad.SymbolicError, "Linear: forward .* missing .* 'x'"),
    misuse(
        "linear-bias", lambda: nn.linear(x, x, w), ShapeError, r"linear: bias must be \[out\]: float32\[4, 2\]", X, W
    ),
    misuse("embedding-negative", lambda: nn.Embedding(-1, 3), ShapeError, "Embedding: n must be .* got -1"),
    misuse("embedding-floats", lambda: nn.Embedding(5, 3)(x), DTypeError, "take: an index must be an integer", X),
    misuse("embedding-range", lambda: nn.Embedding(5, 3)(np.array([7])), ShapeError, "take: index 7 .* extent 5"),
    misuse("embedding-weight", lambda: nn.embedding(i, v), ShapeError, r"embedding: weight must be \[n, width\]", V),
    misuse("dropout-p", lambda: nn.Dropout(1.5), GraphError, "Dropout: p is a probability .* got 1.5"),
    misuse("dropout-string", lambda: nn.dropout(x, "a", key), GraphError, "dropout: p is a probability .* got 'a'"),
    misuse("dropout-ints", lambda: nn.dropout(i, 0.5, key), DTypeError, "dropout: x must be floating, got int64"),
    misuse("layer-norm-negative", lambda: nn.LayerNorm(-1), ShapeError, "LayerNorm: shape must be .* got -1"),
    misuse("layer-norm-shape", lambda: nn.LayerNorm(5)(x), ShapeError, r"layer_norm: .* float32\[3, 4\]", X, "scale"),
    misuse("layer-norm-eps", lambda: nn.layer_norm(x, eps="a"), GraphError, "layer_norm: eps must be .* got 'a'", X),
    misuse("layer-norm-ints", lambda: nn.layer_norm(i), DTypeError, "layer_norm: x must be floating, got int64"),
    misuse("rms-norm-scalar", lambda: nn.rms_norm(s), ShapeError, r"rms_norm: x must have 1 axes or more: float32\[\]"),
    misuse("group-norm-channels", lambda: nn.GroupNorm(2, 3), ShapeError, "GroupNorm: 3 channels .* 2 groups"),
    misuse("group-norm-fraction", lambda: nn.GroupNorm(1.5, 3), ShapeError, "GroupNorm: num_groups must be an int"),
    misuse("group-norm-call", lambda: nn.group_norm(image, 2), ShapeError, "group_norm: 3 channels .* 2 groups", IMAGE),
    misuse("batch-norm-momentum", lambda: nn.BatchNorm(4, momentum=5), GraphError, "BatchNorm: momentum must be"),
    misuse("batch-norm-channels", lambda: nn.BatchNorm(5)(x), ShapeError, r"batch_norm: .* float32\[5\]", X),
    misuse("batch-norm-rank", lambda: nn.BatchNorm2d(3)(x), ShapeError, r"BatchNorm2d: x must have 4 axes: float32", X),
    misuse("batch-norm-no-statistics", lambda: nn.batch_norm(x), GraphError, "batch_norm: without running stat", X),
    misuse(
        "batch-norm-no-variable", lambda: nn.batch_norm(x, v, v, training=True), GraphError, "must be a variable", V
    ),
    misuse("lstm-size", lambda: nn.LSTM(3, -1), ShapeError, "LSTM: hidden_size must be .* got -1"),
    misuse("lstm-rank", lambda: nn.LSTM(5, 3)(x), ShapeError, r"LSTM: x must have three axes: float32\[3, 4\]", X),
    misuse("lstm-state", lambda: nn.LSTM(4, 3)(steps, x), ShapeError, r"LSTM: the state is a pair \(h, c\)", X),
    misuse(
        "lstm-state-shape", lambda: nn.LSTM(4, 3)(steps, (x, x)), ShapeError, r"LSTM: h of the state .* \[batch, 3\]"
    ),
    misuse("heads", lambda: nn.MultiHeadAttention(5, 2), ShapeError, "MultiHeadAttention: embed_dim 5 .* 2 heads"),
    misuse(
        "heads-width", lambda: nn.MultiHeadAttention(6, 2)(x), ShapeError, r"MultiHeadAttention: .* n, 6\] .* got", X
    ),
    misuse(
        "attention-width",
        lambda: nn.scaled_dot_product_attention(x, w, w),
        ShapeError,
        r"scaled_dot_product_attention: .* float32\[3, 4\], float32\[4, 2\]",
        X,
        W,
    ),
    misuse(
        "sequential-no-function", lambda: nn.Sequential(5)(x), ad.SymbolicError, "Sequential: layer 0 must be a fun"
    ),
    misuse("module-dict-name", lambda: nn.ModuleDict({5: nn.ReLU()}), GraphError, "ModuleDict: a name .* got 5"),
    misuse("module-dict-value", lambda: nn.ModuleDict({"a": 3}), GraphError, "ModuleDict: 'a' must be a module"),
    misuse("module-no-forward", lambda: nn.ModuleList([])(x), GraphError, r"ModuleList defines no forward\(\)"),
    misuse("flatten-axes", lambda: nn.Flatten(3, 1)(image), ShapeError, r"Flatten: axes 3 to 1 .* 8, 8\]", IMAGE),
    misuse(
        "conv-layer-groups", lambda: nn.Conv2d(3, 4, 3, groups=2), ShapeError, "Conv2d: 3 and 4 channels .* 2 groups"
    ),
    misuse("conv-layer-kernel", lambda: nn.Conv2d(3, 4, "a"), ShapeError, "Conv2d: kernel_size must be .* got 'a'"),
    misuse("conv-layer-rank", lambda: nn.Conv2d(3, 4, 3)(x), ShapeError, r"conv2d: x must be \[N, C, H, W\]", X),
    misuse("summary", lambda: nn.summary(3), GraphError, "summary: the model must be a module", "3"),
    misuse("seed", lambda: nn.seed(1.5), ShapeError, "seed: number must be .* got 1.5"),
    misuse("init-shape", lambda: init.normal((-1,)), ShapeError, "normal: extent -1"),
    misuse("init-run-time", lambda: init.normal(("n",)), ShapeError, "normal: initial values have a shape of ints"),
    misuse("init-std", lambda: init.normal((3,), std=-1), GraphError, "normal: std must be .* got -1"),
    misuse("init-bound", lambda: init.uniform((3,), low="a"), GraphError, "uniform: low must be a number, got 'a'"),
    misuse("init-value", lambda: init.constant((3,), "a"), GraphError, "constant: value must be a number, got 'a'"),
    misuse("init-fans", lambda: init.xavier_uniform((3,)), ShapeError, r"xavier_uniform: fans .* got \[3\]"),
    misuse("init-mode", lambda: init.kaiming_normal((3, 4), mode="x"), GraphError, "kaiming_normal: mode .* got 'x'"),
    misuse("init-gain", lambda: init.gain("foo"), GraphError, "gain: nonlinearity is one of .* got 'foo'"),
]

LOSSES = [
    misuse("mse-shapes", lambda: nn.mse_loss(x, v), ShapeError, r"mse_loss: .* float32\[3, 4\] and float32\[4\]", X, V),
    misuse("mse-reduction", lambda: nn.mse_loss(x, x, reduction="avg"), GraphError, "mse_loss: reduction .* got 'avg'"),
    misuse("mse-ints", lambda: nn.mse_loss(i, i), DTypeError, "mse_loss: an operand must be floating, got int64"),
    misuse("huber-delta", lambda: nn.huber_loss(x, x, delta=0), GraphError, "huber_loss: delta must be .* got 0", X),
    misuse("huber-symbol", lambda: nn.huber_loss(x, x, delta=s), GraphError, "huber_loss: delta must be a number"),
    misuse("smooth-beta", lambda: nn.smooth_l1_loss(x, x, beta=None), GraphError, "smooth_l1_loss: beta must be", X),
    misuse("entropy-labels", lambda: nn.cross_entropy(x, labels), ShapeError, r"cross_entropy: .* int64\[5\] for", X),
    misuse("entropy-float-labels", lambda: nn.cross_entropy(x, v), DTypeError, "cross_entropy: labels must be integer"),
    misuse("entropy-int-logits", lambda: nn.cross_entropy(i, i), DTypeError, "cross_entropy: logits must be floating"),
    misuse("entropy-weight", lambda: nn.cross_entropy(x, i, weight=s), ShapeError, "cross_entropy: weight must have"),
    misuse(
        "entropy-smoothing", lambda: nn.cross_entropy(x, i, label_smoothing=2), GraphError, "label_smoothing .* 2", X
    ),
    misuse("entropy-ignore", lambda: nn.cross_entropy(x, i, ignore_index=1.5), ShapeError, "ignore_index .* 1.5", X),
    misuse("nll-axis", lambda: nn.nll_loss(x, i, axis=3), ShapeError, "nll_loss: axis 3 is out of range", X),
    misuse(
        "bce-weight", lambda: nn.binary_cross_entropy(x, x, weight=w), ShapeError, "binary_cross_entropy: a weight", W
    ),
    misuse("kl-shapes", lambda: nn.kl_div(x, v), ShapeError, "kl_div: shapes differ", X, V),
]

OPTIMISERS = [
    misuse("rate-string", lambda: optim.SGD(lr="a"), DTypeError, "SGD: a learning rate .* got 'a'"),
    misuse("rate-negative", lambda: optim.Adam(lr=-1), GraphError, "Adam: a learning rate must be .* got -1"),
    misuse("rate-nan", lambda: optim.SGD(lr=ad.nan), GraphError, "SGD: a learning rate must be .* got nan"),
    misuse("rate-array", lambda: optim.SGD(lr=x), ShapeError, r"SGD: a learning rate .* got float32\[3, 4\]", X),
    misuse("rate-bool", lambda: optim.SGD(lr=True), DTypeError, "SGD: a learning rate .* got True"),
    misuse("momentum", lambda: optim.SGD(0.1, momentum="a"), GraphError, "SGD: momentum must be .* got 'a'"),
    misuse("nesterov", lambda: optim.SGD(0.1, nesterov=True), GraphError, "sgd: nesterov needs a momentum"),
    misuse("betas-count", lambda: optim.Adam(betas=(0.9,)), GraphError, r"adam: betas .* got \(0.9,\)"),
    misuse("betas-number", lambda: optim.Adam(betas=0.9), GraphError, "adam: betas .* got 0.9"),
    misuse("betas-range", lambda: optim.Lion(betas=(0.9, 1.5)), GraphError, "lion: betas .* 1.5"),
    misuse("eps", lambda: optim.Adam(eps=-1), GraphError, "Adam: eps must be .* got -1"),
    misuse("alpha", lambda: optim.RMSprop(alpha=2), GraphError, "RMSprop: alpha must be .* got 2"),
    misuse("decay", lambda: optim.AdamW(weight_decay=None), GraphError, "AdamW: weight_decay must be .* got None"),
    misuse("no-rate", lambda: optim.Optimizer(), GraphError, 'optimizer: .* option "lr"'),
    misuse("no-step", lambda: Stepless(lr=0.1).minimize(loss), GraphError, r"Stepless defines no step\(\)"),
    misuse(
        "loss-no-scalar", lambda: optim.SGD(0.1).minimize(w), GradientError, r"grad: float32\[4, 2\] is not a sc", W
    ),
    misuse("loss-number", lambda: optim.SGD(0.1).minimize(3.0), GradientError, "minimize: a loss .* got float"),
    misuse("loss-no-variable", lambda: optim.SGD(0.1).minimize(x.sum()), GradientError, "sgd: the loss reaches no"),
    misuse("update-input", lambda: optim.SGD(0.1).minimize(loss, [x]), GradientError, 'sgd: only .* input "x"', X),
    misuse(
        "update-twice", lambda: optim.SGD(0.1).minimize(loss, [w, w]), GradientError, 'sgd: variable "w" is listed', W
    ),
    misuse("update-ints", lambda: optim.SGD(0.1).minimize(loss, [whole]), GradientError, "grad: .* got int64", "whole"),
    misuse(
        "variables-no-list", lambda: optim.SGD(0.1).minimize(loss, w), GradientError, "variables must be a list", W[4:]
    ),
    misuse(
        "group-option", lambda: optim.SGD(0.1).minimize(loss, [{"params": w, "b": 3}]), GraphError, "no option .* 'b'"
    ),
    misuse(
        "group-params", lambda: optim.SGD(0.1).minimize(loss, [{"lr": 3}]), GraphError, 'sgd: .* dict with "params"'
    ),
    misuse("group-rate", lambda: optim.SGD(0.1).minimize(loss, [{"params": w, "lr": "a"}]), DTypeError, "rate .* 'a'"),
    misuse("clip-norm", lambda: optim.SGD(0.1).minimize(loss, clip_norm=-1), GraphError, "max_norm .* got -1"),
    misuse("clip-value", lambda: optim.clip_by_value([x], 0), GraphError, "clip_by_value: .* positive .* got 0"),
    misuse("schedule-result", lambda: optim.SGD(lambda t: x).minimize(loss), ShapeError, "learning rate is .* 0-d", X),
    misuse(
        "schedule-call", lambda: optim.SGD(rate_without_step).minimize(loss), ad.SymbolicError, "schedule .* 1 argument"
    ),
    misuse("apply-input", lambda: optim.SGD(0.1).apply({x: x}), GradientError, 'sgd: only variables .* input "x"', X),
    misuse("apply-shape", lambda: optim.SGD(0.1).apply({w: x}), ShapeError, r'sgd: .* "w" .* got \[3, 4\]', W, X),
    misuse("apply-list", lambda: optim.SGD(0.1).apply([w]), GradientError, "sgd: gradients come as a dict"),
    misuse("linear-start", lambda: optim.linear("a", 0, 3), GraphError, "linear: start is a number, got 'a'"),
    misuse("linear-steps", lambda: optim.linear(0, 1, 0), GraphError, "linear: steps is an int .* got 0"),
    misuse(
        "cosine-warmup", lambda: optim.cosine(1, 10, warmup=20), GraphError, "cosine: steps is an int of at least 21"
    ),
    misuse("piecewise-count", lambda: optim.piecewise([1, 2], [1.0]), GraphError, "piecewise: 2 boundaries"),
    misuse("piecewise-order", lambda: optim.piecewise([2, 1], [1.0, 2.0, 3.0]), GraphError, "piecewise: boundary 1"),
    misuse("piecewise-numbers", lambda: optim.piecewise(1, 2), ShapeError, "piecewise: values must be a list"),
]


@table([*LAYERS, *LOSSES, *OPTIMISERS])
def test_misuse(case):
    check_built(case)
