from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adjoint.artifact import DimSpec
from adjoint.errors import CompileError, DTypeError, ExecutionError, ShapeError, SymbolicError
from adjoint.runtime.binding import NativeLibrary
from adjoint.runtime.build import build_library
from adjoint.runtime.callable import CompiledFunction
from adjoint.runtime.native import NativeExecutor
from adjoint.runtime.signature import Signature
from adjoint.runtime.target import TARGETS, native_target

from .handmade import add_function, artifact, function, param, recorded, zeros


def test_native_call_in_all_forms() -> None:
    add = add_function(0, 100)
    x, y = np.arange(5, dtype=np.float32), np.ones(5, np.float32)
    for _ in range(2):  # the second finds the binding of the first
        first = add(x, y)
        np.testing.assert_array_equal(first, x + y)
    assert add(x, y) is not first and not np.shares_memory(add(x, y), first) and first.flags.owndata
    np.testing.assert_array_equal(add(y=y, x=x), x + y)
    np.testing.assert_array_equal(add(x[::-1], [1, 2, 3, 4, 5]), [5, 5, 5, 5, 5])
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


def reverse(small: bool = False) -> CompiledFunction:
    params = [param("x", "input", "float32", (8,)), *(param(n, "output", "float32", (8,)) for n in "yz")]
    return function(artifact("rev", REVERSE, params, small=small), [0, 1])


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


@pytest.mark.parametrize("small", [False, True])
def test_bind(small: bool) -> None:
    rev = reverse(small)
    x = np.arange(8, dtype=np.float32)
    fast = rev.bind(x)
    y, _ = results = fast()
    assert fast() is not results and type(results) is list
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


@pytest.mark.parametrize("small", [False, True])
def test_bound_functions_keep_their_memory_alive(small: bool) -> None:
    fast = reverse(small).bind(np.arange(8, dtype=np.float32))
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
  a->z[0] = a->x[0];
  for (int i = 0; i < 20000; i++) if (w[i % 1000] != a->x[0]) a->z[0] = -1;
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
