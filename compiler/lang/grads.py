"""Derivatives on handles: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from ..autodiff import reverse
from ..errors import GradientError
from ..graph import build as b
from ..graph import dtypes
from ..graph.node import Node, Token, make, type_text
from ..graph.substitute import substitute
from . import checks
from .array import Array
from .explain import complain
from .lift import as_array, as_numpy, weak_kind, wrap
from .state import carried, pending
from .tree import flatten, unflatten


def _floating(name: str, role: str, x: Any) -> Array:
    if not isinstance(x, Array):
        raise complain(GradientError, f"{name}: {role} must be a symbolic array, got {type(x).__name__}", x)
    if not dtypes.is_float(x.dtype):
        raise complain(GradientError, f"{name}: {role} must have a floating dtype, got {x.dtype}", x)
    return x


def _seed(name: str, y: Array, cotangent: Any, role: str = "cotangent") -> Node:
    """The cotangent (or tangent) as a node of y's shape and dtype; casts must lose nothing."""
    if cotangent is None:
        if y.shape != ():
            text = f"{name}: {type_text(y.shape, y.dtype)} is not a scalar; sum it, or give a cotangent of its shape"
            raise complain(GradientError, text, y)
        return b.literal(1, y.dtype)
    if not isinstance(cotangent, Array):
        if isinstance(cotangent, (list, tuple, dict)) and any(isinstance(c, Array) for c in flatten(cotangent)[0]):
            raise complain(GradientError, f"{name}: one {role} is expected, got a {type(cotangent).__name__}", y)
        if weak_kind(cotangent) is not None:
            cotangent = as_array(cotangent, y.dtype)
        else:
            given = as_numpy(cotangent)
            with np.errstate(over="ignore"):
                cast = given.astype(y.dtype)
            lossless = given.dtype.kind in "fiub" and np.array_equal(cast.astype(given.dtype), given, equal_nan=True)
            cotangent = as_array(cast if lossless else cotangent)
    if not np.can_cast(cotangent.dtype, y.dtype):
        text = f"{name}: a {role} of dtype {cotangent.dtype} does not fit {y.dtype} without loss"
        raise complain(GradientError, text, y, cotangent, names=("y", role))
    if cotangent.shape != y.shape:
        texts = f"{type_text(cotangent.shape, cotangent.dtype)} for {type_text(y.shape, y.dtype)}"
        raise complain(GradientError, f"{name}: the {role} has another shape than its array: {texts}", y, cotangent)
    return b.cast(cotangent.node, y.dtype)


def vjp(ys: Any, xs: Any, cotangents: Any = None, strict: bool = False) -> Any:
    """Cotangents of `xs` (an array or a tree of arrays; the result has its structure) given those of `ys`.

    `cotangents` is structured as `ys`; each is cast to the dtype of its array where that loses nothing. Scalars need
    none. What no y depends on gets zeros, or raises GradientError if `strict`.
    """
    return _vjp("vjp", ys, xs, cotangents, strict)


def _vjp(name: str, ys: Any, xs: Any, cotangents: Any, strict: bool) -> Any:
    leaves, structure = flatten(xs)
    return unflatten(structure, cotangents_of(name, ys, leaves, cotangents, "raise" if strict else "zeros"))


def cotangents_of(
    name: str, ys: Any, xs: Sequence[Any], cotangents: Any = None, missing: str = "none"
) -> list[Array | None]:
    """The cotangent of every x after the hooks of leaves. What no y depends on gets None, or `missing` says "zeros", or
    "raise" GradientError."""
    y_leaves, _ = flatten(ys)
    outputs = [_floating(name, "what is differentiated", y) for y in y_leaves]
    inputs = [_floating(name, "what is differentiated by", x) for x in xs]
    given = [None] * len(outputs) if cotangents is None else _matching(name, cotangents, outputs, ys)
    seeds = [_seed(name, y, g) for y, g in zip(outputs, given, strict=True)]
    parts = reverse.vjp([y.node for y in outputs], [x.node for x in inputs], seeds)
    handles = [g for g in given if isinstance(g, Array)]
    # A derivative is computed from what it is the derivative of, though it may need none of its values.
    state = pending(y.node for y in outputs)
    results: list[Array | None] = []
    for x, part in zip(inputs, parts, strict=True):
        if part is None and missing == "raise":
            raise complain(GradientError, f"{name}: the result does not depend on {x.describe()}", *outputs[:1], x)
        if part is None and missing == "none":
            results.append(None)
            continue
        g = _hooked(x, b.zeros_like(x.node) if part is None else part)
        results.append(wrap(carried(g, state), [*outputs, x, *handles]))
    return results


