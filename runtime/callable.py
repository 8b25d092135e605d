"""What `compile` returns: a function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from adjoint.errors import DTypeError, ExecutionError, ShapeError, SymbolicError
from adjoint.runtime.arguments import READY, admit, arrange, check_out, flatten_out
from adjoint.runtime.bound import BoundFunction, bind
from adjoint.runtime.locks import Guard, LockRegistry, registry
from adjoint.runtime.memory import Array, Regions, overlap
from adjoint.runtime.native import NativeExecutor, Storage
from adjoint.runtime.signature import ShapeBinder, Signature, packer
from adjoint.runtime.trampoline import Parts, make_trampoline, make_trampoline_into


class Executor(Protocol):
    """Whatever can compute the outputs: compiled code, or an interpreter.

    `run` gets contiguous aligned arrays of exact dtype and shape in slot order, and the extents in the order of the
    signature's dimensions; it fills `outputs` and updates the variables. Arrays do not overlap.
    """

    def run(self, inputs: list[Array], outputs: list[Array], extents: list[int]) -> None: ...


class Report(Protocol):
    """What the compiler's front knows about a function: sites, dumps, export, how to pickle it, and what making it
    took (seconds by phase)."""

    @property
    def seconds(self) -> Mapping[str, float]: ...
    @property
    def sites(self) -> Mapping[int, str]: ...
    @property
    def dump(self) -> Callable[..., str]: ...
    def export(self, directory: Any, target: Any = None) -> Any: ...
    def reduce(self) -> Any: ...


class CompiledFunction:
    """A compiled function: NumPy arrays in, NumPy arrays out, in the structure that was given to `compile`.

    `storages` are the variables that it touches, `written` the ids of those that it updates. Calls from many threads
    are safe; those that touch updated variables take turns.
    """

    def __init__(
        self,
        executor: Executor,
        signature: Signature,
        *,
        storages: Sequence[Storage] = (),
        written: frozenset[int] = frozenset(),
        report: Report | None = None,
        locks: LockRegistry = registry,
    ) -> None:
        self.executor, self.signature, self.report = executor, signature, report
        if report is not None and isinstance(executor, NativeExecutor):
            executor.sites = report.sites
        self.name = self.__name__ = signature.name
        self._binder = ShapeBinder(signature)
        self._count = len(signature.inputs)
        self._dtypes_in = [np.dtype(p.dtype) for p in signature.inputs]
        self._shapes_in = [p.shape for p in signature.inputs]
        self._dtypes = [np.dtype(p.dtype) for p in signature.outputs]
        self.pack = packer(signature.structure, len(signature.outputs))
        self._variables = Regions([s.array for s in storages])
        self._updated = Regions([s.array for s in storages if s.id in written])
        self.guard: Guard | None = locks.connect([s.id for s in storages], written)
        self._short: Callable[..., Any] = self._long
        self._short_into: Callable[..., Any] = self._long
        if isinstance(executor, NativeExecutor):
            parts = Parts(
                executor,
                signature,
                self._binder,
                self.guard,
                self._updated,
                self._variables,
                self.pack,
                self._long,
            )
            self._short, self._short_into = make_trampoline(parts), make_trampoline_into(parts)

    def __repr__(self) -> str:
        return f"<compiled function {self.name}({', '.join(p.label for p in self.signature.inputs)})>"

    def __call__(self, *args: Any, out: Any = None, **named: Any) -> Any:
        """Run once. Inputs by position or by name; `out=` takes buffers in the structure of the outputs.

        Raises SymbolicError, ShapeError or DTypeError for arguments that do not fit, ExecutionError when a check of the
        data fails; variables are then unchanged.
        """
        if named or len(args) != self._count:
            args = tuple(arrange(self.signature, args, named))
        return self._short(args) if out is None else self._short_into(args, out)

    def _long(self, args: Sequence[Any], out: Any = None) -> Any:
        """The call in full: conversions, copies of what overlaps, buffers of the caller, any executor."""
        inputs = [
            a
            if type(a) is np.ndarray and a.dtype is d and a.shape == s and a.flags.num & READY == READY
            else admit(self.signature, i, a)
            for i, (a, d, s) in enumerate(zip(args, self._dtypes_in, self._shapes_in, strict=True))
        ]
        binding = self._binder.bind(tuple([a.shape for a in inputs]))
        if self._updated:
            touches = self._updated.touches
            for i, a in enumerate(inputs):
                if touches(a):
                    inputs[i] = a.copy()
        if out is not None:
            return self._call_into(out, inputs, binding.outputs, binding.extents)
        outputs = [np.empty(s, d) for s, d in zip(binding.outputs, self._dtypes, strict=True)]
        guard = self.guard
        if guard is None:
            self.executor.run(inputs, outputs, binding.extents)
        else:
            held = guard.enter()
            try:
                self.executor.run(inputs, outputs, binding.extents)
            finally:
                guard.leave(held)
        return self.pack(outputs)

    def _call_into(self, out: Any, inputs: list[Array], shapes: list[tuple[int, ...]], extents: list[int]) -> Any:
        buffers = flatten_out(self.signature, out)
        check_out(self.signature, buffers, shapes, self._dtypes)
        for j, buffer in enumerate(buffers):
            if any(overlap(buffer, other) for other in buffers[:j]):
                raise SymbolicError(f"{self.name}: out: two of the buffers overlap, so they cannot hold two results")
            for i, a in enumerate(inputs):
                if overlap(a, buffer):
                    inputs[i] = a.copy()
        # A buffer inside a variable is filled last: until the end, the variable must have its old value.
        late = [self._variables.touches(buffer) for buffer in buffers]
        targets = [np.empty_like(b) if wait else b for b, wait in zip(buffers, late, strict=True)]
        held = self.guard.enter() if self.guard is not None else None
        try:
            self.executor.run(inputs, targets, extents)
            for buffer, target, wait in zip(buffers, targets, late, strict=True):
                if wait:
                    buffer[...] = target
        finally:
            if self.guard is not None:
                self.guard.leave(held)
        return out

    def bind(self, *args: Any, **named: Any) -> BoundFunction:
        """Bind arrays once: the result is called without arguments and reads what they hold at that moment.

        Arguments must be C-contiguous arrays of exact dtype and shape, apart from the function's variables; Python
        scalars are taken as constants. Raises SymbolicError, ShapeError or DTypeError otherwise.
        """
        if named or len(args) != self._count:
            args = tuple(arrange(self.signature, args, named))
        inputs = []
        for i, a in enumerate(args):
            array = admit(self.signature, i, a)
            head = f"{self.signature.argument(i)}: bind reads the array at every call, so"
            if isinstance(a, np.ndarray) and a.dtype != array.dtype:
                raise DTypeError(f"{head} it must be {array.dtype}, got {a.dtype}")
            in_place = isinstance(a, np.ndarray) and (a.size == 0 or np.may_share_memory(a, array))
            if not in_place and not isinstance(a, bool | int | float | np.generic):
                raise ShapeError(f"{head} it must be a C-contiguous, aligned NumPy array")
            if self._variables.touches(array):
                raise SymbolicError(f"{head} it must not lie in the memory of a variable of the function")
            inputs.append(array)
        binding = self._binder.bind(tuple([a.shape for a in inputs]))
        return bind(self, inputs, binding.outputs, binding.extents)

    @property
    def memory(self) -> int:
        """Workspace bytes of one running call (0 for an executor without a workspace)."""
        return int(getattr(self.executor, "workspace_bytes", 0))

    @property
    def profiling(self) -> bool:
        """Whether calls count time per kernel; setting it to True starts from zero."""
        return isinstance(self.executor, NativeExecutor) and self.executor.counters is not None

    @profiling.setter
    def profiling(self, on: bool) -> None:
        if isinstance(self.executor, NativeExecutor):
            self.executor.set_profiling(on)
        elif on:
            raise ExecutionError(f"{self.name} does not run compiled code, so there are no kernels to profile")

    def profile(self, *args: Any, repeat: int = 10, **named: Any) -> str:
        """Call `repeat` times with these arguments (variables are updated as ever) and return the table of kernels.

        Without arguments, for a function that has some: the table of what was counted since `profiling = True`.
        """
        if not isinstance(repeat, int) or repeat < 1:
            raise SymbolicError(f"{self.name}: repeat must be an int of at least 1, got {repeat!r}")
        if args or named or not self._count:
            before = self.profiling
            self.profiling = True
            try:
                for _ in range(repeat):
                    self(*args, **named)
                return self._table()
            finally:
                if not before:
                    self.profiling = False
        return self._table()

    def _table(self) -> str:
        counters = self.executor.counters if isinstance(self.executor, NativeExecutor) else None
        if counters is None:
            raise ExecutionError(f"{self.name}: nothing was counted; set profiling = True, or give profile() arguments")
        return counters.table()

    def dump(self, stage: str, **options: Any) -> str:
        """The text of one stage of the compilation, see the report that the compiler made."""
        return self._report().dump(stage, **options)

    def export(self, directory: Any, target: Any = None) -> Any:
        """Write the C source, its header, a `main.c` and a Makefile to a folder; returns their paths.

        `target` names the instruction set, by default the one given to `compile`, else one that most machines of this
        architecture have (never exactly this machine).
        """
        return self._report().export(directory, target)

    def __reduce__(self) -> Any:
        return self._report().reduce()

    def _report(self) -> Report:
        if self.report is None:
            raise ExecutionError(f"{self.name} was made without a report, so it cannot be dumped, exported or pickled")
        return self.report
