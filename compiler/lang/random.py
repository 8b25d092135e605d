"""Random numbers as pure functions of a key and a position: Philox 4×32-10 (`graph/random.py`).

A key is a 0-d int64 array: `key(seed)`, an input, a variable, or what `fold_in` and `split` give. Every draw takes the
next number of the handle that it is given, from 0 on, when it is built, and keeps it: two draws from one handle differ,
while the first draws from two handles of one seed are the same numbers. In the body of a `scan` the position in the
loop (of nested loops taken together, modulo 2³²) is part of the draw, which so differs from iteration to iteration.
A call with the same keys gives the same numbers, for any number of threads. What is to differ from call to call takes
a key that is an input, or a variable that is advanced:

    key = ad.variable(7, dtype="int64")
    step = ad.compile(x, drop(key, x), updates={key: ad.random.fold_in(key, 0)})

Integers are equal bit for bit in the C and in the interpreter. No derivative passes through the bits, but through what
they are scaled and shifted by. Errors: DTypeError for a key or a dtype that is none, ShapeError for shapes that do not
fit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import FLOAT32, INT32, INT64, DType
from ..graph.node import type_text
from ..graph.sizes import Shape
from . import arithmetic as ar
from . import bits, bodies, checks, reducing, shaping, sorting
from .array import Array
from .explain import complain
from .lift import apply, as_array, one_axis, spread, weak_kind, wrap

# Streams that no draw has: the number of a draw stays below.
_FOLD, _SPLIT = 0xFFFFFFFF, 0x1FFFFFFFF


def key(seed: Any) -> Array:
    """A new key handle, whose draws begin at 0: for an int (modulo 2⁶⁴) a constant, else another handle of the 0-d
    integer array `seed`."""
    if isinstance(seed, Array):
        if seed.shape or not dtypes.is_integer(seed.dtype):
            raise complain(DTypeError, f"key: a seed is a 0-d integer, got {type_text(seed.shape, seed.dtype)}", seed)
        return Array(b.cast(seed.node, INT64), scope=seed.scope)
    if weak_kind(seed) != "i":
        raise complain(DTypeError, f"key: a seed is an int or a 0-d integer array, got {seed!r}")
    return as_array((int(seed) + 2**63) % 2**64 - 2**63, INT64)


def _checked(name: str, given: Any) -> Array:
    if not isinstance(given, Array) or given.shape or given.dtype != INT64:
        what = type_text(given.shape, given.dtype) if isinstance(given, Array) else repr(given)
        raise complain(DTypeError, f"{name}: a key is a 0-d int64 array such as ad.random.key(0), got {what}", given)
    return given


def fold_in(key: Any, data: Any) -> Array:
    """A key for each element of the integer array `data`, int64 of its shape: equal for equal keys and data only."""
    key, data = _checked("fold_in", key), as_array(data)
    if not dtypes.is_integer(data.dtype):
        raise complain(DTypeError, f"fold_in: data must be integers, got {data.dtype}", data)
    data = ar.astype(data, INT64)
    return _philox(key, as_array(_FOLD, INT64), data)


def split(key: Any, n: Any = 2) -> Array:
    """`n` new keys, int64[n]; other ones than `fold_in` gives."""
    key, (count,) = _checked("split", key), sizes.as_shape((n,))
    return _philox(key, as_array(_SPLIT, INT64), wrap(b.iota((count,), 0)))


def _philox(*operands: Array) -> Array:
    return apply("philox", spread("philox", [x.node for x in operands], operands), of=operands)


def _bits(name: str, given: Any, shape: Shape) -> Array:
    """64 random bits for every element, int64; the next draw of the key's handle."""
    key = _checked(name, given)
    number, key.draws = key.draws, key.draws + 1
    stream = as_array(number, INT64)
    position = bodies.position()
    if position is not None:
        stream = bits.bitwise_or(stream, bits.bitwise_left_shift(position, 32))
    return _philox(key, stream, wrap(b.reshape(b.iota((sizes.product(shape),), 0), shape)))


def _top(word: Array, count: int) -> Array:
    """The upper `count` bits as a number in [0, 2**count)."""
    top = bits.bitwise_and(bits.bitwise_right_shift(word, 64 - count), 2**count - 1)
    return ar.astype(top, INT32) if count < 32 else top  # for machines that convert int64 one by one


def _float(name: str, dtype: Any) -> DType:
    found = dtypes.as_dtype(dtype)
    if not dtypes.is_float(found):
        raise complain(DTypeError, f"{name}: gives floats, not {found}")
    return found


def _standard_uniform(name: str, key: Any, shape: Shape, dtype: DType) -> Array:
    digits = 24 if dtype == FLOAT32 else 53
    return ar.multiply(ar.astype(_top(_bits(name, key, shape), digits), dtype), 2.0**-digits)


def uniform(key: Any, shape: Any = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = "float32") -> Array:
    """Uniform in [low, high), bounds that broadcast to `shape`; multiples of 2⁻²⁴ (float64: 2⁻⁵³) of the interval.

    Rounding may give `high` itself where the bounds are not 0 and 1.
    """
    target, kind = sizes.as_shape(shape), _float("uniform", dtype)
    u = _standard_uniform("uniform", key, target, kind)
    if weak_kind(low) and weak_kind(high) and (low, high) == (0, 1):
        return u
    low, high = (ar.astype(as_array(x), kind) for x in (low, high))
    _broadcasts("uniform", target, low, high)
    return ar.add(low, ar.multiply(u, ar.subtract(high, low)))


