"""Puts a stage's expression into a kernel: loop variables become the kernel's, nodes become buffers or values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..graph import index
from ..graph.index import Guard, Index, IVar, Lookup, Quotient, Remainder
from ..graph.node import Node, attribute_key
from .ir import Const, Expr, Guarded, IndexValue, Load, Op, expressions

Resolve = Callable[[Node, tuple[Index, ...], tuple[Guard, ...], Expr | None], Expr]


def place_index(i: Index, values: Mapping[IVar, Index], source: Callable[[Node], object]) -> Index:
    """Substitutes variables and lets lookups read buffers instead of nodes."""
    if not i.terms:
        return i
    var = i.as_var()
    if var is not None:
        found = values.get(var)
        return index.of(var) if found is None else found
    total = Index((), i.const)
    for atom, c in i.terms:
        if isinstance(atom, IVar):
            part = values.get(atom)
            part = index.of(atom) if part is None else part
        elif isinstance(atom, Quotient):
            part = index.floordiv(place_index(atom.key[0], values, source), atom.key[1])
        elif isinstance(atom, Remainder):
            part = index.mod(place_index(atom.key[0], values, source), atom.key[1])
        else:
            node, at, extent = atom.key
            inner = tuple(place_index(k, values, source) for k in at)
            part = Index(((Lookup(source(node) if isinstance(node, Node) else node, inner, extent), 1),))
        total = index.add(total, index.scale(part, c))
    return total


class Shared:
    """Expressions of one straight line, each kept once: equal operations on equal operands are one object."""

    def __init__(self) -> None:
        self._table: dict[tuple[object, ...], Expr] = {}

    def keep(self, expr: Expr) -> Expr:
        if isinstance(expr, Op):
            key: tuple[object, ...] = ("op", expr.name, tuple(map(id, expr.args)), expr.dtype, expr.attr)
        elif isinstance(expr, Load):
            key = ("load", expr.buf, expr.index, expr.guards, id(expr.fill))
        elif isinstance(expr, Const):
            key = ("const", attribute_key(expr.value), expr.dtype)
        elif isinstance(expr, IndexValue):
            key = ("index", expr.index, expr.dtype)
        elif isinstance(expr, Guarded):
            key = ("guarded", expr.guards, id(expr.expr), id(expr.fill))
        else:
            return expr
        return self._table.setdefault(key, expr)


def instantiate(
    root: Expr, values: Mapping[IVar, Index], resolve: Resolve, source: Callable[[Node], object], shared: Shared
) -> Expr:
    """The expression with its variables and reads replaced, sharing what `shared` already holds."""
    memo: dict[int, Expr] = {}
    for expr in expressions([root]):
        if isinstance(expr, Load):
            at = tuple(place_index(i, values, source) for i in expr.index)
            guards = place_guards(expr.guards, values, source)
            fill = memo[id(expr.fill)] if expr.fill is not None and guards else None
            new = resolve(expr.buf, at, guards, fill)
        elif isinstance(expr, Op):
            new = Op(expr.name, tuple(memo[id(a)] for a in expr.args), expr.dtype, expr.attr)
        elif isinstance(expr, IndexValue):
            new = IndexValue(place_index(expr.index, values, source), expr.dtype)
        elif isinstance(expr, Guarded):
            guards = place_guards(expr.guards, values, source)
            inside = memo[id(expr.expr)]
            new = Guarded(guards, inside, memo[id(expr.fill)], expr.dtype) if guards else inside
        else:
            new = expr
        memo[id(expr)] = shared.keep(new)
    return memo[id(root)]


def place_guards(
    guards: tuple[Guard, ...], values: Mapping[IVar, Index], source: Callable[[Node], object]
) -> tuple[Guard, ...]:
    placed = (Guard(place_index(g.index, values, source), g.size, g.divisor) for g in guards)
    return tuple(g for g in placed if not g.always())
