"""Leaves: arguments, state and constants. Those that carry a token are never merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .node import Node, Op, register


def _declared(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    return attrs[-2], attrs[-1]


register(Op("input", "leaf", 0, _declared, attrs=("token", "shape", "dtype")))
register(Op("variable", "leaf", 0, _declared, attrs=("token", "shape", "dtype")))
# A parameter of a loop body: (nesting depth, position, loop name) instead of a token, so that equal bodies are one.
register(Op("param", "leaf", 0, _declared, attrs=("depth", "position", "shape", "dtype")))
register(
    Op(
        "literal",
        "leaf",
        0,
        lambda inputs, attrs: ((), attrs[1]),
        attrs=("value", "dtype"),
        evaluate=lambda node, arrays, shape: np.asarray(node["value"], node.dtype),
    )
)
register(
    Op(
        "constant",
        "leaf",
        0,
        lambda inputs, attrs: (attrs[0].array.shape, dtypes.as_dtype(attrs[0].array.dtype)),
        attrs=("data",),
        evaluate=lambda node, arrays, shape: node["data"].array,
    )
)


def _extent(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    from .interp import current_extent

    return np.asarray(current_extent(node["extent"]), dtypes.INT64)


# A run-time extent as a number.
register(
    Op("extent", "leaf", 0, lambda inputs, attrs: ((), dtypes.INT64), attrs=("extent",), evaluate=_extent)
)


def _iota(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    axis = node["axis"]
    ramp = np.arange(shape[axis], dtype=node.dtype).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return np.broadcast_to(ramp, shape)


register(
    Op("iota", "leaf", 0, lambda inputs, attrs: (attrs[0], attrs[2]), attrs=("shape", "axis", "dtype"), evaluate=_iota)
)
