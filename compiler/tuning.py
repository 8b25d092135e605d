"""`compile(tune=)`: times schedules that give the same results, and keeps the fastest in the cache.

A choice holds for a whole function. Every candidate is compiled and run, on copies of the variables; those that make
the same code as one before are left out. The fastest is noted under the function's graph key, so that the next process
compiles that one alone; what is compiled without `tune` knows nothing of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from .artifact import Artifact, Target
from .errors import AdjointError, ExecutionError, GraphError
from .graph import sizes
from .graph.control import toposort_deep
from .graph.dtypes import is_float
from .graph.program import Program
from .graph.storage import Storage
from .lang.explain import refuse
from .lower.options import Choice, Options
from .runtime.cache import Cache, digest

ROUNDS = 7
SAMPLE = 2e-3  # seconds that one sample lasts at least
GAIN = 0.97  # of the cost model's own time: what is not faster than that is noise
EXTENT = 64  # of a run-time dimension, where no example tells

Build = Callable[[Options], tuple[Artifact, Any]]  # the artifact with a choice made, and its loaded library


def candidates(target: Target) -> tuple[Choice, ...]:
    """The choices worth timing, the cost model's own first: tiles whose sums fit into the registers beside a line of
    the panel and an element of the rows, and panels of other sizes."""
    shapes = [(12, 2), (6, 2), (4, 3), (8, 3), (14, 1)]
    tiles = [Choice(r, v) for r, v in shapes if r * v + v + 1 <= target.registers]
    panels = [Choice(panel_bytes=n) for n in (16384, 65536, 131072)]
    return (Choice(), *tiles[:4], *panels)


def tuned(
    program: Program, key: str, target: Target, options: Options, tune: Any, threads: int | None, build: Build
) -> Options:
    """The options with the choice that is stored for the graph key, else with the fastest, which is then stored."""
    cache = Cache()
    note = digest("tune", key, str(threads))
    stored = cache.get_note(note)
    if stored is not None:
        try:
            return replace(options, choice=Choice(**json.loads(stored)))
        except (ValueError, TypeError, AdjointError):
            pass  # of another form; timed again
    if not any(n.op.kind == "contraction" for n in toposort_deep(program.roots)):
        return options  # there is nothing to choose
    example = example_of(program, tune)
    steps: dict[Choice, Callable[[], Any]] = {}
    seen: set[tuple[str, ...]] = set()
    for choice in candidates(target):
        artifact, library = build(replace(options, choice=choice))
        texts = tuple(u.text for u in artifact.units)
        if texts not in seen:
            seen.add(texts)
            steps[choice] = _step(program, artifact, library, example, threads)
    best = fastest(steps) if len(steps) > 1 else Choice()
    cache.put_note(note, json.dumps(asdict(best)).encode())
    return replace(options, choice=best)


def fastest(steps: dict[Choice, Callable[[], Any]]) -> Choice:
    """The choice whose step takes least, by the shortest of several samples taken in turn; the first one unless another
    is faster by more than noise."""
    first = next(iter(steps))
    begin = time.perf_counter()
    steps[first]()
    steps[first]()
    repeat = max(1, round(2 * SAMPLE / max(time.perf_counter() - begin, 1e-9)))
    times = dict.fromkeys(steps, float("inf"))
    for _ in range(ROUNDS):
        for choice, step in steps.items():
            step()
            begin = time.perf_counter()
            for _ in range(repeat):
                step()
            times[choice] = min(times[choice], time.perf_counter() - begin)
    best = min(times, key=lambda c: times[c])
    return best if times[best] < GAIN * times[first] else first


def example_of(program: Program, tune: Any) -> list[np.ndarray[Any, Any]]:
    """The arguments to time with: those of `tune`, else made-up ones. Raises GraphError where these will not do."""
    if tune is not True:
        given = list(tune)
        if len(given) != len(program.inputs):
            raise refuse(GraphError, f"tune: {len(given)} example arguments for {len(program.inputs)} inputs")
        return [np.ascontiguousarray(a, node.dtype) for a, node in zip(given, program.inputs, strict=True)]
    if any(n.op.name == "while" for n in toposort_deep(program.roots)):
        text = "tune: how long a while_loop runs depends on the data; give example arguments, tune=(array, …)"
        raise refuse(GraphError, text)
    dims = {d for node in program.inputs for e in node.shape for d in sizes.dims_of(e)}
    extents = {d: max(d.min, EXTENT if d.max is None else min(EXTENT, d.max)) for d in dims}
    rng = np.random.default_rng(0)
    made = []
    for node in program.inputs:
        shape = tuple(sizes.evaluate(e, extents) for e in node.shape)
        # Zero is a valid index wherever anything is.
        made.append(rng.uniform(0.1, 1.0, shape) if is_float(node.dtype) else np.zeros(shape))
    return [a.astype(node.dtype) for a, node in zip(made, program.inputs, strict=True)]


def _step(
    program: Program, artifact: Artifact, library: Any, example: Sequence[Any], threads: int | None
) -> Callable[[], Any]:
    """One call, on copies of the variables."""
    from .runtime.callable import CompiledFunction
    from .runtime.native import NativeExecutor
    from .runtime.signature import Signature

    storages = [Storage(v["token"].storage.array) for v in program.variables]
    executor = NativeExecutor(artifact, library, storages, threads=threads)
    signature = Signature.of(artifact, list(range(len(program.outputs))))
    function = CompiledFunction(executor, signature, storages=storages)
    step = function.bind(*example)
    try:
        step()
    except ExecutionError as error:
        raise refuse(GraphError, f"tune: the call failed, so give (other) example arguments: {error}") from error
    return step
