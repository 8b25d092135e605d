"""Elementwise functions: operands are promoted and broadcast, the result has their common shape.

Operands are arrays, NumPy arrays, lists or scalars; shapes that do not broadcast raise ShapeError, operands that an
operation is not defined for raise DTypeError. Floating functions of integers and bools compute in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..graph import build as b
from ..graph import dtypes
from ..graph.dtypes import BOOL, FLOAT32, INT64, DType
from ..graph.node import make
from .array import Array
from .explain import complain
from .lift import align, apply, as_array, cast_node, common_dtype, operands_of, spread, stretch, weak_kind, wrap


def _numbers(name: str, operands: Sequence[Any]) -> DType:
    """The common dtype; bools count as integers."""
    dtype = common_dtype(operands)
    return INT64 if dtype == BOOL else dtype


def floats(name: str, operands: Sequence[Any]) -> DType:
    dtype = common_dtype(operands)
    return dtype if dtypes.is_float(dtype) else FLOAT32


def _arithmetic(op: str, dtype_of: Any, *values: Any) -> Array:
    operands = operands_of(*values)
    return apply(op, align(op, operands, dtype_of(op, operands)), of=operands)


def add(x: Any, y: Any) -> Array:
    """x + y."""
    return _arithmetic("add", _numbers, x, y)


def subtract(x: Any, y: Any) -> Array:
    """x - y."""
    return _arithmetic("subtract", _numbers, x, y)


def multiply(x: Any, y: Any) -> Array:
    """x · y."""
    return _arithmetic("multiply", _numbers, x, y)


def divide(x: Any, y: Any) -> Array:
    """x / y; of integers in float32."""
    return _arithmetic("divide", floats, x, y)


def maximum(x: Any, y: Any) -> Array:
    """The greater; NaN where either is. At a tie each operand gets half of the cotangent."""
    return _arithmetic("maximum", _numbers, x, y)


def minimum(x: Any, y: Any) -> Array:
    """The lesser; NaN where either is. At a tie each operand gets half of the cotangent."""
    return _arithmetic("minimum", _numbers, x, y)


def floor_divide(x: Any, y: Any) -> Array:
    """x // y as Python's: rounded down, of floats too; integer division by zero gives 0. Derivative 0."""
    return _arithmetic("floor_divide", _numbers, x, y)


def remainder(x: Any, y: Any) -> Array:
    """x % y as Python's: of the sign of y; an integer remainder by zero is 0.

    Derivatives are those of x - y·floor(x / y) between its jumps.
    """
    return _arithmetic("remainder", _numbers, x, y)


def pow(x: Any, y: Any) -> Array:
    """x ** y. Small constant integer powers are products; integers to powers that are arrays compute in float32."""
    if weak_kind(y) in ("i", "f") and isinstance(x, Array):
        whole, integer = float(y).is_integer(), weak_kind(y) == "i" and not dtypes.is_float(x.dtype)
        if integer or (whole and dtypes.is_float(x.dtype)):
            x = astype(x, _numbers("power", (x,)))
            if y == 0:
                return wrap(stretch(b.literal(1, x.dtype), x.shape), (x,))
            if y == 1:
                return as_array(x)
            if y >= 2 and (y <= 16 or integer):
                return _repeated(x, int(y))
        if y == 0.5 and dtypes.is_float(x.dtype):
            return sqrt(x)
        if y == -1 and dtypes.is_float(x.dtype):
            return reciprocal(x)
    return _arithmetic("power", floats, x, y)


def _repeated(x: Array, exponent: int) -> Array:
    """Square and multiply: cheaper than a power, defined for integers, and its derivatives are polynomials."""
    square_of, result = x, None
    while exponent:
        if exponent & 1:
            result = square_of if result is None else multiply(result, square_of)
        exponent >>= 1
        if exponent:
            square_of = multiply(square_of, square_of)
    assert result is not None
    return result


def _compare(op: str, x: Any, y: Any) -> Array:
    operands = operands_of(x, y)
    return apply(op, align(op, operands), of=operands)


def equal(x: Any, y: Any) -> Array:
    """x == y, as bool; False where either is NaN."""
    return _compare("equal", x, y)


def not_equal(x: Any, y: Any) -> Array:
    """x != y, as bool; True where either is NaN."""
    return _compare("not_equal", x, y)


def less(x: Any, y: Any) -> Array:
    """x < y, as bool."""
    return _compare("less", x, y)


def less_equal(x: Any, y: Any) -> Array:
    """x <= y, as bool."""
    return _compare("less_equal", x, y)


def greater(x: Any, y: Any) -> Array:
    """x > y, as bool."""
    return _compare("less", y, x)


def greater_equal(x: Any, y: Any) -> Array:
    """x >= y, as bool."""
    return _compare("less_equal", y, x)


def _logical(op: str, *values: Any) -> Array:
    operands = operands_of(*values)
    if common_dtype(operands) != BOOL:
        raise complain(DTypeError, f"{op}: operands must be bool; compare with 0 first", *operands)
    return apply(op, align(op, operands), of=operands)


def logical_and(x: Any, y: Any) -> Array:
    """Whether both are true (not 0)."""
    return _logical("logical_and", x, y)


def logical_or(x: Any, y: Any) -> Array:
    """Whether at least one is true (not 0)."""
    return _logical("logical_or", x, y)


def logical_xor(x: Any, y: Any) -> Array:
    """Whether exactly one is true (not 0)."""
    return _logical("not_equal", x, y)


def logical_not(x: Any) -> Array:
    """Whether x is false (0)."""
    return _logical("logical_not", x)


