"""Elementwise operations. One entry is all that an operation needs: types, NumPy meaning, partials, lane function.

A partial is the linear map from a tangent of the input to a tangent of the output, which per element is a factor and
so serves as its own transpose: given as a node (the factor) or as a function of the (co)tangent. Functions select
instead of multiplying by 0, so that what is masked never meets an infinity. None means that no derivative passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import build as b
from . import dtypes
from .dtypes import BOOL
from .node import Node, Op, describe, operand_lines, register
from .sites import RAISED_BY

Partial = Node | Callable[[Node], Node] | None
_LETTERS = "abc"


def _one(t: Node) -> Node:
    return t


def _minus(t: Node) -> Node:
    return b.neg(t)  # type: ignore[no-any-return]


def rule(name: str, kinds: str, result: str) -> Callable[..., Any]:
    """Operands agree in shape and dtype; `result` is "same" or "bool"."""

    def infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
        values = inputs[1:] if name == "where" else inputs
        first = values[0]
        letters = _LETTERS[: len(inputs)]
        if any(i.shape != first.shape for i in inputs):
            shapes = " and ".join(describe(i) for i in inputs)
            raise _shape_error(f"{name}: operands of different shapes: {shapes}", letters, inputs)
        if any(i.dtype != first.dtype for i in values):
            raise _dtype_error(f"{name}: operands of different dtypes", letters, inputs)
        if first.dtype.kind not in kinds:
            raise _dtype_error(f"{name}: not defined for {first.dtype}", letters, inputs)
        if name == "where" and inputs[0].dtype != BOOL:
            raise _dtype_error(f"where: the condition must be bool, got {inputs[0].dtype}", letters, inputs)
        return first.shape, BOOL if result == "bool" else first.dtype

    return infer


def _shape_error(message: str, letters: str, inputs: Sequence[Node]) -> Exception:
    from ..errors import ShapeError

    return ShapeError(message + operand_lines(letters, inputs))


def _dtype_error(message: str, letters: str, inputs: Sequence[Node]) -> Exception:
    from ..errors import DTypeError

    return DTypeError(message + operand_lines(letters, inputs))


def elementwise(
    name: str,
    arity: int,
    evaluate: Callable[..., Any],
    partials: Callable[..., Sequence[Partial]] | None = None,
    *,
    lanes: str | None = None,
    kinds: str = "fiu",
    result: str = "same",
    cost: int = 1,
    commutative: bool = False,
    samples: Sequence[tuple[float, float]] = (),
) -> Op:
    """Declares an elementwise operation and adds it to the table.

    evaluate   NumPy arrays → array
    partials   (inputs…, output) → a partial per input; None for operations without a derivative
    lanes      its name in the lane library; the operation's own name unless given
    kinds      NumPy kind letters of the dtypes that it takes
    cost       flops per element
    samples    (low, high) per input: where tests draw their points
    """
    return register(
        Op(
            name,
            "elementwise",
            arity,
            rule(name, kinds, result),
            evaluate=lambda node, arrays, shape: evaluate(*arrays),
            partials=partials,
            lanes=lanes or name,
            cost=cost,
            commutative=commutative,
            samples=tuple(samples) or ((-2.0, 2.0),) * arity,
            kinds=kinds,
        )
    )


def _div(a: Any, c: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.divide(a, c)


def _integer_safe(function: Callable[..., Any]) -> Callable[..., Any]:
    """Division of integers by zero gives 0, as it does in the C; floats follow NumPy and Python."""

    def evaluate(a: Any, c: Any) -> Any:
        with np.errstate(all="ignore"):
            if a.dtype.kind == "f":
                return function(a, c)
            return np.where(c == 0, np.zeros_like(a), function(a, np.where(c == 0, np.ones_like(c), c)))

    return evaluate


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(*arrays: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arrays)

    return evaluate


def _sigmoid(x: Any) -> Any:
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e / (1 + e), 1 / (1 + e)).astype(x.dtype)


def _power_partials(x: Node, p: Node, y: Node) -> Sequence[Partial]:
    def base(t: Node) -> Node:
        return b.where(b.equal(p, 0), 0, b.mul(t, b.mul(p, b.power(x, b.sub(p, 1)))))

    def exponent(t: Node) -> Node:
        flat = b.logical_and(b.equal(x, 0), b.less(b.zeros_like(p), p))
        return b.where(flat, 0, b.mul(t, b.mul(y, b.log(x))))

    return base, exponent


def _extremum_partials(wins: Callable[[Node, Node], Node]) -> Callable[..., Sequence[Partial]]:
    """The greater (or lesser) operand takes the cotangent, a tie halves it."""

    def partials(x: Node, z: Node, y: Node) -> Sequence[Partial]:
        def part(mine: Node, other: Node) -> Callable[[Node], Node]:
            return lambda t: b.where(wins(mine, other), t, b.where(b.equal(mine, other), b.mul(t, 0.5), 0))

        return part(x, z), part(z, x)

    return partials


def _choose(wins: Callable[[Any, Any], Any], bound: Any, x: Any) -> Any:
    """The bound where it wins or is NaN; x keeps the sign of its zero at a tie."""
    with np.errstate(invalid="ignore"):
        return np.where((bound != bound) | wins(bound, x), bound, x)


def _clip_partials(x: Node, low: Node, high: Node, y: Node) -> Sequence[Partial]:
    """x takes the cotangent at its bounds too; high wins where the bounds cross."""

    def of_x(t: Node) -> Node:
        # A bound that nothing passes is not asked, so that NaN goes through as it does without one.
        least, greatest = dtypes.limits(x.dtype)
        asked = [(low, x)] if b.constant_value(low) != least else []
        asked += [(x, high)] if b.constant_value(high) != greatest else []
        inside = [b.make("less_equal", pair) for pair in asked]
        return b.where(inside[0] if len(inside) == 1 else b.logical_and(*inside), t, 0) if inside else t

    def of_low(t: Node) -> Node:
        return b.where(b.logical_and(b.less(x, low), b.make("less_equal", (low, high))), t, 0)

    def of_high(t: Node) -> Node:
        return b.where(b.make("logical_or", (b.less(high, x), b.less(high, low))), t, 0)

    return of_x, of_low, of_high


elementwise(
    "add", 2, np.add, lambda x, z, y: (_one, _one), kinds="fiu", commutative=True
)
elementwise("subtract", 2, np.subtract, lambda x, z, y: (_one, _minus), lanes="sub")
elementwise("multiply", 2, np.multiply, lambda x, z, y: (z, x), lanes="mul", commutative=True)
elementwise(
    "divide",
    2,
    _div,
    lambda x, z, y: (lambda t: b.div(t, z), lambda t: b.neg(b.div(b.mul(t, y), z))),
    lanes="div",
    kinds="f",
    cost=4,
    samples=((-2, 2), (0.5, 2)),
)
elementwise("negative", 1, np.negative, lambda x, y: (_minus,), lanes="neg")
elementwise(
    "abs",
    1,
    np.abs,
    lambda x, y: (lambda t: b.where(b.less(x, 0), b.neg(t), b.where(b.equal(x, 0), 0, t)),),
    samples=((0.2, 2),),
)
# Rounded once. Only rewriting makes these, so that the C compiler never has to decide.
elementwise(
    "fma",
    3,
    lambda x, z, w: _fma32(x, z, w) if x.dtype == np.float32 else _fma64(x, z, w),
    lambda x, z, w, y: (z, x, _one),
    kinds="f",
    cost=1,
)
elementwise("exp", 1, _quiet(np.exp), lambda x, y: (y,), kinds="f", cost=12)
elementwise("log", 1, _quiet(np.log), lambda x, y: (lambda t: b.div(t, x),), kinds="f", cost=16, samples=((0.3, 3),))
elementwise("tanh", 1, np.tanh, lambda x, y: (b.sub(1, b.mul(y, y)),), kinds="f", cost=24)
elementwise(
    "sqrt",
    1,
    _quiet(np.sqrt),
    lambda x, y: (lambda t: b.div(b.mul(t, 0.5), y),),
    kinds="f",
    cost=6,
    samples=((0.3, 3),),
)
elementwise(
    "rsqrt",
    1,
    _quiet(lambda x: (1 / np.sqrt(x)).astype(x.dtype)),
    lambda x, y: (b.mul(b.mul(y, -0.5), b.mul(y, y)),),
    kinds="f",
    cost=10,
    samples=((0.3, 3),),
)
elementwise("sigmoid", 1, _sigmoid, lambda x, y: (b.mul(y, b.sub(1, y)),), kinds="f", cost=20)
elementwise("sin", 1, _quiet(np.sin), lambda x, y: (b.make("cos", (x,)),), kinds="f", cost=16)
elementwise("cos", 1, _quiet(np.cos), lambda x, y: (b.neg(b.make("sin", (x,))),), kinds="f", cost=16)
elementwise(
    "relu",
    1,
    lambda x: np.where(x < 0, np.zeros_like(x), x),
    # In terms of the output, which others read anyway: the input need not be kept.
    lambda x, y: (lambda t: b.where(b.less(b.zeros_like(y), y), t, 0),),
    samples=((0.2, 2),),
)
elementwise(
    "clip",
    3,
    lambda x, low, high: _choose(np.less, high, _choose(np.greater, low, x)),
    _clip_partials,
    cost=2,
    samples=((-2, 2), (-1, -0.5), (0.5, 1)),
)
elementwise(
    "power",
    2,
    _quiet(np.power),
    _power_partials,
    lanes="pow",
    kinds="f",
    cost=60,
    samples=((0.3, 2), (-2, 2)),
)
elementwise("maximum", 2, np.maximum, _extremum_partials(lambda m, o: b.less(o, m)), lanes="max", commutative=True)
elementwise("minimum", 2, np.minimum, _extremum_partials(lambda m, o: b.less(m, o)), lanes="min", commutative=True)
elementwise(
    "floor_divide",
    2,
    _integer_safe(np.floor_divide),
    lambda x, z, y: (None, None),
    lanes="floordiv",
    cost=24,
    samples=((-2, 2), (0.5, 2)),
)
# x − z·⌊x/z⌋, of the sign of z.
elementwise(
    "remainder",
    2,
    _integer_safe(np.remainder),
    lambda x, z, y: (_one, lambda t: b.neg(b.mul(t, b.make("floor_divide", (x, z))))),
    lanes="mod",
    cost=24,
    samples=((-2, 2), (0.5, 2)),
)
elementwise("less", 2, np.less, lanes="lt", kinds="fiub", result="bool")
elementwise("less_equal", 2, np.less_equal, lanes="le", kinds="fiub", result="bool")
elementwise("equal", 2, np.equal, lanes="eq", kinds="fiub", result="bool", commutative=True)
elementwise("not_equal", 2, np.not_equal, lanes="ne", kinds="fiub", result="bool", commutative=True)
elementwise("logical_and", 2, np.logical_and, lanes="and", kinds="b", commutative=True)
elementwise("logical_or", 2, np.logical_or, lanes="or", kinds="b", commutative=True)
elementwise("logical_not", 1, np.logical_not, lanes="not", kinds="b")
elementwise(
    "where",
    3,
    np.where,
    lambda c, x, z, y: (None, lambda t: b.where(c, t, 0), lambda t: b.where(c, 0, t)),
    lanes="select",
    kinds="fiub",
    samples=((-1, 1), (-2, 2), (-2, 2)),
)


def _fma32(x: Any, z: Any, w: Any) -> Any:
    """Correctly rounded x·z + w: the double sum is rounded to odd, so that the second rounding cannot err."""
    with np.errstate(all="ignore"):
        product, w = x.astype(np.float64) * z, w.astype(np.float64)
        total = product + w
        back = total - product
        error = (product - (total - back)) + (w - back)
        even = np.asarray(total).view(np.int64) & 1 == 0
        inexact = np.isfinite(total) & (error != 0) & even
        return np.where(inexact, np.nextafter(total, np.copysign(np.inf, error)), total).astype(np.float32)


def _fma64(x: Any, z: Any, w: Any) -> Any:
    """Correctly rounded x·z + w where the platform's long double is wide enough, else within an ulp of it."""
    wide = np.longdouble
    return (x.astype(wide) * z.astype(wide) + w.astype(wide)).astype(np.float64)


