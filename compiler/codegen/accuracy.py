"""How far the vector math may be off. The tests of the lane library hold every function to its figure."""

from __future__ import annotations

# The largest error in units in the last place, in float32 and float64, over all finite arguments. That of logaddexp is
# in units of the largest among its result, max(x, y) and the difference of these two.
ULPS: dict[str, float] = {
    **dict.fromkeys("exp exp2 expm1 log log1p log2 log10 sigmoid erf erfc".split(), 2),
    **dict.fromkeys("sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh".split(), 2),
    **dict.fromkeys("pow rsqrt cbrt hypot".split(), 2),
    "logaddexp": 4,
}