def where(condition: Any, x: Any, y: Any) -> Array:
    """Elements of x where the bool condition holds, else of y.

    The branch not taken gets a zero cotangent, whatever its value (infinities and NaN included), and so does what it
    was made of by elementwise operations, broadcasts and movements of elements. Beyond the first contraction, gather or
    loop a derivative that is not finite may turn that zero into NaN.
    """
    (mask,) = operands_of(condition)
    mask, (x, y) = as_array(mask), operands_of(x, y)
    if mask.dtype != BOOL:
        raise complain(DTypeError, f"where: the condition must be bool, got {mask.dtype}", mask, x, y)
    dtype = common_dtype((x, y))
    operands = (mask, x, y)
    nodes = (mask.node, cast_node(x, dtype), cast_node(y, dtype))
    return apply("where", spread("where", nodes, operands), of=operands)


def _unary(op: str, x: Any, dtype_of: Any = floats) -> Array:
    (operand,) = operands_of(x)
    return apply(op, align(op, (operand,), dtype_of(op, (operand,))), of=(operand,))


def negative(x: Any) -> Array:
    """-x."""
    return _unary("negative", x, _numbers)


def positive(x: Any) -> Array:
    """x, a number: +x. Taking 0 away keeps a negative zero."""
    return subtract(x, 0)


def abs(x: Any) -> Array:
    """|x|; derivative 0 at 0."""
    return _unary("abs", x, _numbers)


def exp(x: Any) -> Array:
    """The exponential function."""
    return _unary("exp", x)


def log(x: Any) -> Array:
    """The natural logarithm."""
    return _unary("log", x)


def tanh(x: Any) -> Array:
    """The hyperbolic tangent."""
    return _unary("tanh", x)


def sqrt(x: Any) -> Array:
    """The square root; NaN of negative numbers."""
    return _unary("sqrt", x)


def rsqrt(x: Any) -> Array:
    """1 / sqrt(x)."""
    return _unary("rsqrt", x)


def sigmoid(x: Any) -> Array:
    """The logistic function, 1 / (1 + exp(-x))."""
    return _unary("sigmoid", x)


def sin(x: Any) -> Array:
    """The sine of an angle in radians."""
    return _unary("sin", x)


def cos(x: Any) -> Array:
    """The cosine of an angle in radians."""
    return _unary("cos", x)


def relu(x: Any) -> Array:
    """max(x, 0); NaN stays NaN; derivative 0 at 0."""
    return _unary("relu", x, _numbers)


def square(x: Any) -> Array:
    """x · x."""
    (x,) = operands_of(x)
    return multiply(x, x)


def reciprocal(x: Any) -> Array:
    """1 / x."""
    return divide(1, x)


def stop_gradient(x: Any) -> Array:
    """The same values, through which no derivative passes."""
    x = as_array(x)
    result = wrap(make("stop_gradient", (x.node,)), (x,))
    return Array(result.node, scope=result.scope)


def sign(x: Any) -> Array:
    """-1, 0 or 1, and NaN of NaN; derivative 0 everywhere."""
    x = as_array(x)
    dtype = _numbers("sign", (x,))
    v = stop_gradient(astype(x, dtype))
    return where(greater(v, 0), as_array(1, dtype), where(less(v, 0), -as_array(1, dtype), v))


def _rounding(op: str, x: Any) -> Array:
    (x,) = operands_of(x)
    return _unary(op, x) if dtypes.is_float(common_dtype((x,))) else as_array(x)


def floor(x: Any) -> Array:
    """The greatest integer not above x, in the dtype of x; derivative 0."""
    return _rounding("floor", x)


def ceil(x: Any) -> Array:
    """The least integer not below x, in the dtype of x; derivative 0."""
    return _rounding("ceil", x)


def trunc(x: Any) -> Array:
    """The integer next to x towards 0, in the dtype of x; derivative 0."""
    return _rounding("trunc", x)


def round(x: Any) -> Array:
    """The integer next to x, the even one of two, in the dtype of x; derivative 0."""
    return _rounding("round", x)


def isnan(x: Any) -> Array:
    """Whether x is NaN."""
    (x,) = operands_of(x)
    return not_equal(x, x)


def isfinite(x: Any) -> Array:
    """Whether x is neither infinite nor NaN."""
    return less(abs(x), float("inf"))


def isinf(x: Any) -> Array:
    """Whether x is an infinity."""
    return equal(abs(x), float("inf"))


def nan_to_num(x: object, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Array:
    """x with other numbers for NaN and the infinities, by default the dtype's greatest and least; integers stay.

    What is replaced passes no derivative.
    """
    x = as_array(x)
    if not dtypes.is_float(x.dtype):
        return x
    largest = float(np.finfo(x.dtype).max)
    x = where(isnan(x), nan, x)
    x = where(equal(x, float("inf")), largest if posinf is None else posinf, x)
    return where(equal(x, -float("inf")), -largest if neginf is None else neginf, x)


def clip(x: object, min: Any = None, max: Any = None) -> Array:
    """x held within [min, max], arrays that broadcast or None; max where they cross; NaN where one of the three is.

    Derivative 1 at a bound; what is cut off passes its cotangent to the bound.
    """
    if min is None and max is None:
        return as_array(x)
    given = [v for v in (x, min, max) if v is not None]
    dtype = _numbers("clip", operands_of(*given))
    least, greatest = dtypes.limits(dtype)
    operands = operands_of(x, least if min is None else min, greatest if max is None else max)
    return apply("clip", align("clip", operands, dtype), of=operands)


def astype(x: object, dtype: Any) -> Array:
    """x in another dtype; float to integer saturates and NaN gives 0. Raises DTypeError."""
    x = as_array(x)
    target = dtypes.as_dtype(dtype)
    if x.dtype == target:
        return x
    if target == BOOL:
        return not_equal(x, 0)
    return wrap(b.cast(x.node, target), (x,))
