"""What must not be left to chance: one test per sentence of the semantics, in compiled code and in the interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph.node import toposort
from adjoint.graph.table import OPS
from adjoint.lower.options import Options
from adjoint.rewrite.rules import RULES

INF, NAN = np.inf, np.nan


@pytest.fixture(params=["c", "numpy"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def call(backend: str, inputs: Any, outputs: Any, *arrays: Any, **options: Any) -> Any:
    return ad.compile(inputs, outputs, backend=backend, **options)(*arrays)


def slopes(backend: str, fn: Any, *at: Any) -> list[Any]:
    """The derivatives of the sum of fn at a point, in all arguments."""
    arrays = [np.asarray(a, np.float32) for a in at]
    xs = [ad.input(f"x{k}", a.shape) for k, a in enumerate(arrays)]
    found = call(backend, xs, ad.grad(ad.sum(fn(*xs)), xs), *arrays)
    return [f.tolist() for f in found]


def line_of(text: str) -> int:
    return next(k for k, line in enumerate(Path(__file__).read_text().splitlines(), 1) if text in line)


# Updates


def test_updates_are_simultaneous(backend: str) -> None:
    """Outputs and right-hand sides read what variables held when the call began; the new values are there after it."""
    for n in (3, 40, 70_000):
        a, b, c = (ad.variable(np.full(n, k, np.float32), name=f"v{k}") for k in range(3))
        total = ad.sum(a)
        updates = {a: b, b: a, c: ad.flip(a + c, axis=0) + total}
        f = ad.compile([], [a, total, b * 2], updates=updates, backend=backend)
        old = a.value.copy(), b.value.copy(), c.value.copy()
        got = f()
        assert (got[0] == old[0]).all() and got[1] == old[0].sum() and (got[2] == 2 * old[1]).all()
        assert (a.value == old[1]).all() and (b.value == old[0]).all()
        assert (c.value == (old[0] + old[2])[::-1] + old[0].sum()).all()
        assert (f()[0] == old[1]).all()


@pytest.mark.parametrize("kind", range(9))
def test_in_place_execution_never_changes_a_result(kind: int) -> None:
    """Whatever else reads a variable that is updated sees its old value: rows, transposes, sums and products."""
    rng = np.random.default_rng(4)
    n = 48
    w = ad.variable(rng.normal(size=(n, n)).astype(np.float32), name="w")
    x = ad.input("x", (n, n))
    new = [
        w + 1, w.T * 2, w @ x, ad.softmax(w), w - ad.mean(w, axis=0), ad.flip(w, axis=1), x, w * ad.max(w),
        w.at[1:, [3, 3, 5]].add(w[0, :3]),
    ][kind]  # fmt: skip
    outputs = [ad.sum(w), ad.sum(w, axis=0), w @ w, ad.exp(w.T), ad.max(w * 2, axis=1)]
    at, old = rng.normal(size=(n, n)).astype(np.float32), w.value.copy()
    expected = ad.compile(x, [*outputs, new])(at)
    results = [*ad.compile(x, outputs, updates={w: new})(at), w.value]
    assert (old != w.value).any()
    for want, got in zip(expected, results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


# Failing calls


@pytest.mark.parametrize(("bad", "where"), [(7, 0), (-8, 3), (2**40, 5)])
def test_a_call_that_fails_leaves_every_variable_as_it_was(bad: int, where: int, backend: str) -> None:
    """Also when the check depends on nothing and the updates could have come first."""
    x, k = ad.input("x", (7,)), ad.input("k", (6,), "int64")
    w, v = ad.variable(np.ones(7, np.float32), name="w"), ad.variable(np.full(6, 2, np.float32), name="v")
    taken = ad.take(w, k)
    f = ad.compile([x, k], [w * 2], updates={w: w + x, v: v + taken}, backend=backend)
    good = np.arange(6)
    f(np.ones(7, np.float32), good)
    before = w.value.copy(), v.value.copy()
    wrong = good.copy()
    wrong[where] = bad
    for _ in range(2):
        with pytest.raises(ad.ExecutionError):
            f(np.ones(7, np.float32), wrong)
        assert (w.value == before[0]).all() and (v.value == before[1]).all()
    f(np.ones(7, np.float32), good)
    assert (w.value == before[0] + 1).all()


def test_checks_that_depend_on_data_come_before_the_first_write_to_state(backend: str) -> None:
    """Where a check needs the new value of a variable itself, the writes come last."""
    x = ad.input("x", (5,))
    w = ad.variable(np.zeros(5, np.float32), name="w")
    count = ad.variable(np.zeros((), np.int64), name="count")
    new = w + x
    picked = ad.take(new, ad.sum(new).astype("int64"))
    f = ad.compile(x, picked, updates={w: new, count: count + 1}, backend=backend)
    f(np.full(5, 0.5, np.float32))
    before = w.value.copy()
    with pytest.raises(ad.ExecutionError):
        f(np.ones(5, np.float32))
    assert (w.value == before).all() and count.value == 1


# Ownership


def test_a_variables_memory_is_aligned_and_never_moves_and_assigning_copies(backend: str) -> None:
    """Calls and assignments change the contents of one allocation."""
    w = ad.variable(np.arange(6, dtype=np.float32), name="w")
    live, address = w.value, w.value.ctypes.data
    assert address % 64 == 0
    f = ad.compile([], (), updates={w: w * 2}, backend=backend)
    f()
    given = np.full(6, 5, np.float32)
    w.value = given
    given[:] = 7
    f()
    assert w.value is live and live.ctypes.data == address and live.tolist() == [10] * 6


def test_inputs_are_never_written_except_memory_also_passed_as_out(backend: str) -> None:
    """An argument stays as it is, also where its value becomes a variable's."""
    x = ad.input("x", (40,))
    w = ad.variable(np.ones(40, np.float32), name="w")
    f = ad.compile(x, [x * 2, x], updates={w: x}, backend=backend)
    given = np.arange(40, dtype=np.float32)
    given.flags.writeable = False
    f(given)
    w.value[:] = -1
    assert given.tolist() == list(range(40))
    g = ad.compile(x, x * 2, backend=backend)
    own = given.copy()
    g(own, out=own)
    assert own.tolist() == (given * 2).tolist()


