"""stages → groups: which stages share their outer loops and so become one kernel.

The axes of stages that touch the same values at the same place are one class (union-find). A group's frame is the
set of classes that every stage loops over and that every value passed inside the group agrees on: those loops are
shared, everything else is inside them. Stages are taken in topological order and join the groups of their producers
while a useful frame is left, no cycle arises and the kernel stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set

from ..graph import index, sizes
from ..graph.index import Index, IVar
from ..graph.node import Node
from ..graph.sizes import Dim
from .groups import Classes, Group, settled
from .stages import Stage, in_chunks

STATEMENTS = 200  # operations of a kernel: compile time grows faster than linearly beyond
SMALL = 16384  # element operations below which parallelism does not matter
PARALLEL = 16  # shared iterations that are enough for a few cores
NEAR = 16  # groups between two that may merge: looking further would cost time quadratic in the program


class Fuser:
    """Builds the list of groups for the stages of one program."""

    def __init__(
        self, stages: Sequence[Stage], planned: Mapping[Stage, str], homes: Mapping[Node, Node] | None = None,
        fold: Callable[[Stage, Stage, Collection[Stage]], bool] = lambda stage, first, members: False,
    ) -> None:
        """`planned` tells the kind of stages with schedules of their own, `homes` the variables that nodes replace,
        `fold` whether a stage, or all that read it, can be found as a contraction's tiles are finished."""
        self.stages = stages
        self.planned = planned
        self.fold = fold
        self.homes = homes or {}
        self.readers: dict[Node, list[Stage]] = {v: [] for v in self.homes.values()}
        self.classes = Classes()
        self.maker: dict[Node, Stage] = {s.node: s for s in stages}
        self.binders: dict[Dim, Stage] = {
            s.node["trips"]: s for s in stages if s.node.op.name == "while" and s.node["trips"] is not None
        }
        self.group_of: dict[Stage, Group] = {}
        self.groups: list[Group] = []
        self.parts_of: dict[Node, list[Stage]] = {}  # those that are placed

    def run(self) -> list[Group]:
        for stage in self.stages:
            self.place(stage)
        return [g for g in self.groups if g.merged_into is None]

    def producers(self, stage: Stage) -> list[tuple[Stage, tuple[Index, ...]]]:
        return [(self.maker[n], at) for n, at in stage.reads if n in self.maker and self.maker[n] is not stage]

    def place(self, stage: Stage) -> None:
        for node, _ in stage.reads:
            if node in self.readers:
                self.readers[node].append(stage)
        kind = {"scatter": "scatter", "sequence": "sequence", "control": "loop"}.get(stage.node.op.kind, "row")
        kind = "loop" if stage.parts else self.planned.get(stage, kind)
        if stage.node.op.name == "check_index":
            kind = "check"
        needed = {self.group_of[p].root() for p, _ in self.producers(stage)}
        others = (*self._operands(stage), *self._binders(stage), *self._earlier(stage))
        needed |= {self.group_of[p].root() for p in others}
        beside = self._beside(stage)
        if kind == "row" and (
            self._fold(stage, needed) or self._trail(stage, needed) or self._join(stage, needed, beside)
            or (beside and self._join(stage, needed | beside)) or self._alongside(stage, needed)
        ):
            return
        if kind == "row" and not needed and self._join_parts(stage):
            return
        group = Group(kind, [stage], len(self.groups), needs=needed, ops=stage.ops + 1, work=stage.work())
        group.frame = self.frame([stage])
        self.groups.append(group)
        self.group_of[stage] = group
        self._note_reads(group, stage)

    def _fold(self, stage: Stage, needed: set[Group]) -> bool:
        """Puts a reduction into the group of the contraction that it reads."""
        if not stage.reduce:
            return False
        latest = max((g.number for g in needed), default=-1)
        ready = [g for g in needed if g.kind == "tile" and g.number == latest]
        for home in ready or self._movable(needed):
            if not self.fold(stage, home.stages[0], home.stages):
                continue
            for producer, at in self.producers(stage):
                if self.group_of[producer].root() is home:
                    for axis, i in zip(producer.axes, at, strict=True):
                        self._identify(stage, axis, i.as_var())
            home.stages.append(stage)
            home.needs |= needed - {home}
            home.ops += stage.ops + 1
            home.work += stage.work()
            self.group_of[stage] = home
            if not ready:
                self._move(home)
            return True
        return False

    def _trail(self, stage: Stage, needed: set[Group]) -> bool:
        """Puts a stage whose readers may follow it there into the group of a contraction, although it needs what comes
        later: both run after that."""
        if stage.reduce:
            return False
        for home in self._movable(needed):
            later = any(g.number > home.number for g in needed)
            if later and self.fold(stage, home.stages[0], home.stages) and self._extend(home, stage):
                self._move(home)
                return True
        return False

    def _movable(self, groups: set[Group]) -> list[Group]:
        """The contractions of some groups whose results nothing has needed so far, so that they can run last."""
        last = Group("tile", [], len(self.groups))
        tiles = sorted((g for g in groups if g.kind == "tile"), key=lambda g: g.number)
        return [g for g in tiles if not self._between(g, last)]

    def _move(self, home: Group) -> None:
        """Lets a group run after all that there are so far."""
        moved = Group("tile", home.stages, len(self.groups), home.frame, home.needs, home.ops, home.work, home.outside)
        self.groups.append(moved)
        home.merged_into = moved
        for s in moved.stages:
            self.group_of[s] = moved

    def _binders(self, stage: Stage) -> list[Stage]:
        """Loops that tell extents of the stage."""
        if not self.binders:
            return []
        dims = dict.fromkeys(d for v in stage.loop_axes for d in sizes.dims_of(v.extent))
        return [self.binders[d] for d in dims if d in self.binders]

    def _earlier(self, stage: Stage) -> list[Stage]:
        """Stages that have to be done before, though nothing of theirs is read."""
        return [self.maker[n] for n in stage.after if n in self.maker and self.maker[n] is not stage]

    def _operands(self, stage: Stage) -> list[Stage]:
        """Whole-array operands of loops, which are not reads of elements."""
        if stage.parts:
            return [self.maker[n] for n in stage.parts]
        if stage.node.op.kind != "control":
            return []
        return [self.maker[n] for n in stage.node.inputs if n in self.maker]

    def _join_parts(self, stage: Stage) -> bool:
        """Adds a stage that needs no other to parts of a concatenation which read the same arrays."""
        reads = {node for node, at in stage.reads if any(i.terms for i in at)}
        if stage.reduce or not reads:
            return False
        for group in reversed(self.groups[-NEAR:]):
            if group.kind != "row" or group.merged_into is not None:
                continue
            parts = [s for s in group.stages if s.part is not None and s.node.shape == stage.node.shape]
            if any(reads <= {node for node, _ in (*s.reads, *group.outside)} for s in parts):
                return self._extend(group, stage)
        return False

    def _beside(self, stage: Stage) -> set[Group]:
        """The groups of the other parts of a concatenation."""
        if stage.part is None:
            return set()
        found = {self.group_of[s].root() for s in self.parts_of.get(stage.part.whole, ())}
        self.parts_of.setdefault(stage.part.whole, []).append(stage)
        return found

    def _join(self, stage: Stage, needed: set[Group], beside: Set[Group] = frozenset()) -> bool:
        """Adds the stage to its latest producer's group and merges the others into that, as well as what is beside
        it; False when it joins none."""
        if not needed:
            return False
        candidates = sorted(needed, key=lambda g: -g.number)
        home = candidates[0]
        if not self._extend(home, stage):
            return False
        for other in (*candidates[1:], *sorted(beside - needed, key=lambda g: -g.number)):
            if other.number < home.number and home.number - other.number <= NEAR and not self._between(other, home):
                self._merge(home, other)
        return True

    def _alongside(self, stage: Stage, needed: set[Group]) -> bool:
        """Adds an elementwise stage to a late group of such that reads the same array, which then is read once."""
        first = max((g.number for g in needed), default=-1)
        for home in reversed(self.groups[max(first + 1, len(self.groups) - NEAR) :]):
            if home.merged_into is None and home.kind == "row" and _alike(stage, home) and self._extend(home, stage):
                return True
        return False

    def _between(self, early: Group, late: Group) -> bool:
        """Whether a group that runs between the two needs `early`, which then cannot move down to `late`."""
        return any(
            group.merged_into is None and early in {g.root() for g in group.needs}
            for group in self.groups[early.number + 1 : late.number]
        )

    def _extend(self, home: Group, stage: Stage) -> bool:
        """Adds a stage to a group, looking at that stage alone; False leaves everything as it was."""
        if home.kind not in ("row", "tile") or home.ops + stage.ops + 1 > STATEMENTS or self._too_early(home, stage):
            return False
        find = self.classes.find
        inside = [(p, at) for p, at in self.producers(stage) if self.group_of[p].root() is home]
        if any(in_chunks(p) for p, _ in inside):
            return False
        mark = len(self.classes.log)
        for producer, at in inside:
            for axis, i in zip(producer.axes, at, strict=True):
                self._identify(stage, axis, i.as_var())
        for other in self.parts_of.get(stage.part.whole, ()) if stage.part is not None else ():
            if other is not stage and self.group_of[other].root() is home and other.node.shape == stage.node.shape:
                for axis, own_axis in zip(other.axes, stage.axes, strict=True):
                    self._identify(stage, axis, own_axis)
        for node, at in stage.reads:
            for k, i in enumerate(at):
                known = home.outside.get((node, k))
                if known is not None:
                    self._identify(stage, known, i.as_var())
        own = {find(v) for v in stage.loop_axes}
        lost: set[IVar] = set()
        for producer, at in inside:
            for axis, i in zip(producer.axes, at, strict=True):
                v = i.as_var()
                if v is None or find(v) is not find(axis):
                    lost.add(find(axis))
            lost |= {find(v) for v in producer.reduce}
        frame = [c for c in dict.fromkeys(map(find, home.frame)) if c in own and c not in lost]
        if not self._suits(home, stage, own, frame) or self._across(home, stage):
            self.classes.undo(mark)
            return False
        if not self._keeps_rows([*home.stages, stage], frame):
            self.classes.undo(mark)
            return False
        home.stages.append(stage)
        home.frame = frame
        home.ops += stage.ops + 1
        home.work += stage.work()
        self.group_of[stage] = home
        home.needs = {g.root() for g in home.needs} | {self.group_of[p].root() for p, _ in self.producers(stage)}
        home.needs |= {self.group_of[p].root() for p in self._earlier(stage)}
        home.needs.discard(home)
        self._note_reads(home, stage)
        return True

    def _too_early(self, home: Group, stage: Stage) -> bool:
        """Whether a new value of a variable would be made before the old one is read, and so could not replace it."""
        variable = self.homes.get(stage.node)
        if variable is None:
            return False
        placed = (self.group_of[r].root() for r in self.readers[variable] if r is not stage)
        return any(group.number > home.number for group in placed)

    def _across(self, home: Group, stage: Stage) -> bool:
        """Whether the stage walks through much memory along one axis, the group along another: lanes have but one."""
        if home.kind != "row":
            return False
        find = self.classes.find
        theirs: dict[IVar, int] = {}
        for s in home.stages:
            for v, n in s.walks().items():
                theirs[find(v)] = theirs.get(find(v), 0) + n
        mine: dict[IVar, int] = {}
        for v, n in stage.walks().items():
            mine[find(v)] = mine.get(find(v), 0) + n
        if not mine or not theirs:
            return False
        a, b = max(theirs, key=lambda v: theirs[v]), max(mine, key=lambda v: mine[v])
        much = SMALL < theirs[a] < 16 * mine[b] and SMALL < mine[b] < 16 * theirs[a]
        return a is not b and much and theirs.get(b, 0) <= 0 and mine.get(a, 0) <= 0

    def _keeps_rows(self, members: Sequence[Stage], frame: Sequence[IVar]) -> bool:
        """Whether the order of every sum stays what its shape says: the rows of one in chunks are shared, and no axis
        that another one with axes left is taken over."""
        find = self.classes.find
        if not all(find(v) in frame for s in members if in_chunks(s) for v in s.reduce if v.extent != 1):
            return False
        shared = settled(frame, members, self.classes)
        return not any(
            find(v) in shared
            for s in members
            if not in_chunks(s) and any(a.extent != 1 for a in s.axes)
            for v in s.reduce
        )

    def _identify(self, stage: Stage, axis: IVar, v: IVar | None) -> None:
        """Puts a new stage's variable into the class of an axis, unless it is in one or the stage has that class."""
        if v is None or v.extent != axis.extent or v in self.classes.parent:
            return
        a = self.classes.find(axis)
        if a is not v and all(self.classes.find(x) is not a for x in stage.loop_axes):
            self.classes.union(axis, v)

    def _note_reads(self, group: Group, stage: Stage) -> None:
        """Remembers by which axes the group walks through what lies outside: others can share those loops."""
        for node, at in stage.reads:
            if node in self.maker and self.group_of[self.maker[node]].root() is group:
                continue
            for k, i in enumerate(at):
                v = i.as_var()
                if v is not None:
                    group.outside.setdefault((node, k), v)

    def _suits(self, home: Group, stage: Stage, own: set[IVar], frame: list[IVar]) -> bool:
        """Whether a kernel with one more stage and this frame is worth having."""
        find = self.classes.find
        if home.kind == "tile":
            # What follows a contraction joins as an epilogue: the same elements, no further reduction.
            out = {find(v) for v in home.stages[0].axes}
            looked_up = any(n in self.maker and self.group_of[self.maker[n]].root() is home for n in stage.lookups)
            return own == out and not stage.reduce and not looked_up and out <= set(frame)
        if not stage.loop_axes and all(not s.loop_axes for s in home.stages):
            return True
        if not frame:
            return False
        return home.work + stage.work() <= SMALL or _count(frame) >= min(_count(home.frame), PARALLEL)

    def _merge(self, home: Group, other: Group) -> None:
        """Merges an earlier group into a later one that reads it, where they keep a frame worth having."""
        if home.kind != "row" or other.kind != "row" or home.ops + other.ops > STATEMENTS:
            return
        members = [*other.stages, *home.stages]
        mark = len(self.classes.log)
        self._unify(members, set(members))
        frame = self.frame(members)
        small = home.work + other.work <= SMALL
        least = min(_count(home.frame), _count(other.frame), PARALLEL)
        scalars = all(not s.loop_axes for s in members)
        if not scalars and (
            not frame or not self._keeps_rows(members, frame) or not (small or _count(frame) >= least)
        ):
            self.classes.undo(mark)
            return
        home.stages, home.frame = members, frame
        home.ops += other.ops
        home.work += other.work
        other.merged_into = home
        for s in other.stages:
            self.group_of[s] = home
        home.needs = {g.root() for g in home.needs | other.needs} - {home}
        home.outside = {}
        for s in members:
            self._note_reads(home, s)

    def prepend(self, group: Group, stage: Stage) -> bool:
        """Puts a stage that the group's members read in front of them, if they keep a frame; else changes nothing."""
        members = [stage, *group.stages]
        mark = len(self.classes.log)
        self._unify(members, set(members))
        frame = self.frame(members)
        scalars = not any(s.loop_axes for s in group.stages)
        if not scalars and not (frame and self._keeps_rows(members, frame)):
            self.classes.undo(mark)
            return False
        group.stages, group.frame = members, frame
        self.group_of[stage] = group
        return True

    def _unify(self, members: list[Stage], inside: set[Stage]) -> None:
        """Makes variables that a shared value identifies one class, unless a stage would then have an axis twice."""
        find, union = self.classes.find, self.classes.union
        holders: dict[IVar, set[Stage]] = {}
        for s in members:
            for v in s.loop_axes:
                holders.setdefault(find(v), set()).add(s)
        for s in members:
            for producer, at in self.producers(s):
                if producer not in inside:
                    continue
                for axis, i in zip(producer.axes, at, strict=True):
                    var = i.as_var()
                    if var is None or var.extent != axis.extent:
                        continue
                    a, b = find(axis), find(var)
                    if a is b or holders[a] & holders[b]:
                        continue
                    together = holders.pop(a) | holders.pop(b)
                    union(a, b)
                    holders[find(a)] = together
        # What is read from outside identifies axes too: two reductions of one array can share their loop.
        first: dict[tuple[Node, int], IVar] = {}
        for s in members:
            for node, at in s.reads:
                if node in self.maker and self.maker[node] in inside:
                    continue
                for k, i in enumerate(at):
                    var = i.as_var()
                    if var is None:
                        continue
                    known = first.setdefault((node, k), var)
                    a, b = find(known), find(var)
                    if a is b or holders[a] & holders[b] or known.extent != var.extent:
                        continue
                    together = holders.pop(a) | holders.pop(b)
                    union(a, b)
                    holders[find(a)] = together

    def frame(self, members: Sequence[Stage]) -> list[IVar]:
        """The classes that all members loop over and agree on, in the axis order of the member with most axes."""
        find = self.classes.find
        widest = max(members, key=lambda s: len(s.loop_axes))
        common = [find(v) for v in widest.loop_axes]
        inside = set(members)
        read_inside: set[Stage] = set()
        sets = {s: {find(v) for v in s.loop_axes} for s in members}
        allowed = set(common).intersection(*sets.values())
        for s in members:
            for producer, at in self.producers(s):
                if producer not in inside:
                    continue
                read_inside.add(producer)
                for axis, i in zip(producer.axes, at, strict=True):
                    v = i.as_var()
                    if v is None or find(v) is not find(axis):
                        allowed.discard(find(axis))
        for producer in read_inside:
            allowed -= {find(v) for v in producer.reduce}
        return [c for c in dict.fromkeys(common) if c in allowed]


def _alike(stage: Stage, home: Group) -> bool:
    """Whether a stage and all of a group are elementwise, of one shape, and walk through an array in the same way."""
    if stage.reduce or not stage.axes or stage.target is not None or stage.combines or stage.part is not None:
        return False
    shape = stage.node.shape
    if any(s.reduce or s.target is not None or s.combines or s.node.shape != shape for s in home.stages):
        return False
    own = tuple(map(index.of, stage.axes))
    walked = {node for s in home.stages for node, at in s.reads if at == tuple(map(index.of, s.axes))}
    return any(node in walked and at == own for node, at in stage.reads)


def _count(frame: Sequence[IVar]) -> int:
    total = 1
    for v in frame:
        total *= sizes.hint(v.extent)
    return total
