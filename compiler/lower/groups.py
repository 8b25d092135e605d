"""Groups of stages that share a kernel, and classes of axes that touch the same values at the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..graph.index import IVar
from ..graph.node import Node
from .stages import Stage, in_chunks


class Classes:
    """Union-find over loop variables, with undo."""

    def __init__(self) -> None:
        self.parent: dict[IVar, IVar] = {}
        self.log: list[IVar] = []

    def find(self, v: IVar) -> IVar:
        # Without path compression, which undo could not take back; a class never outgrows a kernel.
        while (up := self.parent.get(v)) is not None:
            v = up
        return v

    def union(self, a: IVar, b: IVar) -> None:
        a, b = self.find(a), self.find(b)
        if a is not b:
            # The older variable represents the class, so that names and orders are stable.
            if a.order > b.order:
                a, b = b, a
            self.parent[b] = a
            self.log.append(b)

    def undo(self, mark: int) -> None:
        while len(self.log) > mark:
            del self.parent[self.log.pop()]


@dataclass(eq=False, slots=True)
class Group:
    """Stages that become one kernel. `number` is the position in the order of execution.

    A "check" is rows that may fail the call, a "split" a contraction whose chunks a later kernel adds up.
    """

    kind: str  # "row" | "check" | "tile" | "split" | "vector" | "scatter" | "sequence" | "loop"
    stages: list[Stage]
    number: int
    frame: list[IVar] = field(default_factory=list)
    needs: set[Group] = field(default_factory=set)
    ops: int = 0
    work: int = 0
    outside: dict[tuple[Node, int], IVar] = field(default_factory=dict)  # which axis reads an axis of what is outside
    merged_into: Group | None = None

    def root(self) -> Group:
        group = self
        while group.merged_into is not None:
            group = group.merged_into
        return group


def settled(frame: Sequence[IVar], stages: Sequence[Stage], classes: Classes) -> list[IVar]:
    """A frame without the classes that a stage reduces while it keeps others of the frame."""
    find = classes.find
    left = list(frame)
    for s in stages:
        if s.combine == "argmax" or s.combines:
            left = [c for c in left if c not in {find(v) for v in s.reduce}]
    changed = True
    while changed:
        changed = False
        for s in stages:
            kept = [c for c in map(find, s.axes) if c in left]
            reduced = [c for c in map(find, s.reduce) if c in left]
            if kept and reduced:
                gone = kept if in_chunks(s) else reduced
                left = [c for c in left if c not in gone]
                changed = True
    return left
