"""Aligned memory, and the question whether two arrays overlap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

ALIGNMENT = 64


def aligned_bytes(count: int) -> Array:
    """`uint8[count]` whose first byte is 64-byte aligned; its content is arbitrary."""
    raw = np.empty(count + ALIGNMENT, dtype=np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + count]


def overlap(a: Array, b: Array) -> bool:
    """Whether two contiguous arrays share a byte."""
    return a.nbytes > 0 and b.nbytes > 0 and bool(np.may_share_memory(a, b))


class Regions:
    """The memory of a fixed set of contiguous arrays that do not overlap one another."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays if a.nbytes)
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]
        self._owners: dict[int, Array] = {}
        for array in arrays:
            owner: object = array
            while isinstance(owner, np.ndarray):
                self._owners[id(owner)] = owner
                owner = owner.base

    def __bool__(self) -> bool:
        return bool(self._starts)

    def touches(self, array: Array) -> bool:
        """Whether a contiguous array shares a byte with one of the regions."""
        if not self._starts:
            return False
        if array.base is None and id(array) not in self._owners:
            return False  # it owns its memory, and none of the regions lies in that
        return self.touches_span(array.ctypes.data, array.nbytes)

    @property
    def bounds(self) -> tuple[int, int]:
        """The lowest address of any region, and the first behind all of them; (0, 0) when there is none."""
        return (self._starts[0], self._ends[-1]) if self._starts else (0, 0)

    def touches_span(self, start: int, count: int) -> bool:
        """Whether `count` bytes from address `start` share a byte with one of the regions."""
        if not count:
            return False
        before_end = bisect_left(self._starts, start + count)  # regions from here on begin behind the array
        return before_end > 0 and self._ends[before_end - 1] > start
