"""Functions that rearrange, repeat and fill, against NumPy, and at extents known only by the call."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph.node import toposort

V = np.arange(5, dtype="f") - 2
F = np.arange(12, dtype="f").reshape(3, 4) - 5
T = np.arange(24, dtype="f").reshape(2, 3, 4)
ARRAYS = {"V": V, "F": F, "T": T, "one": np.ones((1, 1), "f"), "none": np.zeros((0, 3), "f")}


def same(name: str, *args: object, **options: object) -> tuple[object, object]:
    """A function of the same name in both packages."""
    return (
        lambda x: getattr(ad, name)(x, *args, **options),
        lambda x: getattr(np, name)(x, *args, **options),
    )


CASES = [
    *((f"diag {k}", *same("diag", k), a) for a, k in product("VF", (-6, -2, 0, 1, 3, 5))),
    *((f"diagonal {k}", *same("diagonal", k), "F") for k in (-3, -1, 0, 2, 4)),
    ("diagonal of axes", *same("diagonal", 1, 2, 0), "T"),
    ("diagonal of the last axes", *same("diagonal", -1, axis1=-2, axis2=-1), "T"),
    *((f"{f} {k}", *same(f, k), a) for f, a, k in product(("tril", "triu"), "FT", (-4, -1, 0, 1, 4))),
    ("repeat", *same("repeat", 3), "F"),
    ("repeat axis", *same("repeat", 2, axis=1), "F"),
    ("repeat each", *same("repeat", [2, 0, 1], axis=0), "F"),
    ("repeat one count", *same("repeat", np.array([2]), axis=-2), "T"),
    ("repeat none", *same("repeat", 0, axis=0), "F"),
    ("repeat nothing", *same("repeat", [], axis=0), "none"),
    *(
        (f"tile {r}", *same("tile", r), a)
        for a, r in product(("V", "F", "T", "none"), (2, 0, (2, 1), (3, 1, 2), (), (2, 1, 1, 2)))
    ),
    *(
        (f"roll {s} {a}", *same("roll", s, a), "T")
        for s, a in ((1, None), (-5, 2), (0, 0), ((1, 2), (0, 1)), (2, (1, 1)))
    ),
    ("roll nothing", *same("roll", 3, 0), "none"),
    *((f"flip {a}", *same("flip", a), "T") for a in (None, 0, (0, -1))),
    *((f"swapaxes {a}", *same("swapaxes", *a), "T") for a in ((0, 1), (-1, 0), (1, 1))),
    ("ravel", *same("ravel"), "T"),
    ("ravel nothing", *same("ravel"), "none"),
    ("flatten", lambda x: x.flatten(), lambda x: x.flatten(), "F"),
    ("method ravel", lambda x: x.ravel(), lambda x: x.ravel(), "F"),
    ("method swapaxes", lambda x: x.swapaxes(0, -1), lambda x: x.swapaxes(0, -1), "T"),
    ("expand_dims", lambda x: ad.expand_dims(x), lambda x: x[None], "F"),
    ("T and mT", lambda x: x.T + x.mT.T.mT, lambda x: 2 * x.T, "F"),
    ("reshape copy", lambda x: x.reshape(4, -1, copy=True), lambda x: x.reshape(4, -1), "T"),
    ("reshape nothing", lambda x: ad.reshape(x, (-1, 3), copy=False), lambda x: x.reshape(-1, 3), "none"),
    ("squeeze", lambda x: ad.squeeze(x, 0), lambda x: x.squeeze(0), "one"),
    ("moveaxis", *same("moveaxis", (0, 1), (-1, -2)), "T"),
    *(
        (f"pad {m} {w}", *same("pad", w, mode=m), a)
        for a, m, w in product("VF", ("edge", "reflect", "symmetric", "wrap"), (0, 1, (2, 1), (0, 3), 9))
    ),
    ("pad positional mode", *same("pad", 2, "edge"), "F"),
    ("pad one pair", *same("pad", ((1, 2),)), "T"),
    ("pad array", *same("pad", np.array([[1, 0], [0, 2]]), constant_values=7), "F"),
    ("pad nothing", *same("pad", 1), "none"),
    ("pad edge of one", *same("pad", 2, mode="edge"), "one"),
    ("slices", lambda x: x[..., ::-2, None, 3:0:-1], lambda x: x[..., ::-2, None, 3:0:-1], "T"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {c[3]}")
def test_against_numpy(case, run):
    _, fn, reference, name = case
    a = ARRAYS[name]
    for dtype in ("float32", "int64", "bool"):
        x = ad.input("x", a.shape, dtype)
        y, expected = fn(x), reference(a.astype(dtype))
        if y.dtype != dtype:
            assert dtype == "bool"  # what is added
            continue
        assert y.shape == expected.shape
        np.testing.assert_array_equal(run(y, {x: a.astype(dtype)}), expected)


def test_parts(run):
    x = ad.input("x", F.shape)
    for many, axis in ((2, 1), (3, 0), (1, 0), ([1], 0), ([1, 3], 1), ([3, 1], 1), ([], 1), (np.array([2, 9]), -1)):
        parts, expected = ad.split(x, many, axis), np.split(F, many, axis)
        assert [p.shape for p in parts] == [e.shape for e in expected]
        for got, want in zip(run(parts, {x: F}), expected, strict=True):
            np.testing.assert_array_equal(got, want)
    for axis in (0, 1, -1):
        parts = ad.unstack(x, axis=axis)
        assert isinstance(parts, tuple)
        np.testing.assert_array_equal(run(ad.stack(parts, axis), {x: F}), F)
    assert ad.unstack(ad.input("e", (0, 2))) == ()


def test_several_arrays(run):
    x, y, z = ad.input("x", (3, 1)), ad.input("y", (4,), "int64"), ad.input("z")
    a, c, d = F[:, :1], np.arange(4), np.float32(7)
    values = {x: a, y: c, z: d}
    for got, want in zip(run(ad.broadcast_arrays(x, y, z), values), np.broadcast_arrays(a, c, d), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    assert ad.broadcast_arrays() == [] and ad.meshgrid() == []
    for indexing in ("xy", "ij"):
        for arrays, known in (([x[:, 0]], [a[:, 0]]), ([x[:, 0], y], [a[:, 0], c]), ([y, z, x[:, 0]], [c, d, a[:, 0]])):
            grid, expected = ad.meshgrid(*arrays, indexing=indexing), np.meshgrid(*known, indexing=indexing)
            for got, want in zip(run(grid, values), expected, strict=True):
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got, want)


CREATED = [
    (lambda: ad.arange(5), np.arange(5)),
    (lambda: ad.arange(2, 11, 3), np.arange(2, 11, 3)),
    (lambda: ad.arange(3, 3), np.arange(3, 3)),
    (lambda: ad.arange(5, 0), np.arange(5, 0)),
    (lambda: ad.arange(0, -7, -2, dtype="int32"), np.arange(0, -7, -2, "i4")),
    (lambda: ad.arange(0, 1, 0.1), np.arange(0, 1, 0.1).astype("f")),
    (lambda: ad.arange(1.5, dtype="float64"), np.arange(1.5)),
    (lambda: ad.arange(2.0, -3.0, -0.75), np.arange(2.0, -3.0, -0.75).astype("f")),
    (lambda: ad.arange(np.int64(4)), np.arange(4)),
    (lambda: ad.linspace(0, 1), np.linspace(0, 1).astype("f")),
    (lambda: ad.linspace(-2, 5, 7), np.linspace(-2, 5, 7).astype("f")),
    (lambda: ad.linspace(3.0, 3.3, 10, endpoint=False, dtype="float64"), np.linspace(3.0, 3.3, 10, endpoint=False)),
    (lambda: ad.linspace(1, 9, 1), np.linspace(1, 9, 1).astype("f")),
    (lambda: ad.linspace(1, 9, 0), np.linspace(1, 9, 0).astype("f")),
    (lambda: ad.linspace(0, ad.constant(np.float64(0.7)), 8), np.linspace(0, 0.7, 8)),
    (lambda: ad.linspace(ad.constant(np.int64(1)), 2, 3), np.linspace(1, 2, 3).astype("f")),
    (lambda: ad.eye(3), np.eye(3, dtype="f")),
    (lambda: ad.eye(2, 4, 1), np.eye(2, 4, 1, dtype="f")),
    (lambda: ad.eye(3, 2, k=-1, dtype="int64"), np.eye(3, 2, -1, dtype="i8")),
    (lambda: ad.eye(2, k=5, dtype="bool"), np.eye(2, k=5, dtype=bool)),
    (lambda: ad.zeros((2, 0)), np.zeros((2, 0), "f")),
    (lambda: ad.full((2, 2), True), np.full((2, 2), True)),
    (lambda: ad.full(3, np.nan, "float64"), np.full(3, np.nan)),
    (lambda: ad.full_like(ad.constant(F), 2, dtype="uint8"), np.full_like(F, 2, dtype="u1")),
]


@pytest.mark.parametrize(("make", "expected"), CREATED)
def test_created(make, expected, run):
    y = make()
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(y), expected, rtol=1e-15 if expected.dtype == "f8" else 1e-7, atol=1e-16)
    if expected.size and expected.dtype.kind != "f":
        np.testing.assert_array_equal(run(y), expected)


def test_run_time_extents(run):
    n, m = ad.Dim("n", min=2), ad.Dim("m")
    x, v = ad.input("x", (n, 3)), ad.input("v", (n,))
    square = ad.input("square", (n, n))
    a, q, u = np.arange(15, dtype="f").reshape(5, 3), np.arange(25, dtype="f").reshape(5, 5), np.arange(5, dtype="f")
    cases = [
        (ad.repeat(x, 2, 0), np.repeat(a, 2, 0)),
        (ad.repeat(v, m), np.repeat(u, 4)),
        (ad.tile(x, (m, 2)), np.tile(a, (4, 2))),
        (ad.pad(x, ((1, m), (0, 2)), constant_values=3), np.pad(a, ((1, 4), (0, 2)), constant_values=3)),
        (ad.pad(x, ((m, 1), (0, 0)), "edge"), np.pad(a, ((4, 1), (0, 0)), "edge")),
        (ad.pad(v, (1, 1), "reflect"), np.pad(u, 1, "reflect")),
        (ad.pad(v, (2, 1), "symmetric"), np.pad(u, (2, 1), "symmetric")),
        (ad.pad(x, ((0, 2), (0, 0)), "wrap"), np.pad(a, ((0, 2), (0, 0)), "wrap")),
        (ad.roll(x, 2, 0), np.roll(a, 2, 0)),
        (ad.roll(v, -1), np.roll(u, -1)),
        (ad.diag(v, 1), np.diag(u, 1)),
        (ad.diag(square, -2), np.diag(q, -2)),
        (ad.diagonal(square), np.diagonal(q)),
        (ad.diagonal(ad.input("tall", (ad.Dim("t", min=3), 3))), np.diagonal(a)),
        (ad.tril(square, -1), np.tril(q, -1)),
        (ad.unstack(x, 1)[2], a[:, 2]),
        (ad.split(x, [1, 2])[2], a[2:]),
        (ad.split(ad.concat([x, x]), 2)[1], a),
        (ad.meshgrid(v, ad.arange(m))[0], np.meshgrid(u, np.arange(4))[0]),
        (ad.linspace(0, 1, m), np.linspace(0, 1, 4)),
        (ad.linspace(0, 1, n, endpoint=False), np.linspace(0, 1, 5, endpoint=False)),
        (ad.eye(n, m, 1), np.eye(5, 4, 1)),
        (ad.arange(m, n), np.arange(4, 5)),
        (x.reshape(-1), a.ravel()),
        (x.reshape(3, n), a.reshape(3, 5)),
        (ad.zeros((n, 2)).sum(), 0),
        (ad.moveaxis(x, 0, 1)[..., ::-2], a.T[:, ::-2]),
    ]
    for y, expected in cases:
        leaves = {x: a, v: u, square: q}
        tall = {ad.Array(k): a for k in toposort([y.node]) if k.op.name == "input" and k["token"].name == "tall"}
        dims = {n: 5, m: 4, **{h.shape[0]: 5 for h in tall}}
        np.testing.assert_allclose(run(y, {**leaves, **tall}, dims), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda x, r: ad.unstack(r), "run-time extent n; use ad.scan"),
        (lambda x, r: ad.split(x, 2), "does not divide into 2"),
        (lambda x, r: ad.split(x, 0), "positive number"),
        (lambda x, r: ad.repeat(x, [1, 2], 0), "2 repeats for axis 0 of extent 3"),
        (lambda x, r: ad.repeat(x, -1), "at least 0"),
        (lambda x, r: ad.repeat(x, 1.5), "at least 0"),
        (lambda x, r: ad.pad(x, 1, "mirror"), 'mode is "constant", "edge", "reflect"'),
        (lambda x, r: ad.pad(x[:0], 1, "edge"), "may be empty"),
        (lambda x, r: ad.pad(r, 1, "reflect"), "declare ad.Dim"),
        (lambda x, r: ad.pad(x, -1), "must not be negative"),
        (lambda x, r: ad.pad(x, ((1, 1),) * 3), "a pair for each of 2 axes"),
        (lambda x, r: ad.roll(r, 3, 0), "declare ad.Dim"),
        (lambda x, r: ad.roll(x, (1, 2), 0), "2 shifts for 1 axes"),
        (lambda x, r: ad.diag(x[None]), "1 or 2 axes"),
        (lambda x, r: ad.diagonal(x[0]), "at least 2 axes"),
        (lambda x, r: ad.diagonal(x, axis1=0, axis2=0), "two axes are needed"),
        (lambda x, r: ad.diagonal(r), "cannot be told before a call"),
        (lambda x, r: ad.diagonal(r @ r.T, 2), "declare ad.Dim"),
        (lambda x, r: ad.tril(x[0]), "tril: at least 2 axes"),
        (lambda x, r: ad.stack([]), "at least one array"),
        (lambda x, r: ad.concat([]), "at least one array"),
        (lambda x, r: ad.arange(0, 4, 0), "other than 0"),
        (lambda x, r: ad.arange(0, ad.Dim("n"), 2), "step of 1"),
        (lambda x, r: ad.linspace(x, 1, 3), "must be scalars"),
        (lambda x, r: ad.meshgrid(x), "rank 1"),
        (lambda x, r: ad.meshgrid(x[0], indexing="rows"), 'indexing is "xy" or "ij"'),
        (lambda x, r: ad.swapaxes(x, 0, 2), "axis 2 is out of range"),
        (lambda x, r: ad.broadcast_arrays(x, x[:2]), "broadcast_arrays"),
        (lambda x, r: ad.tile(x, -1), "extent"),
        (lambda x, r: ad.full((2,), x), "must be a scalar"),
    ],
)
def test_errors(use, text):
    with pytest.raises(ad.ShapeError) as caught:
        use(ad.input("x", (3, 4)), ad.input("r", (ad.Dim("n"), 3)))
    assert text in str(caught.value)


def test_repeats_that_are_data_are_refused():
    with pytest.raises(ad.DTypeError, match="unknown size"):
        ad.repeat(ad.input("x", (3,)), ad.input("n", (3,), "int64"))
