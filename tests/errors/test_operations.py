"""Misuses of functions of arrays: reductions, shapes, indices, orders, products, windows, random numbers."""

from __future__ import annotations

import numpy as np
from misuse import check_built, misuse, table

import adjoint as ad
from adjoint import DTypeError, GraphError, ShapeError, SymbolicError

x = ad.input("x", (3, 4))
y = ad.input("y", (4, 2))
v = ad.input("v", (4,))
s = ad.input("s")
n = ad.input("n", ("batch", 4))
e = ad.input("e", (0, 3))
i = ad.input("i", (3,), dtype="int64")
mask = ad.input("mask", (3, 4), dtype="bool")
image = ad.input("image", (2, 3, 8, 8))
kernel = ad.input("kernel", (5, 3, 3, 3))
back = ad.input("back", (3, 5, 3, 3))
key = ad.random.key(0)
X, Y, V, S, Nn = r'x = input "x" +float32\[3, 4\]', 'y = input "y"', 'v = input "v"', 's = input "s"', 'n = input "n"'
IMAGE = r'image = input "image" +float32\[2, 3, 8, 8\]'
nn, rand = ad.nn, ad.random

REDUCTIONS = [
    misuse("sum-axis", lambda: ad.sum(x, axis=2), ShapeError, r"sum: axis 2 .* 2 axes: float32\[3, 4\]", X),
    misuse("sum-negative-axis", lambda: x.sum(axis=-3), ShapeError, "sum: axis -3 is out of range", X),
    misuse("sum-axis-fraction", lambda: ad.sum(x, axis=1.5), ShapeError, "sum: an axis is an int, got 1.5", X),
    misuse("sum-axis-string", lambda: ad.sum(x, axis="a"), ShapeError, "sum: an axis is an int, got 'a'", X),
    misuse("sum-axis-bool", lambda: ad.sum(x, axis=True), ShapeError, "sum: an axis is an int, got True", X),
    misuse("sum-axis-symbol", lambda: ad.sum(x, axis=i), ShapeError, "sum: an axis is an int, got <Array", X),
    misuse("sum-axis-twice", lambda: ad.sum(x, axis=(0, -2)), ShapeError, "sum: an axis is named twice", X),
    misuse("sum-second-axis-as-flag", lambda: ad.sum(x, 0, 1), GraphError, "sum: keepdims is True or False, got 1", X),
    misuse("sum-dtype", lambda: ad.sum(x, dtype="real"), DTypeError, "sum: 'real' is not a data type"),
    misuse("sum-bool", lambda: ad.sum(x, dtype=bool), DTypeError, "sum: not defined in bool", X),
    misuse(
        "max-of-nothing", lambda: ad.max(e), ShapeError, r"max: axis 0 of float32\[0, 3\] may be empty", 'input "e"'
    ),
    misuse("argmin-of-nothing", lambda: ad.argmin(e, 0), ShapeError, r"argmin: axis 0 of float32\[0, 3\]", 'input "e"'),
    misuse("argmax-axis", lambda: ad.argmax(x, axis=(0, 5)), ShapeError, "argmax: axis 5 is out of range", X),
    misuse("any-axis", lambda: ad.any(x, axis=3), ShapeError, "any: axis 3 is out of range", X),
    misuse("all-axis", lambda: ad.all(mask, axis=3), ShapeError, "all: axis 3 is out of range", "mask = "),
    misuse("count-axis", lambda: ad.count_nonzero(x, axis=3), ShapeError, "count_nonzero: axis 3", X),
    misuse(
        "var-correction", lambda: ad.var(x, correction="a"), GraphError, "var: correction must be a number, got 'a'"
    ),
    misuse("std-axis", lambda: ad.std(x, axis=4), ShapeError, "std: axis 4 is out of range", X),
    misuse("norm-order", lambda: ad.vector_norm(x, ord="fro"), GraphError, "vector_norm: ord is a number", X),
    misuse("logsumexp-axis", lambda: ad.logsumexp(x, axis=4), ShapeError, "logsumexp: axis 4 is out of range", X),
    misuse("softmax-axis", lambda: ad.softmax(x, axis=4), ShapeError, "softmax: axis 4 is out of range", X),
    misuse("log-softmax-axis", lambda: ad.log_softmax(s), ShapeError, "log_softmax: axis -1 .* 0 axes", S),
]

