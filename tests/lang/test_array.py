"""Handles: operators, promotion, what they refuse, and the text of errors."""

from __future__ import annotations

import operator
import re
import subprocess
import sys

import numpy as np
import pytest

import adjoint as ad

X = np.array([[1.5, -2.0], [3.0, 0.25]], "f")
N = np.array([[7, -7], [0, 3]])


@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv", "pow", "lt", "le", "gt", "ge", "eq", "ne", "matmul"])
def test_binary_operators(op, run):
    fn = getattr(operator, op)
    x, y = ad.input("x", (2, 2)), ad.input("y", (2, 2))
    a, b = np.abs(X), X.T.copy()
    np.testing.assert_allclose(run(fn(x, y), {x: a, y: b}), fn(a, b), rtol=1e-6)
    np.testing.assert_allclose(run(fn(x, b), {x: a}), fn(a, b), rtol=1e-6)
    np.testing.assert_allclose(run(fn(a, y), {y: b}), fn(a, b), rtol=1e-6)
    if op != "matmul":
        np.testing.assert_allclose(run(fn(x, 2), {x: a}), fn(a, 2), rtol=1e-6)
        np.testing.assert_allclose(run(fn(2.0, x), {x: a}), fn(2.0, a), rtol=1e-6)


def test_integer_operators(run):
    n = ad.input("n", (2, 2), "int64")
    for fn in (operator.floordiv, operator.mod):
        np.testing.assert_array_equal(run(fn(n, 3), {n: N}), fn(N, 3))
        np.testing.assert_array_equal(run(fn(n, -3), {n: N}), fn(N, -3))
        assert run(fn(5, n), {n: N})[1, 0] == 0
    got, expected = (~(m > 0) & (m < 5) | (m == 7) ^ (m == 0) for m in (n, N))
    np.testing.assert_array_equal(run(got, {n: N}), expected)
    np.testing.assert_array_equal(run(-abs(n), {n: N}), -abs(N))
    for power in (0, 1, 2, 3, np.int64(5), 20):
        assert (n**power).dtype == np.int64
        np.testing.assert_array_equal(run(n**power, {n: N}), N**power)


@pytest.mark.parametrize("power", [0, 0.0, 1, 2, 3.0, -1, 0.5, 7, 20, 2.5, -2, float("inf")])
def test_constant_powers(power, run):
    x = ad.input("x", (2, 2))
    a = np.abs(X)
    assert (x**power).dtype == np.float32
    np.testing.assert_allclose(run(x**power, {x: a}), a**power, rtol=1e-5)


PROMOTION = [
    ("float32", "float64", "float64"),
    ("int64", "float32", "float32"),
    ("int64", "float64", "float64"),
    ("bool", "float32", "float32"),
    ("int32", "int64", "int64"),
    ("uint8", "int32", "int32"),
    ("bool", "uint8", "uint8"),
    ("bool", "bool", "int64"),
]


@pytest.mark.parametrize(("a", "b", "expected"), PROMOTION)
def test_promotion(a, b, expected):
    x, y = ad.input("x", (), a), ad.input("y", (), b)
    assert (x + y).dtype == (y + x).dtype == expected


@pytest.mark.parametrize(
    ("dtype", "scalar", "expected"),
    [
        ("float32", 1.5, "float32"),
        ("float32", np.float64(1.5), "float32"),
        ("float32", np.int64(3), "float32"),
        ("float64", 1, "float64"),
        ("int32", 1, "int32"),
        ("int64", 0.5, "float32"),
        ("uint8", True, "uint8"),
        ("bool", 2, "int64"),
        ("float32", np.array(1.5), "float64"),
        ("float32", np.array([1]), "float32"),
        ("float32", [1.0, 2.0], "float32"),
        ("int64", [1.0], "float32"),
        ("float32", [np.ones(2)], "float64"),
    ],
)
def test_weak_scalars_and_arrays(dtype, scalar, expected):
    assert (ad.input("x", (), dtype) + scalar).dtype == expected
    assert (scalar + ad.input("x", (), dtype)).dtype == expected


