"""What must not be left to chance, in compiled code: row kernels at their edges, indices, checks and updates."""

from __future__ import annotations

from pathlib import Path
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


def test_rows_of_minus_infinity() -> None:
    x = ad.input("x", (3, 20))
    rows = np.zeros((3, 20), np.float32)
    rows[0], rows[1, 3:] = -INF, -INF
    soft = ad.softmax(x)
    got, slope, logs = both([x], [soft, ad.grad(ad.sum(soft * soft), x), ad.logsumexp(x, axis=-1)], rows)
    assert (got[0] == 0).all() and (slope[0] == 0).all() and logs[0] == -INF
    np.testing.assert_allclose(got[1, :3], 1 / 3, rtol=1e-6)


def test_masked_gradients_meet_no_infinity() -> None:
    x = ad.input("x", (40,))
    safe = ad.where(x > 0, ad.log(x), 0.0)
    slope = both([x], [ad.grad(ad.sum(safe), x)], np.linspace(-1, 1, 40).astype(np.float32))[0]
    assert np.isfinite(slope).all() and (slope[:20] == 0).all()


def test_the_first_extremum_takes_the_gradient() -> None:
    x = ad.input("x", (2, 20))
    rows = np.ones((2, 20), np.float32)
    rows[1, 5] = rows[1, 17] = 2
    slope = both([x], [ad.grad(ad.sum(ad.max(x, axis=-1)), x)], rows)[0]
    assert slope[0].tolist() == [1.0] + [0.0] * 19 and np.flatnonzero(slope[1]).tolist() == [5]


def test_gather_and_scatter_with_duplicates() -> None:
    rng = np.random.default_rng(0)
    table, k = ad.input("table", (7, 19)), ad.input("k", (4, 6), "int64")
    rows, columns = ad.take(table, k, axis=0), ad.take(table, k, axis=1)
    outputs = [rows, columns, ad.grad(ad.sum(rows * rows), table), ad.grad(ad.sum(ad.exp(columns)), table)]
    both([table, k], outputs, rng.normal(size=(7, 19)).astype(np.float32), rng.integers(-7, 7, (4, 6)))


def line_of(text: str) -> int:
    return next(k for k, line in enumerate(Path(__file__).read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(("bad", "where"), [(7, 0), (-8, 3), (2**40, 5)])
@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_an_index_out_of_range_names_itself_and_changes_nothing(bad: int, where: int, backend: str) -> None:
    """Also when the check depends on nothing and the updates could have come first."""
    x, k = ad.input("x", (7,)), ad.input("k", (6,), "int64")
    w, v = ad.variable(np.ones(7, np.float32), name="w"), ad.variable(np.full(6, 2, np.float32), name="v")
    taken = ad.take(w, k)  # the check
    f = ad.compile([x, k], [w * 2], updates={w: w + x, v: v + taken}, backend=backend)
    good = np.arange(6)
    f(np.ones(7, np.float32), good)
    before = w.value.copy(), v.value.copy()
    wrong = good.copy()
    wrong[where] = bad
    with pytest.raises(ad.ExecutionError) as caught:
        f(np.ones(7, np.float32), wrong)
    message = str(caught.value)
    assert str(bad) in message and "7" in message and f"test_semantics.py:{line_of('# the check')}" in message
    assert (w.value == before[0]).all() and (v.value == before[1]).all()
    f(np.ones(7, np.float32), good)
    assert (w.value == before[0] + 1).all()


def test_a_check_that_depends_on_the_other_updates_result_comes_before_any_write() -> None:
    x = ad.input("x", (5,))
    w = ad.variable(np.zeros(5, np.float32), name="w")
    count = ad.variable(np.zeros((), np.int64), name="count")
    new = w + x
    picked = ad.take(new, ad.sum(new).astype("int64"))
    f = ad.compile(x, picked, updates={w: new, count: count + 1})
    f(np.full(5, 0.5, np.float32))
    before = w.value.copy()
    with pytest.raises(ad.ExecutionError):
        f(np.ones(5, np.float32))
    assert (w.value == before).all() and count.value == 1


def test_updates_are_simultaneous() -> None:
    for n in (3, 40, 70_000):
        a, b, c = (ad.variable(np.full(n, k, np.float32), name=f"v{k}") for k in range(3))
        total = ad.sum(a)
        f = ad.compile([], [a, total, b * 2], updates={a: b, b: a, c: ad.flip(a + c, axis=0) + total})
        old = a.value.copy(), b.value.copy(), c.value.copy()
        got = f()
        assert (got[0] == old[0]).all() and got[1] == old[0].sum() and (got[2] == 2 * old[1]).all()
        assert (a.value == old[1]).all() and (b.value == old[0]).all()
        assert (c.value == (old[0] + old[2])[::-1] + old[0].sum()).all()


def test_what_reads_a_variable_later_sees_its_old_value() -> None:
    """In place only where nothing reads the old value afterwards: rows, transposes, reductions and products do."""
    rng = np.random.default_rng(4)
    n = 48
    w = ad.variable(rng.normal(size=(n, n)).astype(np.float32), name="w")
    x = ad.input("x", (n, n))
    updates = [w + 1, w.T * 2, w @ x, ad.softmax(w), w - ad.mean(w, axis=0), ad.flip(w, axis=1), x, w * ad.max(w)]
    for new in updates:
        outputs = [ad.sum(w), ad.sum(w, axis=0), w @ w, ad.exp(w.T), ad.max(w * 2, axis=1)]
        program = Program("f", (x.node,), tuple(o.node for o in outputs), ((w.node, new.node),))
        oracle.check(program, {x.node: rng.normal(size=(n, n)).astype(np.float32), w.node: w.value.copy()})


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
