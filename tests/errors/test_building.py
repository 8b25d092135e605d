"""Misuses of leaves, extents and handles, and of functions that work element by element."""

from __future__ import annotations

import numpy as np
from misuse import check_built, misuse, table

import adjoint as ad
from adjoint import DTypeError, GraphError, ShapeError, SymbolicError

x = ad.input("x", (3, 4))
y = ad.input("y", (5, 4))
n = ad.input("n", ("batch", 4))
i = ad.input("i", (3,), dtype="int64")
u = ad.input("u", (3,), dtype="uint8")
s = ad.input("s")
mask = ad.input("mask", (3, 4), dtype="bool")
w = ad.variable(np.zeros((4, 2), np.float32), name="w")
count = ad.variable(np.zeros(2, np.int64), name="count")
N = ad.Dim("n")
X = r'x = input "x" +float32\[3, 4\]'


def assign(variable, value):
    variable.value = value


def put(array, key, value):
    array[key] = value


def call_name(array, name):
    array.name = name


def wants_grad(array):
    array.requires_grad = True


LEAVES = [
    misuse("input-empty-name", lambda: ad.input("", (3,)), GraphError, "input: a name is a non-empty string, got ''"),
    misuse("input-name-no-string", lambda: ad.input(3, (3,)), GraphError, "input: a name .* got 3"),
    misuse("input-negative-extent", lambda: ad.input("q", (3, -1)), ShapeError, r"input: extent -1 of shape \(3, -1\)"),
    misuse("input-fraction", lambda: ad.input("q", (3, 1.5)), ShapeError, r"input: extent 1.5 of shape \(3, 1.5\)"),
    misuse("input-bool-extent", lambda: ad.input("q", (True, 4)), ShapeError, "input: extent True"),
    misuse("input-shape-no-sequence", lambda: ad.input("q", None), ShapeError, "input: a shape is a sequence .* None"),
    misuse("input-shape-set", lambda: ad.input("q", {3, 4}), ShapeError, r"input: a shape is a sequence .* \{3, 4\}"),
    misuse("input-extent-array", lambda: ad.input("q", (x, 4)), ShapeError, "input: extent <Array input"),
    misuse("input-dim-name", lambda: ad.input("q", ("a b", 4)), ShapeError, "input: a dimension's name .* 'a b'"),
    misuse("input-dtype", lambda: ad.input("q", (3,), dtype="float16"), DTypeError, "input: dtype float16", "float64"),
    misuse("input-dtype-word", lambda: ad.input("q", (3,), dtype="real"), DTypeError, "input: 'real' is not a data"),
    misuse("input-dtype-none", lambda: ad.input("q", (3,), dtype=None), DTypeError, "input: None is not a data type"),
    misuse("input-grad-of-ints", lambda: ad.input("q", (3,), "int32", requires_grad=True), GraphError, "floating", "q"),
    misuse("dim-name", lambda: ad.Dim("a b"), ShapeError, "Dim: a dimension's name must be an identifier, got 'a b'"),
    misuse("dim-name-no-string", lambda: ad.Dim(3), ShapeError, "Dim: a dimension's name .* got 3"),
    misuse("dim-negative", lambda: ad.Dim("k", min=-1), ShapeError, "Dim 'k': bounds .* min=-1"),
    misuse("dim-order", lambda: ad.Dim("k", min=3, max=2), ShapeError, "Dim 'k': .* min=3, max=2"),
    misuse("dim-fraction", lambda: ad.Dim("k", min=1.5), ShapeError, "Dim 'k': .* min=1.5"),
    misuse("dim-max-no-int", lambda: ad.Dim("k", max="3"), ShapeError, "Dim 'k': .* max='3'"),
    misuse("dim-times-float", lambda: N * 1.5, ShapeError, r"n \* …: .* got 1.5"),
    misuse("dim-plus-string", lambda: N + "m", ShapeError, r"n \+ …: .* got 'm'"),
    misuse("dim-divided-by-nought", lambda: N // 0, ShapeError, "positive extent only, got n // 0"),
    misuse("dim-int", lambda: int(N), ShapeError, "extent n is known only at run time"),
    misuse("dim-float", lambda: float(N), ShapeError, "extent n is known only at run time"),
    misuse("dim-range", lambda: range(N), ShapeError, "extent n is known only at run time"),
    misuse("dim-compared", lambda: N < 3, ShapeError, "such as n .* compared by order"),
    misuse("numpy-of-dim", lambda: np.zeros((N, 3)), ShapeError, "extent n is known only at run time"),
    misuse("variable-of-symbol", lambda: ad.variable(x), DTypeError, "variable: the initial value must be known", X),
    misuse("variable-string", lambda: ad.variable("hello"), DTypeError, "variable: 'hello' is no array: str"),
    misuse("variable-none", lambda: ad.variable(None), DTypeError, "variable: None is no array"),
    misuse("variable-complex", lambda: ad.variable([1 + 2j]), DTypeError, "variable: .* complex128", "float64"),
    misuse("variable-half", lambda: ad.variable(np.zeros(3, np.float16)), DTypeError, "variable: .* dtype float16"),
    misuse("variable-ragged", lambda: ad.variable([[1, 2], [3]]), ShapeError, "variable: a ragged list"),
    misuse("variable-too-large", lambda: ad.variable(2**70), DTypeError, "variable: .* does not fit int64"),
    misuse("variable-list-too-large", lambda: ad.variable([300], dtype="uint8"), DTypeError, "variable: .* 300"),
    misuse("variable-name", lambda: ad.variable([1.0], name=""), GraphError, "variable: a name is a non-empty string"),
    misuse("variable-grad-of-ints", lambda: ad.variable([1], requires_grad=True), GraphError, "variable: .* int64"),
    misuse("constant-string", lambda: ad.constant("hello"), DTypeError, "constant: 'hello' is no array"),
    misuse("constant-of-symbols", lambda: ad.constant([x, 1.0]), SymbolicError, "constant: .* use ad.stack", X),
    misuse("constant-objects", lambda: ad.constant(np.zeros(3, object)), DTypeError, "constant: .* dtype object"),
    misuse("constant-does-not-fit", lambda: ad.constant(300, dtype="uint8"), DTypeError, "300 does not fit uint8"),
    misuse("constant-list-does-not-fit", lambda: ad.constant([-1], dtype="uint8"), DTypeError, "uint8, which -1"),
    misuse("constant-dtype", lambda: ad.constant([1.0], dtype="real"), DTypeError, "constant: 'real'"),
]

HANDLES = [
    misuse("bool", lambda: bool(x), SymbolicError, r'truth value .* input "x" float32\[3, 4\]', "ad.where"),
    misuse("if", lambda: 1 if x > 0 else 2, SymbolicError, r"truth value .* bool\[3, 4\]", "ad.where"),
    misuse("chained-comparison", lambda: 0 < s < 1, SymbolicError, r"truth value .* bool\[\]", "ad.logical_and"),
    misuse("and", lambda: mask and mask, SymbolicError, r'truth value .* input "mask"', "ad.logical_and"),
    misuse("float", lambda: float(s), SymbolicError, r'float value .* input "s" float32\[\]', "ad.compile"),
    misuse("int", lambda: int(s), SymbolicError, 'int value .* input "s"', "ad.compile"),
    misuse("complex", lambda: complex(s), SymbolicError, 'value .* input "s"', "ad.compile"),
    misuse("index-a-list", lambda: [1, 2][i], SymbolicError, 'int value .* input "i"', "ad.take"),
    misuse("range", lambda: range(i), SymbolicError, 'int value .* input "i"', "ad.take"),
    misuse("iterate", lambda: list(x), SymbolicError, r'input "x" float32\[3, 4\] cannot be iterated', "ad.scan"),
    misuse("unpack", lambda: [*x], SymbolicError, 'input "x" .* cannot be iterated', "ad.scan"),
    misuse("python-sum", lambda: sum(x), SymbolicError, 'input "x" .* cannot be iterated'),
    misuse("asarray", lambda: np.asarray(x), SymbolicError, 'NumPy value .* input "x"', "ad.compile"),
    misuse("numpy-function", lambda: np.sum(x), SymbolicError, 'np.sum does not take .* input "x"', "use ad.sum"),
    misuse(
        "numpy-other-name", lambda: np.concatenate([x, x]), SymbolicError, r"np.concatenate .* use ad\.\* functions"
    ),
    misuse("len-of-scalar", lambda: len(s), SymbolicError, r'input "s" float32\[\] is 0-d'),
    misuse("len-at-run-time", lambda: len(n), SymbolicError, r'input "n" float32\[batch, 4\]', r"x\.shape\[0\]"),
    misuse("in", lambda: 3 in x, SymbolicError, 'membership .* input "x"', "ad.any"),
    misuse("assign-item", lambda: put(x, 0, 1), SymbolicError, 'input "x" .* not assigned to', r"x\.at"),
    misuse("value-of-input", lambda: x.value, SymbolicError, 'only variables have a value; input "x"', "ad.compile"),
    misuse(
        "value-of-result", lambda: (x + 1).value, SymbolicError, r"only variables have a value; add float32\[3, 4\]"
    ),
    misuse("assign-shape", lambda: assign(w, np.zeros(3)), ShapeError, r'float64\[3\]: variable "w" float32\[4, 2\]'),
    misuse("assign-string", lambda: assign(w, "hello"), DTypeError, "'hello' is no array"),
    misuse("assign-symbol", lambda: assign(w, w * 2), SymbolicError, r"NumPy value .* multiply float32\[4, 2\]"),
    misuse("assign-ragged", lambda: assign(w, [[1, 2], [3]]), ShapeError, "ragged"),
    misuse("assign-complex", lambda: assign(w, np.zeros((4, 2), complex)), DTypeError, "complex128"),
    misuse("assign-floats-to-ints", lambda: assign(count, [0.5, 1.0]), DTypeError, '"count" int64.2. .* float32'),
    misuse("name-no-string", lambda: call_name(x, 3), GraphError, 'input "x" .* name is a non-empty string, got 3'),
    misuse("grad-of-result", lambda: wants_grad(x.sum()), GraphError, "requires_grad can be set on inputs", "sum"),
    misuse("grad-of-ints", lambda: wants_grad(i), GraphError, r'requires_grad .* input "i" int64\[3\]'),
]

ELEMENTWISE = [
    misuse("add-string", lambda: x + "a", DTypeError, "add: 'a' is no array: str"),
    misuse("radd-string", lambda: "a" + x, DTypeError, "add: 'a' is no array: str"),
    misuse("add-none", lambda: x + None, DTypeError, "add: None is no array"),
    misuse("add-ragged", lambda: ad.add(x, [1, [2]]), ShapeError, "add: a ragged list"),
    misuse("add-complex", lambda: x + 1j, DTypeError, "add: 1j is no array: complex"),
    misuse("add-shapes", lambda: x + y, ShapeError, r"add: .* float32\[3, 4\] and float32\[5, 4\]", X, 'y = input "y"'),
    misuse("add-numpy", lambda: x + np.zeros((5, 4)), ShapeError, r"add: .* float64\[5, 4\]", X, "NumPy array"),
    misuse("multiply-run-time", lambda: x * n, ShapeError, "multiply: .* extents 3 and batch", X, 'n = input "n"'),
    misuse("power-string", lambda: x ** "a", DTypeError, "pow: 'a' is no array"),
    misuse("int-does-not-fit", lambda: u + 300, DTypeError, "add: the integer 300 does not fit uint8"),
    misuse("negative-does-not-fit", lambda: u + -1, DTypeError, "add: the integer -1 does not fit uint8"),
    misuse("float-bits", lambda: x & 1, DTypeError, "bitwise_and: operands must be integers, got float32", X),
    misuse("float-invert", lambda: ~x, DTypeError, "bitwise_invert: .* got float32", X),
    misuse(
        "shift-of-bools", lambda: mask << mask, DTypeError, "bitwise_left_shift: .* got bool", 'mask = input "mask"'
    ),
    misuse("logical-floats", lambda: ad.logical_and(x, mask), DTypeError, "logical_and: operands must be bool", X),
    misuse("where-no-bool", lambda: ad.where(x, 1, 2), DTypeError, "where: the condition must be bool, got float32", X),
    misuse("where-shapes", lambda: ad.where(mask, x, y), ShapeError, "where: shapes do not broadcast", X, "mask = "),
    misuse("maximum-shapes", lambda: ad.maximum(x, y), ShapeError, "maximum: shapes do not broadcast", X, "y = "),
    misuse("hypot-shapes", lambda: ad.hypot(x, y), ShapeError, "hypot: shapes do not broadcast", X, "y = "),
    misuse("exp-string", lambda: ad.exp("a"), DTypeError, "exp: 'a' is no array"),
    misuse("exp-mixed-list", lambda: ad.exp([1, "a"]), DTypeError, r"exp: \[1, 'a'\] is no array"),
    misuse("clip-string", lambda: ad.clip(x, "a"), DTypeError, "clip: 'a' is no array"),
    misuse("astype", lambda: x.astype("float16"), DTypeError, "astype: dtype float16 is not supported", "float32"),
    misuse("astype-none", lambda: ad.astype(x, None), DTypeError, "astype: None is not a data type"),
    misuse("polygamma-negative", lambda: ad.polygamma(-1, x), GraphError, "polygamma: n is an int .* got -1", X),
    misuse("polygamma-fraction", lambda: ad.polygamma(1.5, x), GraphError, "polygamma: n is an int .* got 1.5", X),
    misuse("gelu-form", lambda: ad.gelu(x, "tan"), GraphError, "gelu: approximate is .* got 'tan'"),
    misuse("leaky-relu-slope", lambda: ad.leaky_relu(x, "a"), DTypeError, "leaky_relu: 'a' is no array"),
]


@table([*LEAVES, *HANDLES, *ELEMENTWISE])
def test_misuse(case):
    check_built(case)
