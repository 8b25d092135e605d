"""Operations along an axis whose elements depend on one another: orders, searches and recurrences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from . import build as b
from . import dtypes
from .node import Cotangent, Node, Op, describe, operand_lines, register


def _along(name: str, x: Node, axis: int) -> None:
    if not 0 <= axis < len(x.shape):
        raise ShapeError(f"{name}: axis {axis} is not an axis of {describe(x)}" + operand_lines("x", (x,)))


def _positions_infer(name: str) -> Any:
    def infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
        (x,), (axis,) = inputs, attrs
        _along(name, x, axis)
        if x.dtype == dtypes.BOOL:
            raise DTypeError(f"{name}: not defined for bool" + operand_lines("x", inputs))
        return x.shape, dtypes.INT64

    return infer


# Where the elements of an axis stand in ascending order, NaN last; equal ones keep their order.
register(
    Op(
        "argsort",
        "sequence",
        1,
        _positions_infer("argsort"),
        attrs=("axis",),
        evaluate=lambda node, arrays, shape: np.argsort(arrays[0], axis=node["axis"], kind="stable").astype(np.int64),
        vjp=lambda node, g: (None,),
        cost=32,
    )
)


def _running_argmax_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    x = np.moveaxis(arrays[0], node["axis"], 0)
    found = np.zeros(x.shape, np.int64)
    best = x[:1].copy()
    for i in range(1, len(x)):
        better = ((x[i] > best[0]) | np.isnan(x[i])) & ~np.isnan(best[0])
        found[i] = np.where(better, i, found[i - 1])
        best[0] = np.where(better, x[i], best[0])
    return np.moveaxis(found, 0, node["axis"])


# For every element of an axis where the first NaN, else the first maximum, of those up to it stands.
register(
    Op(
        "running_argmax",
        "sequence",
        1,
        _positions_infer("running_argmax"),
        attrs=("axis",),
        evaluate=_running_argmax_evaluate,
        vjp=lambda node, g: (None,),
        cost=4,
    )
)


def _search_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    x, values = inputs
    if len(x.shape) != 1:
        raise ShapeError("searchsorted: what is searched must have one axis" + operand_lines("xv", inputs))
    if x.dtype != values.dtype or x.dtype == dtypes.BOOL:
        raise DTypeError("searchsorted: two numeric arrays of one dtype are needed" + operand_lines("xv", inputs))
    return values.shape, dtypes.INT64


# How many elements of the ascending first operand, NaN last, come before each value; with `right`, equal ones too.
register(
    Op(
        "searchsorted",
        "sequence",
        2,
        _search_infer,
        attrs=("right",),
        evaluate=lambda node, arrays, shape: np.asarray(
            np.searchsorted(arrays[0], arrays[1], side="right" if node["right"] else "left"), np.int64
        ),
        vjp=lambda node, g: (None, None),
        cost=32,
    )
)


def _recurrence_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (a, x), (_, axis, _) = inputs, attrs
    _along("recurrence", x, axis)
    if a.shape != x.shape:
        raise ShapeError("recurrence: operands of one shape are needed" + operand_lines("ax", inputs))
    if a.dtype != x.dtype or x.dtype == dtypes.BOOL:
        raise DTypeError("recurrence: operands of one numeric dtype are needed" + operand_lines("ax", inputs))
    return x.shape, x.dtype


def _recurrence_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    a, x = (np.moveaxis(operand, node["axis"], 0) for operand in arrays)
    result = np.empty(x.shape, x.dtype)
    value: Any = np.full(x.shape[1:], node["start"], x.dtype)
    for i in range(len(x) - 1, -1, -1) if node["reverse"] else range(len(x)):
        value = result[i] = a[i] * value + x[i]
    return np.moveaxis(result, 0, node["axis"])


def recurrence(a: Node, x: Node, start: float, axis: int, reverse: bool = False) -> Node:
    kind = float if dtypes.is_float(x.dtype) else int
    return b.make("recurrence", (a, x), kind(start), axis, reverse)


def running_sum(x: Node, axis: int, reverse: bool = False) -> Node:
    return recurrence(b.full(1, x.shape, x.dtype), x, -0.0, axis, reverse)


def running_product(x: Node, axis: int, reverse: bool = False) -> Node:
    """−0 is what is added: nothing, not even a sign."""
    return recurrence(x, b.full(-0.0, x.shape, x.dtype), 1, axis, reverse)


def delayed(x: Node, axis: int, start: float, reverse: bool = False) -> Node:
    """The elements of an axis one place further (back in reverse), `start` in front of them, the last one left out."""
    low = [(-1 if reverse else 1) if k == axis else 0 for k in range(len(x.shape))]
    return b.pad(x, low, [-n for n in low], value=start)


def _recurrence_vjp(node: Node, g: Node) -> Sequence[Cotangent]:
    """The adjoint is the recurrence in the other direction, whose factors are those of the element before."""
    (a, _), (start, axis, reverse) = node.inputs, node.attrs
    factors = a if b.constant_value(a) is not None else delayed(a, axis, 0, not reverse)
    back = recurrence(factors, g, -0.0, axis, not reverse)
    return lambda: b.mul(back, delayed(node, axis, start, reverse)), back


# r[i] = a[i] · r[i-1] + x[i] along an axis, rounded after each operation, with the number `start` before the first
# element; with `reverse` from the last element to the first.
register(
    Op(
        "recurrence",
        "sequence",
        2,
        _recurrence_infer,
        attrs=("start", "axis", "reverse"),
        evaluate=_recurrence_evaluate,
        vjp=_recurrence_vjp,
    )
)
