"""Constants of the vector math: printed by `benchmarks/fit_math.py`, constant term first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Constants:
    """What the functions need beside polynomials. `*_hi` have trailing zeros: their product with an exponent is exact."""

    mantissa: int
    bias: int
    magic: float
    log2e: float
    half_log2e: float
    ln2: float
    two_ln2_hi: float
    two_ln2_lo: float
    ln2_hi: float
    ln2_lo: float
    exp_max: float
    exp_min: float
    expm1_min: float
    tiny: float
    lift: float
    tanh_small: float
    tanh_max: float
    normal: float
    upscale: float
    upscale_log2: float
    large: float
    large_bits: int
    one_bits: int
    root_bits: int
    mantissa_mask: int


@dataclass(frozen=True)
class Polynomials:
    """Minimax polynomials of one float type."""

    cos: tuple[float, ...]
    exp: tuple[float, ...]
    expm1: tuple[float, ...]
    expm1_half: tuple[float, ...]
    log: tuple[float, ...]
    sin: tuple[float, ...]
    tanh: tuple[float, ...]


CONSTANTS = {
    32: Constants(
        mantissa=23,
        bias=127,
        magic=12583039.0,
        log2e=1.4426950216293335,
        half_log2e=0.7213475108146667,
        ln2=0.6931471824645996,
        two_ln2_hi=1.38629150390625,
        two_ln2_lo=2.857213530660374e-06,
        ln2_hi=0.693145751953125,
        ln2_lo=1.428606765330187e-06,
        exp_max=89.0,
        exp_min=-104.0,
        expm1_min=-18.0,
        tiny=9.313225746154785e-10,
        lift=64.0,
        tanh_small=0.12,
        tanh_max=18.5,
        normal=1.1754943508222875e-38,
        upscale=16777216.0,
        upscale_log2=24.0,
        large=8388608.0,
        large_bits=0x4b000000,
        one_bits=0x3f800000,
        root_bits=0x3f3504f3,
        mantissa_mask=0x7fffff,
    ),
    64: Constants(
        mantissa=52,
        bias=1023,
        magic=6755399441056767.0,
        log2e=1.4426950408889634,
        half_log2e=0.7213475204444817,
        ln2=0.6931471805599453,
        two_ln2_hi=1.3862943611197807,
        two_ln2_lo=1.0995846037416742e-13,
        ln2_hi=0.6931471805598903,
        ln2_lo=5.497923018708371e-14,
        exp_max=710.0,
        exp_min=-746.0,
        expm1_min=-38.0,
        tiny=8.673617379884035e-19,
        lift=512.0,
        tanh_small=0.12,
        tanh_max=38.5,
        normal=2.2250738585072014e-308,
        upscale=1.8014398509481984e+16,
        upscale_log2=54.0,
        large=4503599627370496.0,
        large_bits=0x4330000000000000,
        one_bits=0x3ff0000000000000,
        root_bits=0x3fe6a09e667f3bcd,
        mantissa_mask=0xfffffffffffff,
    ),
}

POLYNOMIALS = {
    32: Polynomials(
        cos=(  # error 1.06e-10
            0.04166664555668831,
            -0.00138873013202101,
            2.4430670237052254e-05,
        ),
        exp=(  # error 1.55e-8
            0.5000003576278687,
            0.1666661649942398,
            0.04166116937994957,
            0.008335943333804607,
            0.0014105932787060738,
            0.0001963291724678129,
        ),
        expm1=(  # error 1.76e-9
            0.5,
            0.16666673123836517,
            0.0416666679084301,
            0.008332554250955582,
            0.001388859935104847,
            0.00020108609169255942,
            2.4981298338389024e-05,
        ),
        expm1_half=(  # error 1.39e-8
            0.5,
            0.16666539013385773,
            0.04166661202907562,
            0.008367099799215794,
            0.0013917619362473488,
        ),
        log=(  # error 4.98e-11
            0.6666666269302368,
            0.40000972151756287,
            0.2849879264831543,
            0.2427881360054016,
        ),
        sin=(  # error 3.68e-9
            -0.16666655242443085,
            0.008332191966474056,
            -0.0001951878803083673,
        ),
        tanh=(  # error 4.0e-8
            -0.33332669734954834,
            0.1329999417066574,
            -0.04915815219283104,
        ),
    ),
    64: Polynomials(
        cos=(  # error 4.76e-20
            0.0416666666666666,
            -0.0013888888888874472,
            2.480158728966925e-05,
            -2.755731440016649e-07,
            2.087572914157569e-09,
            -1.1359926048866486e-11,
        ),
        exp=(  # error 1.88e-17
            0.4999999999999993,
            0.16666666666666935,
            0.04166666666670213,
            0.008333333333270397,
            0.0013888888883572487,
            0.00019841269892335165,
            2.480159083181318e-05,
            2.7557300834743563e-06,
            2.7556157892224235e-07,
            2.50550004486808e-08,
            2.106232539345445e-09,
            1.5937737542731e-10,
        ),
        expm1=(  # error 1.11e-18
            0.5,
            0.16666666666666657,
            0.041666666666666664,
            0.008333333333336941,
            0.001388888888889064,
            0.00019841269836572644,
            2.4801587298437006e-05,
            2.755732204650809e-06,
            2.755732142052901e-07,
            2.5051247130887994e-08,
            2.0876070560455764e-09,
            1.6188769786741859e-10,
            1.1566669468496694e-11,
        ),
        expm1_half=(  # error 2.44e-17
            0.5000000000000006,
            0.1666666666666669,
            0.04166666666657351,
            0.008333333333310409,
            0.0013888888932433686,
            0.00019841269914583907,
            2.480150436664296e-05,
            2.7557215476944773e-06,
            2.762635796210085e-07,
            2.5118952592230795e-08,
        ),
        log=(  # error 2.49e-18
            0.6666666666666735,
            0.3999999999940935,
            0.2857142874368679,
            0.22222198428922746,
            0.18183572358798467,
            0.15313832043735046,
            0.14798260204508937,
        ),
        sin=(  # error 3.45e-18
            -0.16666666666666632,
            0.008333333333322488,
            -0.00019841269829855586,
            2.7557313706031995e-06,
            -2.5050760064355585e-08,
            1.589689772714528e-10,
        ),
        tanh=(  # error 9.56e-18
            -0.33333333333332527,
            0.1333333333311875,
            -0.0539682537730395,
            0.02186947993676427,
            -0.008863025489224274,
            0.003589125981863776,
            -0.0014307308385785719,
            0.00047471279993925244,
        ),
    ),
}
