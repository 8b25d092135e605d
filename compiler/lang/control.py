"""Loops in the graph: bodies are traced once with placeholders, what they close over becomes an operand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.control import Body, item
from ..graph.dtypes import INT64, DType
from ..graph.node import Node, make, toposort, type_text
from ..graph.sizes import Extent, Shape
from ..graph.substitute import substitute
from .array import Array
from .explain import complain
from .lift import as_array, common_dtype, weak_kind, wrap
from .state import Pair, carried, lifted
from .tree import Structure, flatten, unflatten


class Trace:
    """A body being traced; arrays made of its placeholders belong to it and are of no use outside."""

    __slots__ = ("at", "depth", "is_open", "label", "length", "place")

    def __init__(self, label: str, depth: int, length: Extent, place: int) -> None:
        self.label, self.depth, self.is_open = label, depth, True
        self.length, self.place = length, place
        self.at: Array | None = None

    def position(self) -> Array:
        """Where in the loop an iteration is: one more sequence, for bodies that ask. `place` is its parameter."""
        if self.at is None:
            (self.at,) = _placeholders(self, [((), INT64)], self.place)
        return self.at


class _Open(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace] = []


_open = _Open()


def _placeholders(trace: Trace, types: Sequence[tuple[Shape, DType]], first: int = 0) -> list[Array]:
    return [
        Array(make("param", (), trace.depth, first + k, shape, dtype), scope=trace)
        for k, (shape, dtype) in enumerate(types)
    ]


def position() -> Array | None:
    """Where in the loops being traced an iteration is, counted through all of them: 0-d int64; None outside."""
    total: Array | None = None
    for trace in _open.traces:
        at = trace.position()
        total = at if total is None else total * wrap(b.extent(trace.length)) + at
    return total


def _closed_over(outputs: Sequence[Node], params: Sequence[Node]) -> list[Node]:
    """What the outputs need from outside: the uppermost nodes that depend on no placeholder and are not constant."""
    inner = set(params)
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
    init_leaves, init_structure = flatten(init)
    xs_leaves, xs_structure = flatten(xs) if xs is not None else ([], None)
    sequences = [as_array(x) for x in xs_leaves]
    count = _length(sequences, length)
    starts = [x if isinstance(x, Array) else x if weak_kind(x) is not None else as_array(x) for x in init_leaves]
    dtypes = [common_dtype((x,)) for x in starts]
    for _ in range(3):
        traced = _trace(body, starts, dtypes, init_structure, sequences, xs_structure, count)
        if traced.carry_dtypes == dtypes:
            break
        for k, (want, got) in enumerate(zip(dtypes, traced.carry_dtypes, strict=True)):
            if want != got and weak_kind(starts[k]) is None:
                text = f"scan: carry {k} goes in as {want} and comes out of the body as {got}"
                raise complain(DTypeError, text, starts[k])
        dtypes = traced.carry_dtypes
    else:
        raise complain(DTypeError, "scan: the dtype of a carry changes with every trace; fix it by ad.constant")
    handles = [as_array(x, d) for x, d in zip(starts, dtypes, strict=True)]
    for k, (x, out) in enumerate(zip(handles, traced.body.outputs, strict=False)):
        if x.shape != out.shape:
            texts = f"{type_text(x.shape, x.dtype)} and comes out of the body as {type_text(out.shape, out.dtype)}"
            raise complain(ShapeError, f"scan: carry {k} goes in as {texts}", x)
    if traced.counts:
        sequences = [*sequences, wrap(b.iota((count,), 0))]
    operands = [*handles, *sequences, *traced.closed]
    node = make(
        "scan", [o.node for o in operands], traced.body, len(handles), len(sequences), count, reverse
    )
    results = [wrap(carried(item(node, k), traced.state), operands) for k in range(len(traced.body.outputs))]
    carry = unflatten(init_structure, results[: len(handles)])
    return carry, None if traced.y_structure is None else unflatten(traced.y_structure, results[len(handles) :])


class _Traced:
    """`counts` tells that the body asked for the position: its last sequence; `state` is what results bring along."""

    def __init__(
        self, body: Body, closed: list[Array], carry_dtypes: list[DType], y_structure: Structure, counts: bool,
        state: list[Pair],
    ) -> None:
        self.body, self.closed, self.carry_dtypes, self.y_structure = body, closed, carry_dtypes, y_structure
        self.counts, self.state = counts, state


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


def _trace(
    body: Callable[[Any, Any], Any],
    starts: Sequence[Any],
    dtypes: Sequence[DType],
    init_structure: Structure,
    sequences: Sequence[Array],
    xs_structure: Structure,
    length: Extent,
) -> _Traced:
    place = len(starts) + len(sequences)
    trace = Trace(f"scan over {getattr(body, '__name__', 'its body')}", len(_open.traces), length, place)
    shapes = [x.shape if isinstance(x, Array) else () for x in starts]
    carry = _placeholders(trace, list(zip(shapes, dtypes, strict=True)))
    elements = _placeholders(trace, [(x.shape[1:], x.dtype) for x in sequences], len(carry))
    _open.traces.append(trace)
    try:
        result = body(
            unflatten(init_structure, carry), None if xs_structure is None else unflatten(xs_structure, elements)
        )
    finally:
        _open.traces.pop()
        trace.is_open = False
    if not isinstance(result, tuple) or len(result) != 2:
        raise complain(GraphError, "scan: the body must return a pair (carry, y); y may be None")
    new_carry, y = result
    carries, structure = flatten(new_carry)
    if structure != init_structure:
        raise complain(GraphError, "scan: the carry that the body returns is structured differently from init")
    y_leaves, y_structure = flatten(y) if y is not None else ([], None)
    outputs = [as_array(c, d) for c, d in zip(carries, dtypes, strict=True)] + [as_array(v) for v in y_leaves]
    counts = [] if trace.at is None else [trace.at]
    params = [p.node for p in (*carry, *elements, *counts)]
    roots, state = lifted([o.node for o in outputs], params, f"the body of {trace.label}")
    outer = _closed_over(roots, params)
    extra = _placeholders(trace, [(n.shape, n.dtype) for n in outer], len(params))
    inner = substitute(roots, dict(zip(outer, (p.node for p in extra), strict=True)))
    closed = [Array(n, scope=_scope_of(n)) for n in outer]
    whole = Body([*params, *(p.node for p in extra)], inner)
    return _Traced(whole, closed, [o.dtype for o in outputs[: len(carry)]], y_structure, bool(counts), state)
