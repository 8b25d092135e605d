"""Sums of arrays that are zero in different places: the parts side by side, with no addition left.

The cotangent of an array that is read in slices is such a sum, of one padded array for each slice.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import build as b
from ..graph.node import Node, make
from .engine import Rule, Uses

# Start, end and the array in between; None stands for zeros.
Piece = tuple[int, int, Node | None]


def _padded(x: Node) -> tuple[int, list[Piece]] | None:
    """The axis along which an array is padded with zeros, and its pieces."""
    inner, value = x.inputs
    axes = [k for k, ends in enumerate(zip(x["low"], x["high"], strict=True)) if ends != (0, 0)]
    if len(axes) != 1 or any(x["interior"]) or b.constant_value(value) != 0:
        return None
    low, high, width = x["low"][axes[0]], x["high"][axes[0]], inner.shape[axes[0]]
    if not (isinstance(low, int) and isinstance(high, int) and isinstance(width, int)) or low < 0 or high < 0:
        return None
    ends = (0, low, None), (low, low + width, inner), (low + width, low + width + high, None)
    return axes[0], [p for p in ends if p[0] < p[1]]


def _joined(x: Node) -> tuple[int, list[Piece]] | None:
    """The pieces of a concatenation."""
    found: list[Piece] = []
    at = 0
    for part in x.inputs:
        width = part.shape[x["axis"]]
        if not isinstance(width, int):
            return None
        found.append((at, at + width, None if b.constant_value(part) == 0 else part))
        at += width
    return x["axis"], found


def _overlaid(own: Sequence[Piece], other: Sequence[Piece]) -> list[Piece] | None:
    """One list of pieces for the sum of two; None where both have something."""
    parts = sorted((p for p in (*own, *other) if p[2] is not None), key=lambda p: p[0])
    found: list[Piece] = []
    at, end = 0, own[-1][1]
    for part in parts:
        if part[0] < at:
            return None
        if part[0] > at:
            found.append((at, part[0], None))
        found.append(part)
        at = part[1]
    return found if at == end else [*found, (at, end, None)]


def _beside(node: Node, uses: Uses) -> Node | None:
    """pad(a) + pad(b) → concat(a, b) where the ranges do not meet, zeros in what neither of them covers. The sum of
    -0 and the zero of the other is 0, so that signs of zeros may change."""
    sides = []
    for x in node.inputs:
        found = _padded(x) if x.op.name == "pad" else _joined(x) if x.op.name == "concat" else None
        if found is None:
            return None
        sides.append(found)
    (axis, own), (also, other) = sides
    if axis != also:
        return None
    pieces = _overlaid(own, other)
    if pieces is None:
        return None

    def part(start: int, end: int, x: Node | None) -> Node:
        shape = (*node.shape[:axis], end - start, *node.shape[axis + 1 :])
        return b.full(0, shape, node.dtype) if x is None else x

    return make("concat", [part(*p) for p in pieces], axis)


RULES = (Rule("pads-to-concat", "rounding", ("add",), _beside),)