SHAPES = [
    misuse("reshape-size", lambda: x.reshape(5, 5), ShapeError, r"reshape: .* float32\[3, 4\] to \[5, 5\]", X),
    misuse("reshape-unknown-twice", lambda: x.reshape(-1, -1), ShapeError, "reshape: only one extent may be -1", X),
    misuse("reshape-indivisible", lambda: x.reshape(-1, 5), ShapeError, r"reshape: .* to \(-1, 5\)", X),
    misuse("reshape-negative", lambda: x.reshape(-2, 6), ShapeError, "reshape: extent -2"),
    misuse("reshape-fraction", lambda: x.reshape(3.0, 4), ShapeError, "reshape: extent 3.0"),
    misuse("reshape-by-array", lambda: x.reshape(i), ShapeError, "reshape: extent <Array input"),
    misuse("reshape-run-time", lambda: n.reshape(12), ShapeError, r"reshape: .* float32\[batch, 4\] to \[12\]", Nn),
    misuse("permute-twice", lambda: ad.permute_dims(x, (0, 0)), ShapeError, r"permute_dims: \(0, 0\) is not a perm", X),
    misuse("permute-int", lambda: ad.permute_dims(x, 1), ShapeError, "permute_dims: axes must be a list", X),
    misuse("permute-fraction", lambda: ad.permute_dims(x, (0.0, 1)), ShapeError, r"permute_dims: \(0.0, 1\)", X),
    misuse("transpose-axes", lambda: x.transpose(0, 5), ShapeError, r"permute_dims: \(0, 5\)", X),
    misuse("mT-of-vector", lambda: v.mT, ShapeError, r"matrix_transpose: at least 2 axes .* float32\[4\]", V),
    misuse("moveaxis-range", lambda: ad.moveaxis(x, 0, 5), ShapeError, "moveaxis: axis 5 is out of range", X),
    misuse("moveaxis-pairs", lambda: ad.moveaxis(x, (0, 1), 0), ShapeError, "moveaxis: .* do not pair up", X),
    misuse("swapaxes-none", lambda: ad.swapaxes(v, None, 0), ShapeError, "swapaxes: one axis is expected, got None", V),
    misuse("broadcast-to", lambda: ad.broadcast_to(x, (5, 4)), ShapeError, r"broadcast_to: .* to \[5, 4\]", X),
    misuse("broadcast-to-fewer", lambda: ad.broadcast_to(x, (4,)), ShapeError, r"broadcast_to: .* to \[4\]", X),
    misuse("broadcast-arrays", lambda: ad.broadcast_arrays(x, y), ShapeError, "broadcast_arrays: .* axis -2", X, Y),
    misuse("expand-dims-range", lambda: ad.expand_dims(x, 4), ShapeError, "expand_dims: axis 4 .* rank 3", X),
    misuse("expand-dims-fraction", lambda: ad.expand_dims(x, 1.5), ShapeError, "expand_dims: axis 1.5", X),
    misuse("squeeze-wide", lambda: ad.squeeze(x, 0), ShapeError, r"squeeze: axis 0 of float32\[3, 4\]", X),
    misuse(
        "concat-shapes", lambda: ad.concat([x, y]), ShapeError, r"concat: .* float32\[3, 4\] and float32\[4, 2\]", X, Y
    ),
    misuse("concat-nothing", lambda: ad.concat([]), ShapeError, "concat: at least one array"),
    misuse("concat-no-list", lambda: ad.concat(x), ShapeError, "concat: arrays must be a list", X[4:]),
    misuse("stack-shapes", lambda: ad.stack([x, y]), ShapeError, "stack: shapes differ", X, Y),
    misuse("stack-axis", lambda: ad.stack([x, x], axis=4), ShapeError, "stack: axis 4", X),
    misuse("split-indivisible", lambda: ad.split(x, 2), ShapeError, r"split: axis 0 of float32\[3, 4\] .* 2 equal", X),
    misuse("split-nought", lambda: ad.split(x, 0), ShapeError, "split: a positive number of parts .* got 0", X),
    misuse("split-fraction", lambda: ad.split(x, [1.5]), ShapeError, "split: a position must be an int, got 1.5", X),
    misuse("unstack-run-time", lambda: ad.unstack(n), ShapeError, "unstack: axis 0 .* batch; use ad.scan", Nn),
    misuse("pad-negative", lambda: ad.pad(x, -1), ShapeError, "pad: widths must not be negative", X),
    misuse("pad-pairs", lambda: ad.pad(x, ((1, 1), 1)), ShapeError, "pad: .* pair for each of 2 axes", X),
    misuse(
        "pad-fraction", lambda: ad.pad(x, ((1, 1.5), (1, 1))), ShapeError, "pad: a width must be an int, got 1.5", X
    ),
    misuse("pad-mode", lambda: ad.pad(x, 1, mode="mirror"), ShapeError, "pad: mode is .* 'mirror'", X),
    misuse("pad-value-shape", lambda: ad.pad(x, 1, constant_values=v), ShapeError, "pad: constant_values .* scalar", V),
    misuse("pad-value-dtype", lambda: ad.pad(i, 1, constant_values=1.5), DTypeError, "pad: constant_values of float32"),
    misuse("pad-nothing-by-edge", lambda: ad.pad(e, 1, mode="edge"), ShapeError, "pad: axis 0 .* may be empty"),
    misuse("roll-fraction", lambda: ad.roll(x, 1.5), ShapeError, "roll: a shift is an int, got 1.5"),
    misuse("roll-run-time", lambda: ad.roll(n, 5, 0), ShapeError, "roll: the shift 5 .* batch; declare ad.Dim", Nn),
    misuse("flip-axis", lambda: ad.flip(x, 3), ShapeError, "flip: axis 3 is out of range", X),
    misuse("repeat-negative", lambda: ad.repeat(x, -1), ShapeError, "repeat: repeats are ints .* got -1"),
    misuse("repeat-data", lambda: ad.repeat(x, i, axis=0), DTypeError, "repeat: repeats that are data", X, 'input "i"'),
    misuse("tile-fraction", lambda: ad.tile(x, 1.5), ShapeError, "tile: extent 1.5"),
    misuse("diag-fraction", lambda: ad.diag(v, 1.5), ShapeError, "diag: k must be an int, got 1.5"),
    misuse("diagonal-of-vector", lambda: ad.diagonal(v), ShapeError, r"diagonal: at least 2 axes .* float32\[4\]", V),
    misuse("diagonal-fraction", lambda: ad.diagonal(x, 1.5), ShapeError, "diagonal: offset must be an int, got 1.5", X),
    misuse("trace-of-vector", lambda: ad.trace(v), ShapeError, "trace: at least 2 axes", V),
    misuse("tril-fraction", lambda: ad.tril(x, 1.5), ShapeError, "tril: k must be an int, got 1.5", X),
    misuse("eye-negative", lambda: ad.eye(-1), ShapeError, "eye: extent -1"),
    misuse("eye-diagonal", lambda: ad.eye(3, k="a"), ShapeError, "eye: k must be an int, got 'a'"),
    misuse("zeros-dtype", lambda: ad.zeros(3, dtype="real"), DTypeError, "zeros: 'real' is not a data type"),
    misuse("full-of-array", lambda: ad.full((2,), x), ShapeError, r"full: .* scalar, got float32\[3, 4\]", X),
    misuse("arange-no-step", lambda: ad.arange(0, 10, 0), ShapeError, r"arange: .* got \(0, 10, 0\)"),
    misuse("arange-for-ever", lambda: ad.arange(0, ad.inf), ShapeError, "arange: finite numbers"),
    misuse("linspace-negative", lambda: ad.linspace(0, 1, -1), ShapeError, "linspace: extent -1"),
    misuse("linspace-ints", lambda: ad.linspace(0, 1, 5, dtype="int32"), DTypeError, "linspace: .* got int32"),
    misuse("meshgrid-order", lambda: ad.meshgrid(v, v, indexing="ab"), ShapeError, "meshgrid: indexing .* 'ab'"),
    misuse("one-hot-of-floats", lambda: ad.one_hot(x, 3), DTypeError, "one_hot: indices must be integers", X),
    misuse("one-hot-axis", lambda: ad.one_hot(i, 3, axis="a"), ShapeError, "one_hot: axis 'a'", 'i = input "i"'),
]

