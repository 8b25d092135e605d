"""Misuses of derivatives, of batching, and of loops and branches."""

from __future__ import annotations

import numpy as np
from misuse import check_built, misuse, table

import adjoint as ad
from adjoint import DTypeError, GradientError, GraphError, ShapeError, SymbolicError

x = ad.input("x", (3, 4))
d = ad.input("d", (3, 4), dtype="float64")
y = ad.input("y", (4, 2))
v = ad.input("v", (4,))
s = ad.input("s")
rare = ad.input("rare", (97,))  # placeholders of this type are made nowhere else
i = ad.input("i", (3,), dtype="int64")
steps = ad.input("steps", (7, 3, 4))
w = ad.variable(np.ones((4, 2), np.float32), name="w")
total = x.sum()
X, V, Y = r'x = input "x" +float32\[3, 4\]', 'v = input "v"', 'y = input "y"'
D, S, I = 'd = input "d" +float64', r's = input "s" +float32\[\]', 'i = input "i" +int64'


def leaked(loop):
    """What the function given to `loop` was called with."""
    found = []

    def keep(value, result):
        found.append(value)
        return result

    loop(keep)
    return found[0]


def out_of_scan():
    return leaked(lambda keep: ad.scan(lambda c, e: keep(c, (c, e)), s, v))


def out_of_cond():
    return leaked(lambda keep: ad.cond(s > 0, lambda q: keep(q, q), lambda q: q, s))


def out_of_while():
    return leaked(lambda keep: ad.while_loop(lambda c: c < 1, lambda c: keep(c, c + 1), s))


def out_of_vmap():
    return leaked(lambda keep: ad.vmap(lambda q: keep(q, q))(x))


DERIVATIVES = [
    misuse("grad-no-scalar", lambda: ad.grad(x, x), GradientError, r"grad: float32\[3, 4\] is not a scalar", X),
    misuse("grad-by-ints", lambda: ad.grad(total, i), GradientError, "grad: .* differentiated by .* got int64", I),
    misuse("grad-of-ints", lambda: ad.grad(i.sum(), x), GradientError, "grad: what is differentiated .* got int64"),
    misuse("grad-by-nothing", lambda: ad.grad(total), GradientError, "grad: say what to differentiate by"),
    misuse("grad-by-string", lambda: ad.grad(total, "a"), GradientError, "grad: .* symbolic array, got str"),
    misuse("grad-by-numpy", lambda: ad.grad(total, np.zeros(3)), GradientError, "grad: .* got ndarray"),
    misuse("grad-in-list", lambda: ad.grad(total, [x, i]), GradientError, "grad: .* got int64", I),
    misuse("grad-strict", lambda: ad.grad(total, w, strict=True), GradientError, 'grad: .* not depend on variable "w"'),
    misuse("grad-of-number", lambda: ad.grad(3.0, x), GradientError, "grad: what is differentiated .* got float"),
    misuse(
        "cotangent-shape", lambda: ad.grad(x, x, v), GradientError, r"grad: .* float32\[4\] for float32\[3, 4\]", X, V
    ),
    misuse("cotangent-dtype", lambda: ad.grad(x, x, d), GradientError, "grad: .* float64 does not fit float32", X, D),
    misuse("cotangent-string", lambda: ad.grad(x, x, "a"), DTypeError, "grad: 'a' is no array"),
    misuse("argument-number", lambda: ad.grad(lambda a: a.sum(), 3)(x), GradientError, "grad: .* argument number 3"),
    misuse("argument-name", lambda: ad.grad(lambda a: a.sum(), "a")(x), GradientError, "grad: .* number 'a'"),
    misuse("argument-count", lambda: ad.grad(lambda a: a.sum())(), SymbolicError, "the function .* 0 arguments"),
    misuse("argument-ints", lambda: ad.grad(lambda a: a.sum())(i), GradientError, "grad: an argument .* int64", I),
    misuse("function-result", lambda: ad.grad(lambda a: a * 2)(x), GradientError, r"float32\[3, 4\] is not a scalar"),
    misuse("function-none", lambda: ad.grad(lambda a: None)(x), GradientError, "symbolic array, got NoneType"),
    misuse("value-and-grad", lambda: ad.value_and_grad(total), GradientError, "value_and_grad: say what"),
    misuse("vjp-count", lambda: ad.vjp([x, x], x, [x]), GradientError, "vjp: 1 cotangents for 2 arrays"),
    misuse("vjp-list", lambda: ad.vjp(x, x, [x, x]), GradientError, "vjp: one cotangent is expected, got a list", X),
    misuse("vjp-shape", lambda: ad.vjp(x, x, v), GradientError, "vjp: the cotangent has another shape", X, V),
    misuse("jvp-shape", lambda: ad.jvp(x, x, v), GradientError, "jvp: the tangent has another shape", X, V),
    misuse("jvp-count", lambda: ad.jvp(x, [x], [x, x]), GradientError, "jvp: 2 tangents for 1 arrays"),
    misuse("jvp-ints", lambda: ad.jvp(x, i, i), GradientError, "jvp: .* got int64", I),
    misuse("hvp-shape", lambda: ad.hvp(total, x, v), GradientError, "jvp: the tangent has another shape", X, V),
    misuse("jacobian-text", lambda: ad.jacobian([x, "x"], x), GradientError, "jacobian: .* got str"),
    misuse("jacobian-ints", lambda: ad.jacobian(x, i), GradientError, "jacobian: .* got int64", I),
    misuse("hessian-no-scalar", lambda: ad.hessian(x, x), GradientError, "grad: .* not a scalar", X),
    misuse("hessian-function", lambda: ad.hessian(abs, x), GradientError, "hessian: .* got builtin_function"),
    misuse("hessian-text", lambda: ad.hessian(total, [x, "x"]), GradientError, "hessian: .* got str"),
]

