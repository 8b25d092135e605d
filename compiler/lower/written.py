"""Reductions of a few elements, written out: a window of a picture, the coordinates of a point.

As loops they would leave lanes idle; as an expression of their elements they are computed like anything elementwise,
side by side along an axis that stays. Whether one is written out follows from shapes alone, and so does the order in
which its elements are combined.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod

from ..graph import index, sizes
from ..graph.dtypes import BOOL, INT32, INT64, is_float
from ..graph.index import Index, IVar
from ..graph.node import Node
from .ir import Const, Expr, IndexValue, Op

MOST = 9  # elements of a reduction that is written out
COMBINING = 4  # operations that an element of one takes, at most
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
LEAST = 64  # results from which on there are enough for lanes


def is_written_out(node: Node) -> bool:
    """Whether a node is a reduction of so few elements that they stand side by side in its expression."""
    if node.op.kind != "reduction":
        return False
    x = node.inputs[0]
    extents = [x.shape[a] for a in node["axes"]]
    if not all(isinstance(n, int) for n in extents) or not 1 < prod(extents) <= MOST:
        return False
    return x.dtype != BOOL and sizes.hint(sizes.product(node.shape)) >= LEAST


def joined(node: Node, at: Sequence[Index], places: Sequence[IVar | int]) -> tuple[Index, ...]:
    """The index of an element of the operand, from that of a result and the places along the reduced axes."""
    free, bound = iter(at), iter(places)
    return tuple(
        index.of(next(bound)) if k in node["axes"] else next(free) for k in range(len(node.inputs[0].shape))
    )


def elements(node: Node, at: Sequence[Index]) -> list[tuple[Index, ...]]:
    """The indices of all elements of a result, row by row."""
    extents = [range(node.inputs[0].shape[a]) for a in node["axes"]]
    return [joined(node, at, where) for where in itertools.product(*extents)]


def combined(node: Node, values: Sequence[Expr], combine: str) -> Expr:
    """The elements of a reduction, combined one after the other; `fma` where they are pairs to be multiplied."""
    if combine == "argmax":
        return _first_greatest(values)
    if combine == "fma":
        pairs = [v for v in values if isinstance(v, Op)]
        result: Expr = Op("mul", pairs[0].args, node.dtype)
        for pair in pairs[1:]:
            result = Op("fma", (*pair.args, result), node.dtype)
        return result
    result = values[0]
    for value in values[1:]:
        result = Op(combine, (result, value), node.dtype)
    return result


def _first_greatest(values: Sequence[Expr]) -> Expr:
    """The position of the first NaN, else of the first greatest value, counted in integers as wide as the values."""
    best = values[0]
    dtype = INT32 if best.dtype.itemsize == 4 else INT64
    position: Expr = Const(0, dtype)
    for k, value in enumerate(values[1:], 1):
        better: Expr = Op("lt", (best, value), BOOL)
        if is_float(best.dtype):
            # Greater or NaN, behind what is none.
            better = Op("and", (Op("not", (Op("le", (value, best), BOOL),), BOOL), Op("eq", (best, best), BOOL)), BOOL)
        position = Op("select", (better, Const(k, dtype), position), dtype)
        if k < len(values) - 1:
            best = Op("select", (better, value, best), best.dtype)
    return position if dtype == INT64 else Op("cvt", (position,), INT64, dtype)


def narrowed(expr: Expr) -> Expr:
    """Arithmetic of indices as an index, and comparisons of integers that were widened in their own width."""
    if not isinstance(expr, Op) or len(expr.args) != 2 or any(a.dtype != INT64 for a in expr.args):
        return expr
    a, b = expr.args
    if expr.name in ("add", "sub", "mul"):
        x, y = _as_index(a), _as_index(b)
        if x is None or y is None or (expr.name == "mul" and x.terms and y.terms):
            return expr
        if expr.name == "mul":
            found = index.scale(x, y.const) if x.terms else index.scale(y, x.const)
        else:
            found = index.add(x, y if expr.name == "add" else index.scale(y, -1))
        return IndexValue(found, INT64) if _within(found, 1 << 62) else expr
    if expr.name in COMPARISONS:
        x, y = _as_index(a), _as_index(b)
        if x is not None and y is not None and _within(x, 1 << 31) and _within(y, 1 << 31):
            return Op(expr.name, (IndexValue(x, INT32), IndexValue(y, INT32)), BOOL)
    if expr.name in ("eq", "ne"):
        for wide, other in ((a, b), (b, a)):
            widened = isinstance(wide, Op) and wide.name == "cvt" and wide.attr == INT32
            if widened and isinstance(wide, Op) and isinstance(other, IndexValue) and _within(other.index, 1 << 31):
                return Op(expr.name, (wide.args[0], IndexValue(other.index, INT32)), BOOL)
    return expr


def _within(i: Index, limit: int) -> bool:
    """Whether an index is known to be less than a limit, either way."""
    found = index.bounds(i)
    return found is not None and all(isinstance(n, int) and abs(n) < limit for n in found)


def _as_index(expr: Expr) -> Index | None:
    if isinstance(expr, IndexValue):
        return expr.index
    return index.of(int(expr.value)) if isinstance(expr, Const) else None
