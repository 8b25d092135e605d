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
    np.zeros(0, "i8"),
    (Ellipsis, np.array(2)),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_against_numpy(key, run):
    x = ad.input("x", A.shape)
    y, expected = x[key], A[key]
    assert y.shape == expected.shape
    np.testing.assert_array_equal(run(y, {x: A}), expected)


def test_symbolic_indices(run):
    x, i = ad.input("x", A.shape), ad.input("i", (2, 2), "int32")
    np.testing.assert_array_equal(run(x[:, i], {x: A, i: J}), A[:, J])
    np.testing.assert_array_equal(run(ad.take(x, i, -1), {x: A, i: J}), np.take(A, J, -1))
    k = ad.input("k", (), "uint8")
    np.testing.assert_array_equal(run(x[k], {x: A, k: 2}), A[2])
    with pytest.raises(ad.ExecutionError, match=r"index 9 .* extent 3 .*test_indexing.py"):
        run(x[i], {x: A, i: np.full((2, 2), 9)})


def test_equal_selections_are_one_node():
    x = ad.input("x", (4, 5))
    assert x[1:4].node is x[1:].node is x[-3:100].node
    assert x[:].node is x[...].node is x.node
    assert x[0].node is x[-4].node
