"""Derivatives of what models are made of, to second order."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(21)
X = RNG.standard_normal((4, 6, 3)) * 2
FLAT = RNG.standard_normal((5, 4)) * 2
SHARES = RNG.dirichlet(np.ones(4), 5)
TARGET = RNG.uniform(0.1, 0.9, (5, 4))
LABELS = np.array([0, 3, 1, 1, 2])
WEIGHT = RNG.uniform(0.5, 2, 4)
Q, K, V = (RNG.standard_normal(s) for s in ((2, 3, 4), (2, 5, 4), (2, 5, 2)))
MASK = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])
nn = ad.nn

CASES = {
    "softmax": (ad.softmax, FLAT),
    "log_softmax": (lambda x: ad.log_softmax(x, 0), FLAT),
    "layer_norm": (nn.layer_norm, X, RNG.standard_normal((6, 3)), RNG.standard_normal((6, 3))),
    "rms_norm": (lambda x, s: nn.rms_norm(x, s, 1e-3), X, RNG.standard_normal(3)),
    "group_norm": (lambda x, s, b: nn.group_norm(x, 3, s, b), X, RNG.standard_normal(6), RNG.standard_normal(6)),
    "batch_norm": (lambda x, s, b: nn.batch_norm(x, None, None, s, b, True), X, WEIGHT[[0, 1, 2, 3, 0, 1]], X[0, :, 0]),
    "batch_norm of means": (lambda x, m, v: nn.batch_norm(x, m, v), X, X[0, :, 0], RNG.uniform(0.5, 2, 6)),
    "attention": (nn.scaled_dot_product_attention, Q, K, V),
    "attention masked": (lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, MASK, True, 0.4), Q, K, V),
    "attention added": (lambda q, k, v, m: nn.scaled_dot_product_attention(q, k, v, m), Q, K, V, X[0, :3, :1]),
    "mse_loss": (nn.mse_loss, FLAT, TARGET),
    "l1_loss": (nn.l1_loss, FLAT, TARGET),
    "huber_loss": (lambda x, t: nn.huber_loss(x, t, 0.7, reduction="none"), FLAT, TARGET),
    "smooth_l1_loss": (lambda x, t: nn.smooth_l1_loss(x, t, 0.7), FLAT, TARGET),
    "cross_entropy": (lambda x: nn.cross_entropy(x, LABELS), FLAT),
    "cross_entropy, all of it": (
        lambda x, w: nn.cross_entropy(x, LABELS, weight=w, ignore_index=1, label_smoothing=0.2), FLAT, WEIGHT,
    ),
    "cross_entropy of shares": (
        lambda x, p, w: nn.cross_entropy(x, p, weight=w, label_smoothing=0.2, reduction="none"), FLAT, SHARES, WEIGHT,
    ),
    "nll_loss": (lambda x, w: nn.nll_loss(x, LABELS, weight=w, ignore_index=1), FLAT, WEIGHT),
    "bce logits": (lambda x, t, w: nn.binary_cross_entropy_with_logits(x, t, w, pos_weight=w), FLAT, TARGET, WEIGHT),
    "bce": (nn.binary_cross_entropy, TARGET, SHARES),
    "kl_div": (nn.kl_div, FLAT, TARGET),
    "kl_div log": (lambda x, t: nn.kl_div(x, t, log_target=True, reduction="batchmean"), FLAT, FLAT[::-1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name, check):
    fn, *arrays = CASES[name]
    check(fn, *arrays)
