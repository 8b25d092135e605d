"""What this machine can do: multiply-adds a second, and bytes a second from every level of its memory.

Three loops, generated for the target and built as every other code, are timed here. Nothing that is measured reaches
the compiler, whose cost model reads the `Target` record alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from adjoint.artifact import Target, Unit
from adjoint.runtime.binding import NativeLibrary
from adjoint.runtime.build import build_library
from adjoint.runtime.memory import Array, aligned_bytes
from adjoint.runtime.native import available_cpus
from adjoint.runtime.target import native_target, resolve_target

_ELEMENTS = {"float32": "float", "float64": "double"}
KINDS = ("read", "write")
LEVELS = ("L2", "L3", "memory")
_SECONDS = 0.01  # that one sample lasts at least
_SAMPLES = 7
_MEMORY = 256 << 20  # bytes that no core's own cache holds

_UNIT = """\
#include <stdint.h>

typedef {real} lanes __attribute__((vector_size({width})));

int32_t adjoint_peak_fma(const void *args, void *workspace, void *context)
{{
  const int64_t repeat = ((const int64_t *)args)[0];
  lanes *const memory = workspace;
  const lanes x = memory[0], y = memory[1];
  lanes {starts};
  (void)context;
  for (int64_t k = 0; k < repeat; k++) {{
{fmas}
  }}
  memory[0] = {sum};
  return 0;
}}

int32_t adjoint_peak_read(const void *args, void *workspace, void *context)
{{
  const int64_t repeat = ((const int64_t *)args)[0], count = ((const int64_t *)args)[1];
  lanes *const memory = workspace;
  lanes a0 = memory[0], a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
  (void)context;
  for (int64_t k = 0; k < repeat; k++)
    for (int64_t i = 0; i < count; i += 8) {{
      a0 += memory[i]; a1 += memory[i + 1]; a2 += memory[i + 2]; a3 += memory[i + 3];
      a4 += memory[i + 4]; a5 += memory[i + 5]; a6 += memory[i + 6]; a7 += memory[i + 7];
    }}
  memory[0] = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7;
  return 0;
}}

int32_t adjoint_peak_write(const void *args, void *workspace, void *context)
{{
  const int64_t repeat = ((const int64_t *)args)[0], count = ((const int64_t *)args)[1];
  lanes *const memory = workspace;
  lanes value = memory[0];
  (void)context;
  for (int64_t k = 0; k < repeat; k++) {{
    value += value;
    for (int64_t i = 0; i < count; i += 4)
      memory[i] = value, memory[i + 1] = value, memory[i + 2] = value, memory[i + 3] = value;
  }}
  return 0;
}}
"""


@cache
def peak_flops(dtype: str = "float32", threads: int = 1, target: str | Target | None = None) -> float:
    """Operations a second of multiply-adds (two each) in registers, by `threads` at once, each on a CPU of its own.

    With the vectors of `target`, this machine's unless given; `threads` are limited to the CPUs that the process may
    use. Measured once a process. Raises CompileError when there is no C compiler, ValueError for a dtype other than
    float32 and float64.
    """
    dtype = str(np.dtype(dtype))
    if dtype not in _ELEMENTS:
        raise ValueError(f"peak_flops: dtype must be float32 or float64, got {dtype!r}")
    chosen = resolve_target(target)
    work = 2 * _accumulators(chosen) * (chosen.vector_bytes // np.dtype(dtype).itemsize)
    return work * _rate("fma", dtype, chosen, [_memory(4096) for _ in range(_at_once(threads))])


@cache
def bandwidth(kind: str = "read", level: str = "memory", threads: int = 1) -> float:
    """Bytes a second that `threads` together read or write, as plain vector loads and stores, in a level of memory.

    `kind` is "read" or "write", `level` "L2" (half of each core's own), "L3" (four times what that cache holds) or
    "memory" (256 MiB together; where the last cache is larger, that cache is measured). Measured once a process. Raises
    CompileError when there is no C compiler.
    """
    if kind not in KINDS or level not in LEVELS:
        raise ValueError(f"bandwidth: the kinds are {', '.join(KINDS)}, the levels {', '.join(LEVELS)}")
    threads = _at_once(threads)
    size = working_set(level, threads)
    return size * _rate(kind, "float32", native_target(), [_memory(size) for _ in range(threads)])


def working_set(level: str, threads: int = 1) -> int:
    """Bytes that each thread goes through to measure a level, a multiple of 4096."""
    l2 = native_target().l2
    size = {"L2": l2 // 2, "L3": 4 * l2, "memory": _MEMORY // threads}[level]
    return size // 4096 * 4096


def _at_once(threads: int) -> int:
    return max(1, min(threads, available_cpus()))


def _memory(size: int) -> Array:
    array = aligned_bytes(size)
    array[...] = 0  # every page is there before the clock starts
    return array


def _rate(kind: str, dtype: str, target: Target, buffers: list[Array]) -> float:
    """Passes a second over the buffers by as many threads, the sum; the best of several samples."""
    library = _library(dtype, target)
    function = library.function(f"adjoint_peak_{kind}", "adjoint_entry")
    ffi, vector = library.ffi, target.vector_bytes

    def passes(count: int, buffer: Array) -> None:
        table = ffi.new("int64_t[2]", [count, buffer.nbytes // vector])
        function(table, ffi.cast("void *", buffer.ctypes.data), ffi.NULL)

    repeat = 1
    while True:
        begin = time.perf_counter()
        passes(repeat, buffers[0])
        if time.perf_counter() - begin > _SECONDS:
            break
        repeat *= 2
    return max(_sample(lambda buffer: passes(repeat, buffer), buffers, repeat) for _ in range(_SAMPLES))


def _sample(run: Callable[[Array], None], buffers: list[Array], repeat: int) -> float:
    """Passes a second of all threads together, from when the first of them starts until the last is done."""
    if len(buffers) == 1:
        begin = time.perf_counter()
        run(buffers[0])
        return repeat / (time.perf_counter() - begin)
    ready = threading.Barrier(len(buffers))
    times: list[tuple[float, float]] = []

    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []

    def one(number: int, buffer: Array) -> None:
        if cpus:
            os.sched_setaffinity(0, {cpus[number]})  # of this thread alone: two on one CPU would tell nothing
        ready.wait()
        begin = time.perf_counter()
        run(buffer)  # without the interpreter's lock
        times.append((begin, time.perf_counter()))

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(buffers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return repeat * len(buffers) / (max(end for _, end in times) - min(begin for begin, _ in times))


def _accumulators(target: Target) -> int:
    """Enough independent sums to hide the latency of an FMA, and few enough to stay in registers."""
    return 24 if target.registers >= 32 else 12


@cache
def _library(dtype: str, target: Target) -> NativeLibrary:
    names = [f"a{k}" for k in range(_accumulators(target))]
    text = _UNIT.format(
        real=_ELEMENTS[dtype],
        width=target.vector_bytes,
        starts=", ".join(f"{a} = memory[{k + 2}]" for k, a in enumerate(names)),
        fmas="\n".join(f"    {a} = {a} * x + y;" for a in names),
        sum=" + ".join(names),
    )
    # What is asked here is what the machine can do, so the compiler may form FMAs.
    path: Path = build_library((Unit("peak", text),), target, extra=("-ffp-contract=fast",)).path
    return NativeLibrary(path)
