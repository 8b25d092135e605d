"""The short way of a call: one straight-line Python function per signature.

A checked call has to look at every argument, and loops over arguments cost as much as the looking. So the checks of one
signature are written out as Python source, with all constants as names of its namespace; no text of the user goes in.
Whatever does not fit at the first look is handed to `slow`, which converts it or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from adjoint.runtime.locks import Guard
from adjoint.runtime.memory import Regions
from adjoint.runtime.native import IDLE_FRAMES, NativeExecutor
from adjoint.runtime.signature import ShapeBinder, Signature

Call = Callable[[Sequence[Any]], Any]


def make_trampoline(
    executor: NativeExecutor,
    signature: Signature,
    binder: ShapeBinder,
    guard: Guard | None,
    updated: Regions,
    pack: Callable[[list[Any]], Any],
    slow: Call,
) -> Call:
    """A function of the argument sequence (its length is right) that does what `slow` does, for arguments that fit."""
    inputs, outputs = signature.inputs, signature.outputs
    low, high = updated.bounds
    space: dict[str, Any] = {
        "ndarray": np.ndarray,
        "empty": np.empty,
        "from_buffer": executor.ffi.from_buffer,
        "executor": executor,
        "new_frame": executor.new_frame,
        "entry": executor.entry,
        "recover": executor.recover,
        "known": binder.known,
        "guard": guard,
        "low": low,
        "high": high,
        "touches": updated.touches_span,
        "pack": pack,
        "slow": slow,
    }
    body: list[str] = []
    add = body.append
    names = [f"a{i}" for i in range(len(inputs))]
    if names:
        add(f"{', '.join(names)}, = args")
    for i, (param, name) in enumerate(zip(inputs, names, strict=True)):
        space[f"d{i}"] = np.dtype(param.dtype)
        test = f"type({name}) is not ndarray or {name}.dtype is not d{i}"
        if not signature.dims:
            space[f"s{i}"] = param.shape
            test += f" or {name}.shape != s{i}"
        add(f"if {test}: return slow(args)")
    if signature.dims:
        add(f"binding = known.get(({''.join(f'{name}.shape, ' for name in names)}))")
        add("if binding is None: return slow(args)")
        add("shapes = binding.outputs")
    else:
        space["shapes"] = binder.bind(tuple(tuple(map(int, p.shape)) for p in inputs)).outputs
    add("free = executor.free")
    add("try: frame = free.pop()")
    add("except IndexError: frame = new_frame()")
    add("table = frame.table")
    for i, (param, name) in enumerate(zip(inputs, names, strict=True)):
        slot = executor.input_slots[i]
        # from_buffer refuses what is not contiguous.
        add("try:")
        add(f"    table[{slot}] = from_buffer({name})")
        add("except ValueError:")
        add("    free.append(frame)")
        add("    return slow(args)")
        add(f"p = frame.numbers[{slot}]")
        mask = np.dtype(param.dtype).alignment - 1
        if mask:
            add(f"if p & {mask}: free.append(frame); return slow(args)")
        if updated:
            add(f"if p < high and p + {name}.nbytes > low and touches(p, {name}.nbytes):")
            add("    free.append(frame)")
            add("    return slow(args)")
    for j, param in enumerate(outputs):
        space[f"t{j}"] = np.dtype(param.dtype)
        if not signature.dims:
            space[f"r{j}"] = space["shapes"][j]
        add(f"o{j} = empty({f'shapes[{j}]' if signature.dims else f'r{j}'}, t{j})")
        add(f"table[{executor.output_slots[j]}] = from_buffer(o{j})")
    if signature.dims:
        add("if binding.extents != frame.extents: executor.set_extents(frame, binding.extents)")
    call = ["status = entry(table, frame.base, frame.context)", "if status: recover(frame, status)"]
    if guard is None:
        body += call
    else:
        add("held = guard.enter()")
        add("try:")
        body += [f"    {line}" for line in call]
        add("finally: guard.leave(held)")
    add(f"if len(frame.home) < {IDLE_FRAMES}: frame.home.append(frame)")
    results = [f"o{j}" for j in range(len(outputs))]
    add(f"return {results[0]}" if isinstance(signature.structure, int) else f"return pack([{', '.join(results)}])")
    source = "def call(args):\n" + "".join(f"    {line}\n" for line in body)
    exec(compile(source, f"<call of {len(inputs)} inputs>", "exec"), space)
    made: Call = space["call"]
    return made