def _broadcasts(name: str, shape: Shape, *operands: Array) -> None:
    """Raises ShapeError where operands do not broadcast to a shape that was asked for."""
    fits = all(
        len(x.shape) <= len(shape)
        and all(m in (1, n) for m, n in zip(x.shape, shape[len(shape) - len(x.shape) :], strict=True))
        for x in operands
    )
    if not fits:
        texts = " and ".join(type_text(x.shape, x.dtype) for x in operands)
        raise complain(ShapeError, f"{name}: {texts} does not broadcast to [{', '.join(map(str, shape))}]", *operands)


def normal(key: Any, shape: Any = (), dtype: Any = "float32") -> Array:
    """Standard normal, by Box and Muller; at most 6.6 (float64: 8.6) in magnitude.

    G. E. P. Box, M. E. Muller, A note on the generation of random normal deviates (1958). A float64 takes two numbers
    of the key's handle.
    """
    target, kind = sizes.as_shape(shape), _float("normal", dtype)
    word = _bits("normal", key, target)
    if kind == FLOAT32:
        digits = 31
        turn = ar.multiply(ar.astype(_top(bits.bitwise_left_shift(word, 40), 24), kind), 2.0**-24)
    else:
        digits = 53
        turn = _standard_uniform("normal", key, target, kind)
    # In (0, 1], so that its logarithm is finite.
    u = ar.multiply(ar.add(ar.astype(_top(word, digits), kind), 1), 2.0**-digits)
    return ar.multiply(ar.sqrt(ar.multiply(ar.log(u), -2)), ar.cos(ar.multiply(turn, 2 * math.pi)))


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None) -> Array:
    """True with probability p, which broadcasts to `shape`, by default its own; bool."""
    if not isinstance(p, Array) and checks.is_number(p):
        checks.number("p", p, least=0, most=1)
    p = as_array(p)
    if not dtypes.is_float(p.dtype):
        p = ar.astype(p, FLOAT32)
    target = p.shape if shape is None else sizes.as_shape(shape)
    _broadcasts("bernoulli", target, p)
    return ar.less(_standard_uniform("bernoulli", key, target, p.dtype), p)


def randint(key: Any, shape: Any, low: Any, high: Any, dtype: Any = "int64") -> Array:
    """Integers in [low, high), bounds that broadcast to `shape`; `low` where nothing lies between.

    A remainder of 63 bits: no integer is more than (high - low) / 2⁶³ likelier than another.
    """
    target, kind = sizes.as_shape(shape), dtypes.as_dtype(dtype)
    if not dtypes.is_integer(kind):
        raise complain(DTypeError, f"randint: gives integers, not {kind}")
    low, high = (as_array(x) for x in (low, high))
    if not all(dtypes.is_integer(x.dtype) for x in (low, high)):
        raise complain(DTypeError, "randint: bounds must be integers", low, high)
    low, high = (ar.astype(x, INT64) for x in (low, high))
    _broadcasts("randint", target, low, high)
    span = ar.maximum(ar.subtract(high, low), 0)
    return ar.astype(ar.add(low, ar.remainder(_top(_bits("randint", key, target), 63), span)), kind)


def categorical(key: Any, logits: Any, axis: int = -1, shape: Any = None) -> Array:
    """Positions along `axis` with probability softmax(logits), int64; -inf is never chosen beside finite ones.

    `shape`, to which logits without the axis must broadcast, asks for more than one draw from each of them. The
    greatest of logits plus Gumbel noise (E. J. Gumbel, Statistical theory of extreme values, 1954).
    """
    logits = as_array(logits)
    if not dtypes.is_float(logits.dtype):
        logits = ar.astype(logits, FLOAT32)
    if not logits.ndim:
        raise complain(ShapeError, "categorical: logits need at least one axis", logits)
    last = shaping.moveaxis(logits, one_axis("categorical", axis, logits), -1)
    batch = last.shape[:-1] if shape is None else sizes.as_shape(shape)
    target = (*batch, last.shape[-1])
    _broadcasts("categorical", target, last)
    # Halves away from both ends: the logarithms are finite.
    digits = 23 if logits.dtype == FLOAT32 else 52
    word = ar.astype(_top(_bits("categorical", key, target), digits), logits.dtype)
    u = ar.multiply(ar.add(word, 0.5), 2.0**-digits)
    noise = ar.negative(ar.log(ar.negative(ar.log(u))))
    return reducing.argmax(ar.add(ar.stop_gradient(last), noise), axis=-1)


def permutation(key: Any, x: Any) -> Array:
    """0 … n - 1 in random order, int64, for an extent n; else the entries of an array along its first axis in random
    order, through which derivatives pass.

    The order that sorts 64 random bits each: two orders differ in probability by n² / 2⁶⁴ at most.
    """
    if isinstance(x, (int, str, sizes.Size, np.integer)) and not isinstance(x, bool):
        (count,) = sizes.as_shape((x,))
        return sorting.argsort(_bits("permutation", key, (count,)))
    x = as_array(x)
    if not x.ndim:
        raise complain(ShapeError, "permutation: an array needs at least one axis", x)
    order = sorting.argsort(_bits("permutation", key, x.shape[:1]))
    return apply("take", (x.node, order.node), 0, of=(x, order))
