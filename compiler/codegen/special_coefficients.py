"""Polynomials of the special functions, printed by `benchmarks/fit_special.py`, constant term first, and what the
derivatives of digamma need, which follows from exact fractions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ..graph.special import cotangent_derivative, reach, tail


@dataclass(frozen=True)
class Special:
    """Of one float type. The variable of `erfc` is 0 at `erfc_middle`; below the square `erfc_small` erfc is 1 - erf,
    from `erfc_max` on it rounds to 0."""

    erfc_middle: float
    erfc_small: float
    erfc_max: float
    erfc: tuple[float, ...]


@dataclass(frozen=True)
class SpecialOfDoubles(Special):
    """With the gamma function's, which only double precision has."""

    half_log_2pi: float
    pi: float
    digamma_root: float
    digamma_root_lo: float
    lgamma_near: tuple[float, ...]
    lgamma_far: tuple[float, ...]
    digamma_near: tuple[float, ...]
    digamma_far: tuple[float, ...]
    sinpi: tuple[float, ...]


@dataclass(frozen=True)
class Polygamma:
    """Of the n-th derivative: terms are `term` / (y 2^-exponent)^(n+1) up to `start`, from where on the series is
    `lead` / (y 2^-exponent)^n (1/n + r/2 + r^2 tail(r^2)), r = 1/y; `cotangent` is multiplied by pi^(n+1)."""

    n: int
    start: int
    exponent: int
    term: float
    lead: float
    tail: tuple[float, ...]
    cotangent: tuple[float, ...]


_TERMS = 10
_PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")


@lru_cache(maxsize=256)
def polygamma(n: int) -> Polygamma:
    """The constants for n from 1 on."""
    factorial = math.factorial(n)
    exponent = round(math.log2(factorial) / (n + 1))
    scale = Fraction(1, 2**exponent)
    return Polygamma(
        n=n,
        start=reach(n, _TERMS, 2e-17),
        exponent=exponent,
        term=float(factorial * scale ** (n + 1)),
        lead=float(factorial * scale**n),
        tail=tuple(map(float, tail(n, _TERMS))),
        cotangent=tuple(float(a * _PI ** (n + 1)) for a in cotangent_derivative(n)),
    )


SPECIAL: dict[int, Special] = {
    32: Special(
        erfc_middle=2.0,
        erfc_small=0.22,
        erfc_max=10.1,
        erfc=(
            1.2769783735275269,
            -0.09276381880044937,
            -0.16603051126003265,
            0.16405105590820312,
            -0.05421791225671768,
            -0.008031017147004604,
            0.008709440007805824,
            0.001253232010640204,
            -0.0014212944079190493,
            -0.00040151120629161596,
            0.00016955942555796355,
            7.972178718773648e-05,
        ),
    ),
    64: SpecialOfDoubles(
        erfc_middle=4.0,
        erfc_small=0.22,
        erfc_max=27.3,
        half_log_2pi=0.9189385332046728,
        pi=3.141592653589793,
        digamma_root=1.4616321449683622,
        digamma_root_lo=9.549995429965697e-17,
        erfc=(
            1.2329951186255526,
            -0.13962111684056283,
            0.015379652102620274,
            0.0680970542547322,
            -0.10103906603633006,
            0.09373283499695499,
            -0.06633036581191257,
            0.03716751556016164,
            -0.01619773405602195,
            0.005031969774439241,
            -0.0007577733534077804,
            -0.00019925559514436542,
            0.00015062225902734078,
            -2.4402916914974615e-05,
            -1.1224744642017054e-05,
            5.71745120300187e-06,
            3.0115625720893334e-07,
            -8.347435060135256e-07,
            6.298900935283651e-08,
            1.151717755486197e-07,
            -7.880526406381347e-09,
            -1.3662340942253762e-08,
            -1.7988284217101493e-09,
        ),
        lgamma_near=(
            0.42278433509846713,
            0.32246703342411326,
            -0.06735230105319738,
            0.02058080842777934,
            -0.007385551028653125,
            0.002890510331034881,
            -0.0011927539143486035,
            0.0005096695150134568,
            -0.00022315468810331699,
            9.945770764984497e-05,
            -4.4927094826358095e-05,
            2.0504876975720107e-05,
            -9.434095686375693e-06,
            4.3915261707204905e-06,
            -2.055238320409341e-06,
            8.863116655592009e-07,
            -4.421856679758879e-07,
            3.6290941287832107e-07,
            -2.904268709195256e-08,
            -8.391502411415003e-08,
            -1.4537156129093984e-07,
        ),
        lgamma_far=(
            0.08333333333333333,
            -0.0027777777777740994,
            0.0007936507898351238,
            -0.0005952366070379591,
            0.0008414728610830601,
            -0.0018905406684091208,
            0.0050692649240403915,
        ),
        digamma_near=(
            0.9510558760318328,
            -0.42362742128146047,
            0.24054248424078736,
            -0.1484049230539199,
            0.09498872445282819,
            -0.06192213327141884,
            0.040760833944740504,
            -0.026975796855727513,
            0.017907248192309294,
            -0.011908214866787926,
            0.007927024136502729,
            -0.005280022808407206,
            0.003518079275238931,
            -0.0023445978514214302,
            0.0015635739679332836,
            -0.0010426200414954945,
            0.0006899429529787543,
            -0.0004583585505040071,
            0.00032689289320556606,
            -0.000222373928936559,
            9.158857925356667e-05,
            -5.394140417977388e-05,
            0.0001224156422744494,
            -8.656133490231756e-05,
        ),
        digamma_far=(
            0.08333333333333333,
            -0.008333333333287285,
            0.0039682539168565375,
            -0.004166645977398853,
            0.007571819333641864,
            -0.02070490122640569,
            0.06376209007501485,
        ),
        sinpi=(
            1.0,
            -1.6449340668482264,
            0.8117424252833467,
            -0.19075182412170444,
            0.02614784780851706,
            -0.0023460809188807392,
            0.00014842794535203983,
            -6.972342475589014e-06,
            2.452617838883642e-07,
        ),
    ),
}
