"""Branches and loops whose course depends on data: `cond`, `while_loop`, `fori_loop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import dtypes, sizes
from ..graph.control import Body, item
from ..graph.dtypes import BOOL, DType
from ..graph.node import make, type_text
from ..graph.sizes import Size
from . import checks
from .array import Array
from .bodies import Bodies, carried, carry_types, settled
from .control import scan
from .explain import complain
from .filling import arange
from .lift import as_array, wrap
from .state import Pair
from .state import carried as with_state
from .tree import Structure, flatten, unflatten


def cond(pred: Any, if_true: Callable[..., Any], if_false: Callable[..., Any], *operands: Any) -> Any:
    """`if_true(*operands)` where the 0-d bool `pred` holds, else `if_false(*operands)`; only one of them runs.

    Both return arrays or trees of arrays of one structure, with the same shapes and dtypes. They may close over arrays
    of the graph around them. Raises GraphError, ShapeError or DTypeError where the results do not agree.
    """
    test = _predicate("cond", as_array(pred))
    leaves, structure = flatten(operands)
    handles = [as_array(x) for x in leaves]
    bodies = Bodies("cond", [(x.shape, x.dtype) for x in handles], loops=False)
    args = unflatten(structure, bodies.params)
    sides = [flatten(bodies.call(fn, *args)) for fn in (if_true, if_false)]
    if sides[0][1] != sides[1][1]:
        raise complain(GraphError, "cond: the branches return different structures", test)
    results = [[as_array(x) for x in found] for found, _ in sides]
    for k, (one, other) in enumerate(zip(*results, strict=True)):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            error = DTypeError if one.shape == other.shape else ShapeError
            texts = f"{type_text(one.shape, one.dtype)} if true and {type_text(other.shape, other.dtype)} if false"
            raise complain(error, f"cond: result {k} is {texts}", one, other)
    (then, otherwise), closed, state = bodies.closed(*results, lazy=True)
    inputs = [test, *handles, *closed]
    node = make("cond", [x.node for x in inputs], then, otherwise)
    found = [wrap(with_state(item(node, k), state), inputs) for k in range(len(then.outputs))]
    return unflatten(sides[0][1], found)


def _predicate(name: str, pred: Array) -> Array:
    if pred.dtype != BOOL:
        raise complain(DTypeError, f"{name}: the condition must be a bool, got {pred.dtype}", pred)
    if pred.shape != ():
        got = type_text(pred.shape, pred.dtype)
        raise complain(ShapeError, f"{name}: the condition must be 0-d, got {got}; take ad.any or ad.all of it", pred)
    return pred


@dataclass(frozen=True, slots=True)
class _Traced:
    test: Body
    body: Body
    closed: list[Array]
    carry_dtypes: list[DType]
    counts: bool
    state: list[Pair]


def while_loop(
    cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any, max_iterations: int | None = None
) -> Any:
    """`init`, then `body` of it, again and again while `cond` of it holds; the last carry, structured as `init`.

    `cond` returns a 0-d bool. A carry keeps its shape and dtype; one that starts as a Python number takes the body's.
    With `max_iterations` the loop ends after so many, and a derivative in reverse mode needs no more memory than for
    these; without, it keeps a tape that grows with the iterations that really run.
    """
    if max_iterations is not None:
        max_iterations = checks.whole("max_iterations", max_iterations, least=0)

    def trace(starts: Sequence[Any], types: Sequence[DType], structure: Structure) -> _Traced:
        bodies = Bodies(f"while_loop over {getattr(body, '__name__', 'its body')}", carry_types(starts, types))
        state = unflatten(structure, bodies.params)
        test = _predicate("while_loop", as_array(bodies.call(cond, state)))
        carries = carried("while_loop", bodies.call(body, state), structure, types)
        # A body that asks for its position has one more carry, which counts.
        counter = [bodies.call(lambda: bodies.trace.position() + 1)] if bodies.counts else []
        (tested, whole), closed, state = bodies.closed([test], [*carries, *counter])
        return _Traced(tested, whole, closed, [c.dtype for c in carries], bodies.counts, state)

    handles, structure, traced = settled("while_loop", init, trace)
    inputs = [*handles, *([as_array(0, dtypes.INT64)] if traced.counts else [])]
    n = len(inputs)
    operands = [*inputs, *traced.closed]
    node = make("while", [o.node for o in operands], traced.test, traced.body, n, None, max_iterations)
    results = [wrap(with_state(item(node, k), traced.state), operands) for k in range(len(handles))]
    return unflatten(structure, results)


def fori_loop(n: Any, body: Callable[[Any, Any], Any], init: Any) -> Any:
    """`carry = body(i, carry)` for i = 0 … n-1, from `init`; the last carry.

    `n` is an int, a run-time extent, or a 0-d integer array, whose value may depend on data.
    """
    checks.function("body", body, 0, init)
    if isinstance(n, (int, str, Size)) and not isinstance(n, bool):
        (count,) = sizes.as_shape((n,))
        return scan(lambda carry, i: (body(i, carry), None), init, arange(count))[0]
    bound = as_array(n)
    if not dtypes.is_integer(bound.dtype) or bound.shape != ():
        text = f"fori_loop: n must be a 0-d integer, got {type_text(bound.shape, bound.dtype)}"
        raise complain(DTypeError, text, bound)
    zero = bound * 0
    return while_loop(lambda s: s[0] < bound, lambda s: (s[0] + 1, body(s[0], s[1])), (zero, init))[1]
