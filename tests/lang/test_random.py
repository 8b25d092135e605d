"""Random numbers: Philox against its published vectors, distributions, and what makes two draws equal or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import adjoint as ad
from adjoint.graph.node import make
from adjoint.graph.random import words

# Counter, key and block of the known-answer tests that come with Random123 1.14.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
N = 40_000


def _words(text):
    return [int(word, 16) for word in text.split()]


def _wide(low, high):
    """Two words as one int64."""
    return int(np.uint64(low | high << 32).view(np.int64))


def compiled(outputs, **options):
    return ad.compile([], outputs, **options)()


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN)
def test_published_vectors(counter, key, block):
    c, k, want = map(_words, (counter, key, block))
    assert list(words(tuple(map(np.uint64, c)), tuple(map(np.uint64, k)))) == want
    given = [_wide(*k), _wide(*c[2:]), _wide(*c[:2])]
    # 21 equal elements: whole vectors, and a part of one. The index of the last is one greater.
    arrays = [np.full(21, x) for x in given]
    arrays[2][-1] += 1
    leaves = [ad.input(name, (21,), "int64") for name in ("key", "stream", "index")]
    out = ad.Array(make("philox", [x.node for x in leaves]))
    got = ad.compile(leaves, out, threads=1)(*arrays)
    np.testing.assert_array_equal(got[:-1], _wide(*want[:2]))
    assert got[-1] != got[0]
    # A scalar takes another path than a vector.
    scalars = [ad.input(name, (), "int64") for name in ("key", "stream", "index")]
    assert ad.compile(scalars, ad.Array(make("philox", [x.node for x in scalars])))(*given) == _wide(*want[:2])


def _draws(key):
    return {
        "normal": ad.random.normal(key, (301,)),
        "normal64": ad.random.normal(key, (7, 9), "float64"),
        "uniform": ad.random.uniform(key, (3, 5, 4), -2, 3),
        "uniform64": ad.random.uniform(key, (33,), dtype="float64"),
        "bernoulli": ad.random.bernoulli(key, 0.3, (70,)),
        "categorical": ad.random.categorical(key, np.log(np.array([0.1, 0.2, 0.7], "f")), shape=(50,)),
        "randint": ad.random.randint(key, (40,), -3, 9),
        "split": ad.random.split(key, 3),
        "fold": ad.random.fold_in(key, 3),
        "scalar": ad.random.uniform(key),
        "nothing": ad.random.normal(key, (0, 3)),
    }


def test_compiled_and_interpreted_numbers_are_equal():
    want = compiled(_draws(ad.random.key(7)), backend="numpy")
    got = compiled(_draws(ad.random.key(7)))
    for name, x in want.items():
        y = got[name]
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        if x.dtype.kind == "f" and name.startswith("normal"):
            np.testing.assert_allclose(y, x, rtol=16 * np.finfo(x.dtype).eps, atol=8 * np.finfo(x.dtype).eps)
        elif name == "uniform":
            np.testing.assert_allclose(y, x, rtol=0, atol=2 * np.spacing(np.float32(3)))
        else:
            np.testing.assert_array_equal(y, x, err_msg=name)


def test_numbers_do_not_depend_on_threads():
    def draw(threads):
        key = ad.random.key(3)
        big = ad.random.normal(key, (300, 1000))
        return compiled([big, ad.random.randint(key, (200_000,), 0, 1000), big.sum(0)], threads=threads)

    for one, four in zip(draw(1), draw(4), strict=True):
        assert one.tobytes() == four.tobytes()


def test_every_draw_of_a_handle_differs_and_a_new_handle_begins_anew():
    first, second = ad.random.key(7), ad.random.key(7)
    a, b, c = (ad.random.uniform(k, (100,)) for k in (first, first, second))
    assert a.node is c.node and a.node is not b.node
    x, y = compiled([a, b])
    assert not np.isin(x, y).any()
    assert not np.isin(compiled(ad.random.uniform(ad.random.key(8), (100,))), x).any()
    # The element decides, not the shape around it.
    z = compiled(ad.random.uniform(ad.random.key(7), (3, 5)))
    np.testing.assert_array_equal(z.ravel(), x[:15])


def test_keys_as_inputs_and_variables():
    k = ad.input("k", (), "int64")
    f = ad.compile(k, ad.random.randint(k, (20,), 0, 10**9))
    want = compiled(ad.random.randint(ad.random.key(-5), (20,), 0, 10**9))
    np.testing.assert_array_equal(f(-5), want)
    assert (f(6) != want).all()
    own = ad.variable(7, name="key", dtype="int64")
    step = ad.compile([], ad.random.uniform(own, (50,)), updates={own: ad.random.fold_in(own, 0)})
    rows = np.stack([step() for _ in range(20)])
    assert len(np.unique(rows)) == rows.size
    own.value = 7
    np.testing.assert_array_equal(step(), rows[0])


def test_derived_keys():
    k = ad.random.key(1)
    children = ad.random.split(k, 4)
    folded = ad.random.fold_in(k, np.arange(4))
    again = ad.random.fold_in(k, 2)
    parts, others, one, drawn = compiled([children, folded, again, ad.random.randint(children[1], (4,), 0, 2**62)])
    assert (children.shape, children.dtype, again.shape) == ((4,), np.int64, ())
    assert len({*parts, *others, 1, *drawn}) == 13
    assert one == others[2]
    assert k.draws == 0


def test_run_time_extents():
    n = ad.Dim("n", min=0)
    x = ad.input("x", (n, 3))
    kept, noise = x * ad.random.bernoulli(ad.random.key(2), 0.5, x.shape), ad.random.normal(ad.random.key(2), (n,))
    f = ad.compile(x, [kept, noise])
    want = compiled(ad.random.bernoulli(ad.random.key(2), 0.5, (5, 3)))
    for rows in (0, 1, 5):
        kept, z = f(np.ones((rows, 3), "f"))
        np.testing.assert_array_equal(kept, want[:rows])
        assert z.shape == (rows,)


def test_draws_within_loops(run):
    key = ad.random.key(5)

    def body(total, x):
        noise = ad.random.uniform(key, (3,))
        return total + noise.sum(), (noise, x)

    def outer(c, _):
        _, inner = ad.scan(lambda s, _: (s, ad.random.randint(key, (), 0, 2**40)), 0.0, length=4)
        return c, inner

    _, (rows, _) = ad.scan(body, 0.0, ad.arange(6))
    _, (back, _) = ad.scan(body, 0.0, ad.arange(6), reverse=True)
    _, table = ad.scan(outer, 0, length=5)
    _, constant = ad.scan(lambda c, _: (c, rows), 0.0, length=2)
    for how in (compiled, run):
        a, b, t, c = how([rows, back, table, constant])
        assert len(np.unique(a)) == a.size and len(np.unique(t)) == 20
        assert not np.isin(a, b).any()  # another draw of the handle
        np.testing.assert_array_equal(c[0], c[1])
    np.testing.assert_array_equal(compiled(table), run(table))


def test_uniform():
    for dtype in ("float32", "float64"):
        u = compiled(ad.random.uniform(ad.random.key(0), (N,), dtype=dtype))
        assert u.dtype == dtype and u.min() >= 0 and u.max() < 1
        assert stats.kstest(u, "uniform").pvalue > 1e-3
        digits = u.astype("float64") * 2.0 ** (24 if dtype == "float32" else 53)
        np.testing.assert_array_equal(digits, np.floor(digits))
        assert abs(np.mean(digits % 2) - 0.5) < 5 / np.sqrt(N)  # the last digit is used
        assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 5 / np.sqrt(N)
    low, high = np.array([[0.0], [-3]], "f"), np.array([1.0, 4, 9], "f")
    v = compiled(ad.random.uniform(ad.random.key(0), (N, 2, 3), low, high))
    np.testing.assert_allclose(v.mean(0), (low + high) / 2, atol=5 * 12 / np.sqrt(12 * N))
    assert (v >= low).all() and (v < high).all()


def test_normal():
    for dtype in ("float32", "float64"):
        z = compiled(ad.random.normal(ad.random.key(1), (N,), dtype))
        assert z.dtype == dtype and np.isfinite(z).all()
        assert stats.kstest(z, "norm").pvalue > 1e-3
        moments = [z.mean(), z.var() - 1, stats.skew(z), stats.kurtosis(z)]
        assert (np.abs(moments) < 5 * np.sqrt(np.array([1, 2, 6, 24]) / N)).all(), moments
        assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 5 / np.sqrt(N)


@pytest.mark.parametrize("p", [0.0, 0.01, 0.3, 1.0])
def test_bernoulli(p):
    hits = compiled(ad.random.bernoulli(ad.random.key(2), p, (N,)))
    assert hits.dtype == bool
    assert abs(hits.mean() - p) <= 5 * np.sqrt(p * (1 - p) / N)
    each = compiled(ad.random.bernoulli(ad.random.key(2), np.array([0.0, 1.0, 0.0])))
    assert each.tolist() == [False, True, False]


def test_randint():
    k = ad.random.randint(ad.random.key(3), (N,), -3, 4)
    k = compiled(k)
    assert k.dtype == np.int64
    assert stats.chisquare(np.bincount(k + 3, minlength=7)).pvalue > 1e-3
    wide = compiled(ad.random.randint(ad.random.key(3), (N,), 0, 2**62))
    assert stats.kstest(wide / 2.0**62, "uniform").pvalue > 1e-3
    small = compiled(ad.random.randint(ad.random.key(3), (9, 2), 0, np.array([1, 256]), dtype="uint8"))
    assert small.dtype == np.uint8 and not small[:, 0].any() and small[:, 1].any()
    assert compiled(ad.random.randint(ad.random.key(3), (3,), 5, 5)).tolist() == [5, 5, 5]


def test_categorical():
    p = np.array([[0.5, 0.25, 0.2, 0.05], [0.01, 0, 0.09, 0.9]])
    with np.errstate(divide="ignore"):
        logits = np.log(p)
    for dtype in ("float32", "float64"):
        c = compiled(ad.random.categorical(ad.random.key(4), logits.astype(dtype), shape=(N, 2)))
        assert (c.shape, c.dtype) == ((N, 2), np.int64)
        counts = np.stack([np.bincount(column, minlength=4) for column in c.T])
        assert counts[1, 1] == 0
        assert stats.chisquare(counts[0], p[0] * N).pvalue > 1e-3
        assert stats.chisquare(counts[1][[0, 2, 3]], p[1][[0, 2, 3]] * N).pvalue > 1e-3
    turned = ad.random.categorical(ad.random.key(4), np.zeros((5, 3, 2), "f"), axis=1)
    assert turned.shape == (5, 2)
    assert set(compiled(turned).ravel()) <= {0, 1, 2}


def test_permutation():
    key = ad.random.key(8)
    whole, other = compiled([ad.random.permutation(key, 5000), ad.random.permutation(key, 5000)])
    assert whole.dtype == np.int64 and (whole != other).any()
    np.testing.assert_array_equal(np.sort(whole), np.arange(5000))
    assert abs(np.corrcoef(whole, np.arange(5000))[0, 1]) < 5 / np.sqrt(5000)
    n = ad.Dim("n", min=0)
    x = ad.input("x", (n, 2))
    f = ad.compile(x, [y := ad.random.permutation(key, x), ad.grad((y * y).sum(), x)])
    for rows in (0, 1, 7):
        a = np.arange(2.0 * rows, dtype="f").reshape(rows, 2)
        shuffled, gradient = f(a)
        assert sorted(map(tuple, shuffled)) == sorted(map(tuple, a))
        np.testing.assert_array_equal(gradient, 2 * a)
    # All orders of three are equally likely.
    keys = ad.random.split(ad.random.key(9), 6000)
    _, orders = ad.scan(lambda c, k: (c, ad.random.permutation(k, 3)), 0, keys)
    codes = compiled(orders) @ [9, 3, 1]
    assert stats.chisquare(np.unique(codes, return_counts=True)[1]).pvalue > 1e-3
    assert len(np.unique(codes)) == 6


def test_derivatives_pass_by_the_bits():
    key = ad.random.key(6)
    mean, scale, low = (ad.variable(np.float32(v), name=n) for n, v in [("mean", 1), ("scale", 2), ("low", 0.5)])
    z, u = ad.random.normal(key, (50,)), ad.random.uniform(ad.random.key(9), (50,), low, 2)
    y = (mean + scale * z).sum()
    base = ad.random.uniform(ad.random.key(9), (50,))
    grads = [*ad.grad(y, [mean, scale]), ad.grad(u.sum(), low), z, base]
    g_mean, g_scale, g_low, sample, base = compiled(grads)
    assert g_mean == 50
    np.testing.assert_allclose(g_scale, sample.sum(), rtol=1e-4)
    np.testing.assert_allclose(g_low, (1 - base).sum(), rtol=1e-5)


def test_a_value_computed_again_is_the_same():
    noise = ad.random.normal(ad.random.key(1), (64, 32))
    x = ad.input("x", (64, 32))
    loss = (ad.exp(x * noise).sum(1, keepdims=True) * noise).sum()
    value, gradient, drawn = ad.compile(x, [loss, ad.grad(loss, x), noise])(np.full((64, 32), 0.1, "f"))
    e = np.exp(0.1 * drawn.astype(float))
    np.testing.assert_allclose(value, (e.sum(1, keepdims=True) * drawn).sum(), rtol=1e-4)
    np.testing.assert_allclose(gradient, drawn.sum(1, keepdims=True) * e * drawn, rtol=1e-4, atol=1e-4)


def test_errors():
    key, x = ad.random.key(0), ad.input("x", (3,))
    for bad in (7, ad.constant(np.arange(2)), ad.constant(np.float32(1)), ad.constant(np.int32(1))):
        with pytest.raises(ad.DTypeError, match="normal: a key is a 0-d int64 array"):
            ad.random.normal(bad, (3,))
    with pytest.raises(ad.DTypeError, match="a seed is an int"):
        ad.random.key(1.5)
    with pytest.raises(ad.DTypeError, match="a seed is a 0-d integer"):
        ad.random.key(x)
    with pytest.raises(ad.DTypeError, match="gives floats, not int64"):
        ad.random.normal(key, (3,), "int64")
    with pytest.raises(ad.DTypeError, match="gives integers, not float32"):
        ad.random.randint(key, (3,), 0, 5, "float32")
    with pytest.raises(ad.DTypeError, match="bounds must be integers"):
        ad.random.randint(key, (3,), 0, 2.5)
    with pytest.raises(ad.ShapeError, match="does not broadcast to"):
        ad.random.bernoulli(key, x, (1,))
    with pytest.raises(ad.ShapeError, match="uniform"):
        ad.random.uniform(key, (4,), x, 1)
    for wrong in (ad.random.categorical, ad.random.permutation):
        with pytest.raises(ad.ShapeError, match="at least one axis"):
            wrong(key, 1.0)
    with pytest.raises(ad.ShapeError, match="categorical"):
        ad.random.categorical(key, np.zeros((2, 3), "f"), shape=(4,))
