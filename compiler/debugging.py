"""What `ad.compile` can watch calls for: results that differ from the interpreter's, and NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .errors import ExecutionError
from .graph import sizes
from .graph.interp import evaluate
from .graph.node import Node, describe, toposort
from .graph.pretty import context
from .graph.program import Program
from .pipeline import Compilation
from .rewrite.rules import rewrite

Array = np.ndarray[Any, Any]
# What compiled code may differ by: roundings of the interpreter itself, and units in the last place of the largest
# element.
ROUNDINGS, UNITS = 64, 1024


class Executor(Protocol):
    def run(self, inputs: list[Array], outputs: list[Array], extents: list[int]) -> None: ...


class Report(Protocol):
    @property
    def compilation(self) -> Compilation: ...


class Watching:
    """An executor that looks at what another one does. A call that it objects to leaves variables as they were."""

    def __init__(
        self, inner: Executor, program: Program, dims: Sequence[sizes.Dim], report: Report, crosscheck: bool, nans: bool
    ) -> None:
        self.inner, self.program, self.dims, self.report = inner, program, dims, report
        self.crosscheck, self.nans = crosscheck, nans

    @property
    def workspace_bytes(self) -> int:
        return int(getattr(self.inner, "workspace_bytes", 0))

    def run(self, inputs: list[Array], outputs: list[Array], extents: list[int]) -> None:
        storages = {v: v["token"].storage.array for v in self.program.variables}
        leaves = {v: a.copy() for v, a in storages.items()}
        call = _Call(self.program, {**leaves, **dict(zip(self.program.inputs, inputs, strict=True))},
                     dict(zip(self.dims, extents, strict=True)))  # fmt: skip
        self.inner.run(inputs, outputs, extents)
        results = [*outputs, *(storages[v] for v, _ in self.program.updates)]
        try:
            if self.crosscheck:
                call.compare(results, self.report)
                self.crosscheck = False
            if self.nans:
                call.finite(results)
        except ExecutionError:
            for v, a in storages.items():
                a[...] = leaves[v]
            raise


class _Call:
    """The inputs of one call, and what the interpreter makes of them."""

    def __init__(self, program: Program, leaves: Mapping[Node, Array], dims: Mapping[sizes.Dim, int]) -> None:
        self.program, self.leaves, self.dims = program, leaves, dims

    def values(self, nodes: Sequence[Node], precision: str | None = None) -> list[Array]:
        return evaluate(nodes, self.leaves, self.dims, precision)

    def compare(self, results: Sequence[Array], report: Report) -> None:
        """Raises ExecutionError where compiled code and the interpreter differ by more than roundings explain."""
        roots = self.program.roots
        expected, exact = self.values(roots), self.values(roots, "float64")

        def first(found: Sequence[Array]) -> int | None:
            return next(
                (k for k, (a, e, x) in enumerate(zip(found, expected, exact, strict=True)) if _differs(a, e, x)), None
            )

        k = first(results)
        if k is None:
            return
        got, want = np.asarray(results[k]), expected[k]
        at = _worst(got, want)
        label = ", ".join(map(str, at))
        compilation = report.compilation
        if first(self.values(compilation.optimized.roots)) is None:
            culprit = "lowering and code generation: rewriting still agrees"
        else:
            culprit = "rewriting"
            for rule, count in compilation.firings.items():
                if count and rule != "loops":
                    without, _ = rewrite(self.program, disabled=[rule], fused=compilation.module.target.fma)
                    if first(self.values(without.roots)) is None:
                        culprit = f'rewriting: the rule "{rule}"'
                        break
        raise ExecutionError(
            f"{self.program.name}: crosscheck: {self._role(k)} differs from the interpreter's at [{label}]: "
            f"{got[at]!r} in place of {want[at]!r}; they differ after {culprit}\n{context(self.program, roots[k])}"
        )

    def _role(self, k: int) -> str:
        n = len(self.program.outputs)
        return f"output {k}" if k < n else f'the update of variable "{self.program.updates[k - n][0]["token"].name}"'

    def finite(self, results: Sequence[Array]) -> None:
        """Raises ExecutionError that names the first node whose value is NaN, or infinite if no result is NaN."""
        floats = [a for a in results if a.dtype.kind == "f"]
        if all(np.isfinite(a).all() for a in floats):
            return
        nan = any(np.isnan(a).any() for a in floats)
        order = [n for n in toposort(self.program.roots) if not isinstance(n.dtype, tuple)]
        for node, value in zip(order, self.values(order), strict=True):
            bad = np.isnan(value) if nan else np.isinf(value)
            if value.dtype.kind == "f" and bad.any() and node.op.name not in ("literal", "constant"):
                at = ", ".join(map(str, map(int, np.argwhere(bad)[0])))
                name = f' "{node["token"].name}"' if "token" in node.op.attrs else ""
                where = f" ({node.sites[0]})" if node.sites else ""
                raise ExecutionError(
                    f"{self.program.name}: debug_nans: {node.op.name}{name} {describe(node)}{where} is the first with "
                    f"{'NaN' if nan else 'infinity'}, at [{at}]\n{context(self.program, node)}"
                )
        raise ExecutionError(f"{self.program.name}: debug_nans: a result is not finite where the interpreter's are")


def _differs(got: Array, want: Array, exact: Array) -> bool:
    if want.dtype.kind != "f":
        return not np.array_equal(got, want)
    if not np.array_equal(np.isnan(got), np.isnan(want)):
        return True
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return True
    size = float(np.max(np.abs(want[finite]), initial=0))
    with np.errstate(all="ignore"):
        rounding = float(np.max(np.abs(want[finite] - exact[finite]), initial=0))
        allowed = ROUNDINGS * rounding + UNITS * float(np.finfo(want.dtype).eps) * size
        return not bool((np.abs(got[finite].astype(np.float64) - want[finite]) <= allowed).all())


def _worst(got: Array, want: Array) -> tuple[int, ...]:
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(np.float64) - want)
    error = np.where((got == want) | (np.isnan(got) & np.isnan(want)), -1, np.where(np.isnan(error), np.inf, error))
    return tuple(map(int, np.unravel_index(int(np.argmax(error)), error.shape)))
