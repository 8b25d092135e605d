"""Chains: kernels that follow each other chunk by chunk.

Neighbouring groups whose loops begin with the same axes, and which pass values only at the same place along these, need
not each go through whole arrays: one kernel takes one step of the shared axes through all of them. What nothing else
reads then has room for a single step, in scratch, which the second cache holds. So the scores of an attention are
never in memory, and one dispatch does for a contraction, a softmax, another contraction and their gradients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .fuse import Fuser
from .groups import Group
from .ir import Buf, Kernel, Loop
from .memory import aligned, nbytes
from .nests import Arrangement
from .schedule import Placement
from .stages import Stage
from .tiling import Plan, index_vars

LONGEST = 12  # kernels of a chain
STATEMENTS = 400  # operations of all of them
REACH = 24  # groups among which a chain finds its members

Axes = tuple[IVar, ...]  # the classes of the shared axes, as one group names them


class Owner(Placement, Protocol):
    """What is asked of the lowering of a graph."""

    roots: set[Node]
    readers: dict[Node, set[Stage]]
    fuser: Fuser
    plans: dict[Stage, Plan]
    updates: Mapping[Node, Buf]

    def gaps(self, node: Node) -> tuple[Extent, ...]: ...


@dataclass(eq=False, slots=True)
class Chain:
    """Groups in the order of execution, each with its names for the shared axes, and what has room for one step."""

    axes: dict[Group, Axes]
    count: Extent  # steps of the shared axes
    private: dict[Node, tuple[int, int]] = field(default_factory=dict)  # first and last member that touches it


class Chains:
    """Finds the chains of a list of groups."""

    def __init__(self, owner: Owner, target: Target, special: Collection[Stage]) -> None:
        """`special` are contractions with schedules of their own."""
        self.owner, self.target, self.special = owner, target, special
        self.fuser = owner.fuser
        self.leads: dict[Group, Axes] = {}
        self.found: dict[Group, Chain] = {}

    def run(self, groups: Sequence[Group]) -> list[Group]:
        """The groups in an order in which the members of a chain follow each other."""
        order, k = list(groups), 0
        while k < len(order):
            chain = self._from(order, k) if order[k] not in self.found else None
            if chain is None:
                k += 1
                continue
            end = max(order.index(g) for g in chain.axes) + 1
            late = self._dependents(order[k:end], chain.axes)
            early = [g for g in order[k:end] if g not in late and g not in chain.axes]
            order[k:end] = [*early, *chain.axes, *(g for g in order[k:end] if g in late)]
            self.found.update(dict.fromkeys(chain.axes, chain))
        return order

    def _from(self, order: Sequence[Group], start: int) -> Chain | None:
        """The chain that begins with a group and leaves most out of memory; of equals that with the smallest steps."""
        first = order[start]
        if first.kind != "tile":
            return None
        lead = self._lead(first)
        best: Chain | None = None
        for m in range(len(lead), 0, -1):
            count = sizes.product(v.extent for v in lead[:m])
            if sizes.hint(count) < 2 * self.target.workers:
                break
            chain = Chain({first: lead[:m]}, count)
            self._grow(chain, order[start + 1 : start + REACH])
            if chain.private and (best is None or _spared(chain) > _spared(best)):
                best = chain
        return best

    def _grow(self, chain: Chain, others: Sequence[Group]) -> None:
        late: set[Group] = set()
        for group in others:
            if group in self.found or len(chain.axes) == LONGEST:
                break
            needs = {g.root() for g in group.needs}
            axes = self._joining(chain, group) if not needs & late else None
            if axes is not None:
                chain.axes[group] = axes
                if self._room(chain) > self.target.l2 * 3 // 4 or sum(g.ops for g in chain.axes) > STATEMENTS:
                    del chain.axes[group]
                    axes = None
            if axes is None and (needs & (late | chain.axes.keys())):
                late.add(group)
        self._settle(chain)

    def _settle(self, chain: Chain) -> None:
        """Leaves out what stands at the end and reads nothing that the members make."""
        members = list(chain.axes)
        while len(members) > 1 and not any(
            self.fuser.group_of[p].root() in chain.axes.keys() - {members[-1]}
            for s in members[-1].stages for p, _ in self.fuser.producers(s)
        ):
            del chain.axes[members.pop()]
        self._room(chain)

    def _dependents(self, groups: Sequence[Group], members: Collection[Group]) -> set[Group]:
        found: set[Group] = set()
        for g in groups:
            if g not in members and any(n.root() in members or n.root() in found for n in g.needs):
                found.add(g)
        return found

    def _lead(self, group: Group) -> Axes:
        """The classes by which a kernel's chunks can be counted, outermost first; none if it has to stand alone."""
        if group not in self.leads:
            self.leads[group] = self._leading(group)
        return self.leads[group]

    def _leading(self, group: Group) -> Axes:
        first, find = group.stages[0], self.fuser.classes.find
        if any(s.node in self.owner.updates for s in group.stages):
            return ()  # other steps may still read the old value
        if group.kind == "tile":
            plan = self.owner.plans.get(first)
            if plan is None or first in self.special or any(s.reduce for s in group.stages[1:]):
                return ()
            assert first.factors is not None
            used = index_vars(first.factors[1 - plan.rows_operand])
            lead = [v for v in plan.batch if v.extent != 1]
            # Otherwise panels are the same for all, and packed once.
            return tuple(map(find, lead)) if any(v in used for v in lead) else ()
        if group.kind != "row":
            return ()
        rows = Arrangement(group, self.fuser.classes, self.owner, walks_flat=False)
        if any(rows.frame_reduced(s) for s in group.stages):
            return ()
        return tuple(c for c in rows.frame if c is not rows.vec and c.extent != 1)

    def _joining(self, chain: Chain, group: Group) -> Axes | None:
        """The names of the shared axes in a group that can follow the members, None where it cannot."""
        find, maker = self.fuser.classes.find, self.fuser.maker
        count = len(next(iter(chain.axes.values())))
        lead = self._lead(group)[:count]
        if len(lead) < count:
            return None
        joined = False
        for s in group.stages:
            for node, at in s.reads:
                producer = maker.get(node)
                home = self.fuser.group_of[producer].root() if producer is not None else None
                if producer is not None and home in chain.axes:
                    places = _places([find(v) for v in producer.axes], chain.axes[home])
                elif (shared := self._read_before(chain, node)) is not None:
                    places = shared
                else:
                    continue
                same = places is not None and all(
                    (v := at[k].as_var()) is not None and find(v) is c for k, c in zip(places, lead, strict=True)
                )
                if not same and home in chain.axes:
                    return None
                joined = joined or same
        return lead if joined else None

    def _read_before(self, chain: Chain, node: Node) -> tuple[int, ...] | None:
        """Along which of its axes the members walk through an array from outside as they take steps together."""
        find = self.fuser.classes.find
        for group, axes in chain.axes.items():
            for s in group.stages:
                for read, at in s.reads:
                    if read is node:
                        classes = [None if (v := i.as_var()) is None else find(v) for i in at]
                        places = _places(classes, axes)
                        if places is not None:
                            return places
        return None

    def _room(self, chain: Chain) -> int:
        """Notes what only the members touch; the most bytes that it takes at a time."""
        number = {g: k for k, g in enumerate(chain.axes)}
        chain.private = {}
        room = [0] * len(number)
        for group, axes in chain.axes.items():
            for s in group.stages:
                last = self._last_reader(s, number)
                if last is None or last == number[group] or not self._leads_with(s, axes):
                    continue
                step = [n for n, v in zip(s.node.shape, s.axes, strict=True) if self.fuser.classes.find(v) not in axes]
                size = sizes.mul(sizes.product(step), s.node.dtype.itemsize)
                if isinstance(size, int):
                    chain.private[s.node] = (number[group], last)
                    for k in range(number[group], last + 1):
                        room[k] += size
        return max(room)

    def _last_reader(self, stage: Stage, number: Mapping[Group, int]) -> int | None:
        """The last member that reads a value; None where others need it too."""
        node = stage.node
        if node in self.owner.roots or stage.part is not None or node.op.name == "check_index":
            return None
        readers = self.owner.readers.get(node, set())
        homes = [self.fuser.group_of[r].root() for r in readers]
        if not homes or any(g not in number for g in homes) or any(node in r.lookups for r in readers):
            return None
        return max(number[g] for g in homes)

    def _leads_with(self, stage: Stage, axes: Axes) -> bool:
        """Whether a value's leading axes are the shared ones."""
        own = [self.fuser.classes.find(v) for v in stage.axes if v.extent != 1]
        return tuple(own[: len(axes)]) == axes

    def buffers(self) -> dict[Node, Buf]:
        """The room of all that is never in memory: strides along the shared axes are 0."""
        made: dict[Node, Buf] = {}
        for group, chain in self.found.items():
            axes = chain.axes[group]
            for s in group.stages:
                if s.node not in chain.private:
                    continue
                outer = 1 + max(k for k, v in enumerate(s.axes) if self.fuser.classes.find(v) in axes)
                strides = (*(0,) * outer, *self.owner.gaps(s.node)[outer:])
                shape = (*(1,) * outer, *s.node.shape[outer:])
                made[s.node] = Buf(s.node.op.name, s.node.dtype, shape, "scratch", strides)
        return made


