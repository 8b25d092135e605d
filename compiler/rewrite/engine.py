"""The engine that applies rules to a program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import VerifyError
from ..graph import sites
from ..graph.control import Body, bodies
from ..graph.node import Node, make, toposort
from ..graph.program import Program

CLASSES = ("exact", "rounding", "stability")


@dataclass(frozen=True, slots=True)
class Rule:
    """A local rewrite. `apply` returns what replaces the node, or None; operands are already rewritten.

    cls     "exact" (same bits; the bits of a NaN are not told apart), "rounding" or "stability"
    ops     names of the operations that it looks at
    phase   held back until all rules of earlier phases have come to rest, because it hides what they look for
    fused   only for targets that round an fma once
    """

    name: str
    cls: str
    ops: tuple[str, ...]
    apply: Callable[[Node, Uses], Node | None]
    phase: int = 0
    fused: bool = False


_NONE: frozenset[str] = frozenset()


class Uses:
    """How many operands, outputs and updates refer to a node, and operations of which names.

    Counts are exact at the start of a sweep. A rebuilt node takes over the count of its original; a node that a rule
    has made counts as used once until the next sweep.
    """

    __slots__ = ("_counts", "_users", "asked", "exact")

    def __init__(self, order: Iterable[Node], roots: Iterable[Node]) -> None:
        self.asked = False  # whether a rule has wanted to know
        self.exact = True
        self._counts: dict[Node, int] = {}
        self._users: dict[Node, set[str]] = {}
        order, roots = list(order), list(roots)
        merged = _merged(order)
        self._count(order if merged is None else dict.fromkeys(merged[n] for n in order), roots, merged)
        if merged is not None:
            self._counts.update({n: self._counts[m] for n, m in merged.items() if m in self._counts})
            self._users.update({n: self._users[m] for n, m in merged.items() if m in self._users})

    def _count(self, order: Iterable[Node], roots: Iterable[Node], merged: Mapping[Node, Node] | None) -> None:
        counts, users = self._counts, self._users
        for node in order:
            for operand in operands(node):
                counts[operand] = counts.get(operand, 0) + 1
                if counts[operand] > 1:
                    users[operand].add(node.op.name)
                else:
                    users[operand] = {node.op.name}
        for node in roots if merged is None else (merged[r] for r in roots):
            counts[node] = counts.get(node, 0) + 1
            users.setdefault(node, set()).add("")

    def once(self, node: Node) -> bool:
        """Whether nothing else would need the node if its one user no longer did."""
        self.asked = True
        return self._counts.get(node, 1) == 1

    def count(self, node: Node) -> int:
        self.asked = True
        return self._counts.get(node, 1)

    def known(self, node: Node) -> bool:
        """Whether the program has the node anyway."""
        self.asked = True
        return node in self._counts

    def only(self, node: Node, ops: Collection[str]) -> bool:
        """Whether operations of these names are all that is known to need the node."""
        self.asked = True
        return self._users.get(node, _NONE).issubset(ops)

    def move(self, old: Node, new: Node) -> None:
        self.exact = False
        self._counts[new] = self._counts.get(new, 0) + self._counts.get(old, 1)
        if (users := self._users.get(old)) is not None:
            self._users[new] = self._users.get(new, set()) | users


def _merged(order: Sequence[Node]) -> dict[Node, Node] | None:
    """What every node would be if nothing were computed again; None where nothing is.

    Rules that ask for uses then decide about both runs of a computation as they would about one, and the two keep the
    same bits.
    """
    if not any(node.op.name == "after" for node in order):
        return None
    merged: dict[Node, Node] = {}
    for node in order:
        if node.op.name == "after":
            merged[node] = merged[node.inputs[0]]
        else:
            for operand in operands(node):
                merged.setdefault(operand, operand)  # parameters of bodies
            merged[node] = rebuild(node, merged)
    return merged


def operands(node: Node) -> tuple[Node, ...]:
    """What a node needs: its inputs, and for a loop the results of its body."""
    if node.op.kind != "control":
        return node.inputs
    return (*node.inputs, *(o for body in bodies(node) for o in body.outputs))


def rebuild(node: Node, values: Mapping[Node, Node]) -> Node:
    """The node over exchanged operands, with the sites of the original; itself when no operand changes."""
    for operand in operands(node):
        if values[operand] is not operand:
            return _exchanged(node, values)
    return node


def _exchanged(node: Node, values: Mapping[Node, Node]) -> Node:
    attrs: tuple[Any, ...] = node.attrs
    if node.op.kind == "control":
        attrs = tuple(Body(a.params, [values[o] for o in a.outputs]) if isinstance(a, Body) else a for a in attrs)
    with sites.at(node.sites):
        return make(node.op, [values[i] for i in node.inputs], *attrs)


def apply_rules(program: Program, rules: Sequence[Rule]) -> tuple[Program, dict[str, int]]:
    """Applies the rules until none fires; the program (the same object if none did) and the firings of each rule."""
    firings = {rule.name: 0 for rule in rules}
    table = _Table(rules)
    phases = sorted(table.rested)
    for k, phase in enumerate(phases):
        # Where the new rules find nothing, the others have come to rest already.
        swept = _Sweep(program, table, [phase], firings).run()
        if swept is not program:
            program = _settle(swept, table, phases[: k + 1], firings)
    return program, firings


def _settle(program: Program, table: _Table, phases: Sequence[int], firings: dict[str, int]) -> Program:
    while True:
        swept = _Sweep(program, table, phases, firings).run()
        if swept is program:
            return program
        program = swept


class _Table:
    """Rules by operation, and for every phase the nodes on which its rules can never fire.

    What a rule does follows from the node and from uses, and nodes never change: where no rule fires and none has asked
    for uses, none ever will.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.rested: dict[int, set[Node]] = {rule.phase: set() for rule in rules}
        self._found: dict[tuple[str, tuple[int, ...]], list[Rule]] = {}
        self._view: tuple[Program, list[Node], Uses] | None = None

    def view(self, program: Program) -> tuple[list[Node], Uses]:
        """The nodes of a program in order, and their uses: those of the last sweep if that changed nothing."""
        if self._view is None or self._view[0] is not program or not self._view[2].exact:
            order = toposort(program.roots, operands=operands)
            self._view = program, order, Uses(order, program.roots)
        return self._view[1:]

    def of(self, node: Node, phases: Sequence[int]) -> Sequence[Rule]:
        """The rules of some phases that may fire on a node."""
        name = node.op.name
        due = tuple([phase for phase in phases if node not in self.rested[phase]])
        found = self._found.get((name, due))
        if found is None:
            found = self._found[name, due] = [r for r in self.rules if r.phase in due and name in r.ops]
        return found

    def rest(self, node: Node, phases: Sequence[int]) -> None:
        for phase in phases:
            self.rested[phase].add(node)


