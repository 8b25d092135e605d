"""Special functions and random bits in C: the same bits on every path, and the error of erfc in ulp."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjoint.artifact import Target
from adjoint.codegen.accuracy import ULPS
from adjoint.codegen.prelude import parse, prelude
from adjoint.runtime.target import TARGETS, native_target

Array = np.ndarray[Any, Any]
FLAGS = (
    "-std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -ffp-contract=off -fno-math-errno -fno-trapping-math -fPIC -shared"
).split()
FUNCTIONS = [*((f, k) for f in ("erfc", "lgamma", "digamma", "polygamma1", "polygamma4") for k in ("f32", "f64")),
             ("philox", "i64"), ("philox", "i32")]  # fmt: skip
GCC, CLANG = shutil.which("gcc") or shutil.which("cc"), shutil.which("clang")
COMPILERS = [c for c in (GCC, CLANG) if c is not None]
pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def unit(names: list[tuple[str, str]], target: Target) -> str:
    """Loops over arrays, `{type}_{function}` in whole vectors."""
    needs, text = [], ""
    for function, name in names:
        t = parse(name)
        arity = 3 if function == "philox" else 1
        given = ", ".join(f"const {t.memory} *a{i}" for i in range(arity))
        loads = ", ".join(f"{t}_load(a{i} + i)" for i in range(arity))
        head = f"void k_{t}_{function}({given}, {t.memory} *o, int64_t n)"
        loop = f"for (int64_t i = 0; i < n; i += {t.lanes}) {t}_store(o + i, {t}_{function}({loads}));"
        text += f"{head};\n{head} {{ {loop} }}\n"
        needs += [(function, name), ("load", name), ("store", name)]
    return prelude(needs, target) + text


def build(text: str, target: Target, path: Path, compiler: str, *more: str) -> ctypes.CDLL:
    source, library = path.with_suffix(".c"), path.with_suffix(".so")
    source.write_text(text)
    command = [compiler, *FLAGS, *target.cflags, *more, "-o", str(library), str(source), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return ctypes.CDLL(str(library))


def call(library: ctypes.CDLL, name: str, function: str, *arrays: Array) -> Array:
    out = np.zeros_like(arrays[0])
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, out)]
    getattr(library, f"k_{name}_{function}")(*pointers, ctypes.c_int64(len(out)))
    return out


def operands(function: str, element: str) -> list[Array]:
    rng = np.random.default_rng(1)
    if function == "philox":
        info = np.iinfo(f"int{element[1:]}")
        return [rng.integers(info.min, info.max, 512, info.dtype, endpoint=True) for _ in range(3)]
    dtype = np.dtype({"f32": np.float32, "f64": np.float64}[element])
    special = [0.0, -0.0, 1, 2, -1, -3, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-40, -1e-40, 7.5, 8]
    parts = [special, rng.uniform(-9, 9, 3000), rng.uniform(0, 3, 1000), rng.normal(0, 100, 303)]
    x = np.concatenate(parts).astype(dtype)
    return [x[: len(x) // 32 * 32]]


def bits(a: Array) -> Array:
    found = a.view(f"i{a.itemsize}").copy()
    found[np.isnan(a)] = -1
    return found


def test_same_bits_on_every_path(tmp_path: Path) -> None:
    target = native_target()
    kinds = [*FUNCTIONS]
    kinds += [(f, f"{k}x{8 * target.vector_bytes // parse(k).bits}") for f, k in FUNCTIONS]
    text = unit(kinds, target)
    first: dict[tuple[str, str], Array] = {}
    for number, compiler in enumerate(COMPILERS):
        for path in ("plain", "gnu") if number == 0 else ("gnu",):  # plain C is the same to both
            # Optimising the plain path takes long, and a difference between paths would show at any level.
            more = ("-DADJOINT_PLAIN_LANES", "-O0") if path == "plain" else ()
            library = build(text, target, tmp_path / f"unit{number}{path}", compiler, *more)
            for function, name in kinds:
                element = parse(name).element
                got = bits(call(library, name, function, *operands(function, element)))
                np.testing.assert_array_equal(
                    got, first.setdefault((function, element), got), err_msg=f"{function} {name} {path} {compiler}"
                )


ERRORS = r"""
#include <math.h>
void errors(const @P@ *x, const @P@ *y, double *e, int64_t n);
void errors(const @P@ *x, const @P@ *y, double *e, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    int power;
    const @W@ want = erfc@l@((@W@)x[i]);
    (void)frexp@l@(want, &power);
    e[i] = (double)(fabs@l@(y[i] - want) / ldexp@l@(1, power - @D@ < @M@ ? @M@ : power - @D@));
  }
}
"""


@pytest.mark.parametrize("fma", [True, False], ids=["fma", "baseline"])
@pytest.mark.parametrize("element", ["f32", "f64"])
def test_the_error_of_erfc(element: str, fma: bool, tmp_path: Path) -> None:
    target = native_target() if fma else TARGETS["x86-64"]
    if target.name.startswith("x86") != native_target().name.startswith("x86") or target.fma != fma:
        pytest.skip("not this machine")
    name = f"{element}x{8 * target.vector_bytes // parse(element).bits}"
    words = {"P": "float", "W": "double", "l": "", "D": "24", "M": "(-149)"}
    if element == "f64":
        words = {"P": "double", "W": "long double", "l": "l", "D": "53", "M": "(-1074)"}
    text = unit([("erfc", name)], target) + ERRORS
    for key, value in words.items():
        text = text.replace(f"@{key}@", value)
    library = build(text, target, tmp_path / "erfc", COMPILERS[0])
    limit = 10.2 if element == "f32" else 27.3
    rng = np.random.default_rng(2)
    parts = [rng.uniform(-6, limit, 300_000), rng.normal(0, 1, 100_000), np.exp(rng.uniform(-40, 3, 50_000)), [0.0]]
    x = np.concatenate(parts).astype("float32" if element == "f32" else "float64")
    x = np.ascontiguousarray(x[: len(x) // 32 * 32])
    y, e = call(library, name, "erfc", x), np.zeros(len(x))
    library.errors(*(ctypes.c_void_p(a.ctypes.data) for a in (x, y, e)), ctypes.c_int64(len(x)))
    assert e.max() <= ULPS["erfc"], (e.max(), x[e.argmax()])
