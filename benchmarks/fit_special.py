"""Fits the polynomials in `compiler/codegen/special_coefficients.py` (needs mpmath; run by hand, prints the table)."""

from __future__ import annotations

import sys
from functools import cache

import mpmath as mp
from fit_math import Fn, fit

ROOT = mp.findroot(mp.digamma, 1.46)


def scaled_erfc(middle: int) -> Fn:
    """(1 + 2 x) e^(x^2) erfc(x) with x = middle (1 + t) / (1 - t)"""

    def f(t: mp.mpf) -> mp.mpf:
        x = middle * (1 + t) / (1 - t)
        return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)

    return f


def lgamma_near(u: mp.mpf) -> mp.mpf:
    """lgamma(2 + u) / u"""
    return mp.digamma(2) + u * mp.polygamma(1, 2) / 2 if abs(u) < mp.mpf(2) ** -60 else mp.loggamma(2 + u) / u


def lgamma_far(w: mp.mpf) -> mp.mpf:
    """x (lgamma(x) - (x - 1/2) log x + x - log(2 pi) / 2) with w = 1 / x^2"""
    x = 1 / mp.sqrt(w)
    return x * (mp.loggamma(x) - (x - mp.mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2)


def digamma_near(v: mp.mpf) -> mp.mpf:
    """digamma(y) / (y - its root) with y = v + 3/2"""
    y = v + mp.mpf(3) / 2
    return mp.polygamma(1, ROOT) if abs(y - ROOT) < mp.mpf(2) ** -60 else mp.digamma(y) / (y - ROOT)


def digamma_far(w: mp.mpf) -> mp.mpf:
    """x^2 (log x - 1 / (2 x) - digamma(x)) with w = 1 / x^2"""
    x = 1 / mp.sqrt(w)
    return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) / w


def sinpi(z: mp.mpf) -> mp.mpf:
    """sin(pi f) / (pi f) with z = f^2"""
    return mp.sincpi(mp.sqrt(z))


def reached(x: float, middle: int) -> mp.mpf:
    return (mp.mpf(x) - middle) / (x + middle)


def main() -> None:
    one, far = (lambda x: mp.mpf(1)), mp.mpf(1) / 64
    tiny, quarter = far / 10**6, mp.mpf("0.2501")
    jobs: list[tuple[str, Fn, Fn, mp.mpf, mp.mpf, int, bool]] = [
        ("erfc", scaled_erfc(2), one, mp.mpf(-1), reached(10.1, 2), 11, True),
        ("erfc", scaled_erfc(4), one, mp.mpf(-1), reached(27.3, 4), 22, False),
        ("lgamma_near", lgamma_near, one, mp.mpf("-0.75"), mp.mpf("0.5"), 20, False),
        ("lgamma_far", lgamma_far, one, tiny, far, 6, False),
        ("digamma_near", digamma_near, one, mp.mpf("-0.5"), mp.mpf("0.5"), 23, False),
        ("digamma_far", digamma_far, one, tiny, far, 6, False),
        ("sinpi", sinpi, one, mp.mpf(0), quarter, 8, False),
    ]
    chosen = set(sys.argv[1:])
    for name, f, weight, lo, hi, degree, single in jobs:
        if chosen and name not in chosen:
            continue
        c, error = fit(cache(f), weight, lo, hi, degree, single)
        print(f"    ({name!r}, {32 if single else 64}): (  # error {mp.nstr(error, 3)}")
        for value in c:
            print(f"        {value!r},")
        print("    ),", flush=True)
    high = float(ROOT)
    print(f"root: {high!r}, {float(ROOT - high)!r}")


if __name__ == "__main__":
    main()
