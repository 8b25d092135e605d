"""Functions written in terms of primitives, against central differences to second order."""

from __future__ import annotations

import numpy as np
import pytest
from einsums import random_einsum

import adjoint as ad

RNG = np.random.default_rng(11)
A, B = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2))
P = RNG.uniform(0.3, 2, (3, 4))
LEFT = np.array([-0.4, -1.3, -2.6, -3.7])
LABELS = ad.constant(np.array([1, 3, 0]))

CASES = {
    "matmul": (lambda x, y: x @ y, A, B),
    "matmul batched": (lambda x, y: x @ y, RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 4, 2))),
    "matmul broadcast": (lambda x, y: x @ y, RNG.standard_normal((2, 1, 3, 4)), RNG.standard_normal((5, 4, 2))),
    "matmul vector": (lambda x, y: (x @ y) ** 2, A, RNG.standard_normal(4)),
    "tensordot": (lambda x, y: ad.tensordot(x, y, ([0, 1], [1, 0])) ** 2, A, A.T),
    "einsum": (lambda x, y: ad.einsum("bij,bkj->kbi", x, y), RNG.standard_normal((2, 3, 4)), RNG.random((2, 5, 4))),
    "einsum of three": (
        lambda x, y, z: ad.einsum("...ij,jk,kkb->b...i", x, y, z),
        RNG.standard_normal((2, 2, 3)),
        RNG.random((3, 2)),
        RNG.random((2, 2, 4)),
    ),
    "vecdot": (lambda x, y: ad.vecdot(x, y, 0) ** 2, A, A[:, :1] + 1),
    "outer": (lambda x, y: ad.outer(x, y) ** 2, A[0], B[:, 0]),
    "trace": (lambda x: ad.trace(x @ x.T, 1) ** 2, A),
    "softmax": (lambda x: ad.softmax(x), A),
    "softmax 0": (lambda x: ad.softmax(x, 0), A),
    "log_softmax": (lambda x: ad.log_softmax(x), A),
    "logsumexp": (lambda x: ad.logsumexp(x, 1), A),
    "gelu": (ad.gelu, A),
    "gelu tanh": (lambda x: ad.gelu(x, "tanh"), A),
    "log_sigmoid": (ad.log_sigmoid, A),
    "hard_tanh": (lambda x: ad.hard_tanh(x) ** 2, A),
    "nan_to_num": (lambda x: ad.nan_to_num(x) ** 2, A),
    "lgamma left of 0": (ad.lgamma, LEFT),
    "digamma left of 0": (ad.digamma, LEFT),
    "polygamma left of 0": (lambda x: ad.polygamma(1, x), LEFT),
    "polygamma 2 left of 0": (lambda x: ad.polygamma(2, x), LEFT),
    "silu": (ad.silu, A),
    "softplus": (ad.softplus, A),
    "elu": (ad.elu, A),
    "std": (lambda x: ad.std(x, 1, correction=1), A),
    "var": (lambda x: ad.var(x), A),
    "vector_norm": (lambda x: ad.vector_norm(x, 0), A),
    "mean": (lambda x: ad.mean(x, 0) ** 2, A),
    "power": (lambda x, y: x**y, P, A),
    "integer power": (lambda x: x**7, A),
    "remainder": (lambda x: (x % 0.7) ** 2, P),
    "remainder of arrays": (lambda x, y: (x % y) ** 2, A[:, :2] * 3, B[:3] + 3),
    "remainder by negative numbers": (lambda x, y: (x % y) ** 2, A[:, :2] * 3, -3 - B[:3]),
    "floor_divide": (lambda x, y: (x // y) * x**2, A[:, :2] * 3, B[:3] + 3),
    "clip": (lambda x: ad.clip(x, 0.5, 1.5) ** 2, P),
    "min": (lambda x: ad.min(x, 1) ** 2, A),
    "index": (lambda x: x[::-2, [2, 0, 2]] ** 2, A),
    "index pairs": (lambda x: x[[0, 2, 2], [1, 3, 3]] ** 2, A),
    "pad flip roll": (lambda x: ad.roll(ad.flip(ad.pad(x, 1), 0), 2, 1) ** 2, A),
    "layer_norm": (lambda x, s, c: ad.nn.layer_norm(x, s, c), A, RNG.random(4), RNG.random(4)),
    "cross_entropy": (lambda x: ad.nn.cross_entropy(x, LABELS), A),
    "cross_entropy axis": (lambda x: ad.nn.cross_entropy(x, LABELS, axis=0), A.T),
    "bce": (lambda x: ad.nn.binary_cross_entropy_with_logits(x, (A > 0).astype("d")), A),
    "attention": (
        lambda q, k, v: ad.nn.scaled_dot_product_attention(q, k, v, is_causal=True),
        *(RNG.standard_normal((2, 3, 4)) for _ in range(3)),
    ),
    "embedding": (lambda w: ad.nn.embedding(LABELS, w) ** 2, RNG.standard_normal((4, 2))),
}


@pytest.mark.parametrize("name", CASES)
def test_composed(name, check):
    fn, *arrays = CASES[name]
    check(fn, *arrays)


@pytest.mark.parametrize("seed", range(400, 440))
def test_random_einsums(seed, check):
    text, arrays = random_einsum(seed)
    check(lambda *xs: ad.einsum(text, *xs) ** 2, *arrays)