def _hooked(x: Array, g: Node) -> Node:
    return reverse.hooked(x.node["token"], g) if "token" in x.node.op.attrs else g


def _matching(name: str, cotangents: Any, outputs: Sequence[Array], ys: Any, role: str = "cotangent") -> list[Any]:
    if isinstance(ys, Array):
        return [cotangents]
    leaves, _ = flatten(cotangents)
    if len(leaves) != len(outputs):
        raise complain(GradientError, f"{name}: {len(leaves)} {role}s for {len(outputs)} arrays")
    return leaves


def grad(y: Any, xs: Any = 0, cotangent: Any = None, strict: bool = False) -> Any:
    """The derivative of `y` with respect to `xs`: one array in, one out; a list (or tree) in, the same out.

    `y` is a floating scalar, unless a `cotangent` of its shape is given. What y does not depend on gives zeros, or
    raises GradientError if `strict`. With a function instead of an array, returns a function that computes the
    derivative with respect to its arguments number `xs` (an int or a tuple of ints, the first by default).
    """
    if callable(y):
        both = value_and_grad(y, xs, cotangent, strict)
        return wraps(y)(lambda *args, **kwargs: both(*args, **kwargs)[1])
    _needs_xs("grad", xs)
    return _vjp("grad", y, xs, cotangent, strict)


def value_and_grad(y: Any, xs: Any = 0, cotangent: Any = None, strict: bool = False) -> Any:
    """`(y, grad(y, xs))`; of a function: a function that returns its value and the derivative, see `grad`."""
    if callable(y):
        return _function(y, xs, cotangent, strict)
    _needs_xs("value_and_grad", xs)
    return y, _vjp("value_and_grad", y, xs, cotangent, strict)


def _needs_xs(name: str, xs: Any) -> None:
    if isinstance(xs, int):
        raise complain(GradientError, f"{name}: say what to differentiate by: an array, or a list of arrays")


def _function(fn: Callable[..., Any], argnums: Any, cotangent: Any, strict: bool) -> Callable[..., Any]:
    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        numbers = argnums if isinstance(argnums, tuple) else (argnums,)
        checks.function("the function", fn, *args, **kwargs)
        values, stand_ins = list(args), {}
        for k in numbers:
            if not checks.is_whole(k) or not -len(args) <= k < len(args):
                text = f"grad: there is no argument number {k!r} to differentiate by among {len(args)} positional ones"
                raise complain(GradientError, text)
            leaves, structure = flatten(args[k])
            handles = [_argument(a) for a in leaves]
            # A leaf of its own for every argument: the same array passed twice is two arguments.
            own = [_stand_in(f"argument {k}", a) for a in handles]
            stand_ins.update({o.node: a for o, a in zip(own, handles, strict=True)})
            values[k] = unflatten(structure, own)
        y = fn(*values, **kwargs)
        parts = _vjp("value_and_grad", y, tuple(values[k] for k in numbers), cotangent, strict)
        leaves, structure = flatten((y, parts if isinstance(argnums, tuple) else parts[0]))
        nodes = substitute([leaf.node for leaf in leaves], {o: a.node for o, a in stand_ins.items()})
        operands = [*leaves, *stand_ins.values()]
        return unflatten(structure, [wrap(node, operands) for node in nodes])

    return differentiated


def _stand_in(name: str, a: Array) -> Array:
    token = Token(name)
    if "token" in a.node.op.attrs:
        token.hooks = a.node["token"].hooks
    return Array(make("input", (), token, a.shape, a.dtype), scope=a.scope)


def _argument(x: Any) -> Array:
    handle = as_array(x)
    if not dtypes.is_float(handle.dtype):
        text = f"grad: an argument that is differentiated by must be floating, got {handle.dtype}"
        raise complain(GradientError, text, x)
    return handle
