"""The short way of a call: one straight-line Python function per signature.

A checked call has to look at every argument, and loops over arguments cost as much as the looking. So the checks of one
signature are written out as Python source, with all constants as names of its namespace; no text of the user goes in.
Whatever does not fit at the first look is handed to `slow`, which converts it or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from adjoint.runtime.arguments import FILLABLE
from adjoint.runtime.locks import Guard
from adjoint.runtime.memory import Regions
from adjoint.runtime.native import IDLE_FRAMES, NativeExecutor
from adjoint.runtime.signature import ShapeBinder, Signature

Call = Callable[..., Any]

_MOST_PAIRS = 64  # pairs of arrays that are compared in straight-line code when a caller brings buffers


@dataclass(frozen=True, slots=True)
class Parts:
    """What a compiled function puts into its trampolines. `slow(args, out=None)` is the call in full."""

    executor: NativeExecutor
    signature: Signature
    binder: ShapeBinder
    guard: Guard | None
    updated: Regions
    variables: Regions
    pack: Callable[[list[Any]], Any]
    slow: Call


def make_trampoline(parts: Parts) -> Call:
    """`call(args)`: what `slow(args)` does, for arguments that fit; the number of arguments must be right."""
    return _Writer(parts, into=False).finish()


def make_trampoline_into(parts: Parts) -> Call:
    """`call(args, out)`: what `slow(args, out)` does, for arguments and buffers that fit and lie apart."""
    structure, count = parts.signature.structure, len(parts.signature.outputs)
    flat = isinstance(structure, int) or (isinstance(structure, list) and structure == list(range(count)))
    if not flat or not count or count * (len(parts.signature.inputs) + count) > _MOST_PAIRS:
        return parts.slow
    return _Writer(parts, into=True).finish()


class _Writer:
    """Writes one trampoline: looks first at what needs no frame, then fills the table of one, then calls."""

    def __init__(self, parts: Parts, into: bool) -> None:
        self.parts, self.into = parts, into
        executor = parts.executor
        self.leave = "return slow(args, out)" if into else "return slow(args)"
        self.body: list[str] = []
        self.add = self.body.append
        self.inputs = [f"a{i}" for i in range(len(parts.signature.inputs))]
        self.outputs = [f"o{j}" for j in range(len(parts.signature.outputs))]
        self.space: dict[str, Any] = {
            "ndarray": np.ndarray,
            "empty": np.empty,
            "from_buffer": executor.ffi.from_buffer,
            "executor": executor,
            "new_frame": executor.new_frame,
            "entry": executor.entry,
            "recover": executor.recover,
            "known": parts.binder.known,
            "guard": parts.guard,
            "touches_updated": parts.updated.touches_span,
            "touches_variable": parts.variables.touches_span,
            "pack": parts.pack,
            "slow": parts.slow,
        }

    def finish(self) -> Call:
        self._look()
        self.add("free = executor.free")
        self.add("try: frame = free.pop()")
        self.add("except IndexError: frame = new_frame()")
        self.add("table, numbers = frame.table, frame.numbers")
        self._place_inputs()
        self._place_outputs()
        self._call()
        head = "def call(args, out):\n" if self.into else "def call(args):\n"
        source = head + "".join(f"    {line}\n" for line in self.body)
        exec(compile(source, f"<call of {len(self.inputs)} inputs>", "exec"), self.space)
        made: Call = self.space["call"]
        return made

    def _look(self) -> None:
        """Types, dtypes and shapes of inputs, the binding of run-time dimensions, and the same for buffers."""
        signature, space, add = self.parts.signature, self.space, self.add
        if self.inputs:
            add(f"{', '.join(self.inputs)}, = args")
        for i, (param, name) in enumerate(zip(signature.inputs, self.inputs, strict=True)):
            space[f"d{i}"] = np.dtype(param.dtype)
            test = f"type({name}) is not ndarray or {name}.dtype is not d{i}"
            if not signature.dims:
                space[f"s{i}"] = param.shape
                test += f" or {name}.shape != s{i}"
            add(f"if {test}: {self.leave}")
        if signature.dims:
            add(f"binding = known.get(({''.join(f'{name}.shape, ' for name in self.inputs)}))")
            add(f"if binding is None: {self.leave}")
            if self.outputs:
                add(f"{', '.join(f'r{j}' for j in range(len(self.outputs)))}, = binding.outputs")
        else:
            fixed = self.parts.binder.bind(tuple(tuple(map(int, p.shape)) for p in signature.inputs))
            space.update({f"r{j}": shape for j, shape in enumerate(fixed.outputs)})
        space.update({f"t{j}": np.dtype(param.dtype) for j, param in enumerate(signature.outputs)})
        if not self.into:
            return
        if isinstance(signature.structure, int):
            add("o0 = out")
        else:
            add(f"if type(out) is not list or len(out) != {len(self.outputs)}: {self.leave}")
            add(f"{', '.join(self.outputs)}, = out")
        for j, name in enumerate(self.outputs):
            test = f"type({name}) is not ndarray or {name}.dtype is not t{j} or {name}.shape != r{j}"
            add(f"if {test} or {name}.flags.num & {FILLABLE} != {FILLABLE}: {self.leave}")

    def _give_up(self, condition: str) -> None:
        self.add(f"if {condition}:")
        self.add("    free.append(frame)")
        self.add(f"    {self.leave}")

    def _apart(self, address: str, name: str, regions: Regions, touches: str) -> None:
        if regions:
            low, high = regions.bounds
            end = f"{address} + {name}.nbytes"
            self._give_up(f"{address} < {high} and {end} > {low} and {touches}({address}, {name}.nbytes)")

    def _place_inputs(self) -> None:
        for i, (param, name) in enumerate(zip(self.parts.signature.inputs, self.inputs, strict=True)):
            slot = self.parts.executor.input_slots[i]
            # from_buffer refuses what is not contiguous.
            self.add("try:")
            self.add(f"    table[{slot}] = from_buffer({name})")
            self.add("except ValueError:")
            self.add("    free.append(frame)")
            self.add(f"    {self.leave}")
            self.add(f"p{i} = numbers[{slot}]")
            mask = np.dtype(param.dtype).alignment - 1
            if mask:
                self._give_up(f"p{i} & {mask}")
            self._apart(f"p{i}", name, self.parts.updated, "touches_updated")

    def _place_outputs(self) -> None:
        for j, name in enumerate(self.outputs):
            slot = self.parts.executor.output_slots[j]
            if not self.into:
                self.add(f"{name} = empty(r{j}, t{j})")
            self.add(f"table[{slot}] = from_buffer({name})")
            if not self.into:
                continue
            self.add(f"q{j} = numbers[{slot}]")
            others = [(f"p{i}", a) for i, a in enumerate(self.inputs)]
            others += [(f"q{k}", self.outputs[k]) for k in range(j)]
            for address, other in others:
                self._give_up(f"q{j} < {address} + {other}.nbytes and {address} < q{j} + {name}.nbytes")
            self._apart(f"q{j}", name, self.parts.variables, "touches_variable")

    def _call(self) -> None:
        if self.parts.signature.dims:
            self.add("if binding.extents != frame.extents: executor.set_extents(frame, binding.extents)")
        call = ["status = entry(table, frame.base, frame.context)", "if status: recover(frame, status)"]
        if self.parts.guard is None:
            self.body += call
        else:
            self.add("held = guard.enter()")
            self.add("try:")
            self.body += [f"    {line}" for line in call]
            self.add("finally: guard.leave(held)")
        self.add(f"if len(frame.home) < {IDLE_FRAMES}: frame.home.append(frame)")
        if self.into:
            self.add("return out")
        elif isinstance(self.parts.signature.structure, int):
            self.add("return o0")
        else:
            self.add(f"return pack([{', '.join(self.outputs)}])")
