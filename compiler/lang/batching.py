"""`vmap`: a function of one example as a function of many."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..autodiff.batching import batch
from ..errors import ShapeError
from ..graph import build as b
from ..graph.node import Node, Token, make, type_text
from ..graph.sizes import Extent
from . import checks
from .array import Array
from .bodies import Trace, depth, inside
from .explain import complain
from .lift import as_array, wrap
from .tree import flatten, unflatten


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: int = 0) -> Callable[..., Any]:
    """A function that applies `fn` to every example along an axis of its arguments, as one batch.

    `in_axes` is an int for all arguments or a tuple with one entry per argument: the axis that holds the examples, or
    None for an argument that all examples share. Arguments and results are arrays or trees of arrays; results have the
    examples along `out_axes`. What does not depend on the example is computed once. Raises ShapeError where axes do
    not exist or their extents differ.
    """

    checks.whole("out_axes", out_axes)
    if not callable(fn):
        checks.function("fn", fn)

    @wraps(fn)
    def mapped(*args: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise complain(ShapeError, f"vmap: in_axes has {len(axes)} entries for {len(args)} arguments")
        size: Extent | None = None
        given: list[Array] = []
        batched: dict[Node, Node] = {}
        values: list[Any] = []
        for number, (arg, axis) in enumerate(zip(args, axes, strict=True)):
            leaves, structure = flatten(arg)
            handles = [as_array(x) for x in leaves]
            given += handles
            if axis is None:
                values.append(unflatten(structure, handles))
                continue
            own = []
            for x in handles:
                place = _place(axis, x, f"argument {number}")
                if size is not None and x.shape[place] != size:
                    text = f"vmap: {size} examples and {x.shape[place]} in argument {number}"
                    raise complain(ShapeError, text, x)
                size = x.shape[place]
                rest = tuple(n for k, n in enumerate(x.shape) if k != place)
                one = Array(make("input", (), Token(f"example of argument {number}"), rest, x.dtype), scope=x.scope)
                order = (place, *(k for k in range(x.ndim) if k != place))
                batched[one.node] = b.permute(x.node, order)
                own.append(one)
            values.append(unflatten(structure, own))
        if size is None:
            raise complain(ShapeError, "vmap: no argument has an axis of examples")
        with inside(Trace("vmap", depth(), size, True, 0)) as trace:
            leaves, structure = flatten(checks.function("fn", fn, *values)(*values))
        if trace.at is not None:
            # Random draws within the function differ from one example to the next.
            batched[trace.at.node] = b.iota((size,), 0)
        results = [as_array(y) for y in leaves]
        nodes = batch([y.node for y in results], batched, size)
        # What was made of the position belongs to the trace, which ends here.
        made = [Array(y.node, requires_grad=y.requires_grad) if y.scope is trace else y for y in results]
        return unflatten(structure, [wrap(_moved(n, out_axes), [*given, *made]) for n in nodes])

    return mapped


def _place(axis: int, x: Array, what: str) -> int:
    if not checks.is_whole(axis) or not -x.ndim <= axis < x.ndim:
        text = f"vmap: {what}, {type_text(x.shape, x.dtype)}, has no axis {axis}"
        raise complain(ShapeError, text, x)
    return axis % x.ndim


def _moved(node: Node, axis: int) -> Node:
    rank = len(node.shape)
    if not -rank <= axis < rank:
        text = f"vmap: a result, {type_text(node.shape[1:], node.dtype)} an example, has no axis {axis} for them"
        raise complain(ShapeError, text)
    order = list(range(1, rank))
    order.insert(axis % rank, 0)
    return b.permute(node, order)
