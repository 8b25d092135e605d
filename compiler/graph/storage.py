"""Memory of variables: allocated once, aligned, never moved."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

_ids = itertools.count()
ALIGNMENT = 64


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array whose address is a multiple of 64 bytes."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    aligned: np.ndarray[Any, Any] = raw[start : start + nbytes].view(dtype).reshape(shape)
    return aligned


class Storage:
    """An aligned buffer with an identity. `array` is the live view that users hold."""

    __slots__ = ("array", "id")

    def __init__(self, value: np.ndarray[Any, Any]) -> None:
        self.array = aligned_empty(value.shape, value.dtype)
        self.array[...] = value
        self.id = next(_ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Storage, (self.array,))
