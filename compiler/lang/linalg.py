"""Products of arrays. Floating ones become contractions; integers are multiplied and summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph import build as b
from ..graph import dtypes
from ..graph.contraction import contract, plain
from ..graph.dtypes import BOOL, INT64
from ..graph.node import Node, type_text
from ..graph.sizes import Extent
from .array import Array
from .explain import complain
from .lift import apply, as_array, cast_node, common_dtype, one_axis, operands_of, reshaped, wrap

Label = Any


def _summed(x: Node, labels: list[Label], away: set[Label]) -> tuple[Node, list[Label]]:
    """The operand with axes of the given labels summed."""
    axes = [k for k, label in enumerate(labels) if label in away]
    return b.sum(x, axes), [label for label in labels if label not in away]


def labelled(x: Array, y: Array, xs: Sequence[Label], ys: Sequence[Label], out: Sequence[Label]) -> Array:
    """Σ over the labels that `out` leaves out of x[xs] · y[ys]; a unit extent meets any other of its label."""
    dtype = common_dtype((x, y))
    if dtype == BOOL:
        dtype = INT64
    left, right = _aligned(cast_node(x, dtype), xs, cast_node(y, dtype), ys)
    (a, la), (c, lc) = left, right
    a, la = _summed(a, la, set(la) - set(lc) - set(out))
    c, lc = _summed(c, lc, set(lc) - set(la) - set(out))
    extent: dict[Label, Extent] = {**dict(zip(lc, c.shape, strict=True)), **dict(zip(la, a.shape, strict=True))}
    inner = [label for label in la if label not in out]
    order = [label for label in out if label in extent]
    if inner and dtypes.is_float(dtype):
        number = {label: k for k, label in enumerate([*order, *inner])}
        extents = tuple(extent[label] for label in number)
        maps = tuple(tuple(plain(number[label]) for label in labels) for labels in (la, lc))
        node = contract(a, c, extents, len(order), maps[0], maps[1])
    else:
        whole = [*order, *inner]
        shape = tuple(extent[label] for label in whole)
        factors = []
        for operand, labels in ((a, la), (c, lc)):
            at = sorted(range(len(labels)), key=lambda k, labels=labels: whole.index(labels[k]))  # type: ignore[misc]
            factors.append(b.broadcast(b.permute(operand, at), shape, [whole.index(labels[k]) for k in at]))
        node = b.sum(b.mul(*factors), range(len(order), len(whole)))
    shape = tuple(extent.get(label, 1) for label in out)
    return wrap(reshaped(node, shape), (x, y))


def _aligned(
    a: Node, xs: Sequence[Label], c: Node, ys: Sequence[Label]
) -> tuple[tuple[Node, list[Label]], tuple[Node, list[Label]]]:
    """Drops unit axes where the other operand has a greater extent of the same label."""
    ea, ec = dict(zip(xs, a.shape, strict=True)), dict(zip(ys, c.shape, strict=True))

    def without_units(x: Node, labels: Sequence[Label], own: dict[Label, Extent], other: dict[Label, Extent]) -> Any:
        keep = [label for label in labels if not (own[label] == 1 and other.get(label, 1) != 1)]
        return reshaped(x, tuple(own[label] for label in keep)), keep

    return without_units(a, xs, ea, ec), without_units(c, ys, ec, ea)


def _texts(x: Array, y: Array, sign: str) -> str:
    return f"{type_text(x.shape, x.dtype)} {sign} {type_text(y.shape, y.dtype)}"


def matmul(x: Any, y: Any) -> Array:
    """x @ y: [..., n, k] @ [..., k, m] gives [..., n, m]; 1-d operands are vectors; leading axes broadcast.

    Raises ShapeError for 0-d operands and inner extents that differ.
    """
    x, y = operands_of(x, y)
    if not isinstance(x, Array) or not isinstance(y, Array) or not x.ndim or not y.ndim:
        raise complain(ShapeError, "matmul: operands must have at least one axis; use * for scalars", x, y)
    k, m = x.shape[-1], y.shape[-2] if y.ndim > 1 else y.shape[0]
    if k != m:
        raise complain(ShapeError, f"matmul: inner dimensions differ: {_texts(x, y, '@')}", x, y)
    lead = max(x.ndim, y.ndim, 2) - 2
    batch = [("batch", i) for i in range(lead)]
    for i in range(1, min(x.ndim, y.ndim) - 1):
        p, q = x.shape[-2 - i], y.shape[-2 - i]
        if p != q and 1 not in (p, q):
            raise complain(ShapeError, f"matmul: leading axes do not broadcast: {_texts(x, y, '@')}", x, y)
    bx = batch[lead - (x.ndim - 2) :] if x.ndim > 2 else []
    by = batch[lead - (y.ndim - 2) :] if y.ndim > 2 else []
    rows, columns = ["n"] if x.ndim > 1 else [], ["m"] if y.ndim > 1 else []
    xs, ys = [*bx, *rows, "k"], [*by, "k", *columns]
    out = [*(label for label in batch if label in bx or label in by), *rows, *columns]
    return labelled(x, y, xs, ys, out)


def tensordot(x: Any, y: Any, axes: Any = 2) -> Array:
    """The sum of products over pairs of axes: the last and first n for a number n, or two sequences of axes."""
    x, y = as_array(x), as_array(y)
    if isinstance(axes, int):
        pairs = [(x.ndim - axes + k, k) for k in range(axes)]
        if axes < 0 or axes > min(x.ndim, y.ndim):
            raise complain(ShapeError, f"tensordot: {axes} axes are more than an operand has", x, y)
    else:
        first, second = (a if isinstance(a, (tuple, list)) else (a,) for a in axes)
        if len(first) != len(second):
            raise complain(ShapeError, f"tensordot: {axes} does not pair up axes", x, y)
        pairs = [
            (one_axis("tensordot", p, x), one_axis("tensordot", q, y)) for p, q in zip(first, second, strict=True)
        ]
    xs: list[Label] = [("x", k) for k in range(x.ndim)]
    ys: list[Label] = [("y", k) for k in range(y.ndim)]
    for number, (p, q) in enumerate(pairs):
        if x.shape[p] != y.shape[q]:
            text = f"tensordot: axes {p} and {q} differ: {_texts(x, y, '·')}"
            raise complain(ShapeError, text, x, y)
        xs[p] = ys[q] = ("inner", number)
    return labelled(x, y, xs, ys, [label for label in (*xs, *ys) if label[0] != "inner"])


def outer(x: Any, y: Any) -> Array:
    """x[i] · y[j] of two vectors."""
    x, y = as_array(x), as_array(y)
    if x.ndim != 1 or y.ndim != 1:
        raise complain(ShapeError, f"outer: two vectors are expected: {_texts(x, y, '·')}", x, y)
    return labelled(x, y, "i", "j", "ij")


def vecdot(x: Any, y: Any, axis: int = -1) -> Array:
    """The sum of x · y along an axis."""
    from .reducing import sum

    return sum(as_array(x) * y, axis)


def trace(x: Any) -> Array:
    """The sum of the diagonal of the last two axes."""
    from .arithmetic import where
    from .reducing import sum

    x = as_array(x)
    if x.ndim < 2:
        raise complain(ShapeError, "trace: at least 2 axes are needed", x)
    row, column = (Array(b.iota(x.shape[-2:], k)) for k in range(2))
    return sum(where(row == column, x, 0), (-2, -1))


def _parse(subscripts: str, operands: Sequence[Array]) -> tuple[list[list[Label]], list[Label]]:
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        text = f"einsum: {subscripts!r} is for {len(terms)} operands, got {len(operands)}"
        raise complain(ShapeError, text, *operands)
    labels = [_term(term, x.ndim, subscripts, operands) for term, x in zip(terms, operands, strict=True)]
    everything = [label for term in labels for label in term]
    dots = sorted({label for label in everything if isinstance(label, int)})
    if not arrow:
        letters = {label for label in everything if isinstance(label, str)}
        return labels, [*dots, *sorted(label for label in letters if everything.count(label) == 1)]
    out: list[Label] = []
    for part in right.replace("...", "."):
        out.extend(dots if part == "." else [part])
    if len(set(out)) != len(out) or not set(out) <= set(everything):
        raise complain(ShapeError, f"einsum: the result of {subscripts!r} repeats or invents a label", *operands)
    return labels, out


def _term(term: str, ndim: int, subscripts: str, operands: Sequence[Array]) -> list[Label]:
    """Labels of one operand; those under an ellipsis are numbers counted from the last."""
    head, dots, tail = term.partition("...")
    hidden = ndim - len(head) - len(tail)
    if hidden < 0 or (hidden and not dots) or (not (head + tail).isalpha() and head + tail):
        text = f"einsum: {term!r} in {subscripts!r} does not fit an operand of {ndim} axes"
        raise complain(ShapeError, text, *operands)
    labels: list[Label] = [*head, *range(-hidden, 0), *tail]
    if len(set(labels)) != len(labels):
        text = f"einsum: {term!r} repeats a label within one operand, which is not supported; use ad.trace or a mask"
        raise complain(ShapeError, text, *operands)
    return labels


def einsum(subscripts: str, *operands: Any) -> Array:
    """Einstein summation of one or two operands, ellipsis included; no label twice within an operand.

    Raises ShapeError where labels and shapes do not fit.
    """
    values = [as_array(x) for x in operands]
    labels, out = _parse(subscripts, values)
    extent: dict[Label, Extent] = {}
    for x, term in zip(values, labels, strict=True):
        for label, n in zip(term, x.shape, strict=True):
            if n != 1 and extent.setdefault(label, n) != n:
                text = f"einsum: label {label!r} of {subscripts!r} has extents {extent[label]} and {n}"
                raise complain(ShapeError, text, *values)
    if len(values) == 2:
        return labelled(values[0], values[1], labels[0], labels[1], out)
    if len(values) != 1:
        raise complain(ShapeError, "einsum: one or two operands are supported; nest calls for more", *values)
    (x,), (term,) = values, labels
    if x.dtype == BOOL:
        raise complain(DTypeError, "einsum: not defined for bool", x)
    node, left = _summed(x.node, term, set(term) - set(out))
    return apply("permute", (node,), tuple(left.index(label) for label in out), of=values)
