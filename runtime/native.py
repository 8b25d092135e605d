"""Running a compiled artifact: argument tables, workspaces, contexts, and what a failed status means."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from adjoint.artifact import ABI, Artifact
from adjoint.errors import CompileError, ExecutionError
from adjoint.runtime.binding import NativeLibrary, load_abi
from adjoint.runtime.memory import ALIGNMENT, Array, aligned_bytes
from adjoint.runtime.pool import services
from adjoint.runtime.profiler import Counters
from adjoint.runtime.target import missing_features

_OK, _CHECK, _TAPE = 0, 1, 2
IDLE_FRAMES = max(4, os.cpu_count() or 1)  # workspaces kept for later calls


class Storage(Protocol):
    """A variable's memory: an aligned contiguous array that never moves, and an id that is never used twice."""

    @property
    def id(self) -> int: ...
    @property
    def array(self) -> Array: ...


def available_cpus() -> int:
    """CPUs that this process may use now: the default of `threads=`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class Frame:
    """What one running call owns: argument table, context, workspace (and the tape, behind the context)."""

    __slots__ = (
        "__weakref__",
        "arrays",
        "base",
        "context",
        "counters",
        "extents",
        "home",
        "keeper",
        "numbers",
        "table",
        "workspace",
    )

    def __init__(self, ffi: Any, slots: int, home: list[Frame]) -> None:
        self.table = ffi.new("void *[]", slots)
        self.numbers = ffi.cast("int64_t *", self.table)
        self.context = ffi.new("adjoint_context *")
        self.keeper: Any = None  # frees the tape when the frame goes
        self.workspace: Array | None = None
        self.base = ffi.NULL
        self.extents: list[int] | None = None
        self.counters: Array | None = None
        self.arrays: object = None
        self.home = home


class NativeExecutor:
    """Calls the C function of one artifact. Safe to `run` from many threads at once: each call has a frame of its own.

    `storages` are the variables in slot order; their arrays must have the dtype and shape of their parameters and be
    64-byte aligned. `threads` is an upper bound (default: the CPUs this process may use). `sites` maps the numbers of
    the report's site table to text such as "model.py:14", for messages.

    Raises CompileError when the artifact is of another ABI, needs instructions this machine lacks, or does not fit its
    storages.
    """

    def __init__(
        self,
        artifact: Artifact,
        library: NativeLibrary,
        storages: Sequence[Storage],
        *,
        threads: int | None = None,
        sites: Mapping[int, str] | None = None,
    ) -> None:
        if artifact.abi != ABI:
            raise CompileError(f"{artifact.name} was compiled for ABI {artifact.abi}, this package has ABI {ABI}")
        lacking = missing_features(artifact.target)
        if lacking:
            raise CompileError(
                f"{artifact.name} was compiled for {artifact.target.name}, but this machine has no "
                f"{', '.join(lacking)}; compile with target='native'"
            )
        if threads is not None and threads < 1:
            raise CompileError(f"threads must be at least 1, got {threads}")
        self.artifact, self.library, self.storages = artifact, library, list(storages)
        self.sites: Mapping[int, str] = sites if sites is not None else {}
        self.threads = max(1, min(threads or available_cpus(), artifact.target.workers))
        self.ffi, _ = load_abi()
        self._from_buffer = self.ffi.from_buffer
        self.entry = library.function(artifact.name, "adjoint_entry")
        self._measure = library.function(f"{artifact.name}_workspace", "adjoint_workspace")
        slots: dict[str, list[int]] = {"input": [], "variable": [], "output": [], "extent": []}
        for slot, param in enumerate(artifact.params):
            slots[param.role].append(slot)
        self.input_slots, self.output_slots = tuple(slots["input"]), tuple(slots["output"])
        self._variables, self._extents = tuple(slots["variable"]), tuple(slots["extent"])
        if len(self._extents) != len(artifact.dims):
            raise CompileError(f"{artifact.name}: {len(self._extents)} extents for {len(artifact.dims)} dimensions")
        self._check_storages()
        # A call that is over at once may keep the interpreter's lock; one that waits for other threads may not.
        self.small = artifact.small and not (artifact.parallel and self.threads > 1)
        self._needs_tape = False
        self.free: list[Frame] = []
        self._bound: weakref.WeakSet[Frame] = weakref.WeakSet()
        self._counters: Counters | None = None

    def _check_storages(self) -> None:
        params = [self.artifact.params[slot] for slot in self._variables]
        if len(params) != len(self.storages):
            raise CompileError(f"{self.artifact.name} has {len(params)} variables, got {len(self.storages)} storages")
        for param, storage in zip(params, self.storages, strict=True):
            array = storage.array
            if array.dtype != np.dtype(param.dtype) or array.shape != param.shape or not array.flags.c_contiguous:
                raise CompileError(
                    f"{self.artifact.name}: the storage of {param.label} is {array.dtype}{list(array.shape)}, "
                    f"the artifact has {param.dtype}{list(param.shape)}"
                )
            if array.ctypes.data % ALIGNMENT and array.nbytes:
                raise CompileError(f"{self.artifact.name}: the storage of {param.label} is not aligned")

    def run(self, inputs: list[Array], outputs: list[Array], extents: list[int]) -> None:
        """One call: contiguous aligned arrays of exact dtype and shape, apart from one another and from variables.

        Raises ExecutionError when a check fails; variables are then as they were.
        """
        try:
            frame = self.free.pop()
        except IndexError:
            frame = self.new_frame()
        table, from_buffer = frame.table, self._from_buffer
        for slot, array in zip(self.input_slots, inputs, strict=True):
            table[slot] = from_buffer(array)
        for slot, array in zip(self.output_slots, outputs, strict=True):
            table[slot] = from_buffer(array)
        if extents != frame.extents:
            self.set_extents(frame, extents)
        status = self.entry(table, frame.base, frame.context)
        if status:
            self.recover(frame, status)
        if len(frame.home) < IDLE_FRAMES:
            frame.home.append(frame)

    def bound_frame(self, inputs: list[Array], outputs: list[Array], extents: list[int]) -> Frame:
        """A frame for calls with these arrays alone, which it keeps: its table holds bare addresses. Not re-entrant."""
        frame = self.new_frame()
        self._bound.add(frame)
        for slot, array in zip((*self.input_slots, *self.output_slots), (*inputs, *outputs), strict=True):
            frame.table[slot] = self._from_buffer(array)
        self.set_extents(frame, extents)
        frame.arrays = (inputs, outputs)
        return frame

    @property
    def workspace_bytes(self) -> int:
        """Bytes of workspace that one running call needs; with run-time dimensions, the most any idle frame has."""
        if self.artifact.workspace is not None:
            return self.artifact.workspace
        sizes = [frame.workspace.nbytes for frame in [*self.free, *self._bound] if frame.workspace is not None]
        return max(sizes, default=0)

    def set_profiling(self, on: bool) -> None:
        """Start (from zero) or stop counting per kernel. Not while calls run."""
        self._counters = Counters(self.artifact.kernels) if on else None
        self.free = []  # frames on their way go back to the old list, and vanish with it
        for frame in self._bound:
            self._attach_counters(frame)

    @property
    def counters(self) -> Counters | None:
        return self._counters

    def new_frame(self) -> Frame:
        """A frame with everything in place but inputs, outputs and extents."""
        ffi = self.ffi
        frame = Frame(ffi, max(1, len(self.artifact.params)), self.free)
        for slot, storage in zip(self._variables, self.storages, strict=True):
            frame.table[slot] = self._from_buffer(storage.array)
        frame.context.workers = self.threads
        if self.artifact.parallel and self.threads > 1:
            frame.context.parallel_for = services().parallel_for
        if self._needs_tape:
            self._attach_tape(frame)
        self._attach_counters(frame)
        if not self._extents:
            self._size_workspace(frame)
            frame.extents = []
        return frame

    def set_extents(self, frame: Frame, extents: list[int]) -> None:
        """Put run-time dimensions into a frame, and make its workspace large enough for them."""
        for slot, extent in zip(self._extents, extents, strict=True):
            frame.numbers[slot] = extent
        self._size_workspace(frame)
        frame.extents = list(extents)

    def _size_workspace(self, frame: Frame) -> None:
        needed = self.artifact.workspace
        if needed is None:
            needed = int(self._measure(frame.table))
        if frame.workspace is None or frame.workspace.nbytes < needed:
            frame.workspace = aligned_bytes(max(needed, 1))
            frame.base = self.ffi.cast("void *", self._from_buffer(frame.workspace))

    def _attach_counters(self, frame: Frame) -> None:
        if self._counters is None:
            frame.context.clock = self.ffi.NULL
            frame.context.counters = self.ffi.NULL
            frame.counters = None
        else:
            frame.counters = self._counters.new_array()
            frame.context.counters = self.ffi.cast("uint64_t *", self._from_buffer(frame.counters))
            frame.context.clock = services().clock

    def _attach_tape(self, frame: Frame) -> None:
        host = services()
        frame.keeper = self.ffi.gc(frame.context, host.release)
        frame.context.grow = host.grow

    def recover(self, frame: Frame, status: int) -> None:
        """Handle a status other than OK: give the call a growing tape and run it again, or raise."""
        context = frame.context
        context.status = _OK
        if status == _TAPE and context.grow == self.ffi.NULL:
            # Most functions have no tape, so it comes at the first demand. A call that fails leaves the variables as
            # they were, so it can simply run again.
            self._needs_tape = True
            self._attach_tape(frame)
            status = self.entry(frame.table, frame.base, context)
            if status == _OK:
                return
            context.status = _OK
        error = self._failure(status, context.site, context.value, context.bound, context.tape_bytes)
        context.site = context.value = context.bound = 0
        if frame not in self._bound and len(frame.home) < IDLE_FRAMES:
            frame.home.append(frame)
        raise error

    def _failure(self, status: int, number: int, value: int, bound: int, tape: int) -> ExecutionError:
        name = self.artifact.name
        if status == _TAPE:
            return ExecutionError(f"{name}: no memory to extend the tape of its loops beyond {tape} bytes")
        if status != _CHECK:
            return ExecutionError(f"{name}: the compiled code refused its arguments (status {status})")
        check = next((c for c in self.artifact.checks if c.number == number), None)
        if check is None:
            return ExecutionError(f"{name}: check {number} failed with value {value}, bound {bound}")
        numbers = f": got {value}, bound {bound}" if value or bound else ""
        place = self.sites.get(check.site)
        return ExecutionError(f"{name}: {check.message}{numbers}" + (f"\n  raised by {place}" if place else ""))
