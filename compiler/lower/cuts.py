"""Where masks cut arrays off, and so what schedules need not compute.

A comparison of two positions, as in `where(j <= i, s, -inf)`, makes an array constant in a corner: for all j - i >= 1.
What is computed of it is constant there too (-inf, then exp(-inf) = 0, then 0 times anything), and a sum over it ends
where the corner begins. A region is such a corner in terms of two loop variables, found from the expressions alone.

In a sum, what a mask cuts off counts as not there: 0 times whatever stands there is 0. An array of its own is constant
only where that follows from finite values along each row, such as a row's sum that it is divided by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph.dtypes import is_float
from ..graph.index import Index, IVar
from ..graph.node import Node
from ..graph.reduction import identity
from .ir import Const, Expr, Guarded, IndexValue, Load, Op, expressions
from .stages import Stage

Value = float | bool | None  # what an expression is all over a region, if it is known to be one thing
_UNARY: Mapping[str, Callable[[float], float]] = {
    "neg": lambda x: -x, "exp": lambda x: 0.0 if x == -math.inf else math.nan, "abs": abs,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Region:
    """All points where high - low >= gap."""

    high: IVar
    low: IVar
    gap: int

    def inside(self, other: Region) -> bool:
        return self.high is other.high and self.low is other.low and self.gap >= other.gap


@dataclass(frozen=True, slots=True)
class Corner:
    """A region of an array, by the positions of its axes, and the value all over it."""

    high: int
    low: int
    gap: int
    value: float


class Cuts:
    """The corners of all stored values of a graph, from its stages in the order of execution."""

    def __init__(
        self, stages: Sequence[Stage], readers: Mapping[Node, Collection[Stage]], results: Collection[Node]
    ) -> None:
        self.corners: dict[Node, list[Corner]] = {}
        self.readers, self.results = readers, results
        for s in stages:
            if s.reduce or s.target is not None or s.part is not None or s.node.op.kind == "control":
                continue
            if not is_float(s.node.dtype):
                continue
            places = {v: k for k, v in enumerate(s.axes)}
            found = [
                Corner(places[r.high], places[r.low], r.gap, value + 0.0)
                for r in self.regions(s.value) if r.high in places and r.low in places
                and isinstance(value := self.value(s.value, r), float) and not math.isnan(value)
            ]  # fmt: skip
            if found:
                self.corners[s.node] = found

    def regions(self, root: Expr) -> list[Region]:
        """The regions that an expression may be constant in."""
        found: dict[Region, None] = {}
        for e in expressions([root]):
            if isinstance(e, Op) and e.name in _SIDES:
                found.update(dict.fromkeys(r for r in _sides(e) if r is not None))
            elif isinstance(e, Load):
                found.update(dict.fromkeys(r for r, _ in self._read(e)))
        return list(found)

    def _read(self, e: Load) -> list[tuple[Region, float]]:
        """The corners of what is read, in terms of the variables that it is read by."""
        if e.guards or not isinstance(e.buf, Node):
            return []
        found = []
        for c in self.corners.get(e.buf, ()):
            high, low = e.index[c.high].as_var(), e.index[c.low].as_var()
            if high is not None and low is not None and high is not low:
                found.append((Region(high, low, c.gap), c.value))
        return found

    def value(self, root: Expr, region: Region, summed: bool = False) -> Value:
        """What an expression is all over a region; None where that differs or depends on what is not known."""
        known: dict[int, Value] = {}
        for e in expressions([root]):
            known[id(e)] = self._value(e, region, known, summed)
        return known[id(root)]

    def _value(self, e: Expr, region: Region, known: Mapping[int, Value], summed: bool) -> Value:
        if isinstance(e, Const):
            return bool(e.value) if isinstance(e.value, (bool, np.bool_)) else float(e.value)
        if isinstance(e, Load):
            return next((value for r, value in self._read(e) if region.inside(r)), None)
        if not isinstance(e, Op):
            return None
        if e.name in _SIDES:
            yes, no = _sides(e)
            for side, verdict in ((yes, True), (no, False)):
                if side is not None and region.inside(side):
                    return verdict
            return None
        return _applied(e, [known[id(a)] for a in e.args], region, summed)

    def ends(self, stage: Stage, region: Region) -> bool:
        """Whether a reduction has nothing to combine in a region."""
        if stage.combine not in ("add", "fma", "max") or not is_float(stage.node.dtype):
            return False
        combine = "add" if stage.combine == "fma" else stage.combine
        return self.value(stage.value, region, summed=True) == identity(combine, stage.node.dtype)

    def corner(self, node: Node, high: int, low: int, gap: int) -> float | None:
        """What stands all over a corner of an array, or may stand there because no reader depends on it."""
        for c in self.corners.get(node, ()):
            if (c.high, c.low) == (high, low) and gap >= c.gap:
                return c.value
        return 0.0 if self._idle(node, high, low, gap) else None

    def _idle(self, node: Node, high: int, low: int, gap: int) -> bool:
        readers = self.readers.get(node, ())
        if node in self.results:
            return False
        for s in readers:
            if s.node.op.kind == "control" or s.target is not None or s.combines or node in s.lookups:
                return False
            for read, at in s.reads:
                if read is not node:
                    continue
                a, b = at[high].as_var(), at[low].as_var()
                if a is None or b is None or a is b:
                    return False
                here = Region(a, b, gap)
                if a in s.reduce or b in s.reduce:
                    if not self.ends(s, here):
                        return False
                elif self.value(s.value, here) is None:
                    return False
        return bool(readers)


# The least distance of the two sides where a comparison holds, and of the same the other way around where it does not.
_SIDES = {"le": (0, 1), "lt": (1, 0), "ge": (0, 1), "gt": (1, 0)}


def _sides(e: Op) -> tuple[Region | None, Region | None]:
    """Where a comparison of positions holds, and where it does not."""
    a, b = e.args
    if not isinstance(a, (IndexValue, Const)) or not isinstance(b, (IndexValue, Const)):
        return None, None
    if e.name in ("ge", "gt"):
        a, b = b, a
    x, y = (v.index if isinstance(v, IndexValue) else Index((), int(v.value)) for v in (a, b))
    holds, fails = _SIDES[e.name]
    return _region(y, x, holds), _region(x, y, fails)


def _region(a: Index, b: Index, gap: int) -> Region | None:
    """Where a - b >= gap."""
    terms: dict[object, int] = {}
    for i, sign in ((a, 1), (b, -1)):
        for atom, c in i.terms:
            if not isinstance(c, int):
                return None
            terms[atom] = terms.get(atom, 0) + sign * c
    left = {atom: c for atom, c in terms.items() if c}
    if sorted(left.values()) != [-1, 1] or not isinstance(a.const, int) or not isinstance(b.const, int):
        return None
    (high,), (low,) = ([atom for atom, c in left.items() if c == sign] for sign in (1, -1))
    if not isinstance(high, IVar) or not isinstance(low, IVar):
        return None
    return Region(high, low, gap - a.const + b.const)


def _applied(e: Op, args: Sequence[Value], region: Region, summed: bool) -> Value:
    """An operation on what is known of its operands."""
    if e.name == "select":
        condition, yes, no = args
        if isinstance(condition, bool):
            return yes if condition else no
        return yes if yes is not None and yes == no else None
    if e.name == "and":
        return False if any(a is False for a in args) else all(args) if None not in args else None
    if e.name == "or":
        return True if any(a is True for a in args) else any(args) if None not in args else None
    if e.name == "not":
        return None if args[0] is None else not args[0]
    if not is_float(e.dtype) or any(isinstance(a, bool) for a in args):
        return None
    found = _arithmetic(e, args, region, summed)
    return None if found is None or math.isnan(found) else found


def _arithmetic(e: Op, args: Sequence[float | None], region: Region, summed: bool) -> float | None:
    if e.name in _UNARY:
        return None if args[0] is None else _UNARY[e.name](args[0])
    if e.name in ("mul", "pair", "div", "fma"):
        zero = next((k for k in (0, 1) if args[k] == 0.0), None)
        if zero is None or (e.name == "div" and zero) or not (summed or _of_a_row(e.args[1 - zero], region.high)):
            return None
        return args[2] if e.name == "fma" else 0.0
    if e.name in ("add", "sub"):
        a, b = args
        if a is not None and b is not None:
            return a + b if e.name == "add" else a - b
        if e.name == "add" and -math.inf in args:
            return -math.inf
        # The greatest of a row is finite where it has other elements.
        if a == -math.inf and (region.gap >= 1 or _is_finite(e.args[1])):
            return a
    return None


def _of_a_row(e: Expr, v: IVar) -> bool:
    """Whether an expression is the same along an axis."""
    found: list[Index] = []
    for x in expressions([e]):
        if isinstance(x, Load):
            found += [*x.index, *(g.index for g in x.guards)]
        elif isinstance(x, IndexValue):
            found.append(x.index)
        elif isinstance(x, Guarded):
            found += [g.index for g in x.guards]
    return not any(v in i.vars() for i in found)


def _is_finite(e: Expr) -> bool:
    """Whether an expression replaces -inf by a number, as `select(eq(m, -inf), 0, m)` does."""
    if not isinstance(e, Op) or e.name != "select":
        return False
    test, instead, value = e.args
    replaces = isinstance(test, Op) and test.name == "eq" and value in test.args
    return replaces and isinstance(instead, Const) and math.isfinite(instead.value)
