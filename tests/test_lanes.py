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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjoint.artifact import Target
from adjoint.codegen.prelude import MATH as PRELUDE_MATH
from adjoint.codegen.prelude import parse, prelude

Array = np.ndarray[Any, Any]
FLAGS = [
    "-std=c99",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
]
DTYPES = {
    "f32": "float32",
    "f64": "float64",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "b8": "uint8",
    "m32": "int32",
    "m64": "int64",
}
MATH = PRELUDE_MATH - {"mul_error"} | {"sin", "cos"}  # these two loop over libm
COMPARE = ("lt", "le", "gt", "ge", "eq", "ne")
UNARY = ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "round", "sin", "cos", "not", *(MATH - {"pow"}))
FLOATS = (
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "abs",
    "fma",
    "min",
    "max",
    "atleast",
    "atmost",
    "sqrt",
    "floor",
    "ceil",
    "trunc",
    "round",
    "floordiv",
    "mod",
    "copysign",
    *COMPARE,
    "select",
    *sorted(MATH),
)
INTS = (
    "add",
    "sub",
    "mul",
    "abs",
    "neg",
    "min",
    "max",
    "floordiv",
    "mod",
    "shl",
    "shr",
    "and",
    "or",
    "xor",
    "not",
    *COMPARE,
    "select",
    "fma",
)
SCALARS = ("f32", "f64", "i32", "i64", "u8", "b8")


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
TARGETS = [
    t for t, needed in ((BASELINE, {"sse2"}), (V3, {"avx2", "fma"}), (V4, {"avx512dq", "avx512vl"})) if needed <= CPU
]
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
        args = (
            [f"{t}_lt({args[0]}, {args[1]})", args[0], args[1]]
            if t.element != "b8"
            else [f"{t.mask}_cvt_b8({args[0]})", args[0], args[1]]
        )
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
    done = subprocess.run(
        [compiler, *FLAGS, *target.cflags, *more, "-o", str(library), str(source), "-lm"],
        capture_output=True,
        text=True,
    )
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
        special = np.array(
            [
                0.0,
                -0.0,
                1,
                -1,
                0.5,
                -0.5,
                1.5,
                2.5,
                -2.5,
                3,
                -7,
                np.inf,
                -np.inf,
                np.nan,
                info.max,
                info.min,
                info.tiny,
                -info.tiny,
                info.smallest_subnormal,
                1e-30,
                127.9,
                255.5,
                2147483648.0,
                -2147483648.0,
                2147483520.0,
                9.3e18,
                -9.3e18,
                1e10,
                -1e10,
                256.0,
            ],
            dtype,
        )
        random = rng.integers(0, 1 << (8 * dtype.itemsize - 1), (3, count), dtype=f"u{dtype.itemsize}") * 2 + 1
        columns = [
            random[0].view(dtype),
            rng.normal(0, 3, count).astype(dtype),
            rng.normal(0, 100, count).astype(dtype),
        ]
    else:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        special = np.array(
            sorted(
                {low, low + 1, high, high - 1, 0, 1, 2, 3, 7, 31, 33, 63, 64} | ({-1, -2, -3, -7} if low else set())
            ),
            dtype,
        )
        columns = [
            rng.integers(low, high, count, dtype, endpoint=True),
            rng.integers(0, 60, count).astype(dtype),
            rng.integers(low, high, count, dtype, endpoint=True),
        ]
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
    """Targets, compilers and paths, built once. Not all of them, and the plain path at -O1, to save time: a difference
    between paths would show with any compiler."""
    folder = tmp_path_factory.mktemp("lanes")
    wanted = [
        (V4, GCC, "gnu"),
        (V3, GCC, "gnu"),
        (BASELINE, GCC, "gnu"),
        (V4, CLANG, "gnu"),
        (V3, GCC, "plain"),
        (V4, CLANG, "plain"),
        (BASELINE, CLANG, "plain"),
    ]
    if TARGETS[0].name == "generic":
        wanted = [(TARGETS[0], GCC or CLANG, "gnu")]
    jobs: list[tuple[tuple[str, str, str], Callable[[], ctypes.CDLL]]] = []
    texts = {target.name: unit(all_functions(target), target) for target in TARGETS}
    for target, compiler, path in wanted:
        if compiler is not None and target in TARGETS:
            key = (target.name, Path(compiler).name, path)
            more = ("-DADJOINT_PLAIN_LANES", "-O1") if path == "plain" else ()
            jobs.append((key, partial(build, texts[target.name], target, folder, "-".join(key), compiler, *more)))
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
REFERENCE = {
    "exp": "exp@(v)",
    "expm1": "expm1@(v)",
    "tanh": "tanh@(v)",
    "log": "log@(v)",
    "log1p": "log1p@(v)",
    "sigmoid": "v < 0 ? exp@(v) / (1 + exp@(v)) : 1 / (1 + exp@(-v))",
    "rsqrt": "1 / sqrt@(v)",
    "sin": "sin@(v)",
    "cos": "cos@(v)",
    "erf": "erf@(v)",
}


