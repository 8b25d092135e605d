"""A compiled function with its arguments bound, and the short way in which small ones are called.

The short way is a type written in C (`bound.c`), compiled into the cache as the other services are. It needs CPython
with its global lock; where that, a compiler, or what the interpreter exports is missing, the class in Python is all.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.artifact import ABI_HEADER, Target, Unit
from adjoint.errors import CompileError, ExecutionError
from adjoint.runtime.binding import load_abi
from adjoint.runtime.build import build_library
from adjoint.runtime.memory import Array, aligned_bytes
from adjoint.runtime.native import Frame, NativeExecutor

if TYPE_CHECKING:
    from adjoint.runtime.callable import CompiledFunction

_lock = threading.Lock()
_small: SmallType | None = None
_tried = False


class BoundFunction:
    """A compiled function with its arguments bound: each call is one C call, and returns views of its own buffers.

    Not re-entrant: a call during a call raises ExecutionError. `outputs` are the buffers in flat order.
    """

    __slots__ = (
        "_acquire",
        "_frame",
        "_guard",
        "_pack",
        "_release",
        "_results",
        "_run",
        "_state",
        "function",
        "outputs",
    )

    def __init__(
        self, function: CompiledFunction, inputs: list[Array], shapes: list[tuple[int, ...]], extents: list[int]
    ) -> None:
        self.function = function
        self.outputs = [
            aligned_bytes(int(np.prod(s, dtype=np.int64)) * np.dtype(p.dtype).itemsize).view(p.dtype).reshape(s)
            for s, p in zip(shapes, function.signature.outputs, strict=True)
        ]
        executor, outputs = function.executor, self.outputs
        self._frame: Frame | None = None
        self._state: Any = None  # what C code looks at
        if isinstance(executor, NativeExecutor):
            self._frame = executor.bound_frame(inputs, outputs, extents)
            self._run: Callable[[], None] = _caller(executor, self._frame)
        else:
            self._run = lambda: executor.run(inputs, outputs, extents)
        self._guard, self._pack = function.guard, function.pack
        self._results: Any = outputs[0] if isinstance(function.signature.structure, int) else list(outputs)
        busy = threading.Lock()
        self._acquire, self._release = busy.acquire, busy.release

    def __call__(self) -> Any:
        if not self._acquire(False):
            raise ExecutionError(f"{self.function.name}: called while it runs; bind one for each thread")
        state = self._state
        try:
            if state is not None:
                state.busy = 1
            if self._guard is None:
                self._run()
            else:
                held = self._guard.enter()
                try:
                    self._run()
                finally:
                    self._guard.leave(held)
        finally:
            if state is not None:
                state.busy = 0
            self._release()
        return self._results if type(self._results) is np.ndarray else self._pack(self._results)

    longer = __call__  # what the short way falls back on, for which `__call__` is another name of itself

    def recover(self, status: int) -> Any:
        """What a call with this status returns after all; raises what it says."""
        executor, frame = self.function.executor, self._frame
        assert isinstance(executor, NativeExecutor) and frame is not None
        executor.recover(frame, status)
        return self._results if type(self._results) is np.ndarray else self._pack(self._results)


def _caller(executor: NativeExecutor, frame: Frame) -> Callable[[], None]:
    entry, table, base, context, recover = executor.entry, frame.table, frame.base, frame.context, executor.recover

    def call() -> None:
        status = entry(table, base, context)
        if status:
            recover(frame, status)

    return call


class SmallType:
    """The type of bound functions that C code calls, and how one is set up.

    Raises CompileError where it cannot be made.
    """

    def __init__(self) -> None:
        text = Path(__file__).with_name("bound.c").read_text(encoding="utf-8").replace("@ABI@", ABI_HEADER)
        plain = Target("host", "", 16, 16, False, 0, 0, 1, ())
        extra = ("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()
        path = build_library((Unit("bound", text),), plain, extra=extra).path
        try:
            library = ctypes.PyDLL(str(path))
        except OSError as error:
            raise CompileError(f"cannot load {path}: {error}") from error
        make, self._set = library.adjoint_bound_type, library.adjoint_bound_set
        make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_int64]
        self._set.restype, self._set.argtypes = None, [ctypes.py_object, ctypes.c_void_p]
        self.type: type[BoundFunction] = make((BoundFunction,), BoundFunction.__basicsize__)

    def make(self, function: CompiledFunction, *arguments: Any) -> BoundFunction:
        """A bound function of this type. It keeps what the C code gets the addresses of."""
        bound = self.type(function, *arguments)
        frame, results, executor = bound._frame, bound._results, function.executor
        assert isinstance(executor, NativeExecutor) and frame is not None
        ffi, _ = load_abi()
        state = ffi.new("adjoint_bound *")
        state.entry, state.args, state.workspace, state.context = executor.entry, frame.table, frame.base, frame.context
        if function.guard is not None:
            state.inside = ffi.from_buffer(function.guard.inside)
        state.result = ffi.cast("void *", id(results))
        state.count = -1 if isinstance(function.signature.structure, int) else len(results)
        bound._state = state
        self._set(bound, int(ffi.cast("intptr_t", state)))
        return bound


def bind(
    function: CompiledFunction, inputs: list[Array], shapes: list[tuple[int, ...]], extents: list[int]
) -> BoundFunction:
    """The bound form of a compiled function, for arrays that have been checked."""
    executor, structure = function.executor, function.signature.structure
    flat = isinstance(structure, int) or structure == list(range(len(function.signature.outputs)))
    if isinstance(executor, NativeExecutor) and executor.small and flat:
        small = _small_type()
        if small is not None:
            return small.make(function, inputs, shapes, extents)
    return BoundFunction(function, inputs, shapes, extents)


def _small_type() -> SmallType | None:
    """The type for small functions, made once a process; None where this interpreter has none."""
    global _small, _tried
    if not _tried:
        with _lock:
            if not _tried and sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED"):
                try:
                    _small = SmallType()
                except CompileError:
                    _small = None
            _tried = True
    return _small
