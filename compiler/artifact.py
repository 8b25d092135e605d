"""What crosses from the compiler to the runtime: plain data, no behaviour beyond (de)serialisation."""

from __future__ import annotations

from dataclasses import dataclass

ABI = 1

# The stages of a compilation that a report can show, first to last.
STAGES = ("graph", "adjoint", "optimized", "kernels", "memory", "c")

# The block that every generated header and the services carry: what a caller and a compiled function share.
ABI_HEADER = """\
#ifndef ADJOINT_ABI
#define ADJOINT_ABI 1
enum { ADJOINT_OK = 0, ADJOINT_CHECK = 1, ADJOINT_TAPE = 2, ADJOINT_ARGUMENT = 3 };
typedef struct adjoint_context adjoint_context;
typedef void (*adjoint_chunks)(const void *task, int64_t begin, int64_t end, int32_t worker);
struct adjoint_context {
  int32_t workers;  /* most workers that may run at once; 0 and 1 mean serial */
  int32_t status;   /* first failure of the call, ADJOINT_OK if none */
  int32_t site;     /* number of the failed check */
  int32_t reserved;
  int64_t value;    /* what the failed check saw, and the bound that it broke */
  int64_t bound;
  void (*parallel_for)(adjoint_context *, adjoint_chunks, const void *task, int64_t chunks); /* NULL: serial */
  void *pool;       /* belongs to parallel_for */
  int32_t (*grow)(adjoint_context *, uint64_t bytes); /* extends the tape; NULL: it has a fixed size */
  void *tape;
  uint64_t tape_bytes;
  uint64_t (*clock)(void); /* nanoseconds; NULL: no profile */
  uint64_t *counters;      /* per kernel: calls, nanoseconds */
};
#endif
"""


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that the cost model and the printer see. Nothing in it is measured at run time.

    `vector_bytes` is the register width, `registers` their number, cache sizes are bytes per core,
    `workers` the most chunks that run at once. `cflags` select the ISA for gcc and clang.
    """

    name: str
    isa_macro: str  # preprocessor condition under which the vector path may be used
    vector_bytes: int
    registers: int
    fma: bool
    l1: int
    l2: int
    workers: int
    cflags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Param:
    """One 64-bit slot of the argument table, in slot order: inputs, variables, outputs, extents."""

    name: str  # C field name
    role: str  # "input" | "variable" | "output" | "extent"
    dtype: str
    shape: tuple[int | str, ...]  # extents; a string is an expression over dimension names, valid in Python
    label: str  # what messages call it
    written: bool = False  # a variable that the call updates
    site: int = -1  # number in the report's site table


@dataclass(frozen=True, slots=True)
class DimSpec:
    """A run-time dimension: bound by the shapes of the inputs, checked against `min` and `max`."""

    name: str
    min: int
    max: int | None


@dataclass(frozen=True, slots=True)
class Unit:
    """One translation unit. Its text alone (with flags and compiler) decides its object file.

    `effort` is the compiler's optimisation level, 0, 1 or 2: long straight-line code gains nothing from the second,
    calls one after another gain nothing from either.
    """

    name: str
    text: str
    effort: int = 2


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """A row of the profile: which kernel call, what it came from, and what it costs."""

    name: str
    label: str
    sites: tuple[int, ...]
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class CheckInfo:
    """A data-dependent check: `number` is what the C reports."""

    number: int
    message: str  # e.g. 'take: index out of range along axis 0 of input "table"'
    site: int


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str
    abi: int
    target: Target
    header: str
    units: tuple[Unit, ...]
    params: tuple[Param, ...]
    dims: tuple[DimSpec, ...]
    kernels: tuple[KernelInfo, ...]
    checks: tuple[CheckInfo, ...]
    parallel: bool  # whether any kernel has more than one chunk
    workspace: int | None  # bytes, None when it depends on run-time dimensions
    functions: int = 0  # distinct C functions behind the kernels, those that only kernels call included
    small: bool = False  # whether every call ends so soon that nobody minds waiting for it
