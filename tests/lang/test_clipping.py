"""Clipping of gradients."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

A, B = np.array([3.0, 0.0]), np.array([[0.0], [4.0]], "f")


def test_by_global_norm(run):
    (a, b), norm = ad.optim.clip_by_global_norm([ad.constant(A), ad.constant(B)], 1.0)
    assert (a.dtype, b.dtype) == (np.float64, np.float32)
    for got, want in zip(run([a, b, norm]), ([0.6, 0], [[0], [0.8]], 5), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    (a, b), norm = ad.optim.clip_by_global_norm((ad.constant(A), ad.constant(B)), 5)
    for got, want in zip(run([a, b, norm]), (A, B, 5), strict=True):
        np.testing.assert_array_equal(got, want)


def test_by_a_norm_that_is_an_input(run):
    bound = ad.input("bound", (), "float64")
    (a,), _ = ad.optim.clip_by_global_norm([ad.constant(A)], bound)
    np.testing.assert_allclose(run(a, {bound: 1.5}), [1.5, 0])
    np.testing.assert_allclose(run(ad.optim.clip_by_value(ad.constant(B), bound), {bound: 1.5}), [[0], [1.5]])


def test_norms_of_nothing_and_of_zeros(run):
    (zeros,), norm = ad.optim.clip_by_global_norm([ad.constant(np.zeros(3, "f"))], 1)
    assert (run(zeros) == 0).all() and run(norm) == 0
    empty, norm = ad.optim.clip_by_global_norm([], 1)
    assert empty == [] and run(norm) == 0
    (hollow,), norm = ad.optim.clip_by_global_norm([ad.constant(np.zeros((0, 3), "f"))], 1)
    assert run(hollow).shape == (0, 3) and run(norm) == 0
    x = ad.input("x", (3,))
    assert (run(ad.grad(ad.optim.global_norm([x]), x), {x: np.zeros(3, "f")}) == 0).all()


def test_by_value(run):
    x = ad.constant(np.array([-5, -1, 0, 2, np.inf, -np.inf, np.nan], "f"))
    clipped = ad.optim.clip_by_value({"x": x}, 1.5)
    np.testing.assert_array_equal(run(clipped["x"]), np.array([-1.5, -1, 0, 1.5, 1.5, -1.5, np.nan], "f"))


@pytest.mark.parametrize("clip", [ad.optim.clip_by_value, ad.optim.clip_by_global_norm])
@pytest.mark.parametrize("bound", [0, -1.0, "much", None, np.ones(2)])
def test_bounds_that_make_no_sense(clip, bound):
    bound = ad.constant(bound) if isinstance(bound, np.ndarray) else bound
    with pytest.raises(ad.GraphError, match="number or a 0-d array"):
        clip([ad.constant(A)], bound)


def test_variables_keep_their_gradients(run):
    w, b = ad.variable(A, "w"), ad.variable(B, "b")
    loss = (w * w).sum() / 2 + (b * b).sum().astype("float64") / 2
    clipped, _ = ad.optim.clip_by_global_norm(dict(zip([w, b], ad.grad(loss, [w, b]), strict=True)), 1.0)
    updates = ad.optim.SGD(1.0).apply(clipped)
    np.testing.assert_allclose(run(updates[w]), [2.4, 0], rtol=1e-6)
    np.testing.assert_allclose(run(updates[b]), [[0], [3.2]], rtol=1e-6)
