"""Convolution, pooling and their layers against direct loops."""

from __future__ import annotations

import numpy as np
import pytest
from windows import convolve, convolve_transposed, pool

import adjoint as ad

RNG = np.random.default_rng(4)
IMAGE = {1: (9,), 2: (8, 7), 3: (5, 6, 4)}
CONV = {1: ad.nn.conv1d, 2: ad.nn.conv2d, 3: ad.nn.conv3d}
TRANSPOSED = {1: ad.nn.conv_transpose1d, 2: ad.nn.conv_transpose2d, 3: ad.nn.conv_transpose3d}
MAX = {1: ad.nn.max_pool1d, 2: ad.nn.max_pool2d, 3: ad.nn.max_pool3d}
AVG = {1: ad.nn.avg_pool1d, 2: ad.nn.avg_pool2d, 3: ad.nn.avg_pool3d}
KERNEL = (3, 2, 2)


def _cut(value, rank):
    return tuple(value[:rank]) if isinstance(value, tuple) else (value,) * rank


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    [(1, 0, 1), ((2, 1, 1), (1, 2, 0), 1), ((3, 2, 1), (1, 0, 1), (2, 1, 2)), (2, 3, 1)],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution(rank, stride, padding, dilation, groups, run):
    x = RNG.standard_normal((2, 4, *IMAGE[rank]))
    w, b = RNG.standard_normal((8, 4 // groups, *KERNEL[:rank])), RNG.standard_normal(8)
    s, p, d = (_cut(v, rank) for v in (stride, padding, dilation))
    y = CONV[rank](x, w, b, s if rank > 1 else s[0], p, d, groups)
    expected = convolve(x, w, s, [(n, n) for n in p], d, groups) + b.reshape(-1, *(1 for _ in s))
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(y), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_by_name(rank, dilation, run):
    x, w = RNG.standard_normal((1, 2, *IMAGE[rank])), RNG.standard_normal((3, 2, *KERNEL[:rank]))
    d = (dilation,) * rank
    reach = [dilation * (k - 1) for k in KERNEL[:rank]]
    same = CONV[rank](x, w, padding="same", dilation=dilation)
    assert same.shape[2:] == x.shape[2:]
    around = [(n // 2, n - n // 2) for n in reach]
    np.testing.assert_allclose(run(same), convolve(x, w, (1,) * rank, around, d), rtol=1e-9, atol=1e-9)
    valid = CONV[rank](x, w, padding="valid", dilation=dilation)
    np.testing.assert_allclose(run(valid), convolve(x, w, (1,) * rank, [(0, 0)] * rank, d), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "extra", "dilation"),
    [
        (1, 0, 0, 1),
        ((2, 1, 3), (1, 0, 1), (1, 0, 2), 1),
        ((3, 2, 2), (2, 1, 0), (2, 1, 0), (2, 1, 3)),
        ((2, 2, 1), 0, (2, 0, 1), (3, 1, 2)),
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolution(rank, stride, padding, extra, dilation, groups, run):
    x = RNG.standard_normal((2, 4, *(n - 2 for n in IMAGE[rank])))
    w, b = RNG.standard_normal((4, 6 // groups, *KERNEL[:rank])), RNG.standard_normal(6)
    s, p, e, d = (_cut(v, rank) for v in (stride, padding, extra, dilation))
    y = TRANSPOSED[rank](x, w, b, s, p, e, groups, d)
    expected = convolve_transposed(x, w, s, p, e, d, groups) + b.reshape(-1, *(1 for _ in s))
    assert y.shape == expected.shape
    np.testing.assert_allclose(run(y), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), ((2, 3), (1, 0), (2, 1))])
def test_transposed_is_the_adjoint(stride, padding, dilation, run):
    """⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩, with the output padding that restores the shape."""
    x, w = RNG.standard_normal((1, 2, 8, 8)), RNG.standard_normal((3, 2, 3, 2))
    y = ad.nn.conv2d(x, w, None, stride, padding, dilation)
    c = RNG.standard_normal(y.shape)
    back = ad.nn.conv_transpose2d(c, w, None, stride, padding, 0, 1, dilation)
    extra = tuple(m - n for m, n in zip((8, 8), back.shape[2:], strict=True))
    back = ad.nn.conv_transpose2d(c, w, None, stride, padding, extra, 1, dilation)
    left, right = run([(y * c).sum(), (back * x).sum()])
    np.testing.assert_allclose(left, right, rtol=1e-10)


GEOMETRIES = [
    # kernel, stride, padding, dilation
    (2, None, 0, 1),
    ((3, 2, 2), None, 0, 1),
    (3, 2, 1, 1),
    (2, 1, 0, 1),
    (2, None, 1, 1),
    (2, (3, 2, 1), (0, 1, 1), (2, 1, 1)),
    (3, (2, 1, 2), 1, (1, 2, 1)),
    (1, 2, 0, 1),
]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling(rank, kernel, stride, padding, dilation, ceil_mode, run):
    x = RNG.standard_normal((2, 3, *IMAGE[rank])).astype("f")
    k, s, p, d = (_cut(v, rank) for v in (kernel, kernel if stride is None else stride, padding, dilation))
    y = MAX[rank](x, k, None if stride is None else s, p, d, ceil_mode)
    expected = pool(x, k, s, p, d, ceil_mode, "max")
    assert (y.shape, y.dtype) == (expected.shape, x.dtype)
    np.testing.assert_array_equal(run(y), expected)
    for counted in (True, False):
        if d == (1,) * rank:
            y = AVG[rank](x, k, None if stride is None else s, p, ceil_mode, counted)
            expected = pool(x, k, s, p, d, ceil_mode, "avg", counted)
            assert (y.shape, y.dtype) == (expected.shape, x.dtype)
            np.testing.assert_allclose(run(y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "float64"])
def test_pooling_of_other_dtypes(dtype, run):
    x = (9 * RNG.standard_normal((1, 2, 6, 5))).astype(dtype)
    for k, s, p in [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1))]:
        y = ad.nn.max_pool2d(x, k, s, p)
        assert y.dtype == dtype
        np.testing.assert_array_equal(run(y), pool(x, k, s, p, (1, 1), False, "max"))
        y = ad.nn.avg_pool2d(x, k, s, p)
        assert y.dtype == ("float64" if dtype == "float64" else "float32")
        np.testing.assert_allclose(run(y), pool(x.astype("d"), k, s, p, (1, 1), False, "avg"), rtol=1e-6)


def test_pooling_of_nan_and_infinity(run):
    x = np.full((1, 1, 4, 4), -np.inf, "f")
    x[0, 0, 0, 0], x[0, 0, 3, 3] = np.nan, 2
    expected = np.array([[np.nan, -np.inf], [-np.inf, 2]])
    np.testing.assert_array_equal(run(ad.nn.max_pool2d(x, 2))[0, 0], expected)
    np.testing.assert_array_equal(run(ad.nn.max_pool2d(x, 3, 2, 1))[0, 0], expected)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (2, 1), (3, 2)])
def test_the_first_maximum_takes_all(kernel, stride, run):
    x = ad.input("x", (1, 1, 5, 5), "float64")
    y = ad.nn.max_pool2d(x, kernel, stride)
    weights = RNG.standard_normal(y.shape)
    a = RNG.integers(0, 2, x.shape).astype("d")
    expected = np.zeros_like(a)
    for i, j in np.ndindex(*y.shape[2:]):
        window = a[0, 0, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        row, column = np.unravel_index(np.argmax(window), window.shape)
        expected[0, 0, i * stride + row, j * stride + column] += weights[0, 0, i, j]
    np.testing.assert_allclose(run(ad.grad((y * weights).sum(), x), {x: a}), expected)


@pytest.mark.parametrize("size", [(1, 1), 1, (3, 2), (8, 7), (5, 3), 10])
def test_adaptive_pooling(size, run):
    x = RNG.standard_normal((2, 3, 8, 7))
    m = size if isinstance(size, tuple) else (size, size)
    expected = np.zeros((2, 3, *m))
    for i, j in np.ndindex(*m):
        rows = slice(i * 8 // m[0], -(-(i + 1) * 8 // m[0]))
        columns = slice(j * 7 // m[1], -(-(j + 1) * 7 // m[1]))
        expected[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    y = ad.nn.adaptive_avg_pool2d(x, size)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(y), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run(ad.nn.adaptive_avg_pool1d(x[..., 0], 1))[..., 0], x[..., 0].mean(-1), rtol=1e-9)
    cube = x[:, :, :, None, :]
    np.testing.assert_allclose(run(ad.nn.adaptive_avg_pool3d(cube, (m[0], 1, m[1])))[..., 0, :], expected, rtol=1e-9)


def test_run_time_extents(run):
    """The batch, and the image too."""
    n, h = ad.Dim("n", min=0), ad.Dim("h", min=4)
    x, w = ad.input("x", (n, 2, h, 7), "float64"), RNG.standard_normal((3, 2, 3, 3))
    t = RNG.standard_normal((2, 3, 3, 2))
    ys = [
        ad.nn.conv2d(x, w, None, 2, 1),
        ad.nn.conv2d(x, w, padding="same"),
        ad.nn.conv_transpose2d(x, t, None, 2, 1, 1),
        ad.nn.max_pool2d(x, 3, 2, 1, 1, True),
        ad.nn.max_pool2d(x, 2),
        ad.nn.avg_pool2d(x, 3, 2, 1, True, False),
        ad.nn.avg_pool2d(x, 3, 2, 1, True, True),
        ad.nn.avg_pool2d(x, (2, 3), 1),
        ad.nn.adaptive_avg_pool2d(x, (1, 3)),
    ]
    for size, height in [(2, 5), (1, 4), (3, 8), (0, 6)]:
        a = RNG.standard_normal((size, 2, height, 7))
        whole = ad.nn.avg_pool2d(a, (height, 1), 1)
        cells = ad.nn.adaptive_avg_pool2d(run(whole), (1, 3))
        expected = [
            convolve(a, w, (2, 2), [(1, 1)] * 2, (1, 1)),
            convolve(a, w, (1, 1), [(1, 1)] * 2, (1, 1)),
            convolve_transposed(a, t, (2, 2), (1, 1), (1, 1), (1, 1)),
            pool(a, (3, 3), (2, 2), (1, 1), (1, 1), True, "max"),
            pool(a, (2, 2), (2, 2), (0, 0), (1, 1), False, "max"),
            pool(a, (3, 3), (2, 2), (1, 1), (1, 1), True, "avg", False),
            pool(a, (3, 3), (2, 2), (1, 1), (1, 1), True, "avg", True),
            pool(a, (2, 3), (1, 1), (0, 0), (1, 1), False, "avg"),
            run(cells),
        ]
        for got, want in zip(run(ys, {x: a}, {n: size, h: height}), expected, strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


X, W = np.zeros((1, 4, 4, 4), "f"), np.zeros((2, 4, 3, 3), "f")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ad.nn.conv2d(X[:, :1], W[:, :1], dilation=2), "a window of 5 does not fit an axis of 4 padded by 0"),
        (lambda: ad.nn.conv2d(X, W, stride=0), "stride must be an int of at least 1 or a pair of such, got 0"),
        (lambda: ad.nn.conv2d(X, W, padding=(1, 2, 3)), "padding must be"),
        (lambda: ad.nn.conv2d(X[:, :3], W[:, :1], groups=2), "channels do not fit 2 groups"),
        (lambda: ad.nn.conv2d(X, W[:, :2]), "channels do not fit 1 groups"),
        (lambda: ad.nn.conv2d(X, W, groups=0), "groups must be a positive int"),
        (lambda: ad.nn.conv2d(X, W[0]), r"weight must be \[O, C / groups, KH, KW\]"),
        (lambda: ad.nn.conv1d(X, W), r"x must be \[N, C, W\], got float32\[1, 4, 4, 4\]"),
        (lambda: ad.nn.conv3d(X, W), r"x must be \[N, C, D, H, W\]"),
        (lambda: ad.nn.conv2d(X, W[..., :0]), "the kernel's positive"),
        (lambda: ad.nn.conv2d(X, W, np.zeros(3)), r"bias must have shape \(2,\)"),
        (lambda: ad.nn.conv2d(X, W, padding="full"), '"same" or "valid"'),
        (lambda: ad.nn.conv2d(X, W, stride=2, padding="same"), '"same" needs stride 1'),
        (lambda: ad.nn.conv2d(ad.input("x", (1, ad.Dim("c"), 4, 4)), W), "must have fixed extents"),
        (lambda: ad.nn.conv_transpose2d(X, W), "channels do not fit 1 groups"),
        (lambda: ad.nn.conv_transpose2d(X[:, :2], W, stride=2, output_padding=2), "output_padding 2 must be less"),
        (lambda: ad.nn.conv_transpose2d(X[:, :2, :1], W, padding=2), "nothing is left of an axis of 1"),
        (lambda: ad.nn.max_pool2d(X, 2, padding=2), "more than half of the window"),
        (lambda: ad.nn.max_pool2d(X, 5), "a window of 5 does not fit"),
        (lambda: ad.nn.max_pool1d(X, 2), "max_pool1d: x must be"),
        (lambda: ad.nn.avg_pool3d(X, 2), "avg_pool3d: x must be"),
        (lambda: ad.nn.adaptive_avg_pool2d(X, 0), "output_size"),
        (lambda: ad.nn.adaptive_avg_pool2d(ad.input("x", (1, 1, ad.Dim("h"), 4)), 2), "does not divide into 2 cells"),
        (lambda: ad.nn.Conv2d(3, 4, 3, groups=2), "3 and 4 channels do not fit 2 groups"),
        (lambda: ad.nn.Flatten(2)(np.zeros((2, 2))), "axes 2 to -1"),
    ],
)
def test_what_does_not_fit(call, match):
    with pytest.raises(ad.ShapeError, match=match):
        call()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_layers(rank, run):
    x = RNG.standard_normal((1, 2, *IMAGE[rank])).astype("f")
    kind = {1: ad.nn.Conv1d, 2: ad.nn.Conv2d, 3: ad.nn.Conv3d}[rank]
    layer = kind(2, 4, KERNEL[:rank], stride=2, padding=1, groups=2, seed=0)
    assert np.abs(layer.weight.value).max() <= np.prod(KERNEL[:rank]) ** -0.5
    around = [(1, 1)] * rank
    expected = convolve(x, layer.weight.value, (2,) * rank, around, (1,) * rank, 2)
    expected += layer.bias.value.reshape(-1, *(1,) * rank)
    np.testing.assert_allclose(run(layer(x)), expected, rtol=1e-4, atol=1e-5)
    kind = {1: ad.nn.ConvTranspose1d, 2: ad.nn.ConvTranspose2d, 3: ad.nn.ConvTranspose3d}[rank]
    layer = kind(2, 4, 3, 2, 1, 1, bias=False, seed=0, dtype="float64")
    ones = (1,) * rank
    expected = convolve_transposed(x, layer.weight.value, (2,) * rank, ones, ones, ones)
    assert layer.bias is None and [p.name for p in layer.parameters()] == [layer.weight.name]
    np.testing.assert_allclose(run(layer(x)), expected, rtol=1e-9)


def test_a_network_of_layers(run):
    model = ad.nn.Sequential(
        ad.nn.Conv2d(1, 4, 3, padding="same", seed=1), ad.relu, ad.nn.MaxPool2d(2), ad.nn.AvgPool2d(3, 2, 1),
        ad.nn.Flatten(), ad.nn.Linear(16, 3, seed=2),
    )  # fmt: skip
    names = ["0.weight", "0.bias", "5.weight", "5.bias"]
    assert [p.name for p in model.parameters()] == names
    x = ad.input("x", ("n", 1, 8, 8))
    y = model(x, training=True)
    assert str(y.shape) == "(n, 3)"
    a = RNG.standard_normal((2, 1, 8, 8)).astype("f")
    w, b, v, c = (p.value for p in model.parameters())
    h = np.maximum(convolve(a, w, (1, 1), [(1, 1)] * 2, (1, 1)) + b[:, None, None], 0)
    h = pool(h, (2, 2), (2, 2), (0, 0), (1, 1), False, "max")
    h = pool(h, (3, 3), (2, 2), (1, 1), (1, 1), False, "avg").reshape(2, -1)
    np.testing.assert_allclose(run(y, {x: a}, {x.shape[0]: 2}), h @ v.T + c, rtol=1e-4, atol=1e-5)
    flat = ad.nn.Flatten(0, 1)(np.zeros((2, 3, 4)))
    assert flat.shape == (6, 4)
    assert ad.nn.MaxPool1d(2)(a[:, 0]).shape == (2, 8, 4) and ad.nn.AvgPool1d(3, 1)(a[:, 0]).shape == (2, 8, 6)
    cube = np.zeros((1, 2, 4, 4, 4), "f")
    assert ad.nn.MaxPool3d(2)(cube).shape == ad.nn.AvgPool3d(2)(cube).shape == (1, 2, 2, 2, 2)
