"""Functions with derivatives of their own (`custom_rule`), and functions that are computed again (`checkpoint`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper, wraps
from typing import Any

import numpy as np

from ..errors import GradientError
from ..graph import dtypes
from ..graph.control import Body, item
from ..graph.node import Node, make, type_text
from ..graph.substitute import substitute
from . import arithmetic as ar
from .array import Array
from .bodies import Bodies
from .explain import complain
from .lift import align, as_array, broadcast_shapes, common_dtype, operands_of, wrap
from .state import carried, pending
from .tree import flatten, unflatten


def custom_rule(
    forward: Callable[..., Any] | None = None,
    *,
    partials: Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    backward: Callable[..., Any] | None = None,
) -> Any:
    """A function of arrays whose derivative is what you say; given once, it serves both modes, and batches.

    Arguments and results are arrays or trees of arrays. One of these says what the derivative is:

    partials    of an elementwise function of one result: `partials(*xs, y)` returns one factor per argument (alone if
                there is one argument), None for 0. Arguments are broadcast and promoted before the call.
    transpose   of a function that is linear in all arguments together: `transpose(*cotangents)`, one per result,
                returns one cotangent per argument. Its own transpose is `forward`.
    backward    `forward` returns `(y, saved)`, of which callers get y; `backward(saved, cotangent)`, the cotangent
                structured as y, returns one cotangent per argument, None for none. Forward mode transposes it, so it
                must be linear in the cotangent.

    The functions may close over arrays; what `forward` closes over has no derivative, and differentiating by it raises
    GradientError. Derivatives of the rule itself are found as those of any function. Without `forward`: a decorator.
    """
    given = [rule for rule in (partials, transpose, backward) if rule is not None]
    if len(given) != 1:
        raise complain(GradientError, "custom_rule: give one of partials, transpose and backward")
    if forward is None:
        return partial(custom_rule, partials=partials, transpose=transpose, backward=backward)
    return _Ruled(forward, partials, transpose, backward)


class _Ruled:
    """A function with a rule."""

    def __init__(
        self, forward: Callable[..., Any], partials: Callable[..., Any] | None,
        transpose: Callable[..., Any] | None, backward: Callable[..., Any] | None,
    ) -> None:  # fmt: skip
        self._forward, self._partials, self._transpose, self._backward = forward, partials, transpose, backward
        self._name = getattr(forward, "__name__", "a function with a rule")
        update_wrapper(self, forward)

    def __call__(self, *args: Any) -> Any:
        leaves, structure = flatten(args)
        handles = self._spread(leaves) if self._partials is not None else [as_array(x) for x in leaves]
        types = [(x.shape, x.dtype) for x in handles]
        bodies = Bodies(self._name, types, loops=False)
        result = bodies.call(self._forward, *unflatten(structure, bodies.params))
        saved: Any = None
        if self._backward is not None:
            if not isinstance(result, tuple) or len(result) != 2:
                raise self._error("forward must return a pair (y, saved)", *handles)
            result, saved = result
        y_leaves, y_structure = flatten(result)
        ys = [as_array(y) for y in y_leaves]
        kept, saved_structure = flatten(saved)
        fixed = [x is None or isinstance(x, (str, bool)) for x in kept]
        outputs = [*ys, *(as_array(x) for x, f in zip(kept, fixed, strict=True) if not f)]
        for y in ys:
            if not dtypes.is_float(y.dtype):
                raise self._error(f"results must be floating, got {type_text(y.shape, y.dtype)}", y)

        if self._transpose is not None:
            inputs, body, rule = self._linear(structure, handles, bodies, ys)
            call = make("call", [x.node for x in inputs], body, rule, "linear", len(handles), ())
            return unflatten(y_structure, _results(call, len(ys), 0, [], inputs))
        released, variables = _without_state(outputs)
        back = Bodies(self._name, [*types, *((o.shape, o.dtype) for o in (*released, *ys))], loops=False)
        xs, rest = back.params[: len(handles)], back.params[len(handles) :]
        bars = rest[len(released) :]
        if self._partials is not None:
            if len(ys) != 1:
                raise self._error(f"an elementwise function has one result, this one {len(ys)}", *ys)
            found = self._scaled(back, xs, rest[0], bars[0], structure)
        else:
            values = iter(rest[len(ys) : len(outputs)])
            context = unflatten(saved_structure, [x if f else next(values) for x, f in zip(kept, fixed, strict=True)])
            assert self._backward is not None
            answer = back.call(self._backward, context, unflatten(y_structure, bars))
            found = self._cotangents(answer, structure, handles)
        places = tuple(k for k, g in enumerate(found) if g is not None)
        parts = [g for g in found if g is not None]
        inputs, body, rule = _joined(handles, bodies, released, back, parts, len(handles))
        call = make("call", [x.node for x in inputs], body, rule, "custom", len(handles), places)
        return unflatten(y_structure, _results(call, len(ys), len(outputs), variables, inputs))

    def _error(self, text: str, *operands: Any) -> Exception:
        return complain(GradientError, f"custom_rule: {self._name}: {text}", *operands)

    def _spread(self, leaves: Sequence[Any]) -> list[Array]:
        """Arguments of an elementwise function, in one floating dtype and one shape."""
        operands = operands_of(*leaves)
        dtype = common_dtype(operands)
        nodes = align(self._name, operands, dtype if dtypes.is_float(dtype) else dtypes.FLOAT32)
        return [wrap(node, (x,)) for node, x in zip(nodes, operands, strict=True)]

    def _scaled(self, back: Bodies, xs: Sequence[Array], y: Array, bar: Array, structure: Any) -> list[Array | None]:
        """Cotangents for partials, all of the shape of the result."""
        assert self._partials is not None
        factors = self._listed(back.call(self._partials, *unflatten(structure, xs), y), len(xs))
        found: list[Array | None] = []
        for factor, x in zip(factors, xs, strict=True):
            if factor is None:
                found.append(None)
                continue
            f = as_array(factor, bar.dtype)
            together = broadcast_shapes(self._name, [f.shape, bar.shape], [f, bar])
            if x.shape != bar.shape or f.dtype != bar.dtype or together != bar.shape:
                raise self._error("the result and the partials have the shape and dtype of the arguments together", f)
            found.append(back.call(ar.multiply, f, bar))
        return found

    def _cotangents(self, answer: Any, structure: Any, xs: Sequence[Array]) -> list[Array | None]:
        """One cotangent for each leaf of the arguments, checked; an argument that is a tree may have one None."""
        parts = structure[2]
        given = self._listed(answer, len(parts))
        leaves: list[Any] = []
        for value, part in zip(given, parts, strict=True):
            count = len(flatten(unflatten(part, range(len(xs))))[0]) if value is None else -1
            own, shape = ([None] * count, part) if value is None else flatten(value)
            if shape != part:
                raise self._error("a cotangent is structured differently from its argument")
            leaves += own
        return [self._fitting(g, x) for g, x in zip(leaves, xs, strict=True)]

    def _listed(self, answer: Any, count: int) -> list[Any]:
        if count == 1 and not (isinstance(answer, (tuple, list)) and len(answer) == 1):
            return [answer]
        if not isinstance(answer, (tuple, list)) or len(answer) != count:
            raise self._error(f"its rule must return {count} values, one for each argument, got {answer!r}")
        return list(answer)

    def _fitting(self, g: Any, x: Array) -> Array | None:
        if g is None or not dtypes.is_float(x.dtype):
            return None
        found = as_array(g, x.dtype)
        if (found.shape, found.dtype) != (x.shape, x.dtype):
            texts = f"{type_text(found.shape, found.dtype)} for an argument {type_text(x.shape, x.dtype)}"
            raise self._error(f"its rule gives a cotangent {texts}", found)
        return found

    def _linear(
        self, structure: Any, handles: Sequence[Array], bodies: Bodies, ys: Sequence[Array]
    ) -> tuple[list[Array], Body, Body]:
        for x in handles:
            if not dtypes.is_float(x.dtype):
                raise self._error(f"a linear function takes floating arguments, got {type_text(x.shape, x.dtype)}", x)
        back = Bodies(self._name, [(y.shape, y.dtype) for y in ys], loops=False)
        assert self._transpose is not None
        found = self._cotangents(back.call(self._transpose, *back.params), structure, handles)
        if any(g is None for g in found):
            raise self._error("the transpose must return a cotangent for every argument")
        return _joined(handles, bodies, ys, back, [g for g in found if g is not None], len(ys))


def _joined(
    handles: Sequence[Array], bodies: Bodies, outputs: Sequence[Array], back: Bodies, found: Sequence[Array], own: int
) -> tuple[list[Array], Body, Body]:
    """Both bodies over the same inputs: arguments, what the function closes over, what its rule closes over. The first
    `own` parameters of the rule stay ahead of what is closed over."""
    (body,), closed, _ = bodies.closed(outputs, lazy=True)
    (rule,), more, _ = back.closed(found, lazy=True)
    count = len(back.params)
    first = 1 + max((p["position"] for p in (*body.params, *rule.params)), default=-1)
    unread = [
        make("param", (), back.trace.depth, first + k, x.shape, x.dtype) for k, x in enumerate((*more, *closed))
    ]
    params = [*rule.params[:own], *unread[len(more) :], *rule.params[count:], *rule.params[own:count]]
    whole = Body([*body.params, *unread[: len(more)]], body.outputs)
    return [*handles, *closed, *more], whole, Body(params, rule.outputs)


def _without_state(results: Sequence[Array]) -> tuple[list[Array], list[Node]]:
    """The results without the state that they bring along, then its new values; and the variables."""
    pairs = pending(y.node for y in results)
    if not pairs:
        return list(results), []
    nodes = substitute([*(y.node for y in results), *(new for _, new in pairs)], {}, transparent="carry")
    return [Array(node) for node in nodes], [variable for variable, _ in pairs]


def _results(call: Node, count: int, first: int, variables: Sequence[Node], inputs: Sequence[Array]) -> list[Array]:
    """Handles of the first results of a call, which bring along what those from `first` on are for the variables."""
    pairs = [(v, item(call, first + k)) for k, v in enumerate(variables)]
    return [wrap(carried(item(call, k), pairs), inputs) for k in range(count)]


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of whose inner values a derivative in reverse mode keeps none: it computes them again, to the
    same bits, when it needs them.

    Arguments and results are arrays or trees of arrays; what is no array is handed over as it is. Random draws are
    those of the forward run. Source: Griewank and Walther, Evaluating Derivatives, 2008, chapter 12.
    """

    @wraps(fn)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        fixed = [not isinstance(x, (Array, np.ndarray)) for x in leaves]
        handles = [as_array(x) for x, f in zip(leaves, fixed, strict=True) if not f]
        label = getattr(fn, "__name__", "a checkpointed function")
        bodies = Bodies(label, [(x.shape, x.dtype) for x in handles], loops=False)
        params = iter(bodies.params)
        own, named = unflatten(structure, [x if f else next(params) for x, f in zip(leaves, fixed, strict=True)])
        found, result = flatten(bodies.call(fn, *own, **named))
        given = [x is None or isinstance(x, (str, bool)) for x in found]
        ys = [as_array(y) for y, g in zip(found, given, strict=True) if not g]
        outputs, variables = _without_state(ys)
        (body,), closed, _ = bodies.closed(outputs, lazy=True)
        inputs = [*handles, *closed]
        call = make("call", [x.node for x in inputs], body, None, "checkpoint", len(inputs), ())
        results = iter(_results(call, len(ys), len(ys), variables, inputs))
        return unflatten(result, [y if g else next(results) for y, g in zip(found, given, strict=True)])

    return checkpointed