def test_results_are_as_if_nothing_overlapped(backend: str) -> None:
    """An input that overlaps is copied first, an `out` that overlaps is filled last."""
    x = ad.input("x", (8,))
    w = ad.variable(np.arange(8, dtype=np.float32), name="w")
    f = ad.compile(x, ad.flip(x) + w, updates={w: w + ad.flip(x)}, backend=backend)
    a = np.arange(8, dtype=np.float32)
    for shift in (-3, 0, 3):
        memory = np.zeros(20, np.float32)
        memory[5:13] = a
        w.value = a
        out = memory[5 + shift : 13 + shift]
        assert f(memory[5:13], out=out) is out
        assert out.tolist() == [7] * 8 and w.value.tolist() == [7] * 8
    w.value = a
    assert f(w.value).tolist() == [7] * 8 and w.value.tolist() == [7] * 8
    w.value = a
    f(a, out=w.value)
    assert w.value.tolist() == [7] * 8


def test_returned_arrays_belong_to_the_caller(backend: str) -> None:
    """Each is memory of its own: not an argument's, a variable's, the workspace's or another result's."""
    x = ad.input("x", (3, 40))
    w = ad.variable(np.ones((3, 40), np.float32), name="w")
    y = ad.softmax(x)
    f = ad.compile(x, [y, y, x, w, y.T, ad.constant([1.0, 2.0])], backend=backend)
    given = np.ones((3, 40), np.float32)
    first, second = f(given), f(given)
    everything = [*first, *second, given, w.value]
    for k, array in enumerate(everything):
        assert not any(np.shares_memory(array, other) for other in everything[:k])
    expected = [a.copy() for a in second]
    for array in first:
        array[...] = 99
    assert (given == 1).all() and (w.value == 1).all()
    for got, again, want in zip(second, f(given), expected, strict=True):
        assert (got == want).all() and (again == want).all()


def test_bind_owns_its_output_buffers() -> None:
    """A bound call returns the same arrays every time, filled anew, and reads its arguments anew."""
    x = ad.input("x", (8,))
    given = np.arange(8, dtype=np.float32)
    f = ad.compile(x, x + 1)
    fast, other = f.bind(given), f.bind(given)
    y = fast()
    assert not np.shares_memory(other(), y) and not np.shares_memory(y, given)
    given += 10
    assert fast() is y and (y == given + 1).all()


def test_what_is_bound_is_contiguous_of_exact_dtype_and_apart_from_variables() -> None:
    """`bind` keeps addresses, so it refuses what a call would convert or copy."""
    w = ad.variable(np.zeros(8, np.float32), name="w")
    x = ad.input("x", (8,))
    f = ad.compile(x, x + w, updates={w: w + x})
    for bad in (np.zeros(16, np.float32)[::2], [0.0] * 8):
        with pytest.raises(ad.ShapeError, match="C-contiguous"):
            f.bind(bad)
    with pytest.raises(ad.DTypeError, match="must be float32, got float16"):
        f.bind(np.zeros(8, np.float16))
    with pytest.raises(ad.SymbolicError, match="memory of a variable"):
        f.bind(w.value)


# Concurrency


def in_threads(*work: Any) -> None:
    errors: list[BaseException] = []

    def guarded(fn: Any) -> None:
        try:
            fn()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(fn,)) for fn in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_functions_that_touch_no_updated_variable_may_run_in_many_threads() -> None:
    """Every running call has a workspace of its own, so that results never mix."""
    x = ad.input("x", (30, 40))
    w = ad.variable(np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32), name="w")
    f = ad.compile(x, ad.softmax(ad.tanh(x @ w) @ w))
    arguments = [np.random.default_rng(k).normal(size=(30, 40)).astype(np.float32) for k in range(6)]
    expected = [f(a) for a in arguments]

    def work(k: int) -> None:
        for _ in range(40):
            assert (f(arguments[k]) == expected[k]).all()

    assert f.guard is None or f.guard.group is None
    in_threads(*(lambda k=k: work(k) for k in range(6)))


def test_functions_connected_by_variables_that_one_updates_share_one_lock() -> None:
    """No update is lost and no call sees half of one; compiling one more function joins the locks of two others."""
    v, w = (ad.variable(np.zeros(5000, np.float32), name=n) for n in "vw")
    step_v, step_w = (ad.compile([], (), updates={u: u + 1}) for u in (v, w))
    assert step_v.guard.group is not step_w.guard.group
    both = ad.compile([], [v, w], updates={v: v + 1, w: w + 1})
    assert step_v.guard.group is step_w.guard.group is both.guard.group

    def read() -> None:
        for _ in range(100):
            got = both()
            assert (got[0] == got[0][0]).all() and (got[1] == got[1][0]).all()

    in_threads(read, read, *([lambda: [step_v() for _ in range(200)]] * 2), lambda: [step_w() for _ in range(200)])
    assert (v.value == 600).all() and (w.value == 400).all()


# Differentiation and flags


