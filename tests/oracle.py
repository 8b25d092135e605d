"""Compiled programs against the interpreter of the unoptimised graph.

Tolerances are not chosen: the graph is evaluated again with every rounding disturbed by a few units in the last place,
and what the disturbance moves a result by is what compiled code, which rounds elsewhere, may move it by. Integers,
bools, NaN and infinities must agree wherever no disturbance changes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adjoint.api import _build
from adjoint.graph import interp
from adjoint.graph.node import Node, toposort
from adjoint.graph.program import Program
from adjoint.lower.options import Options
from adjoint.runtime.callable import CompiledFunction

Array = np.ndarray[Any, Any]

SAMPLES = 8
# Results of these are exact for exact operands: they choose, move or negate.
_EXACT = frozenset((
    "negative", "abs", "relu", "maximum", "minimum", "clip", "where", "max", "argmax", "cast", "check_index", "take",
    "reshape", "permute", "broadcast", "slice", "pad", "concat", "stop_gradient", "iota", "literal", "constant", "copy",
    "item", "less", "less_equal", "equal", "not_equal", "argsort", "running_argmax", "searchsorted", "scatter_max",
    "floor", "ceil", "trunc", "round",
))  # fmt: skip
_SUMS = ("reduction", "contraction", "scatter", "sequence", "control")


def build(
    program: Program, *, target: Any = None, options: Options | None = None, threads: int | None = 1
) -> CompiledFunction:
    """A program as `ad.compile` would build it; calls return the list of its outputs."""
    return _build(program, list(range(len(program.outputs))), threads, target, "c", options)


def run(program: Program, values: Mapping[Node, Array], **how: Any) -> list[Array]:
    """Outputs, then new values of updated variables, by compiled code. Variables have their old values afterwards."""
    function = build(program, **how)
    storages = {v: v["token"].storage for v in program.variables}
    for v, storage in storages.items():
        storage.array[...] = values[v]
    outputs = function(*[values[i] for i in program.inputs])
    results = [np.asarray(o) for o in outputs] + [storages[v].array.copy() for v, _ in program.updates]
    for v, storage in storages.items():
        storage.array[...] = values[v]
    return results


def disturbed(roots: Sequence[Node], values: Mapping[Node, Array], dims: Any, rng: np.random.Generator) -> list[Array]:
    """The interpreter's values with every rounding moved by up to two units, either way."""

    def jitter(x: Any) -> Any:
        if x.dtype.kind != "f":
            return x
        with np.errstate(all="ignore"):
            return (x * (1 + 4 * np.finfo(x.dtype).eps * rng.choice([-1.0, 1.0], x.shape))).astype(x.dtype)

    before, interp._current.dims = interp._current.dims, dims or {}
    try:
        found: dict[Node, Any] = {}
        for node in toposort(roots):
            if node in values:
                found[node] = np.asarray(values[node], node.dtype)
                continue
            operands = [found[i] for i in node.inputs]
            if node.op.kind in _SUMS and node.op.name not in _EXACT:
                operands = [jitter(o) for o in operands]
            shape = interp.extents(node.shape) if node.op.kind != "control" else None
            with np.errstate(all="ignore"):
                value = node.op.evaluate(node, operands, shape)  # type: ignore[misc]
            if node.op.name not in _EXACT:
                value = tuple(map(jitter, value)) if isinstance(value, tuple) else jitter(np.asarray(value))
            found[node] = value if isinstance(value, tuple) else np.asarray(value)
        return [found[r] for r in roots]
    finally:
        interp._current.dims = before


def check(program: Program, values: Mapping[Node, Array], dims: Any = None, **how: Any) -> list[Array]:
    """Compiles and runs a program and compares every root with the interpreter; returns what was computed."""
    expected = interp.evaluate(program.roots, values, dims)
    results = run(program, values, **how)
    compare(program, values, dims, expected, results)
    return results


def compare(program: Program, values: Any, dims: Any, expected: Sequence[Array], results: Sequence[Array]) -> None:
    rng = np.random.default_rng(0)
    samples = [disturbed(program.roots, values, dims, rng) for _ in range(SAMPLES)]
    samples.append([a.astype(e.dtype) for a, e in zip(
        interp.evaluate(program.roots, values, dims, "float64"), expected, strict=True)])
    for k, (want, got) in enumerate(zip(expected, results, strict=True)):
        others = [s[k] for s in samples]
        what = f"root {k}: {program.roots[k]!r}"
        assert got.dtype == want.dtype and got.shape == want.shape, (what, got.dtype, got.shape, want.dtype, want.shape)
        if want.dtype.kind != "f":
            steady = np.logical_and.reduce([np.asarray(o == want) for o in others])
            np.testing.assert_array_equal(got[steady], want[steady], err_msg=what)
            continue
        steady = np.logical_and.reduce(
            [np.asarray((np.isfinite(o) == np.isfinite(want)) & (np.isnan(o) == np.isnan(want))) for o in others]
        )
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[steady & ~finite], want[steady & ~finite], err_msg=what)
        at = steady & finite
        with np.errstate(all="ignore"):
            spread = np.maximum.reduce([np.abs(o.astype(np.float64) - want) for o in others])
            info = np.finfo(want.dtype)
            allowed = 4 * spread + 4 * info.eps * np.abs(want.astype(np.float64)) + 4 * float(info.smallest_subnormal)
            error = np.abs(got.astype(np.float64) - want)
        bad = at & ~(error <= allowed)
        if bad.any():
            first = tuple(np.argwhere(bad)[0])
            raise AssertionError(
                f"{what}: {int(bad.sum())} of {got.size} elements differ, first at {first}: got {got[first]!r}, "
                f"want {want[first]!r} ± {allowed[first]:.3g}"
            )