def test_dtypes_of_functions():
    n, b = ad.input("n", (2,), "int64"), ad.input("b", (2,), "bool")
    assert (n / 2).dtype == (n / n).dtype == ad.mean(n).dtype == ad.exp(b).dtype == "float32"
    assert b.sum().dtype == ad.input("u", (2,), "uint8").sum().dtype == n.argmax().dtype == "int64"
    assert ad.constant(1.0).dtype == "float32" and ad.constant(np.float64(1)).dtype == "float64"
    assert (ad.input("x") + ad.constant(np.float64(1))).dtype == "float64"


@pytest.mark.parametrize(
    "use",
    [
        bool,
        float,
        int,
        list,
        np.asarray,
        np.sum,
        range,
        lambda x: x[x > 0],
        lambda x: x[np.array([True, False])],
        lambda x: x[True],
        lambda x: 1 if x > 0 else 0,
        lambda x: x in [x + 1],
        lambda x: x[: x[0]],
        lambda x: x.value,
        lambda x: x.__setitem__(0, 1),
    ],
)
def test_symbolic_values_are_refused(use):
    with pytest.raises(ad.SymbolicError) as caught:
        use(ad.input("x", (2,)))
    assert isinstance(caught.value, TypeError)


def test_handles_hash_by_identity():
    x = ad.input("x")
    assert len({x: 1, ad.input("x"): 2, x + 1: 3, x + 1: 4}) == 4
    assert (x + 1).node is (x + 1).node
    assert ad.input("x").node is not x.node


def test_attributes():
    x = ad.input("x", ("batch", 3), "float64")
    assert (x.name, x.ndim, str(x.size), x.dtype) == ("x", 2, "batch*3", np.float64)
    assert x.T.shape == x.mT.shape == (3, ad.Dim("batch"))
    assert len(ad.input("y", (2, 3))) == 2 and not (x + 1).is_leaf and (x + 1).name is None
    assert (x.shape, x.astype("int64").dtype) == ((ad.Dim("batch"), 3), np.int64)


def test_variables(run):
    start = np.ones((2, 2))
    w = ad.variable(start, name="w")
    start[:] = 5
    assert w.dtype == np.float64 and (w.value == 1).all() and w.requires_grad
    live = w.value
    w.value = [[1, 2], [3, 4]]
    assert live is w.value and live.ctypes.data % 64 == 0
    np.testing.assert_array_equal(run(w * 2), live * 2)
    with pytest.raises(ad.ShapeError):
        w.value = [1, 2]
    assert ad.variable(3).dtype == np.int64 and not ad.variable(3).requires_grad
    assert ad.variable([1.0]).dtype == np.float32
    with pytest.raises(TypeError):
        ad.variable(ad.input("x"))


def test_requires_grad_is_inherited():
    x, w = ad.input("x"), ad.variable(1.0)
    assert (w * x).requires_grad and not (x * 2).requires_grad and not (w > 0).requires_grad
    assert not w.detach().requires_grad and not (w.detach() * 2).requires_grad
    x.requires_grad = True
    assert (x * 2).requires_grad
    with pytest.raises(ad.GraphError):
        (x * 2).requires_grad = False


MATMUL = '''ShapeError: matmul: inner dimensions differ: float32[32, 784] @ float32[785, 128]
  x = input "x"     float32[32, 784]  {file}:3
  w = variable "w"  float32[785, 128]  {file}:4
  raised by  h = ad.relu(x @ w + b)   {file}:6
'''


