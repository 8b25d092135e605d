"""Small artifacts written by hand: what the compiler would hand to the runtime."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adjoint.artifact import ABI, ABI_HEADER, Artifact, CheckInfo, DimSpec, KernelInfo, Param, Unit
from adjoint.runtime.binding import NativeLibrary
from adjoint.runtime.build import build_library
from adjoint.runtime.callable import CompiledFunction
from adjoint.runtime.locks import LockRegistry
from adjoint.runtime.memory import aligned_bytes
from adjoint.runtime.native import NativeExecutor
from adjoint.runtime.signature import Signature
from adjoint.runtime.target import resolve_target

HEAD = "#include <stdint.h>\n#include <stddef.h>\n" + ABI_HEADER

_ids = itertools.count(1)


class Storage:
    """A variable as the runtime sees one."""

    def __init__(self, value: Any, name: str = "v") -> None:
        source = np.asarray(value)
        self.id = next(_ids)
        self.name = name
        self.array = aligned_bytes(source.nbytes).view(source.dtype).reshape(source.shape)
        self.array[...] = source

    @property
    def value(self) -> np.ndarray[Any, Any]:
        return self.array

    @value.setter
    def value(self, new: np.ndarray[Any, Any]) -> None:
        self.array[...] = new


def param(name: str, role: str, dtype: str, shape: Sequence[int | str], written: bool = False) -> Param:
    return Param(name, role, dtype, tuple(shape), name, written)


def artifact(
    name: str,
    text: str,
    params: Sequence[Param],
    *,
    dims: Sequence[DimSpec] = (),
    kernels: Sequence[KernelInfo] = (),
    checks: Sequence[CheckInfo] = (),
    parallel: bool = False,
    small: bool = False,
    workspace: int | None = 64,
    target: Any = "native",
) -> Artifact:
    """An artifact with one unit; `text` defines the function, its workspace size comes from `workspace`."""
    size = "" if workspace is None else f"uint64_t {name}_workspace(const void *a) {{ (void)a; return {workspace}; }}\n"
    return Artifact(
        name,
        ABI,
        resolve_target(target),
        "",
        (Unit(name, HEAD + size + text),),
        tuple(params),
        tuple(dims),
        tuple(kernels),
        tuple(checks),
        parallel,
        workspace,
        small=small,
    )


def function(
    made: Artifact,
    structure: Any = 0,
    *,
    storages: Sequence[Storage] = (),
    threads: int | None = None,
    sites: Mapping[int, str] | None = None,
    report: Any = None,
    locks: LockRegistry | None = None,
) -> CompiledFunction:
    library = NativeLibrary(build_library(made.units, made.target).path)
    executor = NativeExecutor(made, library, storages, threads=threads, sites=sites)
    variables = [p for p in made.params if p.role == "variable"]
    written = frozenset(s.id for p, s in zip(variables, storages, strict=True) if p.written)
    return CompiledFunction(
        executor,
        Signature.of(made, structure),
        storages=storages,
        written=written,
        report=report,
        locks=locks or LockRegistry(),
    )


ADD_TEXT = """
typedef struct { const float *x; const float *y; float *z; int64_t n; } add_args;
int32_t add(const add_args *a, void *w, adjoint_context *c) {
  (void)w; (void)c;
  for (int64_t i = 0; i < a->n; i++) a->z[i] = a->x[i] + a->y[i];
  return ADJOINT_OK;
}
"""


def add_function(minimum: int = 1, maximum: int | None = None) -> CompiledFunction:
    """z = x + y over float32[n]."""
    params = [
        param("x", "input", "float32", ["n"]),
        param("y", "input", "float32", ["n"]),
        param("z", "output", "float32", ["n"]),
        param("n", "extent", "int64", ()),
    ]
    return function(artifact("add", ADD_TEXT, params, dims=[DimSpec("n", minimum, maximum)]))


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


def zeros(dtype: str, *shape: int) -> np.ndarray:
    return np.zeros(shape, dtype)
