from __future__ import annotations

import array as stdlib_array
import threading
from typing import Any

import numpy as np
import pytest
from adjoint.artifact import DimSpec
from adjoint.errors import CompileError, DTypeError, ExecutionError, GraphError, ShapeError, SymbolicError
from adjoint.runtime.callable import CompiledFunction
from adjoint.runtime.signature import Signature

from .handmade import add_function, artifact, function, param


class Recorder:
    """An executor from outside: keeps what it was given, and computes with NumPy."""

    def __init__(self) -> None:
        self.inputs: list[np.ndarray] = []
        self.extents: list[int] = []

    def run(self, inputs: list[np.ndarray], outputs: list[np.ndarray], extents: list[int]) -> None:
        self.inputs, self.extents = inputs, list(extents)
        for number, out in enumerate(outputs):
            out[...] = number


def recorded(
    inputs: list[tuple[str, str, tuple[Any, ...]]],
    outputs: list[tuple[Any, ...]] | None = None,
    dims: tuple[DimSpec, ...] = (),
    structure: Any = 0,
) -> tuple[CompiledFunction, Recorder]:
    recorder = Recorder()
    signature = Signature(
        "step",
        tuple(param(name, "input", dtype, shape) for name, dtype, shape in inputs),
        tuple(param(f"o{i}", "output", "float32", shape) for i, shape in enumerate(outputs or [()])),
        dims,
        structure,
    )
    return CompiledFunction(recorder, signature), recorder


BATCH = (DimSpec("batch", 1, 64),)
TWO = [("x", "float32", ("batch", 784)), ("t", "int64", ("batch",))]


def zeros(dtype: str, *shape: int) -> np.ndarray:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((), SymbolicError, "step takes 2 arguments (x, t), got 0; missing: x, t"),
        ((1, 2, 3), SymbolicError, "step takes 2 arguments (x, t), got 3"),
        (
            (zeros("float64", 32, 783), zeros("int64", 32)),
            ShapeError,
            'step: argument 1 "x": expected float32[batch, 784], got float64[32, 783]',
        ),
        (
            (zeros("float64", 32, 784), zeros("int64", 32)),
            DTypeError,
            'step: argument 1 "x": expected float32[batch, 784], got float64[32, 784]: converting may lose values',
        ),
        ((zeros("float32", 784), zeros("int64", 32)), ShapeError, "got float32[784]"),
        ((zeros("float32", 32, 784), zeros("float32", 32)), DTypeError, 'argument 2 "t": expected int64[batch]'),
        ((zeros("float32", 32, 784), zeros("uint64", 32)), DTypeError, "got uint64[32]"),
        (
            (zeros("float32", 32, 784), zeros("int64", 16)),
            ShapeError,
            'argument 2 "t": expected int64[batch], got int64[16] (axis 0: 32, not 16, because batch is 32 by '
            'argument 1 "x" (axis 0))',
        ),
        ((zeros("float32", 0, 784), zeros("int64", 0)), ShapeError, "batch is 0 by argument 1"),
        ((zeros("float32", 65, 784), zeros("int64", 65)), ShapeError, "above its maximum 64"),
        ((zeros("float32", 1, 784), [1.5]), DTypeError, "got float64[1]"),
        ((zeros("float32", 1, 784), ["a"]), DTypeError, "expected int64[batch], got <U1[1]"),
        ((zeros("float32", 1, 784), [[1, 2], [3]]), ShapeError, "a list that is no array"),
        ((zeros("float32", 1, 784), [2**63]), DTypeError, "does not fit into int64"),
        ((object(), zeros("int64", 1)), (DTypeError, ShapeError), 'argument 1 "x": expected'),
        ((np.zeros((1, 784), object), zeros("int64", 1)), DTypeError, "got ndarray"),
        ((zeros("complex64", 1, 784), zeros("int64", 1)), DTypeError, "got complex64[1, 784]"),
        ((np.ma.masked_array(zeros("float32", 1, 784)), zeros("int64", 1)), DTypeError, "masked"),
    ],
)
def test_arguments_that_do_not_fit(args: tuple[Any, ...], error: Any, words: str) -> None:
    step, _ = recorded(TWO, dims=BATCH)
    with pytest.raises(error) as caught:
        step(*args)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("args", "named", "words"),
    [
        ((1,), {"x": 2}, "got 'x' twice"),
        ((), {"x": 1, "z": 2}, "got one named 'z'"),
        ((), {"x": 1}, "missing: t"),
    ],
)
def test_names_that_do_not_fit(args: tuple[Any, ...], named: dict[str, Any], words: str) -> None:
    step, _ = recorded(TWO, dims=BATCH)
    with pytest.raises(TypeError, match=words):
        step(*args, **named)


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", 0.1, np.float32(0.1)),
        ("float32", np.float64(0.1), np.float32(0.1)),
        ("float32", 3, np.float32(3)),
        ("float32", True, np.float32(1)),
        ("int64", 7, np.int64(7)),
        ("uint8", np.int64(200), np.uint8(200)),
        ("bool", True, np.True_),
        ("float64", np.array(0.5, np.float32), np.float64(0.5)),
        ("int64", np.array(-3, ">i4"), np.int64(-3)),
    ],
)
def test_scalars(dtype: str, value: Any, expected: Any) -> None:
    step, seen = recorded([("a", dtype, ())])
    step(value)
    (got,) = seen.inputs
    assert got.dtype == np.dtype(dtype) and got.shape == () and got == expected


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int64", 1.0), ("uint8", 256), ("uint8", -1), ("bool", 1), ("float32", np.array(1.0)), ("int32", 1j)],
)
def test_scalars_that_lose_values(dtype: str, value: Any) -> None:
    step, _ = recorded([("a", dtype, ())])
    with pytest.raises(DTypeError):
        step(value)