def test_error_names_operands_and_lines(tmp_path):
    script = tmp_path / "mlp.py"
    script.write_text(
        "import adjoint as ad\nimport numpy as np\n"
        'x = ad.input("x", (32, 784))\nw = ad.variable(np.zeros((785, 128), "f"), name="w")\nb = 0\n'
        "h = ad.relu(x @ w + b)\n"
    )
    result = subprocess.run([sys.executable, script.name], capture_output=True, text=True, cwd=tmp_path)
    lines = result.stderr[result.stderr.index("ShapeError: matmul") :]
    expected = MATMUL.format(file="mlp.py")
    assert re.sub(" {2,}", "  ", lines) == re.sub(" {2,}", "  ", expected)
    columns = {line.index("mlp.py") for line in lines.splitlines()[1:]}
    assert len(columns) == 1


def test_error_of_broadcasting():
    first, second = ad.input("p", (2, 3)), ad.input("q", (4, 3)) * 2
    with pytest.raises(ad.ShapeError) as caught:
        first + second
    text = str(caught.value)
    assert text.startswith("add: shapes do not broadcast: float32[2, 3] and float32[4, 3]: axis -2")
    assert 'first = input "p"' in text and "second = multiply" in text
    assert "raised by  first + second" in text and text.count("test_array.py:") == 3
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda x: x.reshape(4, 2), "reshape: cannot reshape float32[2, 3] to [4, 2]"),
        (lambda x: x.reshape(-1, 4), "reshape: cannot reshape float32[2, 3] to (-1, 4)"),
        (lambda x: x.sum(2), "sum: axis 2 is out of range for 2 axes"),
        (lambda x: x.sum((0, -2)), "named twice"),
        (lambda x: ad.concat([x, x[:, :2]]), "concat: shapes differ beside axis 0"),
        (lambda x: ad.stack([x, x[0]]), "stack: shapes differ"),
        (lambda x: ad.permute_dims(x, (0, 0)), "not a permutation"),
        (lambda x: ad.squeeze(x, 0), "squeeze: axis 0 of float32[2, 3]"),
        (lambda x: x[2], "index 2 is out of range for axis 0 of extent 2"),
        (lambda x: x[0, 0, 0], "too many indices"),
        (lambda x: ad.take(x, [3], 1), "index 3 is out of range"),
        (lambda x: ad.broadcast_to(x, (3, 3)), "broadcast_to"),
        (lambda x: x @ 2, "use * for scalars"),
        (lambda x: ad.einsum("ij,jk->ik", x, x), "label 'j'"),
        (lambda x: ad.einsum("ii->i", x), "repeats a label"),
        (lambda x: ad.tensordot(x, x, 1), "tensordot: axes 1 and 0 differ"),
        (lambda x: ad.nn.conv2d(x, x), "conv2d: x [N, C, H, W]"),
        (lambda x: ad.nn.cross_entropy(x, ad.input("t", (3,), "int64")), "labels must have the shape of logits"),
        (lambda x: ad.nn.mse_loss(x, x[0]), "mse_loss: shapes differ"),
    ],
)
def test_shape_errors(use, text):
    with pytest.raises(ad.ShapeError) as caught:
        use(ad.input("x", (2, 3)))
    assert text in str(caught.value) and "raised by" in str(caught.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x & x,
        lambda x: ~x,
        lambda x: ad.where(x, 1, 0),
        lambda x: x[ad.input("i", (2,))],
        lambda x: x + np.ones(2, "complex64"),
        lambda x: x + 1j,
        lambda x: x.astype("float16"),
        lambda x: ad.input("u", (2,), "uint8") + 300,
        lambda x: ad.one_hot(x, 3),
        lambda x: ad.nn.cross_entropy(x[None], x[:1]),
        lambda x: x + "text",
    ],
)
def test_dtype_errors(use):
    with pytest.raises(ad.DTypeError):
        use(ad.input("x", (2,)))


def test_import_is_light():
    code = "import sys, adjoint; print(sorted(m for m in sys.modules if m in ('jinja2', 'cffi', 'adjoint.api')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_everything_public_exists():
    assert all(hasattr(ad, name) for name in ad.__all__)
