"""Index arrays, updates at indices and segments: compiled against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program

# Keys for an array [3, 4, 19]; "i" and "j" stand for index arrays of the call, of shapes [2, 1] and [3].
KEYS: list[Any] = [
    ("i", slice(None), "j"),
    (slice(None), "i", "j"),
    ("i", slice(1, 3), slice(None, None, -3)),
    (slice(None), slice(None), "j"),
    ("j", None, Ellipsis, "i"),
    (1, slice(None, None, 2), "j"),
    (slice(None), "j"),
    (slice(None, None, -1), 2, slice(None, 7)),
    ([2, 0, 2], slice(None), [[1], [-1]]),
    ("j", "j", "j"),
]
SHAPE = (3, 4, 19)
INT, FLOATS = ["int32", "int64", "uint8"], ["float32", "float64"]


def check(inputs: list[ad.Array], outputs: list[ad.Array], *arrays: Any, dims: Any = None) -> list[Any]:
    program = Program("f", tuple(x.node for x in inputs), tuple(y.node for y in dict.fromkeys(outputs)))
    return oracle.check(program, {x.node: a for x, a in zip(inputs, arrays, strict=True)}, dims)


def updates(x: ad.Array, key: Any, v: Any) -> list[ad.Array]:
    place = x.at[key]
    found = [place.set(v), place.max(v), place.min(v)]
    return found if x.dtype == bool else [*found, place.add(v), place.multiply(v)]


@pytest.mark.parametrize("dtype", [*FLOATS, *INT, "bool"])
def test_every_kind_of_key(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, i, j = ad.input("x", SHAPE, dtype), ad.input("i", (2, 1), "int64"), ad.input("j", (3,), "int32")
    inputs, outputs = [x, i, j], []
    arrays = [rng.integers(0, 5, SHAPE).astype(dtype), np.array([[1], [-3]]), np.array([2, 0, -1], np.int32)]
    for key in KEYS:
        names = {"i": i, "j": j}
        own = tuple(names[k] if isinstance(k, str) else k for k in key)
        part = x[own]
        v = ad.input(f"v{len(inputs)}", part.shape, dtype)
        inputs.append(v)
        arrays.append(rng.integers(0, 3, part.shape).astype(dtype))
        outputs += [part, *updates(x, own, v), x.at[own].set(v[..., :1])]
        if dtype in FLOATS:
            for y in updates(x, own, v):
                outputs += ad.grad((y * y).sum(), [x, v])
    check(inputs, outputs, *arrays)


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("n", [1, 2, 35])
def test_run_time_extents(count: int, n: int) -> None:
    rng = np.random.default_rng(1)
    rows, some = ad.Dim("rows"), ad.Dim("some", min=0)
    x, k, v = ad.input("x", (rows, 5, rows)), ad.input("k", (some,), "int64"), ad.input("v", (some, 5))
    outputs = [x[k, :, k], ad.segment_sum(v, k, rows), ad.segment_max(v, k, rows), ad.segment_prod(v, k, rows)]
    outputs += [ad.take_along_axis(v, ad.argmax(v, axis=1, keepdims=True), 1)]
    for y in updates(x, (k, slice(None), k), v):
        outputs += [y, *ad.grad((y * y).sum(), [x, v])]
    a = rng.normal(size=(n, 5, n)).astype("f")
    check(
        [x, k, v], outputs, a, rng.integers(-n, n, count), rng.normal(size=(count, 5)).astype("f"),
        dims={rows: n, some: count},
    )  # fmt: skip


def test_special_values_and_duplicates() -> None:
    inf, nan = np.inf, np.nan
    values = np.array([nan, 1, -inf, inf, -0.0, 0.0, 2, 2, nan, -1, 0, 0], "f")
    x, v, k = ad.input("x", (6,)), ad.input("v", (12,)), ad.input("k", (12,), "int64")
    outputs = updates(x, k, v)
    outputs += [f(v, k, 7) for f in (ad.segment_max, ad.segment_min)]
    for y in (*updates(x, k, v)[:3], outputs[-1]):
        outputs += ad.grad((ad.where(ad.isfinite(y), y, 0.0) * ad.arange(1, y.size + 1)).sum(), [x, v])
    start = np.array([nan, 0, -inf, inf, -0.0, 5], "f")
    check([x, v, k], outputs, start, values, np.array([0, 1, 2, 3, 3, 3, 4, 4, 1, 2, 5, 5]))


def test_scalars_and_nothing() -> None:
    x, k, none = ad.input("x", ()), ad.input("k", (), "int64"), ad.input("none", (0, 4))
    row = ad.input("row", (4,))
    outputs = [
        x[None], x[()], x.at[()].set(3), x.at[None].add(2), x[None][k], row[k], *updates(row, k, x),
        *ad.grad((row.at[k].set(x) ** 2).sum(), [row, x]), none[:, k], none.at[:, k].add(1),
        ad.take_along_axis(none, np.zeros((0, 2), int), 1), row[np.zeros((2, 0), int)],
        ad.segment_sum(none, np.zeros(0, int), 3), ad.segment_min(none, np.zeros(0, int), 3),
    ]  # fmt: skip
    check([x, k, none, row], outputs, np.float32(2), np.int64(0), np.zeros((0, 4), "f"), np.arange(4, dtype="f"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_take_along_axis(axis: int) -> None:
    rng = np.random.default_rng(axis)
    x, n = ad.input("x", SHAPE, "float64"), SHAPE[axis]
    inputs, arrays, outputs = [x], [rng.normal(size=SHAPE)], []
    for shape in (SHAPE, (1, 1, 1), *(tuple(5 if a == axis else m for a, m in enumerate(s)) for s in (
        SHAPE, (3, 1, 1), (1, 4, 1), (1, 1, 19), (3, 1, 19)))):  # fmt: skip
        i = ad.input(f"i{len(inputs)}", shape, "int64")
        inputs.append(i)
        arrays.append(rng.integers(-n, n, shape))
        y = ad.take_along_axis(x, i, axis)
        outputs += [y, ad.grad((y * y * y).sum(), x)]
    check(inputs, outputs, *arrays)


def here(text: str) -> int:
    with open(__file__) as lines:
        return next(k for k, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_indices_out_of_range_are_found_wherever_they_stand(backend: str) -> None:
    cases: list[Any] = [
        (lambda x, k: x[k, None, k], 4, 'axis 1 of input "x"', 4, "# pick"),  # pick
        (lambda x, k: x.at[1:, k].set(0.0), -5, 'axis 1 of input "x"', 4, "# put"),  # put
        (lambda x, k: ad.take_along_axis(x, k[:, None], 0), 5, 'axis 0 of input "x"', 5, "# along"),  # along
        (lambda x, k: ad.segment_sum(x[:3], k, 2), 2, "segments", 2, "# sum"),  # sum
    ]
    for fn, bad, axis, bound, mark in cases:
        x, k = ad.input("x", (5, 4)), ad.input("k", (3,), "int64")
        f = ad.compile([x, k], fn(x, k), backend=backend)
        f(np.ones((5, 4), "f"), np.array([0, 1, 1]))
        with pytest.raises(ad.ExecutionError) as caught:
            f(np.ones((5, 4), "f"), np.array([0, bad, 1]))
        message = str(caught.value)
        for part in (axis, "index", str(bad), str(bound), f"test_indexing.py:{here(mark)}"):
            assert part in message, message
