"""Lane types and vector math of the generated C: exactly the functions that a unit uses, and what those need.

A function is named `{type}_{function}`: `f32x16_add`, `f64_exp`, `i64x8_cvt_i32`. Types are the scalars f32 f64 i32
i64 u8 b8 (a bool in a byte), vectors of them (`f32x16`), and the masks that
comparisons give: `m32x16` for four-byte and
one-byte operands, `m64x8` for eight-byte ones, with lanes 0 and -1; the scalar masks `m32`, `m64` are int, 0 or 1.

What needs what is read off the rendered text, so that a template cannot forget to say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, cast

from ..artifact import Target
from .coefficients import CONSTANTS, POLYNOMIALS
from .elementary import ELEMENTARY
from .env import template
from .special_coefficients import SPECIAL, polygamma

_MEMORY = {
    "f32": "float", "f64": "double", "i32": "int32_t", "i64": "int64_t", "u8": "uint8_t", "b8": "uint8_t",
    "u32": "uint32_t", "u64": "uint64_t", "m32": "int32_t", "m64": "int64_t",
}  # fmt: skip
_SCALAR = {**_MEMORY, "m32": "int", "m64": "int"}
# The template of every function of the vector math, and of large ones beside it, each written once for every path.
_FILES = {
    **dict.fromkeys(
        ("exp", "expm1", "tanh", "sigmoid", "rsqrt", "relu", "log", "log1p", "mul_error", "pow", "erf"), "math.h.j2"
    ),
    **dict.fromkeys(("exp2", "log2", "log10", "logaddexp", "cbrt", "hypot"), "powers.h.j2"),
    **dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "reduce_far"), "circular.h.j2"),
    **dict.fromkeys(("sinh", "cosh", "asinh", "acosh", "atanh"), "hyperbolic.h.j2"),
}
MATH = frozenset(_FILES)
_FILES |= {
    **dict.fromkeys(("erfc", "lgamma", "digamma", "polygamma"), "special.h.j2"),
    "philox": "random.h.j2",
}
# Those so large that compilers should see them once.
LARGE = frozenset(("lgamma", "digamma", "polygamma"))
ROUTINES = frozenset(("argsort", "search_left", "search_right", "turn"))
_WITH_SOURCE = ("cvt", "lookup")
# Functions that some kinds of element (f, i, u, b, m) do not have.
_KINDS = {
    **dict.fromkeys(
        ("div", "sqrt", "floor", "ceil", "trunc", "round", "copysign", "atleast", "atmost"), "f"
    ),
    **dict.fromkeys(("and", "or", "xor", "not"), "iubm"),
    **dict.fromkeys(("shl", "shr"), "iu"),
    **dict.fromkeys(("add", "sub", "mul", "neg", "abs", "fma", "min", "max", "clip", "floordiv", "mod", "iota"), "fiu"),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne", "hsum", "hprod", "hmax", "hmin", "hargmax", "hargmin"), "fiu"),
    **dict.fromkeys(("first_n", "any", "all"), "m"),
    **dict.fromkeys(_FILES, "f"),
    "relu": "fiu",
    "philox": "i",
    **dict.fromkeys(ROUTINES, "fiu"),
}
_NAME = re.compile(r"\b((?:[fim](?:32|64)|u(?:8|32|64)|b8)(?:x\d+)?)_([a-z]\w*)\(")
_TYPE = re.compile(r"\b(?:[fim](?:32|64)|u(?:8|32|64)|b8)(?:x\d+)?(?=\b|_)")
_CALLED = "#define CALLED static __attribute__((noinline, unused))"
_LIBM = re.compile(
    r"\b(?:fmaf?|fabsf?|sqrtf?|floorf?|ceilf?|truncf?|rintf?|fmodf?|copysignf?|INFINITY|NAN)\b"
)


@dataclass(frozen=True)
class Lane:
    """A lane type as the templates see it; its text is its C name."""

    element: str
    lanes: int

    def __str__(self) -> str:
        return self.name

    @cached_property
    def name(self) -> str:
        return self.element if self.lanes == 1 else f"{self.element}x{self.lanes}"

    @property
    def kind(self) -> str:
        return self.element[0]

    @property
    def bits(self) -> int:
        return int(self.element[1:])

    @property
    def memory(self) -> str:
        """The C type of one element in memory."""
        return _MEMORY[self.element]

    @property
    def log2(self) -> int:
        return self.lanes.bit_length() - 1

    def of(self, element: str) -> Lane:
        """The type with other elements and as many lanes."""
        return lane_type(element, self.lanes)

    @property
    def half(self) -> Lane:
        """The type with half as many lanes; a scalar stays."""
        return lane_type(self.element, max(1, self.lanes // 2))

    @property
    def unsigned(self) -> Lane:
        return self if self.bits == 8 else self.of(f"u{self.bits}")

    @property
    def signed(self) -> Lane:
        return self.of(f"i{self.bits}")

    @property
    def mask(self) -> Lane:
        return self.of("m64" if self.bits == 64 else "m32")

    def literal(self, value: float) -> str:
        """A float constant that reads back exactly."""
        import numpy as np

        if self.bits == 32:
            return f"{np.float32(value)!s}f".replace("+", "")
        return f"{float(value)!r}".replace("+", "")

    def integer(self, value: int) -> str:
        return f"INT64_C({value:#x})" if self.bits == 64 else f"{value:#x}"


@cache
def lane_type(element: str, lanes: int) -> Lane:
    return Lane(element, lanes)


@cache
def parse(name: str) -> Lane:
    """The type called `name`."""
    element, _, lanes = name.partition("x")
    if element not in _MEMORY or (lanes and lanes not in ("2", "4", "8", "16", "32")):
        raise ValueError(f"no lane type is called {name!r}")
    return lane_type(element, int(lanes or 1))


def _source(function: str, t: Lane) -> tuple[str, Lane | None]:
    """Splits `cvt_f32` into the function and the type that it reads."""
    if function == "bitcast":
        return function, t.of({"f": "i", "i": "f"}[t.kind] + str(t.bits))
    for base in _WITH_SOURCE:
        if function.startswith(base + "_"):
            element = function[len(base) + 1 :]
            if element in _MEMORY:
                return base, t.of(element)
    return function, None


@dataclass(frozen=True)
class _Function:
    """A rendered function: its two forms (equal if the path does not matter) and what they refer to."""

    gnu: str
    plain: str
    gnu_uses: tuple[tuple[str, str], ...]
    plain_uses: tuple[tuple[str, str], ...]

    @property
    def shared(self) -> bool:
        return self.gnu == self.plain


def _references(text: str, own: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    found = dict.fromkeys((m.group(2), m.group(1)) for m in _NAME.finditer(text))
    found.pop(own, None)
    return tuple(found)


def macro_of(function: str) -> str | None:
    """The macro of a function that has one of its own; those that are named for a number have one together."""
    base = "polygamma" if function.startswith("polygamma") else function
    return base if base in _FILES else None


def _written(macro: str, function: str, t: Lane, fma: bool) -> str:
    if t.kind not in _KINDS[macro]:
        raise ValueError(f"{function} is not defined for {t}")
    write = cast("Callable[..., str]", getattr(cast(Any, template(_FILES[macro])).module, macro))
    if macro == "polygamma":
        return str(write(t, polygamma(int(function.removeprefix(macro))), SPECIAL[64]))
    file, given = _FILES[macro], (t, CONSTANTS.get(t.bits), POLYNOMIALS.get(t.bits))
    if file in ("math.h.j2", "random.h.j2"):
        return str(write(*given, fma))
    if file == "special.h.j2":
        return str(write(*given, fma, SPECIAL.get(t.bits)))
    return str(write(*given, ELEMENTARY.get(t.bits)))


@lru_cache(maxsize=4096)
def _function(function: str, type_name: str, fma: bool) -> _Function:
    t = parse(type_name)
    macro = macro_of(function)
    if macro is not None:
        base = macro
        gnu = plain = _written(macro, function, t, fma)
    elif function in ROUTINES:
        base = function
        gnu = plain = str(getattr(cast(Any, template("routines.h.j2")).module, function)(t))
    else:
        base, source = _source(function, t)
        define = cast("Callable[..., str]", cast(Any, template("lanes.h.j2")).module.define)
        gnu, plain = (str(define(t, base, source, fma, path)) for path in (True, False))
    own = (function, type_name)
    if "@" in gnu or f"{type_name}_{function}(" not in gnu or t.kind not in _KINDS.get(base, t.kind):
        raise ValueError(f"{type_name} has no function {function!r}")
    return _Function(gnu, plain, _references(gnu, own), _references(plain, own))


def _closure(needs: Iterable[tuple[str, str]], fma: bool) -> dict[tuple[str, str], _Function]:
    """The functions needed, directly or not, each after those that it uses."""
    done: dict[tuple[str, str], _Function] = {}
    stack = [(need, False) for need in sorted(set(needs), reverse=True)]
    while stack:
        key, ready = stack.pop()
        if key in done:
            continue
        f = _function(*key, fma)
        if ready:
            done[key] = f
            continue
        stack.append((key, True))
        stack.extend((use, False) for use in sorted({*f.gnu_uses, *f.plain_uses}, reverse=True) if use not in done)
    return done


def _groups(functions: dict[tuple[str, str], _Function]) -> list[list[_Function]]:
    """Runs of functions that are all shared, or all differ by path; every function after what it uses."""
    groups: list[list[_Function]] = []
    waiting, emitted, shared = dict(functions), set[tuple[str, str]](), True
    while waiting:
        run: list[_Function] = []
        for key, f in list(waiting.items()):
            if f.shared == shared and emitted.issuperset(f.gnu_uses) and emitted.issuperset(f.plain_uses):
                run.append(f)
                emitted.add(key)
                del waiting[key]
        if run:
            groups.append(run)
        shared = not shared
    return groups


def _typedefs(names: Iterable[str], target: Target) -> str:
    types = sorted(map(parse, names), key=lambda t: (t.lanes, t.element))
    scalars = dict.fromkeys([t.element for t in types if t.lanes == 1])
    lines = [f"typedef {_SCALAR[name]} {name};" for name in scalars]
    vectors = [t for t in types if t.lanes > 1]
    if vectors:
        lines.append("#ifdef ADJOINT_GNU_LANES")
        if any(t.lanes * t.bits > 8 * target.vector_bytes for t in vectors):
            # Nothing passes such a vector between functions that are not inlined: there is no ABI to warn of.
            lines.append('#pragma GCC diagnostic ignored "-Wpsabi"')
        lines += [f"typedef {t.memory} {t} __attribute__((vector_size({t.lanes * t.bits // 8})));" for t in vectors]
        lines += ["#define LANE(x, i) ((x)[i])", "#else"]
        lines += [f"typedef struct {{ {t.memory} lane[{t.lanes}]; }} {t};" for t in vectors]
        lines += ["#define LANE(x, i) ((x).lane[i])", "#endif"]
    return "\n".join(lines) + "\n"


def prelude(
    needs: Iterable[tuple[str, str]], target: Target, types: Iterable[str] = (), called: Iterable[tuple[str, str]] = ()
) -> str:
    """C99 text with the functions `needs`, (function, type) pairs, with what they use and the named `types`.

    Functions in `called`, which must be vector math, are not inlined. The text depends on these sets and the target
    alone. Defining ADJOINT_PLAIN_LANES before it forces the plain
    path, which gives the same bits.
    """
    functions = _closure(needs, target.fma)
    parts: list[str] = []
    for run in _groups(functions):
        if run[0].shared:
            parts += [f.gnu for f in run]
        else:
            parts += [
                "#ifdef ADJOINT_GNU_LANES\n",
                *(f.gnu for f in run),
                "#else\n",
                *(f.plain for f in run),
                "#endif\n",
            ]
    body = "".join(parts)
    for function, kind in sorted(called):
        body = body.replace(f"INLINE {kind} {kind}_{function}(", f"CALLED {kind} {kind}_{function}(")
    if called:
        body = f"#ifdef __GNUC__\n{_CALLED}\n#else\n#define CALLED static\n#endif\n{body}"
    names = set(types) | {m.group(0) for m in _TYPE.finditer(body)}
    head = cast(Any, template("lanes.h.j2")).module.head(target.isa_macro, bool(_LIBM.search(body)))
    return f"{head}{_typedefs(names, target)}{body}"
