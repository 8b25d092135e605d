"""What models are made of, with derivatives, compiled, against the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program

nn = ad.nn
SIZES = {"n": 19, "m": 7}
Types = dict[str, tuple[Any, ...]]


def _loss(fn: Callable[..., ad.Array]) -> Callable[..., ad.Array]:
    """A loss that is not the same for every element, so that no cotangent is constant."""

    def scalar(*xs: ad.Array) -> ad.Array:
        y = fn(*xs)
        return (y * ad.sin(y + 1)).sum()

    return scalar


CASES: dict[str, tuple[Callable[..., ad.Array], Types]] = {
    "log_softmax": (lambda x: ad.log_softmax(x, 0), {"x": ("n", 5)}),
    "rms_norm": (lambda x, s: nn.rms_norm(x, s), {"x": ("n", 33), "s": (33,)}),
    "layer_norm": (lambda x, s: nn.layer_norm(x, s, s), {"x": ("n", 4, 9), "s": (4, 9)}),
    "group_norm": (lambda x, s: nn.group_norm(x, 2, s, s), {"x": ("n", 6, 5), "s": (6,)}),
    "batch_norm": (
        lambda x, s, b: nn.batch_norm(x, None, None, s, b, True), {"x": ("n", 6, 4, 3), "s": (6,), "b": (6,)},
    ),
    "batch_norm of means": (
        lambda x, m, v: nn.batch_norm(x, m, v * v + 0.5), {"x": ("n", 37), "m": (37,), "v": (37,)},
    ),
    "attention": (
        lambda q, k, v, m: nn.scaled_dot_product_attention(q, k, v, m, True),
        {"q": (2, 7, 8), "k": (2, 7, 8), "v": (2, 7, 5), "m": (7, 7)},
    ),
    "attention of some": (
        lambda q, k, v, s: nn.scaled_dot_product_attention(q, k, v, s > 0),
        {"q": (3, "n", 8), "k": (3, "m", 8), "v": (3, "m", 5), "s": ("n", "m")},
    ),
    "huber_loss": (lambda x, y: nn.huber_loss(x, y, 0.7, reduction="none"), {"x": ("n", 5), "y": ("n", 5)}),
    "smooth_l1_loss": (lambda x, y: nn.smooth_l1_loss(x, y, 0.7), {"x": ("n", 5), "y": ("n", 5)}),
    "l1_loss": (lambda x, y: nn.l1_loss(x, y), {"x": (), "y": ()}),
    "bce logits": (
        lambda x, y, w: nn.binary_cross_entropy_with_logits(x, ad.sigmoid(y), w * w, pos_weight=w + 3),
        {"x": ("n", 5), "y": ("n", 5), "w": (5,)},
    ),
    "bce": (lambda x, y: nn.binary_cross_entropy(ad.sigmoid(x), ad.sigmoid(y)), {"x": ("n", 5), "y": ("n", 5)}),
    "kl_div": (
        lambda x, y: nn.kl_div(ad.log_softmax(x), ad.softmax(y), reduction="batchmean"), {"x": ("n", 5), "y": ("n", 5)},
    ),
    # Lanes and rows are summed together, with an axis kept between them, beside sums that are finished per row.
    "rows and lanes": (lambda x: (x / (x * x).sum((1, 2), keepdims=True)).sum((0, 2)), {"x": ("n", 6, 5)}),
    "rows and lanes, greatest": (lambda x: (x / (x * x).sum((1, 2), keepdims=True)).max((0, 2)), {"x": ("n", 6, 37)}),
    "rows and lanes, products": (
        lambda x, y: (x / (x * x).sum((1, 2), keepdims=True) * y).sum((0, 2)), {"x": (130, 6, 37), "y": (130, 6, 37)},
    ),
    "cross_entropy of shares": (
        lambda x, y, w: nn.cross_entropy(x, ad.softmax(y), weight=w + 3, label_smoothing=0.1),
        {"x": ("n", 11), "y": ("n", 11), "w": (11,)},
    ),
}  # fmt: skip


def _values(inputs: Sequence[ad.Array]) -> dict[Any, Any]:
    rng = np.random.default_rng(5)
    found: dict[Any, Any] = {}
    for x in inputs:
        shape = tuple(e if isinstance(e, int) else SIZES[str(e)] for e in x.shape)
        floating = x.dtype.kind == "f"
        found[x.node] = (rng.standard_normal(shape) if floating else rng.integers(0, 5, shape)).astype(x.dtype)
    return found


def _check(inputs: Sequence[ad.Array], outputs: Sequence[ad.Array]) -> None:
    program = Program("models", tuple(x.node for x in inputs), tuple(y.node for y in outputs))
    dims = {e: SIZES[str(e)] for x in inputs for e in x.shape if not isinstance(e, int)}
    oracle.check(program, _values(inputs), dims)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str, dtype: str) -> None:
    fn, types = CASES[name]
    xs = [ad.input(n, shape, dtype) for n, shape in types.items()]
    _check(xs, [fn(*xs), *ad.grad(_loss(fn)(*xs), xs)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"ignore_index": 2}, {"ignore_index": -100, "label_smoothing": 0.1, "reduction": "none"}]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_labels(dtype: str, options: dict[str, Any], weighted: bool) -> None:
    x, t, w = ad.input("x", ("n", 5, 3), dtype), ad.input("t", ("n", 3), "int32"), ad.input("w", (5,), dtype)
    weight = ad.exp(w) if weighted else None
    inputs = [x, t, w] if weighted else [x, t]
    loss = nn.cross_entropy(x, t, 1, weight=weight, **options)
    options.pop("label_smoothing", None)
    other = nn.nll_loss(x, t, 1, weight=weight, **options)
    xs = [x, w] if weighted else [x]
    _check(inputs, [loss, other, *ad.grad(_loss(lambda *_: loss)(x), xs), *ad.grad((other * loss).sum(), xs)])
