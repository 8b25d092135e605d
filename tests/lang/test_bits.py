"""Operations on bits against NumPy, compiled and interpreted."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(0)
DTYPES = ["int32", "int64", "uint8"]
BINARY = [ad.bitwise_and, ad.bitwise_or, ad.bitwise_xor]
SHIFTS = [ad.bitwise_left_shift, ad.bitwise_right_shift]


def numbers(dtype, shape=(3, 37)):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


def both(x, y, fn, a, c):
    out = fn(x, y)
    for backend in ("c", "numpy"):
        yield ad.compile([x, y], out, backend=backend)(a, c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fn", BINARY, ids=lambda f: f.__name__)
def test_of_integers(fn, dtype):
    x, y = ad.input("x", (3, 37), dtype), ad.input("y", (37,), dtype)
    a, c = numbers(dtype), numbers(dtype, (37,))
    want = getattr(np, fn.__name__)(a, c)
    for got in both(x, y, fn, a, c):
        np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fn", SHIFTS, ids=lambda f: f.__name__)
def test_shifts_are_defined_for_every_count(fn, dtype):
    width = 8 * np.dtype(dtype).itemsize
    counts = np.arange(0 if dtype == "uint8" else -width - 2, 2 * width + 3).astype(dtype)
    a = numbers(dtype, (5, 1))
    x, y = ad.input("x", a.shape, dtype), ad.input("y", counts.shape, dtype)
    left = fn is ad.bitwise_left_shift
    want = []
    for value in a.ravel().tolist():
        for count in counts.tolist():
            out = not 0 <= count < width
            exact = (0 if out else value << count) if left else (value >> (64 if out else count))
            want.append((exact + 2**63) % 2**64 - 2**63 if dtype == "int64" else exact)
    want = np.array(want).reshape(5, -1).astype(dtype)
    for got in both(x, y, fn, a, counts):
        np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_invert(dtype, run):
    a = numbers(dtype)
    x = ad.input("x", a.shape, dtype)
    np.testing.assert_array_equal(ad.compile(x, ~x)(a), ~a, strict=True)
    np.testing.assert_array_equal(run(~x, {x: a}), ~a, strict=True)


def test_of_bools(run):
    x, y = (ad.input(n, (4,), "bool") for n in "xy")
    a, c = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    got = run([ad.bitwise_and(x, y), x | y, x ^ y, ~x, ad.bitwise_invert(y), x & True], {x: a, y: c})
    for value, want in zip(got, [a & c, a | c, a ^ c, ~a, ~c, a], strict=True):
        np.testing.assert_array_equal(value, want, strict=True)


def test_operators(run):
    a = numbers("int32", (9,))
    x = ad.input("x", (9,), "int32")
    pairs = [
        (x & 12, a & 12), (12 & x, a & 12), (x | 3, a | 3), (x ^ -1, a ^ -1), (x << 3, a << 3), (x >> 3, a >> 3),
        (1 << (x & 7), np.int32(1) << (a & 7)), (-9 >> (x & 7), np.int32(-9) >> (a & 7)), (7 ^ x, a ^ 7), (~x, ~a),
    ]  # fmt: skip
    for got, (_, want) in zip(run([p[0] for p in pairs], {x: a}), pairs, strict=True):
        np.testing.assert_array_equal(got, want, strict=True)


def test_errors():
    x, n, p = ad.input("x", (3,)), ad.input("n", (3,), "int32"), ad.input("p", (3,), "bool")
    for wrong in (lambda: x & n, lambda: n << 1.5, lambda: ~x, lambda: p >> p):
        with pytest.raises(ad.DTypeError, match="must be integers"):
            wrong()
