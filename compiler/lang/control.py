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
from ..graph.node import make
from ..graph.sizes import Extent
from . import checks
from .array import Array
from .bodies import Bodies, carried, carry_types, settled
from .explain import complain
from .lift import as_array, wrap
from .state import Pair
from .state import carried as with_state
from .tree import Structure, flatten, unflatten


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
    checks.flag("reverse", reverse)
    xs_leaves, xs_structure = flatten(xs) if xs is not None else ([], None)
    sequences = [as_array(x) for x in xs_leaves]
    count = _length(sequences, length)
    handles, init_structure, traced = settled(
        "scan", init, lambda starts, dtypes, of: _trace(body, starts, dtypes, of, sequences, xs_structure, count)
    )
    if traced.counts:
        sequences = [*sequences, wrap(b.iota((count,), 0))]
    operands = [*handles, *sequences, *traced.closed]
    node = make("scan", [o.node for o in operands], traced.body, len(handles), len(sequences), count, reverse)
    results = [wrap(with_state(item(node, k), traced.state), operands) for k in range(len(traced.body.outputs))]
    carry = unflatten(init_structure, results[: len(handles)])
    return carry, None if traced.y_structure is None else unflatten(traced.y_structure, results[len(handles) :])


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
) -> _Traced:
    types = carry_types(starts, dtypes)
    n = len(types)
    elements = [(x.shape[1:], x.dtype) for x in sequences]
    bodies = Bodies(f"scan over {getattr(body, '__name__', 'its body')}", [*types, *elements], length)
    element = None if xs_structure is None else unflatten(xs_structure, bodies.params[n:])
    result = bodies.call(body, unflatten(init_structure, bodies.params[:n]), element)
    if not isinstance(result, tuple) or len(result) != 2:
        text = "scan: the body must return a pair (carry, y); y may be None"
        raise complain(GraphError, text, result, names=("result",))
    carries = carried("scan", result[0], init_structure, dtypes)
    y_leaves, y_structure = flatten(result[1]) if result[1] is not None else ([], None)
    (whole,), closed, state = bodies.closed([*carries, *(as_array(v) for v in y_leaves)])
    return _Traced(whole, closed, [c.dtype for c in carries], y_structure, bodies.counts, state)