def _spared(chain: Chain) -> int:
    """Bytes that do not go through memory."""
    return sum(sizes.hint(sizes.product(n.shape)) * n.dtype.itemsize for n in chain.private)


def _places(classes: Sequence[IVar | None], axes: Axes) -> tuple[int, ...] | None:
    """The positions of the shared axes among the axes of an array."""
    if not all(c in classes for c in axes):
        return None
    return tuple(classes.index(c) for c in axes)


def chained(kernels: Sequence[Kernel], chain: Chain, homes: Mapping[Node, Buf], name: str) -> Kernel:
    """One kernel that takes every step of the shared axes through all of these, one after the other."""
    chunk = IVar("chunk", chain.count)
    kernel = Kernel(name, [], set(), chain.count, [])
    for k in kernels:
        (loop,) = k.body
        assert isinstance(loop, Loop) and loop.kind == "chunk", k.name
        each = sizes.floordiv(k.chunks, chain.count)
        lo: Index = index.scale(index.of(chunk), each)
        kernel.body.append(Loop(loop.var, lo, index.add(lo, each), "seq", loop.body))
        kernel.registers += k.registers
        kernel.nodes += k.nodes
        kernel.flops = sizes.add(kernel.flops, k.flops)
    kernel.body = [Loop(chunk, index.ZERO, index.of(chain.count), "chunk", kernel.body)]
    kernel.serial = all(k.serial for k in kernels)
    lives = [(homes[n], life) for n, life in chain.private.items()]
    lives += [(b, (at, at)) for at, k in enumerate(kernels) for b in k.scratch]
    kernel.scratch = _in_turn(lives)
    return kernel


def _in_turn(lives: Sequence[tuple[Buf, tuple[int, int]]]) -> list[Buf]:
    """The buffers with those that take the place of another whose time is over behind it."""
    places: list[tuple[Buf, Extent, int]] = []  # first owner, bytes, busy until
    order: list[Buf] = []
    for buf, (first, last) in sorted(lives, key=lambda item: item[1][0]):
        size = aligned(nbytes(buf))
        fitting = [
            k for k, (owner, n, until) in enumerate(places)
            if until < first and owner.dtype is buf.dtype and isinstance(n, int) and isinstance(size, int) and n >= size
        ]
        order.append(buf)
        if not fitting:
            places.append((buf, size, last))
            continue
        k = min(fitting, key=lambda k: (places[k][1], k))
        owner, n, _ = places[k]
        buf.base = owner
        places[k] = (owner, n, last)
    return order
