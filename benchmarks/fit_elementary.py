"""Computes `compiler/codegen/elementary.py` (needs mpmath; run by hand, prints the table).

The fits are those of `fit_math.py`.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np
from fit_math import Fn, fit

mp.mp.prec = 2400
HALF_PI = mp.pi / 2


def odd_tail(f: Fn, first: mp.mpf, second: mp.mpf) -> Fn:
    """(f(s) / s - 1) / z with z = s^2, f(s) = s + first s^3 + second s^5 + ..."""

    def tail(z: mp.mpf) -> mp.mpf:
        s = mp.sqrt(z)
        return first + second * z if z < mp.mpf(2) ** -60 else (f(s) / s - 1) / z

    return tail


def cbrt_tail(d: mp.mpf) -> mp.mpf:
    """((1 + d)^(-1/3) - 1) / d"""
    third = mp.mpf(1) / 3
    return 2 * d / 9 - third if abs(d) < mp.mpf(2) ** -60 else ((1 + d) ** -third - 1) / d


def parts(x: mp.mpf, widths: list[int], single: bool) -> list[float]:
    """x as a sum: numbers that end at these places after the point, then one of full precision."""
    found = []
    for width in widths:
        part = mp.floor(x * mp.mpf(2) ** width) / mp.mpf(2) ** width
        found.append(float(part))
        x -= part
    return [*found, rounded(x, single)]


def rounded(x: mp.mpf, single: bool) -> float:
    return float(np.float32(float(x))) if single else float(x)


def base(factor: mp.mpf, log2: mp.mpf, single: bool) -> str:
    """Logarithms of a base: its factor over natural ones, and log 2 in it."""
    cut = 12 if single else 32
    factor_hi, factor_lo = parts(factor, [(23 if single else 52) - cut - (0 if factor > 1 else -1)], single)
    log2_hi, log2_lo = parts(log2, [16 if single else 42], single)
    values = {"factor_hi": factor_hi, "factor_lo": factor_lo, "log2_hi": log2_hi, "log2_lo": log2_lo}
    return f"Base(cut={cut}, " + ", ".join(f"{name}={value!r}" for name, value in values.items()) + ")"


def constants(single: bool) -> dict[str, str]:
    """The fields of `Elementary` that are no polynomials."""
    mantissa, bias, shift = (23, 127, 9) if single else (52, 1023, 12)
    half_pi = rounded(HALF_PI, single)
    return {
        "angle_large": repr(2.0 ** (bias - 2)),
        "base2": base(1 / mp.log(2), mp.mpf(1), single),
        "base10": base(1 / mp.log(10), mp.log10(2), single),
        "cbrt_downscale": repr(2.0**-8 if single else 2.0**-18),
        "cbrt_offset": repr(rounded((2 * mp.mpf(bias) / 3 - mp.mpf("0.0335")) * 2 ** (mantissa - shift), single)),
        "cbrt_shift": repr(shift),
        "circle_max": repr(6432.0 if single else 1.6e6),
        "exp2_max": repr(129.0 if single else 1025.0),
        "exp2_min": repr(-151.0 if single else -1076.0),
        "half_pi": repr(half_pi),
        "half_pi_low": repr(rounded(HALF_PI - half_pi, single)),
        "half_pi_parts": repr(tuple(parts(HALF_PI, [11, 23, 35, 47] if single else [32, 52, 85], single))),
        "hypot_down": repr(2.0**-66 if single else 2.0**-600),
        "hypot_large": repr(2.0**62 if single else 2.0**500),
        "hypot_small": repr(2.0**-50 if single else 2.0**-400),
        "hypot_up": repr(2.0**100 if single else 2.0**600),
        "log_huge": repr(2.0**14 if single else 2.0**28),
        "per_half_pi": repr(rounded(1 / HALF_PI, single)),
        "round": repr(1.5 * 2.0**mantissa),
        "sinh_max": repr(90.0 if single else 711.0),
        "third": repr(rounded(mp.mpf(1) / 3, single)),
        "two_over_pi": "TWO_OVER_PI",
    }


def two_over_pi() -> list[int]:
    """Words of 32 bits, the first two of the integer part, as many as the largest double asks for."""
    return [0, 0, *(int(mp.floor(mp.ldexp(1 / HALF_PI, 32 * (k + 1)))) & 0xFFFFFFFF for k in range(37))]


def main() -> None:
    words = [f"{word:#010x}" for word in two_over_pi()]
    print("TWO_OVER_PI = (")
    for k in range(0, len(words), 8):
        print("    " + ", ".join(words[k : k + 8]) + ",")
    print(")\n\nELEMENTARY: dict[int, Elementary] = {")
    scalars = {single: constants(single) for single in (True, False)}
    mp.mp.prec = 200
    quarter = mp.mpf("0.2501")
    third = mp.mpf(1) / 3
    jobs: dict[str, tuple[Fn, Fn, mp.mpf, mp.mpf, int, int]] = {
        "asin": (odd_tail(mp.asin, third / 2, mp.mpf(3) / 40), lambda z: z, quarter / 10**6, quarter, 4, 11),
        "atan": (odd_tail(mp.atan, -third, mp.mpf(1) / 5), lambda z: z, quarter / 10**6, quarter, 4, 11),
        "cbrt": (cbrt_tail, lambda d: abs(d), mp.mpf("-0.095"), mp.mpf("0.099"), 4, 4),
        "sinh": (
            odd_tail(mp.sinh, third / 2, mp.mpf(1) / 120),
            lambda z: z * mp.sqrt(z) / mp.sinh(mp.sqrt(z)),
            mp.mpf("1e-6"),
            mp.mpf("1.0001"),
            3,
            6,
        ),
    }
    for single in (True, False):
        print(f"    {32 if single else 64}: Elementary(")
        for name, text in scalars[single].items():
            print(f"        {name}={text},")
        for name, (f, weight, lo, hi, low, high) in jobs.items():
            c, error = fit(f, weight, lo, hi, low if single else high, single)
            print(f"        {name}=(  # error {mp.nstr(error, 3)}")
            for value in c:
                print(f"            {float(value)!r},")
            print("        ),", flush=True)
        print("    ),")
    print("}")


if __name__ == "__main__":
    main()