def test_grad_differentiates_by_what_is_named_whatever_the_flags(backend: str) -> None:
    """Inputs and variables that do not require gradients have them all the same, and intermediates."""
    x, w = ad.input("x"), ad.variable(2.0, name="w", requires_grad=False)
    h = x * w
    y = h * h
    assert not y.requires_grad
    assert [float(g) for g in call(backend, x, ad.grad(y, [x, w, h]), 3.0)] == [24, 36, 12]


def test_requires_grad_only_chooses_what_minimize_takes_by_itself(backend: str) -> None:
    """A variable without the flag stays as it is unless it is named."""
    v, w = ad.variable(2.0, name="v"), ad.variable(2.0, name="w", requires_grad=False)
    loss = v * w
    ad.compile([], loss, updates=ad.optim.SGD(0.5).minimize(loss), backend=backend)()
    assert (v.value, w.value) == (1, 2)
    ad.compile([], loss, updates=ad.optim.SGD(0.5).minimize(loss, [w]), backend=backend)()
    assert (v.value, w.value) == (1, 1.5)


def test_detach_and_no_grad_cut_for_both(backend: str) -> None:
    """Nothing passes through them, for `grad` as for `minimize`."""
    w = ad.variable(3.0, name="w")
    with ad.no_grad():
        h = w * w
    for cut in (h, (w * w).detach(), ad.stop_gradient(w * w)):
        assert not cut.requires_grad and (cut + w).requires_grad
        assert call(backend, [], ad.grad(cut * w, w)) == 9
        assert call(backend, [], ad.grad(cut * 2, w)) == 0
    w.value = 3.0
    loss = h * w
    ad.compile([], loss, updates=ad.optim.SGD(1.0).minimize(loss), backend=backend)()
    assert w.value == -6


def test_results_under_no_grad_are_wrapped_in_stop_gradient() -> None:
    """Every operation inside adds the node that cuts; outside none does."""
    x = ad.input("x")
    with ad.no_grad():
        inside = ad.exp(x)
    assert inside.node.op.name == "stop_gradient" and inside.node.inputs[0] is ad.exp(x).node


def test_grad_of_what_nothing_depends_on_is_zero_or_raises_if_strict(backend: str) -> None:
    """Zeros of the right shape and dtype, unless `strict` asks for an error."""
    x, z = ad.input("x", (3,)), ad.input("z", (2,), "float64")
    y = ad.sum(x * ad.stop_gradient(x))
    g = call(backend, [x, z], ad.grad(y, z), np.ones(3, np.float32), np.ones(2))
    assert g.dtype == np.float64 and g.tolist() == [0, 0]
    with pytest.raises(ad.GradientError, match="does not depend on"):
        ad.grad(y, z, strict=True)


# Data types

PROMOTION = [
    ("bool", "bool", "bool"), ("bool", "uint8", "uint8"), ("uint8", "int32", "int32"), ("uint8", "int64", "int64"),
    ("int32", "int64", "int64"), ("float32", "float64", "float64"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "expected"), PROMOTION)
def test_dtypes_promote_as_in_the_array_api(a: str, b: str, expected: str, backend: str) -> None:
    """Of two arrays of one kind the wider dtype, in either order."""
    x, y = ad.input("x", (2,), a), ad.input("y", (2,), b)
    ones = [np.ones(2, a), np.ones(2, b)]
    for z in (ad.where(ad.constant([True, False]), x, y), ad.maximum(x, y) if a != "bool" else ad.concat([y, x])):
        assert z.dtype == expected and call(backend, [x, y], z, *ones).dtype == expected


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.int64(2), np.float32(2)])
def test_python_and_numpy_scalars_are_weak_and_constants_strong(number: Any, backend: str) -> None:
    """A scalar takes the dtype of what it meets, unless its kind does not fit in; a 0-d constant keeps its own."""
    floating = isinstance(number, (float, np.floating))
    for dtype in ("float32", "float64", "int32", "uint8"):
        x = ad.input("x", (2,), dtype)
        expected = "float32" if floating and "int" in dtype else dtype
        y = call(backend, x, x * number, np.ones(2, dtype))
        assert y.dtype == expected and y.tolist() == [2, 2]
    strong = ad.constant(np.float64(2))
    assert (ad.input("x") * strong).dtype == np.float64
    assert (ad.input("x", (), "int32") * ad.constant(np.int64(2))).dtype == np.int64


