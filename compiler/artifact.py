"""What crosses from the compiler to the runtime: plain data, no behaviour beyond (de)serialisation."""

from __future__ import annotations

from dataclasses import dataclass

ABI = 1


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
    """One translation unit. Its text alone (with flags and compiler) decides its object file."""

    name: str
    text: str


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
