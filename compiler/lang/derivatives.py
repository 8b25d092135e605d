"""Derivatives beyond gradients on handles: tangents, Hessian products, whole Jacobians and Hessians."""

from __future__ import annotations

from typing import Any

from ..autodiff import forward, reverse
from ..autodiff.batching import batch
from ..graph import build as b
from ..graph import sizes
from ..graph.node import Node, Token, make
from .array import Array
from .grads import _floating, _matching, _seed, grad
from .lift import wrap
from .tree import flatten, unflatten


def jvp(ys: Any, xs: Any, tangents: Any) -> Any:
    """Tangents of `ys` (an array or a tree of arrays; the result has its structure) for tangents of `xs`.

    `tangents` is structured as `xs`; each is cast to the dtype of its array where that loses nothing. Raises
    GradientError where shapes or dtypes do not fit.
    """
    y_leaves, structure = flatten(ys)
    x_leaves, _ = flatten(xs)
    outputs = [_floating("jvp", "what is differentiated", y) for y in y_leaves]
    inputs = [_floating("jvp", "what is differentiated by", x) for x in x_leaves]
    given = _matching("jvp", tangents, inputs, xs, "tangent")
    seeds = [_seed("jvp", x, t, "tangent") for x, t in zip(inputs, given, strict=True)]
    found = forward.jvp([y.node for y in outputs], [x.node for x in inputs], seeds)
    handles = [t for t in given if isinstance(t, Array)]
    return unflatten(
        structure,
        [
            wrap(b.zeros_like(y.node) if t is None else t, [y, *inputs, *handles])
            for y, t in zip(outputs, found, strict=True)
        ],
    )


def hvp(y: Any, x: Any, v: Any) -> Any:
    """The product of the Hessian of the scalar `y` with `v`, forward over reverse; structured as `x`, as is `v`."""
    return jvp(grad(y, x), x, v)


def jacobian(y: Any, x: Any) -> Any:
    """d y / d x, of shape (*y.shape, *x.shape); of trees of arrays one for each pair, structured as `y`, then `x`.

    One sweep over all seeds: forward mode where x has fewer elements than y, else reverse mode. Raises GradientError
    for what is no floating array.
    """
    return _matrix("jacobian", y, x)


def hessian(y: Any, x: Any) -> Any:
    """The second derivative of the scalar `y` by the array `x`, of shape (*x.shape, *x.shape): forward over reverse.

    For a tree `x` one for each pair of its arrays, structured as `x` twice. Raises GradientError for what is no
    floating array or no scalar.
    """
    y = _floating("hessian", "what is differentiated", y)
    for leaf in flatten(x)[0]:
        _floating("hessian", "what is differentiated by", leaf)
    return _matrix("hessian", grad(y, x), x, forwards=True)


def _matrix(name: str, ys: Any, xs: Any, forwards: bool | None = None) -> Any:
    (rows, outer), (columns, inner) = flatten(ys), flatten(xs)
    outputs = [_floating(name, "what is differentiated", y) for y in rows]
    inputs = [_floating(name, "what is differentiated by", x) for x in columns]
    blocks = [[wrap(_jacobian(y.node, x.node, forwards), [y, x]) for x in inputs] for y in outputs]
    return unflatten(outer, [unflatten(inner, row) for row in blocks])


def _jacobian(y: Node, x: Node, forwards: bool | None = None) -> Node:
    n, m = sizes.product(x.shape), sizes.product(y.shape)
    if forwards is None:
        forwards = sizes.hint(n) < sizes.hint(m)
    source, count = (x, n) if forwards else (y, m)
    seed = make("input", (), Token("seed"), source.shape, source.dtype)
    if forwards:
        (found,) = forward.jvp([y], [x], [seed])
    else:
        (found,) = reverse.vjp([y], [x], [seed])
    if found is None:
        return b.full(0, (*y.shape, *x.shape), y.dtype)
    units = b.reshape(_eye(count, source), (count, *source.shape))
    (rows,) = batch([found], {seed: units}, count)
    if not forwards:
        return b.reshape(rows, (*y.shape, *x.shape))
    rank = len(y.shape)
    columns = b.permute(rows, (*range(1, rank + 1), 0))
    return b.reshape(columns, (*y.shape, *x.shape))


def _eye(n: sizes.Extent, like: Node) -> Node:
    return b.cast(b.equal(b.iota((n, n), 0), b.iota((n, n), 1)), like.dtype)
