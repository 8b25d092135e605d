"""What contractions share with other schedules: operands computed on the way in, results on the way out."""

from __future__ import annotations

from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from .groups import Classes, Group
from .instantiate import Shared, instantiate
from .ir import Const, Expr, Guarded, Load, Stmt, Store
from .schedule import Placement
from .stages import Stage


def placed(expr: Expr, values: dict[IVar, Index], place: Placement, local: dict[Node, Expr], shared: Shared) -> Expr:
    """An expression at the indices `values`, with `local` values for what is not in memory."""

    def resolve(node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
        if node in local:
            return local[node] if fill is None else Guarded(guards, local[node], fill, node.dtype)
        return Load(place.buffer(node), at, node.dtype, guards, fill)

    return instantiate(expr, values, resolve, place.buffer, shared)


def finished(
    group: Group, classes: Classes, place: Placement, values: dict[IVar, Index], element: Expr
) -> list[Stmt]:
    """What happens to a finished element of a contraction: the stages of its group, at the place that `values` tell."""
    by_class = {classes.find(v): at for v, at in values.items()}
    local: dict[Node, Expr] = {group.stages[0].node: element}
    body: list[Stmt] = []
    shared = Shared()
    for s in group.stages:
        mine = {v: by_class[classes.find(v)] for v in s.axes}
        if s is not group.stages[0]:
            local[s.node] = placed(s.value, mine, place, local, shared)
        if place.external(s):
            body.append(Store(place.result(s), s.stored_at([mine[v] for v in s.axes]), local[s.node]))
    return body


def filled(group: Group, classes: Classes, place: Placement, values: dict[IVar, Index], by: dict[Stage, float]) -> (
    list[Stmt]
):
    """What is stored where the results of a contraction are constant, at the place that `values` tell."""
    by_class = {classes.find(v): at for v, at in values.items()}
    return [
        Store(place.result(s), s.stored_at([by_class[classes.find(v)] for v in s.axes]), Const(value, s.node.dtype))
        for s, value in by.items()
    ]
