"""Losses. PyTorch's names and meaning, with `axis` for `dim`; `reduction` is "mean", "sum" or "none" in all of them."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DTypeError, GraphError, ShapeError
from ..graph import build as b
from ..graph import dtypes
from ..graph.dtypes import INT64
from ..graph.node import type_text
from . import arithmetic as ar
from . import checks
from . import reducing as rd
from .activations import shifted, softplus
from .array import Array
from .explain import complain
from .indexing import checked
from .lift import as_array, one_axis, wrap
from .shaping import expand_dims


def _reduced(name: str, losses: Array, reduction: str, weights: Array | None = None) -> Array:
    """The losses themselves, their sum, or their mean: by the sum of `weights` where these are given."""
    if checks.choice("reduction", reduction, ("mean", "sum", "none"), losses) == "none":
        return losses
    if reduction == "sum":
        return rd.sum(losses)
    return rd.mean(losses) if weights is None else ar.divide(rd.sum(losses), rd.sum(weights))


def _paired(name: str, x: Any, target: Any) -> tuple[Array, Array]:
    """Both as handles of one shape, x floating."""
    x, target = as_array(x), as_array(target)
    if x.shape != target.shape:
        texts = f"{type_text(x.shape, x.dtype)} and {type_text(target.shape, target.dtype)}"
        raise complain(ShapeError, f"{name}: shapes differ: {texts}", x, target)
    if not dtypes.is_float(x.dtype) and not dtypes.is_float(target.dtype):
        raise complain(DTypeError, f"{name}: an operand must be floating, got {x.dtype} and {target.dtype}", x, target)
    return x, target


def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Array:
    """(x - target)²; both must have one shape. Raises ShapeError or DTypeError."""
    x, target = _paired("mse_loss", x, target)
    return _reduced("mse_loss", ar.square(ar.subtract(x, target)), reduction)


def l1_loss(x: Any, target: Any, *, reduction: str = "mean") -> Array:
    """|x - target|, with derivative 0 where they are equal; both must have one shape."""
    x, target = _paired("l1_loss", x, target)
    return _reduced("l1_loss", ar.abs(ar.subtract(x, target)), reduction)


def huber_loss(x: Any, target: Any, delta: float = 1.0, *, reduction: str = "mean") -> Array:
    """d²/2 up to |d| = delta, then delta · (|d| - delta/2), for d = x - target; delta > 0."""
    x, target = _paired("huber_loss", x, target)
    checks.number("delta", delta, x, target, above=0)
    return _reduced("huber_loss", _huber(ar.subtract(x, target), delta, 1.0), reduction)


def smooth_l1_loss(x: Any, target: Any, beta: float = 1.0, *, reduction: str = "mean") -> Array:
    """d²/(2·beta) up to |d| = beta, then |d| - beta/2, for d = x - target; beta >= 0, and 0 gives |d|."""
    x, target = _paired("smooth_l1_loss", x, target)
    checks.number("beta", beta, x, target, least=0)
    d = ar.subtract(x, target)
    return _reduced("smooth_l1_loss", _huber(d, beta, 1 / beta) if beta else ar.abs(d), reduction)


def _huber(d: Array, edge: float, factor: float) -> Array:
    """factor · (d²/2 within ±edge, edge · (|d| - edge/2) beyond)."""
    size = ar.abs(d)
    # The quadratic branch gets its operand cut, so that d² overflows nowhere.
    near = ar.where(ar.less_equal(size, edge), d, 0)
    far = ar.multiply(edge * factor, ar.subtract(size, edge / 2))
    return ar.where(ar.less_equal(size, edge), ar.multiply(factor / 2, ar.square(near)), far)


def cross_entropy(
    logits: Any,
    labels: Any,
    axis: int = -1,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Array:
    """-log softmax(logits)[label] along `axis`; 0-d, or of the labels' shape without a reduction.

    logits           floating [..., classes at `axis`, ...]
    labels           integers of the shape of `logits` without `axis`, or class probabilities of its whole shape. An
                     integer out of range fails the call, negative ones count from the end.
    weight           [classes]: a factor per class
    ignore_index     integer labels of this value count nothing; may lie out of range
    label_smoothing  within 0 … 1: the part of the target that is spread evenly over all classes
    reduction        "mean" divides by the weights of the labels that count; with probabilities by their number

    A class of probability 0 counts nothing even where its logit is -inf. Raises ShapeError, DTypeError or GraphError.
    """
    name = "cross_entropy"
    logits, labels = as_array(logits), as_array(labels)
    if not dtypes.is_float(logits.dtype):
        raise complain(DTypeError, f"{name}: logits must be floating, got {logits.dtype}", logits, labels)
    checks.number("label_smoothing", label_smoothing, logits, labels, least=0, most=1)
    k = one_axis(name, axis, logits)
    by_class = None if weight is None else _class_weight(name, weight, logits, k)
    if dtypes.is_float(labels.dtype) and labels.ndim == logits.ndim:
        if labels.shape != logits.shape:
            texts = f"{type_text(labels.shape, labels.dtype)} for {type_text(logits.shape, logits.dtype)}"
            text = f"{name}: class probabilities must have the shape of logits: {texts}"
            raise complain(ShapeError, text, logits, labels)
        if ignore_index is not None:
            text = f"{name}: ignore_index goes with integer labels, not with class probabilities"
            raise complain(GraphError, text, logits, labels)
        d, log_total = _log_parts(logits, k)
        share = ar.astype(labels, logits.dtype)
        if label_smoothing:
            share = share * (1 - label_smoothing) + _spread(label_smoothing, logits, k)
        if by_class is not None:
            share = share * by_class
        void = ar.logical_and(ar.equal(share, 0), ar.equal(d, -math.inf))
        losses = rd.sum(ar.where(void, 0, share * (expand_dims(log_total, k) - d)), k)
        return _reduced(name, losses, reduction)
    mine, counts = _picked(name, logits, labels, k, ignore_index)
    d, log_total = _log_parts(logits, k)
    losses = ar.subtract(log_total, rd.sum(ar.where(mine, d, 0), k))
    weights = None if by_class is None else rd.sum(ar.where(mine, by_class, 0), k)
    if weights is not None:
        losses = losses * weights
    if label_smoothing:
        wide = expand_dims(log_total, k) - d
        even = rd.sum(wide if by_class is None else wide * by_class, k)
        losses = losses * (1 - label_smoothing) + even * _spread(label_smoothing, logits, k)
    return _counted(name, losses, weights, counts, reduction)


def nll_loss(
    log_probabilities: Any,
    labels: Any,
    axis: int = -1,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Array:
    """-x[label] along `axis` for logarithms of probabilities; what `cross_entropy` is after `log_softmax`.

    Labels, `weight`, `ignore_index` and "mean" are as with integer labels there.
    """
    name = "nll_loss"
    x, labels = as_array(log_probabilities), as_array(labels)
    if not dtypes.is_float(x.dtype):
        raise complain(DTypeError, f"{name}: log-probabilities must be floating, got {x.dtype}", x, labels)
    k = one_axis(name, axis, x)
    mine, counts = _picked(name, x, labels, k, ignore_index)
    losses = rd.sum(ar.where(mine, ar.negative(x), 0), k)
    weights = None
    if weight is not None:
        weights = rd.sum(ar.where(mine, _class_weight(name, weight, x, k), 0), k)
        losses = losses * weights
    return _counted(name, losses, weights, counts, reduction)


def _log_parts(logits: Array, k: int) -> tuple[Array, Array]:
    """(logits - m, log Σ exp(logits - m)) with m the maximum along axis k; their difference is -log softmax."""
    d, _, dead = shifted(logits, k)
    total = rd.sum(ar.exp(d), k)
    return d, ar.log(ar.where(dead.squeeze(k), 1, total))


def _spread(smoothing: float, x: Array, k: int) -> Any:
    """smoothing / classes."""
    n = x.shape[k]
    return smoothing / max(n, 1) if isinstance(n, int) else ar.divide(smoothing, wrap(rd.count(x.shape, (k,), x.dtype)))


def _class_weight(name: str, weight: Any, x: Array, k: int) -> Array:
    """weight[classes] in the dtype of x, broadcast along all other axes."""
    w = as_array(weight)
    if w.shape != (x.shape[k],):
        texts = f"{type_text(w.shape, w.dtype)} for {type_text(x.shape, x.dtype)}"
        raise complain(ShapeError, f"{name}: weight must have one element per class: {texts}", x, w)
    w = ar.astype(w, x.dtype)
    return w.reshape(tuple(n if j == k else 1 for j, n in enumerate(x.shape)))


def _picked(name: str, x: Array, labels: Array, k: int, ignore_index: int | None) -> tuple[Array, Array | None]:
    """Where along axis k of x the label is, and which labels count (None: all). Checks the labels."""
    if not dtypes.is_integer(labels.dtype):
        raise complain(DTypeError, f"{name}: labels must be integer class numbers, got {labels.dtype}", x, labels)
    if labels.shape != (*x.shape[:k], *x.shape[k + 1 :]):
        texts = f"{type_text(labels.shape, labels.dtype)} for {type_text(x.shape, x.dtype)}"
        text = f"{name}: labels must have the shape of the logits without axis {k - x.ndim}: {texts}"
        raise complain(ShapeError, text, x, labels)
    counts = None
    if ignore_index is not None:
        counts = ar.not_equal(ar.astype(labels, INT64), checks.whole("ignore_index", ignore_index, x, labels))
        labels = ar.where(counts, labels, 0)
    target = wrap(checked(name, x, k, labels), (labels,))
    # A comparison instead of a gather: it fuses with the row and its adjoint is a selection.
    return ar.equal(expand_dims(target, k), wrap(b.iota(x.shape, k, INT64))), counts


def _counted(name: str, losses: Array, weights: Array | None, counts: Array | None, reduction: str) -> Array:
    """The reduction of losses of which some do not count."""
    if counts is not None:
        losses = ar.where(counts, losses, 0)
        weights = ar.astype(counts, losses.dtype) if weights is None else ar.where(counts, weights, 0)
    return _reduced(name, losses, reduction, weights)


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean"
) -> Array:
    """-p·t·log σ(x) - (1 - t)·log(1 - σ(x)), without overflow or cancellation, for targets t within 0 … 1.

    `pos_weight` is p, 1 unless given; `weight` is a factor of each loss. Both broadcast to the shape of the logits,
    which the target must have.
    """
    name = "binary_cross_entropy_with_logits"
    x, t = _paired(name, logits, target)
    if not dtypes.is_float(x.dtype):
        raise complain(DTypeError, f"{name}: logits must be floating, got {x.dtype}", x, t)
    t = ar.astype(t, x.dtype)
    positive = ar.greater(x, 0)
    # log(1 + exp(-|x|)) is what -log σ(x) and -log σ(-x) have beyond their linear parts.
    bend = softplus(ar.where(positive, ar.negative(x), x))
    yes = ar.multiply(t, ar.add(ar.where(positive, 0, ar.negative(x)), bend))
    if pos_weight is not None:
        yes = yes * _factor(name, pos_weight, x)
    no = ar.multiply(ar.subtract(1, t), ar.add(ar.where(positive, x, 0), bend))
    return _reduced(name, _weighted(name, ar.add(yes, no), weight), reduction)


def binary_cross_entropy(probability: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Array:
    """-t·log p - (1 - t)·log(1 - p), with logarithms held at -100 or above, where their derivative is 0.

    Prefer `binary_cross_entropy_with_logits`, which loses no digits near 0 and 1.
    """
    name = "binary_cross_entropy"
    p, t = _paired(name, probability, target)
    if not dtypes.is_float(p.dtype):
        raise complain(DTypeError, f"{name}: probabilities must be floating, got {p.dtype}", p, t)
    t = ar.astype(t, p.dtype)
    yes = ar.multiply(t, ar.clip(ar.log(p), -100.0))
    no = ar.multiply(ar.subtract(1, t), ar.clip(ar.log(ar.subtract(1, p)), -100.0))
    return _reduced(name, _weighted(name, ar.negative(ar.add(yes, no)), weight), reduction)


def _factor(name: str, weight: Any, x: Array) -> Array:
    """A weight in the dtype of x. Raises ShapeError unless it broadcasts to the shape of x."""
    w = ar.astype(weight, x.dtype)
    behind = x.shape[x.ndim - w.ndim :] if w.ndim <= x.ndim else ()
    if w.ndim > x.ndim or any(n not in (1, m) for n, m in zip(w.shape, behind, strict=True)):
        texts = f"{type_text(w.shape, w.dtype)} for {type_text(x.shape, x.dtype)}"
        raise complain(ShapeError, f"{name}: a weight does not broadcast to the losses: {texts}", x, w)
    return w


def _weighted(name: str, losses: Array, weight: Any) -> Array:
    return losses if weight is None else losses * _factor(name, weight, losses)


def kl_div(x: Any, target: Any, *, log_target: bool = False, reduction: str = "mean") -> Array:
    """t·(log t - x): the divergence of log-probabilities x from probabilities t, or from log t if `log_target`.

    0 where t is 0. The reduction "batchmean" divides the sum by the first extent, which makes it the divergence of
    distributions along the other axes.
    """
    x, t = _paired("kl_div", x, target)
    checks.choice("reduction", reduction, ("mean", "sum", "none", "batchmean"), x, t)
    if checks.flag("log_target", log_target, x, t):
        void, probability, logarithm = ar.equal(t, -math.inf), ar.exp(t), t
    else:
        void, probability, logarithm = ar.equal(t, 0), t, ar.log(t)
    losses = ar.where(void, 0, ar.multiply(probability, ar.subtract(logarithm, x)))
    if reduction != "batchmean":
        return _reduced("kl_div", losses, reduction)
    if not losses.ndim:
        raise complain(ShapeError, 'kl_div: reduction "batchmean" needs an axis', x, t)
    return ar.divide(rd.sum(losses), wrap(rd.count(losses.shape, (0,), losses.dtype)))
