"""Structural operations that read one element in several places: diagonals and sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from . import build as b
from . import index, sizes
from .contraction import AxisMap, contract, plain
from .index import Access, Index
from .node import Node, Op, describe, make, operand_lines, register
from .sizes import Extent


def _diagonal_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x,) = inputs
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"diagonal: the last two axes of {describe(x)} differ" + operand_lines("x", inputs))
    return x.shape[:-1], x.dtype


def _diagonal_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    shape = node.inputs[0].shape
    rank = len(shape)
    on = b.equal(b.iota(shape, rank - 2), b.iota(shape, rank - 1))
    return (b.where(on, b.broadcast(g, shape, range(rank - 1)), 0),)


# x[..., i, i] as [..., i].
register(
    Op(
        "diagonal",
        "structural",
        1,
        _diagonal_infer,
        evaluate=lambda node, arrays, shape: np.diagonal(arrays[0], axis1=-2, axis2=-1),
        vjp=_diagonal_vjp,
        access=lambda node, out: [Access(0, (*out, out[-1]))],
    )
)


def windows(
    x: Node, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], positions: Sequence[Extent]
) -> Node:
    """x[…, s·p + d·k] as […, p…, k…] for the last axes of x: one window of `kernel` elements per position.

    Windows must lie within x.
    """
    return make("windows", (x,), tuple(kernel), tuple(stride), tuple(dilation), tuple(positions))


def _windows_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x,), (kernel, stride, dilation, positions) = inputs, attrs
    lead = len(x.shape) - len(kernel)
    for n, k, s, d, p in zip(x.shape[lead:], kernel, stride, dilation, positions, strict=True):
        reach = sizes.add(sizes.mul(sizes.add(p, -1), s), d * (k - 1) + 1)
        if k < 1 or (isinstance(n, int) and isinstance(reach, int) and p != 0 and reach > n):
            text = f"windows: {p} windows of {k}, stride {s} and dilation {d}, do not fit an axis of {n}"
            raise ShapeError(text + operand_lines("x", inputs))
    return (*x.shape[:lead], *positions, *kernel), x.dtype


def _windows_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    kernel = node["kernel"]
    rank = len(kernel)
    positions = shape[len(shape) - 2 * rank : len(shape) - rank]
    at = []
    for a, (p, k, s, d) in enumerate(zip(positions, kernel, node["stride"], node["dilation"], strict=True)):
        extents = [1] * (2 * rank)
        extents[a], extents[rank + a] = p, k
        at.append((s * np.arange(p)[:, None] + d * np.arange(k)).reshape(extents))
    return arrays[0][(..., *at)]


def _windows_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    """Every element collects the cotangents of the windows that it lies in: a contraction with ones."""
    x, kernel = node.inputs[0], node["kernel"]
    rank, axes = len(kernel), len(x.shape)
    lead = axes - rank
    steps = zip(node["stride"], node["dilation"], strict=True)
    placed: list[AxisMap] = [(((lead + a, 1), (axes + a, -d)), 0, s) for a, (s, d) in enumerate(steps)]
    within = tuple(plain(axes + a) for a in range(rank))
    g_map = (*(plain(a) for a in range(lead)), *placed, *within)
    return (contract(g, b.full(1, kernel, g.dtype), (*x.shape, *kernel), axes, g_map, within),)


def _windows_access(node: Node, out: tuple[Index, ...]) -> list[Access]:
    rank = len(node["kernel"])
    lead = len(out) - 2 * rank
    steps = zip(node["stride"], node["dilation"], strict=True)
    at = [
        index.add(index.scale(out[lead + a], s), index.scale(out[lead + rank + a], d))
        for a, (s, d) in enumerate(steps)
    ]
    return [Access(0, (*out[:lead], *at))]


register(
    Op(
        "windows",
        "structural",
        1,
        _windows_infer,
        attrs=("kernel", "stride", "dilation", "positions"),
        evaluate=_windows_evaluate,
        vjp=_windows_vjp,
        access=_windows_access,
    )
)
