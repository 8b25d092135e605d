"""Scatters: updates combined at looked-up places along one axis of a fresh array, in the order of the index.

`scatter_add` is the transpose of `take`. Where nothing is scattered to, the result holds the combine's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from . import build as b
from . import dtypes
from .node import Cotangent, Node, Op, operand_lines, register
from .reduction import identity


def _infer(name: str) -> Any:
    def infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
        (idx, updates), (axis, extent) = inputs, attrs
        n = len(idx.shape)
        if updates.shape[axis : axis + n] != idx.shape:
            text = f"{name}: the updates do not match the index along its axis"
            raise ShapeError(text + operand_lines("iu", (idx, updates)))
        return (*updates.shape[:axis], extent, *updates.shape[axis + n :]), updates.dtype

    return infer


def _evaluate(combine: str, ufunc: np.ufunc) -> Any:
    def evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
        idx, updates = arrays
        axis, n = node["axis"], idx.ndim
        result = np.full(shape, identity(combine, updates.dtype), updates.dtype)
        source = np.moveaxis(updates, list(range(axis, axis + n)), list(range(n)))
        # Not -1: where there are no updates, nothing could be inferred.
        flat = source.reshape(idx.size, *source.shape[n:])
        ufunc.at(np.moveaxis(result, axis, 0), idx.reshape(-1), flat)
        return result

    return evaluate


def _scatter(
    name: str, combine: str, ufunc: np.ufunc, vjp: Callable[[Node, Node], Sequence[Cotangent]]
) -> None:
    register(
        Op(
            name,
            "scatter",
            2,
            _infer(name),
            attrs=("axis", "extent"),
            evaluate=_evaluate(combine, ufunc),
            vjp=vjp,
            combine=combine,
        )
    )


def _back(node: Node, y: Node) -> Node:
    """For every update of a scatter the element of `y` that it went to."""
    return b.make("take", (y, node.inputs[0]), node["axis"])


def _first(node: Node, chosen: Node) -> Node:
    """Which of the `chosen` updates are the first such of their place."""
    idx, updates = node.inputs
    axis = node["axis"]
    if not idx.shape:
        return chosen
    # Positions differ among updates, so the greatest negated one is that of a single update.
    position = b.neg(b.flat_iota(updates.shape, range(axis, axis + len(idx.shape))))
    candidates = b.where(chosen, position, int(np.iinfo(np.int64).min))
    best = b.make("scatter_max", (idx, candidates), axis, node["extent"])
    return b.make("equal", (position, _back(node, best)))


def _max_vjp(node: Node, g: Node) -> Sequence[Cotangent]:
    """The first extremum takes the whole cotangent; NaN counts as one."""
    updates = node.inputs[1]
    tied = b.equal(updates, _back(node, node))
    if dtypes.is_float(updates.dtype):
        tied = b.make("logical_or", (tied, b.make("not_equal", (updates, updates))))
    return None, b.where(_first(node, tied), _back(node, g), 0)


def _multiply_vjp(node: Node, g: Node) -> Sequence[Cotangent]:
    """The product of a place's other factors: of them all, divided by one's own where that is not 0.

    The first and the second factor of a place that are 0 are set aside, and get the product of what is left. What is
    built here differentiates again, and stays exact up to second order; from the third on, derivatives by three and
    more factors of one place that are all 0 are missing.
    """
    idx, updates = node.inputs

    def product(factors: Node) -> Node:
        return _back(node, b.make(node.op, (idx, factors), *node.attrs))

    zero = b.equal(updates, 0)
    first = b.logical_and(zero, _first(node, zero))
    left = b.where(first, 1, updates)
    zero = b.equal(left, 0)
    second = b.logical_and(zero, _first(node, zero))
    rest = product(left)
    others = b.where(second, product(b.where(second, 1, left)), b.div(rest, b.where(zero, 1, left)))
    others = b.where(first, rest, b.mul(product(b.where(first, updates, 1)), others))
    return None, b.mul(_back(node, g), others)


_scatter("scatter_add", "add", np.add, lambda node, g: (None, _back(node, g)))
_scatter("scatter_max", "max", np.maximum, _max_vjp)
_scatter("scatter_multiply", "mul", np.multiply, _multiply_vjp)