def test_what_is_copied_and_what_is_not() -> None:
    step, seen = recorded([("a", "float32", (2, 3))])
    good = np.arange(6, dtype=np.float32).reshape(2, 3)
    step(good)
    assert seen.inputs[0] is good
    read_only = good.copy()
    read_only.flags.writeable = False
    step(read_only)
    assert seen.inputs[0] is read_only
    misaligned = np.frombuffer(b"\0" + good.tobytes(), np.float32, 6, offset=1).reshape(2, 3)
    for other in (good.T.copy().T, np.asfortranarray(good), good.astype(np.float16), good.astype(">f4"), misaligned):
        step(other)
        (got,) = seen.inputs
        assert got.flags.c_contiguous and got.flags.aligned and got.dtype == np.float32
        np.testing.assert_array_equal(got, good)
    step(good.tolist())
    np.testing.assert_array_equal(seen.inputs[0], good)
    buffer = stdlib_array.array("f", range(6))
    step(memoryview(buffer).cast("B").cast("f", (2, 3)))
    assert np.shares_memory(seen.inputs[0], np.frombuffer(buffer, np.float32))


def test_structures() -> None:
    structure = {"loss": 0, "rest": [2, (1,)]}
    step, _ = recorded([], outputs=[(), (2,), (3,)], structure=structure)
    result = step()
    assert result["loss"] == 0 and result["rest"][1][0].tolist() == [1, 1] and result["rest"][0].tolist() == [2, 2, 2]
    assert isinstance(result["rest"][1], tuple)
    out = {"loss": zeros("float32"), "rest": [zeros("float32", 3), (zeros("float32", 2),)]}
    assert step(out=out) is out and out["rest"][0].tolist() == [2, 2, 2]
    with pytest.raises(SymbolicError, match="out must be a dict with the keys 'loss', 'rest', got list of 2"):
        step(out=[1, 2])
    with pytest.raises(SymbolicError, match=r"out\['rest'\] must be a list of 2, got list of 1"):
        step(out={"loss": zeros("float32"), "rest": [1]})
    with pytest.raises(SymbolicError, match=r"out\['loss'\] must be a NumPy array float32\[\], got float"):
        step(out={**out, "loss": 1.0})
    with pytest.raises(GraphError, match="does not use each of 2"):
        recorded([], outputs=[(), ()], structure=[0, 0])


def test_dimensions_from_expressions() -> None:
    dims = (DimSpec("n", 0, None), DimSpec("m", 1, None))
    step, seen = recorded([("a", "float32", ("2*n+1", "n+m"))], outputs=[("n*m",)], dims=dims)
    assert step(zeros("float32", 7, 5)).shape == (6,) and seen.extents == [3, 2]
    with pytest.raises(ShapeError, match=r"no n makes 2\*n\+1 equal 6"):
        step(zeros("float32", 6, 5))
    with pytest.raises(ShapeError, match="m is 0 by argument 1"):
        step(zeros("float32", 7, 3))
    with pytest.raises(GraphError, match="no input has dimension k"):
        recorded([("a", "float32", ("n",))], dims=(*dims[:1], DimSpec("k", 1, None)))
    with pytest.raises(GraphError, match="uses q"):
        recorded([("a", "float32", ("q",))])


