"""Carries of a scan that live in the stacks that it leaves behind: no iteration copies what is stored anyway.

A stack of the values that a carry has before each iteration, and one of the values that it has after, are one array
with a record more than there are iterations: each iteration reads its record and writes the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..graph import sizes
from ..graph.node import Node
from ..graph.sizes import Extent
from .ir import Buf

if TYPE_CHECKING:
    from .scope import Scope


class Stacks:
    """`current` and `following` are the records of the carries that live in stacks, by number, and `held` the results
    that need no storing of their own. `before` and `after` are copies into and out of the stacks."""

    def __init__(self, scope: Scope, node: Node, results: Mapping[int, Node]) -> None:
        self.scope, self.node, self.results = scope, node, results
        self.current: dict[int, Buf] = {}
        self.following: dict[int, Buf] = {}
        self.held: set[int] = set()
        self.before: list[tuple[Buf, Buf]] = []
        self.after: list[tuple[Buf, Buf]] = []
        body, n = node["body"], node["n_carry"]
        for k in range(n):
            olds = [j for j in range(n, len(body.outputs)) if body.outputs[j] is body.params[k]]
            news = [j for j in range(n, len(body.outputs)) if body.outputs[j] is body.outputs[k]]
            olds, news = ([j for j in found if self._free(j) and j not in self.held] for found in (olds, news))
            if olds or news:
                self._stack(k, olds, news)

    def _free(self, number: int) -> bool:
        """Whether a result is read, and nothing says where it has to be."""
        found = self.results.get(number)
        taken = (self.scope.outputs, self.scope.updates, self.scope.buffers)
        return found is not None and not any(found in places for places in taken)

    def _stack(self, k: int, olds: list[int], news: list[int]) -> None:
        scope, node, length = self.scope, self.node, self.node["length"]
        param = node["body"].params[k]
        stack = Buf(scope.shared.unique("stack"), param.dtype, (sizes.add(length, 1), *param.shape), "arena")
        old, new = (1, 0) if node["reverse"] else (0, 1)
        first, last = (length, 0) if node["reverse"] else (0, length)
        for numbers, shift in ((olds, old), (news, new)):
            for j in numbers:
                result = self.results[j]
                scope.buffers[result] = Buf(
                    scope.shared.unique("item"), result.dtype, result.shape, "view", base=stack, shift=shift
                )
                self.held.add(j)

        def record(shift: Extent) -> Buf:
            return Buf(scope.shared.unique("step"), param.dtype, param.shape, "view", base=stack, shift=shift)

        self.current[k], self.following[k] = record(old), record(new)
        self.before.append((record(first), scope.in_memory(node.inputs[k])))
        if self._free(k):
            scope.buffers[self.results[k]] = record(last)
        elif k in self.results:
            self.after.append((scope.buffer(self.results[k]), record(last)))
