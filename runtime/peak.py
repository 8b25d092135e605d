"""The arithmetic peak of this machine: fused multiply-adds in registers, and nothing else."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from adjoint.artifact import Target, Unit
from adjoint.runtime.binding import NativeLibrary
from adjoint.runtime.build import build_library
from adjoint.runtime.native import available_cpus
from adjoint.runtime.target import resolve_target

_CHAINS = 12  # independent sums: more than latency times units, few enough for 16 registers
_ROUNDS = 5
_SECONDS = 0.01  # that one round lasts at least

_TEXT = """#include <stdint.h>
typedef {element} lanes __attribute__((vector_size({bytes})));
void adjoint_peak(const void *task, int64_t begin, int64_t end, int32_t worker);
void adjoint_peak(const void *task, int64_t begin, int64_t end, int32_t worker)
{{
  const {element} *given = task;
  lanes factor, term;
  for (int l = 0; l < {lanes}; l++) factor[l] = given[0], term[l] = given[1];
  lanes {names};
  {start}
  for (int64_t i = begin; i < end; i++) {{
    {step}
    __asm__ volatile("" : {kept});
  }}
  lanes sum = {sum};
  volatile {element} sink = sum[worker & {mask}];
  (void)sink;
}}
"""


def _library(element: str, itemsize: int, target: Target) -> NativeLibrary:
    names = [f"s{k}" for k in range(_CHAINS)]
    lanes = target.vector_bytes // itemsize
    text = _TEXT.format(
        element=element, bytes=target.vector_bytes, lanes=lanes, mask=lanes - 1,
        names=", ".join(names), start=" ".join(f"{n} = term;" for n in names),
        step="\n    ".join(f"{n} = {n} * factor + term;" for n in names),
        kept=", ".join(f'"+x"({n})' for n in names) if "x86" in target.name else ", ".join(f'"+w"({n})' for n in names),
        sum=" + ".join(names),
    )
    # Here alone the C compiler may form FMAs: rounding has no say in how long they take.
    return NativeLibrary(build_library([Unit("peak", text)], target, extra=("-ffp-contract=fast",)).path)


def peak_flops(dtype: str = "float32", threads: int = 1, target: str | Target | None = None) -> float:
    """Floating-point operations per second (an FMA counts as two) that `threads` threads reach together.

    Measured in about 0.1 s, best of a few rounds, with the vector width of `target` (this machine's unless given).
    `threads` are limited to the CPUs that the process may use. Raises CompileError without a C compiler, ValueError for
    a dtype other than float32 and float64.
    """
    element = {"float32": "float", "float64": "double"}.get(str(np.dtype(dtype)))
    if element is None:
        raise ValueError(f"peak_flops: dtype must be float32 or float64, got {dtype!r}")
    chosen = resolve_target(target)
    itemsize = np.dtype(dtype).itemsize
    library = _library(element, itemsize, chosen)
    body = library.function("adjoint_peak", "adjoint_chunks")
    given = np.array([0.5, 1.0], dtype)
    task = library.ffi.cast("const void *", given.ctypes.data)
    flops = 2 * _CHAINS * (chosen.vector_bytes // itemsize)
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    threads = max(1, min(threads, available_cpus()))

    def seconds(count: int, workers: int, pool: ThreadPoolExecutor) -> float:
        barrier = Barrier(workers)

        def one(worker: int) -> tuple[float, float]:
            if cpus:
                os.sched_setaffinity(0, {cpus[worker]})  # of this thread alone: two on one core would tell nothing
            barrier.wait()
            begin = time.perf_counter()
            body(task, 0, count, worker)
            return begin, time.perf_counter()

        spans = list(pool.map(one, range(workers)))
        return max(end for _, end in spans) - min(begin for begin, _ in spans)

    with ThreadPoolExecutor(threads) as pool:
        count = 1000
        while seconds(count, 1, pool) < _SECONDS:
            count *= 2
        best = min(seconds(count, threads, pool) for _ in range(_ROUNDS))
    return flops * count * threads / best
