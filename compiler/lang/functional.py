"""What layers are made of: linear maps and lookups. PyTorch's names, with `axis` for `dim`."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph.node import type_text
from . import arithmetic as ar
from .array import Array
from .explain import complain
from .indexing import take
from .lift import as_array
from .linalg import matmul
from .shaping import matrix_transpose


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    """x[..., in] @ weight[out, in]ᵀ + bias[out]."""
    x, weight = as_array(x), as_array(weight)
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        texts = f"{type_text(x.shape, x.dtype)} by {type_text(weight.shape, weight.dtype)}"
        raise complain(ShapeError, f"linear: weight must be [out, in] for x [..., in]: {texts}", x, weight)
    y = matmul(x, matrix_transpose(weight))
    return y if bias is None else ar.add(y, bias)


def embedding(indices: Any, weight: Any) -> Array:
    """Rows of weight[n, width] at integer indices of any rank."""
    return take(weight, indices, axis=0)
