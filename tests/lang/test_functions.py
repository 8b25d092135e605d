"""Every function against NumPy, on the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import adjoint as ad

RNG = np.random.default_rng(0)
F = RNG.standard_normal((3, 4)).astype("f")
P = RNG.uniform(0.2, 3, (3, 4)).astype("f")
T = RNG.standard_normal((2, 3, 4)).astype("f")
J = RNG.integers(-5, 6, (3, 4))
U = RNG.integers(0, 256, (3, 4)).astype("u1")
M = RNG.random((3, 4)) > 0.5
NAN = np.array([[1, np.nan, 3], [4, 2, 4]], "f")


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


# (name, function of handles, function of arrays, arguments)
CASES = [
    ("add", ad.add, np.add, F, F[0]),
    ("add int", ad.add, np.add, J, J[:, :1]),
    ("subtract", ad.subtract, np.subtract, F, P),
    ("multiply", ad.multiply, np.multiply, F, T),
    ("divide", ad.divide, np.divide, F, P),
    ("floor_divide", ad.floor_divide, lambda x, y: x // np.where(y == 0, 1, y) * (y != 0), J, J[::-1]),
    ("floor_divide float", ad.floor_divide, np.floor_divide, F, P),
    ("remainder", ad.remainder, lambda x, y: x % np.where(y == 0, 1, y) * (y != 0), J, J[::-1]),
    ("remainder float", ad.remainder, np.remainder, F, P),
    ("pow", ad.pow, np.power, P, F),
    ("maximum", ad.maximum, np.maximum, F, P),
    ("minimum", ad.minimum, np.minimum, F, P),
    ("exp", ad.exp, np.exp, F),
    ("log", ad.log, np.log, P),
    ("tanh", ad.tanh, np.tanh, F),
    ("sqrt", ad.sqrt, np.sqrt, P),
    ("rsqrt", ad.rsqrt, lambda x: 1 / np.sqrt(x), P),
    ("sigmoid", ad.sigmoid, _sigmoid, F),
    ("sin", ad.sin, np.sin, F),
    ("cos", ad.cos, np.cos, F),
    ("relu", ad.relu, lambda x: np.maximum(x, 0), F),
    ("relu int", ad.relu, lambda x: np.maximum(x, 0), J),
    ("abs", ad.abs, np.abs, F),
    ("sign", ad.sign, np.sign, np.array([-2, 0, 3, np.nan], "f")),
    ("sign int", ad.sign, np.sign, J),
    ("floor", ad.floor, np.floor, np.array([-1.5, -1, -0.0, 0.5, 2.7, 1e30, -1e30, np.nan, np.inf], "f")),
    ("ceil", ad.ceil, np.ceil, np.array([-1.5, -1, 0.5, 2.7, 1e30, np.nan, -np.inf], "f")),
    ("square", ad.square, np.square, J),
    ("reciprocal", ad.reciprocal, np.reciprocal, P),
    ("clip", lambda x: ad.clip(x, -1, 0.5), lambda x: np.clip(x, -1, 0.5), F),
    ("isnan", ad.isnan, np.isnan, NAN),
    ("isfinite", ad.isfinite, np.isfinite, np.array([1, np.nan, np.inf, -np.inf], "f")),
    ("where", ad.where, np.where, M, F, P),
    ("where broadcast", lambda m, x: ad.where(m, x, 0), lambda m, x: np.where(m, x, 0), M[0], F),
    ("logical_and", ad.logical_and, np.logical_and, M, ~M[0]),
    ("logical_or", ad.logical_or, np.logical_or, M, M[::-1]),
    ("logical_xor", ad.logical_xor, np.logical_xor, M, M[::-1]),
    ("logical_not", ad.logical_not, np.logical_not, M),
    ("equal", ad.equal, np.equal, J, J[::-1]),
    ("greater", ad.greater, np.greater, F, P),
    ("greater_equal", ad.greater_equal, np.greater_equal, J, J[::-1]),
    ("less bool", ad.less, np.less, M, M[::-1]),
    ("sum", ad.sum, np.sum, F),
    ("sum bool", ad.sum, np.sum, M),
    ("sum uint8", lambda x: ad.sum(x, 0), lambda x: x.sum(0, dtype="int64"), U),
    ("sum axes", lambda x: ad.sum(x, (0, -1), True), lambda x: x.sum((0, -1), keepdims=True), T),
    ("mean", lambda x: ad.mean(x, 1), lambda x: x.mean(1), T),
    ("mean int", ad.mean, lambda x: x.mean().astype("f"), J),
    ("max", lambda x: ad.max(x, -1), lambda x: x.max(-1), T),
    ("max nan", lambda x: ad.max(x, 1), lambda x: x.max(1), NAN),
    ("min", lambda x: ad.min(x, (0, 2), True), lambda x: x.min((0, 2), keepdims=True), T),
    ("min nan", lambda x: ad.min(x, 1), lambda x: x.min(1), NAN),
    ("min int", lambda x: ad.min(x), np.min, np.array([3, -(2**63), 2**63 - 1])),
    ("min uint8", lambda x: ad.min(x, 0), lambda x: x.min(0), U),
    ("max bool", lambda x: ad.max(x, 0), lambda x: x.max(0), M),
    ("argmax", lambda x: ad.argmax(x, 1), lambda x: x.argmax(1), T),
    ("argmax nan", lambda x: ad.argmax(x, 1), lambda x: x.argmax(1), NAN),
    ("argmax all", ad.argmax, np.argmax, T),
    ("argmin", lambda x: ad.argmin(x, 0, True), lambda x: x.argmin(0, keepdims=True), J),
    ("argmin bool", lambda x: ad.argmin(x, 0), lambda x: x.argmin(0), M),
    ("var", lambda x: ad.var(x, 1), lambda x: x.var(1), T),
    ("std", lambda x: ad.std(x, correction=1), lambda x: x.std(ddof=1), T),
    ("any", lambda x: ad.any(x, 0), lambda x: x.any(0), M),
    ("all", lambda x: ad.all(x, 1), lambda x: x.all(1), J > -4),
    ("vector_norm", lambda x: ad.vector_norm(x, 1), lambda x: np.linalg.norm(x, axis=1), F),
    ("reshape", lambda x: ad.reshape(x, (2, -1)), lambda x: x.reshape(2, -1), F),
    ("permute_dims", lambda x: ad.permute_dims(x, (2, 0, -2)), lambda x: x.transpose(2, 0, 1), T),
    ("matrix_transpose", ad.matrix_transpose, lambda x: x.swapaxes(-1, -2), T),
    ("moveaxis", lambda x: ad.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1), T),
    ("moveaxis two", lambda x: ad.moveaxis(x, (0, 2), (1, 0)), lambda x: np.moveaxis(x, (0, 2), (1, 0)), T),
    ("broadcast_to", lambda x: ad.broadcast_to(x, (2, 3, 4)), lambda x: np.broadcast_to(x, (2, 3, 4)), F[:, :1]),
    ("expand_dims", lambda x: ad.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1)), F),
    ("squeeze", ad.squeeze, np.squeeze, F[None, :, None]),
    ("concat", lambda x, y: ad.concat([x, y], -1), lambda x, y: np.concatenate([x, y], -1), F, F[:, :2]),
    ("concat flat", lambda x, y: ad.concat([x, y], None), lambda x, y: np.concatenate([x, y], None), F, T),
    ("concat mixed", lambda x, y: ad.concat([x, y]), lambda x, y: np.concatenate([x, y.astype("f")]), F, J),
    ("stack", lambda x, y: ad.stack([x, y], 1), lambda x, y: np.stack([x, y], 1), F, P),
    ("pad", lambda x: ad.pad(x, ((1, 0), (0, 2)), 7), lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=7), F),
    ("flip", lambda x: ad.flip(x, 1), lambda x: np.flip(x, 1), T),
    ("roll", lambda x: ad.roll(x, 3, 1), lambda x: np.roll(x, 3, 1), F),
    ("tril", lambda x: ad.tril(x, 1), lambda x: np.tril(x, 1), T),
    ("triu", lambda x: ad.triu(x, -1), lambda x: np.triu(x, -1), F),
    ("take", lambda x: ad.take(x, [[0, -1], [1, 1]], 1), lambda x: np.take(x, [[0, -1], [1, 1]], 1), T),
    ("softmax", ad.softmax, lambda x: _softmax(x, -1), F),
    ("softmax 0", lambda x: ad.softmax(x, 0), lambda x: _softmax(x, 0), F),
    ("log_softmax", ad.log_softmax, lambda x: np.log(_softmax(x, -1)), F),
    ("logsumexp", ad.logsumexp, lambda x: np.log(np.exp(x).sum()), F),
    ("logsumexp axis", lambda x: ad.logsumexp(x, 0, True), lambda x: np.log(np.exp(x).sum(0, keepdims=True)), F),
    ("isinf", ad.isinf, np.isinf, np.array([1, np.inf, -np.inf, np.nan], "f")),
    ("isinf int", ad.isinf, np.isinf, J),
    ("nan_to_num", ad.nan_to_num, np.nan_to_num, np.array([1, np.inf, -np.inf, np.nan], "f")),
    ("nan_to_num 64", ad.nan_to_num, np.nan_to_num, np.array([1, np.inf, -np.inf, np.nan])),
    ("nan_to_num int", ad.nan_to_num, np.nan_to_num, J),
    (
        "nan_to_num to numbers",
        lambda x: ad.nan_to_num(x, 7, 8, -9),
        lambda x: np.nan_to_num(x, nan=7, posinf=8, neginf=-9),
        np.array([1, np.inf, -np.inf, np.nan], "f"),
    ),
    ("log_sigmoid", ad.log_sigmoid, lambda x: -np.logaddexp(-x, 0), F * 30),
    ("hard_tanh", ad.hard_tanh, lambda x: np.clip(x, -1, 1), F),
    ("silu", ad.silu, lambda x: x * _sigmoid(x), F),
    ("softplus", ad.softplus, lambda x: np.logaddexp(x, 0), F * 30),
    ("leaky_relu", ad.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x), F),
    ("elu", ad.elu, lambda x: np.where(x > 0, x, np.exp(x) - 1), F),
    ("gelu", ad.gelu, lambda x: 0.5 * x * special.erfc(-x / np.sqrt(np.float32(2))), F),
    (
        "gelu tanh",
        lambda x: ad.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        F,
    ),
    ("one_hot", lambda i: ad.one_hot(i, 4), lambda i: np.eye(4, dtype="f")[i], J % 4),
    ("one_hot axis", lambda i: ad.one_hot(i, 4, axis=0), lambda i: np.moveaxis(np.eye(4, dtype="f")[i], -1, 0), J % 4),
    ("astype", lambda x: ad.astype(x, "int32"), lambda x: x.astype("int32"), F * 9),
    ("astype bool", lambda x: x.astype("bool"), lambda x: x.astype(bool), J),
    ("float function of integers", ad.exp, lambda x: np.exp(x.astype("f")), J),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_against_numpy(case, run):
    _, fn, reference, *arrays = case
    xs = [ad.input(f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    y = fn(*xs)
    got, expected = run(y, dict(zip(xs, arrays, strict=True))), np.asarray(reference(*arrays))
    assert (y.shape, y.dtype) == (got.shape, got.dtype) and y.shape == expected.shape
    assert y.dtype.kind == expected.dtype.kind
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (lambda: ad.zeros((2, 3)), np.zeros((2, 3), "f")),
        (lambda: ad.ones(3, "int64"), np.ones(3, "i8")),
        (lambda: ad.full((2,), 2.5), np.full(2, 2.5, "f")),
        (lambda: ad.full((2,), 7), np.full(2, 7)),
        (lambda: ad.zeros_like(ad.constant(J)), np.zeros_like(J)),
        (lambda: ad.ones_like(ad.constant(F)), np.ones_like(F)),
        (lambda: ad.arange(4), np.arange(4)),
        (lambda: ad.arange(7, 1, -2, dtype="float32"), np.arange(7, 1, -2, dtype="f")),
        (lambda: ad.eye(2, 3), np.eye(2, 3, dtype="f")),
        (lambda: ad.constant([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]])),
        (lambda: ad.constant([1.5, 2]), np.array([1.5, 2], "f")),
        (lambda: ad.constant(True), np.array(True)),
        (lambda: ad.split(ad.constant(F), 2, 1)[1], F[:, 2:]),
    ],
)
def test_created(y, expected, run):
    y = y()
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(run(y), expected)


def test_minus_infinity(run):
    x = np.array([[-np.inf, -np.inf], [0, -np.inf], [np.inf, 0]], "f")
    np.testing.assert_array_equal(run(ad.softmax(ad.constant(x)))[:2], [[0, 0], [1, 0]])
    np.testing.assert_array_equal(run(ad.logsumexp(ad.constant(x), -1)), [-np.inf, 0, np.inf])
    np.testing.assert_array_equal(run(ad.log_softmax(ad.constant(x)))[:2], [[-np.inf] * 2, [0, -np.inf]])


def test_empty_arrays(run):
    x = ad.constant(np.zeros((0, 3), "f"))
    assert run(x.sum(0)).tolist() == [0, 0, 0] and run(x + 1).shape == (0, 3)
    assert np.isnan(run(x.mean())) and run(ad.concat([x, x])).shape == (0, 3)
    assert run(ad.matmul(x.T, x)).tolist() == np.zeros((3, 3)).tolist()
    with pytest.raises(ad.ShapeError, match=r"max: axis 0 .* may be empty"):
        x.max(0)


def test_run_time_extents(run):
    n = ad.Dim("n")
    x = ad.input("x", (n, 3))
    a = np.arange(12, dtype="f").reshape(4, 3)
    for y, expected in [
        (x.mean(0), a.mean(0)),
        (x.mean(), a.mean()),
        (ad.softmax(x, 0).sum(), 3),
        (x.reshape(-1), a.reshape(-1)),
        (x[::-1], a[::-1]),
        (x[1 - 1 :], a),
        (x + ad.arange(n, dtype="float32")[:, None], a + np.arange(4)[:, None]),
        (ad.grad(x.mean(), x), np.full((4, 3), 1 / 12)),
        (x.argmax(), 11),
    ]:
        np.testing.assert_allclose(run(y, {x: a}, {n: 4}), expected, rtol=1e-6)
    with pytest.raises(ad.ShapeError, match="extents n and 4"):
        x + ad.input("y", (4, 3))
    with pytest.raises(ad.ShapeError, match="min="):
        x[:2]

