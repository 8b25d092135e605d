"""Indexing against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad

A = np.arange(60, dtype="f").reshape(3, 4, 5)
J = np.array([[0, 2], [1, -1]])

KEYS = [
    0,
    -1,
    np.int64(1),
    (1, 2, 3),
    slice(None),
    slice(1, None),
    slice(None, None, 2),
    slice(None, None, -1),
    slice(5, 0, -2),
    slice(2, 1),
    slice(-100, 100),
    (Ellipsis, 1),
    (0, Ellipsis),
    (slice(1, 3), slice(None, None, -2)),
    (None, Ellipsis, None, 2),
    (slice(None), None, 1),
    Ellipsis,
    (),
    J,
    [2, 0],
    (slice(None), J),
    (0, slice(None), [1, 3]),
    (slice(None), 1, [0, 4]),
    ([0, 2], slice(None), 1),
    ([0, 2], [1, 3]),
    (slice(None), J, J),
    (slice(None, None, 2), J, [0, 1]),
    ([0, 2], slice(None), [1, -1]),
    (J, slice(1, 3), J),
    (J, slice(None, None, -1), [[3], [0]]),
    (0, slice(None), J),
    (J, None, J),
    (J, None, slice(None), 3),
    ([1, 0], Ellipsis, None, [4, 4]),
    ((0, 2), 1, slice(None, None, 3)),
    (None, [2, 1], Ellipsis, [0, -5]),
    (np.zeros((2, 0), "i4"), slice(None), [3]),
    np.zeros(0, "i8"),
    (Ellipsis, np.array(2)),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_against_numpy(key, run):
    x = ad.input("x", A.shape)
    y, expected = x[key], A[key]
    assert y.shape == expected.shape
    np.testing.assert_array_equal(run(y, {x: A}), expected)


def random_key(rng, shape):
    """A key of ints, slices, new axes, Ellipsis and index arrays that fits the shape."""
    index_shape = rng.choice(np.array([(), (3,), (2, 1), (2, 3)], object))
    key = []
    for n in shape:
        if rng.random() < 0.15:
            key.append(None)
        kind = rng.integers(4)
        if kind == 0:
            key.append(int(rng.integers(-n, n)))
        elif kind == 1:
            bounds = [None if rng.random() < 0.4 else int(rng.integers(-n - 1, n + 2)) for _ in range(2)]
            key.append(slice(*bounds, int(rng.choice([1, 1, 2, -1, -2]))))
        elif kind == 2:
            key.append(rng.integers(-n, n, index_shape[rng.integers(len(index_shape) + 1) :]))
        else:
            key.append(slice(None))
    used = int(rng.integers(len(key) + 1))
    if rng.random() < 0.3:
        key = [*key[:used], Ellipsis] if rng.random() < 0.5 else [Ellipsis, *key[used:]]
    return tuple(key)


@pytest.mark.parametrize("seed", range(60))
def test_random_keys_select_and_update_as_numpy_does(seed, run):
    rng = np.random.default_rng(seed)
    key = random_key(rng, A.shape)
    expected = A[key]
    values = rng.integers(-50, 50, expected.shape[int(rng.integers(expected.ndim + 1)) :]).astype("f")
    x, v = ad.input("x", A.shape), ad.input("v", values.shape)
    results = [x[key], x.at[key].set(v), x.at[key].add(v), x.at[key].multiply(v), x.at[key].max(v), x.at[key].min(v)]
    got = run(results, {x: A, v: values})
    np.testing.assert_array_equal(got[0], expected, err_msg=str(key))
    changed = A.copy()
    changed[key] = values
    np.testing.assert_array_equal(got[1], changed, err_msg=str(key))
    for result, ufunc in zip(got[2:], (np.add, np.multiply, np.maximum, np.minimum), strict=True):
        changed = A.copy()
        ufunc.at(changed, key, values)
        np.testing.assert_allclose(result, changed, rtol=1e-6, err_msg=f"{ufunc} {key}")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_updates_keep_the_dtype_and_take_duplicates_in_order(dtype, run):
    rng = np.random.default_rng(3)
    start, values = rng.integers(0, 2 if dtype == "bool" else 200, (5,)), rng.integers(0, 2, (7,))
    start, values = start.astype(dtype), values.astype(dtype)
    k = np.array([4, 0, 0, -1, 2, 0, 4])
    x, v, i = ad.input("x", (5,), dtype), ad.input("v", (7,), dtype), ad.input("i", (7,), "int32")
    place = x.at[i]
    cases = [(place.set(v), None), (place.max(v), np.maximum), (place.min(v), np.minimum)]
    if dtype != "bool":
        cases += [(place.add(v), np.add), (place.multiply(v), np.multiply)]
    for y, ufunc in cases:
        assert y.dtype == dtype and y.shape == (5,)
        expected = start.copy()
        if ufunc is None:
            expected[k] = values
        else:
            ufunc.at(expected, k, values)
        np.testing.assert_array_equal(run(y, {x: start, v: values, i: k}), expected)


def test_extreme_updates(run):
    inf, nan = np.inf, np.nan
    start = np.array([nan, 1, -inf, inf, -0.0, 2], "f")
    values = np.array([5, nan, -inf, 7, 8], "f")
    k = np.array([0, 1, 2, 3, 3])
    x, v = ad.input("x", (6,)), ad.input("v", (5,))
    got = run([x.at[k].max(v), x.at[k].min(v), x.at[k].set(v)], {x: start, v: values})
    for result, ufunc in zip(got, (np.maximum, np.minimum), strict=False):
        expected = start.copy()
        with np.errstate(invalid="ignore"):
            ufunc.at(expected, k, values)
        np.testing.assert_array_equal(result, expected)
        assert np.signbit(result[4])
    np.testing.assert_array_equal(got[2], np.array([5, nan, -inf, 8, -0.0, 2], "f"))


def test_which_update_gets_the_cotangent(run):
    """The last one that is set; at ties of an extremum x, then the first."""
    x, v = ad.input("x", (4,)), ad.input("v", (5,))
    k = np.array([1, 1, 2, 1, 2])
    start, values = np.array([9, 5, 3, 7], "f"), np.array([5, 6, 4, 6, 4], "f")
    weight = np.array([1, 10, 100, 1000], "f")

    def slopes(y):
        return [g.tolist() for g in run(ad.grad((y * weight).sum(), [x, v]), {x: start, v: values})]

    assert slopes(x.at[k].set(v)) == [[1, 0, 0, 1000], [0, 0, 0, 10, 100]]
    assert slopes(x.at[k].add(v)) == [[1, 10, 100, 1000], [10, 10, 100, 10, 100]]
    assert slopes(x.at[k].max(v)) == [[1, 0, 0, 1000], [0, 10, 100, 0, 0]]
    assert slopes(x.at[k].min(v)) == [[1, 10, 100, 1000], [0, 0, 0, 0, 0]]
    assert slopes(x.at[k].multiply(0 * v)) == [[1, 0, 0, 1000], [0, 0, 0, 0, 0]]
    assert slopes(x.at[1:3].max(5)) == [[1, 10, 0, 1000], [0, 0, 0, 0, 0]]
    start[:] = -np.inf
    assert slopes(x.at[k].max(v - np.inf)) == [[1, 10, 100, 1000], [0, 0, 0, 0, 0]]


def test_refused_updates():
    x, n = ad.input("x", (3, 4)), ad.input("n", (4,), "int64")
    with pytest.raises(ad.DTypeError, match="values of float32 do not fit int64; use astype"):
        n.at[0].set(x[0, 0])
    with pytest.raises(ad.DTypeError, match="float"):
        n.at[0].add(0.5)
    with pytest.raises(ad.DTypeError, match="use max"):
        (x > 0).at[0].add(True)
    with pytest.raises(ad.DTypeError, match="do not fit bool"):
        (x > 0).at[0].max(2)
    with pytest.raises(ad.ShapeError, match="does not broadcast to the"):
        x.at[0].set(x)
    with pytest.raises(ad.ShapeError, match="index 7 is out of range for axis 1 of extent 4"):
        x.at[:, [7]].set(0)
    with pytest.raises(ad.SymbolicError, match=r"ad\.where"):
        x.at[x > 0].set(0)
    with pytest.raises(ad.SymbolicError, match=r"x\.at"):
        x[0] = 1


def test_updates_of_nothing():
    x = ad.input("x", (3, 4))
    assert x.at[5:].set(1) is x and x.at[:, np.zeros(0, int)].add(1) is x
    assert ad.input("e", (0, 4)).at[:, 1].max(1).shape == (0, 4)


def test_take_along_axis(run):
    rng = np.random.default_rng(1)
    a = rng.normal(size=(3, 4, 5)).astype("f")
    x = ad.input("x", a.shape)
    shapes = [(0, (2, 4, 5)), (1, (3, 6, 5)), (2, (3, 4, 1)), (-1, (1, 1, 7)), (1, (1, 2, 1)), (0, (1, 4, 1))]
    for axis, shape in shapes:
        n = a.shape[axis]
        k = rng.integers(-n, n, shape)
        i = ad.input("i", shape, "int64")
        y = ad.take_along_axis(x, i, axis)
        expected = np.take_along_axis(a, k, axis)
        assert y.shape == expected.shape
        np.testing.assert_array_equal(run(y, {x: a, i: k}), expected)
    order = np.argsort(a, axis=1)
    np.testing.assert_array_equal(run(ad.take_along_axis(x, order, 1), {x: a}), np.sort(a, 1))
    np.testing.assert_array_equal(run(ad.take_along_axis(x, [5, -1], None), {x: a}), a.reshape(-1)[[5, -1]])
    np.testing.assert_array_equal(run(ad.take(x, [5, -1], None), {x: a}), a.reshape(-1)[[5, -1]])
    stretched = ad.take_along_axis(x[:, :1], np.full((1, 4, 2), 3), 2)
    np.testing.assert_array_equal(run(stretched, {x: a}), np.repeat(np.repeat(a[:, :1, 3:4], 4, 1), 2, 2))
    with pytest.raises(ad.ShapeError, match="rank 1"):
        ad.take_along_axis(x, [0], 1)
    with pytest.raises(ad.ShapeError, match="index 5"):
        ad.take_along_axis(x, np.full((3, 4, 1), 5))
    with pytest.raises(ad.ExecutionError, match=r"take_along_axis: .* got 5, bound 5"):
        run(ad.take_along_axis(x, i := ad.input("i", (1, 1, 1), "int64")), {x: a, i: np.full((1, 1, 1), 5)})


def test_segments(run):
    data, ids = np.array([[1, 5], [2, -3], [7, 7], [4, 0]], "f"), np.array([2, 0, 2, -3])
    x, s = ad.input("x", (4, 2)), ad.input("s", (4,), "int32")
    inf = np.inf
    expected = [
        [[6, -3], [0, 0], [8, 12], [0, 0]],
        [[8, 0], [1, 1], [7, 35], [1, 1]],
        [[4, 0], [-inf, -inf], [7, 7], [-inf, -inf]],
        [[2, -3], [inf, inf], [1, 5], [inf, inf]],
    ]
    ids = np.where(ids == -3, 0, ids)
    functions = [ad.segment_sum, ad.segment_prod, ad.segment_max, ad.segment_min]
    for known in (s, ids):
        got = run([f(x, known, 4) for f in functions], {x: data, s: ids})
        np.testing.assert_array_equal(got, expected)
    whole = run([f(x > 0, ids, 4) for f in functions], {x: data})
    np.testing.assert_array_equal(whole[0], [[2, 0], [0, 0], [2, 2], [0, 0]])
    assert [w.dtype for w in whole] == [np.int64, np.int64, bool, bool]
    np.testing.assert_array_equal(whole[2], [[1, 0], [0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(whole[3], [[1, 0], [1, 1], [1, 1], [1, 1]])
    square = run(ad.segment_sum(x, ad.constant(np.array([[0, 1], [1, -1], [0, 0], [2, 2]])), 3), {x: data})
    np.testing.assert_array_equal(square, [15, 7, 1])
    n = ad.Dim("n")
    assert ad.segment_sum(x, s, n).shape == (n, 2) and ad.segment_sum(x, s, "n").shape == (n, 2)
    with pytest.raises(ad.ShapeError, match="index 4 is out of range for segments of extent 4"):
        ad.segment_sum(x, [0, 1, 2, 4], 4)
    with pytest.raises(ad.ShapeError, match="shape of leading axes"):
        ad.segment_sum(x, [0, 1], 4)
    with pytest.raises(ad.ExecutionError, match=r"segment_sum: segments of segment_ids: .* got 9, bound 3"):
        run(ad.segment_sum(x, s, 3), {x: data, s: np.full(4, 9)})


def test_indices_and_updates_of_run_time_extents(run):
    n, m = ad.Dim("n", min=0), ad.Dim("m", min=0)
    x, i, v = ad.input("x", (n, 3, m)), ad.input("i", ("k",), "int64"), ad.input("v", ("k", 3))
    y = x.at[i, :, i].set(v)
    a, k = np.arange(60, dtype="f").reshape(4, 3, 5), np.array([3, 0, -4])
    w = -np.arange(9, dtype="f").reshape(3, 3)
    expected = a.copy()
    expected[k, :, k] = w
    dims = {n: 4, m: 5, ad.Dim("k"): 3}
    np.testing.assert_array_equal(run([x[i, :, i], y][0], {x: a, i: k, v: w}, dims), a[k, :, k])
    np.testing.assert_array_equal(run(y, {x: a, i: k, v: w}, dims), expected)
    none = ad.input("none", (ad.Dim("z", min=0),), "int64")
    np.testing.assert_array_equal(
        run(x.at[none].set(5), {x: a, none: np.zeros(0, int)}, {**dims, none.shape[0]: 0}), a
    )
    b, j = a.transpose(1, 0, 2), ad.input("j", (n, 2), "int64")
    z = ad.input("z", (3, n, m))
    along = ad.take_along_axis(z, j[None], 2)
    at = np.array([[0, 4], [1, 1], [-1, 2], [3, 3]])
    np.testing.assert_array_equal(run(along, {z: b, j: at}, dims), np.take_along_axis(b, at[None], 2))


def test_symbolic_indices(run):
    x, i = ad.input("x", A.shape), ad.input("i", (2, 2), "int32")
    np.testing.assert_array_equal(run(x[:, i], {x: A, i: J}), A[:, J])
    np.testing.assert_array_equal(run(ad.take(x, i, -1), {x: A, i: J}), np.take(A, J, -1))
    k = ad.input("k", (), "uint8")
    np.testing.assert_array_equal(run(x[k], {x: A, k: 2}), A[2])
    with pytest.raises(ad.ExecutionError, match=r"(?s)got 9, bound 3.*test_indexing.py"):
        run(x[i], {x: A, i: np.full((2, 2), 9)})


def test_equal_selections_are_one_node():
    x = ad.input("x", (4, 5))
    assert x[1:4].node is x[1:].node is x[-3:100].node
    assert x[:].node is x[...].node is x.node
    assert x[0].node is x[-4].node
