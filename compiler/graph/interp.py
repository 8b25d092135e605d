"""The reference interpreter: evaluates the graph as the user built it, one NumPy call per node."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import sizes
from .dtypes import is_float
from .node import Node, toposort
from .sizes import Dim, Extent

Array = np.ndarray[Any, Any]


class _Current(threading.local):
    dims: Mapping[Dim, int] = {}


_current = _Current()


def current_extent(extent: Extent) -> int:
    return sizes.evaluate(extent, _current.dims)


def extents(values: Sequence[Extent]) -> tuple[int, ...]:
    """The numbers that extents stand for in the evaluation under way."""
    return tuple(current_extent(v) for v in values)


def evaluate(
    outputs: Sequence[Node],
    leaves: Mapping[Node, Array],
    dims: Mapping[Dim, int] | None = None,
    precision: str | None = None,
) -> list[Array]:
    """Values of `outputs`, given arrays for inputs, variables and parameters.

    `precision="float64"` computes every float32 value in float64, for tolerances. Raises ExecutionError where a
    data-dependent check fails.
    """
    before, _current.dims = _current.dims, dims if dims is not None else {}
    try:
        return _evaluate(outputs, leaves, precision)
    finally:
        _current.dims = before


def _evaluate(outputs: Sequence[Node], leaves: Mapping[Node, Array], precision: str | None) -> list[Array]:
    order = toposort(outputs)
    uses: dict[Node, int] = {}
    for node in order:
        for operand in node.inputs:
            uses[operand] = uses.get(operand, 0) + 1
    for node in outputs:
        uses[node] = uses.get(node, 0) + 1
    values: dict[Node, Any] = {}
    for node in order:
        if node in leaves:
            wanted = precision if precision is not None and is_float(node.dtype) else node.dtype
            value: Any = np.asarray(leaves[node], wanted)
        else:
            evaluate_node = node.op.evaluate
            assert evaluate_node is not None, f"no value for {node!r}"
            arrays = [values[i] for i in node.inputs]
            shape = extents(node.shape) if node.op.name != "scan" else None
            with np.errstate(all="ignore"):
                value = evaluate_node(node, arrays, shape)
            if isinstance(value, tuple):
                value = tuple(_widen(v, precision) for v in value)
            else:
                value = _widen(np.asarray(value), precision)
        values[node] = value
        for operand in node.inputs:
            uses[operand] -= 1
            if uses[operand] == 0:
                values[operand] = None
    return [values[node] for node in outputs]


def _widen(value: Array, precision: str | None) -> Array:
    if precision is not None and is_float(value.dtype):
        return value.astype(precision)
    return value


def run_scan(node: Node, arrays: list[Any]) -> tuple[Any, ...]:
    body, n_carry, n_xs = node["body"], node["n_carry"], node["n_xs"]
    length = current_extent(node["length"])
    carry = list(arrays[:n_carry])
    closed = arrays[n_carry + n_xs :]
    precision = "float64" if any(a.dtype == np.float64 for a in arrays) and all(
        p.dtype != np.float64 for p in body.params
    ) else None
    stacked: list[list[Any]] = [[] for _ in body.outputs[n_carry:]]
    steps = range(length - 1, -1, -1) if node["reverse"] else range(length)
    for t in steps:
        xs = [a[t] for a in arrays[n_carry : n_carry + n_xs]]
        values = _evaluate(body.outputs, dict(zip(body.params, [*carry, *xs, *closed], strict=True)), precision)
        carry = values[:n_carry]
        for rows, value in zip(stacked, values[n_carry:], strict=True):
            rows.append(value)
    if node["reverse"]:
        stacked = [rows[::-1] for rows in stacked]
    ys = [
        np.stack(rows) if rows else np.zeros((0, *extents(o.shape)), o.dtype)
        for rows, o in zip(stacked, body.outputs[n_carry:], strict=True)
    ]
    return (*carry, *ys)
