"""Lane types and vector math: every path and ISA gives the same bits, and the values are NumPy's or within 2 ulp.

`ADJOINT_FULL_SWEEP=1` checks the float32 functions on every bit pattern instead of every 97th.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adjoint.artifact import Target
from adjoint.codegen.prelude import MATH as PRELUDE_MATH
from adjoint.codegen.prelude import parse, prelude

Array = np.ndarray[Any, Any]
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off", "-fno-math-errno",
         "-fno-trapping-math", "-fPIC", "-shared"]  # fmt: skip
DTYPES = {"f32": "float32", "f64": "float64", "i32": "int32", "i64": "int64", "u8": "uint8", "b8": "uint8",
          "m32": "int32", "m64": "int64"}  # fmt: skip
MATH = PRELUDE_MATH - {"mul_error"}
COMPARE = ("lt", "le", "gt", "ge", "eq", "ne")
UNARY = ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "round", "not", *(MATH - {"pow"}))
FLOATS = ("add", "sub", "mul", "div", "neg", "abs", "fma", "min", "max", "atleast", "atmost", "sqrt", "floor", "ceil",
          "trunc", "round", "floordiv", "mod", "copysign", *COMPARE, "select", *sorted(MATH))  # fmt: skip
INTS = ("add", "sub", "mul", "abs", "neg", "min", "max", "floordiv", "mod", "shl", "shr", "and", "or", "xor", "not",
        *COMPARE, "select", "fma")  # fmt: skip
SCALARS = ("f32", "f64", "i32", "i64", "u8", "b8")


@dataclass(frozen=True)
class Isa:
    target: Target
    bytes: int


def isa(name: str, macro: str, vector_bytes: int, fma: bool, *flags: str) -> Target:
    return Target(name, macro, vector_bytes, 32, fma, 32768, 1 << 20, 2, flags)


BASELINE = isa("x86-64", "__SSE2__", 16, False, "-march=x86-64")
V3 = isa("x86-64-v3", "__AVX2__", 32, True, "-march=x86-64-v3")
V4 = isa("x86-64-v4", "__AVX512DQ__", 64, True, "-march=native", "-mprefer-vector-width=512")


def cpu_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    if platform.machine() not in ("x86_64", "AMD64") or not path.exists():
        return set()
    return {word for line in path.read_text().splitlines() if line.startswith("flags") for word in line.split()}


CPU = cpu_flags()
TARGETS = [t for t, needed in ((BASELINE, {"sse2"}), (V3, {"avx2", "fma"}), (V4, {"avx512dq", "avx512vl"})) if needed <= CPU]
if not TARGETS:
    TARGETS = [isa("generic", "0", 16, False)]
GCC, CLANG = shutil.which("gcc") or shutil.which("cc"), shutil.which("clang")
pytestmark = pytest.mark.skipif(GCC is None and CLANG is None, reason="no C compiler")


def operations(element: str) -> tuple[str, ...]:
    return FLOATS if element[0] == "f" else ("and", "or", "xor", "not", "select") if element == "b8" else INTS


def kernel(function: str, name: str) -> tuple[str, list[tuple[str, str]]]:
    """An exported loop over arrays, a[0..n) and so on, and the functions that it needs."""
    t = parse(name)
    need: list[tuple[str, str]] = [(function, name)]
    source = t
    for base in ("cvt_", "bitcast"):
        if function.startswith(base):
            element = function[4:] if base == "cvt_" else {"f": "i", "i": "f"}[t.kind] + str(t.bits)
            source = t.of(element)
    arity = 1 if function in UNARY or source is not t or function == "bitcast" else 3 if function == "fma" else 2
    args = [f"{source}_load(a{i} + i)" for i in range(arity)]
    need.append(("load", str(source)))
    parameters = ", ".join(f"const {source.memory} *a{i}" for i in range(arity))
    out = t.mask if function in COMPARE else t
    if function == "select":
        need.append(("lt", name))
        args = [f"{t}_lt({args[0]}, {args[1]})", args[0], args[1]] if t.element != "b8" else [
            f"{t.mask}_cvt_b8({args[0]})", args[0], args[1]]  # fmt: skip
        need.append(("cvt_b8", str(t.mask)) if t.element == "b8" else ("lt", name))
        if t.element == "b8":
            need.remove(("lt", name))
    if out.kind == "m":
        need += [("cvt_" + out.element, f"b8x{t.lanes}" if t.lanes > 1 else "b8")]
        store, result = f"b8x{t.lanes}" if t.lanes > 1 else "b8", f"{out.of('b8')}_cvt_{out.element}"
        value, memory = f"{result}({name}_{function}({', '.join(args)}))", "uint8_t"
    else:
        store, value, memory = name, f"{name}_{function}({', '.join(args)})", t.memory
    need.append(("store", store))
    text = (
        f"void k_{name}_{function}({parameters}, {memory} *o, int64_t n);\n"
        f"void k_{name}_{function}({parameters}, {memory} *o, int64_t n) {{\n"
        f"  for (int64_t i = 0; i < n; i += {t.lanes}) {store}_store(o + i, {value});\n}}\n"
    )
    return text, need


def unit(functions: list[tuple[str, str]], target: Target) -> str:
    texts, needs = [], list[tuple[str, str]]()
    for function, name in functions:
        text, need = kernel(function, name)
        texts.append(text)
        needs += need
    return prelude(needs, target) + "".join(texts)


def build(text: str, target: Target, folder: Path, name: str, compiler: str, *more: str) -> ctypes.CDLL:
    source, library = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(text)
    done = subprocess.run([compiler, *FLAGS, *target.cflags, *more, "-o", str(library), str(source), "-lm"],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, f"{name}: {done.stderr[:3000]}"
    return ctypes.CDLL(str(library))


def call(library: ctypes.CDLL, name: str, function: str, *arrays: Array) -> Array:
    t = parse(name)
    is_mask = function in COMPARE or t.kind == "m"
    out = np.zeros(len(arrays[0]), "uint8" if is_mask else DTYPES[t.element])
    f = getattr(library, f"k_{name}_{function}")
    f(*[ctypes.c_void_p(a.ctypes.data) for a in arrays], ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(len(out)))
    return out


def bits(a: Array) -> Array:
    """Bit patterns, all NaN being one."""
    if a.dtype.kind != "f":
        return a
    b = a.view(f"i{a.itemsize}").copy()
    b[np.isnan(a)] = -1
    return b


def samples(element: str, count: int = 4096) -> list[Array]:
    """Three operand arrays: special values in all pairs, then random ones of all magnitudes."""
    rng = np.random.default_rng(7)
    dtype = np.dtype(DTYPES[element])
    if element == "b8":
        return [rng.integers(0, 2, count).astype(dtype) for _ in range(3)]
    if dtype.kind == "f":
        info = np.finfo(dtype)
        special = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3, -7, np.inf, -np.inf, np.nan, info.max, info.min,
                            info.tiny, -info.tiny, info.smallest_subnormal, 1e-30, 127.9, 255.5, 2147483648.0, -2147483648.0,
                            2147483520.0, 9.3e18, -9.3e18, 1e10, -1e10, 256.0], dtype)  # fmt: skip
        random = rng.integers(0, 1 << (8 * dtype.itemsize - 1), (3, count), dtype=f"u{dtype.itemsize}") * 2 + 1
        columns = [random[0].view(dtype), rng.normal(0, 3, count).astype(dtype), rng.normal(0, 100, count).astype(dtype)]
    else:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        special = np.array(sorted({low, low + 1, high, high - 1, 0, 1, 2, 3, 7, 31, 33, 63, 64}
                                  | ({-1, -2, -3, -7} if low else set())), dtype)  # fmt: skip
        columns = [rng.integers(low, high, count, dtype, endpoint=True), rng.integers(0, 60, count).astype(dtype),
                   rng.integers(low, high, count, dtype, endpoint=True)]  # fmt: skip
    a, b = np.meshgrid(special, special)
    rows = [a.ravel(), b.ravel(), np.roll(b.ravel(), 5)]
    full = [np.concatenate([r, c]) for r, c in zip(rows, columns, strict=True)]
    size = len(full[0]) // 32 * 32
    return [np.ascontiguousarray(x[:size]) for x in full]


def wide(element: str, target: Target) -> str:
    return f"{element}x{target.vector_bytes // {'f32': 4, 'i32': 4, 'u8': 4, 'b8': 4}.get(element, 8)}"


def all_functions(target: Target) -> list[tuple[str, str]]:
    found = []
    for element in SCALARS:
        functions = [*operations(element), *(f"cvt_{other}" for other in SCALARS if other != element)]
        if element in ("f32", "f64", "i32", "i64"):
            functions.append("bitcast")
        found += [(f, name) for f in dict.fromkeys(functions) for name in (element, wide(element, target))]
    return found


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], ctypes.CDLL]:
    """Every target, compiler and path, built once."""
    folder = tmp_path_factory.mktemp("lanes")
    jobs: list[tuple[tuple[str, str, str], Callable[[], ctypes.CDLL]]] = []
    for target in TARGETS:
        text = unit(all_functions(target), target)
        for compiler in (GCC, CLANG):
            for path in ("gnu", "plain"):
                if compiler is not None and (path == "gnu" or target is not BASELINE):
                    key = (target.name, Path(compiler).name, path)
                    more = ("-DADJOINT_PLAIN_LANES",) if path == "plain" else ()
                    jobs.append((key, lambda t=text, g=target, k=key, c=compiler, m=more: build(  # type: ignore[misc]
                        t, g, folder, "-".join(k), c, *m)))  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda job: job[1](), jobs))
    return {key: library for (key, _), library in zip(jobs, built, strict=True)}


def operands(function: str, element: str) -> list[Array]:
    if function.startswith("cvt_"):
        return samples(function[4:])[:1]
    if function == "bitcast":
        return samples({"f": "i", "i": "f"}[element[0]] + element[1:])[:1]
    return samples(element)[: 1 if function in UNARY else 3 if function == "fma" else 2]


def test_same_bits_on_every_path(libraries: dict[tuple[str, str, str], ctypes.CDLL]) -> None:
    """Scalar, GNU vector and plain code agree with each other, with both compilers; targets agree where FMA does."""
    failures = []
    first: dict[tuple[str, str, bool], tuple[Array, object]] = {}
    for target in TARGETS:
        names = [key for key in libraries if key[0] == target.name]
        for function, name in all_functions(target):
            element = parse(name).element
            data = operands(function, element)
            for key in names:
                got = bits(call(libraries[key], name, function, *data))
                reference, origin = first.setdefault((function, element, target.fma), (got, (key, name)))
                if not np.array_equal(got, reference):
                    where = int(np.flatnonzero(got != reference)[0])
                    failures.append((function, name, key, origin, [x[where] for x in data]))
    assert not failures, failures[:10]


SWEEP = r"""
#include <string.h>
static double ulps(@R@ got, @W@ want) {
  @W@ unit, error;
  int e;
  if (want != want || got != got) return (want != want) == (got != got) ? 0 : 1e300;
  if (want == 0) return got == 0 && !signbit(got) == !signbit(want) ? 0 : 1e300;
  if (isinf(want)) want = copysign@w@(ldexp@w@(1, @MAX@), want);
  if (fabs@w@(want) > ldexp@w@(1, @MAX@)) want = copysign@w@(ldexp@w@(1, @MAX@), want);
  (void)frexp@w@(want, &e);
  unit = ldexp@w@(1, e - 1 - @P@ < @MIN@ ? @MIN@ : e - 1 - @P@);
  error = isinf(got) ? copysign@w@(ldexp@w@(1, @MAX@), got) - want : got - want;
  return (double)(fabs@w@(error) / unit);
}
"""
SWEEP_ONE = r"""
void sweep_@T@_@F@(@U@ start, @U@ stride, uint64_t count, double *worst, @U@ *at);
void sweep_@T@_@F@(@U@ start, @U@ stride, uint64_t count, double *worst, @U@ *at) {
  *worst = -1;
  for (uint64_t k = 0; k < count; k += @L@) {
    @R@ x[@L@], y[@L@];
    for (int i = 0; i < @L@; i++) {
      @U@ pattern = (@U@)(start + (k + (uint64_t)i) * stride);
      memcpy(x + i, &pattern, sizeof pattern);
    }
    @T@_store(y, @T@_@F@(@T@_load(x)));
    for (int i = 0; i < @L@; i++) {
      @W@ v = x[i];
      double error = ulps(y[i], @REF@);
      if (error > *worst) {
        *worst = error;
        memcpy(at, x + i, sizeof *at);
      }
    }
  }
}
"""
REFERENCE = {"exp": "exp@(v)", "expm1": "expm1@(v)", "tanh": "tanh@(v)", "log": "log@(v)", "log1p": "log1p@(v)",
             "sigmoid": "v < 0 ? exp@(v) / (1 + exp@(v)) : 1 / (1 + exp@(-v))", "rsqrt": "1 / sqrt@(v)",
             "sin": "sin@(v)", "cos": "cos@(v)", "erf": "erf@(v)"}  # fmt: skip


def sweep_unit(functions: list[str], name: str, target: Target) -> str:
    t = parse(name)
    single = t.bits == 32
    table = {"R": t.memory, "W": "double" if single else "long double", "w": "" if single else "l", "L": str(t.lanes),
             "U": "uint32_t" if single else "uint64_t", "T": name, "MAX": "128" if single else "1024",
             "P": "23" if single else "52", "MIN": "(-149)" if single else "(-1074)"}  # fmt: skip
    text = prelude([(f, name) for f in [*functions, "load", "store"]], target) + "#include <math.h>\n" + SWEEP
    for f in functions:
        text += SWEEP_ONE.replace("@F@", f).replace("@REF@", REFERENCE[f].replace("@", table["w"]))
    for key, value in table.items():
        text = text.replace(f"@{key}@", value)
    return text


def sweep(library: ctypes.CDLL, name: str, function: str, start: int, stride: int, count: int) -> tuple[float, float]:
    """The largest error in ulp and where it is."""
    word = ctypes.c_uint32 if parse(name).bits == 32 else ctypes.c_uint64
    worst, at = ctypes.c_double(), word()
    f = getattr(library, f"sweep_{name}_{function}")
    f.restype = None
    f(word(start), word(stride), ctypes.c_uint64(count), ctypes.byref(worst), ctypes.byref(at))
    where = np.array([at.value], f"u{ctypes.sizeof(word)}").view(DTYPES[parse(name).element])[0]
    return worst.value, float(where)
