"""Loops and branches of the graph → steps around kernels, each inner graph lowered in a scope of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..graph import sizes
from ..graph.control import Body
from ..graph.index import IVar
from ..graph.node import Node
from ..graph.program import Program
from ..graph.sizes import Extent
from .announce import bytes_of, distance
from .blockscan import BlockScan, blockwise
from .ir import Branch, Buf, ScanLoop, Step, WhileLoop, row_major
from .memory import aligned
from .pieces import Iterations, UnfitError
from .separate import separate
from .stacks import Stacks

if TYPE_CHECKING:
    from .scope import Scope


class Loops:
    """Appends the steps of loops and branches to those of a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def lower(self, node: Node, name: str) -> None:
        """`name` is for a kernel, where a whole loop becomes one."""
        kind = node.op.name
        if kind == "scan":
            results = self._items(node)
            plan = blockwise(node, results, self.scope.contiguous)
            if plan is None:
                self._scan(node)
            else:
                self.scope.add(BlockScan(self.scope, node, results, plan, name).build())
        elif kind == "while":
            self._while(node)
        elif kind == "cond":
            self._cond(node)

    def _scan(self, node: Node) -> None:
        body, n_carry, n_xs = node["body"], node["n_carry"], node["n_xs"]
        t = IVar("t", node["length"])
        stacks = Stacks(self.scope, node, self._items(node))
        leaves, carries = self._enter(node, body, n_carry, stacks.current)
        separated = separate(Program("body", (), body.outputs)).outputs
        views: list[Buf] = [*stacks.current.values(), *stacks.following.values()]
        for k, (param, operand) in enumerate(zip(body.params, node.inputs, strict=True)):
            if n_carry <= k < n_carry + n_xs:
                leaves[param] = self._view(param, self.scope.in_memory(operand))
                views.append(leaves[param])
            elif k >= n_carry:
                leaves[param] = self.scope.buffer(operand)
        results = self._items(node)
        moved = iter(carries)
        homes = {
            out: stacks.following[k] if k in stacks.following else next(moved)[2]
            for k, out in enumerate(separated[:n_carry])
        }
        for number, out in enumerate(separated[n_carry:], n_carry):
            if number in stacks.held:
                continue
            if number in results:
                base = self.scope.buffer(results[number])
            else:
                base = Buf(self.scope.shared.unique("unused"), out.dtype, (node["length"], *out.shape), "arena")
            homes[out] = self._view(out, base)
            views.append(homes[out])
        if bytes_of(views) > self.scope.shared.target.l2:
            for view in views:
                view.ahead = distance(view, node["reverse"])
        fixed = [leaves[p] for p in body.params[n_carry + n_xs :]]
        iterations = Iterations(tuple(zip(body.params[:n_carry], separated, strict=False)), node["length"])
        roots = [out for out in separated if out in homes]
        steps, pieces = self._body(leaves, homes, roots, fixed, iterations)
        loop = ScanLoop(t, node["length"], node["reverse"], steps, views, carries, stacks.before, stacks.after, pieces)
        self.scope.steps.append(loop)

    def _body(
        self, leaves: Mapping[Node, Buf], homes: Mapping[Node, Buf], roots: Sequence[Node], fixed: Collection[Buf],
        loop: Iterations,
    ) -> tuple[list[Step], Extent]:
        """The steps of a loop's body, and in how many pieces of its rows the loop runs."""
        trial = Trial(self.scope)
        body = self.scope.body(leaves, homes, fixed, loop)
        try:
            steps = body.run(roots)
        except UnfitError:
            trial.undo()
            body = self.scope.body(leaves, homes, fixed, None)
            steps = body.run(roots)
        return steps, 1 if body.pieces is None else body.pieces.count

    def _enter(
        self, node: Node, body: Body, n_carry: int, stacked: Mapping[int, Buf]
    ) -> tuple[dict[Node, Buf], list[tuple[Buf, Buf, Buf, Buf]]]:
        """Buffers for the carries of a loop: where they start, are, go next and stay. Those that are in stacks stay
        there."""
        leaves: dict[Node, Buf] = {}
        carries = []
        results = self._items(node)
        for k, (param, operand) in enumerate(zip(body.params[:n_carry], node.inputs, strict=False)):
            if k in stacked:
                leaves[param] = stacked[k]
                continue
            current, following = (
                Buf(self.scope.shared.unique("carry"), param.dtype, param.shape, "arena") for _ in range(2)
            )
            leaves[param] = current
            last = self.scope.buffer(results[k]) if k in results else current
            carries.append((self.scope.in_memory(operand), current, following, last))
        return leaves, carries

    def _view(self, element: Node, base: Buf) -> Buf:
        return Buf(self.scope.shared.unique("step"), element.dtype, element.shape, "view", base=base)

    def _while(self, node: Node) -> None:
        body, n_carry, limit = node["body"], node["n_carry"], node["limit"]
        leaves, carries = self._enter(node, body, n_carry, {})
        for param, operand in zip(body.params[n_carry:], node.inputs[n_carry:], strict=True):
            leaves[param] = self.scope.buffer(operand)
        (test,) = separate(Program("test", (), node["test"].outputs)).outputs
        flag = Buf(self.scope.shared.unique("goes_on"), test.dtype, (), "arena")
        testing = self.scope.within(leaves, {test: flag}, [test])
        separated = separate(Program("body", (), body.outputs)).outputs
        homes = {out: following for out, (_, _, following, _) in zip(separated, carries, strict=False)}
        results = self._items(node)
        # Without a limit, what an iteration leaves behind is one record on the tape.
        places: dict[Buf, Extent] = {}
        record: Extent = 0
        for out in separated[n_carry:]:
            if limit is None:
                record = sizes.add(record, _element_bytes(out))
        at: Extent = 0
        views: list[Buf] = []
        for number, out in enumerate(separated[n_carry:], n_carry):
            shape = (node["trips"], *out.shape)
            if limit is None:
                strides = (sizes.floordiv(record, out.dtype.itemsize), *row_major(out.shape))
                base = Buf(self.scope.shared.unique("stack"), out.dtype, shape, "arena", strides)
                places[base] = at
                at = sizes.add(at, _element_bytes(out))
            else:
                base = Buf(self.scope.shared.unique("stack"), out.dtype, shape, "arena")
            if number in results:
                self.scope.buffers[results[number]] = base
            homes[out] = self._view(out, base)
            views.append(homes[out])
        steps = self.scope.body(leaves, homes, [leaves[p] for p in body.params[n_carry:]], None).run(separated)
        t = IVar("t", node["trips"] or 1)
        loop = WhileLoop(t, testing, flag, steps, views, carries, node["trips"], limit, record, places)
        self.scope.steps.append(loop)

    def _cond(self, node: Node) -> None:
        results = self._items(node)
        sides = []
        for body in (node["then"], node["otherwise"]):
            leaves = {p: self.scope.buffer(x) for p, x in zip(body.params, node.inputs[1:], strict=True)}
            separated = separate(Program("branch", (), body.outputs)).outputs
            wanted = [separated[k] for k in sorted(results)]
            homes = {separated[k]: self.scope.buffer(results[k]) for k in results}
            sides.append(self.scope.within(leaves, homes, wanted))
        self.scope.steps.append(Branch(self.scope.in_memory(node.inputs[0]), *sides))

    def _items(self, node: Node) -> dict[int, Node]:
        """The results of a loop or branch that are read, by number."""
        items = [s.node for s in self.scope.fuser.stages if s.node.op.name == "item" and s.node.inputs[0] is node]
        return {n["number"]: n for n in items}


class Trial:
    """Takes back what a lowering has added to its module."""

    def __init__(self, scope: Scope) -> None:
        shared = self.shared = scope.shared
        self.marks = len(shared.kernels), len(shared.tiles)
        self.noted = dict(shared.names), shared.copies, set(shared.told)
        around = scope
        self.steps = [(around.steps, len(around.steps))]
        while around.outside is not None:
            around = around.outside
            self.steps.append((around.steps, len(around.steps)))

    def undo(self) -> None:
        kernels, tiles = self.marks
        del self.shared.kernels[kernels:]
        for key in list(self.shared.tiles)[tiles:]:
            del self.shared.tiles[key]
        self.shared.names, self.shared.copies, self.shared.told = self.noted
        for steps, count in self.steps:
            del steps[count:]


def _element_bytes(node: Node) -> Extent:
    return aligned(sizes.mul(sizes.product(node.shape), node.dtype.itemsize))
