"""The vector math against references of higher precision: within what `codegen/accuracy.py` says.

`ADJOINT_FULL_SWEEP=1 pytest tests/lanes/test_accuracy.py` goes through all bit patterns of float32, the suite through
some of every exponent and sign, and all those around special values. Its reference is then the float64 function of the
library, whose own error is nothing at float32: half a minute a function, where the C library takes five.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from lanework import BASELINE, CLANG, DTYPES, GCC, MATH, TARGETS, Array, bits, build, call, samples, unit, wide

from adjoint.artifact import Target
from adjoint.codegen.accuracy import ULPS
from adjoint.codegen.prelude import parse, prelude

pytestmark = pytest.mark.skipif(GCC is None and CLANG is None, reason="no C compiler")
FULL = os.environ.get("ADJOINT_FULL_SWEEP") == "1"

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
# A lower bound of the unit of what is no special case, for a quick look.
SPACING = {
    32: """
static double spacing(double want) {
  const union { double f; uint64_t u; } high = {.f = want};
  const uint64_t e = high.u >> 52 & 2047;
  const union { uint64_t u; double f; } unit = {.u = e >= 897 && e < 1150 ? (e - 23) << 52 : 0};
  return unit.f;
}
""",
    64: "static double spacing(long double want) { return 0 * (want != 0); }\n",
}
SWEEP_ONE = r"""
void sweep_@T@_@F@(@U@ start, @U@ stride, uint64_t count, double *worst, @U@ *at);
void sweep_@T@_@F@(@U@ start, @U@ stride, uint64_t count, double *worst, @U@ *at) {
  double record = *worst = -1;
  for (uint64_t k = 0; k < count; k += @L@) {
    @R@ x[@L@], y[@L@];
    @W@ want[@L@];
    for (int i = 0; i < @L@; i++) {
      @U@ pattern = (@U@)(start + (k + (uint64_t)i) * stride);
      memcpy(x + i, &pattern, sizeof pattern);
    }
    @T@_store(y, @T@_@F@(@T@_load(x)));
    int news = 0;
    @REF@
    for (int i = 0; i < @L@; i++) news |= !(fabs@w@(y[i] - want[i]) <= record * spacing(want[i])) | (want[i] == 0);
    if (!news) continue;
    for (int i = 0; i < @L@; i++) {
      double error = ulps(y[i], want[i]);
      if (error > *worst) {
        record = *worst = error;
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
    **{f: f"{f}@(v)" for f in ("exp2", "log2", "log10", "cbrt", "tan", "asin", "acos", "atan")},
    **{f: f"{f}@(v)" for f in ("sinh", "cosh", "asinh", "acosh", "atanh")},
}


def sweep_unit(functions: list[str], name: str, target: Target, lanes_too: bool = False) -> str:
    """`lanes_too`: the reference is the function for float64, not that of the C library, which takes minutes."""
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
    needs = [(f, name) for f in [*functions, "load", "store"]]
    if lanes_too:
        needs += [(f, str(t.of("f64"))) for f in [*functions, "store", "cvt_f32"]]
    text = prelude(needs, target) + "#include <math.h>\n" + SPACING[t.bits] + SWEEP
    for f in functions:
        expression = REFERENCE[f].replace("@", table["w"])
        reference = f"for (int i = 0; i < {t.lanes}; i++) {{ @W@ v = x[i]; want[i] = {expression}; }}"
        if lanes_too:
            reference = f"{t.of('f64')}_store(want, {t.of('f64')}_{f}({t.of('f64')}_cvt_f32({name}_load(x))));"
        text += SWEEP_ONE.replace("@F@", f).replace("@REF@", reference)
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



# Where some function of one argument, or its code, turns: limits of exponentials, quarter turns, ends of domains.
SPECIAL = (
    *(0.0, 0.01, 0.03, 0.12, 0.17157, 0.3, 0.41421, 0.5, 0.7, 0.70711, 0.7854, 0.87, 1.0, 1.4, 1.41421, 1.5708, 2.0),
    *(3.0, 3.14159, 4.0, 4.712, 10.0, 11.0, 19.0, 40.0, 88.7228, 89.4, 103.97, 128.0, 149.0, 600.0, 709.78, 710.475),
    *(745.13, 1024.0, 1074.0, 6432.0, 16384.0, 2.0**20, 1.6e6, 2.0**28, 2.0**53),
)


def sweep_all(library: ctypes.CDLL, name: str, f: str) -> tuple[float, float]:
    single = parse(name).bits == 32
    if single:
        stride = 1 if FULL else 1021
        found = [sweep(library, name, f, 0, stride, (1 << 32) // stride)]
    else:
        found = [sweep(library, name, f, 12345, ((1 << 64) // 400_009) | 1, 400_000)]
    size, sign, inf = (32, 1 << 31, 0x7F800000) if single else (64, 1 << 63, 0x7FF0 << 48)
    centres = [inf, (1 if single else 1 << 29) << 23]
    centres += [int(np.asarray(v, "f4" if single else "f8").view(f"u{size // 8}")) for v in SPECIAL]
    for centre in centres:
        for start in (centre - 256, (centre | sign) - 256):
            found.append(sweep(library, name, f, start & (1 << size) - 1, 1, 512))
            if not single:
                found.append(sweep(library, name, f, start & (1 << size) - 1, 1 << 34 | 1, 4096))
    return max(found)


@pytest.mark.parametrize("function", sorted(REFERENCE))
@pytest.mark.parametrize("target", [TARGETS[-1], BASELINE], ids=lambda t: t.name)
def test_functions_of_one_argument(target: Target, function: str, tmp_path: Path) -> None:
    if target not in TARGETS:
        pytest.skip("not this machine")
    for element in ("f32", "f64"):
        all_patterns = FULL and element == "f32"
        name = f"f32x{target.vector_bytes // 8}" if all_patterns else wide(element, target)
        text = sweep_unit([function], name, target, all_patterns)
        library = build(text, target, tmp_path, name, str(GCC or CLANG), "-O3")
        worst, at = sweep_all(library, name, function)
        print(f"{function} {name}: {worst:.3f} ulp at {at!r}")
        assert worst <= ULPS[function], (name, at)


def test_every_function_has_a_reference() -> None:
    assert set(REFERENCE) | {"pow", "atan2", "hypot", "logaddexp", "relu"} == MATH
    assert MATH - {"relu"} | {"erfc"} == set(ULPS)


def of_two_arguments(function: str, x: Array, y: Array) -> None:
    """Against NumPy in higher precision; special values as in NumPy, zeros by their sign."""
    dtype = x.dtype
    size = len(x) // 32 * 32
    x, y = np.ascontiguousarray(x[:size]), np.ascontiguousarray(y[:size])
    reference = {"pow": np.power, "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp}[function]
    wider = np.float64 if dtype == np.float32 else np.longdouble
    element = {np.dtype("f4"): "f32", np.dtype("f8"): "f64"}[dtype]
    with np.errstate(all="ignore"):
        exact = reference(x.astype(wider), y.astype(wider))
        want = exact.astype(dtype)
    usual = np.isfinite(want) & (want != 0)
    scale = np.abs(want)
    if function == "logaddexp":  # an exponential, a logarithm and a sum; where its terms cancel, their size counts
        with np.errstate(all="ignore"):
            most = np.maximum(x, y)
            scale = np.maximum(scale, np.maximum(np.abs(most), np.abs(want - most)))
    for target in {TARGETS[-1].name: TARGETS[-1], TARGETS[0].name: TARGETS[0]}.values():
        name = wide(element, target)
        with TemporaryDirectory() as folder:
            library = build(unit([(function, name)], target), target, Path(folder), name, str(GCC or CLANG))
            got = call(library, name, function, x, y)
        differs = bits(got[~usual]) != bits(want[~usual])
        if differs.any():
            at = np.flatnonzero(~usual)[np.argmax(differs)]
            raise AssertionError((function, name, x[at], y[at], got[at], want[at]))
        with np.errstate(all="ignore"):
            error = np.abs(got[usual] - exact[usual]) / np.spacing(scale[usual])
        at = np.flatnonzero(usual)[np.argmax(error)]
        print(f"{function} {name}: {error.max():.3f} ulp at {x[at]!r}, {y[at]!r}")
        assert error.max() <= ULPS[function], (name, x[at], y[at])


ELEMENTS = pytest.mark.parametrize("element", ["f32", "f64"])


@ELEMENTS
def test_pow(element: str) -> None:
    rng = np.random.default_rng(3)
    dtype, count = np.dtype(DTYPES[element]), 200_000
    a, b = samples(element)[:2]
    spread = np.exp(rng.normal(0, 1, count) * np.where(rng.random(count) < 0.5, 0.3, 20))
    limit = rng.uniform(-1.05, 1.05, count) * (88 if element == "f32" else 709) / np.log(spread)
    x = np.concatenate([a, spread.astype(dtype), spread.astype(dtype)])
    y = np.concatenate(
        [b, (rng.normal(0, 1, count) * np.exp(rng.normal(0, 2, count))).astype(dtype), limit.astype(dtype)]
    )
    of_two_arguments("pow", x, y)


@ELEMENTS
@pytest.mark.parametrize("function", ["atan2", "hypot"])
def test_functions_of_a_point(function: str, element: str) -> None:
    """All magnitudes and special values, then points all round the origin with every ratio of lengths."""
    rng = np.random.default_rng(5)
    dtype, count = np.dtype(DTYPES[element]), 300_000
    info = np.finfo(dtype)
    a, b = samples(element)[:2]
    any_bits = [rng.integers(0, 1 << 8 * dtype.itemsize - 1, count, f"u{dtype.itemsize}").view(dtype) for _ in range(2)]
    lengths = np.exp2(rng.uniform(info.minexp - info.nmant, info.maxexp - 2, count))
    ratios = np.exp2(rng.normal(0, 1, count) * np.where(rng.random(count) < 0.7, 1, 30))
    with np.errstate(all="ignore"):
        x = (lengths * rng.choice([-1.0, 1.0], count)).astype(dtype)
        y = (lengths * ratios * rng.choice([-1.0, 1.0], count)).astype(dtype)
    of_two_arguments(function, np.concatenate([a, any_bits[0], x, y]), np.concatenate([b, any_bits[1], y, x]))


@ELEMENTS
def test_logaddexp(element: str) -> None:
    rng = np.random.default_rng(6)
    dtype, count = np.dtype(DTYPES[element]), 300_000
    a, b = samples(element)[:2]
    x = rng.normal(0, 1, count) * np.exp(rng.normal(0, 2, count))
    y = x + rng.normal(0, 1, count) * np.exp(rng.normal(0, 2, count))
    of_two_arguments("logaddexp", np.concatenate([a, x.astype(dtype)]), np.concatenate([b, y.astype(dtype)]))
