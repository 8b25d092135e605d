"""`scan`: a loop over the first axis of arrays, as a node of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import GraphError, ShapeError
from ..graph import build as b
from ..graph import sizes
from ..graph.control import Body, item
from ..graph.dtypes import DType
from ..graph.node import Node, make
from ..graph.sizes import Extent
from . import checks
from .array import Array
from .bodies import Bodies, carried, carry_types, settled
from .custom import checkpoint
from .explain import complain
from .lift import as_array, wrap
from .shaping import concat
from .state import Pair
from .state import carried as with_state
from .tree import Structure, flatten, unflatten


def scan(
    body: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: Extent | str | None = None,
    reverse: bool = False,
    checkpoint_every: int | None = None,
) -> tuple[Any, Any]:
    """Runs `carry, y = body(carry, x)` over the first axis of `xs`; returns (last carry, stacked ys).

    `init`, `xs` and `y` are arrays or trees (tuple, list, dict) of arrays; `xs` may be None with a `length`, an int or
    a run-time extent. A carry keeps its shape and dtype; one that starts as a Python number takes the body's dtype.
    With `checkpoint_every=k`, a derivative in reverse mode keeps the carry of every k-th iteration alone and runs the
    iterations in between again: about length/k + k values are kept in place of length.
    Raises ShapeError or DTypeError that name the leaf, GraphError where a placeholder leaks.
    """
    checks.flag("reverse", reverse)
    if checkpoint_every is not None:
        return _in_chunks(body, init, xs, length, reverse, checkpoint_every)
    return _scan(body, init, xs, length, reverse)


def _scan(
    body: Callable[[Any, Any], Any], init: Any, xs: Any, length: Extent | str | None, reverse: bool,
    part_of: tuple[Array, Extent] | None = None, loops: bool = True,
) -> tuple[Any, Any]:  # fmt: skip
    """`part_of`: of a loop that is part of a longer one, the positions of its iterations in that, and its length."""
    xs_leaves, xs_structure = flatten(xs) if xs is not None else ([], None)
    sequences = [as_array(x) for x in xs_leaves]
    count = _length(sequences, length)
    whole = count if part_of is None else part_of[1]

    def trace(starts: Sequence[Any], dtypes: Sequence[DType], structure: Structure) -> _Traced:
        return _trace(body, starts, dtypes, structure, sequences, xs_structure, whole, loops)

    handles, init_structure, traced = settled("scan", init, trace)
    if traced.counts:
        sequences = [*sequences, wrap(b.iota((count,), 0)) if part_of is None else part_of[0]]
    operands = [*handles, *sequences, *traced.closed]
    node = make("scan", [o.node for o in operands], traced.body, len(handles), len(sequences), count, reverse)
    results = [wrap(with_state(item(node, k), traced.state), operands) for k in range(len(traced.body.outputs))]
    carry = unflatten(init_structure, results[: len(handles)])
    return carry, None if traced.y_structure is None else unflatten(traced.y_structure, results[len(handles) :])


def _in_chunks(
    body: Callable[[Any, Any], Any], init: Any, xs: Any, length: Extent | str | None, reverse: bool, every: int
) -> tuple[Any, Any]:
    """A loop over chunks, each a checkpointed loop, and the iterations that are left over."""
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise complain(ShapeError, f"scan: checkpoint_every must be an int of at least 1, got {every!r}")
    leaves, structure = flatten(xs) if xs is not None else ([], None)
    sequences = [as_array(x) for x in leaves]
    count = _length(sequences, length)
    # What the carry's dtypes are has to be known before the first chunk.
    handles, init_structure, _ = settled(
        "scan", init, lambda starts, dtypes, of: _trace(body, starts, dtypes, of, sequences, structure, count, True)
    )
    chunks = sizes.floordiv(count, every)
    main = sizes.mul(chunks, every)
    rest = sizes.add(count, sizes.mul(main, -1))

    @checkpoint
    def chunk(carry: Any, values: Any) -> tuple[Any, Any]:
        own, positions = values[:-1], values[-1]
        given = None if structure is None else unflatten(structure, own)
        return _scan(body, carry, given, positions.shape[0], reverse, (positions, count))

    def cut(x: Array, start: Extent, stop: Extent) -> Node:
        zeros, ones = (0,) * (x.ndim - 1), (1,) * x.ndim
        return b.slice(x.node, (start, *zeros), (stop, *x.shape[1:]), ones)

    def over_chunks(carry: Any) -> tuple[Any, list[Array], Any]:
        parts = [wrap(b.reshape(cut(x, 0, main), (chunks, every, *x.shape[1:])), (x,)) for x in every_x]
        carry, ys = _scan(chunk, carry, parts, chunks, reverse, loops=False)
        flat = [y for y in flatten(ys)[0] if y is not None]
        return carry, [wrap(b.reshape(y.node, (main, *y.shape[2:])), (y,)) for y in flat], ys

    def left_over(carry: Any) -> tuple[Any, list[Array], Any]:
        carry, ys = chunk(carry, [wrap(cut(x, main, count), (x,)) for x in every_x])
        return carry, [y for y in flatten(ys)[0] if y is not None], ys

    every_x = [*sequences, wrap(b.iota((count,), 0))]
    carry = unflatten(init_structure, handles)
    found = []
    order = [f for f, n in ((over_chunks, chunks), (left_over, rest)) if n != 0]
    for run in reversed(order) if reverse else order:
        carry, ys, tree = run(carry)
        found.append(ys)
    if not found:
        return _scan(body, carry, xs, length, reverse)
    if reverse:
        found.reverse()
    stacked = [parts[0] if len(parts) == 1 else concat(parts, 0) for parts in zip(*found, strict=True)]
    return carry, None if tree is None else unflatten(flatten(tree)[1], stacked)


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


@dataclass(frozen=True, slots=True)
class _Traced:
    """`counts` tells that the body asked for the position: its last sequence; `state` is what results bring along."""

    body: Body
    closed: list[Array]
    carry_dtypes: list[DType]
    y_structure: Structure
    counts: bool
    state: list[Pair]


def _trace(
    body: Callable[[Any, Any], Any],
    starts: Sequence[Any],
    dtypes: Sequence[DType],
    init_structure: Structure,
    sequences: Sequence[Array],
    xs_structure: Structure,
    length: Extent,
    loops: bool,
) -> _Traced:
    types = carry_types(starts, dtypes)
    n = len(types)
    elements = [(x.shape[1:], x.dtype) for x in sequences]
    bodies = Bodies(f"scan over {getattr(body, '__name__', 'its body')}", [*types, *elements], length, loops)
    element = None if xs_structure is None else unflatten(xs_structure, bodies.params[n:])
    result = bodies.call(body, unflatten(init_structure, bodies.params[:n]), element)
    if not isinstance(result, tuple) or len(result) != 2:
        text = "scan: the body must return a pair (carry, y); y may be None"
        raise complain(GraphError, text, result, names=("result",))
    carries = carried("scan", result[0], init_structure, dtypes)
    y_leaves, y_structure = flatten(result[1]) if result[1] is not None else ([], None)
    (whole,), closed, state = bodies.closed([*carries, *(as_array(v) for v in y_leaves)])
    return _Traced(whole, closed, [c.dtype for c in carries], y_structure, bodies.counts, state)
