"""Printed functions → translation units: how code is divided between files, and what each file needs to stand alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..artifact import Unit
from ..graph import sizes
from ..graph.sizes import Dim
from ..lower.ir import Buf, Kernel
from ..lower.lowering import Module
from .entry import EntryPrinter, Part
from .env import template
from .expr import ExprPrinter
from .indices import Names
from .kernel import Function
from .literals import comment, returned
from .prelude import LARGE, macro_of, prelude
from .types import memory

ONE_UNIT = 200  # lines of kernels up to which starting a second compiler costs more than it saves
UNIT_LINES = 2500  # most lines per unit: compile time grows faster than linearly
LONG = 1100  # lines of kernels from which on the time to compile outweighs what the second level gains
STRAIGHT = 100  # mean lines of kernels without tiles from which on that holds for shorter programs too, above
SHORT = 400  # so many lines in all
ENTRY_ARGUMENTS = 400  # arguments passed by the entry from which on it costs less in units of its own, unoptimised
UNIT_ARGUMENTS = 5000  # about as many arguments are passed by a unit of the entry
INLINED_LINES = 15  # about what an inlined call of a vector math function adds to what the C compiler has to do
INLINED = 24  # calls of one vector math function in a kernel from which on it is called: inlined, each costs gcc 60 ms


@dataclass(eq=False, slots=True)
class Calls:
    """The printed functions of a module: which function serves a kernel, and with which buffers in which order."""

    functions: list[Function]
    of: dict[Kernel, Function]
    buffers: dict[Kernel, list[Buf]]

    @property
    def outer(self) -> list[Function]:
        """The functions that the entry calls."""
        return [f for f in self.functions if not f.kernel.inner]


def print_units(
    module: Module, calls: Calls, dims: list[Dim], header: str, description: str, version: str, split: bool
) -> tuple[Unit, ...]:
    """The units of a module; without `split` there is one. `description` is what the describing function returns.

    Calls are all that a long entry does, so its units are compiled without optimisation: gcc takes ten times as long
    with it, and no call becomes faster.
    """
    passed = sum(len(buffers) for kernel, buffers in calls.buffers.items() if not kernel.inner)
    apart = split and passed > ENTRY_ARGUMENTS
    groups = _split(calls.outer, 0 if apart else passed) if split else [calls.outer]
    several = len(groups) > 1 or apart
    entry = EntryPrinter(module, calls, dims, f"{module.name}_" if several else "")
    parts = entry.parts()
    count = min(-(-passed // UNIT_ARGUMENTS), len(parts)) if apart else 1
    stretches = [parts[k * len(parts) // count : (k + 1) * len(parts) // count] for k in range(count)]
    printer = _UnitPrinter(module, calls, entry, header, description, version, several)
    effort = _effort(calls.functions)
    if not apart:
        texts = [printer.unit(k, group) for k, group in enumerate(groups[:-1])]
        texts.append(printer.unit(len(groups) - 1, groups[-1], parts, parts))
        return tuple(Unit(*text, effort) for text in texts)
    units = [Unit(*printer.unit(k, group), effort) for k, group in enumerate(groups)]
    for k, stretch in enumerate(stretches):
        final = k == count - 1
        units.append(Unit(*printer.unit(len(groups) + k, [], stretch, parts if final else []), effort=0))
    return tuple(units)


class _UnitPrinter:
    """Prints units of one module."""

    def __init__(
        self, module: Module, calls: Calls, entry: EntryPrinter, header: str, description: str, version: str,
        several: bool,
    ) -> None:
        self.module, self.calls, self.entry = module, calls, entry
        self.header, self.description, self.version, self.several = header, description, version, several

    def unit(
        self, number: int, group: Sequence[Function], parts: Sequence[Part] = (), whole: Sequence[Part] = ()
    ) -> tuple[str, str]:
        """Name and text of a unit with some functions, with `parts` of the entry, and with the function that users
        call when `whole`, all parts of the entry, is given."""
        module = self.module
        inner = {self.calls.of[k] for f in group for k in f.calls}
        members = [*(f for f in self.calls.functions if f in inner), *group] if inner else list(group)
        needs: set[tuple[str, str]] = set()
        types: set[str] = set()
        for f in members:
            needs |= f.needs
            types |= f.types
        tables = dict.fromkeys(b for f in members for b in f.tables)
        functions = []
        for f in members:
            static = "static " if not self.several or f.kernel.inner else ""
            if not f.kernel.inner:
                static = f"KERNEL {static}"
            functions.append({"comment": _title(f), "text": self._finish(f, static)})
        text = template("unit.c.j2").render(
            title=f"{module.name}" + (f", part {number}" if self.several else ""),
            version=self.version, target=module.target.name,
            prelude=prelude(needs, module.target, types, _called(members)), interface=self.header,
            aligned=any("ADJOINT_ALIGNED" in f.text for f in members),
            prefetch=any("ADJOINT_PREFETCH" in f.text for f in members), checks=any(f.checks for f in members),
            unroll=any("ADJOINT_UNROLL" in f.text for f in members),
            tables=[_table(b) for b in tables], declarations=self._declarations(group, parts, whole),
            functions=functions, entry=self._entry(parts, whole) if parts else "",
        )
        text = re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
        return f"{module.name}_{number}" if self.several else module.name, text

    def _declarations(self, group: Sequence[Function], parts: Sequence[Part], whole: Sequence[Part]) -> list[str]:
        """What is defined or called in a unit and visible to others."""
        if not self.several:
            return []
        defined = set(group)
        functions = dict.fromkeys(f for p in parts for f in p.calls if f not in defined) if parts else group
        result = [self._finish(f, "").partition("\n")[0] + ";" for f in functions]
        if len(whole) != len(parts):
            arguments = f"const {self.module.name}_args *args, void *workspace, adjoint_context *context"
            result.extend(f"int32_t {p.name}({arguments});" for p in whole or parts)
        return result

    def _entry(self, parts: Sequence[Part], whole: Sequence[Part]) -> str:
        """Parts of the entry, with what starts the chunks of kernels, and the function that users call."""
        module = self.module
        alone = len(whole) == 1
        total = module.layout.total
        parallel = dict.fromkeys(f for p in parts for f in p.parallel)
        loops = [loop for p in parts for loop in p.loops]
        used = sorted(sizes.dims_of(total), key=lambda d: d.name) if not isinstance(total, int) else []
        text = template("entry.c.j2").render(
            name=module.name, parallel=bool(parallel) or bool(loops), loops=loops,
            tape=any("adjoint_reserve(" in line for p in parts for line in p.body),
            parts=[] if alone else parts, main=bool(whole), linkage="static " if len(whole) == len(parts) else "",
            setup=whole[0].setup if alone else [],
            body=whole[0].body if alone else [
                f"  if ({p.name}(args, workspace, context)) return context->status;" for p in whole
            ],
            workspace=ExprPrinter(Names(), {}).extent(total), description=returned(self.description),
            extents=[f"const int64_t {d.name} = args->{d.name};" for d in used],
        )
        return "".join(f"{thunk}\n" for thunk in self.entry.thunks(parallel)) + text

    def _finish(self, f: Function, static: str) -> str:
        names = [b.name for b in f.kernel.params if b.storage != "constant"]
        return f.named(f.name if f.kernel.inner else self.entry.name_of(f), names).replace("$static$", static)


def _split(functions: list[Function], entry: int) -> list[list[Function]]:
    """Units of similar and bounded length, at least two of which can compile side by side; within each the functions
    keep their order. `entry` lines of the function that calls them join the last one.

    Tile kernels go with everyone who calls them, being small.
    """
    lengths = [f.lines + INLINED_LINES * _math_calls(f) for f in functions]
    total = sum(lengths)
    count = 1 if total <= ONE_UNIT else max(2, -(-total // UNIT_LINES))
    count = max(1, min(count, len(functions)))
    loads = [0] * (count - 1) + [entry]
    chosen: dict[int, int] = {}
    # The longest first, each where least has come together.
    for k in sorted(range(len(functions)), key=lambda k: (-lengths[k], k)):
        chosen[k] = min(range(count), key=loads.__getitem__)
        loads[chosen[k]] += lengths[k]
    return [[f for k, f in enumerate(functions) if chosen[k] == unit] for unit in range(count)]


def _math_calls(f: Function) -> int:
    """How often a kernel uses vector math, of which each use is a page of code once it is inlined."""
    return sum(f.text.count(f"{kind}_{function}(") for function, kind in f.needs if macro_of(function))


def _effort(functions: Sequence[Function]) -> int:
    """The optimisation level for a program's kernels."""
    total = sum(f.lines for f in functions)
    straight = not any(f.calls for f in functions) and total > STRAIGHT * len(functions)
    return 1 if total > LONG or (straight and total > SHORT) else 2