def test_native_call_in_all_forms() -> None:
    add = add_function(0, 100)
    x, y = np.arange(5, dtype=np.float32), np.ones(5, np.float32)
    for _ in range(2):  # the second finds the binding of the first
        first = add(x, y)
        np.testing.assert_array_equal(first, x + y)
    assert add(x, y) is not first and not np.shares_memory(add(x, y), first) and first.flags.owndata
    np.testing.assert_array_equal(add(y=y, x=x), x + y)
    np.testing.assert_array_equal(add(x[::-1], [1, 2, 3, 4, 5]), x[::-1] + [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(add(np.repeat(x, 2)[::2], y), x + y)
    misaligned = np.frombuffer(b"\0" + x.tobytes(), np.float32, 5, offset=1)
    np.testing.assert_array_equal(add(misaligned, y), x + y)
    assert add(x[:0], y[:0]).shape == (0,)
    with pytest.raises(ShapeError, match="above its maximum 100"):
        add(zeros("float32", 101), zeros("float32", 101))
    assert add.memory == 64 and "add(x, y)" in repr(add)


def test_many_shapes_are_forgotten_again() -> None:
    add = add_function(0)
    for n in range(600):
        assert add(zeros("float32", n), zeros("float32", n)).shape == (n,)
    assert len(add._binder.known) <= 256


# Writes before it reads all: wrong as soon as memory overlaps.
REVERSE = """
typedef struct { const float *x; float *y; float *z; } rev_args;
int32_t rev(const rev_args *a, void *w, adjoint_context *c) {
  (void)w; (void)c;
  for (int i = 0; i < 8; i++) { a->y[i] = a->x[7 - i]; a->z[i] = 2 * a->x[i]; }
  return ADJOINT_OK;
}
"""


def reverse() -> CompiledFunction:
    params = [param("x", "input", "float32", (8,)), *(param(n, "output", "float32", (8,)) for n in "yz")]
    return function(artifact("rev", REVERSE, params), [0, 1])


def test_out_and_overlap() -> None:
    rev = reverse()
    x = np.arange(8, dtype=np.float32)
    y, z = np.empty_like(x), np.empty_like(x)
    assert rev(x, out=[y, z])[0] is y
    np.testing.assert_array_equal(y, x[::-1])
    np.testing.assert_array_equal(z, 2 * x)
    same = x.copy()
    rev(same, out=[same, z])
    np.testing.assert_array_equal(same, x[::-1])
    memory = np.zeros(20, np.float32)
    memory[2:10] = x
    rev(memory[2:10], out=[memory[5:13], z])
    np.testing.assert_array_equal(memory[5:13], x[::-1])
    memory[2:10] = x
    rev(memory[2:10], out=[memory[10:18], z])
    np.testing.assert_array_equal(memory[2:10], x)
    with pytest.raises(SymbolicError, match="two of the buffers overlap"):
        rev(x, out=[memory[0:8], memory[7:15]])


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (zeros("float32", 7), ShapeError, r"out\[0\]: expected float32\[8\], got float32\[7\]"),
        (zeros("float64", 8), DTypeError, r"got float64\[8\]"),
        (zeros("float32", 16)[::2], SymbolicError, "not C-contiguous"),
        (np.broadcast_to(np.float32(0), 8), SymbolicError, "not C-contiguous"),
        (np.frombuffer(bytes(32), np.float32), SymbolicError, "read-only"),
    ],
)
def test_buffers_that_do_not_fit(bad: np.ndarray, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        reverse()(zeros("float32", 8), out=[bad, zeros("float32", 8)])


def test_bind() -> None:
    rev = reverse()
    x = np.arange(8, dtype=np.float32)
    fast = rev.bind(x)
    y, z = fast()
    np.testing.assert_array_equal(y, x[::-1])
    x += 1
    assert fast()[0] is y
    np.testing.assert_array_equal(y, x[::-1])
    assert y.ctypes.data % 64 == 0
    read_only = np.frombuffer(x.tobytes(), np.float32)
    np.testing.assert_array_equal(rev.bind(read_only)()[0], x[::-1])
    other = rev.bind(x=x)
    assert not np.shares_memory(other()[0], y)
    with pytest.raises(DTypeError, match=r"bind reads the array at every call, so it must be float32, got float16"):
        rev.bind(x.astype(np.float16))
    for bad in (np.repeat(x, 2)[::2], x.tolist()):
        with pytest.raises(ShapeError, match="C-contiguous"):
            rev.bind(bad)
    with pytest.raises(ShapeError, match=r"expected float32\[8\]"):
        rev.bind(x[:7])
    with pytest.raises(SymbolicError, match="missing: x"):
        rev.bind()
    scalar, seen = recorded([("a", "float32", ())])
    scalar.bind(0.5)()
    assert seen.inputs[0] == np.float32(0.5)


def test_bound_functions_keep_their_memory_alive() -> None:
    fast = reverse().bind(np.arange(8, dtype=np.float32))
    junk = [np.full(8, 7, np.float32) for _ in range(1000)]
    np.testing.assert_array_equal(fast()[0], np.arange(8)[::-1])
    assert len(junk) == 1000


def test_a_bound_function_is_not_reentrant() -> None:
    class Again:
        fast: Any = None

        def run(self, inputs: list[Any], outputs: list[Any], extents: list[int]) -> None:
            self.fast()

    executor = Again()
    executor.fast = CompiledFunction(executor, Signature("f", (), (param("o", "output", "float32", ()),))).bind()
    with pytest.raises(ExecutionError, match="called while it runs"):
        executor.fast()


def test_concurrent_calls_have_workspaces_of_their_own() -> None:
    text = """
typedef struct { const int64_t *x; int64_t *z; } slow_args;
int32_t slow(const slow_args *a, void *workspace, adjoint_context *c) {
  volatile int64_t *w = workspace;
  (void)c;
  for (int i = 0; i < 1000; i++) w[i] = a->x[0];
  for (int rep = 0; rep < 20; rep++) for (int i = 0; i < 1000; i++) if (w[i] != a->x[0]) { a->z[0] = -1; return ADJOINT_OK; }
  a->z[0] = a->x[0];
  return (uintptr_t)workspace % 64 ? ADJOINT_ARGUMENT : ADJOINT_OK;
}
"""
    params = [param("x", "input", "int64", ()), param("z", "output", "int64", ())]
    slow = function(artifact("slow", text, params, workspace=8000))
    wrong: list[int] = []

    def caller(number: int) -> None:
        wrong.extend(1 for _ in range(300) if slow(number) != number)

    threads = [threading.Thread(target=caller, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_workspace_depends_on_dimensions() -> None:
    text = """
typedef struct { const uint8_t *x; int64_t *z; int64_t n; } ws_args;
uint64_t ws_workspace(const ws_args *a) { return (uint64_t)a->n * 1000; }
int32_t ws(const ws_args *a, void *workspace, adjoint_context *c) {
  uint8_t *w = workspace;
  (void)c;
  for (int64_t i = 0; i < a->n * 1000; i++) w[i] = 1;
  a->z[0] = a->n;
  return ADJOINT_OK;
}
"""
    params = [
        param("x", "input", "uint8", ("n",)),
        param("z", "output", "int64", ()),
        param("n", "extent", "int64", ()),
    ]
    f = function(artifact("ws", text, params, dims=[DimSpec("n", 0, None)], workspace=None))
    for n in (1, 5000, 2, 0, 5001):
        assert f(zeros("uint8", n)) == n
    assert f.memory >= 5_001_000
    assert f.bind(zeros("uint8", 10))() == 10


def test_a_foreign_artifact_is_refused() -> None:
    from dataclasses import replace

    from adjoint.runtime.binding import NativeLibrary
    from adjoint.runtime.build import build_library
    from adjoint.runtime.native import NativeExecutor
    from adjoint.runtime.target import TARGETS, native_target

    made = add_function().executor.artifact  # type: ignore[attr-defined]
    library = NativeLibrary(build_library(made.units, made.target).path)
    with pytest.raises(CompileError, match="ABI 99"):
        NativeExecutor(replace(made, abi=99), library, [])
    foreign = TARGETS["x86-64" if native_target().name == "aarch64" else "aarch64"]
    with pytest.raises(CompileError, match="was compiled for"):
        NativeExecutor(replace(made, target=foreign), library, [])
    with pytest.raises(CompileError, match="no function 'other'"):
        NativeExecutor(replace(made, name="other"), library, [])
    with pytest.raises(CompileError, match="threads must be at least 1"):
        NativeExecutor(made, library, [], threads=0)