INDICES = [
    misuse("index-range", lambda: x[5], ShapeError, r"index 5 is out of range for axis 0 of extent 3: float32\[3", X),
    misuse("index-too-many", lambda: x[0, 0, 0], ShapeError, r"too many indices for float32\[3, 4\]: 3 for 2", X),
    misuse("index-ellipses", lambda: x[..., ...], ShapeError, "at most one Ellipsis, got 2", X),
    misuse("index-fraction", lambda: x[1.5], SymbolicError, "cannot index with 1.5", X),
    misuse("index-mask", lambda: x[mask], SymbolicError, "boolean mask .* ad.where", X),
    misuse("index-numpy-mask", lambda: x[np.array([True, False, True])], SymbolicError, "boolean mask", X),
    misuse("index-list-range", lambda: x[[0, 7]], ShapeError, "index 7 is out of range for axis 0 of extent 3", X),
    misuse("index-float-array", lambda: x[x], DTypeError, "an index must be an integer, got float32", X),
    misuse("index-apart", lambda: x[[0, 1], [0, 1, 2]], ShapeError, r"indexing: .* int64\[2\] and int64\[3\]"),
    misuse("index-run-time", lambda: n[5], ShapeError, "index 5 .* batch.* declare ad.Dim", Nn),
    misuse("slice-no-step", lambda: x[::0], ShapeError, "step must be an int other than 0, got 0", X),
    misuse("slice-fraction", lambda: x[1.5:2], SymbolicError, "slice's bounds are ints or extents, got 1.5", X),
    misuse("slice-data", lambda: x[i[0] :], SymbolicError, "slice whose bound is data", X),
    misuse("slice-run-time", lambda: n[0:9], ShapeError, "slice bound 9 .* batch; declare ad.Dim", Nn),
    misuse("at-range", lambda: x.at[5].set(0), ShapeError, "index 5 is out of range", X),
    misuse("at-shape", lambda: x.at[0].set(v[:2]), ShapeError, r"at\[…\].set: shapes do not broadcast", X),
    misuse("at-larger", lambda: x.at[0].add(x), ShapeError, r"at\[…\].add: .* \[4\] of x\[key\]", X),
    misuse("at-dtype", lambda: i.at[0].set(1.5), DTypeError, r"at\[…\].set: values of float do not fit int64", "i = "),
    misuse("at-bool", lambda: mask.at[0].add(True), DTypeError, "at.add: not defined for bool", "mask = "),
    misuse("take-range", lambda: ad.take(x, [0, 9]), ShapeError, "take: index 9 .* axis 0 of extent 3", X),
    misuse("take-floats", lambda: ad.take(x, x), DTypeError, "take: an index must be an integer, got float32", X),
    misuse("take-axis", lambda: ad.take(x, i, axis=3), ShapeError, "take: axis 3 is out of range", X),
    misuse(
        "take-along-rank", lambda: ad.take_along_axis(x, i), ShapeError, "take_along_axis: indices of rank 1", X, "i = "
    ),
    misuse("segments-negative", lambda: ad.segment_sum(x, i, -1), ShapeError, "segment_sum: extent -1"),
    misuse(
        "segments-range", lambda: ad.segment_sum(x, [0, 1, 7], 3), ShapeError, "segment_sum: index 7 .* extent 3", X
    ),
    misuse("segments-shape", lambda: ad.segment_max(x, [0, 1], 3), ShapeError, r"segment_max: .* int64\[2\]", X),
    misuse("sort-axis", lambda: ad.sort(x, axis=4), ShapeError, "sort: axis 4 is out of range", X),
    misuse("sort-no-axis", lambda: ad.sort(v, axis=None), ShapeError, "sort: one axis is expected, got None", V),
    misuse("sort-flag", lambda: ad.sort(x, descending=1), GraphError, "sort: descending is True or False, got 1", X),
    misuse("topk-too-many", lambda: ad.topk(x, 9), ShapeError, r"topk: k .* 0 to 4 .* float32\[3, 4\], got 9", X),
    misuse("searchsorted-matrix", lambda: ad.searchsorted(x, 1.0), ShapeError, "searchsorted: .* one axis", X),
    misuse("searchsorted-side", lambda: ad.searchsorted(v, 1.0, side="mid"), GraphError, "searchsorted: side .* 'mid'"),
    misuse(
        "cumulative-axis", lambda: ad.cumulative_sum(x), ShapeError, r"cumulative_sum: float32\[3, 4\] has 2 axes", X
    ),
    misuse(
        "cumulative-flag", lambda: ad.cumulative_sum(v, include_initial=2), GraphError, "cumulative_sum: include_in", V
    ),
    misuse("cummax-axis", lambda: ad.cummax(x, axis=4), ShapeError, "cummax: axis 4 is out of range", X),
]

