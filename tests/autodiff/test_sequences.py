"""Derivatives of what goes along an axis, in order or all at once, to second order."""

from __future__ import annotations

from typing import Any

import numpy as np

import adjoint as ad

RNG = np.random.default_rng(8)


def test_sorts(check: Any) -> None:
    a = RNG.permutation(24).reshape(2, 3, 4) / 7
    for axis in (0, 1, 2):
        check(lambda x, axis=axis: ad.square(ad.sort(x, axis)) * x, a)
        check(lambda x, axis=axis: ad.square(ad.sort(x, axis, descending=True)) * x, a)
        check(lambda x, axis=axis: ad.square(ad.topk(x, 2, axis)[0]), a)


def test_running(check: Any) -> None:
    a = RNG.permutation(24).reshape(2, 3, 4) / 7 - 1.5
    for axis in (0, 1, 2):
        for fn in (ad.cumulative_sum, ad.cumulative_prod, ad.cummax, ad.cummin):
            check(lambda x, fn=fn, axis=axis: ad.square(fn(x, axis)) * x, a)
    check(lambda x: ad.cumulative_prod(x, 1, include_initial=True) ** 2, np.array([[2.0, 0, 3, 4], [1, 0, 0, 2]]))
    check(lambda x: ad.flip(ad.cumulative_prod(ad.flip(x))) ** 2, np.array([2.0, 0, 3, 4]))


def test_reductions(check: Any) -> None:
    a = RNG.permutation(24).reshape(2, 3, 4) / 7 - 1.52
    for axis in (None, 1, (0, 2)):
        for fn in (ad.prod, ad.logsumexp, ad.mean, ad.min, ad.max, ad.var, ad.std):
            check(lambda x, fn=fn, axis=axis: fn(x, axis) ** 2, a)
        for p in (1, 2, 3, 2.5, 0.5, -1, np.inf, -np.inf):
            check(lambda x, p=p, axis=axis: ad.vector_norm(x, axis, ord=p) ** 2, a)
    check(lambda x: x.prod(1) ** 2, np.array([[2.0, 0, 3], [0, 0, 4], [1, 2, 3]]))
