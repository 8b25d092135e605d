"""A tiny node builder: what derivative rules and rewrites are written in.

Operands of elementwise functions have equal shapes and dtypes, except that a Python number stands for a constant of
the other operand's shape and dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes, sizes
from .dtypes import DType
from .node import Node
from .node import make as make
from .sizes import Extent, Shape

Operand = Node | float | int | bool


def literal(value: float | int | bool, dtype: DType) -> Node:
    """A 0-d constant; the value is rounded to the dtype, integers wrap."""
    kind = {"f": float, "b": bool}.get(dtype.kind, int)
    with np.errstate(over="ignore"):
        rounded = np.asarray(value).astype(dtype)
    return make("literal", (), kind(rounded), dtype)


def full(value: float | int | bool, shape: Shape, dtype: DType) -> Node:
    return broadcast(literal(value, dtype), shape, ())


def zeros_like(x: Node) -> Node:
    return full(0, x.shape, x.dtype)


def constant_value(x: Node) -> float | int | bool | None:
    """The number that every element of a node has, when it is a literal under broadcasts and reshapes."""
    while x.op.name in ("broadcast", "reshape"):
        x = x.inputs[0]
    return x["value"] if x.op.name == "literal" else None


def broadcast(x: Node, shape: Shape, axes: Sequence[int]) -> Node:
    """Axis k of `x` becomes axis `axes[k]` of the result; extents of 1 are stretched."""
    if x.shape == shape and tuple(axes) == tuple(range(len(shape))):
        return x
    return make("broadcast", (x,), shape, tuple(axes))


def reshape(x: Node, shape: Shape) -> Node:
    return x if x.shape == shape else make("reshape", (x,), shape)


def permute(x: Node, axes: Sequence[int]) -> Node:
    return x if tuple(axes) == tuple(range(len(axes))) else make("permute", (x,), tuple(axes))


def cast(x: Node, dtype: DType) -> Node:
    return x if x.dtype == dtype else make("cast", (x,), dtype)


def sum(x: Node, axes: Sequence[int]) -> Node:
    return make("sum", (x,), tuple(axes)) if axes else x


def extent(n: Extent) -> Node:
    """An extent as a 0-d int64."""
    return literal(n, dtypes.INT64) if isinstance(n, int) else make("extent", (), n)


def iota(shape: Shape, axis: int, dtype: DType = dtypes.INT64) -> Node:
    return make("iota", (), shape, axis, dtype)


def slice(x: Node, starts: Sequence[Extent], stops: Sequence[Extent], steps: Sequence[int]) -> Node:
    return make("slice", (x,), tuple(starts), tuple(stops), tuple(steps))


def pad(
    x: Node,
    low: Sequence[Extent],
    high: Sequence[Extent],
    interior: Sequence[int] | None = None,
    value: float | int | bool = 0,
) -> Node:
    interior = tuple(interior) if interior is not None else (0,) * len(x.shape)
    if not any(l != 0 for l in (*low, *high, *interior)):
        return x
    return make("pad", (x, literal(value, x.dtype)), tuple(low), tuple(high), interior)


def flat_iota(shape: Shape, axes: Sequence[int]) -> Node:
    """Row-major position of every element within the sub-array spanned by `axes`."""
    total: Node | None = None
    stride: Extent = 1
    for axis in reversed(axes):
        term = iota(shape, axis)
        if stride != 1:
            term = mul(term, broadcast(extent(stride), shape, ()))
        total = term if total is None else add(total, term)
        stride = sizes.mul(shape[axis], stride)
    assert total is not None
    return total


def _pair(a: Operand, b: Operand) -> tuple[Node, Node]:
    if not isinstance(a, Node):
        assert isinstance(b, Node)
        a = full(a, b.shape, b.dtype)
    elif not isinstance(b, Node):
        b = full(b, a.shape, a.dtype)
    return a, b


def _binary(name: str) -> Any:
    def build(a: Operand, b: Operand) -> Node:
        return make(name, _pair(a, b))

    build.__name__ = name
    return build


def _unary(name: str) -> Any:
    def build(a: Node) -> Node:
        return make(name, (a,))

    build.__name__ = name
    return build


add = _binary("add")
sub = _binary("subtract")
mul = _binary("multiply")
div = _binary("divide")
power = _binary("power")
less = _binary("less")
less_equal = _binary("less_equal")
equal = _binary("equal")
logical_and = _binary("logical_and")
neg = _unary("negative")
log = _unary("log")
exp = _unary("exp")


def where(condition: Node, a: Operand, b: Operand) -> Node:
    return make("where", (condition, *_pair(a, b)))
