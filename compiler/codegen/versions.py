"""Straight lines of lanes in two versions: one for vectors on which all guards are decided, one for the others.

Padding, concatenation and shifted reads guard their elements near the ends of an axis only. Where the lanes of a vector
agree, and agree with nearly all other vectors, the guards are decided once for the vector instead of value by value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graph import index, sizes
from ..graph.index import Guard, Index, IVar
from ..lower.ir import Expr, Guarded, Load, Op, Prefetch, Reduce, Stmt, Store, expressions

MOST = 400  # expressions of a line that is still worth printing twice


def verdicts(body: Sequence[Stmt], var: IVar) -> dict[Guard, bool]:
    """What to expect of the guards that differ between lanes; nothing unless the first and the last lane tell for all
    of them."""
    roots = [s.value for s in body if isinstance(s, (Store, Reduce))]
    order = expressions(roots)
    found: dict[Guard, bool] = {}
    if len(order) > MOST:
        return found
    for e in order:
        if not isinstance(e, (Load, Guarded)):
            continue
        for g in e.guards:
            slope = g.index.affine_in(var)
            if slope == 0:
                continue
            if g.divisor is not None or not isinstance(slope, int):
                return {}
            found[g] = _likely(g)
    return found


def _likely(g: Guard) -> bool:
    """Whether the guard holds for at least half of the values that its index takes."""
    assert g.size is not None
    bounds = index.bounds(g.index)
    if bounds is None or not all(isinstance(b, int) for b in bounds):
        return not (isinstance(g.size, int) and g.size == 1)
    low, high = bounds
    return 2 * sizes.hint(g.size) > high - max(low, 0)


def decided(body: Sequence[Stmt], known: Mapping[Guard, bool]) -> list[Stmt]:
    """The statements where these guards hold, or do not. What does not change stays the same object."""
    new: dict[int, Expr] = {}
    roots = [s.value for s in body if isinstance(s, (Store, Reduce))]
    for e in expressions(roots):
        new[id(e)] = _decide(e, new, known)
    result: list[Stmt] = []
    for s in body:
        if isinstance(s, Store):
            result.append(Store(s.buf, s.index, new[id(s.value)]))
        elif isinstance(s, Reduce):
            result.append(Reduce(s.buf, s.index, s.combine, new[id(s.value)], s.positions, s.position))
        else:
            assert isinstance(s, Prefetch)
            result.append(s)
    return result


def _decide(e: Expr, new: Mapping[int, Expr], known: Mapping[Guard, bool]) -> Expr:
    if isinstance(e, Op):
        args = tuple(new[id(a)] for a in e.args)
        return e if all(a is b for a, b in zip(args, e.args, strict=True)) else Op(e.name, args, e.dtype, e.attr)
    if isinstance(e, (Load, Guarded)) and e.guards:
        assert e.fill is not None
        fill = new[id(e.fill)]
        if any(known.get(g) is False for g in e.guards):
            return fill
        left = tuple(g for g in e.guards if g not in known)
        if isinstance(e, Load):
            if len(left) == len(e.guards) and fill is e.fill:
                return e
            return Load(e.buf, e.index, e.dtype, left, fill if left else None)
        inside = new[id(e.expr)]
        if not left:
            return inside
        if len(left) == len(e.guards) and fill is e.fill and inside is e.expr:
            return e
        return Guarded(left, inside, fill, e.dtype)
    return e


def bounds_of(known: Mapping[Guard, bool], var: IVar, at: Index, width: int) -> list[tuple[Index, Index]]:
    """Pairs of indices of which the first must not be the greater one, for all lanes of a vector to meet the verdicts;
    of several that differ by a number the strictest."""
    last = index.add(at, width - 1)
    strictest: dict[tuple[object, ...], tuple[Index, Index, int]] = {}

    def ask(low: Index, high: Index) -> None:
        """low <= high"""
        gap = index.add(high, index.scale(low, -1))
        least = index.bounds(gap)
        if least is not None and isinstance(least[0], int) and least[0] >= 0:
            return
        if not isinstance(gap.const, int):
            strictest[(low, high)] = low, high, 0
            return
        key = (gap.terms,)
        if key not in strictest or strictest[key][2] > gap.const:
            strictest[key] = low, high, gap.const

    for g, holds in known.items():
        slope = g.index.affine_in(var)
        assert isinstance(slope, int) and g.size is not None
        ends = [index.substitute(g.index, {var: place}) for place in (at, last)]
        low, high = ends if slope > 0 else ends[::-1]
        size = index.of(g.size)
        if holds:
            ask(index.ZERO, low)
            ask(index.add(high, 1), size)
        else:
            ask(size, low)
    return [(low, high) for low, high, _ in strictest.values()]
