"""graph → the nodes that are stored or reduced. Everything else is computed where it is used.

The decision compares, per element, what it takes to compute a value again for every user with what it takes to store
it and read it back. Some values have no choice: what is summed has to be there before it is used, and indices, operands
of loops and results have to lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..graph import sizes
from ..graph.node import Node
from .residuals import combine_residuals
from .stages import VIEWS, through_views
from .written import COMBINING, is_written_out

CHEAP = 4  # lane operations up to which a value of several users is computed again rather than kept
STENCIL = 16  # the same where it is read at shifted places, which no kernel that stores it could share with its users
ROW = 16  # elements of a row over which what is the same for all of them costs next to nothing
LONGEST = 120  # operations that one expression may hold
STEPS = frozenset({"reduction", "contraction", "scatter", "sequence", "control"})  # an element is made of many


@dataclass(slots=True)
class _Spent:
    """What it takes to compute an element anew, from leaves and what is kept."""

    cost: int = 0  # lane operations, those that find the place of an element included
    flops: int = 0  # without them
    count: int = 0  # operations of the expression


def choose_kept(
    order: Sequence[Node], roots: Sequence[Node], inlined_operands: Callable[[Node, set[int]], set[int]],
    recompute: str = "cheap",
) -> set[Node]:
    """The nodes that are stored or reduced rather than computed where they are used.

    `inlined_operands` tells which operands of a contraction may be computed while packing, given those that nothing
    has stored so far. `recompute` is "cheap", or "all" to inline whatever can be (for tests: a recomputed value is
    bit-equal to a stored one).
    """
    keeper = _Keeper(order, roots, inlined_operands, everything=recompute == "all")
    for node in order:
        keeper.visit(node)
    return keeper.kept if recompute == "all" else combine_residuals(order, keeper.kept)


class _Keeper:
    """Decides in topological order; what a node demands of its operands may still keep these."""

    def __init__(
        self, order: Sequence[Node], roots: Sequence[Node], inlined_operands: Callable[[Node, set[int]], set[int]],
        everything: bool,
    ) -> None:
        self.kept = set(roots)
        self.inlined_operands = inlined_operands
        self.everything = everything  # is computed again that can be
        self.uses = _uses(order)
        self.shifted = _shifted(order)
        self.spent: dict[Node, _Spent] = {}
        self.epilogue: set[Node] = set()  # can leave a contraction with its result
        self.level: dict[Node, int] = {}  # sums, contractions and other steps that come before, one after the other

    def visit(self, node: Node) -> None:
        op = node.op
        step = op.kind not in ("elementwise", "structural", "leaf")
        self.level[node] = max((self.level[i] for i in node.inputs), default=0) + step
        spent = self.spent[node] = self._spent(node)
        if op.kind == "leaf":
            return
        if (op.kind in STEPS and not self._found_again(node)) or op.name == "check_index":
            self.kept.add(node)
        self._demand(node, spent)
        if op.kind == "elementwise" and self._leaves_contraction(node):
            self.epilogue.add(node)
            if self.uses.get(node, 0) > 1 and not self.everything:
                self.kept.add(node)
        if op.name not in VIEWS and self._worth_storing(node, spent):
            self.kept.add(node)
        if node in self.kept:
            self.spent[node] = _Spent()

    def _spent(self, node: Node) -> _Spent:
        op = node.op
        if op.kind == "leaf":
            return _Spent()
        operands = [self.spent[i] for i in node.inputs]
        own = op.cost if op.kind == "elementwise" else 0
        place = 0 if op.kind == "elementwise" or op.name in VIEWS else 2 * len(node.inputs)
        spent = _Spent(
            own + place + sum(s.cost for s in operands),
            own + sum(s.flops for s in operands),
            1 + sum(s.count for s in operands),
        )
        if is_written_out(node):
            several = sizes.product(node.inputs[0].shape[a] for a in node["axes"])
            assert isinstance(several, int), node
            spent.count = several * (COMBINING + operands[0].count)
            if spent.count > LONGEST:
                self._keep_source(node.inputs[0])
        return spent

    def _found_again(self, node: Node) -> bool:
        """Whether a position is found again for every element of a window, from what lies side by side."""
        if node.op.name != "argmax" or not is_written_out(node):
            return False
        return self.spent[node.inputs[0]].cost == 0 and self.uses.get(node, 0) == 1

    def _demand(self, node: Node, spent: _Spent) -> None:
        """Keeps the operands that a node needs in memory."""
        op = node.op
        if op.kind == "contraction":
            computed = {k for k, operand in enumerate(node.inputs) if self.spent[operand].cost > 0}
            packed = self.inlined_operands(node, computed) if computed else set()
            for k, operand in enumerate(node.inputs):
                # A concatenation costs less in memory than as a choice for every element.
                joined = through_views(operand).op.name == "concat"
                if joined or k in computed - packed:
                    self._keep_source(operand)
        elif op.kind == "control":
            for operand in node.inputs:
                self._keep_whole(operand)
        elif op.kind == "scatter" or op.name in ("searchsorted", "take"):
            self._keep_whole(node.inputs[1 if op.name == "take" else 0])
            if op.name == "take" and self.spent[node.inputs[0]].cost > CHEAP:
                self._keep_source(node.inputs[0])
        elif op.name == "after":
            for trigger in node.inputs[1:]:
                self._keep_source(trigger)
        elif op.name == "windows" and not self.everything:
            # Every element lies in several windows.
            if self.spent[node.inputs[0]].cost > CHEAP:
                self._keep_source(node.inputs[0])
                spent.cost = 0
        elif op.name == "broadcast" and not self.everything:
            x = node.inputs[0]
            larger = sizes.product(x.shape) != sizes.product(node.shape)
            again = x.op.name == "argmax" and x not in self.kept
            if self.spent[x].cost > CHEAP and not again and larger:
                self._keep_source(x)
                spent.cost = 0
            elif node.shape and len(node.shape) - 1 not in node["axes"] and sizes.hint(node.shape[-1]) >= ROW:
                spent.cost = 0  # once for a row

    def _keep_source(self, node: Node) -> None:
        """Stores what a node is a view of."""
        source = through_views(node)
        if source.op.kind != "leaf":
            self.kept.add(source)
            self.spent[source] = _Spent()

    def _keep_whole(self, node: Node) -> None:
        """Stores what is handed over as a whole array; a constant has no place of its own."""
        if node.op.kind != "leaf" or node.op.name in ("literal", "iota", "extent"):
            self.kept.add(node)

    def _leaves_contraction(self, node: Node) -> bool:
        """Whether a value can be stored in place of a contraction's result, of which it is made without waiting for
        more. What is made of such values is judged by what it costs, like anything else."""
        return any(
            (i.op.kind == "contraction" or (i in self.epilogue and i not in self.kept)) and i.shape == node.shape
            and self.level[i] == self.level[node]
            for i in node.inputs
        )

    def _worth_storing(self, node: Node, spent: _Spent) -> bool:
        if spent.count > LONGEST:
            return True
        if self.everything or self.uses.get(node, 0) < 2:
            return False
        return spent.cost > CHEAP and not (node in self.shifted and spent.flops <= STENCIL)


def _uses(order: Sequence[Node]) -> dict[Node, int]:
    """How many nodes read each, those that read it through views counted one by one."""
    uses: dict[Node, int] = {}
    for node in reversed(order):
        mine = uses.get(node, 0)
        for operand in dict.fromkeys(node.inputs):
            uses[operand] = uses.get(operand, 0) + (max(1, mine) if node.op.name in VIEWS else 1)
    return uses


def _shifted(order: Sequence[Node]) -> set[Node]:
    """Values that others, through elementwise operations and shifts alone, read at a shifted place."""
    found: set[Node] = set()
    for node in reversed(order):
        if _is_shift(node) or (node.op.kind == "elementwise" and node in found):
            found.update(i for i in node.inputs if i.op.kind == "elementwise" or _is_shift(i))
    return found


def _is_shift(node: Node) -> bool:
    """Whether nearly all of an array is another one in a different place."""
    if node.op.name != "concat":
        return node.op.name in ("slice", "pad")
    axis = node["axis"]
    return 8 * max(sizes.hint(x.shape[axis]) for x in node.inputs) >= 7 * sizes.hint(node.shape[axis])