def _called(members: list[Function]) -> set[tuple[str, str]]:
    """The vector math that some kernel uses so often, or is so large, that inlining it would take the C compiler too
    long."""
    return {
        (function, kind) for f in members for function, kind in f.needs
        if (macro := macro_of(function)) and (macro in LARGE or f.text.count(f"{kind}_{function}(") > INLINED)
    }


def _title(f: Function) -> str:
    k = f.kernel
    if k.title:
        return comment(k.title)

    def show(b: Buf) -> str:
        return f"{b.name}[{', '.join(map(str, b.shape))}]"

    writes = ", ".join(show(b) for b in k.params if b in k.writes)
    reads = ", ".join(show(b) for b in k.params if b not in k.writes)
    return comment(f"{writes} from {reads}" if reads else writes)


def _table(buf: Buf) -> str:
    printer = ExprPrinter(Names(), {})
    assert buf.array is not None
    flat = np.ascontiguousarray(buf.array).reshape(-1)
    texts = [printer.literal(v.item(), buf.dtype) for v in flat] or ["0"]
    rows = [", ".join(texts[k : k + 8]) for k in range(0, len(texts), 8)]
    return f"static const {memory(buf.dtype)} {buf.name}[{max(1, flat.size)}] = {{\n  " + ",\n  ".join(rows) + "\n};"
