"""A handful of programs that between them use every schedule: for tests of the C itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import adjoint as ad
from adjoint.graph.program import Program


def _program(name: str, inputs: list[Any], outputs: list[Any], updates: dict[Any, Any] | None = None) -> Program:
    return Program(
        name, tuple(x.node for x in inputs), tuple(y.node for y in outputs),
        tuple((v.node, u.node) for v, u in (updates or {}).items()),
    )  # fmt: skip


def elementwise() -> Program:
    """A run-time size, transcendental functions, comparisons and masks."""
    x, y = ad.input("x", ("n", 5)), ad.input("y", ("n", 5))
    z = ad.exp(x) * ad.tanh(y) + ad.sigmoid(x) / (ad.abs(y) + 1.0)
    outputs = [ad.where(x < y, z, ad.sqrt(ad.abs(x))), x > 0, ad.log(ad.abs(y) + 0.5) ** 2.0]
    return _program("elementwise", [x, y], outputs)


def rows() -> Program:
    x, s = ad.input("x", (70, 40)), ad.input("s", (40,))
    y = ad.softmax(ad.nn.layer_norm(x, s, s, 1e-5), axis=-1)
    return _program("rows", [x, s], [y, ad.grad(ad.sum(y * y), x), ad.argmax(x, axis=-1), ad.max(x, axis=0)])


def dense() -> Program:
    x, w, v = ad.input("x", (33, 20)), ad.input("w", (20, 17)), ad.input("v", (17,))
    return _program("dense", [x, w, v], [ad.relu(x @ w + v), x.T @ ad.relu(x @ w + v)])


def mlp() -> Program:
    """A training step: forward, backward and update."""
    rng = np.random.default_rng(0)
    x, t = ad.input("x", (16, 12)), ad.input("t", (16,), "int64")
    w1, w2 = (
        ad.variable(rng.normal(size=s).astype(np.float32) * 0.3, name=n) for n, s in (("w1", (12, 20)), ("w2", (20, 5)))
    )
    loss = ad.nn.cross_entropy(ad.relu(x @ w1) @ w2, t)
    g1, g2 = ad.grad(loss, [w1, w2])
    return _program("mlp", [x, t], [loss], {w1: w1 - 0.1 * g1, w2: w2 - 0.1 * g2})


def convolution() -> Program:
    x, w = ad.input("x", (2, 3, 9, 8)), ad.input("w", (4, 3, 3, 3))
    y = ad.relu(ad.nn.conv2d(x, w, stride=2, padding=1))
    return _program("convolution", [x, w], [y, *ad.grad(ad.sum(y * y), [x, w])])


def recurrence() -> Program:
    xs, h0, w = ad.input("xs", (6, "n", 9)), ad.input("h0", ("n", 9)), ad.input("w", (9, 9))

    def body(h: Any, x: Any) -> Any:
        h = ad.tanh(h @ w + x)
        return h, ad.sum(h, axis=-1)

    last, ys = ad.scan(body, h0, xs)
    return _program("recurrence", [xs, h0, w], [last, ys])


def branching() -> Program:
    """A branch, loops of unknown length within one another, with a tape, and one with a limit."""
    x, w = ad.input("x", (4, 9)), ad.input("w", (9,))

    def inner(h: Any) -> Any:
        return ad.while_loop(lambda s: ad.sum(s * s) < 40, lambda s: s * w + ad.tanh(s) + 1, h)

    def outer(state: Any) -> Any:
        k, h = state
        h = ad.cond(ad.sum(h) > 0, lambda: inner(h * 0.1), lambda: ad.sin(h) * w)
        return k + 1, h

    y = ad.while_loop(lambda s: s[0] < 3, outer, (0, x))[1]
    z = ad.while_loop(lambda s: ad.sum(s) < 100, lambda s: s * s + 1, ad.abs(x[0]), max_iterations=4)
    return _program("branching", [x, w], [y, *ad.grad(ad.sum(y) + ad.sum(z), [x, w])])


def gather() -> Program:
    """Indices that are checked, and gradients that are scattered."""
    table, k = ad.input("table", (9, 6)), ad.input("k", (5,), "int64")
    w = ad.variable(np.ones((9, 6), np.float32), name="w")
    taken = ad.take(table * w, k, axis=0)
    updates = {w: w + ad.grad(ad.sum(taken * taken), table)}
    return _program("gather", [table, k], [taken, ad.flip(taken, axis=1)], updates)


def places() -> Program:
    """Updates at index arrays, of known and run-time number, in every combination; diagonals; guarded reads."""
    x, k, v = ad.input("x", (9, 6, 9)), ad.input("k", ("m",), "int64"), ad.input("v", ("m", 6))
    w = ad.variable(np.full((9, 6), 0.5, np.float32), name="w")
    at = x.at[k, :, k]
    made = [at.set(v), at.max(v), at.min(v), at.add(v), at.multiply(v)]
    loss = ad.sum(sum((y * y for y in made[1:]), made[0]) * w[0, 0]) + ad.sum(ad.segment_prod(v, k, 9) * w)
    outputs = [*made, *ad.grad(loss, [x, v]), ad.segment_sum(k, k, 5), ad.diagonal(x, 1, 0, 2), x[k, 1:3, k]]
    new = w.at[1:, [0, 2, 2]].set(ad.take_along_axis(w, ad.argmax(w, axis=1, keepdims=True), 1)[1:])
    return _program("places", [x, k, v], outputs, {w: new})


def wide() -> Program:
    x = ad.input("x", ("m", 21), "float64")
    k = ad.input("k", ("m",), "int32")
    return _program("wide", [x, k], [ad.exp(x) @ x.T, ad.sum(x, axis=0), k // 3 + k % 5, ad.cos(x), x.astype("int32")])


def logic() -> Program:
    a, b, u = ad.input("a", (3, 37), "bool"), ad.input("b", (37,), "bool"), ad.input("u", (37,), "uint8")
    both = ad.logical_and(a, b)
    joined = ad.concat([a, ad.logical_not(both)], axis=1)
    outputs = [both, ad.sum(a, axis=0), ad.where(b, u, u + 7), joined, u.astype("bool")]
    return _program("logic", [a, b, u], outputs)


def sequences() -> Program:
    """Sorts of rows and columns, and a search."""
    x, k = ad.input("x", ("n", 40)), ad.input("k", (40,), "int32")
    values, places = ad.topk(x, 3)
    places_of_k, found = ad.argsort(k, descending=True), ad.searchsorted(ad.sort(k), k, "right")
    return _program("sequences", [x, k], [values, places, places_of_k, found, ad.grad(ad.sum(ad.sort(x, 0) * x), x)])


def large() -> Program:
    """Kernels of several chunks, with exp, tanh, products that become FMAs and sums over everything."""
    x, w, s = ad.input("x", (300, 700)), ad.input("w", (700, 90)), ad.input("s", (700,))
    y = ad.tanh(x * s + 0.5) * ad.exp(x * 0.1)
    z = ad.softmax(y, axis=-1)
    loss = ad.sum(ad.tanh(z @ w)) + ad.sum(y * z)
    return _program("large", [x, w, s], [loss, z, *ad.grad(loss, [x, w, s]), ad.sum(y, axis=0), ad.max(y, axis=1)])


PROGRAMS: dict[str, Callable[[], Program]] = {
    f.__name__: f
    for f in (elementwise, rows, dense, mlp, convolution, recurrence, branching, gather, places, wide, logic, sequences)
}
SIZES = {"n": 23, "m": 13}


def values_of(program: Program, seed: int = 0) -> dict[Any, Any]:
    """Values for the inputs and variables of one of these programs; indices are small enough for every table."""
    rng = np.random.default_rng(seed)
    found: dict[Any, Any] = {}
    for node in (*program.inputs, *program.variables):
        shape = tuple(e if isinstance(e, int) else SIZES[str(e)] for e in node.shape)
        if node.dtype.kind == "f":
            found[node] = rng.normal(size=shape).astype(node.dtype)
        else:
            found[node] = rng.integers(0, 2 if node.dtype.kind == "b" else 5, shape).astype(node.dtype)
    return found


def dims_of(program: Program) -> dict[Any, int]:
    return {e: SIZES[str(e)] for i in program.inputs for e in i.shape if not isinstance(e, int)}
