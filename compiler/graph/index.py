"""Integer index expressions: affine forms over loop variables, quotients, remainders and looked-up integers.

Index maps of structural operations are written in this algebra (output index → operand index), and lowering keeps
it down to the printed subscripts. Expressions are immutable and compare by structure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import sizes
from .sizes import Extent, Shape

if TYPE_CHECKING:
    from .node import Node

_counter = itertools.count()


class IVar:
    """A loop variable that runs over [0, extent). Compared by identity; `order` fixes a deterministic sorting."""

    __slots__ = ("extent", "name", "order")

    def __init__(self, name: str, extent: Extent) -> None:
        self.name, self.extent, self.order = name, extent, next(_counter)

    def __repr__(self) -> str:
        return self.name


class _Atom:
    __slots__ = ("_hash", "key", "order")
    key: tuple[Any, ...]

    def __init__(self, key: tuple[Any, ...], order: int) -> None:
        self.key, self._hash, self.order = key, hash((type(self).__name__, key)), order

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._hash == other._hash and self.key == other.key


class Quotient(_Atom):
    """Floor of index / size."""

    __slots__ = ()

    def __init__(self, index: Index, size: Extent) -> None:
        super().__init__((index, size), index.order)

    def __repr__(self) -> str:
        return f"({self.key[0]}) // {self.key[1]}"


class Remainder(_Atom):
    """Non-negative remainder of index by size."""

    __slots__ = ()

    def __init__(self, index: Index, size: Extent) -> None:
        super().__init__((index, size), index.order)

    def __repr__(self) -> str:
        return f"({self.key[0]}) % {self.key[1]}"


class Lookup(_Atom):
    """The integer that an array (a graph node, later a buffer) holds at an index: an indirect access."""

    __slots__ = ()

    def __init__(self, source: Any, index: tuple[Index, ...], extent: Extent) -> None:
        super().__init__((source, index, extent), max((i.order for i in index), default=-1))

    def __repr__(self) -> str:
        return f"{self.key[0]}[{', '.join(map(str, self.key[1]))}]"


Atom = IVar | Quotient | Remainder | Lookup


class Index:
    """const + Σ coefficient · atom, with non-negative or negative extents as coefficients."""

    __slots__ = ("_hash", "const", "order", "terms")

    def __init__(self, terms: Iterable[tuple[Atom, Extent]] = (), const: Extent = 0) -> None:
        self.const = const
        if terms == ():
            self.terms: tuple[tuple[Atom, Extent], ...] = ()
            self.order = -1
            self._hash = hash(((), const))
            return
        total: dict[Atom, Extent] = {}
        for atom, coefficient in terms:
            total[atom] = sizes.add(total[atom], coefficient) if atom in total else coefficient
        self.terms = tuple(sorted(((a, c) for a, c in total.items() if c != 0), key=lambda t: t[0].order))
        self.order = max((a.order for a, _ in self.terms), default=-1)
        self._hash = hash((self.terms, const))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Index)
            and self._hash == other._hash
            and self.const == other.const
            and self.terms == other.terms
        )

    def __repr__(self) -> str:
        parts = [f"{a}" if c == 1 else f"{c}*{a}" for a, c in self.terms]
        if self.const != 0 or not parts:
            parts.append(str(self.const))
        return " + ".join(parts)

    def as_var(self) -> IVar | None:
        """The variable that this index is, when it is nothing else."""
        if len(self.terms) == 1 and self.const == 0 and self.terms[0][1] == 1:
            atom = self.terms[0][0]
            return atom if isinstance(atom, IVar) else None
        return None

    def vars(self) -> set[IVar]:
        """Every loop variable that the index depends on."""
        found: set[IVar] = set()
        stack: list[Index] = [self]
        while stack:
            for atom, _ in stack.pop().terms:
                if isinstance(atom, IVar):
                    found.add(atom)
                elif isinstance(atom, Lookup):
                    stack.extend(atom.key[1])
                else:
                    stack.append(atom.key[0])
        return found

    def affine_in(self, var: IVar) -> Extent | None:
        """The coefficient of `var` when the index is affine in it (0 when independent), else None."""
        coefficient: Extent = 0
        for atom, c in self.terms:
            if atom is var:
                coefficient = c
            elif not isinstance(atom, IVar):
                inner = atom.key[1] if isinstance(atom, Lookup) else (atom.key[0],)
                if any(var in i.vars() for i in inner):
                    return None
        return coefficient


ZERO = Index()


def of(x: IVar | Index | Extent) -> Index:
    if isinstance(x, Index):
        return x
    if isinstance(x, IVar):
        return ZERO if x.extent == 1 else Index(((x, 1),))
    return Index((), x)


def add(a: Index, b: Index | Extent) -> Index:
    b = of(b)
    if not b.terms and b.const == 0:
        return a
    if not a.terms and a.const == 0:
        return b
    return Index((*a.terms, *b.terms), sizes.add(a.const, b.const))


def scale(a: Index, k: Extent) -> Index:
    if k == 1:
        return a
    return Index(((atom, sizes.mul(c, k)) for atom, c in a.terms), sizes.mul(a.const, k))


def bounds(a: Index) -> tuple[Extent, Extent] | None:
    """Least and greatest value, or None where a term's range or a coefficient's sign is unknown."""
    low: Extent = a.const
    high: Extent = a.const
    for atom, c in a.terms:
        if isinstance(atom, IVar):
            top: Extent = sizes.add(atom.extent, -1)
        elif isinstance(atom, Remainder):
            top = sizes.add(atom.key[1], -1)
        elif isinstance(atom, Lookup):
            top = sizes.add(atom.key[2], -1)
        else:
            inner = bounds(atom.key[0])
            if inner is None or sizes.lower_bound(inner[0]) < 0 or not isinstance(inner[0], int):
                return None
            top = sizes.floordiv(inner[1], atom.key[1])
        if isinstance(c, int) and c < 0:
            low = sizes.add(low, sizes.mul(c, top))
        elif sizes.lower_bound(c) > 0 or (isinstance(c, int) and c > 0):
            high = sizes.add(high, sizes.mul(c, top))
        else:
            return None
    return low, high


def within(a: Index, size: Extent) -> bool:
    """Whether 0 <= a < size can be proved."""
    if sizes.lower_bound(size) < 1 and not isinstance(size, int):
        # An empty axis is never visited, so its variables stay in range.
        pass
    found = bounds(a)
    if found is None:
        return False
    low, high = found
    if (isinstance(low, int) and low < 0) or (not isinstance(low, int) and sizes.lower_bound(low) <= 0):
        return False
    gap = sizes.add(size, sizes.mul(high, -1))
    return (gap if isinstance(gap, int) else _positive(gap)) >= 1


def _positive(gap: Extent) -> int:
    return sizes.lower_bound(gap)


def _split(a: Index, n: Extent) -> tuple[Index, Index]:
    """a = n * q + r with every term of q taken from those that n divides."""
    q: list[tuple[Atom, Extent]] = []
    r: list[tuple[Atom, Extent]] = []
    for atom, c in a.terms:
        quotient = sizes.floordiv(c, n)
        if sizes.mul(quotient, n) == c:
            q.append((atom, quotient))
        else:
            r.append((atom, c))
    if isinstance(a.const, int) and isinstance(n, int):
        return Index(q, a.const // n), Index(r, a.const % n)
    quotient = sizes.floordiv(a.const, n)
    if sizes.mul(quotient, n) == a.const:
        return Index(q, quotient), Index(r, 0)
    return Index(q, 0), Index(r, a.const)


def floordiv(a: Index, n: Extent) -> Index:
    if n == 1:
        return a
    q, r = _split(a, n)
    if within(r, n):
        return q
    if (parts := _coarse(r, n)) is not None:
        whole, _, step = parts
        return add(q, floordiv(whole, n // step))
    return add(q, Index(((Quotient(r, n), 1),)))


def mod(a: Index, n: Extent) -> Index:
    if n == 1:
        return ZERO
    _, r = _split(a, n)
    if within(r, n):
        return r
    if (parts := _coarse(r, n)) is not None:
        whole, rest, step = parts
        return add(scale(mod(whole, n // step), step), rest)
    return Index(((Remainder(r, n), 1),))


def _coarse(a: Index, n: Extent) -> tuple[Index, Index, int] | None:
    """a as step · whole + rest, where 0 <= rest < step, and the step, which divides n: only `whole` matters then."""
    terms = [(atom, c) for atom, c in a.terms if isinstance(c, int)]
    if not isinstance(n, int) or not len(terms) == len(a.terms) > 1:
        return None
    for step in sorted({math.gcd(n, c) for _, c in terms}):
        whole = Index((atom, c // step) for atom, c in terms if c % step == 0)
        rest = Index(((atom, c) for atom, c in terms if c % step), a.const)
        if step > 1 and whole.terms and rest.terms and within(rest, step):
            return whole, rest, step
    return None


def substitute(a: Index, values: dict[IVar, Index]) -> Index:
    """Replaces loop variables by indices, inside quotients, remainders and lookups too."""
    if not any((isinstance(atom, IVar) and atom in values) or not isinstance(atom, IVar) for atom, _ in a.terms):
        return a
    if len(a.terms) == 1 and a.const == 0 and isinstance(a.terms[0][0], IVar):
        return scale(values[a.terms[0][0]], a.terms[0][1])
    total = Index((), a.const)
    for atom, c in a.terms:
        if isinstance(atom, IVar):
            part = values.get(atom) or of(atom)
        elif isinstance(atom, Quotient):
            part = floordiv(substitute(atom.key[0], values), atom.key[1])
        elif isinstance(atom, Remainder):
            part = mod(substitute(atom.key[0], values), atom.key[1])
        else:
            source, index, extent = atom.key
            part = Index(((Lookup(source, tuple(substitute(i, values) for i in index), extent), 1),))
        total = add(total, scale(part, c))
    return total


def along(a: Index, var: IVar, count: int, start: Index | None = None) -> list[int] | None:
    """How far the values at `count` neighbours of a variable lie from the first, where that is the same from any
    multiple of `count` on (or from `start`); else None."""
    start = Index(((IVar("block", 1 << 31), count),)) if start is None else start
    first = scale(substitute(a, {var: start}), -1)
    found = []
    for k in range(count):
        apart = add(substitute(a, {var: add(start, k)}), first)
        if apart.terms or not isinstance(apart.const, int):
            return None
        found.append(apart.const)
    return found


def linear(index: Sequence[Index], shape: Shape) -> Index:
    """Row-major offset."""
    total, stride = ZERO, 1
    for i, extent in zip(reversed(index), reversed(shape), strict=True):
        total = add(total, scale(i, stride))
        stride = sizes.mul(extent, stride)  # type: ignore[assignment]
    return rejoin(total)


def rejoin(a: Index) -> Index:
    """Puts quotients and remainders of one index together again: n·(i // n) + i % n is i."""
    if sum(isinstance(atom, (Quotient, Remainder)) for atom, _ in a.terms) < 2:
        return a
    parts = dict(a.terms)
    for atom, c in a.terms:
        if not isinstance(atom, Remainder) or atom not in parts:
            continue
        whole = Quotient(*atom.key)
        if whole in parts and parts[whole] == sizes.mul(c, atom.key[1]):
            del parts[whole], parts[atom]
            return rejoin(add(Index(parts.items(), a.const), scale(atom.key[0], c)))
    return a


def linear_strides(index: Sequence[Index], strides: Sequence[Extent]) -> Index:
    """Offset of an element in memory with the given strides."""
    total = ZERO
    for i, stride in zip(index, strides, strict=True):
        total = add(total, scale(i, stride))
    return rejoin(total)


def unflatten(offset: Index, shape: Shape) -> tuple[Index, ...]:
    """Inverse of `linear`: the coordinates of a row-major offset."""
    result: list[Index] = []
    for k, extent in enumerate(reversed(shape)):
        last = k == len(shape) - 1
        result.append(offset if last else mod(offset, extent))
        offset = floordiv(offset, extent)
    return tuple(reversed(result))


def reshape(index: Sequence[Index], source: Shape, target: Shape) -> tuple[Index, ...]:
    """Coordinates in `source` of the element at `index` of `target`, both row-major of equal size.

    Works on the smallest groups of adjacent axes with equal products, so that merged and split axes stay affine.
    """
    if any(n == 0 for n in source):
        # Nothing is ever read, and nothing can be divided by an extent of 0.
        return (ZERO,) * len(source)
    result: list[Index] = []
    for (i0, i), (j0, j) in reshape_groups(source, target):
        if i - i0 == 1 and j - j0 == 1:
            result.append(index[j0])
        else:
            offset = linear(index[j0:j], target[j0:j])
            result.extend(unflatten(offset, source[i0:i]))
    return tuple(result)


def reshape_groups(source: Shape, target: Shape) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The smallest runs of adjacent axes that hold equally many elements, as (start, stop) in `source` and `target`."""
    groups: list[tuple[tuple[int, int], tuple[int, int]]] = []
    i = j = 0
    while i < len(source) or j < len(target):
        i0, j0 = i, j
        a: Extent = source[i] if i < len(source) else 1
        b: Extent = target[j] if j < len(target) else 1
        i, j = min(i + 1, len(source)), min(j + 1, len(target))
        while a != b:
            grow_source = _smaller(a, b)
            if grow_source is None:
                a, b = sizes.product(source[i0:]), sizes.product(target[j0:])
                i, j = len(source), len(target)
                break
            if grow_source and i < len(source):
                a, i = sizes.mul(a, source[i]), i + 1
            elif j < len(target):
                b, j = sizes.mul(b, target[j]), j + 1
            else:
                a, i = sizes.mul(a, source[i]), i + 1
        groups.append(((i0, i), (j0, j)))
    return groups


def _smaller(a: Extent, b: Extent) -> bool | None:
    """Whether a is a proper factor of b (True), the other way round (False), or neither can be told (None)."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    if a != 0 and ((isinstance(a, int) and a >= 1) or not isinstance(a, int)):
        q = sizes.floordiv(b, a)
        if sizes.mul(q, a) == b:
            return True
    if b != 0:
        q = sizes.floordiv(a, b)
        if sizes.mul(q, b) == a:
            return False
    return None


class Guard:
    """A condition under which an access holds: 0 <= index < size, or index a multiple of `divisor`."""

    __slots__ = ("divisor", "index", "size")

    def __init__(self, index: Index, size: Extent | None = None, divisor: int | None = None) -> None:
        self.index, self.size, self.divisor = index, size, divisor

    def _key(self) -> tuple[Any, ...]:
        return (self.index, self.size, self.divisor)

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Guard) and self._key() == other._key()

    def __repr__(self) -> str:
        return f"0 <= {self.index} < {self.size}" if self.divisor is None else f"{self.index} % {self.divisor} == 0"

    def substitute(self, values: dict[IVar, Index]) -> Guard:
        return Guard(substitute(self.index, values), self.size, self.divisor)

    def always(self) -> bool:
        if self.divisor is not None:
            return all(isinstance(c, int) and c % self.divisor == 0 for _, c in self.index.terms) and (
                isinstance(self.index.const, int) and self.index.const % self.divisor == 0
            )
        assert self.size is not None
        return within(self.index, self.size)


class Access:
    """One operand's part in a structural operation: element `index` of operand `operand`, where all guards hold."""

    __slots__ = ("guards", "index", "operand")

    def __init__(self, operand: int, index: tuple[Index, ...], guards: tuple[Guard, ...] = ()) -> None:
        self.operand, self.index = operand, index
        self.guards = tuple(g for g in guards if not g.always())


def lookup(source: Node, index: tuple[Index, ...], extent: Extent) -> Index:
    return Index(((Lookup(source, index, extent), 1),))