PRODUCTS = [
    misuse("matmul", lambda: x @ x, ShapeError, r"matmul: inner .* float32\[3, 4\] @ float32\[3, 4\]", X),
    misuse("matmul-run-time", lambda: x @ n, ShapeError, r"matmul: .* @ float32\[batch, 4\]", X, Nn),
    misuse("matmul-scalar", lambda: y @ s, ShapeError, "matmul: operands must have at least one axis", Y, S),
    misuse("tensordot", lambda: ad.tensordot(x, x, 1), ShapeError, "tensordot: axis 1 of extent 4 meets axis 0", X),
    misuse("tensordot-axes", lambda: ad.tensordot(x, x, "a"), ShapeError, "tensordot: axes are .* got 'a'", X),
    misuse("outer", lambda: ad.outer(x, v), ShapeError, r"outer: .* float32\[3, 4\] · float32\[4\]", X, V),
    misuse("vecdot", lambda: ad.vecdot(x, y), ShapeError, "vecdot: extents 4 and 2 along axis -1", X, Y),
    misuse("einsum-count", lambda: ad.einsum("ij,jk", x), ShapeError, "einsum: 'ij,jk' is for 2 operands, got 1"),
    misuse("einsum-extents", lambda: ad.einsum("ij,jk", x, x), ShapeError, "einsum: label 'j' .* 4 in operand 0, 3", X),
    misuse("einsum-result", lambda: ad.einsum("ij,jk->iz", x, y), ShapeError, "einsum: label 'z' of the result"),
    misuse(
        "einsum-rank", lambda: ad.einsum("ijk,jk", x, y), ShapeError, "einsum: 'ijk' .* operand 0, which has 2 axes"
    ),
    misuse("einsum-letters", lambda: ad.einsum("i1,jk", x, y), ShapeError, "einsum: .* '1' is neither a letter"),
    misuse(
        "conv-rank",
        lambda: nn.conv2d(x, kernel),
        ShapeError,
        r"conv2d: x must be \[N, C, H, W\], got float32\[3, 4\]",
        X,
    ),
    misuse("conv-channels", lambda: nn.conv2d(image, back), ShapeError, "conv2d: channels do not fit 1 groups", IMAGE),
    misuse(
        "conv-stride", lambda: nn.conv2d(image, kernel, stride=1.5), ShapeError, "conv2d: stride must be .* got 1.5"
    ),
    misuse(
        "conv-padding", lambda: nn.conv2d(image, kernel, padding="full"), ShapeError, "conv2d: padding is .* 'full'"
    ),
    misuse(
        "conv-window",
        lambda: nn.conv2d(image, kernel, dilation=9),
        ShapeError,
        "conv2d: a window of 19 .* axis of 8",
        IMAGE,
    ),
    misuse(
        "conv-groups", lambda: nn.conv2d(image, kernel, groups=0), ShapeError, "conv2d: groups must be a positive int"
    ),
    misuse("conv-bias", lambda: nn.conv2d(image, kernel, v), ShapeError, r"conv2d: bias must have shape \(5,\)", V),
    misuse(
        "conv-transpose-output-padding",
        lambda: nn.conv_transpose2d(image, back, output_padding=3),
        ShapeError,
        "conv_transpose2d: output_padding 3",
    ),
    misuse("pool-window", lambda: nn.max_pool2d(image, 9), ShapeError, "max_pool2d: a window of 9 .* axis of 8", IMAGE),
    misuse("pool-size", lambda: nn.max_pool2d(image, True), ShapeError, "max_pool2d: kernel_size .* got True"),
    misuse(
        "pool-flag", lambda: nn.max_pool2d(image, 2, ceil_mode="a"), GraphError, "max_pool2d: ceil_mode is True", IMAGE
    ),
    misuse("pool-padding", lambda: nn.avg_pool2d(image, 2, padding=5), ShapeError, "avg_pool2d: padding 5 .* half"),
    misuse("pool-adaptive", lambda: nn.adaptive_avg_pool2d(image, 0), ShapeError, "adaptive_avg_pool2d: output_size"),
    misuse("key-seed", lambda: rand.key("a"), DTypeError, "key: a seed is an int .* got 'a'"),
    misuse("key-missing", lambda: rand.uniform(3), DTypeError, "uniform: a key is a 0-d int64 array .* got 3"),
    misuse("key-array", lambda: rand.normal(x, (3,)), DTypeError, r"normal: a key .* got float32\[3, 4\]", X),
    misuse("random-shape", lambda: rand.uniform(key, 1.5), ShapeError, "uniform: a shape is a sequence .* got 1.5"),
    misuse(
        "random-dtype", lambda: rand.uniform(key, (3,), dtype="int32"), DTypeError, "uniform: gives floats, not int32"
    ),
    misuse("random-bounds", lambda: rand.uniform(key, (3,), low=x), ShapeError, r"uniform: .* broadcast to \[3\]"),
    misuse("randint-bounds", lambda: rand.randint(key, 3, 0, 1.5), DTypeError, "randint: bounds must be integers"),
    misuse("bernoulli-p", lambda: rand.bernoulli(key, 1.5), GraphError, "bernoulli: p must be .* got 1.5"),
    misuse("categorical-axis", lambda: rand.categorical(key, x, axis=4), ShapeError, "categorical: axis 4", X),
    misuse("permutation-scalar", lambda: rand.permutation(key, s), ShapeError, "permutation: .* at least one axis", S),
    misuse("random-split", lambda: rand.split(key, -1), ShapeError, "split: extent -1"),
    misuse(
        "fold-in-floats", lambda: rand.fold_in(key, x), DTypeError, "fold_in: data must be integers, got float32", X
    ),
]


@table([*REDUCTIONS, *SHAPES, *INDICES, *PRODUCTS])
def test_misuse(case):
    check_built(case)
