"""Constants of the elementary functions beyond `coefficients.py`: printed by `benchmarks/fit_elementary.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Base:
    """The base of a logarithm: its factor over natural logarithms, and log 2 in it.

    Products of `factor_hi` with floats whose `cut` lowest bits are 0 are exact, those of `log2_hi` with exponents too.
    """

    cut: int
    factor_hi: float
    factor_lo: float
    log2_hi: float
    log2_lo: float


@dataclass(frozen=True)
class Elementary:
    """Limits, splittings and minimax polynomials (constant term first) of one float type.

    half_pi_parts   pi/2 as a sum; products of all but the last with the quarter turns up to `circle_max` are exact
    two_over_pi     2/pi in words of 32 bits, of which the first two are its integer part
    """

    angle_large: float
    base2: Base
    base10: Base
    cbrt_downscale: float
    cbrt_offset: float
    cbrt_shift: int
    circle_max: float
    exp2_max: float
    exp2_min: float
    half_pi: float
    half_pi_low: float
    half_pi_parts: tuple[float, ...]
    hypot_down: float
    hypot_large: float
    hypot_small: float
    hypot_up: float
    log_huge: float
    per_half_pi: float
    round: float
    sinh_max: float
    third: float
    two_over_pi: tuple[int, ...]
    asin: tuple[float, ...]
    atan: tuple[float, ...]
    cbrt: tuple[float, ...]
    sinh: tuple[float, ...]


TWO_OVER_PI = (
    0x00000000, 0x00000000, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041,
    0xfe5163ab, 0xdebbc561, 0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e,
    0xe88235f5, 0x2ebb4484, 0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4, 0x9c845f8b, 0xbdf9283b,
    0x1ff897ff, 0xde05980f, 0xef2f118b, 0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d,
    0x7527bac7, 0xebe5f17b, 0x3d0739f7, 0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046,
)

ELEMENTARY: dict[int, Elementary] = {
    32: Elementary(
        angle_large=4.253529586511731e+37,
        base2=Base(
            cut=12,
            factor_hi=1.4423828125,
            factor_lo=0.00031222839606925845,
            log2_hi=1.0,
            log2_lo=0.0,
        ),
        base10=Base(
            cut=12,
            factor_hi=0.43408203125,
            factor_lo=0.0002124506572727114,
            log2_hi=0.301025390625,
            log2_lo=4.605039066518657e-06,
        ),
        cbrt_downscale=0.00390625,
        cbrt_offset=1386629.75,
        cbrt_shift=9,
        circle_max=6432.0,
        exp2_max=129.0,
        exp2_min=-151.0,
        half_pi=1.5707963705062866,
        half_pi_low=-4.371138828673793e-08,
        half_pi_parts=(
            1.5703125,
            0.0004837512969970703,
            7.549533620476723e-08,
            2.5579538487363607e-12,
            5.390302953474238e-15,
        ),
        hypot_down=1.3552527156068805e-20,
        hypot_large=4.611686018427388e+18,
        hypot_small=8.881784197001252e-16,
        hypot_up=1.2676506002282294e+30,
        log_huge=16384.0,
        per_half_pi=0.6366197466850281,
        round=12582912.0,
        sinh_max=90.0,
        third=0.3333333432674408,
        two_over_pi=TWO_OVER_PI,
        asin=(  # error 4.99e-9
            0.16666753590106964,
            0.07495249062776566,
            0.04547666013240814,
            0.02414812333881855,
            0.042219821363687515,
        ),
        atan=(  # error 5.17e-9
            -0.333332359790802,
            0.19994287192821503,
            -0.14175686240196228,
            0.10162965208292007,
            -0.05136999487876892,
        ),
        cbrt=(  # error 3.99e-9
            -0.3333333432674408,
            0.2222176492214203,
            -0.17283153533935547,
            0.14554822444915771,
            -0.12646768987178802,
        ),
        sinh=(  # error 5.19e-11
            0.1666666716337204,
            0.008333349600434303,
            0.0001983615948120132,
            2.8169574761705007e-06,
        ),
    ),
    64: Elementary(
        angle_large=2.247116418577895e+307,
        base2=Base(
            cut=32,
            factor_hi=1.4426946640014648,
            factor_lo=3.768874985636099e-07,
            log2_hi=1.0,
            log2_lo=0.0,
        ),
        base10=Base(
            cut=32,
            factor_hi=0.4342942237854004,
            factor_lo=2.5811785143702614e-07,
            log2_hi=0.30102999566383914,
            log2_lo=1.42050232272661e-13,
        ),
        cbrt_downscale=3.814697265625e-06,
        cbrt_offset=749830096503701.5,
        cbrt_shift=12,
        circle_max=1600000.0,
        exp2_max=1025.0,
        exp2_min=-1076.0,
        half_pi=1.5707963267948966,
        half_pi_low=6.123233995736766e-17,
        half_pi_parts=(1.5707963267341256, 6.077094383272197e-11, 6.12323399409214e-17, 1.6446256936324258e-26),
        hypot_down=2.409919865102884e-181,
        hypot_large=3.273390607896142e+150,
        hypot_small=3.8725919148493183e-121,
        hypot_up=4.149515568880993e+180,
        log_huge=268435456.0,
        per_half_pi=0.6366197723675814,
        round=6755399441055744.0,
        sinh_max=711.0,
        third=0.3333333333333333,
        two_over_pi=TWO_OVER_PI,
        asin=(  # error 1.53e-17
            0.16666666666665375,
            0.07500000000344952,
            0.04464285682186235,
            0.030381959399648373,
            0.02237175184884322,
            0.01735979684621556,
            0.013884339628456574,
            0.01217500797923342,
            0.006503254800943094,
            0.019595025382268656,
            -0.01632770948209897,
            0.031982352198849026,
        ),
        atan=(  # error 3.92e-18
            -0.33333333333332993,
            0.19999999999905552,
            -0.1428571427657596,
            0.11111110667071505,
            -0.0909089641439559,
            0.07692076352612928,
            -0.06663833640522113,
            0.05858443522171214,
            -0.05122604782723392,
            0.04188076024723725,
            -0.02745862028391497,
            0.010132433402621745,
        ),
        cbrt=(  # error 3.58e-9
            -0.3333333283985474,
            0.22221797484377304,
            -0.17284161706914744,
            0.14549227787880095,
            -0.12532029795051702,
        ),
        sinh=(  # error 8.66e-20
            0.16666666666666669,
            0.008333333333333148,
            0.00019841269841431954,
            2.7557319157045188e-06,
            2.505212314114123e-08,
            1.6057259411968286e-10,
            7.758759986134996e-13,
        ),
    ),
}
