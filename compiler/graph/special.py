"""Special functions: the error function and the logarithm of the gamma function with its derivatives.

Values at poles, infinities and −0 are SciPy's. The formulas are those of the NIST Digital Library of Mathematical
Functions, chapters 5 and 25; the reference values here are computed in the platform's long double.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from . import build as b
from .elementwise import elementwise, rule
from .node import Node, Op, make, register

_Wide = np.longdouble
_TERMS = 14  # of the asymptotic series, which is used where these are enough


def wide(x: Fraction | str) -> Any:
    if isinstance(x, str):
        return _Wide(x)
    return _Wide(str(x.numerator)) / _Wide(str(x.denominator))


_PI = wide("3.14159265358979323846264338327950288")
_ONE_MINUS_EULER = wide("0.42278433509846713939348790991759757")
_HALF_LOG_2PI = wide("0.91893853320467274178032973640561764")


@lru_cache(maxsize=1)
def bernoulli() -> tuple[Fraction, ...]:
    """B₀ … B₄₀, with B₁ = −1/2."""
    found = [Fraction(1)]
    for m in range(1, 41):
        found.append(-sum((math.comb(m + 1, k) * found[k] for k in range(m)), Fraction(0)) / (m + 1))
    return tuple(found)


def tail(n: int, count: int) -> list[Fraction]:
    """c₁ … of Σ_{k≥0} n!/(y+k)^(n+1) = n!/y^(n+1) · (y/n + 1/2 + c₁/y + c₂/y³ + …), n ≥ 1 (DLMF 5.15.8)."""
    return [
        bernoulli()[2 * k] * Fraction(math.factorial(2 * k + n - 1), math.factorial(2 * k) * math.factorial(n))
        for k in range(1, count + 1)
    ]


def reach(n: int, count: int, accuracy: float) -> int:
    """The least integer from which on `count` terms of `tail` give that relative accuracy."""
    dropped = float(abs(tail(n, count + 1)[-1]))
    y = 2
    while math.log(dropped) - (2 * count + 1) * math.log(y) > math.log(accuracy * (y / n + 0.5)):
        y += 1
    return y


def _in_wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of long doubles as one of other floats."""

    def evaluate(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.asarray(function(np.asarray(x).astype(_Wide))).astype(x.dtype)

    return evaluate


def _reflected(x: Any) -> tuple[Any, Any]:
    """1 − x for negative x, and the signed distance to the nearest integer."""
    return np.where(x < 0, 1 - x, x), x - np.rint(x)


def _zeta(s: int, y: Any) -> Any:
    """Σ_{k≥0} (y+k)^−s for s ≥ 2, y ≥ 0 (Hurwitz's zeta function)."""
    n = s - 1
    total, start = np.zeros_like(y), reach(n, _TERMS, 1e-21)
    for _ in range(start):
        near = y < start
        total = np.where(near, total + y**-s, total)
        y = np.where(near, y + 1, y)
    r, series = 1 / y, np.zeros_like(y)
    for c in reversed(tail(n, _TERMS)):
        series = series * r * r + wide(c)
    return total + r**n * (wide(Fraction(1, n)) + r * (wide(Fraction(1, 2)) + r * series))


@lru_cache(maxsize=1)
def _zetas() -> tuple[Any, ...]:
    """ζ(k) − 1 for k = 2, 3, …"""
    return tuple(_zeta(k, np.asarray(_Wide(2))) for k in range(2, 50))


def _lgamma_near_2(u: Any) -> Any:
    """log Γ(2+u) for |u| ≤ 3/4, by its Taylor series (DLMF 5.7.3)."""
    series = np.zeros_like(u)
    for k, z in reversed(list(enumerate(_zetas(), 2))):
        series = series * u + (z / k if k % 2 == 0 else -z / k)
    return u * (_ONE_MINUS_EULER + u * series)


def _lgamma_above_0(x: Any) -> Any:
    y, product = x, np.ones_like(x)
    for _ in range(20):
        near = y < 20
        product, y = np.where(near, product * y, product), np.where(near, y + 1, y)
    r, series = 1 / y, np.zeros_like(y)
    for k in range(_TERMS, 0, -1):
        series = series * r * r + wide(bernoulli()[2 * k] / (2 * k * (2 * k - 1)))
    far = (y - 0.5) * (np.log(y) - 1) - 0.5 + _HALF_LOG_2PI + r * series - np.log(product)
    one, two = np.abs(x - 0.75) < 0.5, np.abs(x - 2) <= 0.75
    near_1 = np.where(one, x - 1, 0)
    far = np.where(one, _lgamma_near_2(near_1) - np.log1p(near_1), far)
    return np.where(two, _lgamma_near_2(np.where(two, x - 2, 0)), far)


def _lgamma(x: Any) -> Any:
    y, f = _reflected(x)
    value = _lgamma_above_0(y)
    sine = np.where(x < 0, np.abs(np.sin(_PI * f)) / _PI, 1)
    return np.where(np.isinf(x), x, np.where(x < 0, -np.log(sine) - value, value))


def _digamma(x: Any) -> Any:
    y, f = _reflected(x)
    total = np.zeros_like(y)
    for _ in range(20):
        near = y < 20
        total, y = np.where(near, total + 1 / y, total), np.where(near, y + 1, y)
    r, series = 1 / y, np.zeros_like(y)
    for k in range(_TERMS, 0, -1):
        series = series * r * r + wide(bernoulli()[2 * k] / (2 * k))
    value = np.log(y) - r / 2 - r * r * series - total
    cotangent = _cotangent(np.where(x < 0, f, 0.5))
    return np.where((x < 0) & (f == 0), np.nan, np.where(x < 0, value - _PI * cotangent, value))


def _cotangent(f: Any) -> Any:
    """cot πf, 0 at 1/2."""
    return np.copysign(np.sin(_PI * (0.5 - np.abs(f))) / np.sin(_PI * np.abs(f)), f)


def cotangent_derivative(n: int) -> list[int]:
    """The coefficients of |P|, P(cot t) the n-th derivative of cot t, in cot² t; for even n over one factor cot t.

    All coefficients of P have the sign (−1)ⁿ: P' of one is −(1 + c²) dP/dc of the next.
    """
    p = [0, 1]
    for _ in range(n):
        slope = [k * a for k, a in enumerate(p)][1:]
        p = [a + c for a, c in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return p[1 - n % 2 :: 2]


def _polygamma(n: int) -> Callable[[Any], Any]:
    def evaluate(x: Any) -> Any:
        y, f = _reflected(x)
        factorial = wide(str(math.factorial(n)))
        above = factorial * _zeta(n + 1, np.abs(y))
        c = _cotangent(np.where(x < 0, f, 0.5))
        square, p = c * c, np.zeros_like(c)
        for a in reversed(cotangent_derivative(n)):
            p = p * square + wide(str(a))
        if n % 2 == 0:
            p = p * c
        below = _PI ** (n + 1) * p
        # Both up to the sign (−1)^(n+1), which all of the function has above 0.
        value = np.where(x < 0, below - above if n % 2 else below + above, above)
        value = np.where(((x < 0) & (f == 0)) | (x == -np.inf), np.inf, value)
        return value if n % 2 else -value

    return evaluate


def _of_floats(function: Callable[[float], float]) -> Callable[..., Any]:
    each = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(each(x.astype(np.float64))).astype(x.dtype)


def _gauss(x: Node, factor: float) -> Node:
    return b.mul(b.exp(b.neg(b.mul(x, x))), factor)  # type: ignore[no-any-return]


def polygamma(n: int, x: Node) -> Node:
    """The n-th derivative of digamma."""
    return make("digamma", (x,)) if n == 0 else make("polygamma", (x,), n)


_SLOPE = 2 / math.sqrt(math.pi)
elementwise("erf", 1, _of_floats(math.erf), lambda x, y: (_gauss(x, _SLOPE),), kinds="f", cost=40)
elementwise("erfc", 1, _of_floats(math.erfc), lambda x, y: (_gauss(x, -_SLOPE),), kinds="f", cost=60)
elementwise(
    "lgamma", 1, _in_wide(_lgamma), lambda x, y: (polygamma(0, x),), kinds="f", cost=120, samples=((2.3, 6),)
)
elementwise(
    "digamma", 1, _in_wide(_digamma), lambda x, y: (polygamma(1, x),), kinds="f", cost=120, samples=((1.8, 6),)
)
register(
    Op(
        "polygamma",
        "elementwise",
        1,
        rule("polygamma", "f", "same"),
        attrs=("n",),
        evaluate=lambda node, arrays, shape: _in_wide(_polygamma(node["n"]))(arrays[0]),
        partials=lambda x, y: (polygamma(y["n"] + 1, x),),
        lanes="polygamma",
        cost=200,
        samples=((0.5, 4),),
        kinds="f",
        sample_attrs=(2,),
    )
)