class _Sweep:
    """One bottom-up pass. What a rule returns is itself rewritten before anything is built on it."""

    # No chain of rewrites that makes progress comes near this many steps a node.
    STEPS_PER_NODE = 1000

    def __init__(self, program: Program, table: _Table, phases: Sequence[int], firings: dict[str, int]) -> None:
        self.program, self.table, self.phases, self.firings = program, table, phases, firings
        self.order, self.uses = table.view(program)
        self.final: dict[Node, Node] = {}

    def run(self) -> Program:
        final = self.final
        with sites.at(()) as place:
            for node in self.order:
                if node in final:
                    continue
                # Operands come first, so most nodes are done in one step, and in two where an operand has changed.
                after = self.step(node, place)
                if after is node:
                    final[node] = node
                    continue
                successor = {node: after}
                if after not in final and final.keys() >= set(operands(after)):
                    again = self.step(after, place)
                    if again is after:
                        final[node] = final[after] = after
                        continue
                    successor[after] = again
                self.settle(node, successor, place)
        self.inherit()
        return self.program.replaced(self.final)

    def settle(self, root: Node, successor: dict[Node, Node], place: sites.at) -> None:
        """Finds the final form of a node that has changed. A rewritten node waits on the stack for the final form of
        its successor; `successor` has those that are known."""
        final = self.final
        stack = [root]
        steps = 0
        while stack:
            node = stack[-1]
            if node in final:
                stack.pop()
                continue
            steps += 1
            if steps > self.STEPS_PER_NODE + 100 * len(self.order):
                raise VerifyError(f"rewriting does not end at {root!r}; firings so far: {self.firings}")
            after = successor.get(node)
            if after is None:
                waiting = [i for i in operands(node) if i not in final]
                if waiting:
                    stack.extend(reversed(waiting))
                    continue
                after = self.step(node, place)
                if after is node:
                    final[node] = node
                    stack.pop()
                    continue
                successor[node] = after
            if after in final:
                final[node] = final[after]
                stack.pop()
            else:
                stack.append(after)

    def step(self, node: Node, place: sites.at) -> Node:
        """The node over its final operands, or what the first rule that fires makes of it, at the node's sites."""
        rebuilt = rebuild(node, self.final)
        if rebuilt is not node:
            self.uses.move(node, rebuilt)
            return rebuilt
        rules = self.table.of(node, self.phases)
        if not rules:
            return node
        place.move(node.sites)
        self.uses.asked = False
        for rule in rules:
            changed = rule.apply(node, self.uses)
            if changed is not None and changed is not node:
                if (changed.shape, changed.dtype) != (node.shape, node.dtype):
                    raise VerifyError(f"rule {rule.name} turns {node!r} into {changed!r}")
                self.firings[rule.name] += 1
                self.uses.move(node, changed)
                self.stem(changed, node)
                return changed
        if not self.uses.asked:
            self.table.rest(node, self.phases)
        return node

    def stem(self, made: Node, origin: Node) -> None:
        """The nodes that a rule has just made stem from what the rewritten one stems from."""
        if origin.stems_from is None:
            return
        stack = [made]
        while stack:
            node = stack.pop()
            if node not in self.final and node.stems_from is None and node is not origin.stems_from:
                node.stems_from = origin.stems_from
                stack.extend(node.inputs)

    def inherit(self) -> None:
        """Nodes new in this sweep refer to the final form of what they stem from."""
        originals = set(self.order)
        for old, new in self.final.items():
            if new is old or new in originals:
                continue
            stem = new.stems_from if new.stems_from is not None else old.stems_from
            if stem is not None and self.final.get(stem, stem) is not new:
                new.stems_from = self.final.get(stem, stem)
