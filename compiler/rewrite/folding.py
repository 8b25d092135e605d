"""Folding of constants, by the interpreter, where its result is the C's to the bit. Exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import build as b
from ..graph import sizes
from ..graph.node import Literal, Node, make
from ..graph.table import OPS
from .engine import Rule, Uses

_LARGEST = 1024
# Operations that IEEE arithmetic or integer semantics decide to the last bit; no exp, tanh and the like.
_ELEMENTWISE = (
    *("add", "subtract", "multiply", "divide", "negative", "abs", "sqrt", "relu", "floor_divide", "remainder"),
    *("less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "where", "cast"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift", "bitwise_right_shift"),
    "philox",
)
_STRUCTURAL = ("reshape", "permute", "slice", "pad", "concat")


def _array(node: Node) -> np.ndarray[Any, Any] | None:
    """The value of a constant; of one number for literals under views, whatever their shape."""
    if node.op.name == "constant":
        array: np.ndarray[Any, Any] = node["data"].array
        return array
    value = b.constant_value(node)
    return None if value is None else np.asarray(value, node.dtype)


def _is_small(node: Node) -> bool:
    size = sizes.product(node.shape)
    return isinstance(size, int) and size <= _LARGEST


def as_node(array: np.ndarray[Any, Any]) -> Node:
    """A literal, a broadcast literal when all elements have the same bits, else a constant."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size and len({element.tobytes() for element in flat}) == 1:
        return b.full(flat[0].item(), array.shape, array.dtype)
    return make("constant", (), Literal(array))


def _evaluate(node: Node, arrays: list[Any], shape: Any) -> np.ndarray[Any, Any]:
    assert node.op.evaluate is not None
    with np.errstate(all="ignore"):
        return np.asarray(node.op.evaluate(node, arrays, shape), node.dtype)


def _fold_numbers(node: Node, uses: Uses) -> Node | None:
    """f(2, 3): all operands are one number everywhere."""
    arrays = []
    for operand in node.inputs:
        value = b.constant_value(operand)
        if value is None:
            return None
        arrays.append(np.asarray(value, operand.dtype))
    return b.full(_evaluate(node, arrays, ()).item(), node.shape, node.dtype)


def _empty(node: Node, uses: Uses) -> Node | None:
    """What has no elements, and what sums, multiplies or searches none, is computed from nothing."""
    combined = node.op.name in ("sum", "prod", "searchsorted") or node.op.kind in ("contraction", "scatter")
    nothing = combined and (
        0 in node["extents"] if node.op.kind == "contraction" else any(0 in i.shape for i in node.inputs)
    )
    if (nothing or 0 in node.shape) and b.constant_value(node) is None:
        return b.full(1 if node.op.name == "prod" else 0, node.shape, node.dtype)
    return None


def _fold_arrays(node: Node, uses: Uses) -> Node | None:
    """Operands are constants, at least one of them a small array."""
    if not any(i.op.name == "constant" for i in node.inputs) or not _is_small(node):
        return None
    arrays = []
    for operand in node.inputs:
        array = _array(operand)
        if array is None or not _is_small(operand):
            return None
        arrays.append(np.broadcast_to(array, operand.shape))  # type: ignore[arg-type]
    return as_node(_evaluate(node, arrays, node.shape))


def _uniform(node: Node, uses: Uses) -> Node | None:
    """A constant array of one repeated number."""
    array = node["data"].array
    if array.size > _LARGEST and array.reshape(-1)[:2].tobytes() != array.reshape(-1)[1:3].tobytes():
        return None
    made = as_node(array)
    return made if made.op.name != "constant" else None


RULES = (
    Rule("empty", "exact", tuple(n for n, op in OPS.items() if op.kind not in ("leaf", "control")), _empty),
    Rule("constant-number", "exact", ("constant",), _uniform),
    Rule("fold-numbers", "exact", _ELEMENTWISE, _fold_numbers),
    Rule("fold-arrays", "exact", (*_ELEMENTWISE, *_STRUCTURAL), _fold_arrays),
)
