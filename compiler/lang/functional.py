"""What layers are made of: linear maps, lookups, dropout. PyTorch's names, with `axis` for `dim`."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import dtypes
from ..graph.node import type_text
from . import arithmetic as ar
from . import random
from .array import Array
from .explain import complain
from .filling import zeros_like
from .indexing import take
from .lift import as_array, weak_kind
from .linalg import matmul
from .shaping import matrix_transpose


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    """x[..., in] @ weight[out, in]ᵀ + bias[out]."""
    x, weight = as_array(x), as_array(weight)
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        texts = f"{type_text(x.shape, x.dtype)} by {type_text(weight.shape, weight.dtype)}"
        raise complain(ShapeError, f"linear: weight must be [out, in] for x [..., in]: {texts}", x, weight)
    y = matmul(x, matrix_transpose(weight))
    if bias is None:
        return y
    bias = as_array(bias)
    if bias.shape not in ((), weight.shape[:1]):
        texts = f"{type_text(bias.shape, bias.dtype)} for weight {type_text(weight.shape, weight.dtype)}"
        raise complain(ShapeError, f"linear: bias must be [out]: {texts}", x, weight, bias)
    return ar.add(y, bias)


def embedding(indices: Any, weight: Any) -> Array:
    """Rows of weight[n, width] at integer indices of any rank."""
    weight = as_array(weight)
    if weight.ndim != 2:
        text = f"embedding: weight must be [n, width], got {type_text(weight.shape, weight.dtype)}"
        raise complain(ShapeError, text, weight)
    return take(weight, indices, axis=0)


def checked_probability(name: str, p: Any) -> None:
    """Raises GraphError unless p is a number within 0 … 1."""
    if weak_kind(p) not in ("i", "f") or not 0 <= p <= 1:
        raise complain(GraphError, f"{name}: p is a probability within 0 … 1, got {p!r}")


def dropout(x: Any, p: float, key: Any) -> Array:
    """Each element 0 with probability p, else divided by 1 - p; `key` is a key of `ad.random`.

    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """
    x = as_array(x)
    checked_probability("dropout", p)
    if not dtypes.is_float(x.dtype):
        raise complain(DTypeError, f"dropout: x must be floating, got {x.dtype}", x)
    kept = random.bernoulli(key, 1 - p, x.shape)
    return ar.where(kept, ar.multiply(x, 1 / (1 - p)), 0) if p < 1 else zeros_like(x)
