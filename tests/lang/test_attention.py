"""Attention against a loop over queries."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(13)
Q, K, V = (RNG.standard_normal(s) for s in ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)))
attention = ad.nn.scaled_dot_product_attention


def reference(q, k, v, mask=None, causal=False, scale=None):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    y = np.zeros((*q.shape[:-1], v.shape[-1]))
    mask = np.broadcast_to(np.zeros(()) if mask is None else mask, (*q.shape[:-1], k.shape[-2]))
    for at in np.ndindex(*q.shape[:-1]):
        row = k[at[:-1]] @ q[at] * scale
        row = np.where(mask[at], row, -np.inf) if mask.dtype == bool else row + mask[at]
        if causal:
            row[at[-1] + 1 :] = -np.inf
        if (row > -np.inf).any():
            e = np.exp(row - row.max())
            y[at] = e / e.sum() @ v[at[:-1]]
    return y


MASKS = {
    "none": None,
    "bool": RNG.random((2, 1, 5, 7)) < 0.5,
    "keys": np.array([True, False, True, True, False, True, False]),
    "additive": RNG.standard_normal((5, 7)),
    "minus infinity": np.where(RNG.random((3, 5, 7)) < 0.3, -np.inf, 0.5),
    "nothing": np.zeros((5, 7), bool),
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("mask", MASKS)
def test_attention(mask, causal, scale, run):
    got = run(attention(Q, K, V, MASKS[mask], causal, scale))
    np.testing.assert_allclose(got, reference(Q, K, V, MASKS[mask], causal, scale), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["bool", "additive"])
def test_queries_that_see_nothing_have_no_derivative(kind, run):
    sees = np.array([[True, True, False], [False, False, False]])
    mask = sees if kind == "bool" else np.where(sees, 0, -np.inf)
    q, k, v = (ad.input(n, s, "float64") for n, s in (("q", (2, 4)), ("k", (3, 4)), ("v", (3, 5))))
    values = {q: Q[0, 0, :2], k: K[0, 0, :3], v: V[0, 0, :3, :5]}
    y = attention(q, k, v, mask)
    dq, dk, dv = run(ad.grad((y * y).sum(), [q, k, v]), values)
    assert (run(y, values)[1] == 0).all() and (dq[1] == 0).all() and (dq[0] != 0).all()
    # The third key is seen by nobody.
    assert (dk[2] == 0).all() and (dv[2] == 0).all() and np.isfinite(dk).all() and np.isfinite(dv).all()


def test_what_does_not_fit():
    with pytest.raises(ad.ShapeError, match=r"attn_mask does not broadcast to the scores: bool\[4, 2, 3, 5, 7\]"):
        attention(Q, K, V, np.ones((4, 2, 3, 5, 7), bool))
    with pytest.raises(ad.ShapeError, match="broadcast"):
        attention(Q, K, V, np.ones((5, 6), bool))
    with pytest.raises(ad.DTypeError, match="attn_mask is bool or floating"):
        attention(Q, K, V, np.ones((5, 7), int))
    with pytest.raises(ad.ShapeError, match="two axes"):
        attention(Q[0, 0, 0], K, V)
    with pytest.raises(ad.ShapeError, match="give a scale"):
        attention(ad.input("q", (3, "d")), ad.input("k", (3, "d")), ad.input("v", (3, 2)))
