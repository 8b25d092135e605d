"""What layers are made of: linear maps, normalisation, losses, lookups. PyTorch's names, with `axis` for `dim`."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph import build as b
from ..graph import dtypes
from ..graph.dtypes import INT64
from ..graph.node import type_text
from . import arithmetic as ar
from . import reducing as rd
from .activations import shifted, softmax
from .array import Array
from .explain import complain
from .indexing import checked, take
from .lift import as_array, one_axis, wrap
from .linalg import matmul
from .shaping import expand_dims, matrix_transpose


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    """x[..., in] @ weight[out, in]ᵀ + bias[out]."""
    x, weight = as_array(x), as_array(weight)
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        texts = f"{type_text(x.shape, x.dtype)} by {type_text(weight.shape, weight.dtype)}"
        raise complain(ShapeError, f"linear: weight must be [out, in] for x [..., in]: {texts}", x, weight)
    y = matmul(x, matrix_transpose(weight))
    return y if bias is None else ar.add(y, bias)


def layer_norm(x: Any, scale: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    """(x - mean) / sqrt(variance + eps) · scale + bias, over the trailing axes that `scale` (or `bias`) has.

    Over the last axis where neither is given. The variance is the biased one.
    """
    x = as_array(x)
    parameter = scale if scale is not None else bias
    rank = as_array(parameter).ndim if parameter is not None else 1
    for p in (scale, bias):
        if p is not None and as_array(p).shape != x.shape[x.ndim - rank :]:
            text = f"layer_norm: a parameter does not fit the trailing axes of {type_text(x.shape, x.dtype)}"
            raise complain(ShapeError, text, x, p)
    axes = tuple(range(x.ndim - rank, x.ndim))
    centred = ar.subtract(x, rd.mean(x, axes, keepdims=True))
    variance = rd.mean(ar.multiply(centred, centred), axes, keepdims=True)
    y = ar.multiply(centred, ar.rsqrt(ar.add(variance, eps)))
    if scale is not None:
        y = ar.multiply(y, scale)
    return y if bias is None else ar.add(y, bias)


def cross_entropy(logits: Any, labels: Any, axis: int = -1) -> Array:
    """The mean over all positions of -log softmax(logits)[label], a 0-d array.

    `labels` are integers of the shape of `logits` without `axis`; one out of range fails the call, negative ones count
    from the end.
    """
    logits, labels = as_array(logits), as_array(labels)
    if not dtypes.is_float(logits.dtype):
        raise complain(DTypeError, f"cross_entropy: logits must be floating, got {logits.dtype}", logits, labels)
    if not dtypes.is_integer(labels.dtype):
        text = f"cross_entropy: labels must be integer class numbers, got {labels.dtype}"
        raise complain(DTypeError, text, logits, labels)
    k = one_axis("cross_entropy", axis, logits)
    if labels.shape != (*logits.shape[:k], *logits.shape[k + 1 :]):
        texts = f"{type_text(labels.shape, labels.dtype)} for {type_text(logits.shape, logits.dtype)}"
        text = f"cross_entropy: labels must have the shape of logits without axis {axis}: {texts}"
        raise complain(ShapeError, text, logits, labels)
    target = wrap(checked("cross_entropy", logits, k, labels), (labels,))
    d, _, dead = shifted(logits, k)
    total = rd.sum(ar.exp(d), k)
    log_total = ar.log(ar.where(dead.squeeze(k), 1, total))
    # A comparison instead of a gather: it fuses with the row and its adjoint is a selection.
    mine = ar.equal(expand_dims(target, k), wrap(b.iota(logits.shape, k, INT64)))
    picked = rd.sum(ar.where(mine, d, 0), k)
    return rd.mean(ar.subtract(log_total, picked))


def mse_loss(x: Any, target: Any) -> Array:
    """The mean of (x - target)², a 0-d array; both must have one shape."""
    x, target = as_array(x), as_array(target)
    if x.shape != target.shape:
        texts = f"{type_text(x.shape, x.dtype)} and {type_text(target.shape, target.dtype)}"
        raise complain(ShapeError, f"mse_loss: shapes differ: {texts}", x, target)
    return rd.mean(ar.square(ar.subtract(x, target)))


def l1_loss(x: Any, target: Any) -> Array:
    """The mean of |x - target|, a 0-d array; both must have one shape."""
    x, target = as_array(x), as_array(target)
    if x.shape != target.shape:
        texts = f"{type_text(x.shape, x.dtype)} and {type_text(target.shape, target.dtype)}"
        raise complain(ShapeError, f"l1_loss: shapes differ: {texts}", x, target)
    return rd.mean(ar.abs(ar.subtract(x, target)))


def binary_cross_entropy_with_logits(logits: Any, target: Any) -> Array:
    """The mean of -t·log σ(x) - (1-t)·log(1 - σ(x)), a 0-d array, without overflow."""
    from .activations import softplus

    logits, target = as_array(logits), as_array(target)
    return rd.mean(ar.subtract(softplus(logits), ar.multiply(logits, target)))


def embedding(indices: Any, weight: Any) -> Array:
    """Rows of weight[n, width] at integer indices of any rank."""
    return take(weight, indices, axis=0)


def scaled_dot_product_attention(q: Any, k: Any, v: Any, is_causal: bool = False) -> Array:
    """softmax(q kᵀ / √d) v for q[..., n, d], k[..., m, d], v[..., m, e]; causal: position i sees 0 … i."""
    q, k, v = as_array(q), as_array(k), as_array(v)
    if q.ndim < 2 or not isinstance(q.shape[-1], int):
        raise complain(ShapeError, "scaled_dot_product_attention: q must be [..., n, d] with a fixed d", q, k, v)
    scores = ar.multiply(matmul(q, matrix_transpose(k)), q.shape[-1] ** -0.5)
    if is_causal:
        row, column = (wrap(b.iota(scores.shape[-2:], a)) for a in range(2))
        scores = ar.where(ar.less_equal(column, row), scores, float("-inf"))
    return matmul(softmax(scores), v)
