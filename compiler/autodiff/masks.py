"""Cotangents that remember which elements of them count.

`where` gives the branch not taken a cotangent of 0, but what follows may turn 0 into NaN: 0 / 0 in the rule of `log`,
0 · inf in that of `sqrt`. So the condition travels along, through elementwise operations and movements of elements,
and is selected by once more where it is needed: before elements are added up or leave through another kind of rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

from ..graph import build as b
from ..graph import dtypes
from ..graph.node import Node, make


def only_moves(node: Node) -> bool:
    """Whether the rule of a node only moves elements, so that it moves a mask as well as a cotangent."""
    name = node.op.name
    moves = name in ("reshape", "permute", "slice", "diagonal", "concat")
    return moves or (name == "pad" and node.inputs[1].op.name == "literal")


# Bounds that keep long chains linear: masks of one cotangent, and moves that a mask waits for.
_MASKS, _DEPTH = 8, 32


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Elements count where `condition()` is `positive`. Masks of one key are the same.

    The condition is built when it is needed, which is seldom; `depth` counts the moves that it waits for.
    """

    key: object
    condition: Callable[[], Node]
    positive: bool
    depth: int = 0

    def select(self, g: Node) -> Node:
        c = self.condition()
        return b.where(c, g, 0) if self.positive else b.where(c, 0, g)

    def counting(self) -> Node:
        c = self.condition()
        return c if self.positive else make("logical_not", (c,))

    def through(self, node: Node, operand: int) -> Mask:
        """The mask of an operand's cotangent, given that of the node's."""

        def moved() -> Node:
            if node.op.name == "broadcast":
                return _any(self.counting(), node)
            assert node.op.vjp is not None
            part = node.op.vjp(node, self.counting())[operand]
            assert isinstance(part, Node)
            return part

        # Long chains of moves are built piece by piece: neither functions nor keys may nest without bound.
        if self.depth >= _DEPTH:
            return of_condition(moved())
        return Mask((self.key, node, operand), moved, True, self.depth + 1)


def of_condition(condition: Node) -> Mask:
    return Mask((condition, True), lambda: condition, True)


def of_branch(node: Node, operand: int) -> Mask:
    """The mask of a branch of a `where`."""
    condition = node.inputs[0]
    return Mask((condition, operand == 1), lambda: condition, operand == 1)


def _any(mask: Node, node: Node) -> Node:
    """Whether any of the elements that one element was broadcast to counts."""
    assert node.op.vjp is not None
    (number,) = node.op.vjp(node, b.cast(mask, dtypes.INT64))
    assert isinstance(number, Node)
    return make("not_equal", (number, b.zeros_like(number)))


@dataclass(frozen=True, slots=True)
class Cotangent:
    """`value` and the masks that hold for it; `dirty` when elements that do not count may be other than 0."""

    value: Node
    masks: tuple[Mask, ...] = ()
    dirty: bool = False

    def settled(self) -> Node:
        value = self.value
        if self.dirty:
            for mask in self.masks:
                value = mask.select(value)
        return value


def total(parts: Sequence[Cotangent]) -> Cotangent:
    """The sum, first to last; masks that all have in common hold for it too."""
    if len(parts) == 1:
        return parts[0]
    common = {m.key for m in parts[0].masks}.intersection(*({m.key for m in p.masks} for p in parts[1:]))
    value: Node | None = None
    for part in parts:
        own = Cotangent(part.value, tuple(m for m in part.masks if m.key not in common), part.dirty).settled()
        value = own if value is None else b.add(value, own)
    assert value is not None
    return Cotangent(value, tuple(m for m in parts[0].masks if m.key in common), any(p.dirty for p in parts))


def chosen(node: Node, operand: int, g: Cotangent, value: Node) -> Cotangent:
    """The cotangent of a branch of a `where`, or of what `clip` lets through, whose rule has just selected `value`."""
    new = of_branch(node, operand) if node.op.name == "where" else of_condition(value.inputs[0])
    others = tuple(m for m in g.masks if m.key != new.key)
    if len(others) >= _MASKS:
        merged = make("logical_and", (others[0].counting(), others[1].counting()))
        others = (of_condition(merged), *others[2:])
    return Cotangent(value, (*others, new), g.dirty and bool(others))


def keeps_zero(value: Node, g: Node) -> bool:
    """Whether `value` is certainly 0 where `g` is: it was passed on, negated, scaled by a number or selected from."""
    if value is g or b.constant_value(value) == 0:
        return True
    name, inputs = value.op.name, value.inputs
    if name in ("negative", "cast"):
        return keeps_zero(inputs[0], g)
    if name == "where":
        return keeps_zero(inputs[1], g) and keeps_zero(inputs[2], g)
    if name == "multiply":
        factors = [x for x in inputs if x is not g]
        number = b.constant_value(factors[0]) if len(factors) == 1 else None
        return number is not None and isfinite(number)
    return False
