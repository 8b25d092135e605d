"""Tracing of bodies: once, with placeholders; what a body closes over becomes an operand. And `scan`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.control import Body, item
from ..graph.dtypes import DType
from ..graph.node import Node, make, noting_new, toposort, type_text
from ..graph.sizes import Extent, Shape
from ..graph.substitute import substitute
from .array import Array
from .explain import complain
from .lift import as_array, common_dtype, weak_kind, wrap
from .tree import Structure, flatten, unflatten


class Trace:
    """A body being traced; arrays made of its placeholders belong to it and are of no use outside."""

    __slots__ = ("depth", "is_open", "label")

    def __init__(self, label: str, depth: int) -> None:
        self.label, self.depth, self.is_open = label, depth, True


class Bodies:
    """Bodies of one loop or branch, traced with the same placeholders."""

    def __init__(self, label: str, types: Sequence[tuple[Shape, DType]]) -> None:
        self.trace = Trace(label, len(_open.traces))
        self.params = self._placeholders(types, 0)
        self.made: list[Node] = []

    def _placeholders(self, types: Sequence[tuple[Shape, DType]], first: int) -> list[Array]:
        return [
            Array(make("param", (), self.trace.depth, first + k, shape, dtype), scope=self.trace)
            for k, (shape, dtype) in enumerate(types)
        ]

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        self.trace.is_open = True
        _open.traces.append(self.trace)
        try:
            with noting_new(self.made):
                return fn(*args)
        finally:
            _open.traces.pop()
            self.trace.is_open = False

    def closed(self, *outputs: Sequence[Array], lazy: bool = False) -> tuple[list[Body], list[Array]]:
        """A body for each list of outputs, and what they need from outside. What does not depend on the placeholders
        is computed outside, once; if `lazy`, all that calls have made stays inside."""
        nodes = [[o.node for o in group] for group in outputs]
        flat = [n for group in nodes for n in group]
        params = [p.node for p in self.params]
        inner = [*params, *(n for n in self.made if n.op.kind != "leaf")] if lazy else params
        outer = _closed_over(flat, inner)
        extra = [p.node for p in self._placeholders([(n.shape, n.dtype) for n in outer], len(params))]
        values = dict(zip(outer, extra, strict=True))
        bodies = [Body([*params, *extra], substitute(group, values)) for group in nodes]
        return bodies, [Array(n, scope=_scope_of(n)) for n in outer]


class _Open(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace] = []


_open = _Open()


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


def scan(
    body: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: Extent | str | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs `carry, y = body(carry, x)` over the first axis of `xs`; returns (last carry, stacked ys).

    `init`, `xs` and `y` are arrays or trees (tuple, list, dict) of arrays; `xs` may be None with a `length`, an int or
    a run-time extent. A carry keeps its shape and dtype; one that starts as a Python number takes the body's dtype.
    Raises ShapeError or DTypeError that name the leaf, GraphError where a placeholder leaks.
    """
    xs_leaves, xs_structure = flatten(xs) if xs is not None else ([], None)
    sequences = [as_array(x) for x in xs_leaves]
    count = _length(sequences, length)
    handles, init_structure, traced = settled(
        "scan", init, lambda starts, dtypes, of: _trace(body, starts, dtypes, of, sequences, xs_structure)
    )
    operands = [*handles, *sequences, *traced.closed]
    node = make(
        "scan", [o.node for o in operands], traced.body, len(handles), len(sequences), count, reverse
    )
    results = [wrap(item(node, k), operands) for k in range(len(traced.body.outputs))]
    carry = unflatten(init_structure, results[: len(handles)])
    return carry, None if traced.y_structure is None else unflatten(traced.y_structure, results[len(handles) :])


def _scope_of(node: Node) -> Trace | None:
    """The innermost open loop whose placeholders a node depends on."""
    if not _open.traces:
        return None
    depths = [n["depth"] for n in toposort([node]) if n.op.name == "param"]
    return _open.traces[max(depths)] if depths else None


def _length(sequences: Sequence[Array], length: Extent | str | None) -> Extent:
    count: Extent | None = None
    if length is not None:
        (count,) = sizes.as_shape((length,))
    for x in sequences:
        if not x.ndim:
            raise complain(ShapeError, "scan: what is scanned over needs at least one axis", x)
        if count is not None and x.shape[0] != count:
            raise complain(ShapeError, f"scan: lengths differ: {count} and {x.shape[0]}", *sequences)
        count = x.shape[0]
    if count is None:
        raise complain(ShapeError, "scan: give xs to scan over, or a length")
    return count


class _Traced:
    def __init__(self, body: Body, closed: list[Array], carry_dtypes: list[DType], y_structure: Structure) -> None:
        self.body, self.closed, self.carry_dtypes, self.y_structure = body, closed, carry_dtypes, y_structure


def _trace(
    body: Callable[[Any, Any], Any],
    starts: Sequence[Any],
    dtypes: Sequence[DType],
    init_structure: Structure,
    sequences: Sequence[Array],
    xs_structure: Structure,
) -> _Traced:
    types = carry_types(starts, dtypes)
    n = len(types)
    bodies = Bodies(
        f"scan over {getattr(body, '__name__', 'its body')}", [*types, *((x.shape[1:], x.dtype) for x in sequences)]
    )
    element = None if xs_structure is None else unflatten(xs_structure, bodies.params[n:])
    result = bodies.call(body, unflatten(init_structure, bodies.params[:n]), element)
    if not isinstance(result, tuple) or len(result) != 2:
        raise complain(GraphError, "scan: the body must return a pair (carry, y); y may be None")
    carries = carried("scan", result[0], init_structure, dtypes)
    y_leaves, y_structure = flatten(result[1]) if result[1] is not None else ([], None)
    (whole,), closed = bodies.closed([*carries, *(as_array(v) for v in y_leaves)])
    return _Traced(whole, closed, [c.dtype for c in carries], y_structure)


def carry_types(starts: Sequence[Any], dtypes: Sequence[DType]) -> list[tuple[Shape, DType]]:
    return [(x.shape if isinstance(x, Array) else (), d) for x, d in zip(starts, dtypes, strict=True)]


def carried(name: str, value: Any, init_structure: Structure, dtypes: Sequence[DType]) -> list[Array]:
    """The carry that a body returns, as arrays; its structure must be that of the initial one."""
    leaves, structure = flatten(value)
    if structure != init_structure:
        raise complain(GraphError, f"{name}: the carry that the body returns is structured differently from init")
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
