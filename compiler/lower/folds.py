"""Extrema of a contraction's rows, found as its tiles are finished: the product itself is never stored.

A maximum, or its position, over the rows of a tile plan goes through them in order, with the columns as lanes. No sum
does: its tree must not depend on what it is fused with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graph import index
from ..graph.dtypes import INT64
from ..graph.index import Index, IVar
from ..graph.node import Node
from .fuse import Classes
from .ir import Buf, Const, Expr, Loop, Reduce, Stmt, Store
from .schedule import Placement, clear, identity_of, lanes_for
from .stages import Stage
from .tiles import Plan, whole_rows

PANELS = 8  # panels of columns that keep a few cores busy


def reduces(stage: Stage) -> bool:
    """Whether the stage is of a kind that folds: the result does not depend on the order, or on the first of equals."""
    return stage.node.op.kind == "reduction" and stage.combine in ("max", "argmax") and bool(stage.axes)


def over(stage: Stage, producer: Stage) -> tuple[IVar, ...] | None:
    """Which axes of a producer's value the stage reduces, in its order, if it reads each element in its own place."""
    found: list[IVar] | None = None
    for node, at in stage.reads:
        if node is not producer.node:
            continue
        reader = {i.as_var(): axis for i, axis in zip(at, producer.axes, strict=True)}
        if None in reader or len(reader) != len(stage.loop_axes) or not reader.keys() <= set(stage.loop_axes):
            return None
        axes = [reader[v] for v in stage.reduce]
        if found is not None and found != axes:
            return None
        found = axes
    return None if found is None else tuple(found)