def sweep_unit(functions: list[str], name: str, target: Target) -> str:
    t = parse(name)
    single = t.bits == 32
    table = {
        "R": t.memory,
        "W": "double" if single else "long double",
        "w": "" if single else "l",
        "L": str(t.lanes),
        "U": "uint32_t" if single else "uint64_t",
        "T": name,
        "MAX": "128" if single else "1024",
        "P": "23" if single else "52",
        "MIN": "(-149)" if single else "(-1074)",
    }
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
        if function == "floordiv" and dtype.kind == "f":
            return np.floor_divide(a, b)
        if function in ("floordiv", "mod") and dtype.kind != "f":
            divide = np.floor_divide if function == "floordiv" else np.mod
            return np.where(b == 0, 0, divide(a, np.where(b == 0, 1, b))).astype(dtype)
        return np.asarray(simple[function](a, b) if function not in UNARY else simple[function](a))


@pytest.mark.parametrize("element", SCALARS)
def test_values_are_those_of_numpy(libraries: dict[tuple[str, str, str], ctypes.CDLL], element: str) -> None:
    key = next(k for k in libraries if k[2] == "gnu")
    target = next(t for t in TARGETS if t.name == key[0])
    failures = []
    for function, name in all_functions(target):
        if parse(name).element != element or function in MATH - {"relu"} or (function == "fma" and element[0] == "f"):
            continue
        data = operands(function, element)
        got, want = call(libraries[key], name, function, *data), numpy_value(function, element, data)
        want = want.astype("uint8") if function in COMPARE else want
        differs = bits(got) != bits(np.ascontiguousarray(want))
        if function in ("min", "max", "mod", "relu", "atleast", "atmost"):
            differs &= got != want  # which zero is not specified
        if differs.any():
            i = int(np.flatnonzero(differs)[0])
            failures.append((function, name, [x[i] for x in data], got[i], want[i]))
    assert not failures, failures


def test_fma_rounds_once_where_the_target_has_it(libraries: dict[tuple[str, str, str], ctypes.CDLL]) -> None:
    a = np.full(32, 1 + 2.0**-12, "float32")
    for key, library in libraries.items():
        target = next(t for t in TARGETS if t.name == key[0])
        got = call(library, "f32", "fma", a, a, -np.float32(a * a))
        assert (got[0] == np.float32(2.0**-24)) == target.fma


