"""Extents: `int | Dim | SizeExpr`, polynomials with integer coefficients over dimensions and floor divisions.

Every non-literal extent is interned in normal form, so two extents are equal iff they are identical objects
(or equal ints). The normal form is a sum of monomials; a monomial is a sorted product of atoms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Union

import numpy as np

from ..errors import ShapeError
from .sites import called, told

Extent = Union[int, "Size"]
Shape = tuple[Extent, ...]
_Monomial = tuple["Size", ...]


class Size:
    """A symbolic extent. Arithmetic with ints and other sizes gives extents in normal form.

    `rank` sorts atoms: the text, with the bounds of dimensions that may share a name.
    """

    __slots__ = ("__weakref__", "rank", "terms", "text")
    rank: str
    terms: tuple[tuple[_Monomial, int], ...]
    text: str

    def __add__(self, other: Extent) -> Extent:
        return add(self, _operand("+", self, other))

    def __mul__(self, other: Extent) -> Extent:
        return mul(self, _operand("*", self, other))

    def __sub__(self, other: Extent) -> Extent:
        return add(self, mul(_operand("-", self, other), -1))

    def __rsub__(self, other: Extent) -> Extent:
        return add(_operand("-", self, other), mul(self, -1))

    def __floordiv__(self, other: Extent) -> Extent:
        return floordiv(self, _operand("//", self, other))

    __radd__ = __add__
    __rmul__ = __mul__

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return True

    def __int__(self) -> int:
        raise ShapeError(told(f"the extent {self.text} is known only at run time"))

    __index__ = __int__
    __float__ = __int__

    def __lt__(self, other: object) -> bool:
        text = f"extents such as {self.text} are known only at run time, so they cannot be compared by order"
        raise ShapeError(told(f"{text}; bound it by ad.Dim(…, min=…, max=…)"))

    __le__ = __gt__ = __ge__ = __lt__


class Dim(Size):
    """A named extent that is bound at run time by the shapes of the arguments.

    `min` (default 1) and `max` bound it; a call checks them. Dims of the same name and bounds are one object.
    """

    __slots__ = ("max", "min", "name")
    name: str
    min: int
    max: int | None
    _interned: dict[tuple[str, int, int | None], Dim] = {}  # noqa: RUF012

    def __new__(cls, name: str, min: int = 1, max: int | None = None) -> Dim:
        if not isinstance(name, str) or not name.isidentifier():
            raise ShapeError(told(f"{called()}a dimension's name must be an identifier, got {name!r}"))
        whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in (min, max) if bound is not None)
        if min is None or not whole or min < 0 or (max is not None and max < min):
            text = f"Dim {name!r}: bounds must be ints with 0 <= min <= max, got min={min!r}, max={max!r}"
            raise ShapeError(told(text))
        key = (name, min, max)
        found = cls._interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found.name, found.min, found.max, found.text = name, min, max, name
            found.rank = f"{name} {min} {max}"
            found.terms = (((found,), 1),)
            cls._interned[key] = found
        return found

    def __reduce__(self) -> tuple[object, tuple[str, int, int | None]]:
        return (Dim, (self.name, self.min, self.max))


class FloorDiv(Size):
    """An atom: the floor of a quotient that does not divide evenly in normal form."""

    __slots__ = ("denominator", "numerator")
    numerator: Extent
    denominator: Extent

    def __reduce__(self) -> tuple[object, tuple[Extent, Extent]]:
        return (floordiv, (self.numerator, self.denominator))


class SizeExpr(Size):
    """A polynomial of at least two monomials, or one with a coefficient or degree above one."""

    __slots__ = ()

    def __reduce__(self) -> tuple[object, tuple[object]]:
        return (_from_terms, (self.terms,))


def _operand(sign: str, size: Size, other: Extent) -> Extent:
    """What an extent is combined with: an int or another extent."""
    if isinstance(other, Size):
        return other
    if isinstance(other, bool) or not hasattr(other, "__index__"):
        what = f"{size.text} {sign} …: extents are combined with ints and other extents, got {other!r}"
        raise ShapeError(told(what))
    return other.__index__()


_exprs: dict[tuple[tuple[_Monomial, int], ...], Size] = {}
_divisions: dict[tuple[Extent, Extent], FloorDiv] = {}


def _terms(x: Extent) -> tuple[tuple[_Monomial, int], ...]:
    if isinstance(x, Size):
        return x.terms
    return (((), x),) if x else ()


def _rank(x: Extent) -> str:
    return x.rank if isinstance(x, Size) else str(x)


def _render(terms: tuple[tuple[_Monomial, int], ...]) -> str:
    parts = []
    for monomial, coefficient in terms:
        factors = [a.text for a in monomial]
        if coefficient != 1 or not factors:
            factors.append(str(coefficient))
        parts.append("*".join(factors))
    return " + ".join(parts).replace("+ -", "- ")


def _from_terms(terms: Iterable[tuple[_Monomial, int]]) -> Extent:
    total: dict[_Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    ordered = tuple(
        sorted(
            ((m, c) for m, c in total.items() if c),
            key=lambda item: (-len(item[0]), [a.rank for a in item[0]]),
        )
    )
    if not ordered:
        return 0
    if len(ordered) == 1:
        monomial, coefficient = ordered[0]
        if not monomial:
            return coefficient
        if coefficient == 1 and len(monomial) == 1:
            return monomial[0]
    found = _exprs.get(ordered)
    if found is None:
        found = object.__new__(SizeExpr)
        found.terms = ordered
        found.text = _render(ordered)
        if len(ordered) > 1 or ordered[0][1] < 0:
            found.text = f"({found.text})"
        found.rank = " ".join(f"{c}*{'*'.join(a.rank for a in m)}" for m, c in ordered)
        _exprs[ordered] = found
    return found


def add(a: Extent, b: Extent) -> Extent:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return _from_terms((*_terms(a), *_terms(b)))


def mul(a: Extent, b: Extent) -> Extent:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return _from_terms(
        (tuple(sorted(ma + mb, key=lambda s: s.rank)), ca * cb) for ma, ca in _terms(a) for mb, cb in _terms(b)
    )


def _divide_exactly(a: Extent, b: Extent) -> Extent | None:
    """a / b where every monomial of a is a multiple of the single monomial of b."""
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    monomial, coefficient = divisor[0]
    quotient = []
    for m, c in _terms(a):
        rest = list(m)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % coefficient:
            return None
        quotient.append((tuple(rest), c // coefficient))
    return _from_terms(quotient)


def floordiv(a: Extent, b: Extent) -> Extent:
    """Floor of a / b; b must be positive."""
    if isinstance(b, int) and b <= 0:
        raise ShapeError(told(f"an extent can be divided by a positive extent only, got {a} // {b}"))
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if a is b:
        return 1
    exact = _divide_exactly(a, b)
    if exact is not None:
        return exact
    key = (a, b)
    found = _divisions.get(key)
    if found is None:
        found = object.__new__(FloorDiv)
        found.numerator, found.denominator = a, b
        found.text = f"({a} // {b})"
        found.rank = f"({_rank(a)} // {_rank(b)})"
        found.terms = (((found,), 1),)
        _divisions[key] = found
    return found


def ceildiv(a: Extent, b: int) -> Extent:
    return floordiv(add(a, b - 1), b)


def product(shape: Iterable[Extent]) -> Extent:
    total: Extent = 1
    for extent in shape:
        total = mul(total, extent)
    return total


def evaluate(x: Extent, values: Mapping[Dim, int]) -> int:
    """The number that an extent stands for when its dimensions have the given values."""
    if isinstance(x, int):
        return x
    total = 0
    for monomial, coefficient in x.terms:
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                coefficient *= evaluate(atom.numerator, values) // evaluate(atom.denominator, values)
            else:
                assert isinstance(atom, Dim)
                coefficient *= values[atom]
        total += coefficient
    return total


def substitute(x: Extent, values: Mapping[Dim, Extent]) -> Extent:
    """The extent with other extents in place of some dimensions."""
    if isinstance(x, int):
        return x
    total: Extent = 0
    for monomial, coefficient in x.terms:
        term: Extent = coefficient
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                whole = floordiv(substitute(atom.numerator, values), substitute(atom.denominator, values))
            else:
                assert isinstance(atom, Dim)
                whole = values.get(atom, atom)
            term = mul(term, whole)
        total = add(total, term)
    return total


def dims_of(x: Extent) -> tuple[Dim, ...]:
    """The dimensions that an extent depends on, in order of appearance, each once."""
    if isinstance(x, int):
        return ()
    found: dict[Dim, None] = {}
    for monomial, _ in x.terms:
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                found.update(dict.fromkeys((*dims_of(atom.numerator), *dims_of(atom.denominator))))
            elif isinstance(atom, Dim):
                found[atom] = None
    return tuple(found)


def lower_bound(x: Extent) -> int:
    """The least value that an extent can take (0 where that cannot be told)."""
    if isinstance(x, int):
        return x
    total = 0
    for monomial, coefficient in x.terms:
        if coefficient < 0:
            return 0
        for atom in monomial:
            coefficient *= atom.min if isinstance(atom, Dim) else 0
        total += coefficient
    return total


def hint(x: Extent, unknown: int = 64) -> int:
    """A number for cost estimates: the extent, with every run-time dimension taken as its max or `unknown`."""
    if isinstance(x, int):
        return x
    return max(1, evaluate(x, {d: d.max if d.max is not None else max(unknown, d.min) for d in dims_of(x)}))


def as_shape(shape: object) -> Shape:
    """Normalises what a user gives as a shape: an extent or a sequence of ints, names and sizes."""
    if isinstance(shape, (int, str, Size)):
        shape = (shape,)
    if not isinstance(shape, (tuple, list)):
        raise ShapeError(told(f"{called()}a shape is a sequence of ints, names and sizes, got {shape!r}"))
    extents: list[Extent] = []
    for extent in shape:
        if isinstance(extent, str):
            extents.append(Dim(extent))
        elif isinstance(extent, Size):
            extents.append(extent)
        else:
            whole = hasattr(extent, "__index__") and not isinstance(extent, bool) and not hasattr(extent, "shape")
            if not whole and not isinstance(extent, np.integer):
                text = f"extent {extent!r} of shape {tuple(shape)} is not an int, a name or a size"
                raise ShapeError(told(called() + text))
            value = extent.__index__()
            if value >= 2**63:
                raise ShapeError(told(f"{called()}extent {value} of shape {tuple(shape)} does not fit 64 bits"))
            if value < 0:
                raise ShapeError(told(f"{called()}extent {value} of shape {tuple(shape)} is negative"))
            extents.append(value)
    return tuple(extents)
