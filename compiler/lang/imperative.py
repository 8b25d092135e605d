"""Imperative habits: hooks, gradients that accumulate into variables, retained gradients of intermediate results."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import GradientError
from ..graph import dtypes
from ..graph.node import Node, Token, make, toposort, type_text
from .array import Array
from .explain import complain

_unnamed = itertools.count()
# Results that retain their gradient, each with the token that holds what accumulates it.
_retained: weakref.WeakKeyDictionary[Node, Token] = weakref.WeakKeyDictionary()


class Hook:
    """A registered hook; `remove()` takes it off."""

    def __init__(self, fn: Callable[[Array], Any], label: str) -> None:
        self._fn: Callable[[Array], Any] | None = fn
        self._label = label

    def remove(self) -> None:
        """Gradients taken from now on no longer go through the hook; removing twice does nothing."""
        self._fn = None

    def __call__(self, g: Node) -> Node:
        return g if self._fn is None else _answer(self._fn(Array(g)), g, self._label)


def register(x: Array, fn: Callable[[Array], Any]) -> Hook:
    if not dtypes.is_float(x.dtype):
        raise complain(GradientError, f"register_hook: {x.describe()} is not floating and has no gradient", x)
    hook = Hook(fn, x.describe())
    if "token" in x.node.op.attrs:
        x.node["token"].hooks.append(hook)
        return hook
    before, token = x.node, Token(x.name or "hook")
    # A second hook runs after the first, and is none of the expressions built in between.
    stacked = before.op.name == "hook"
    token.hooks = [*(before["mark"].hooks if stacked else ()), hook]
    x.node = make("hook", (before.inputs[0] if stacked else before,), token)
    if before in _retained:
        _retained[x.node] = _retained.pop(before)
    return hook


def _answer(found: Any, g: Node, what: str) -> Node:
    """What a hook makes of a gradient: it must still be one of the same array."""
    if found is None:
        return g
    from .lift import as_array

    new = as_array(found, g.dtype)
    if (new.shape, new.dtype) != (g.shape, g.dtype):
        texts = f"{type_text(new.shape, new.dtype)} in place of {type_text(g.shape, g.dtype)}"
        raise complain(GradientError, f"a hook of {what} returns {texts}", new)
    # The adjoint of a loop is closed when hooks run: what else they need can no longer become an operand of it.
    outer = [n for n in toposort([new.node], stop=lambda n: n is g) if n.op.name in ("input", "variable")]
    if outer and g not in outer and any(n.op.name == "param" for n in toposort([g])):
        text = f"a hook of {what}, within the body of a loop, may use its gradient and constants, but no other arrays"
        raise complain(GradientError, text, Array(outer[0]))
    return new.node


def accumulated(x: Array) -> Array | None:
    """The variable that `backward` accumulates into, if there is one yet."""
    from .create import handle

    token = x.node["token"] if x.node.op.name == "variable" else _retained.get(x.node)
    return None if token is None or token.grad is None else handle(token.grad)


def retain(x: Array) -> None:
    if x.node.op.name == "variable":
        return
    if x.is_leaf:
        text = f"retain_grad: backward accumulates into variables; for {x.describe()} take ad.grad"
        raise complain(GradientError, text, x)
    if not dtypes.is_float(x.dtype):
        raise complain(GradientError, f"retain_grad: {x.describe()} is not floating and has no gradient", x)
    if not all(isinstance(n, int) for n in x.shape):
        text = f"retain_grad: the shape of {x.describe()} is known only at run time, a variable's is not; take ad.grad"
        raise complain(GradientError, text, x)
    if x.node not in _retained:
        _retained[x.node] = Token(x.name or f"r{next(_unnamed)}")


def backward(loss: Any, cotangent: Any = None, *, updates: Mapping[Array, Any] | None = None) -> dict[Array, Array]:
    """Updates that add the gradients of `loss` to `.grad` of all variables that it depends on and that require one,
    and of the results on the way that retain theirs: `ad.compile(…, updates=ad.backward(loss))`.

    `v.grad` is a variable, called `<v>.grad`, made of zeros at the first `backward` and set back by `ad.zero_grad`, so
    the calls of a compiled function accumulate over batches. `loss` is a floating scalar, unless a `cotangent` of its
    shape is given. `updates` of an earlier `backward` are added to, so that several losses go into one function.

    Raises GradientError when nothing requires a gradient, when the loss is no scalar and has no cotangent, and for
    inputs that require a gradient: nothing can be accumulated for these; `ad.grad` gives it.
    """
    from .grads import cotangents_of

    if not isinstance(loss, Array):
        raise complain(GradientError, f"backward: the loss must be a symbolic array, got {type(loss).__name__}", loss)
    if not dtypes.is_float(loss.dtype):
        raise complain(GradientError, f"backward: the loss must have a floating dtype, got {loss.dtype}", loss)
    if not loss.requires_grad:
        text = "backward: the loss depends on nothing that requires a gradient; variables do unless they are frozen"
        raise complain(GradientError, f"{text} (requires_grad=False), detached or used under no_grad", loss)
    targets: dict[Node, Token] = {}
    for node in toposort([loss.node]):
        if "token" in node.op.attrs and node["token"].requires_grad:
            if node.op.name == "input":
                text = f'backward: no gradient can be accumulated for input "{node["token"].name}"; take ad.grad'
                raise complain(GradientError, f"{text}, or leave requires_grad of the input False", loss, Array(node))
            targets[node] = node["token"]
        elif node in _retained:
            targets[node] = _retained[node]
    handles = [Array(node) for node in targets]
    result: dict[Array, Array] = dict(updates or {})
    for x, g in zip(handles, cotangents_of("backward", loss, handles, cotangent), strict=True):
        if g is not None:
            total = _accumulator(x, targets[x.node])
            result[total] = result.get(total, total) + g
    if not result:
        raise complain(GradientError, "backward: no derivative reaches any variable that requires a gradient", loss)
    return result


def _accumulator(x: Array, token: Token) -> Array:
    from .create import handle, variable

    if token.grad is None:
        start = np.zeros(tuple(map(int, x.shape)), x.dtype)
        token.grad = variable(start, name=f"{token.name}.grad", requires_grad=False).node
    return handle(token.grad)


def zero_grad(variables: Array | Iterable[Array]) -> None:
    """Sets `.grad` of the variables, and of results that retain theirs, to zero at once; what has none yet is left."""
    for v in [variables] if isinstance(variables, Array) else variables:
        if not isinstance(v, Array):
            raise complain(GradientError, f"zero_grad: variables are expected, got {type(v).__name__}", v)
        total = accumulated(v)
        if total is not None:
            total.value[...] = 0
