"""Einstein summation: labels of operands and of the result, diagonals, and the order of products."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from ..errors import ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.node import Node, make
from ..graph.sizes import Extent
from .array import Array
from .explain import complain
from .lift import as_array, cast_node, common_dtype, wrap
from .linalg import Label, Term, ordered, product, without, without_units

EXACT = 8  # operands up to which every order of products is considered
_LETTERS = string.ascii_uppercase + string.ascii_lowercase


def einsum(subscripts: Any, *operands: Any) -> Array:
    """Einstein summation, as NumPy's: `einsum("ij,jk->ik", x, y)`, or `einsum(x, [0, 1], y, [1, 2], [0, 2])`.

    Without `->` the result has the labels that occur once, in alphabetical order, after those of the ellipsis. A label
    twice within an operand takes the diagonal; a unit extent meets any other of its label. The result has the dtype
    that the operands meet in. Products of several operands are taken in the order that needs the fewest
    multiplications (of all orders up to 8 operands, else by the cheapest pair first), where a run-time extent counts
    as its `max`, or 64. Raises ShapeError where labels and shapes do not fit.
    """
    given: Sequence[Any] = operands
    if not isinstance(subscripts, str):
        subscripts, given = _spelled((subscripts, *operands))
    values = [as_array(x) for x in given]
    labels, out = _parse(subscripts, values)
    extent = _extents(subscripts, values, labels)
    dtype = common_dtype(values)
    terms = [_diagonals(cast_node(x, dtype), term) for x, term in zip(values, labels, strict=True)]
    return wrap(_multiplied(without_units(terms), out, extent), values)


def _spelled(given: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """The subscripts that lists of numbers behind the operands (and for the result) stand for, and the operands."""

    def text(labels: Any) -> str:
        if not isinstance(labels, (tuple, list)):
            raise complain(ShapeError, f"einsum: subscripts, or a list of labels after each operand, not {labels!r}")
        parts = []
        for label in labels:
            if label is not Ellipsis and not (hasattr(label, "__index__") and 0 <= label.__index__() < len(_LETTERS)):
                raise complain(ShapeError, f"einsum: a label is a number below {len(_LETTERS)} or ..., got {label!r}")
            parts.append("..." if label is Ellipsis else _LETTERS[label])
        return "".join(parts)

    pairs = len(given) // 2
    left = ",".join(text(given[2 * k + 1]) for k in range(pairs))
    return left if len(given) % 2 == 0 else f"{left}->{text(given[-1])}", given[: 2 * pairs : 2]


def _parse(subscripts: str, values: Sequence[Array]) -> tuple[list[list[Label]], list[Label]]:
    """Labels of every operand and of the result; those under an ellipsis are numbers counted from the last."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        text = f"einsum: {subscripts!r} is for {len(terms)} operands, got {len(values)}"
        raise complain(ShapeError, text, *values)
    labels = []
    for k, (term, x) in enumerate(zip(terms, values, strict=True)):
        head, dots, tail = _halves(term, f"operand {k}", subscripts, values)
        hidden = x.ndim - len(head) - len(tail)
        if hidden < 0 or (hidden and not dots):
            text = f"einsum: {term!r} of {subscripts!r} does not fit operand {k}, which has {x.ndim} axes"
            raise complain(ShapeError, text, *values)
        labels.append([*head, *range(-hidden, 0), *tail])
    known = [label for term in labels for label in term]
    hidden_ones = sorted({label for label in known if isinstance(label, int)})
    if not arrow:
        letters = sorted({label for label in known if isinstance(label, str) and known.count(label) == 1})
        return labels, [*hidden_ones, *letters]
    head, dots, tail = _halves(right, "the result", subscripts, values)
    for label in head + tail:
        if label not in known or (head + tail).count(label) > 1:
            what = "is in no operand" if label not in known else "occurs twice"
            raise complain(ShapeError, f"einsum: label {label!r} of the result {what} in {subscripts!r}", *values)
    if hidden_ones and not dots:
        text = f"einsum: the result of {subscripts!r} has no ellipsis for the axes under those of the operands"
        raise complain(ShapeError, text, *values)
    return labels, [*head, *(hidden_ones if dots else ()), *tail]


def _halves(term: str, what: str, subscripts: str, values: Sequence[Array]) -> tuple[str, str, str]:
    head, dots, tail = term.partition("...")
    for character in head + tail:
        if character not in _LETTERS:
            text = f"einsum: {what} in {subscripts!r}: {character!r} is neither a letter nor part of one ellipsis"
            raise complain(ShapeError, text, *values)
    return head, dots, tail


