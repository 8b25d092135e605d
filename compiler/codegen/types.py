"""Names of C and lane types."""

from __future__ import annotations

from ..graph.dtypes import BOOL, FLOAT32, FLOAT64, INT32, INT64, UINT8, DType

_ELEMENTS = {FLOAT32: "f32", FLOAT64: "f64", INT32: "i32", INT64: "i64", UINT8: "u8", BOOL: "b8"}
_MEMORY = {
    FLOAT32: "float",
    FLOAT64: "double",
    INT32: "int32_t",
    INT64: "int64_t",
    UINT8: "uint8_t",
    BOOL: "uint8_t",
}


def element(dtype: DType) -> str:
    """`f32`: the element as lane types spell it; `b8` is a bool in a byte."""
    return _ELEMENTS[dtype]


def memory(dtype: DType) -> str:
    """The C type of one element in memory."""
    return _MEMORY[dtype]


def lane(name: str, lanes: int) -> str:
    return name if lanes == 1 else f"{name}x{lanes}"


def mask_of(dtype: DType) -> str:
    """The mask that comparing this type gives."""
    return "m64" if dtype.itemsize == 8 else "m32"
