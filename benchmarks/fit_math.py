"""Fits the polynomial coefficients in `compiler/codegen/coefficients.py` (needs mpmath; run by hand, prints the table).

Each polynomial is a weighted minimax fit by the Remez exchange on a fine grid. Coefficients are rounded to the type one
after the other from the constant term up; the remaining ones are refitted each time, so that they absorb the rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.prec = 200
Fn = Callable[[mp.mpf], mp.mpf]


def remez(
    f: Fn, weight: Fn, lo: mp.mpf, hi: mp.mpf, powers: list[int], grid: int = 1201
) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients c minimising max |weight(x) * (sum c_k x^powers_k - f(x))| on [lo, hi]."""
    n = len(powers)
    xs = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * i / grid) for i in range(grid + 1)]
    fs = [f(x) for x in xs]
    ws = [max(weight(x), mp.mpf(10) ** -7) for x in xs]  # where the weight vanishes any value will do
    reference = [round(i * grid / n) for i in range(n + 1)]
    best: tuple[list[mp.mpf], mp.mpf] = ([], mp.inf)
    for _ in range(40):
        a = mp.matrix(n + 1, n + 1)
        b = mp.matrix(n + 1, 1)
        for row, i in enumerate(reference):
            for col, power in enumerate(powers):
                a[row, col] = xs[i] ** power
            a[row, n] = (-1) ** row / ws[i]
            b[row] = fs[i]
        try:
            solution = mp.lu_solve(a, b)
        except ZeroDivisionError:  # two reference points fell together: the last fit stands
            break
        c = [solution[i] for i in range(n)]
        errors = [
            w * (mp.fsum(ck * x**p for ck, p in zip(c, powers, strict=True)) - y)
            for x, y, w in zip(xs, fs, ws, strict=True)
        ]
        worst = max(abs(e) for e in errors)
        if worst < best[1]:
            best = (c, worst)
        if worst <= abs(solution[n]) * mp.mpf("1.001"):
            break
        peaks: list[int] = []
        for i, e in enumerate(errors):
            if peaks and (errors[peaks[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if len(peaks) < n + 1:
            break
        reference = peaks
    return best


def fit(f: Fn, weight: Fn, lo: mp.mpf, hi: mp.mpf, degree: int, single: bool) -> tuple[list[float], mp.mpf]:
    """Rounded coefficients, constant term first, and the error that remains."""
    fixed: list[float] = []
    left, error = remez(f, weight, lo, hi, list(range(degree + 1)))
    for k in range(degree + 1):
        fixed.append(float(np.float32(float(left[0]))) if single else float(left[0]))
        left = left[1:]
        if not left:
            break

        def rest(x: mp.mpf, done: tuple[float, ...] = tuple(fixed)) -> mp.mpf:
            return f(x) - mp.fsum(mp.mpf(c) * x**i for i, c in enumerate(done))

        again, worst = remez(rest, weight, lo, hi, list(range(k + 1, degree + 1)))
        if worst < 2 * error:  # the exchange may fail on the few powers that remain: then the last fit stands
            left, error = again, max(error, worst)
    return fixed, error


LN2 = mp.log(2)
ROOT = mp.sqrt(2)


def exp_tail(x: mp.mpf) -> mp.mpf:
    """(e^x - 1 - x) / x^2"""
    return mp.mpf(1) / 2 + x / 6 + x * x / 24 if abs(x) < mp.mpf(2) ** -40 else (mp.expm1(x) - x) / x**2


def atanh_tail(z: mp.mpf) -> mp.mpf:
    """(2 atanh(s) / s - 2) / z with z = s^2"""
    s = mp.sqrt(z)
    return mp.mpf(2) / 3 + 2 * z / 5 if z < mp.mpf(2) ** -60 else (2 * mp.atanh(s) / s - 2) / z


def erf_tail(z: mp.mpf) -> mp.mpf:
    """erf(x) / x - 1 with z = x^2"""
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1


def log_erfc(middle: int) -> Fn:
    return lambda u: mp.log(mp.erfc(u + middle))


def pow_tail(z: mp.mpf) -> mp.mpf:
    """(2 atanh(s) / s - 2 - 2 z / 3) / z^2 with z = s^2"""
    return mp.mpf(2) / 5 + 2 * z / 7 if z < mp.mpf(2) ** -50 else (atanh_tail(z) - mp.mpf(2) / 3) / z


def tanh_tail(z: mp.mpf) -> mp.mpf:
    """(tanh(x) / x - 1) / z with z = x^2"""
    x = mp.sqrt(z)
    return -mp.mpf(1) / 3 + 2 * z / 15 if z < mp.mpf(2) ** -60 else (mp.tanh(x) / x - 1) / z


def sin_tail(z: mp.mpf) -> mp.mpf:
    x = mp.sqrt(z)
    return -mp.mpf(1) / 6 + z / 120 if z < mp.mpf(2) ** -60 else (mp.sin(x) / x - 1) / z


def cos_tail(z: mp.mpf) -> mp.mpf:
    x = mp.sqrt(z)
    return mp.mpf(1) / 24 - z / 720 if z < mp.mpf(2) ** -50 else (mp.cos(x) - 1 + z / 2) / z**2


def constants(single: bool) -> dict[str, float]:
    """The fields of `Constants`."""

    def rounded(x: mp.mpf) -> float:
        return float(np.float32(float(x))) if single else float(x)

    def short(x: mp.mpf, bits: int) -> float:
        """x to a few bits, so that products with small integers are exact."""
        m, e = mp.frexp(x)
        return float(mp.floor(m * 2**bits + 0.5) * mp.mpf(2) ** (int(e) - bits))

    def pattern(x: float) -> int:
        return int(np.float32(x).view("u4")) if single else int(np.float64(x).view("u8"))

    mantissa, bias, keep = (23, 127, 16) if single else (52, 1023, 42)
    two, one = short(2 * LN2, keep), short(LN2, keep)
    thirds = rounded(mp.mpf(2) / 3)
    return {
        "mantissa": mantissa,
        "bias": bias,
        "magic": float(3 * 2 ** (mantissa - 1) + bias),
        "log2e": rounded(1 / LN2),
        "half_log2e": rounded(1 / LN2 / 2),
        "ln2": rounded(LN2),
        "two_ln2_hi": two,
        "two_ln2_lo": rounded(2 * LN2 - two),
        "ln2_hi": one,
        "ln2_lo": rounded(LN2 - one),
        "exp_max": 89.0 if single else 710.0,
        "exp_min": -104.0 if single else -746.0,
        "expm1_min": -18.0 if single else -38.0,
        "tiny": 2.0**-30 if single else 2.0**-60,
        "two_thirds": thirds,
        "two_thirds_lo": rounded(mp.mpf(2) / 3 - thirds),
        "split": 4097.0 if single else 134217729.0,
        "pow_max": 2.0**33 if single else 2.0**65,
        "erf_max": 3.95 if single else 5.95,
        "erf_small": 0.8464,
        "erf_middle": 1.0,
        "lift": 64.0 if single else 512.0,
        "tanh_small": 0.12,
        "tanh_max": 18.5 if single else 38.5,
        "normal": 2.0**-126 if single else 2.0**-1022,
        "upscale": 2.0**24 if single else 2.0**54,
        "upscale_log2": 24.0 if single else 54.0,
        "large": 2.0**mantissa,
        "large_bits": pattern(2.0**mantissa),
        "one_bits": pattern(1.0),
        "root_bits": pattern(rounded(mp.sqrt(mp.mpf(1) / 2))),
        "mantissa_mask": 2**mantissa - 1,
    }


def main() -> None:
    for single in (True, False):
        print(f"    {32 if single else 64}: Constants(")
        for name, value in constants(single).items():
            print(f"        {name}={hex(int(value)) if name.endswith(('bits', 'mask')) else repr(value)},")
        print("    ),")
    wide, half = LN2 * mp.mpf("1.0001"), LN2 / 2 * mp.mpf("1.0001")
    zmax = ((ROOT - 1) / (ROOT + 1)) ** 2 * mp.mpf("1.001")
    quarter = (mp.pi / 4) ** 2 * mp.mpf("1.0001")
    jobs: list[tuple[str, Fn, Fn, mp.mpf, mp.mpf, int, int]] = [
        ("exp", exp_tail, lambda x: x**2 / mp.exp(x), -wide, wide * mp.mpf("1.001"), 5, 11),
        ("expm1", exp_tail, lambda x: abs(x), -wide, wide * mp.mpf("1.001"), 6, 12),
        ("expm1_half", exp_tail, lambda x: abs(x), -half, half * mp.mpf("1.001"), 4, 9),
        ("tanh", tanh_tail, lambda z: z, mp.mpf("1e-7"), mp.mpf("0.1225"), 2, 7),
        ("log", atanh_tail, lambda z: z, zmax / 10**6, zmax, 3, 6),
        ("pow", pow_tail, lambda z: z**2, zmax / 10**6, zmax, 2, 7),
        ("erf_small", erf_tail, lambda z: mp.mpf(1), mp.mpf("1e-9"), mp.mpf("0.86"), 5, 11),
        ("erf_large", log_erfc(1), lambda u: mp.erfc(u + 1), mp.mpf("-0.08"), mp.mpf("2.95"), 7, 0),
        ("erf_large", log_erfc(1), lambda u: mp.erfc(u + 1), mp.mpf("-0.08"), mp.mpf("4.95"), 0, 22),
        ("sin", sin_tail, lambda z: z, quarter / 10**6, quarter, 2, 5),
        ("cos", cos_tail, lambda z: z**2, quarter / 10**6, quarter, 2, 5),
    ]
    chosen = set(sys.argv[1:])
    for name, f, weight, lo, hi, low, high in jobs:
        if chosen and name not in chosen:
            continue
        for single, degree in ((True, low), (False, high)):
            if not degree:
                continue
            c, error = fit(f, weight, lo, hi, degree, single)
            print(f'    ("{name}", {32 if single else 64}): (  # error {mp.nstr(error, 3)}')
            for value in c:
                print(f"        {float(value)!r},")
            print("    ),", flush=True)


if __name__ == "__main__":
    main()
