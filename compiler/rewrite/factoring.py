"""Common factors of sums of products, pulled out where that takes fewer operations.

Reverse mode makes such sums: every term of a cotangent carries the cotangents that it was multiplied by on its way.
The search is the greedy one of Breuer, Generation of Optimal Code for Expressions via Factorization (1969): the factor
that most terms share goes first, then the rest is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..graph import build as b
from ..graph import dtypes
from ..graph.node import Node, make
from .engine import Rule, Uses

_SUMS = ("add", "subtract")
_TERMS = 8
_FACTORS = 12

# A number and the factors that it multiplies, in the order of their first appearance.
_Term = tuple[float, tuple[Node, ...]]


def _common_factor(node: Node, uses: Uses) -> Node | None:
    """a·b·c + a·d → a · (b·c + d), over all terms of a sum, where that saves an operation."""
    if not dtypes.is_float(node.dtype) or all(x.op.name not in ("multiply", *_SUMS) for x in node.inputs):
        return None
    if uses.known(node) and uses.once(node) and uses.only(node, _SUMS):
        return None  # a part of a longer sum
    own = _own(node, uses)
    terms = _terms(node, own)
    if len(terms) > _TERMS or any(len(factors) > _FACTORS or not _modest(k) for k, factors in terms):
        return None
    if _shared(terms) is None and _number(terms) is None:
        return None
    found = _sum(_factored(terms))
    leaves = {f for _, factors in terms for f in factors}
    fewer = _cost(found, leaves, lambda n: uses.known(n) and n not in own) < _cost(node, leaves, lambda n: n not in own)
    return found if fewer else None


def _modest(number: float) -> bool:
    """Whether its product and its ratio with another such number are far from the limits of every float."""
    return 1e-15 < abs(number) < 1e15


def _own(root: Node, uses: Uses) -> set[Node]:
    """The sums under the root, and the products under these, that nothing outside of them needs."""
    own = {root}
    counts: dict[Node, int] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        for operand in node.inputs:
            counts[operand] = counts.get(operand, 0) + 1
            inside = operand.op.name == "multiply" or (operand.op.name in _SUMS and node.op.name in _SUMS)
            if inside and counts[operand] == uses.count(operand) and len(own) < _TERMS * _FACTORS:
                own.add(operand)
                stack.append(operand)
    return own


def _terms(root: Node, own: set[Node]) -> list[_Term]:
    terms: list[_Term] = []
    stack = [(1.0, root)]
    while stack and len(terms) <= _TERMS:
        sign, node = stack.pop()
        if node in own and node.op.name in _SUMS:
            x, y = node.inputs
            stack.append((sign if node.op.name == "add" else -sign, y))
            stack.append((sign, x))
        else:
            terms.append(_term(sign, node, own))
    return terms


def _term(number: float, product: Node, own: set[Node]) -> _Term:
    factors: list[Node] = []
    stack = [product]
    while stack and len(factors) <= _FACTORS:
        node = stack.pop()
        if node in own and node.op.name == "multiply":
            stack.extend(reversed(node.inputs))
        elif node is not product and (value := b.constant_value(node)) is not None:
            number *= value
        else:
            factors.append(node)
    return number, tuple(factors)


def _shared(terms: list[_Term]) -> Node | None:
    """The factor of most terms, the first of those that as many have. A term that is one factor keeps it: a + a·b needs
    no other operation than one fma."""
    counts: dict[Node, int] = {}
    for _, factors in terms:
        if len(factors) > 1:
            for f in dict.fromkeys(factors):
                counts[f] = counts.get(f, 0) + 1
    best = max(counts, key=lambda f: counts[f], default=None)
    return best if best is not None and counts[best] > 1 else None


def _number(terms: list[_Term]) -> float | None:
    """The number of most terms, if it multiplies several of them, or if every term has one."""
    counts: dict[float, int] = {}
    for k, _ in terms:
        counts[abs(k)] = counts.get(abs(k), 0) + 1
    ones = counts.pop(1.0, 0)
    best = max(counts, key=lambda k: counts[k], default=None)
    return best if best is not None and len(terms) > 1 and (counts[best] > 1 or not ones) else None


def _factored(terms: list[_Term]) -> list[_Term]:
    """The same sum, in which no two products share a factor."""
    while (shared := _shared(terms)) is not None:
        inner: list[_Term] = []
        outer: list[_Term] = []
        for k, factors in terms:
            if len(factors) > 1 and shared in factors:
                at = factors.index(shared)
                inner.append((k, factors[:at] + factors[at + 1 :]))
            else:
                outer.append((k, factors))
        k, factors = _one(_factored(inner))
        terms = [*outer, (k, (*factors, shared))]
    if (number := _number(terms)) is not None:
        return [(number, _one([(k / number, factors) for k, factors in terms])[1])]
    return terms


def _one(terms: list[_Term]) -> _Term:
    return terms[0] if len(terms) == 1 else (1.0, (_sum(terms),))


def _sum(terms: list[_Term]) -> Node:
    """Terms without a product come first, so that each product that follows can go into an fma."""
    ordered = sorted(terms, key=lambda t: (t[0] == -1.0, len(t[1]) > 1 or abs(t[0]) != 1.0))
    total = _product(*ordered[0])
    for k, factors in ordered[1:]:
        if k == -1.0:
            total = make("subtract", (total, _product(1.0, factors)))
        else:
            total = make("add", (total, _product(k, factors)))
    return total


def _product(number: float, factors: Iterable[Node]) -> Node:
    """Squares first, which other terms may have too; the number last, where it meets others."""
    powers: dict[Node, int] = {}
    for f in factors:
        powers[f] = powers.get(f, 0) + 1
    parts: list[Node] = []
    for f, n in powers.items():
        parts += [b.mul(f, f)] * (n // 2) + [f] * (n % 2)
    total = parts[0]
    for part in parts[1:]:
        total = b.mul(total, part)
    if abs(number) != 1.0:
        return b.mul(total, number)  # type: ignore[no-any-return]
    return total if number > 0 else b.neg(total)


def _cost(root: Node, leaves: set[Node], outside: Callable[[Node], bool]) -> int:
    """Operations down to the leaves, an addition with a product that only it needs counted as one."""
    found: list[Node] = []
    counts: dict[Node, int] = {}
    seen = set(leaves)
    stack = [root]
    while stack:
        node = stack.pop()
        if node in seen or (node is not root and outside(node)):
            continue
        seen.add(node)
        found.append(node)
        for operand in node.inputs:
            counts[operand] = counts.get(operand, 0) + 1
            stack.append(operand)
    mine = set(found)
    merged = sum(
        any(x.op.name == "multiply" and x in mine and counts[x] == 1 for x in node.inputs)
        for node in found
        if node.op.name in _SUMS
    )
    return len(found) - merged


RULES = (Rule("common-factor", "rounding", _SUMS, _common_factor, phase=1),)
