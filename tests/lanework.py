"""What the tests of the lane library share: units that loop over arrays, targets of this machine, operands, ulps."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

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
MATH = PRELUDE_MATH - {"mul_error", "reduce_far"}
BINARY = {"pow", "atan2", "hypot", "logaddexp"}
COMPARE = ("lt", "le", "gt", "ge", "eq", "ne")
UNARY = ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "round", "not", *(MATH - BINARY))
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


def simple_functions(element: str) -> list[str]:
    """Everything of an element type but the vector math."""
    functions = [*operations(element), *(f"cvt_{other}" for other in SCALARS if other != element)]
    if element in ("f32", "f64", "i32", "i64"):
        functions.append("bitcast")
    return list(dict.fromkeys(functions))


def operands(function: str, element: str) -> list[Array]:
    if function.startswith("cvt_"):
        return samples(function[4:])[:1]
    if function == "bitcast":
        return samples({"f": "i", "i": "f"}[element[0]] + element[1:])[:1]
    return samples(element)[: 1 if function in UNARY else 3 if function == "fma" else 2]