@pytest.mark.parametrize("bits_", [32, 64])
@pytest.mark.parametrize("target", [TARGETS[-1], BASELINE], ids=lambda t: t.name)
def test_math_is_within_two_ulp(target: Target, bits_: int, tmp_path: Path) -> None:
    if target not in TARGETS:
        pytest.skip("not this machine")
    name = wide(f"f{bits_}", target)
    functions = sorted(MATH & set(REFERENCE))
    library = build(sweep_unit(functions, name, target), target, tmp_path, "sweep", str(GCC or CLANG))
    worst = {}
    for f in functions:
        if bits_ == 32:
            stride = 1 if os.environ.get("ADJOINT_FULL_SWEEP") == "1" else 97 if target.fma else 1021
            found = [sweep(library, name, f, 0, stride, (1 << 32) // stride)]
            for centre in (
                0,
                0x7F800000,
                0x80000000,
                0xFF800000,
                0x42B17218,
                0xC2CFF1B5,
                0x3F800000,
                0xBF800000,
                0x00800000,
            ):
                found.append(sweep(library, name, f, centre - 2048 & 0xFFFFFFFF, 1, 4096))
        else:
            found = [sweep(library, name, f, 12345, ((1 << 64) // 400_009) | 1, 400_000)]
            for value in (0.03, 0.3, 0.7, 1.0, 1.4, 3.0, 10.0, 40.0, 600.0):
                start = int(np.float64(value).view("u8"))
                found += [sweep(library, name, f, start + sign, 1 << 36 | 1, 40_000) for sign in (0, 1 << 63)]
            for centre in (0, 0x7FF0 << 48, 0x8000 << 48, 0xFFF0 << 48, 0x40862E42FEFA39EF, 0xC0874910D52D3051):
                found.append(sweep(library, name, f, centre - 512 & (1 << 64) - 1, 1, 1024))
        worst[f] = max(found)
    assert max(e for e, _ in worst.values()) <= 2, worst


@pytest.mark.parametrize("element", ["f32", "f64"])
def test_pow_is_within_two_ulp(libraries: dict[tuple[str, str, str], ctypes.CDLL], element: str) -> None:
    rng = np.random.default_rng(3)
    dtype, count = np.dtype(DTYPES[element]), 200_000
    reference = np.float64 if element == "f32" else np.longdouble
    a, b = samples(element)[:2]
    spread = np.exp(rng.normal(0, 1, count) * np.where(rng.random(count) < 0.5, 0.3, 20))
    x = np.concatenate([a, spread.astype(dtype), spread.astype(dtype)])
    limit = rng.uniform(-1.05, 1.05, count) * (88 if element == "f32" else 709) / np.log(spread)
    y = np.concatenate(
        [b, (rng.normal(0, 1, count) * np.exp(rng.normal(0, 2, count))).astype(dtype), limit.astype(dtype)]
    )
    size = len(x) // 32 * 32
    x, y = np.ascontiguousarray(x[:size]), np.ascontiguousarray(y[:size])
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(reference), y.astype(reference))
        want = exact.astype(dtype)
        for key, library in libraries.items():
            if key[2] != "gnu":
                continue
            got = call(library, wide(element, next(t for t in TARGETS if t.name == key[0])), "pow", x, y)
            usual = np.isfinite(want) & (want != 0) & np.isfinite(got)
            assert np.array_equal(bits(got[~usual]), bits(want[~usual]))
            error = np.abs(got[usual] - exact[usual]) / np.spacing(np.abs(want[usual]))
            assert error.max() <= 2, (key, x[usual][error.argmax()], y[usual][error.argmax()])


MEMORY = """
void k_part(const @P@ *p, @P@ *o, int64_t n);
void k_part(const @P@ *p, @P@ *o, int64_t n) { @T@_store_n(o, @T@_load_n(p, n), n); }
void k_fill(const @P@ *p, @P@ *o, int64_t n);
void k_fill(const @P@ *p, @P@ *o, int64_t n) { @T@_store(o, @T@_load_n(p, n)); }
void k_strided(const @P@ *p, @P@ *o, int64_t n);
void k_strided(const @P@ *p, @P@ *o, int64_t n) { @T@_store_s(o, @T@_load_sn(p, 3, n), 2, n); }
void k_spread(const @P@ *p, @P@ *o, int64_t n);
void k_spread(const @P@ *p, @P@ *o, int64_t n) { (void)n; @T@_store(o, @T@_load_s(p, 3)); }
void k_lookup(const @P@ *p, @P@ *o, int64_t n);
void k_lookup(const @P@ *p, @P@ *o, int64_t n) {
  @I@ at = @I@_mul(@I@_iota(), @I@_splat(2));
  @T@_store(o, @T@_lookup_i64(p, at, n));
}
void k_first(const @P@ *p, @P@ *o, int64_t n);
void k_first(const @P@ *p, @P@ *o, int64_t n) { @T@_store(o, @T@_select(@M@_first_n(n), @T@_load(p), @T@_splat(9))); }
"""


@pytest.mark.parametrize("path", ["gnu", "plain"])
@pytest.mark.parametrize("element", ["f32", "f64", "i32", "i64", "u8"])
def test_memory(element: str, path: str, tmp_path: Path) -> None:
    """Partial and strided access touch exactly their lanes: the arrays end where the last lane does."""
    target = TARGETS[-1]
    t = parse(wide(element, target))
    i, m = t.of("i64"), t.mask
    needs = [
        (f, t.name)
        for f in ("load", "store", "load_n", "store_n", "load_s", "load_sn", "store_s", "lookup_i64", "splat", "select")
    ]
    needs += [("mul", i.name), ("iota", i.name), ("splat", i.name), ("first_n", m.name)]
    text = prelude(needs, target) + MEMORY.replace("@P@", t.memory).replace("@T@", t.name)
    text = text.replace("@I@", i.name).replace("@M@", m.name)
    more = ["-fsanitize=undefined", "-fno-sanitize-recover=all"] if path == "plain" else []
    library = build(
        text,
        target,
        tmp_path,
        "memory",
        str(GCC or CLANG),
        *more,
        *(["-DADJOINT_PLAIN_LANES"] if path == "plain" else []),
    )
    lanes, dtype = t.lanes, DTYPES[element]
    source = np.arange(1, 4 * lanes + 1, dtype=dtype)

    def run(name: str, p: Array, size: int, n: int) -> Array:
        out = np.full(size + 1, 7, dtype)
        getattr(library, name)(ctypes.c_void_p(p.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(n))
        assert out[-1] == 7
        return out[:-1]

    for n in range(-1, lanes + 2):
        k = min(max(n, 0), lanes)
        kept = np.where(np.arange(lanes) < k, 1, 0)
        assert np.array_equal(run("k_part", source, k, n)[:k], source[:k])
        assert np.array_equal(run("k_fill", source, lanes, n), source[:lanes] * kept)
        strided = run("k_strided", source, 2 * lanes, n)
        assert np.array_equal(strided[0 : 2 * k : 2], source[: 3 * k : 3])
        assert (strided[1::2] == 7).all() and (strided[2 * k :] == 7).all()
        assert np.array_equal(run("k_lookup", source, lanes, n), source[: 2 * lanes : 2] * kept)
        assert np.array_equal(run("k_first", source, lanes, n), np.where(kept, source[:lanes], 9))
    assert np.array_equal(run("k_spread", source, lanes, 0), source[: 3 * lanes : 3])


def test_horizontal(tmp_path: Path) -> None:
    """Sums follow the halving tree, extremes propagate NaN, and no path differs."""
    target = TARGETS[-1]
    text, needs = "", list[tuple[str, str]]()
    for element in ("f32", "f64", "i32", "i64"):
        t = parse(wide(element, target))
        needs += [("load", t.name), ("load", t.of("i64").name), ("iota", t.of("i64").name)]
        for f in ("hsum", "hprod", "hmax", "hmin", "hargmax", "hargmin"):
            needs.append((f, t.name))
            more = f", {t.of('i64')}_iota()" if "arg" in f else ""
            result = "int64_t" if "arg" in f else t.memory
            head = f"void k_{element}_{f}(const {t.memory} *p, {result} *o)"
            text += f"{head};\n{head} {{ *o = {t}_{f}({t}_load(p){more}); }}\n"
        if element[0] == "f":
            needs += [("any", t.mask.name), ("all", t.mask.name), ("ne", t.name)]
            for f in ("any", "all"):
                head = f"void k_{element}_{f}(const {t.memory} *p, int64_t *o)"
                text += f"{head};\n{head} {{ *o = {t.mask}_{f}({t}_ne({t}_load(p), {t}_load(p))); }}\n"
    text = prelude(needs, target) + text
    rng = np.random.default_rng(1)
    for compiler in filter(None, (GCC, CLANG)):
        for path in ("gnu", "plain"):
            library = build(
                text,
                target,
                tmp_path,
                f"h-{Path(compiler).name}-{path}",
                compiler,
                *(["-DADJOINT_PLAIN_LANES"] if path == "plain" else []),
            )
            for element in ("f32", "f64", "i32", "i64"):
                t = parse(wide(element, target))
                for trial in range(40):
                    a = rng.normal(0, 3, t.lanes).astype(DTYPES[element])
                    if trial % 4 == 1 and element[0] == "f":
                        a[rng.integers(0, t.lanes, 1 + trial % 3)] = np.nan

                    def got(f: str, like: Any, a: Array = a, element: str = element, library: Any = library) -> Any:
                        out = np.zeros(1, like)
                        getattr(library, f"k_{element}_{f}")(
                            ctypes.c_void_p(a.ctypes.data), ctypes.c_void_p(out.ctypes.data)
                        )
                        return out

                    def tree(op: Any, a: Array = a) -> Array:
                        while len(a) > 1:
                            a = op(a[: len(a) // 2], a[len(a) // 2 :])
                        return a

                    for f, op in (("hsum", np.add), ("hprod", np.multiply), ("hmax", np.maximum), ("hmin", np.minimum)):
                        assert np.array_equal(bits(got(f, a.dtype)), bits(tree(op))), (f, a)
                    assert got("hargmax", "int64")[0] == np.argmax(a)
                    assert got("hargmin", "int64")[0] == np.argmin(a)
                    if element[0] == "f":
                        assert got("any", "int64")[0] == np.isnan(a).any()
                        assert got("all", "int64")[0] == np.isnan(a).all()


def test_prelude_is_deterministic_and_minimal() -> None:
    needs = [("exp", "f32x16"), ("fma", "f32x16"), ("load", "f32x16")]
    text = prelude(needs, V4)
    assert text == prelude(reversed(needs), V4)
    assert "tanh" not in text and "f64" not in text and "f32x16_store" not in text
    assert prelude([("fma", "f32")], V4).count("INLINE f32") == 1
    with pytest.raises(ValueError, match="nonsense"):
        prelude([("nonsense", "f32x16")], V4)
    with pytest.raises(ValueError, match="and"):
        prelude([("and", "f32")], V4)
    with pytest.raises(ValueError, match="f32x5"):
        prelude([("add", "f32x5")], V4)
