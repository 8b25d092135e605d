"""Random bits as a pure function of integers: Philox 4×32-10.

Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC11). A block of four 32-bit words is a keyed
bijection of a 128-bit counter, so that every element can be computed on its own, in any order, any number of times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .elementwise import elementwise

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def words(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """The block of a counter and a key: arrays of uint64 that hold 32-bit words, low words first."""
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (q >> _32) ^ b ^ k, q & _LOW, (p >> _32) ^ d ^ l, p & _LOW
        k, l = (k + _KEY_STEPS[0]) & _LOW, (l + _KEY_STEPS[1]) & _LOW
    return a, b, c, d


def _halves(x: Any) -> tuple[Any, Any]:
    wide = np.asarray(x).astype(np.int64).view(np.uint64)
    return wide & _LOW, wide >> _32


def _philox(key: Any, stream: Any, index: Any) -> Any:
    a, b, _, _ = words((*_halves(index), *_halves(stream)), _halves(key))
    return (a | b << _32).view(np.int64).astype(index.dtype)


# (key, stream, index) → 64 random bits: the first two words of the block whose counter is index, then stream. Narrower
# integers are widened, and keep the low bits.
elementwise("philox", 3, _philox, kinds="i", cost=80)
