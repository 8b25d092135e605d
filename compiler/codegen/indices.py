"""The words that expressions are made of, as C: names, extents, indices, guards, literals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import index
from ..graph.dtypes import BOOL, DType
from ..graph.index import Guard, Index, IVar, Lookup, Quotient
from ..graph.sizes import Dim, Extent, FloorDiv
from ..lower.ir import Buf
from .types import element


@dataclass(eq=False, slots=True)
class Lanes:
    """The vector loop that code is being printed for: `count` is the number of valid lanes when not all are."""

    var: IVar
    width: int
    at: Index  # the loop variable's value at lane 0
    count: str | None = None
    copy: int = 0


@dataclass(eq=False, slots=True)
class Names:
    """Identifiers of one function. Buffers of others print as placeholders until equal functions are merged."""

    params: dict[Buf, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    taken: frozenset[str] = frozenset()  # by others; shared between functions, so never changed
    locals: dict[Buf, str] = field(default_factory=dict)
    vars: dict[IVar, str] = field(default_factory=dict)
    dims: dict[Dim, None] = field(default_factory=dict)
    counter: int = 0

    def fresh(self, stem: str) -> str:
        name, k = stem, 1
        while name in self.used or name in self.taken:
            k += 1
            name = f"{stem}{k}"
        self.used.add(name)
        return name

    def temp(self, stem: str) -> str:
        # Arrays have such names too, thousands of them in a long program: trying numbers would take as many steps.
        self.counter += 1
        name = f"{stem}_{self.counter}"
        while name in self.used or name in self.taken:
            name += "_"
        self.used.add(name)
        return name


class IndexPrinter:
    """Prints indices of one function; `needs` collects lane functions, `out` receives declarations."""

    def __init__(self, names: Names, sites: dict[Any, int]) -> None:
        self.names = names
        self.sites = sites
        self.needs: set[tuple[str, str]] = set()
        self.types: set[str] = set()
        self.known: dict[IVar, Index] = {}
        self.out: list[str] = []
        self.indent = 1
        self.lanes: Lanes | None = None
        self.written: set[Buf] = set()  # arrays of others that the function writes
        self.shares: dict[Buf, int] = {}  # elements of such arrays to which a chunk keeps
        self.registers: dict[tuple[Buf, tuple[int, ...], int], str] = {}
        self.acc_lanes: dict[Buf, tuple[int, int]] = {}

    def emit(self, line: str) -> None:
        self.out.append("  " * self.indent + line)

    def call(self, function: str, type_name: str, *args: str) -> str:
        self.needs.add((function, type_name))
        return f"{type_name}_{function}({', '.join(args)})"

    def extent(self, x: Extent) -> str:
        """An extent as C; floor divisions are of non-negative numbers."""
        if isinstance(x, int):
            return str(x) if x >= 0 else f"({x})"
        parts = []
        for monomial, coefficient in x.terms:
            factors = []
            for atom in monomial:
                if isinstance(atom, FloorDiv):
                    factors.append(f"({self.extent(atom.numerator)} / {self.extent(atom.denominator)})")
                else:
                    assert isinstance(atom, Dim)
                    self.names.dims[atom] = None
                    factors.append(atom.name)
            if coefficient != 1 or not factors:
                factors.append(str(coefficient) if coefficient >= 0 else f"({coefficient})")
            parts.append(" * ".join(factors))
        text = " + ".join(parts)
        return text if len(parts) == 1 and len(x.terms[0][0]) <= 1 and x.terms[0][1] == 1 else f"({text})"

    def resolve(self, i: Index) -> Index:
        return index.substitute(i, self.known) if self.known else i

    def index(self, i: Index) -> str:
        """A subscript or bound as C, of type int64_t."""
        i = self.resolve(i)
        parts: list[str] = []
        for atom, c in i.terms:
            text = self._atom(atom)
            if c == 1:
                parts.append(text)
            elif isinstance(c, int) and c < 0:
                parts.append(f"- {text}" if c == -1 else f"- {text} * {-c}")
            else:
                parts.append(f"{text} * {self.extent(c)}")
        if i.const != 0 or not parts:
            if isinstance(i.const, int) and i.const < 0 and parts:
                parts.append(f"- {-i.const}")
            else:
                parts.append(self.extent(i.const))
        positive = [p for p in parts if not p.startswith("- ")]
        negative = [p for p in parts if p.startswith("- ")]
        if not positive:
            return " ".join(["0", *negative])
        return " ".join([" + ".join(positive), *negative])

    def _atom(self, atom: Any) -> str:
        if isinstance(atom, IVar):
            return self.names.vars[atom]
        if isinstance(atom, Lookup):
            buf, at, _ = atom.key
            return f"(int64_t){self.buffer(buf)}[{self.index(index.linear_strides(at, buf.strides))}]"
        inner, size = atom.key
        text, n = self.index(inner), self.extent(size)
        inner = self.resolve(inner)
        simple = len(inner.terms) == 1 and inner.const == 0 and inner.terms[0][1] == 1
        body = text if simple else f"({text})"
        return f"({body} {'/' if isinstance(atom, Quotient) else '%'} {n})"

    def paren(self, text: str) -> str:
        return text if text.replace("_", "").isalnum() else f"({text})"

    def buffer(self, buf: Buf) -> str:
        return self.names.params.get(buf) or self.names.locals[buf]

    def pointer(self, buf: Buf, offset: Index) -> str:
        text = self.index(offset)
        return self.buffer(buf) if text == "0" else f"{self.buffer(buf)} + {text}"

    def offset(self, buf: Buf, at: Sequence[Index]) -> Index:
        return self.resolve(index.linear_strides(at, buf.strides))

    def guard(self, g: Guard) -> str:
        text = self.index(g.index)
        if g.divisor is not None:
            return f"({text}) % {g.divisor} == 0"
        assert g.size is not None
        low = index.bounds(self.resolve(g.index))
        above = f"{text} < {self.extent(g.size)}"
        if low is not None and isinstance(low[0], int) and low[0] >= 0:
            return above
        return f"{self.paren(text)} >= 0 && {above}"

    def condition(self, guards: Sequence[Guard]) -> str:
        return " && ".join(self.guard(g) for g in guards)

    def literal(self, value: float | int | bool, dtype: DType) -> str:
        if dtype == BOOL:
            return "1" if value else "0"
        if dtype.kind == "f":
            v = np.asarray(value, dtype)[()]
            if np.isnan(v):
                return "(0.0f / 0.0f)" if dtype.itemsize == 4 else "(0.0 / 0.0)"
            if np.isinf(v):
                self.needs.add(("abs", element(dtype)))
                return "(-INFINITY)" if v < 0 else "INFINITY"
            text = repr(float(v)) if dtype.itemsize == 8 else str(v)
            text = text if any(c in text for c in ".e") else text + ".0"
            text = text.replace("e+", "e")
            text = text + ("f" if dtype.itemsize == 4 else "")
            return text if not text.startswith("-") else f"({text})"
        if dtype.name == "int64":
            if value == -(2**63):
                return "INT64_MIN"
            return str(value) if abs(int(value)) < 2**31 else f"INT64_C({value})"
        if dtype.name == "int32" and value == -(2**31):
            return "INT32_MIN"
        return str(int(value))

    def ctype(self, type_name: str) -> str:
        plain = {
            "f32": "float", "f64": "double", "i32": "int32_t", "i64": "int64_t", "u8": "uint8_t", "b8": "uint8_t",
            "m32": "int", "m64": "int",
        }  # fmt: skip
        if type_name in plain:
            return plain[type_name]
        self.types.add(type_name)
        return type_name
