"""Attention: softmax(q kᵀ · scale) v."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph import build as b
from ..graph import dtypes
from ..graph.dtypes import BOOL
from ..graph.node import type_text
from . import arithmetic as ar
from . import checks
from .activations import softmax
from .array import Array
from .explain import complain
from .functional import checked_probability, dropout
from .lift import as_array, broadcast_shapes, wrap
from .linalg import matmul
from .shaping import matrix_transpose

_NAME = "scaled_dot_product_attention"


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    dropout_p: float = 0.0,
    key: Any = None,
) -> Array:
    """softmax(q kᵀ · scale + mask) v for q[..., n, d], k[..., m, d], v[..., m, e], which gives [..., n, e].

    attn_mask   broadcasts to the scores [..., n, m]: bools are true where a query sees a key, numbers are added
    is_causal   query i sees keys 0 … i, of those that the mask lets it see
    scale       1/√d unless given
    dropout_p   the probability with which a weight is dropped, by the `key` of `ad.random` that this takes

    A query that sees no key gives zeros and takes no part in derivatives. Raises ShapeError or DTypeError.
    """
    q, k, v = as_array(q), as_array(k), as_array(v)
    if min(q.ndim, k.ndim, v.ndim) < 2:
        texts = ", ".join(type_text(a.shape, a.dtype) for a in (q, k, v))
        raise complain(ShapeError, f"{_NAME}: q, k and v must have two axes or more: {texts}", q, k, v)
    if scale is None:
        if not isinstance(q.shape[-1], int):
            raise complain(ShapeError, f"{_NAME}: give a scale for the run-time width {q.shape[-1]}", q, k, v)
        scale = max(q.shape[-1], 1) ** -0.5
    elif not isinstance(scale, Array):
        checks.number("scale", scale, q)
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        texts = ", ".join(type_text(a.shape, a.dtype) for a in (q, k, v))
        text = f"{_NAME}: q and k must have one width, k and v one number of rows: {texts}"
        raise complain(ShapeError, text, q, k, v)
    if dropout_p:
        checked_probability(_NAME, dropout_p)
    scores = ar.multiply(matmul(q, matrix_transpose(k)), scale)
    if attn_mask is not None:
        scores = _masked(scores, as_array(attn_mask))
    if is_causal:
        row, column = (wrap(b.iota(scores.shape[-2:], a)) for a in range(2))
        scores = ar.where(ar.less_equal(column, row), scores, float("-inf"))
    weights = softmax(scores)
    return matmul(dropout(weights, dropout_p, key) if dropout_p else weights, v)


def _masked(scores: Array, mask: Array) -> Array:
    if broadcast_shapes(_NAME, (scores.shape, mask.shape), (scores, mask)) != scores.shape:
        texts = f"{type_text(mask.shape, mask.dtype)} for {type_text(scores.shape, scores.dtype)}"
        raise complain(ShapeError, f"{_NAME}: attn_mask does not broadcast to the scores: {texts}", scores, mask)
    if mask.dtype == BOOL:
        return ar.where(mask, scores, float("-inf"))
    if not dtypes.is_float(mask.dtype):
        raise complain(DTypeError, f"{_NAME}: attn_mask is bool or floating, got {mask.dtype}", scores, mask)
    return ar.add(scores, ar.astype(mask, scores.dtype))
