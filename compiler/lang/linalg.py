"""Products of arrays. Floating ones become contractions; integers are multiplied and summed, bools "and" and "or".

The result has the dtype that the operands meet in: integers are not widened, so their sums wrap.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from typing import Any

from ..errors import ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.contraction import contract, plain
from ..graph.dtypes import BOOL, INT64
from ..graph.node import Node, make, type_text
from ..graph.sizes import Extent
from .array import Array
from .explain import complain
from .lift import apply, as_array, cast_node, common_dtype, one_axis, operands_of, reshaped, wrap

Label = Any
Term = tuple[Node, list[Label]]  # an array and the labels of its axes, all different


def without(term: Term, away: Collection[Label]) -> Term:
    """The array summed over the axes of the given labels, in its own dtype."""
    x, labels = term
    axes = [k for k, label in enumerate(labels) if label in away]
    if not axes:
        return term
    if x.dtype == BOOL:
        number = b.sum(b.cast(x, INT64), axes)
        x = make("not_equal", (number, b.zeros_like(number)))
    else:
        x = b.cast(b.sum(x, axes), x.dtype)
    return x, [label for label in labels if label not in away]


def without_units(terms: Sequence[Term]) -> list[Term]:
    """The arrays without those unit axes whose label has another extent elsewhere."""
    wide = {label for x, labels in terms for label, n in zip(labels, x.shape, strict=True) if n != 1}
    result = []
    for x, labels in terms:
        keep = [k for k, label in enumerate(labels) if x.shape[k] != 1 or label not in wide]
        result.append((reshaped(x, tuple(x.shape[k] for k in keep)), [labels[k] for k in keep]))
    return result


def ordered(term: Term, out: Sequence[Label]) -> Node:
    """The array with its axes in the order of `out`."""
    x, labels = term
    return b.permute(x, [labels.index(label) for label in out])


def product(x: Term, y: Term, out: Sequence[Label]) -> Node:
    """Σ x · y over the labels that are not in `out`; equal labels have equal extents, and `out` has no others."""
    (a, la), (c, lc) = (without(t, set(t[1]) - set(other[1]) - set(out)) for t, other in ((x, y), (y, x)))
    extent: dict[Label, Extent] = {**dict(zip(lc, c.shape, strict=True)), **dict(zip(la, a.shape, strict=True))}
    inner = [label for label in la if label not in out]
    if inner and dtypes.is_float(a.dtype):
        number = {label: k for k, label in enumerate([*out, *inner])}
        extents = tuple(extent[label] for label in number)
        maps = tuple(tuple(plain(number[label]) for label in labels) for labels in (la, lc))
        return contract(a, c, extents, len(out), maps[0], maps[1])
    whole = [*out, *inner]
    factors = []
    for term in ((a, la), (c, lc)):
        at = sorted(term[1], key=whole.index)
        places = [whole.index(label) for label in at]
        factors.append(b.broadcast(ordered(term, at), tuple(extent[label] for label in whole), places))
    together = b.logical_and(*factors) if a.dtype == BOOL else b.mul(*factors)
    return without((together, whole), inner)[0]


def labelled(x: Array, y: Array, xs: Sequence[Label], ys: Sequence[Label], out: Sequence[Label]) -> Array:
    """Σ over the labels that `out` leaves out of x[xs] · y[ys]; a unit extent meets any other of its label."""
    dtype = common_dtype((x, y))
    terms = without_units([(cast_node(x, dtype), list(xs)), (cast_node(y, dtype), list(ys))])
    return wrap(product(terms[0], terms[1], out), (x, y))


def _texts(x: Array, y: Array, sign: str) -> str:
    return f"{type_text(x.shape, x.dtype)} {sign} {type_text(y.shape, y.dtype)}"


def _broadcastable(name: str, p: Sequence[Extent], q: Sequence[Extent], x: Array, y: Array, sign: str) -> None:
    """Raises where leading axes, compared from the last, neither agree nor have a unit extent."""
    for m, n in zip(reversed(p), reversed(q), strict=False):
        if m != n and m != 1 and n != 1:
            text = f"{name}: leading axes of extents {m} and {n} do not broadcast: {_texts(x, y, sign)}"
            raise complain(ShapeError, text, x, y)


def matmul(x: Any, y: Any) -> Array:
    """x @ y: [..., n, k] @ [..., k, m] gives [..., n, m]; 1-d operands are vectors; leading axes broadcast.

    Raises ShapeError for 0-d operands, inner extents that differ, and leading axes that do not broadcast.
    """
    x, y = operands_of(x, y)
    if not isinstance(x, Array) or not isinstance(y, Array) or not x.ndim or not y.ndim:
        raise complain(ShapeError, "matmul: operands must have at least one axis; use * for scalars", x, y)
    k, m = x.shape[-1], y.shape[-2] if y.ndim > 1 else y.shape[0]
    if k != m:
        raise complain(ShapeError, f"matmul: inner dimensions differ: {_texts(x, y, '@')}", x, y)
    _broadcastable("matmul", x.shape[:-2], y.shape[:-2], x, y, "@")
    bx, by = ([*range(2 - a.ndim, 0)] for a in (x, y))
    rows, columns = ["n"] if x.ndim > 1 else [], ["m"] if y.ndim > 1 else []
    return labelled(x, y, [*bx, *rows, "k"], [*by, "k", *columns], [*max(bx, by, key=len), *rows, *columns])


def tensordot(x: Any, y: Any, axes: Any = 2) -> Array:
    """Σ of products over pairs of axes: the other axes of x, then those of y, remain.

    `axes` is a number n (the last n of x with the first n of y, in order), or two axes or sequences of axes, one for x
    and one for y. Raises ShapeError where axes do not pair up or extents differ.
    """
    x, y = as_array(x), as_array(y)
    first, second = _paired(x, y, axes)
    xs: list[Label] = [("x", k) for k in range(x.ndim)]
    ys: list[Label] = [("y", k) for k in range(y.ndim)]
    for number, (p, q) in enumerate(zip(first, second, strict=True)):
        if x.shape[p] != y.shape[q]:
            text = f"tensordot: axis {p} of extent {x.shape[p]} meets axis {q} of extent {y.shape[q]}"
            raise complain(ShapeError, f"{text}: {_texts(x, y, '·')}", x, y)
        xs[p] = ys[q] = ("inner", number)
    return labelled(x, y, xs, ys, [label for label in (*xs, *ys) if label[0] != "inner"])


def _paired(x: Array, y: Array, axes: Any) -> tuple[list[int], list[int]]:
    """The axes of x and those of y that they are summed along with."""
    if not isinstance(axes, (tuple, list)):
        try:
            n = operator.index(axes)
        except TypeError:
            raise complain(ShapeError, f"tensordot: axes are a number or two sequences, got {axes!r}", x, y) from None
        if not 0 <= n <= min(x.ndim, y.ndim):
            text = f"tensordot: {n} axes are asked for, the operands have {x.ndim} and {y.ndim}"
            raise complain(ShapeError, text, x, y)
        return list(range(x.ndim - n, x.ndim)), list(range(n))
    if len(axes) != 2:
        raise complain(ShapeError, f"tensordot: axes are a number or two sequences, got {axes!r}", x, y)
    found = [
        [one_axis("tensordot", k, operand) for k in (a if isinstance(a, (tuple, list)) else (a,))]
        for operand, a in ((x, axes[0]), (y, axes[1]))
    ]
    if len(found[0]) != len(found[1]) or any(len(set(a)) != len(a) for a in found):
        raise complain(ShapeError, f"tensordot: {axes} does not pair up distinct axes", x, y)
    return found[0], found[1]


def outer(x: Any, y: Any) -> Array:
    """x[i] · y[j] of two vectors. Raises ShapeError for operands of other ranks."""
    x, y = as_array(x), as_array(y)
    if x.ndim != 1 or y.ndim != 1:
        raise complain(ShapeError, f"outer: two vectors are expected: {_texts(x, y, '·')}", x, y)
    return labelled(x, y, "i", "j", "ij")


def vecdot(x: Any, y: Any, axis: int = -1) -> Array:
    """Σ x · y along an axis that both operands have; their other axes broadcast.

    Raises ShapeError where the extents along the axis differ or the others do not broadcast.
    """
    x, y = as_array(x), as_array(y)
    p, q = one_axis("vecdot", axis, x), one_axis("vecdot", axis, y)
    if x.shape[p] != y.shape[q]:
        text = f"vecdot: extents {x.shape[p]} and {y.shape[q]} along axis {axis} differ: {_texts(x, y, '·')}"
        raise complain(ShapeError, text, x, y)
    others = [[*a.shape[:k], *a.shape[k + 1 :]] for a, k in ((x, p), (y, q))]
    _broadcastable("vecdot", others[0], others[1], x, y, "·")
    xs, ys = ([*range(-len(shape), 0)] for shape in others)
    out = max(xs, ys, key=len)
    return labelled(x, y, [*xs[:p], "inner", *xs[p:]], [*ys[:q], "inner", *ys[q:]], out)


def diagonal(x: Any, offset: int = 0) -> Array:
    """x[..., i, i + offset] as [..., i], for every i that exists.

    Raises ShapeError for fewer than 2 axes, and where it cannot be told which of two run-time extents ends first.
    """
    x = as_array(x)
    if x.ndim < 2:
        raise complain(ShapeError, f"diagonal: at least 2 axes are needed, got {x.ndim}", x)
    starts = (max(-offset, 0), max(offset, 0))
    rows, columns = (sizes.add(n, -start) for n, start in zip(x.shape[-2:], starts, strict=True))
    gap = sizes.add(rows, sizes.mul(columns, -1))
    length = columns if isinstance(gap, int) and gap > 0 else rows
    if not isinstance(gap, int) or (not isinstance(length, int) and any(
        sizes.lower_bound(n) < start for n, start in zip(x.shape[-2:], starts, strict=True)
    )):
        text = f"diagonal: how long diagonal {offset} of {type_text(x.shape, x.dtype)} is cannot be told"
        raise complain(ShapeError, f"{text} before a call", x)
    if isinstance(length, int) and length <= 0:
        starts, length = (0, 0), 0
    lead = x.shape[:-2]
    stops = (*lead, *(sizes.add(start, length) for start in starts))
    whole = starts == (0, 0) and stops == x.shape
    node = x.node if whole else b.slice(x.node, (*(0 for _ in lead), *starts), stops, [1] * x.ndim)
    return apply("diagonal", (node,), of=(x,))


def trace(x: Any, offset: int = 0) -> Array:
    """The sum of x[..., i, i + offset]: of the diagonal of the last two axes. Integers and bools are summed in int64.

    Raises ShapeError as `diagonal` does.
    """
    from .reducing import sum

    return sum(diagonal(x, offset), -1)
