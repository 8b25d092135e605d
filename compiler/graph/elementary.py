"""Elementary functions: exponentials and logarithms, circular and hyperbolic functions, roots, rounding.

Derivatives are written so that nothing overflows or cancels on the way, in terms of the output where that is exact
enough: e^x is not 1 + (e^x - 1) where x is very negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from . import build as b
from .elementwise import Partial, elementwise
from .node import Node


def _over(divisor: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Sequence[Partial]]:
    """The derivative is 1 / divisor(input, output)."""
    return lambda x, y: (lambda t: b.div(t, divisor(x, y)),)


def _one_minus_square(x: Node) -> Node:
    return b.mul(b.sub(1, x), b.add(1, x))  # type: ignore[no-any-return]


def _hypot_partials(x: Node, z: Node, y: Node) -> Sequence[Partial]:
    def part(mine: Node) -> Callable[[Node], Node]:
        return lambda t: b.where(b.equal(y, 0), 0, b.mul(t, b.div(mine, y)))

    return part(x), part(z)


def _atan2_partials(x: Node, z: Node, y: Node) -> Sequence[Partial]:
    """With r = hypot(x, z): z / r² and −x / r²; 0 at the origin."""
    r = b.make("hypot", (x, z))

    def part(other: Node) -> Callable[[Node], Node]:
        return lambda t: b.where(b.equal(r, 0), 0, b.div(b.mul(t, b.div(other, r)), r))

    return part(z), part(b.neg(x))


def _logaddexp_partials(x: Node, z: Node, y: Node) -> Sequence[Partial]:
    """The logistic function of the difference; equal operands get half each, infinite ones too."""
    infinite = b.logical_and(b.equal(x, z), b.equal(b.make("abs", (x,)), float("inf")))
    d = b.where(infinite, 0, b.sub(x, z))
    return b.make("sigmoid", (d,)), b.make("sigmoid", (b.neg(d),))


elementwise("exp2", 1, np.exp2, lambda x, y: (b.mul(y, math.log(2)),), kinds="f", cost=14)
elementwise("expm1", 1, np.expm1, lambda x, y: (b.exp(x),), kinds="f", cost=18)
elementwise("log1p", 1, np.log1p, _over(lambda x, y: b.add(x, 1)), kinds="f", cost=24, samples=((-0.6, 2),))
elementwise("log2", 1, np.log2, _over(lambda x, y: b.mul(x, math.log(2))), kinds="f", cost=22, samples=((0.3, 3),))
elementwise("log10", 1, np.log10, _over(lambda x, y: b.mul(x, math.log(10))), kinds="f", cost=22, samples=((0.3, 3),))
elementwise("cbrt", 1, np.cbrt, _over(lambda x, y: b.mul(b.mul(y, y), 3)), kinds="f", cost=24, samples=((0.3, 3),))
elementwise("hypot", 2, np.hypot, _hypot_partials, kinds="f", cost=20, commutative=True)
elementwise(
    "logaddexp",
    2,
    np.logaddexp,
    _logaddexp_partials,
    kinds="f",
    cost=44,
    commutative=True,
    samples=((0.1, 2), (0.1, 2)),
)

elementwise("tan", 1, np.tan, lambda x, y: (b.add(b.mul(y, y), 1),), kinds="f", cost=50, samples=((-1, 1),))
elementwise(
    "asin",
    1,
    np.arcsin,
    lambda x, y: (b.make("rsqrt", (_one_minus_square(x),)),),
    kinds="f",
    cost=26,
    samples=((-0.8, 0.8),),
)
elementwise(
    "acos",
    1,
    np.arccos,
    lambda x, y: (b.neg(b.make("rsqrt", (_one_minus_square(x),))),),
    kinds="f",
    cost=28,
    samples=((-0.8, 0.8),),
)
elementwise("atan", 1, np.arctan, _over(lambda x, y: b.add(b.mul(x, x), 1)), kinds="f", cost=26)
elementwise("atan2", 2, np.arctan2, _atan2_partials, kinds="f", cost=34, samples=((0.3, 2), (-2, 2)))

elementwise("sinh", 1, np.sinh, lambda x, y: (b.make("cosh", (x,)),), kinds="f", cost=36)
elementwise("cosh", 1, np.cosh, lambda x, y: (b.make("sinh", (x,)),), kinds="f", cost=28)
elementwise(
    "asinh",
    1,
    np.arcsinh,
    _over(lambda x, y: b.make("hypot", (x, b.full(1, x.shape, x.dtype)))),
    kinds="f",
    cost=44,
)
elementwise(
    "acosh",
    1,
    np.arccosh,
    lambda x, y: (b.mul(b.make("rsqrt", (b.sub(x, 1),)), b.make("rsqrt", (b.add(x, 1),))),),
    kinds="f",
    cost=40,
    samples=((1.2, 3),),
)
elementwise(
    "atanh", 1, np.arctanh, _over(lambda x, y: _one_minus_square(x)), kinds="f", cost=44, samples=((-0.8, 0.8),)
)

for _name, _function, _samples in (
    ("floor", np.floor, (0.2, 0.8)),
    ("ceil", np.ceil, (0.2, 0.8)),
    ("trunc", np.trunc, (0.2, 0.8)),
    ("round", np.rint, (0.6, 1.4)),
):
    elementwise(_name, 1, _function, lambda x, y: (None,), kinds="f", samples=(_samples,))
