"""Elementary functions beyond those of arithmetic; operands are broadcast, integers and bools compute in float32.

Special values are NumPy's, arguments outside of a domain give NaN, and results are within 2 ulp in float32 and float64
for all finite arguments, unless a function says otherwise.
"""

from __future__ import annotations

from typing import Any

from .arithmetic import floats
from .array import Array
from .lift import align, apply, operands_of


def _floating(op: str, *values: Any) -> Array:
    operands = operands_of(*values)
    return apply(op, align(op, operands, floats(op, operands)), of=operands)


def exp2(x: Any) -> Array:
    """2 ** x; exact for integers."""
    return _floating("exp2", x)


def expm1(x: Any) -> Array:
    """exp(x) - 1, exact near 0 too."""
    return _floating("expm1", x)


def log1p(x: Any) -> Array:
    """log(1 + x), exact near 0 too."""
    return _floating("log1p", x)


def log2(x: Any) -> Array:
    """The logarithm to base 2; exact for powers of 2."""
    return _floating("log2", x)


def log10(x: Any) -> Array:
    """The logarithm to base 10."""
    return _floating("log10", x)


def cbrt(x: Any) -> Array:
    """The real cube root, negative where x is; its derivative at 0 is infinite."""
    return _floating("cbrt", x)


def hypot(x: Any, y: Any) -> Array:
    """sqrt(x² + y²) without overflow on the way; infinite where either is; derivative 0 at (0, 0)."""
    return _floating("hypot", x, y)


def logaddexp(x: Any, y: Any) -> Array:
    """log(exp(x) + exp(y)) without overflow on the way.

    Equal operands get half of the cotangent each, infinite ones too. The error is within 4 units in the last place of
    the largest among the result, max(x, y) and the difference of these two.
    """
    return _floating("logaddexp", x, y)


def tan(x: Any) -> Array:
    """The tangent of an angle in radians."""
    return _floating("tan", x)


def asin(x: Any) -> Array:
    """The angle in [-π/2, π/2] whose sine is x."""
    return _floating("asin", x)


def acos(x: Any) -> Array:
    """The angle in [0, π] whose cosine is x."""
    return _floating("acos", x)


def atan(x: Any) -> Array:
    """The angle in [-π/2, π/2] whose tangent is x."""
    return _floating("atan", x)


def atan2(y: Any, x: Any) -> Array:
    """The angle in [-π, π] of the point (x, y); signs of zeros count as in C. Derivatives at (0, 0) are 0."""
    return _floating("atan2", y, x)


def sinh(x: Any) -> Array:
    """The hyperbolic sine."""
    return _floating("sinh", x)


def cosh(x: Any) -> Array:
    """The hyperbolic cosine."""
    return _floating("cosh", x)


def asinh(x: Any) -> Array:
    """The inverse of sinh."""
    return _floating("asinh", x)


def acosh(x: Any) -> Array:
    """The inverse of cosh, at least 0."""
    return _floating("acosh", x)


def atanh(x: Any) -> Array:
    """The inverse of tanh; infinite at -1 and 1."""
    return _floating("atanh", x)
