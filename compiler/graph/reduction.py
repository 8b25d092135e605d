"""Reductions over axes: an associative combine of elements, with a fixed tree in the C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from . import build as b
from . import dtypes, sequence, sizes
from .node import Node, Op, describe, operand_lines, register


def _infer(name: str, result: Any) -> Any:
    def infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
        (x,), (axes,) = inputs, attrs
        if list(axes) != sorted(set(axes)) or any(not 0 <= a < len(x.shape) for a in axes):
            raise ShapeError(f"{name}: axes {axes} do not name axes of {describe(x)}" + operand_lines("x", inputs))
        if name not in ("sum", "prod") and any(sizes.lower_bound(x.shape[a]) < 1 for a in axes):
            raise ShapeError(f"{name}: an empty axis of {describe(x)} has no {name}" + operand_lines("x", inputs))
        if x.dtype == dtypes.BOOL:
            raise DTypeError(f"{name}: not defined for bool" + operand_lines("x", inputs))
        return tuple(n for k, n in enumerate(x.shape) if k not in axes), result(x.dtype)

    return infer


def identity(combine: str, dtype: dtypes.DType) -> float | int:
    """The number that leaves every other as it is when combined with it: the result of combining nothing."""
    if combine == "add":
        return 0
    if combine == "mul":
        return 1
    return dtypes.limits(dtype)[0]


def kept(node: Node) -> tuple[int, ...]:
    """The operand's axes that a reduction leaves, in order."""
    return tuple(k for k in range(len(node.inputs[0].shape)) if k not in node["axes"])


def _spread(node: Node, y: Node) -> Node:
    """Gives a reduced value back the shape of the operand."""
    return b.broadcast(y, node.inputs[0].shape, kept(node))


register(
    Op(
        "sum",
        "reduction",
        1,
        _infer("sum", lambda d: d if dtypes.is_float(d) else dtypes.INT64),
        attrs=("axes",),
        evaluate=lambda node, arrays, shape: np.sum(arrays[0], axis=node["axes"], dtype=arrays[0].dtype
            if arrays[0].dtype.kind in "fc" else np.int64),
        vjp=lambda node, g: (_spread(node, g),),
        combine="add",
    )
)


def _prod_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    """Each element gets the product of those before it and those behind it: nothing is divided by."""
    (x,), axes = node.inputs, node["axes"]
    order = (*kept(node), *axes)
    moved = b.permute(x, order)
    flat = b.reshape(moved, (*node.shape, sizes.product(x.shape[a] for a in axes)))
    last = len(node.shape)
    before = sequence.delayed(sequence.running_product(flat, last), last, 1)
    behind = sequence.delayed(sequence.running_product(flat, last, reverse=True), last, 1, reverse=True)
    part = b.mul(b.broadcast(g, flat.shape, range(last)), b.mul(before, behind))
    return (b.permute(b.reshape(part, moved.shape), sorted(range(len(order)), key=lambda k: order[k])),)


register(
    Op(
        "prod",
        "reduction",
        1,
        _infer("prod", lambda d: d if dtypes.is_float(d) else dtypes.INT64),
        attrs=("axes",),
        evaluate=lambda node, arrays, shape: np.prod(arrays[0], axis=node["axes"], dtype=arrays[0].dtype
            if arrays[0].dtype.kind == "f" else np.int64),
        vjp=_prod_vjp,
        combine="mul",
    )
)


def _max_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    """The first extremum takes the whole cotangent."""
    x, axes = node.inputs[0], node["axes"]
    first = b.make("argmax", (x,), axes)
    mine = b.equal(b.flat_iota(x.shape, axes), _spread(node, first))
    return (b.where(mine, _spread(node, g), 0),)


register(
    Op(
        "max",
        "reduction",
        1,
        _infer("max", lambda d: d),
        attrs=("axes",),
        evaluate=lambda node, arrays, shape: np.max(arrays[0], axis=node["axes"]),
        vjp=_max_vjp,
        combine="max",
    )
)


def _argmax_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    order = (*kept(node), *node["axes"])
    reduced = [arrays[0].shape[a] for a in node["axes"]]
    moved = np.transpose(arrays[0], order).reshape(*shape, int(np.prod(reduced, dtype=np.int64)))
    return np.asarray(np.argmax(moved, axis=-1), np.int64)


# Row-major position within the reduced axes of the first NaN, else of the first maximum.
register(
    Op(
        "argmax",
        "reduction",
        1,
        _infer("argmax", lambda d: dtypes.INT64),
        attrs=("axes",),
        evaluate=_argmax_evaluate,
        vjp=lambda node, g: (None,),
        combine="argmax",
    )
)