BATCHING = [
    misuse(
        "vmap-scalar", lambda: ad.vmap(lambda a: a)(s), ShapeError, r"vmap: argument 0, float32\[\], has no axis 0", S
    ),
    misuse("vmap-axis", lambda: ad.vmap(lambda a: a, in_axes="a")(x), ShapeError, "vmap: .* has no axis a", X),
    misuse(
        "vmap-axes", lambda: ad.vmap(lambda a: a, in_axes=(0, 0))(x), ShapeError, "vmap: in_axes has 2 entries for 1"
    ),
    misuse(
        "vmap-extents", lambda: ad.vmap(lambda a, b: a)(x, y), ShapeError, "vmap: 3 examples and 4 in argument 1", Y
    ),
    misuse("vmap-out", lambda: ad.vmap(lambda a: a, out_axes=5)(x), ShapeError, "vmap: .* has no axis 5"),
    misuse("vmap-out-string", lambda: ad.vmap(abs, out_axes="a"), ShapeError, "vmap: out_axes must be an int, got 'a'"),
    misuse("vmap-no-function", lambda: ad.vmap(5), SymbolicError, "vmap: fn must be a function, got 5"),
    misuse("vmap-arguments", lambda: ad.vmap(lambda a, b: a)(x), SymbolicError, "vmap: fn cannot be called with 1 arg"),
    misuse("vmap-nothing", lambda: ad.vmap(lambda: s)(), ShapeError, "vmap: no argument has an axis"),
    misuse("vmap-bool", lambda: ad.vmap(lambda a: 1 if a else 2)(v), SymbolicError, "truth value .*example of arg"),
]

