"""Row kernels and loops in compiled code, at their edges; results and their structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program

INF, NAN = np.inf, np.nan


def both(inputs: list[Any], outputs: Any, *arrays: Any) -> list[Any]:
    """Compiled results, compared with the interpreter's."""
    program = Program("f", tuple(x.node for x in inputs), tuple(y.node for y in outputs))
    return oracle.check(program, {x.node: a for x, a in zip(inputs, arrays, strict=True)})


@pytest.mark.parametrize("shape", [(4, 1), (3, 7), (5, 16), (2, 33), (3, 130), (70, 40), (1, 5000)])
def test_row_kernels_and_their_gradients(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, s, t = ad.input("x", shape), ad.input("s", shape[1:]), ad.input("t", shape[:1], "int64")
    norm = ad.nn.layer_norm(x, s, s, 1e-5)
    loss = ad.nn.cross_entropy(x, t)
    outputs = [
        norm, *ad.grad(ad.sum(ad.tanh(norm)), [x, s]), loss, ad.grad(loss, x), ad.softmax(x), ad.log_softmax(x),
        ad.grad(ad.sum(ad.softmax(x) * s), x), ad.logsumexp(x, axis=-1), ad.argmax(x, axis=-1), ad.max(x, axis=0),
    ]  # fmt: skip
    both(
        [x, s, t], outputs, rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[1:]).astype(np.float32),
        rng.integers(0, shape[1], shape[0]),
    )  # fmt: skip


def test_sums_over_the_leading_axes_of_what_lies_otherwise() -> None:
    """The lanes are summed up, and so are the rows, with an axis kept between them in memory."""
    rng = np.random.default_rng(0)
    x = ad.input("x", (300, 3, 21))
    turned = [ad.exp(ad.permute_dims(x, axes)) for axes in ((0, 2, 1), (2, 0, 1), (2, 1, 0))]
    both([x], [ad.sum(t, axis=(0, 1)) for t in turned], rng.normal(size=x.shape).astype(np.float32))


def test_columns_that_stay_in_registers_while_rows_go_by() -> None:
    """Whole and incomplete vectors, one and several, and few rows of a number that a call tells."""
    rng = np.random.default_rng(0)
    shapes = [("float32", (9, 50)), ("float64", (7, 3, 20)), ("int32", (6, 128)), ("float32", (5, 129))]
    inputs = [ad.input(f"x{k}", shape, dtype) for k, (dtype, shape) in enumerate([*shapes, ("float64", ("n", 33))])]
    outputs = [f(x, axis=-2) for x in inputs for f in (ad.sum, ad.prod)] + [ad.max(inputs[1], axis=1)]
    fixed = [(rng.normal(size=shape) * 2).astype(dtype) for dtype, shape in shapes]
    for rows in (1, 4):
        program = Program("f", tuple(x.node for x in inputs), tuple(y.node for y in outputs))
        values = dict(zip(program.inputs, [*fixed, rng.normal(size=(rows, 33))], strict=True))
        oracle.check(program, values, {inputs[-1].shape[0]: rows})


def test_rows_of_minus_infinity() -> None:
    x = ad.input("x", (3, 20))
    rows = np.zeros((3, 20), np.float32)
    rows[0], rows[1, 3:] = -INF, -INF
    soft = ad.softmax(x)
    got, slope, logs = both([x], [soft, ad.grad(ad.sum(soft * soft), x), ad.logsumexp(x, axis=-1)], rows)
    assert (got[0] == 0).all() and (slope[0] == 0).all() and logs[0] == -INF
    np.testing.assert_allclose(got[1, :3], 1 / 3, rtol=1e-6)


def test_gather_and_scatter_with_duplicates() -> None:
    rng = np.random.default_rng(0)
    table, k = ad.input("table", (7, 19)), ad.input("k", (4, 6), "int64")
    rows, columns = ad.take(table, k, axis=0), ad.take(table, k, axis=1)
    outputs = [rows, columns, ad.grad(ad.sum(rows * rows), table), ad.grad(ad.sum(ad.exp(columns)), table)]
    both([table, k], outputs, rng.normal(size=(7, 19)).astype(np.float32), rng.integers(-7, 7, (4, 6)))


def test_results_keep_their_structure_and_are_the_callers_own() -> None:
    x = ad.input("x", (3,))
    w = ad.variable(np.arange(3, dtype=np.float32), name="w")
    y = x + 1
    f = ad.compile(x, {"a": [y, (x, w)], "b": ad.constant([1.0, 2.0]), "c": y})
    given = np.array([1, 2, 3], np.float32)
    got = f(given)
    assert list(got) == ["a", "b", "c"] and isinstance(got["a"][1], tuple)
    np.testing.assert_array_equal(got["a"][0], given + 1)
    np.testing.assert_array_equal(got["c"], given + 1)
    np.testing.assert_array_equal(got["b"], [1, 2])
    for mine in (got["a"][1][0], got["a"][1][1], got["a"][0]):
        mine[...] = 99
    assert given.tolist() == [1, 2, 3] and w.value.tolist() == [0, 1, 2] and got["c"].tolist() == [2, 3, 4]


def test_scan_forward() -> None:
    rng = np.random.default_rng(0)
    for steps in (0, 1, 5):
        xs, h0, w = ad.input("xs", (steps, 3, 17)), ad.input("h0", (3, 17)), ad.input("w", (17, 17))

        def body(carry: Any, x: Any, w: Any = w) -> Any:
            h, count = carry
            h = ad.tanh(h @ w + x)
            return (h, count + 1), ad.sum(h, axis=-1)

        (last, count), ys = ad.scan(body, (h0, ad.constant(np.int64(0))), xs)
        got = both(
            [xs, h0, w], [last, count, ys, last * 2], rng.normal(size=(steps, 3, 17)).astype(np.float32),
            rng.normal(size=(3, 17)).astype(np.float32), rng.normal(size=(17, 17)).astype(np.float32) * 0.3,
        )  # fmt: skip
        assert got[1] == steps


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_scan_over_constants(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    table, start = (rng.standard_normal(s).astype(np.float32) for s in ((4, *shape), shape))
    x = ad.input("x", (4, *shape))
    for init, xs in ((start, x), (x[0], table), (start, (x, table))):
        last, ys = ad.scan(lambda c, a: (c * (a[0] + a[1] if isinstance(a, tuple) else a), c), init, xs)
        both([x], [last, ys], rng.standard_normal((4, *shape)).astype(np.float32))
