"""Every path, compiler and ISA gives the same bits, and what is no vector math the values of NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from lanework import (
    BASELINE,
    CLANG,
    COMPARE,
    DTYPES,
    GCC,
    MATH,
    SCALARS,
    TARGETS,
    UNARY,
    V3,
    V4,
    Array,
    bits,
    build,
    call,
    operands,
    simple_functions,
    unit,
    wide,
)

Key = tuple[str, str, str]
pytestmark = pytest.mark.skipif(GCC is None and CLANG is None, reason="no C compiler")


def libraries(element: str, functions: list[str], folder: Path, fewer: bool = False) -> dict[Key, ctypes.CDLL]:
    """Targets, compilers and paths. Not all of them, and the plain path without optimisation, to save time: a
    difference between paths would show with any compiler."""
    wanted = [
        (V4, GCC, "gnu"),
        (V3, GCC, "plain"),
        (BASELINE, CLANG, "gnu"),
        (BASELINE, GCC, "gnu"),
        (V4, CLANG, "gnu"),
        (V3, GCC, "gnu"),
        (V4, CLANG, "plain"),
        (BASELINE, CLANG, "plain"),
    ][: 4 if fewer else None]
    if TARGETS[0].name == "generic":
        wanted = [(TARGETS[0], GCC or CLANG, "gnu")]
    jobs: list[tuple[Key, Callable[[], ctypes.CDLL]]] = []
    for target, compiler, path in wanted:
        if compiler is not None and target in TARGETS:
            text = unit([(f, name) for f in functions for name in (element, wide(element, target))], target)
            key = (target.name, Path(compiler).name, path)
            more = ("-DADJOINT_PLAIN_LANES", "-O0") if path == "plain" else ()
            jobs.append((key, partial(build, text, target, folder, "-".join(key), compiler, *more)))
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda job: job[1](), jobs))
    return {key: library for (key, _), library in zip(jobs, built, strict=True)}


def check_bits(built: dict[Key, ctypes.CDLL], element: str, functions: list[str]) -> None:
    """Scalar, GNU vector and plain code agree with each other, with both compilers; targets agree where FMA does."""
    failures = []
    first: dict[tuple[str, bool], tuple[Array, object]] = {}
    for key, library in built.items():
        target = next(t for t in TARGETS if t.name == key[0])
        for function in functions:
            data = operands(function, element)
            for name in (element, wide(element, target)):
                got = bits(call(library, name, function, *data))
                reference, origin = first.setdefault((function, target.fma), (got, (key, name)))
                if not np.array_equal(got, reference):
                    where = int(np.flatnonzero(got != reference)[0])
                    failures.append((function, name, key, origin, [x[where] for x in data]))
    assert not failures, failures[:10]


def numpy_value(function: str, element: str, data: list[Array]) -> Array:
    """What NumPy says, with the integer and NaN rules of the design."""
    dtype = np.dtype(DTYPES[element])
    a, b = data[0], data[1] if len(data) > 1 else data[0]
    simple = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "min": np.minimum,
        "max": np.maximum,
        "lt": np.less,
        "le": np.less_equal,
        "gt": np.greater,
        "ge": np.greater_equal,
        "eq": np.equal,
        "ne": np.not_equal,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
        "copysign": np.copysign,
        "neg": np.negative,
        "abs": np.abs,
        "sqrt": np.sqrt,
        "floor": np.floor,
        "ceil": np.ceil,
        "trunc": np.trunc,
        "round": np.rint,
        "mod": np.mod,
        "shl": np.left_shift,
        "shr": np.right_shift,
    }
    with np.errstate(all="ignore"):
        if function.startswith("cvt_"):
            if element == "b8":
                return (a != 0).astype(dtype)
            if a.dtype.kind == "f" and dtype.kind in "iu":
                info = np.iinfo(dtype)
                wide_value = np.trunc(np.nan_to_num(a.astype("longdouble"), posinf=1e30, neginf=-1e30))
                return np.array([min(max(int(v), int(info.min)), int(info.max)) for v in wide_value], dtype)
            return a.astype(dtype)
        if function == "bitcast":
            return a.view(dtype)
        if element == "b8" and function == "not":
            return (a == 0).astype(dtype)
        if function == "not":
            return np.invert(a)
        if function == "select":
            return np.where(a != 0 if element == "b8" else a < b, a, b)
        if function == "atleast":
            return np.where(a < b, b, a)
        if function == "atmost":
            return np.where(a > b, b, a)
        if function == "relu":
            return np.where(a < 0, dtype.type(0), a)
        if function == "fma":
            return a * b + data[2]
        if function == "clip":
            return np.clip(a, b, data[2])
        if function == "floordiv" and dtype.kind == "f":
            return np.floor_divide(a, b)
        if function in ("floordiv", "mod") and dtype.kind != "f":
            divide = np.floor_divide if function == "floordiv" else np.mod
            return np.where(b == 0, 0, divide(a, np.where(b == 0, 1, b))).astype(dtype)
        return np.asarray(simple[function](a, b) if function not in UNARY else simple[function](a))


def check_values(library: ctypes.CDLL, target: str, element: str, functions: list[str]) -> None:
    failures = []
    for function in functions:
        if function == "fma" and element[0] == "f":
            continue
        data = operands(function, element)
        want = numpy_value(function, element, data)
        want = want.astype("uint8") if function in COMPARE else want
        for name in (element, wide(element, next(t for t in TARGETS if t.name == target))):
            got = call(library, name, function, *data)
            differs = bits(got) != bits(np.ascontiguousarray(want))
            if function in ("min", "max", "mod", "relu", "atleast", "atmost", "clip"):
                differs &= got != want  # which zero is not specified
            if differs.any():
                i = int(np.flatnonzero(differs)[0])
                failures.append((function, name, [x[i] for x in data], got[i], want[i]))
    assert not failures, failures


@pytest.mark.parametrize("element", SCALARS)
def test_simple_functions(element: str, tmp_path: Path) -> None:
    functions = [f for f in simple_functions(element) if f not in MATH - {"relu"}]
    built = libraries(element, functions, tmp_path)
    check_bits(built, element, functions)
    key = next(k for k in built if k[2] == "gnu")
    check_values(built[key], key[0], element, functions)
    if element == "f32":
        check_fma(built)


def check_fma(built: dict[Key, ctypes.CDLL]) -> None:
    """Rounds once where the target has the instruction."""
    a = np.full(32, 1 + 2.0**-12, "float32")
    for key, library in built.items():
        target = next(t for t in TARGETS if t.name == key[0])
        got = call(library, "f32", "fma", a, a, -np.float32(a * a))
        assert (got[0] == np.float32(2.0**-24)) == target.fma


@pytest.mark.parametrize("element", ["f32", "f64"])
@pytest.mark.parametrize("part", range(6))
def test_math_has_the_same_bits(element: str, part: int, tmp_path: Path) -> None:
    functions = sorted(MATH)[part::6]
    check_bits(libraries(element, functions, tmp_path, fewer=True), element, functions)