LOOPS = [
    misuse("cond-float", lambda: ad.cond(s, lambda: 1, lambda: 2), DTypeError, "cond: .* bool, got float32", S),
    misuse("cond-array", lambda: ad.cond(x > 0, lambda: 1, lambda: 2), ShapeError, r"cond: .* 0-d, got bool\[3, 4\]"),
    misuse(
        "cond-shapes", lambda: ad.cond(s > 0, lambda: x, lambda: y), ShapeError, "cond: result 0 is .* if true", X, Y
    ),
    misuse("cond-dtypes", lambda: ad.cond(s > 0, lambda: x, lambda: d), DTypeError, "cond: .* float64.* if false", D),
    misuse(
        "cond-trees", lambda: ad.cond(s > 0, lambda: (x, x), lambda: x), GraphError, "cond: .* different structures"
    ),
    misuse("cond-no-function", lambda: ad.cond(s > 0, 1, 2), SymbolicError, "cond must be a function, got 1"),
    misuse("cond-operands", lambda: ad.cond(s > 0, lambda a: a, lambda: x, x), SymbolicError, "1 argument: too many"),
    misuse("cond-none", lambda: ad.cond(s > 0, lambda: None, lambda: None), DTypeError, "cond: None is no array"),
    misuse(
        "while-no-bool", lambda: ad.while_loop(lambda c: c, lambda c: c, s), DTypeError, "while_loop: .* got float32"
    ),
    misuse(
        "while-array", lambda: ad.while_loop(lambda c: c < 3, lambda c: c, x), ShapeError, r"bool\[3, 4\]; take ad.any"
    ),
    misuse(
        "while-shape", lambda: ad.while_loop(lambda c: c[0, 0] < 3, lambda c: c[0], x), ShapeError, "carry 0 .* out", X
    ),
    misuse(
        "while-dtype", lambda: ad.while_loop(lambda c: c < 3, lambda c: c + 0.5, i[0]), DTypeError, "int64 .* float32"
    ),
    misuse("while-tree", lambda: ad.while_loop(lambda c: c < 3, lambda c: (c, c), s), GraphError, "structured diff"),
    misuse("while-limit", lambda: ad.while_loop(abs, abs, s, 1.5), ShapeError, "while_loop: max_iterations .* got 1.5"),
    misuse("while-arguments", lambda: ad.while_loop(lambda: True, abs, s), SymbolicError, "while_loop .* 1 argument"),
    misuse("fori-negative", lambda: ad.fori_loop(-1, lambda k, c: c, s), ShapeError, "fori_loop: extent -1"),
    misuse("fori-fraction", lambda: ad.fori_loop(1.5, lambda k, c: c, s), DTypeError, "fori_loop: n .* got float32"),
    misuse("fori-arguments", lambda: ad.fori_loop(3, lambda k: k, s), SymbolicError, "fori_loop: body .* 2 arguments"),
    misuse("fori-shape", lambda: ad.fori_loop(3, lambda k, c: x, s), ShapeError, "carry 0 goes in as", S),
    misuse(
        "scan-no-pair", lambda: ad.scan(lambda c, e: c, s, x), GraphError, "scan: the body must return a pair", "param"
    ),
    misuse("scan-no-length", lambda: ad.scan(lambda c, e: (c, e), s), ShapeError, "scan: give xs to scan over"),
    misuse("scan-scalar", lambda: ad.scan(lambda c, e: (c, e), s, s), ShapeError, "scan: .* at least one axis", S),
    misuse(
        "scan-lengths", lambda: ad.scan(lambda c, e: (c, e), s, (x, y)), ShapeError, "scan: lengths .* 3 and 4", X, Y
    ),
    misuse("scan-length", lambda: ad.scan(lambda c, e: (c, e), s, length=1.5), ShapeError, "scan: extent 1.5"),
    misuse("scan-carry", lambda: ad.scan(lambda c, e: (e, c), s, x), ShapeError, r"scan: carry 0 .* float32\[4\]", S),
    misuse("scan-flag", lambda: ad.scan(lambda c, e: (c, e), s, x, reverse="a"), GraphError, "scan: reverse is True"),
    misuse(
        "scan-if", lambda: ad.scan(lambda c, e: (c if c > 0 else e, e), s, v), SymbolicError, r"truth value .* bool"
    ),
    misuse("scan-function", lambda: ad.scan(5, s, x), SymbolicError, "scan over .* must be a function, got 5"),
    misuse(
        "scan-state",
        lambda: ad.scan(lambda c, e: (c, ad.nn.BatchNorm(4)(e, training=True)), s, steps),
        GraphError,
        r"scan over <lambda> would update .*running_mean",
    ),
    misuse("leak-scan", lambda: out_of_scan() + 1, GraphError, "inside the body of scan over <lambda> leaked"),
    misuse("leak-scan-grad", lambda: ad.grad(out_of_scan(), s), GraphError, "body of scan over <lambda> leaked"),
    misuse("leak-cond", lambda: out_of_cond() * 2, GraphError, "inside the body of cond leaked"),
    misuse("leak-while", lambda: out_of_while() + x, GraphError, "inside the body of while_loop over <lambda> leaked"),
    misuse(
        "leak-into-scan", lambda: ad.scan(lambda c, e: (c + out_of_scan(), e), s, v), GraphError, "scan over .* leaked"
    ),
    misuse(
        "leak-scan-compiled",
        lambda: ad.compile(rare, leaked(lambda keep: ad.scan(lambda c, e: keep(c, (c, e)), rare, rare))),
        GraphError,
        "of the loop made at .*test_deriv",
    ),
    misuse("leak-vmap", lambda: ad.compile(x, out_of_vmap() * 2), GraphError, "example of argument 0.* is needed"),
]


@table([*DERIVATIVES, *BATCHING, *LOOPS])
def test_misuse(case):
    check_built(case)