def _extents(subscripts: str, values: Sequence[Array], labels: Sequence[Sequence[Label]]) -> dict[Label, Extent]:
    """The extent of every label."""
    found: dict[Label, tuple[Extent, int]] = {}
    for k, (x, term) in enumerate(zip(values, labels, strict=True)):
        own: dict[Label, Extent] = {}
        for label, n in zip(term, x.shape, strict=True):
            if own.setdefault(label, n) != n:
                text = f"has extents {own[label]} and {n} in operand {k}"
                raise complain(ShapeError, f"einsum: label {label!r} of {subscripts!r} {text}", *values)
        for label, n in own.items():
            other, where = found.setdefault(label, (n, k))
            if other == 1:
                found[label] = (n, k)
            elif n not in (1, other):
                name = f"label {label!r}" if isinstance(label, str) else f"axis {label} of the ellipsis"
                text = f"has extent {other} in operand {where}, {n} in operand {k}"
                raise complain(ShapeError, f"einsum: {name} of {subscripts!r} {text}", *values)
    return {label: n for label, (n, _) in found.items()}


def _diagonals(x: Node, labels: Sequence[Label]) -> Term:
    """The array with one axis for each label."""
    left = list(labels)
    for label in dict.fromkeys(labels):
        while left.count(label) > 1:
            first = left.index(label)
            second = left.index(label, first + 1)
            others = [k for k in range(len(left)) if k not in (first, second)]
            x = make("diagonal", (b.permute(x, [*others, first, second]),))
            left = [*(left[k] for k in others), label]
    return x, left


def _multiplied(terms: Sequence[Term], out: Sequence[Label], extent: Mapping[Label, Extent]) -> Node:
    """Σ of the product of all terms over the labels that are not in `out`."""
    counts = [label for _, labels in terms for label in labels]
    # A label of one operand alone is summed before it is multiplied with anything.
    parts = {
        1 << k: without(term, {label for label in term[1] if label not in out and counts.count(label) == 1})
        for k, term in enumerate(terms)
    }
    hints = {label: max(1, sizes.hint(n)) for label, n in extent.items()}
    for left, right in order_of_products([frozenset(labels) for _, labels in parts.values()], frozenset(out), hints):
        x, y = parts.pop(left), parts.pop(right)
        if parts:
            needed = {label for _, labels in parts.values() for label in labels} | set(out)
            keep = [label for label in dict.fromkeys((*x[1], *y[1])) if label in needed]
        else:
            keep = list(out)
        parts[left | right] = (product(x, y, keep), keep)
    (last,) = parts.values()
    return ordered(last, out)


def order_of_products(
    terms: Sequence[frozenset[Label]], out: frozenset[Label], extent: Mapping[Label, int]
) -> list[tuple[int, int]]:
    """Pairs to multiply, one after the other, as sets of terms in bits: (1, 4) multiplies terms 0 and 2.

    The cost of a pair is the product of the extents of its labels. Up to `EXACT` terms the total is least, by dynamic
    programming over sets of terms; beyond, the cheapest pair is taken each time. Of equals the first is taken.
    """
    everything = (1 << len(terms)) - 1

    def labels(inside: int) -> frozenset[Label]:
        """What is left of the product of a set of terms: labels that the result or other terms need."""
        mine = frozenset().union(*(t for k, t in enumerate(terms) if inside >> k & 1))
        return mine & out.union(*(t for k, t in enumerate(terms) if not inside >> k & 1))

    def cost(x: frozenset[Label], y: frozenset[Label]) -> int:
        return prod(extent[label] for label in x | y)

    if len(terms) > EXACT:
        left, steps = [1 << k for k in range(len(terms))], []
        while len(left) > 1:
            open_labels = [labels(part) for part in left]
            pairs = ((p, q) for q in range(len(left)) for p in range(q))
            p, q = min(pairs, key=lambda pair: (cost(open_labels[pair[0]], open_labels[pair[1]]), *pair))
            steps.append((left[p], left[q]))
            left[p] |= left.pop(q)
        return steps
    best: dict[int, tuple[int, list[tuple[int, int]]]] = {1 << k: (0, []) for k in range(len(terms))}
    kept = {inside: labels(inside) for inside in range(1, everything + 1)}
    for inside in range(1, everything + 1):
        # Halves with the lowest term on the left; smaller sets have smaller numbers, so theirs are known.
        lowest, part = inside & -inside, (inside - 1) & inside
        while part:
            if part & lowest:
                rest = inside ^ part
                total = best[part][0] + best[rest][0] + cost(kept[part], kept[rest])
                if inside not in best or total < best[inside][0]:
                    best[inside] = (total, [*best[part][1], *best[rest][1], (part, rest)])
            part = (part - 1) & inside
    return best[everything][1]
