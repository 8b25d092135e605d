"""What the rules of derivatives need to know of a loop, whichever kind it is."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from typing import TypeVar

from ..graph.control import Body
from ..graph.node import Node, make, toposort
from ..graph.sizes import Dim, Extent

T = TypeVar("T")


class Params:
    """Makes parameters beyond those that bodies have."""

    def __init__(self, *bodies: Body) -> None:
        params = [p for body in bodies for p in body.params]
        self.depth = min((p["depth"] for p in params), default=0)
        self.next = 1 + max((p["position"] for p in params), default=-1)

    def like(self, node: Node) -> Node:
        self.next += 1
        return make("param", (), self.depth, self.next - 1, node.shape, node.dtype)


class Iteration:
    """A `scan`, or a `while` seen as one whose length its own run tells."""

    def __init__(self, node: Node) -> None:
        self.node, self.body = node, node["body"]
        self.n_carry: int = node["n_carry"]
        self.is_scan = node.op.name == "scan"
        self.n_xs: int = node["n_xs"] if self.is_scan else 0
        self.reverse: bool = self.is_scan and node["reverse"]
        self.inputs = node.inputs

    @property
    def length(self) -> Extent:
        if self.is_scan:
            length: Extent = self.node["length"]
            return length
        return _trips(self.node)

    def split(self, values: Sequence[T]) -> tuple[Sequence[T], Sequence[T], Sequence[T]]:
        """Carries, sequences and what is closed over."""
        n, m = self.n_carry, self.n_carry + self.n_xs
        return values[:n], values[n:m], values[m:]

    def is_sequence(self, k: int) -> bool:
        return self.n_carry <= k < self.n_carry + self.n_xs

    def remade(
        self, params: tuple[Sequence[Node], ...], outputs: Sequence[Node], inputs: tuple[Sequence[Node], ...],
        counted: bool = False,
    ) -> Node:  # fmt: skip
        """The loop with other parameters, results and operands, each given as carries, sequences and the rest. A
        `while` that is counted binds its number of iterations."""
        flat_params = [p for group in params for p in group]
        flat_inputs = [x for group in inputs for x in group]
        body = Body(flat_params, outputs)
        if self.is_scan:
            return make("scan", flat_inputs, body, len(inputs[0]), len(inputs[1]), self.length, self.reverse)
        trips = self.length if counted else self.node["trips"]
        test = Body(flat_params, self.node["test"].outputs)
        return make("while", flat_inputs, test, body, len(inputs[0]), trips, self.node["limit"])

    def extended(self, extra: Sequence[Node]) -> Node:
        """The loop that leaves more values of each iteration behind."""
        params, inputs = self.split(self.body.params), self.split(self.inputs)
        return self.remade(params, (*self.body.outputs, *extra), inputs, counted=True)


_digests: weakref.WeakKeyDictionary[Node, bytes] = weakref.WeakKeyDictionary()
_named: dict[str, weakref.ref[Node]] = {}


def _trips(node: Node) -> Dim:
    """The extent that a `while` binds: named after what the loop is, so that names do not depend on history."""
    if node["trips"] is not None:
        known: Dim = node["trips"]
        return known
    name = f"trips_{_digest(node).hex()[:12]}"
    number = 1
    while True:
        own = name if number == 1 else f"{name}_{number}"
        other = _named.get(own)
        if other is None or other() is None or other() is node:
            _named[own] = weakref.ref(node)
            return Dim(own, min=0, max=node["limit"])
        number += 1  # the same loop over other leaves of the same names


def _digest(root: Node) -> bytes:
    """A digest of what a node computes, leaves by name."""
    for node in toposort([root], stop=_digests.__contains__):
        if node in _digests:
            continue
        state = hashlib.sha256(node.op.name.encode())
        for operand in node.inputs:
            state.update(_digests[operand])
        for value in node.attrs:
            if isinstance(value, Body):
                for output in value.outputs:
                    state.update(_digest(output))
            else:
                state.update(repr(getattr(value, "content", value)).encode())
        _digests[node] = state.digest()
    return _digests[root]
