"""Special functions: the error function, the logarithm of the gamma function and its derivatives.

Operands are promoted as in arithmetic; of integers and bools they compute in float32. Values at poles, infinities and
−0 are SciPy's. Within 2 ulp for erf and erfc; of the others, relative errors are below 1e-6 (float32) and 1e-13
(float64) away from their roots.
"""

from __future__ import annotations

from typing import Any

from ..errors import GraphError
from . import checks
from .arithmetic import floats
from .array import Array
from .explain import complain
from .lift import align, apply, operands_of

_HIGHEST = 100


def _unary(op: str, x: Any, *attrs: Any) -> Array:
    operands = operands_of(x)
    return apply(op, align(op, operands, floats(op, operands)), *attrs, of=operands)


def erf(x: Any) -> Array:
    """The error function, 2/√π ∫₀ˣ exp(−t²) dt."""
    return _unary("erf", x)


def erfc(x: Any) -> Array:
    """1 − erf(x), with full relative precision where that is small."""
    return _unary("erfc", x)


def lgamma(x: Any) -> Array:
    """log |Γ(x)|; +inf at 0, −1, −2, …"""
    return _unary("lgamma", x)


def digamma(x: Any) -> Array:
    """The derivative of lgamma; NaN at −1, −2, …, and −inf at 0, +inf at −0."""
    return _unary("digamma", x)


def polygamma(n: int, x: Any) -> Array:
    """The n-th derivative of digamma, for an int n from 0 to 100; (−1)ⁿ⁺¹·inf at 0, −1, −2, … from n = 1 on.

    Raises GraphError for another n.
    """
    if not checks.is_whole(n) or not 0 <= n <= _HIGHEST:
        raise complain(GraphError, f"polygamma: n is an int from 0 to {_HIGHEST}, got {n!r}", *operands_of(x))
    n = int(n)
    return digamma(x) if n == 0 else _unary("polygamma", x, n)
