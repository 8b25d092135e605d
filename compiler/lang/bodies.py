"""Tracing of bodies: once, with placeholders; what a body closes over becomes an operand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import build as b
from ..graph.control import Body
from ..graph.dtypes import INT64, DType, is_float
from ..graph.node import Node, make, noting_new, toposort, type_text
from ..graph.sizes import Extent, Shape
from ..graph.substitute import substitute
from . import checks
from .array import Array
from .explain import complain
from .lift import as_array, common_dtype, weak_kind, wrap
from .state import Pair, lifted
from .tree import Structure, flatten

# Counts the iterations of a loop whose length is not known, where positions within several loops become one number.
_MANY = 2**31


class Trace:
    """A body being traced; arrays made of its placeholders belong to it and are of no use outside."""

    __slots__ = ("at", "depth", "is_open", "label", "length", "loops", "place")

    def __init__(self, label: str, depth: int, length: Extent | None, loops: bool, place: int) -> None:
        self.label, self.depth, self.is_open = label, depth, True
        self.length, self.loops, self.place = length, loops, place
        self.at: Array | None = None

    def placeholders(self, types: Sequence[tuple[Shape, DType]], first: int) -> list[Array]:
        return [
            Array(make("param", (), self.depth, first + k, shape, dtype), scope=self)
            for k, (shape, dtype) in enumerate(types)
        ]

    def position(self) -> Array:
        """Where in the loop an iteration is: one more parameter, for bodies that ask."""
        if self.at is None:
            (self.at,) = self.placeholders([((), INT64)], self.place)
        return self.at


class _Open(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace] = []


_open = _Open()


def depth() -> int:
    """How many bodies are being traced."""
    return len(_open.traces)


@contextmanager
def inside(trace: Trace) -> Iterator[Trace]:
    """Traces what is made meanwhile as part of a body."""
    trace.is_open = True
    _open.traces.append(trace)
    try:
        yield trace
    finally:
        _open.traces.pop()
        trace.is_open = False


def position() -> Array | None:
    """Where in the loops being traced an iteration is, counted through all of them: 0-d int64; None outside."""
    total: Array | None = None
    for trace in _open.traces:
        if not trace.loops:
            continue
        at = trace.position()
        length = trace.length if trace.length is not None else _MANY
        total = at if total is None else total * wrap(b.extent(length)) + at
    return total


class Bodies:
    """Bodies of one loop or branch, traced with the same placeholders, the last of which may be the position.

    `length` is that of the loop, where it is known; `loops` tells loops from branches.
    """

    def __init__(
        self, label: str, types: Sequence[tuple[Shape, DType]], length: Extent | None = None, loops: bool = True
    ) -> None:
        self.trace = Trace(label, depth(), length, loops, len(types))
        self.params = self.trace.placeholders(types, 0)
        self.made: list[Node] = []

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        checks.function(f"a function given to {self.trace.label}", fn, *args)
        with inside(self.trace), noting_new(self.made):
            return fn(*args)

    @property
    def counts(self) -> bool:
        """Whether a body asked for the position."""
        return self.trace.at is not None

    def closed(self, *outputs: Sequence[Array], lazy: bool = False) -> tuple[list[Body], list[Array], list[Pair]]:
        """A body for each list of outputs, what they need from outside, and the state that results bring along. What
        does not depend on the placeholders is computed outside, once; if `lazy`, all that calls made stays inside."""
        params = [p.node for p in self.params] + ([self.trace.at.node] if self.trace.at is not None else [])
        nodes = [o.node for group in outputs for o in group]
        nodes, state = lifted(nodes, params, f"the body of {self.trace.label}")
        inner = [*params, *(n for n in self.made if n.op.kind != "leaf")] if lazy else params
        outer = _closed_over(nodes, inner)
        extra = [p.node for p in self.trace.placeholders([(n.shape, n.dtype) for n in outer], len(params))]
        values = iter(substitute(nodes, dict(zip(outer, extra, strict=True))))
        bodies = [Body([*params, *extra], [next(values) for _ in group]) for group in outputs]
        active = _requiring(outer)
        return bodies, [Array(n, requires_grad=n in active, scope=_scope_of(n)) for n in outer], state


def _closed_over(outputs: Sequence[Node], inside: Sequence[Node]) -> list[Node]:
    """What the outputs need from outside: the uppermost nodes that depend on nothing inside and are not constant."""
    inner = set(inside)
    order = toposort(outputs)
    for node in order:
        if any(i in inner for i in node.inputs):
            inner.add(node)
    fixed: set[Node] = set()
    for node in order:
        if node.op.name in ("literal", "iota", "extent") or b.constant_value(node) is not None:
            fixed.add(node)
    needed = dict.fromkeys(i for node in order if node in inner for i in node.inputs)
    needed.update(dict.fromkeys(outputs))
    return [n for n in order if n in needed and n not in inner and n not in fixed]


def _requiring(nodes: Sequence[Node]) -> set[Node]:
    """The nodes, and those below them, that depend on a leaf that requires a gradient."""
    active: set[Node] = set()
    for node in toposort(nodes, stop=lambda n: n.op.name == "stop_gradient"):
        if node.op.kind == "leaf":
            if "token" in node.op.attrs and node["token"].requires_grad:
                active.add(node)
        elif node.op.name != "stop_gradient" and any(i in active for i in node.inputs):
            active.add(node)
    return {node for node in active if isinstance(node.dtype, tuple) or is_float(node.dtype)}


def _scope_of(node: Node) -> Trace | None:
    """The innermost open loop whose placeholders a node depends on."""
    if not _open.traces:
        return None
    depths = [n["depth"] for n in toposort([node]) if n.op.name == "param"]
    return _open.traces[max(depths)] if depths else None


def carry_types(starts: Sequence[Any], dtypes: Sequence[DType]) -> list[tuple[Shape, DType]]:
    return [(x.shape if isinstance(x, Array) else (), d) for x, d in zip(starts, dtypes, strict=True)]


def carried(name: str, value: Any, init_structure: Structure, dtypes: Sequence[DType]) -> list[Array]:
    """The carry that a body returns, as arrays; its structure must be that of the initial one."""
    leaves, structure = flatten(value)
    if structure != init_structure:
        text = f"{name}: the carry that the body returns is structured differently from init"
        raise complain(GraphError, text, value, names=("carry",))
    return [as_array(c, d) for c, d in zip(leaves, dtypes, strict=True)]


def settled(
    name: str, init: Any, trace: Callable[[Sequence[Any], Sequence[DType], Structure], Any]
) -> tuple[list[Array], Structure, Any]:
    """Initial carries as arrays, their structure and what `trace` makes of them: an object with `carry_dtypes` and a
    `body` whose first outputs are the carries. A carry that starts as a Python number takes the body's dtype."""
    leaves, structure = flatten(init)
    starts = [x if isinstance(x, Array) else x if weak_kind(x) is not None else as_array(x) for x in leaves]
    dtypes = [common_dtype((x,)) for x in starts]
    for _ in range(3):
        traced = trace(starts, dtypes, structure)
        if traced.carry_dtypes == dtypes:
            break
        for k, (want, got) in enumerate(zip(dtypes, traced.carry_dtypes, strict=True)):
            if want != got and weak_kind(starts[k]) is None:
                text = f"{name}: carry {k} goes in as {want} and comes out of the body as {got}"
                raise complain(DTypeError, text, starts[k])
        dtypes = traced.carry_dtypes
    else:
        raise complain(DTypeError, f"{name}: the dtype of a carry changes with every trace; fix it by ad.constant")
    handles = [as_array(x, d) for x, d in zip(starts, dtypes, strict=True)]
    for k, (x, out) in enumerate(zip(handles, traced.body.outputs, strict=False)):
        if x.shape != out.shape:
            texts = f"{type_text(x.shape, x.dtype)} and comes out of the body as {type_text(out.shape, out.dtype)}"
            raise complain(ShapeError, f"{name}: carry {k} goes in as {texts}", x)
    return handles, structure, traced
