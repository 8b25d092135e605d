"""Names of C and lane types."""

from __future__ import annotations

from ..graph.dtypes import DType

_ELEMENTS = {"float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64", "uint8": "u8", "bool": "b8"}
_MEMORY = {
    "float32": "float",
    "float64": "double",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
}


def element(dtype: DType) -> str:
    """`f32`: the element as lane types spell it; `b8` is a bool in a byte."""
    return _ELEMENTS[dtype.name]


def memory(dtype: DType) -> str:
    """The C type of one element in memory."""
    return _MEMORY[dtype.name]


def lane(name: str, lanes: int) -> str:
    return name if lanes == 1 else f"{name}x{lanes}"


def mask_of(dtype: DType) -> str:
    """The mask that comparing this type gives."""
    return "m64" if dtype.itemsize == 8 else "m32"
