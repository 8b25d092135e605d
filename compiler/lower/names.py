"""C identifiers from what users call things."""

from __future__ import annotations

import re

_KEYWORDS = frozenset(
    "asm auto bool break case char const continue default do double else enum extern false float for goto if inline "
    "int long main register restrict return short signed sizeof static struct switch true typedef typeof union "
    "unsigned void volatile while".split()
)
# What generated functions call their own parameters and locals.
_OWN = frozenset("args arena begin chunk context end row scratch self serial start task worker workspace".split())
# Names of the lane library, types and macros of the headers: as a parameter they would hide what is needed.
_TAKEN = re.compile(
    r"(?:[fimu](?:8|32|64)|b8)(?:x\d+)?(?:_\w*)?|u?int\w*_t|size_t|ADJOINT\w*|adjoint\w*|PROFILED|TIMED|KERNEL|LANE|EACH|INLINE|NULL"
    r"|U?INT\w*|INTPTR\w*|PTRDIFF\w*|SIZE_MAX|SIG_ATOMIC\w*|W(?:CHAR|INT)_M\w+|M_\w+|FP_\w+|MATH_\w+|HUGE_VAL\w*|NAN"
    r"|INFINITY|math_errhandling|is\w+|signbit|fpclassify|run_chunks|_\w*"
)
_FUNCTION = re.compile(r"mem\w+|str\w+|k\d+_\w*|tile_\w*|table(?:_\d+)?")
_MATH = frozenset(
    "acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma "
    "fmax fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan "
    "nearbyint nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma "
    "trunc j0 j1 jn y0 y1 yn gamma".split()
)


def is_free(name: str) -> bool:
    """Whether a field, parameter or dimension may be called so."""
    return name.isascii() and name.isidentifier() and name not in _KEYWORDS | _OWN and not _TAKEN.fullmatch(name)


def is_free_function(name: str) -> bool:
    """Whether a function may be called so beside the C library and what the generated file defines itself."""
    return (
        name.isascii() and name.isidentifier() and name not in _KEYWORDS and not _TAKEN.fullmatch(name)
        and not _FUNCTION.fullmatch(name) and name not in _MATH and name.rstrip("fl") not in _MATH
    )  # fmt: skip


def identifier(name: str) -> str:
    """An identifier that says what the user calls the array."""
    text = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name).strip("_") or "v"
    if text[0].isdigit():
        text = "v" + text
    while not is_free(text):
        text = f"v_{text}" if _TAKEN.fullmatch(text) else text + "_"
    return text
