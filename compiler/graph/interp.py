"""The reference interpreter: evaluates the graph as the user built it, one NumPy call per node."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import sizes
from .control import Body, in_order
from .dtypes import is_float
from .node import Node
from .sizes import Dim, Extent

Array = np.ndarray[Any, Any]


class _Current(threading.local):
    dims: dict[Dim, int] = {}  # noqa: RUF012


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

    `precision="float64"` computes every float32 value in float64, for tolerances; "complex128" is for analytic
    functions, where operations have a complex evaluation. Raises ExecutionError where a
    data-dependent check fails.
    """
    # A copy: loops bind extents of their own.
    before, _current.dims = _current.dims, dict(dims or {})
    try:
        return _evaluate(outputs, leaves, precision)
    finally:
        _current.dims = before


def _evaluate(outputs: Sequence[Node], leaves: Mapping[Node, Array], precision: str | None) -> list[Array]:
    order = in_order(outputs)
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
            shape = extents(node.shape) if node.op.kind != "control" else None
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


def _precision(node: Node, arrays: Sequence[Any]) -> str | None:
    """Whether an evaluation in double precision is under way in what is a loop of single precision."""
    wide = any(a.dtype == np.float64 for a in arrays)
    return "float64" if wide and all(i.dtype != np.float64 for i in node.inputs) else None


def _run(body: Body, values: Sequence[Any], precision: str | None) -> list[Any]:
    return _evaluate(body.outputs, dict(zip(body.params, values, strict=True)), precision)


def _stacked(rows: Sequence[Sequence[Any]], outputs: Sequence[Node]) -> list[Any]:
    return [
        np.stack(values) if values else np.zeros((0, *extents(o.shape)), o.dtype)
        for values, o in zip(rows, outputs, strict=True)
    ]


def run_scan(node: Node, arrays: list[Any]) -> tuple[Any, ...]:
    body, n_carry, n_xs = node["body"], node["n_carry"], node["n_xs"]
    length, precision = current_extent(node["length"]), _precision(node, arrays)
    carry, closed = list(arrays[:n_carry]), arrays[n_carry + n_xs :]
    rows: list[list[Any]] = [[] for _ in body.outputs[n_carry:]]
    steps = range(length - 1, -1, -1) if node["reverse"] else range(length)
    for t in steps:
        xs = [a[t] for a in arrays[n_carry : n_carry + n_xs]]
        values = _run(body, [*carry, *xs, *closed], precision)
        carry = values[:n_carry]
        for row, value in zip(rows, values[n_carry:], strict=True):
            row.append(value)
    if node["reverse"]:
        rows = [row[::-1] for row in rows]
    return (*carry, *_stacked(rows, body.outputs[n_carry:]))


def run_while(node: Node, arrays: list[Any]) -> tuple[Any, ...]:
    test, body, n_carry, trips, limit = node.attrs
    precision = _precision(node, arrays)
    carry, closed = list(arrays[:n_carry]), arrays[n_carry:]
    rows: list[list[Any]] = [[] for _ in body.outputs[n_carry:]]
    count = 0
    while (limit is None or count < limit) and _run(test, [*carry, *closed], precision)[0]:
        values = _run(body, [*carry, *closed], precision)
        carry = values[:n_carry]
        for row, value in zip(rows, values[n_carry:], strict=True):
            row.append(value)
        count += 1
    if trips is not None:
        _current.dims[trips] = count
    return (*carry, *_stacked(rows, body.outputs[n_carry:]))


def run_cond(node: Node, arrays: list[Any]) -> tuple[Any, ...]:
    return tuple(_run(node["then"] if arrays[0] else node["otherwise"], arrays[1:], _precision(node, arrays)))


def run_call(node: Node, arrays: list[Any]) -> tuple[Any, ...]:
    return tuple(_run(node["body"], arrays, _precision(node, arrays)))