def _cast_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    """Float to integer saturates and NaN gives 0, as in the C."""
    (x,) = arrays
    to = node.dtype
    if x.dtype.kind == "f" and to.kind in "iu":
        info = np.iinfo(to)
        wide = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0, posinf=np.inf, neginf=-np.inf)
        inside = np.clip(wide, float(info.min), float(info.max))
        with np.errstate(all="ignore"):
            cast = inside.astype(to)
        return np.where(wide >= float(info.max), info.max, np.where(wide <= float(info.min), info.min, cast)).astype(to)
    with np.errstate(all="ignore"):
        return x.astype(to)


def _cast_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    x = node.inputs[0]
    return (b.cast(g, x.dtype) if dtypes.is_float(x.dtype) and dtypes.is_float(node.dtype) else None,)


register(
    Op(
        "cast",
        "elementwise",
        1,
        lambda inputs, attrs: (inputs[0].shape, attrs[0]),
        attrs=("dtype",),
        evaluate=_cast_evaluate,
        vjp=_cast_vjp,
        lanes="cvt",
        samples=((-2, 2),),
        kinds="fiub",
    )
)


def _check_index(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    from ..errors import ExecutionError

    (index,) = arrays
    extent = node["extent"]
    bound = extent if isinstance(extent, int) else shape_value(extent)
    bad = (index < -bound) | (index >= bound)
    if bad.any():
        where = f"\n{RAISED_BY.rstrip()} {node.sites[0]}" if node.sites else ""
        raise ExecutionError(f"{failure(node)}: got {int(index[bad].flat[0])}, bound {bound}{where}")
    return np.where(index < 0, index + bound, index).astype(np.int64)


def failure(node: Node) -> str:
    """What a check that fails says ahead of the value and its bound. The label of a user's own check, whose operand
    counts elements that fail, is a tuple of its message."""
    label = node["label"]
    return f"{label[0]}; elements that fail" if isinstance(label, tuple) else f"{label}: index out of range"


def shape_value(extent: Any) -> int:
    """Set by the interpreter while it runs: the value of a run-time extent."""
    from .interp import current_extent

    return current_extent(extent)


# Makes an index safe: negative ones count from the end, one out of range fails the call.
register(
    Op(
        "check_index",
        "elementwise",
        1,
        lambda inputs, attrs: (inputs[0].shape, dtypes.INT64),
        attrs=("extent", "label"),
        evaluate=_check_index,
        lanes="check_index",
        samples=((-3, 3),),
        kinds="iu",
    )
)