@pytest.mark.parametrize("other", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integer_or_bool_with_float_gives_the_floats_dtype(dtype: str, other: str, backend: str) -> None:
    """int64 with float32 is float32."""
    x, n = ad.input("x", (2,), dtype), ad.input("n", (2,), other)
    y = call(backend, [x, n], x + n, np.full(2, 0.5, dtype), np.ones(2, other))
    assert y.dtype == dtype and y.tolist() == [1.5, 1.5]


def test_there_is_no_silent_float64(backend: str) -> None:
    """Functions, reductions, layers and gradients of float32 and of integers stay within float32."""
    x, n = ad.input("x", (4, 4)), ad.input("n", (4,), "int64")
    w = ad.variable([[0.5] * 4] * 4, name="w")
    loss = ad.nn.cross_entropy(ad.gelu(x @ w, "tanh") / 3 + ad.exp(n) * 0.1 + n / 2, n) + ad.std(x) * ad.mean(n)
    norm = ad.nn.layer_norm(x, w, w)
    made = [loss, *ad.grad(loss, [x, w]), norm, ad.linspace(0, 1, 4), ad.one_hot(n, 4), ad.zeros(3)]
    assert {y.dtype for y in made} == {np.dtype(np.float32)}
    nodes = toposort([y.node for y in made[:4]])
    assert not any(node.dtype == np.float64 for node in nodes)
    assert all(y.dtype == np.float32 for y in call(backend, [x, n], made, np.ones((4, 4), np.float32), np.arange(4)))


def test_lists_of_floats_become_float32_and_of_ints_int64() -> None:
    """As constants, as variables and as operands; NumPy arrays keep their dtype."""
    for make in (ad.constant, ad.variable, lambda v: ad.concat([v])):
        assert make([1.0, 2.0]).dtype == np.float32 and make([1, 2]).dtype == np.int64
        assert make([1, 2.0]).dtype == np.float32 and make([True]).dtype == bool
        assert make(np.ones(2)).dtype == np.float64 and make(np.ones(2, np.int32)).dtype == np.int32


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_division_of_integers_gives_float32(dtype: str, backend: str) -> None:
    """`/` is the true quotient."""
    n = ad.input("n", (3,), dtype)
    got = call(backend, n, [n / 2, n / n], np.array([1, 2, 3], dtype))
    assert [g.dtype for g in got] == [np.float32] * 2 and got[0].tolist() == [0.5, 1, 1.5]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_sums_of_integers_widen_to_int64(dtype: str, backend: str) -> None:
    """Bools are counted; segments are sums too."""
    n = ad.input("n", (300,), dtype)
    values = np.full(300, np.iinfo(dtype).max if dtype in ("uint8", "int32") else 1, dtype)
    outputs = [ad.sum(n), ad.segment_sum(n, np.zeros(300, int), 1)[0]]
    for got in call(backend, n, outputs, values):
        assert got.dtype == np.int64 and got == 300 * int(values[0])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_the_mean_of_integers_is_float32(dtype: str, backend: str) -> None:
    """And the true mean, not a quotient rounded down."""
    n = ad.input("n", (4,), dtype)
    got = call(backend, n, ad.mean(n), np.array([1, 0, 0, 1], dtype))
    assert got.dtype == np.float32 and got == 0.5


def test_argmax_is_int64(backend: str) -> None:
    """Of any dtype, along an axis or of all."""
    for dtype in ("float64", "int32", "uint8", "bool"):
        x = ad.input("x", (2, 3), dtype)
        at = np.array([[0, 1, 0], [1, 0, 0]], dtype)
        got = call(backend, x, [ad.argmax(x), ad.argmax(x, axis=1), ad.argmin(x, axis=0)], at)
        assert [g.dtype for g in got] == [np.int64] * 3 and got[1].tolist() == [1, 0]


def test_a_loops_weak_initial_carry_takes_the_bodys_dtype(backend: str) -> None:
    """A plain number that goes in adapts; results have the dtype that the body computes."""
    x = ad.input("x", (3,), "float64")
    last, _ = ad.scan(lambda c, v: (c + v, None), 0, x)
    got = call(backend, x, last, np.array([1, 2, 3.5]))
    assert got.dtype == np.float64 and got == 6.5


def test_any_other_mismatch_of_a_carry_names_the_leaf_and_both_types() -> None:
    """A strong initial value does not adapt."""
    x = ad.input("x", (4,))
    with pytest.raises(ad.DTypeError, match=r"carry 1 goes in as int64.* and comes out of the body as float32"):
        ad.scan(lambda c, v: ((c[0], c[1] + v), None), (0.0, ad.constant(0)), x)


# Integers


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_integer_overflow_wraps(dtype: str, backend: str) -> None:
    """Sums, differences, products, negation and accumulated updates, all modulo 2 to the width."""
    n = ad.input("n", (40,), dtype)
    info = np.iinfo(dtype)
    values = np.resize(np.array([info.max, info.min, 1, info.max // 2 + 3, 7], dtype), 40)
    place = n.at[[0, 0, 1]]
    outputs = [n + n, n - 1 - n - n, n * n, -n, ad.abs(n), n**5, place.add(info.max), place.multiply(info.max)]
    got = call(backend, n, outputs, values)
    with np.errstate(over="ignore"):
        one = np.ones(1, dtype)
        top = np.full(3, info.max, dtype)
        added, multiplied = values.copy(), values.copy()
        np.add.at(added, [0, 0, 1], top)
        np.multiply.at(multiplied, [0, 0, 1], top)
        wanted = [values + values, values - one - values - values, values * values, -values, np.abs(values), values**5]
        wanted += [added, multiplied]
    for g, want in zip(got, wanted, strict=True):
        assert g.dtype == dtype
        np.testing.assert_array_equal(g, want)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_floor_division_and_remainder_follow_python(dtype: str, backend: str) -> None:
    """The quotient rounds down and the remainder has the sign of the divisor, whatever the signs."""
    small = range(5) if dtype == "uint8" else range(-4, 5)
    pairs = [(a, b) for a in small for b in small if b]
    n, m = ad.input("n", (len(pairs),), dtype), ad.input("m", (len(pairs),), dtype)
    arrays = [np.array(v, dtype) for v in zip(*pairs, strict=True)]
    quotient, remainder = call(backend, [n, m], [n // m, n % m], *arrays)
    assert quotient.tolist() == [a // b for a, b in pairs] and remainder.tolist() == [a % b for a, b in pairs]


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_integer_division_by_zero_gives_zero(dtype: str, backend: str) -> None:
    """Both `//` and `%`, by a number as by an array."""
    n, m = ad.input("n", (20,), dtype), ad.input("m", (20,), dtype)
    values = np.arange(20).astype(dtype)
    for got in call(backend, [n, m], [n // m, n % m, n // 0, n % 0], values, np.zeros(20, dtype)):
        assert got.dtype == dtype and (got == 0).all()


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_float_to_integer_saturates_and_nan_gives_zero(dtype: str, source: str, backend: str) -> None:
    """Values in range are cut towards 0."""
    x = ad.input("x", (9,), source)
    info = np.iinfo(dtype)
    got = call(backend, x, ad.astype(x, dtype), np.array([INF, -INF, NAN, 1e30, -1e30, 2.9, 0.9, -0.9, 200.5], source))
    assert got.tolist() == [info.max, info.min, 0, info.max, info.min, 2, 0, 0, 200]


def test_none_of_this_is_undefined_behaviour_in_the_c(tmp_path: Path) -> None:
    """The same operations as a program of its own, at the ends of the range, under the sanitizers."""
    gcc = shutil.which("gcc")
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = [gcc or "gcc", *flags, "-x", "c", "-", "-o", os.devnull]
    if gcc is None or subprocess.run(probe, input=b"int main(void) { return 0; }", capture_output=True).returncode:
        pytest.skip("no gcc with sanitizers")
    inputs, outputs, arrays = [], [], {}
    for dtype in ("int32", "int64", "uint8"):
        info = np.iinfo(dtype)
        n, m = ad.input(f"n_{dtype}", (37,), dtype), ad.input(f"m_{dtype}", (37,), dtype)
        x = ad.input(f"x_{dtype}", (37,), "float64")
        arrays[n.name] = np.resize(np.array([info.max, info.min, 0, 1, info.max - 1], dtype), 37)
        arrays[m.name] = np.resize(np.array([-1 & 255 if dtype == "uint8" else -1, 0, info.min, info.max], dtype), 37)
        arrays[x.name] = np.resize(np.array([INF, -INF, NAN, 1e300, -0.5, 2.0**63, 2.0**31, -(2.0**63)]), 37)
        inputs += [n, m, x]
        index = np.arange(37) % 3
        outputs += [
            n + m, n - m, n * m, -n, ad.abs(n), n // m, n % m, n**3, ad.astype(x, dtype), ad.sum(n), ad.max(n),
            ad.min(n), ad.segment_sum(n, index, 3), n.at[index].multiply(m), n.at[index].min(m),
        ]  # fmt: skip
    step = ad.compile(inputs, outputs, name="step")
    step.export(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    for name, array in arrays.items():
        array.tofile(data / f"{name}.bin")
    build = [gcc, "-std=c99", "-O1", *flags, "step.c", "main.c", "-o", "main", "-lm"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(["./main", "data"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    for k, want in enumerate(step(*arrays.values())):
        assert (data / f"out{k}.out.bin").read_bytes() == want.tobytes(), outputs[k]


# NaN


def test_extrema_and_relu_propagate_nan(backend: str) -> None:
    """Wherever the NaN stands among the elements, and on either side of two."""
    x, y = ad.input("x", (4, 20)), ad.input("y", (4, 20))
    a, c = np.ones((4, 20), np.float32), np.full((4, 20), 2, np.float32)
    a[0, 0] = a[1, 19] = a[2, 7] = NAN
    c[3, 5] = NAN
    outputs = [
        ad.max(x, axis=1), ad.min(x, axis=1), ad.max(x), ad.min(x, axis=0), ad.maximum(x, y), ad.minimum(x, y),
        ad.relu(x),
    ]  # fmt: skip
    rows, least, whole, columns, greater, lesser, cut = call(backend, [x, y], outputs, a, c)
    for found in (rows, least):
        assert np.isnan(found).tolist() == [True, True, True, False]
    assert np.isnan(whole) and np.flatnonzero(np.isnan(columns)).tolist() == [0, 7, 19]
    for found in (greater, lesser):
        assert (np.isnan(found) == np.isnan(a + c)).all()
    assert (np.isnan(cut) == np.isnan(a)).all()


def test_argmax_returns_the_first_nan_else_the_first_maximum(backend: str) -> None:
    """The same for argmin."""
    x = ad.input("x", (3, 20))
    rows = np.tile(np.arange(10, dtype=np.float32), (3, 2))
    rows[1, [8, 11]] = NAN
    rows[2] = -INF
    high, low = call(backend, x, [ad.argmax(x, axis=1), ad.argmin(x, axis=1)], rows)
    assert high.tolist() == [9, 8, 0] and low.tolist() == [0, 8, 0]


def test_softmax_of_minus_infinity_is_zeros_with_zero_gradient_and_logsumexp_minus_infinity(backend: str) -> None:
    """A row in which everything is masked out carries nothing, and spoils nothing."""
    x = ad.input("x", (3, 20))
    rows = np.zeros((3, 20), np.float32)
    rows[0], rows[1, 3:] = -INF, -INF
    soft = ad.softmax(x)
    outputs = [soft, ad.grad(ad.sum(soft * soft), x), ad.logsumexp(x, axis=-1)]
    got, slope, logs = call(backend, x, outputs, rows)
    assert (got[0] == 0).all() and (slope[0] == 0).all() and logs[0] == -INF
    np.testing.assert_allclose(got[1, :3], 1 / 3, rtol=1e-6)
    assert np.isfinite(slope).all() and np.isfinite(logs[1:]).all()


# Choices and kinks


@pytest.mark.parametrize(
    "safe",
    [
        lambda x: ad.where(x > 0, ad.log(x), 0.0),
        lambda x: ad.where(x > 0, ad.sqrt(x) * ad.rsqrt(x), x),
        lambda x: ad.where(x[:, None] > 0, ad.broadcast_to(1 / ad.log(x)[:, None], (40, 3)), 0.0),
        lambda x: ad.where(x > 0, ad.where(x < 2, ad.log(x), ad.log(x) ** 2), 1.0),
    ],
)
def test_the_branch_not_taken_by_where_reaches_no_gradient(safe: Any, backend: str) -> None:
    """Through elementwise chains and broadcasts, whatever infinities and NaN the branch holds."""
    at = np.linspace(-1, 1.2, 40).astype(np.float32)
    at[:3] = 0
    x = ad.input("x", (40,))
    first = ad.grad(ad.sum(safe(x)), x)
    for slope in call(backend, x, [first, ad.grad(ad.sum(first), x)], at):
        assert np.isfinite(slope[at <= 0]).all() and (slope[at < 0] == slope[5]).all()


def test_relu_abs_and_sign_have_derivative_zero_at_zero(backend: str) -> None:
    """At both zeros."""
    for fn in (ad.relu, ad.abs, ad.sign):
        assert slopes(backend, fn, [0.0, -0.0]) == [[0, 0]]


def test_maximum_shares_a_tie_half_and_half(backend: str) -> None:
    """And minimum; beside a tie the one that is chosen takes all."""
    assert slopes(backend, ad.maximum, [1, 2, 0], [1, 3, 0]) == [[0.5, 0, 0.5], [0.5, 1, 0.5]]
    assert slopes(backend, ad.minimum, [1, 2, 0], [1, 3, 0]) == [[0.5, 1, 0.5], [0.5, 0, 0.5]]


def test_the_first_extremum_takes_all(backend: str) -> None:
    """In max and min reductions, in max-pooling, in segments and among updates, as argmax chooses."""
    row = [1, 3, 3, 0, 0]
    assert slopes(backend, ad.max, row) == [[0, 1, 0, 0, 0]] and slopes(backend, ad.min, row) == [[0, 0, 0, 1, 0]]
    wide = np.ones((2, 20), np.float32)
    wide[1, 5] = wide[1, 17] = 2
    (found,) = slopes(backend, lambda x: ad.max(x, axis=-1), wide)
    assert found[0] == [1] + [0] * 19 and np.flatnonzero(found[1]).tolist() == [5]
    image = np.ones((1, 1, 2, 4), np.float32)
    assert slopes(backend, lambda x: ad.nn.max_pool2d(x, 2), image) == [[[[[1, 0, 1, 0], [0, 0, 0, 0]]]]]
    assert slopes(backend, lambda x: ad.segment_max(x, [0, 1, 1, 0, 0], 2), row) == [[1, 1, 0, 0, 0]]
    assert slopes(backend, lambda x: ad.zeros(2).at[[0, 1, 1, 0, 0]].max(x), row) == [[1, 1, 0, 0, 0]]


def test_clip_has_derivative_one_at_a_bound(backend: str) -> None:
    """And zero beyond."""
    assert slopes(backend, lambda x: ad.clip(x, -1, 2), [-1, 2, 0, 3, -2]) == [[1, 1, 1, 0, 0]]


def test_vector_norm_and_std_have_derivative_zero_at_zero(backend: str) -> None:
    """Where the slope of a square root would be infinite."""
    for fn in (ad.vector_norm, ad.std, lambda x: ad.vector_norm(x, axis=0)):
        assert slopes(backend, fn, np.zeros((2, 3))) == [np.zeros((2, 3)).tolist()]


def test_powers_at_zero(backend: str) -> None:
    """d/dy of x**y at x = 0 is 0 for y > 0, and d/dx of x**0 is 0 everywhere."""
    by_x, by_y = slopes(backend, ad.pow, [0, 0, 0, 3], [2, 0.5, 1, 0])
    assert by_y[:3] == [0, 0, 0] and by_x[0] == 0 and by_x[2:] == [1, 0]
    assert slopes(backend, lambda x: x**0, [0, 2]) == [[0, 0]]
    assert slopes(backend, ad.pow, [0.0], [0.0])[0] == [0]


def test_relu_merges_with_maximum_only_after_differentiation(backend: str) -> None:
    """Both have the value of the other, and a derivative of their own."""
    assert "relu" in OPS
    at = np.array([0, -1, 2], np.float32)
    x = ad.input("x", (3,))
    outputs = [ad.relu(x), ad.maximum(x, 0)]
    got = call(backend, x, [*outputs, *(ad.grad(ad.sum(y), x) for y in outputs)], at)
    assert got[0].tolist() == got[1].tolist() == [0, 0, 2]
    assert got[2].tolist() == [0, 0, 1] and got[3].tolist() == [0.5, 0, 1]


def test_clip_merges_with_maximum_only_after_differentiation(backend: str) -> None:
    """As a maximum it would halve the cotangent at its bound, and so would what it is merged with."""
    assert "clip" in OPS
    at = np.array([0.5, -1, 2, np.nan], np.float32)
    x = ad.input("x", (4,))
    outputs = [ad.clip(x, 0.5), ad.clip(ad.clip(x, 0.5, 2), 0, 2), ad.maximum(ad.relu(x), 0.5)]
    got = call(backend, x, [*outputs, *(ad.grad(ad.sum(y), x) for y in outputs)], at)
    for value in got[:3]:
        np.testing.assert_array_equal(value, [0.5, 0.5, 2, np.nan])
    assert [slope[:3].tolist() for slope in got[3:]] == [[1, 0, 1], [1, 0, 1], [0.5, 0, 1]]
    crossed = [ad.clip(x, np.inf), ad.clip(x, None, -np.inf)]  # infinite bounds that cut everything off
    assert [s[:3].tolist() for s in call(backend, x, [ad.grad(ad.sum(y), x) for y in crossed], at)] == [[0, 0, 0]] * 2
    counts = ad.compile(x, outputs, backend=backend).report.compilation.firings
    assert {"open-clip", "nested-clips", "bound-above-relu"} <= set(counts)


# Indices


def test_negative_indices_count_from_the_end(backend: str) -> None:
    """In keys, index arrays known and not, updates, segments and slices."""
    x, k = ad.input("x", (5,)), ad.input("k", (2,), "int64")
    outputs = [
        x[-1], x[[-1, -5]], x[k], ad.take(x, k), x.at[k].set(9.0), ad.segment_sum(x[:2], k, 5), x[-2:],
        ad.take_along_axis(x, k),
    ]  # fmt: skip
    got = call(backend, [x, k], outputs, np.arange(5, dtype=np.float32), np.array([-1, -5]))
    expected = [4, [4, 0], [4, 0], [4, 0], [9, 1, 2, 3, 9], [1, 0, 0, 0, 0], [3, 4], [4, 0]]
    assert [g.tolist() for g in got] == expected


@pytest.mark.parametrize("bad", [7, -8, 2**40])
def test_an_index_out_of_range_names_node_line_index_and_bound(bad: int, backend: str) -> None:
    """The error is an ExecutionError that shows where in the user's program the index is used."""
    w, k = ad.input("w", (7,)), ad.input("k", (6,), "int64")
    f = ad.compile([w, k], ad.take(w, k), backend=backend)  # the check
    good = np.arange(6)
    f(np.ones(7, np.float32), good)
    for where in (0, 3, 5):
        wrong = good.copy()
        wrong[where] = bad
        with pytest.raises(ad.ExecutionError) as caught:
            f(np.ones(7, np.float32), wrong)
        for part in ("take", 'input "w"', str(bad), "7", f"test_semantics.py:{line_of('# the check')}"):
            assert part in str(caught.value)


def test_duplicates_in_a_scatter_add_up_in_a_fixed_order() -> None:
    """Sums have the bits of adding one update after the other, for any number of threads."""
    rng = np.random.default_rng(0)
    for rows, width in ((20_000, 1), (3000, 48)):
        v, k = ad.input("v", (rows, width)), ad.input("k", (rows,), "int64")
        values, at = rng.normal(size=(rows, width)).astype(np.float32), rng.integers(0, 7, rows)
        table = ad.input("table", (7, width))
        outputs = [ad.segment_sum(v, k, 7), ad.zeros((7, width)).at[k].add(v), ad.grad(ad.sum(table[k] * v), table)]
        expected = np.zeros((7, width), np.float32)
        np.add.at(expected, at, values)
        for threads in (1, 2):
            f = ad.compile([v, k, table], outputs, threads=threads)
            for got in f(values, at, np.ones((7, width), np.float32)):
                assert (got == expected).all()


# Nothing and single elements


def test_empty_arrays_work_everywhere(backend: str) -> None:
    """Elementwise, sums, products, indices, layers and gradients of nothing."""
    x, w = ad.input("x", (0, 3)), ad.input("w", (3, 2))
    h = ad.softmax(ad.relu(x @ w) + 1)
    k = ad.input("k", (0,), "int64")
    outputs = [
        h, ad.sum(x), ad.sum(x, axis=0), ad.grad(ad.sum(h), w), ad.concat([x, x]), x.T @ x, w[k], w.at[k].add(1.0),
        ad.segment_sum(x, k, 2), ad.pad(x, 1), ad.argmax(x, axis=1), x[:, ::-1],
    ]  # fmt: skip
    nothing = np.zeros((0, 3), np.float32)
    got = call(backend, [x, w, k], outputs, nothing, np.ones((3, 2), np.float32), np.zeros(0, np.int64))
    for y, found in zip(outputs, got, strict=True):
        assert y.shape == found.shape
    assert got[1] == 0 and (got[2] == 0).all() and (got[3] == 0).all() and (got[5] == 0).all() and (got[7] == 1).all()
    mean = call(backend, x, ad.mean(x), nothing)
    assert np.isnan(mean)


def test_scalar_arrays_work_everywhere(backend: str) -> None:
    """0-d operands broadcast, reduce, index and differentiate."""
    x = ad.input("x")
    y = ad.exp(x) * ad.sum(x) + ad.max(x) + x[None][0] + ad.stack([x, x]).sum() + x.at[()].add(1.0)
    got = call(backend, x, [y, ad.grad(y, x), ad.argmax(x), ad.concat([x[None], x[None]])], np.float32(0))
    assert got[0] == 1 and got[1] == 6 and got[2] == 0 and got[3].tolist() == [0, 0]
    assert isinstance(got[0], (np.ndarray, np.generic)) and got[0].shape == ()


def test_max_of_nothing_is_a_shape_error() -> None:
    """Also where a run-time extent may be 0, unless it is declared not to be."""
    for shape in ((0, 3), (ad.Dim("n", min=0), 3)):
        x = ad.input("x", shape)
        for fn in (ad.max, ad.min, ad.argmax, ad.argmin):
            with pytest.raises(ad.ShapeError, match="may be empty"):
                fn(x, axis=0)
    assert ad.max(ad.input("x", ("n", 3)), axis=0).shape == (3,)


def test_python_scalars_are_accepted_for_0d_inputs(backend: str) -> None:
    """Of every dtype."""
    for dtype, value in (("float32", 1.5), ("float64", 2), ("int64", 3), ("bool", True), ("uint8", 4)):
        x = ad.input("x", (), dtype)
        got = call(backend, x, x, value)
        assert got.dtype == dtype and got == value


# Rewrites


def test_every_rewrite_carries_a_class_and_exact_ones_are_always_on() -> None:
    """Rules are exact, rounding or stability; all are listed by name."""
    assert {rule.cls for rule in RULES} <= {"exact", "rounding", "stability"}
    assert len({rule.name for rule in RULES}) == len(RULES)
    x = ad.input("x", (5,))
    twice = ad.sin(ad.negative(ad.negative(x)))
    f = ad.compile(x, twice, options=Options(disabled=tuple(r.name for r in RULES if r.cls != "exact")))
    assert "negative" in f.dump("graph") and "negative" not in f.dump("optimized")


def test_rounding_and_stability_rewrites_can_be_switched_off() -> None:
    """By name: without its rule a product and a sum are two roundings."""
    x, y, z = (ad.input(n, (64,)) for n in "xyz")
    rounding = [rule.name for rule in RULES if rule.cls != "exact"]
    assert rounding
    plain = ad.compile([x, y, z], x * y + z, options=Options(disabled=tuple(rounding)))
    arrays = [np.random.default_rng(k).normal(size=64).astype(np.float32) for k in range(3)]
    assert (plain(*arrays) == arrays[0] * arrays[1] + arrays[2]).all()
    assert "fma" in ad.compile([x, y, z], x * y + z).dump("optimized") and "fma" not in plain.dump("optimized")


def test_exact_rewrites_keep_every_bit() -> None:
    """NaN and −0 included: the compiled, rewritten program has the signs and NaNs of what the user wrote."""
    special = np.array([0.0, -0.0, INF, -INF, NAN, 1.5, -2.0, 1e-45, 3e38], np.float32)
    a, c = (v.reshape(-1) for v in np.meshgrid(special, special))
    x, y = ad.input("x", a.shape), ad.input("y", a.shape)
    outputs = [
        x + 0, x - 0, 0 - x, x * 1, x * 0, x * -1, x / 1, -1 * -x, x + -y, x - (-y), ad.abs(ad.abs(x)), x * y * 0,
        ad.relu(ad.relu(x)), ad.maximum(x, x), ad.where(x > y, x, x), ad.flip(ad.flip(x)), (x + y) * 2 / 2,
        ad.square(x),
    ]  # fmt: skip
    off = Options(disabled=tuple(rule.name for rule in RULES if rule.cls != "exact"))
    expected = ad.compile([x, y], outputs, backend="numpy")(a, c)
    for k, (got, want) in enumerate(zip(ad.compile([x, y], outputs, options=off)(a, c), expected, strict=True)):
        np.testing.assert_array_equal(got, want, err_msg=str(k))
        numbers = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]), err_msg=str(k))


# Products


def test_prod_needs_no_division_in_its_adjoint(backend: str) -> None:
    """With one factor 0 the others' derivatives are 0 and its own is the product of the others; with two all are 0."""
    assert slopes(backend, ad.prod, [2.0, 0.0, 3.0]) == [[0.0, 6.0, 0.0]]
    assert slopes(backend, ad.prod, [0.0, 5.0, 0.0]) == [[0.0, 0.0, 0.0]]


# Random numbers


def test_each_draw_takes_the_next_number_of_its_keys_handle(backend: str) -> None:
    """Two draws of one key differ; a fresh key of the same seed starts again; recomputation gives the same numbers."""

    def draws() -> list[ad.Array]:
        key = ad.random.key(7)
        return [ad.random.uniform(key, (50,)), ad.random.uniform(key, (50,))]

    first, second = call(backend, [], draws())
    again, _ = call(backend, [], draws())
    assert (first == again).all() and (first != second).any()


def test_random_numbers_are_the_same_for_any_number_of_threads() -> None:
    key = ad.random.key(3)
    bits, normal = ad.random.randint(key, (300, 400), 0, 1000), ad.random.normal(key, (300, 400))
    one, two = (ad.compile([], [bits, normal], threads=n)() for n in (1, 2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    reference = ad.compile([], [bits, normal], backend="numpy")()
    assert (one[0] == reference[0]).all()
    np.testing.assert_allclose(one[1], reference[1], rtol=1e-5, atol=1e-6)


def test_scan_adds_the_iteration_and_vmap_the_lane(backend: str) -> None:
    key, x = ad.random.key(1), ad.input("x", (6,))
    _, rows = ad.scan(lambda c, v: (c, ad.random.uniform(key, ()) + v), 0.0, x)
    lanes = ad.vmap(lambda v: ad.random.uniform(key, ()) + v)(x)
    for drawn in call(backend, [x], [rows, lanes], np.zeros(6, np.float32)):
        assert len(np.unique(drawn)) == 6


def test_dropout_owns_a_key_that_a_call_advances(backend: str) -> None:
    layer, x = ad.nn.Dropout(0.5), ad.input("x", (64,))
    f = ad.compile([x], layer(x, training=True), backend=backend)
    ones = np.ones(64, np.float32)
    assert (f(ones) != f(ones)).any()


# Hooks


def test_a_hook_leaves_expressions_built_before_and_equal_ones_alone(backend: str) -> None:
    x = ad.input("x", (2,))
    y = x * 2
    before, other = y * y, x * 2
    y.register_hook(lambda g: g * 10)
    after = y * y
    at = np.ones(2, np.float32)
    found = call(backend, [x], [ad.grad(z.sum(), x) for z in (before, after, other * other)], at)
    assert [f.tolist() for f in found] == [[8.0, 8.0], [80.0, 80.0], [8.0, 8.0]]


def test_a_hook_on_a_leaf_applies_to_every_gradient_with_respect_to_it(backend: str) -> None:
    w = ad.variable(np.ones(2, np.float32), name="w")
    y, node = w * 3, w.node
    w.register_hook(lambda g: -g)
    assert w.node is node and call(backend, [], ad.grad(y.sum(), w)).tolist() == [-3.0, -3.0]


def test_requires_grad_chooses_the_default_set_of_backward(backend: str) -> None:
    w, v = (ad.variable(np.ones(2, np.float32), name=n) for n in "wv")
    v.requires_grad = False
    updates = ad.backward((w * v).sum())
    assert list(updates) == [w.grad] and v.grad is None
    call(backend, [], [], updates=updates)
    assert w.grad.value.tolist() == [1.0, 1.0]
