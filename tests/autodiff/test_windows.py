"""Derivatives of convolution and pooling against central differences."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(11)
IMAGE = {1: (7,), 2: (7, 6), 3: (4, 5, 4)}
CONV = {1: ad.nn.conv1d, 2: ad.nn.conv2d, 3: ad.nn.conv3d}
TRANSPOSED = {1: ad.nn.conv_transpose1d, 2: ad.nn.conv_transpose2d, 3: ad.nn.conv_transpose3d}
MAX = {1: ad.nn.max_pool1d, 2: ad.nn.max_pool2d, 3: ad.nn.max_pool3d}
AVG = {1: ad.nn.avg_pool1d, 2: ad.nn.avg_pool2d, 3: ad.nn.avg_pool3d}
KERNEL = (3, 2, 2)


def _distinct(*shape):
    """No two elements are close to each other, so that no difference changes which is the greatest."""
    return RNG.permutation(int(np.prod(shape))).reshape(shape) / 7.0


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, (2, 1)])
@pytest.mark.parametrize("stride", [1, 2, (3, 2)])
def test_conv2d(stride, padding, dilation, groups, check):
    x = RNG.standard_normal((2, 4, 7, 6))
    w = RNG.standard_normal((2, 4 // groups, 3, 2))
    check(lambda a, c: ad.nn.conv2d(a, c, None, stride, padding, dilation, groups), x, w, order=3)


@pytest.mark.parametrize(("stride", "dilation"), [(4, 2), (2, 4), (6, 4), (4, 6)])
def test_conv2d_of_common_factors(stride, dilation, check):
    x, w = RNG.standard_normal((1, 1, 15, 1)), RNG.standard_normal((1, 1, 3, 1))
    check(lambda a, c: ad.nn.conv2d(a, c, None, (stride, 1), (2, 0), (dilation, 1)), x, w, order=3)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, "same", 2), (2, 1, 1), (3, 0, 1)])
@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank, stride, padding, dilation, groups, check):
    x, w = RNG.standard_normal((2, 4, *IMAGE[rank])), RNG.standard_normal((2, 4 // groups, *KERNEL[:rank]))
    check(lambda a, c, b: CONV[rank](a, c, b, stride, padding, dilation, groups) ** 2, x, w, RNG.standard_normal(2))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "extra", "dilation"), [(1, 0, 0, 1), (2, 1, 1, 1), (3, 2, 1, 2), (2, 0, 2, 3), (4, 1, 0, 2)]
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed(rank, stride, padding, extra, dilation, groups, check):
    shape = (3, 2, 2)[:rank]
    x, w = RNG.standard_normal((2, 2, *shape)), RNG.standard_normal((2, 4 // groups, *KERNEL[:rank]))
    check(lambda a, c: TRANSPOSED[rank](a, c, None, stride, padding, extra, groups, dilation), x, w, order=3)


GEOMETRIES = [(2, None, 0, 1), (3, 2, 1, 1), (2, 1, 0, 1), (2, 3, 1, 2), (2, None, 1, 1)]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling(rank, kernel, stride, padding, dilation, ceil_mode, check):
    x = _distinct(1, 2, *IMAGE[rank])
    check(lambda a: MAX[rank](a, kernel, stride, padding, dilation, ceil_mode) ** 2, x)
    if dilation == 1:
        check(lambda a: AVG[rank](a, kernel, stride, padding, ceil_mode, False) ** 2, x / x.size)
        check(lambda a: AVG[rank](a, kernel, stride, padding, ceil_mode, True) ** 2, x / x.size)


@pytest.mark.parametrize("size", [1, (7, 3), (3, 2), (9, 4)])
def test_adaptive_pooling(size, check):
    check(lambda a: ad.nn.adaptive_avg_pool2d(a, size) ** 2, RNG.standard_normal((1, 2, 7, 6)))


def test_a_step_of_a_network(check):
    x = _distinct(2, 1, 8, 8) / 16
    w, v = RNG.standard_normal((2, 1, 3, 3)), RNG.standard_normal((2, 2, 2, 2))

    def network(x, w, v):
        h = ad.nn.max_pool2d(ad.tanh(ad.nn.conv2d(x, w, padding=1)), 3, 2, 1)
        return ad.nn.avg_pool2d(ad.tanh(ad.nn.conv_transpose2d(h, v, stride=2)), 3, 2, 1, False, False)

    check(network, x, w, v)
