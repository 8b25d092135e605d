"""Reductions against NumPy: every dtype, set of axes and kind of value, compiled and interpreted."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest

import adjoint as ad

RNG = np.random.default_rng(12)
INF, NAN = np.inf, np.nan
AXES: list[Any] = [None, 0, -1, *chain.from_iterable(combinations(range(3), k) for k in (0, 2, 3)), (2, 0)]


def data(shape: Any, dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (RNG.normal(size=shape) * (RNG.random(shape) < 0.9)).astype(dtype)
    if dtype.kind == "b":
        return RNG.random(shape) < 0.8
    return RNG.integers(1 if dtype.kind == "u" else -3, 4, shape).astype(dtype)


def wide(x: Any) -> Any:
    return x if x.dtype.kind == "f" else x.astype("int64")


def floating(x: Any) -> Any:
    return x if x.dtype.kind == "f" else x.astype("float32")


def norm(ord: float) -> Any:
    def reference(x: Any, axis: Any, keepdims: bool) -> Any:
        x = np.abs(floating(x))
        if abs(ord) == INF:
            return (np.max if ord > 0 else np.min)(x, axis=axis, keepdims=keepdims)
        if ord == 0:
            return np.sum(x != 0, axis=axis, keepdims=keepdims).astype(x.dtype)
        return (np.sum(x**ord, axis=axis, keepdims=keepdims) ** (1 / ord)).astype(x.dtype)

    return reference


DTYPES = ["float32", "float64", "int32", "int64", "uint8", "bool"]
# name, function, reference; both take (x, axis, keepdims).
CASES: dict[str, tuple[Any, Any]] = {
    "sum": (ad.sum, lambda x, a, k: np.sum(wide(x), axis=a, keepdims=k)),
    "prod": (ad.prod, lambda x, a, k: np.prod(wide(x), axis=a, keepdims=k)),
    "max": (ad.max, lambda x, a, k: np.max(x, axis=a, keepdims=k)),
    "min": (ad.min, lambda x, a, k: np.min(x, axis=a, keepdims=k)),
    "any": (ad.any, lambda x, a, k: np.any(x, axis=a, keepdims=k)),
    "all": (ad.all, lambda x, a, k: np.all(x, axis=a, keepdims=k)),
    "count_nonzero": (ad.count_nonzero, lambda x, a, k: np.asarray(np.count_nonzero(x, axis=a, keepdims=k), "int64")),
    "mean": (ad.mean, lambda x, a, k: np.mean(floating(x), axis=a, keepdims=k)),
    "var": (lambda x, a, k: ad.var(x, a, 1, k), lambda x, a, k: np.var(floating(x), axis=a, ddof=1, keepdims=k)),
    "std": (lambda x, a, k: ad.std(x, a, 0.5, k), lambda x, a, k: np.std(floating(x), axis=a, ddof=0.5, keepdims=k)),
    "logsumexp": (ad.logsumexp, lambda x, a, k: np.log(np.sum(np.exp(floating(x)), axis=a, keepdims=k))),
    **{
        f"norm {p}": (lambda x, a, k, p=p: ad.vector_norm(x, a, k, ord=p), norm(p))
        for p in (0, 1, 2, 3, 2.5, 0.5, -1, -2.0, INF, -INF)
    },
}


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_against_numpy(dtype: str, backend: str) -> None:
    x, y = ad.input("x", (3, 4, 5), dtype), ad.input("y", ("n", 4, "m"), dtype)
    values = data((3, 4, 5), dtype), data((6, 4, 9), dtype)
    outputs, wanted = [], {}
    for at, (name, (fn, reference)) in enumerate(CASES.items()):
        for operand, a in zip((x, y), values, strict=True):
            if operand is y and at % 2:
                continue
            # Compiling them all takes long: each dtype has some of the axes, all dtypes together all of them.
            for axis in AXES if backend == "numpy" else AXES[(at + DTYPES.index(dtype)) % 6 :: 6]:
                keepdims = len(outputs) % 2 == 0
                with np.errstate(all="ignore"):
                    wanted[len(outputs)] = name, axis, np.asarray(reference(a, axis, keepdims))
                outputs.append(fn(operand, axis, keepdims))
    for number, got in enumerate(ad.compile([x, y], outputs, backend=backend)(*values)):
        name, axis, want = wanted[number]
        assert (got.shape, got.dtype) == (want.shape, want.dtype), (name, axis)
        if want.dtype.kind == "f":
            rtol = 1e-12 if want.dtype == np.float64 else 2e-5
            np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol / 10, err_msg=f"{name} {axis}")
        else:
            np.testing.assert_array_equal(got, want, err_msg=f"{name} {axis}")


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_special_values(backend: str) -> None:
    rows = np.array(
        [[NAN, 1, 2, NAN], [1, INF, -INF, 0], [-INF] * 4, [INF, INF, 1, 2], [0, -0.0, 0, 0], [-1, NAN, -INF, INF],
         [1e30, 2, 1, 1e-40]], np.float32,
    )  # fmt: skip
    x = ad.input("x", rows.shape)
    fns: list[tuple[Any, Any]] = [
        (ad.prod, np.prod), (ad.max, np.max), (ad.min, np.min), (ad.argmax, np.argmax), (ad.argmin, np.argmin),
        (ad.any, np.any), (ad.all, np.all), (ad.count_nonzero, np.count_nonzero), (ad.var, np.var), (ad.mean, np.mean),
        (ad.logsumexp, lambda a, axis: np.logaddexp.reduce(a.astype("d"), axis)),
        *((lambda x, axis, p=p: ad.vector_norm(x, axis, ord=p), lambda a, axis, p=p: np.linalg.norm(a, p, axis))
          for p in (0, 1, INF, -INF, 3, -1)),
    ]  # fmt: skip
    outputs = [fn(x, 1) for fn, _ in fns]
    for k, (got, (_, reference)) in enumerate(zip(ad.compile(x, outputs, backend=backend)(rows), fns, strict=True)):
        with np.errstate(all="ignore"):
            want = reference(rows, axis=1)
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=str(k))


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_nothing(backend: str) -> None:
    x, y = ad.input("x", (ad.Dim("n", min=0), 3)), ad.input("y", (2, 0))
    outputs = [
        x.prod(0), ad.prod(x.astype("int32")), ad.count_nonzero(x, 0), ad.any(x), ad.all(x), ad.logsumexp(x, 0),
        ad.logsumexp(x), ad.vector_norm(x, ord=0), ad.vector_norm(x, ord=3), ad.vector_norm(x, 0, ord=1), x.prod(1),
        ad.prod(y, 1), ad.prod(y, 0), ad.logsumexp(y, 1, keepdims=True), ad.grad(x.prod(), x), ad.var(x, 0),
    ]  # fmt: skip
    nothing = np.full(3, NAN)
    want = [
        np.ones(3), 1, [0, 0, 0], False, True, [-INF] * 3, -INF, 0, 0, np.zeros(3), np.zeros(0),
        [1, 1], np.zeros(0), [[-INF], [-INF]], np.zeros((0, 3)), nothing,
    ]  # fmt: skip
    f = ad.compile([x, y], outputs, backend=backend)
    for k, (got, expected) in enumerate(zip(f(np.zeros((0, 3), "f"), np.zeros((2, 0), "f")), want, strict=True)):
        np.testing.assert_array_equal(got, expected, err_msg=str(k), strict=False)
        assert got.shape == np.shape(expected)
    for name, fn in (("max", ad.max), ("min", ad.min), ("argmax", ad.argmax), ("argmin", ad.argmin),
                     ("vector_norm", lambda x, a: ad.vector_norm(x, a, ord=INF))):
        with pytest.raises(ad.ShapeError, match=f"{name}: axis 0 of .* may be empty"):
            fn(x, 0)


def test_scalars(run: Any) -> None:
    for name, (fn, _) in CASES.items():
        got = run(fn(ad.constant(3.0), None, False))
        want = {"any": True, "all": True, "count_nonzero": 1, "norm 0": 1, "std": 0}.get(name, 3)
        if name != "var":
            np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=name)


def test_prod_where_elements_are_0(run: Any) -> None:
    x = ad.input("x", (4, 4), "float64")
    a = np.array([[2, 3, 0.5, 4], [2, 0, 3, 5], [0, 2, 0, 3], [INF, 2, 0, 1]])
    g = ad.grad(x.prod(1).sum(), x)
    want = [[6, 4, 24, 3], [0, 30, 0, 0], [0, 0, 0, 0], [0, NAN, INF, NAN]]
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(run(g, {x: a}), want)
        np.testing.assert_array_equal(ad.compile(x, g)(a), want)
    # The mixed second derivative is the product of the other two.
    second = ad.grad(g[:, 1].sum(), x)
    want = [[2, 0, 8, 1], [15, 0, 10, 6], [0, 0, 0, 0]]
    np.testing.assert_array_equal(ad.compile(x, second)(a)[:3], want)


def test_integers_wrap(run: Any) -> None:
    x = ad.input("x", (40,), "int32")
    a = np.full(40, 3, np.int32)
    assert ad.compile(x, x.prod())(a) == run(x.prod(), {x: a}) == np.prod(a, dtype=np.int64)
    assert run(ad.prod(ad.constant([True, False]))).dtype == np.int64


def test_in_a_dtype(run: Any) -> None:
    a = RNG.integers(100, 120, (3, 5)).astype(np.uint8)
    x = ad.input("x", (3, 5), "uint8")
    for dtype in ("uint8", "int32", "int64", "float32", "float64"):
        outputs = [ad.sum(x, 1, dtype=dtype), x.prod(0, dtype=dtype), ad.prod(x, (), dtype=dtype)]
        want = [np.sum(a, 1, dtype=dtype), np.prod(a, 0, dtype=dtype), a.astype(dtype)]
        for got, interpreted, expected in zip(ad.compile(x, outputs)(a), run(outputs, {x: a}), want, strict=True):
            assert got.dtype == interpreted.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
            np.testing.assert_array_equal(interpreted, expected)
    with pytest.raises(ad.DTypeError, match="sum: not defined in bool"):
        ad.sum(x, dtype="bool")


def test_norms_have_derivative_0_at_0(run: Any) -> None:
    x = ad.input("x", (3, 3), "float64")
    a = np.array([[0.0, 0, 0], [3, 0, -4], [-2, 2, 1]])
    for p in (0, 0.5, 1, 1.5, 2, 3, -1, INF, -INF):
        g = ad.grad(ad.vector_norm(x, 1, ord=p).sum(), x)
        for got in (run(g, {x: a}), ad.compile(x, g)(a)):
            assert np.isfinite(got).all()
            assert (got[0] == 0).all() and got[1, 1] == 0
    g = ad.grad(ad.vector_norm(x, 1, ord=INF).sum(), x)
    np.testing.assert_array_equal(run(g, {x: a}), [[0, 0, 0], [0, 0, -1], [-1, 0, 0]])


def test_errors_name_what_is_wrong() -> None:
    x = ad.input("x", (3, 4))
    with pytest.raises(ad.GraphError, match="vector_norm: ord is a number, got 'fro'"):
        ad.vector_norm(x, ord="fro")
    with pytest.raises(ad.ShapeError, match="prod: axis 2 is out of range for 2 axes"):
        x.prod(2)
    with pytest.raises(ad.ShapeError, match="prod: an axis is named twice"):
        ad.prod(x, (0, -2))
