"""`ad.compile`: from handles to a compiled function. The one place, with the pipeline, that sees all rooms."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from .artifact import Artifact, Target
from .collect import collect_program, program_dims, program_signature, watched_arrays
from .errors import CompileError, DTypeError, GraphError, ShapeError
from .graph.program import Program
from .graph.serial import canonical_key, deserialize_program
from .inspection import CompileReport
from .lang import checks
from .lang.array import Array
from .lang.explain import located, refuse
from .runtime.callable import CompiledFunction
from .runtime.signature import Signature
from .timing import timed
from .version import fingerprint

if TYPE_CHECKING:
    from .lower.options import Options
    from .pipeline import Compilation

BACKENDS = ("c", "numpy")


def compile(
    inputs: Any,
    outputs: Any = (),
    updates: Mapping[Array, Any] | None = None,
    *,
    name: str = "function",
    threads: int | None = None,
    target: Any = None,
    backend: str = "c",
    options: Options | None = None,
    state_updates: bool = True,
    crosscheck: bool = False,
    debug_nans: bool = False,
    watch: Any = None,
    tune: Any = False,
) -> CompiledFunction:
    """Compiles a function of `inputs` that returns `outputs` and performs `updates`.

    inputs    an input or a sequence of inputs, in the order of the arguments
    outputs   an array or a list, tuple or dict of arrays, nested at will; calls return the same structure
    updates   variable → new value, of the variable's shape and dtype. All right-hand sides and outputs read the values
              that variables have when the call begins.
    name      of the C function: letters, digits and underscores
    threads   most threads that a call uses; results never depend on it
    target    "native" (default), the name of an ISA, or a `Target` record
    backend   "c", or "numpy" to run the graph in the reference interpreter
    options   what to leave out or recompute, for work on the compiler itself
    state_updates  also perform the updates that results bring along, such as those of running statistics; `updates`
              of the same variable stand instead
    crosscheck  compares the first call with the interpreter; where they differ by more than roundings explain, the
              call raises ExecutionError that names the result and the first pass after which it differs
    debug_nans  a call whose results or updates are not finite raises ExecutionError that names the first operation
              with NaN, or with an infinity if no result is NaN. Slow, as is crosscheck; neither is kept by pickles.
    tune      times a few schedules that give the same bits, on copies of the variables, and takes the fastest. The
              cache keeps the choice, so that the next time nothing is timed. True makes up data; where that will not do
              (a while_loop, values that are checked), give a tuple of example arguments. Without `tune` nothing looks
              for a stored choice.
    watch     intermediate arrays to look at: a dict name → array, or arrays that have a `name`, one or a list. Calls
              then return a pair: what they would return, and a dict with the value of each.

    Raises GraphError, ShapeError or DTypeError for what does not fit together, CompileError when there is no C
    compiler.
    """
    _check_options(threads, target, backend, options, state_updates)
    checks.flag("crosscheck", crosscheck)
    checks.flag("debug_nans", debug_nans)
    try:
        seconds: dict[str, float] = {}
        with timed(seconds, "graph"):
            wanted = outputs if watch is None else (outputs, watched_arrays(watch))
            program, structure = collect_program(inputs, wanted, updates, name, state_updates)
        if tune is not False:
            with timed(seconds, "tune"):
                options = _tuned(program, threads, target, backend, options, tune)
        return _build(program, structure, threads, target, backend, options, crosscheck, debug_nans, seconds)
    except (GraphError, ShapeError, DTypeError) as error:
        told = located(error)
        if told is error:
            raise
        raise told from None


def _check_options(threads: Any, target: Any, backend: Any, options: Any, state_updates: Any) -> None:
    from .lower.options import Options
    from .runtime.target import resolve_target

    if backend not in BACKENDS:
        raise refuse(CompileError, f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if threads is not None:
        checks.whole("threads", threads, least=1)
    if options is not None and not isinstance(options, Options):
        raise refuse(GraphError, f"options must be an Options record, got {options!r}")
    checks.flag("state_updates", state_updates)
    try:
        resolve_target(target)
    except CompileError as error:
        raise refuse(CompileError, str(error)) from None


def _tuned(
    program: Program, threads: int | None, target: Any, backend: str, options: Options | None, tune: Any
) -> Options:
    """The options with the schedule that is stored for the program, or that is the fastest."""
    from .lower.options import Options
    from .runtime.binding import NativeLibrary
    from .runtime.cache import Cache
    from .runtime.target import resolve_target
    from .runtime.toolchain import find_toolchain
    from .tuning import tuned

    if tune is not True and not isinstance(tune, (tuple, list)):
        raise refuse(GraphError, f"tune is True, False or a tuple of example arguments, got {tune!r}")
    if backend != "c":
        raise refuse(GraphError, 'tune: the interpreter has no schedules to choose from; use backend="c"')
    resolved, options = resolve_target(target), options or Options()

    def build(chosen: Options) -> tuple[Artifact, NativeLibrary]:
        artifact, path, _ = _artifact(program, resolved, chosen, {})
        return artifact, NativeLibrary(path)

    key = _key(program, resolved, options, find_toolchain(Cache()).identity)
    return tuned(program, key, resolved, options, tune, threads, build)


def _key(program: Program, target: Target, options: Options | None, compiler: str) -> str:
    """The graph key: what decides the artifact."""
    made_by = {"version": fingerprint(), "compiler": compiler}
    return canonical_key(program, {**made_by, "target": repr(target), "options": repr(options)})


def _build(
    program: Program, structure: Any, threads: int | None, target: Any, backend: str, options: Options | None,
    crosscheck: bool = False, debug_nans: bool = False, seconds: dict[str, float] | None = None,
) -> CompiledFunction:  # fmt: skip
    seconds = {} if seconds is None else seconds
    storages = [v["token"].storage for v in program.variables]
    written = frozenset(v["token"].storage.id for v, _ in program.updates)
    if backend == "numpy":
        from .graph.verify import verify_program
        from .interpreter import Interpreter

        verify_program(program)
        report = CompileReport(program, structure, threads, target, backend, options, None)
        signature = program_signature(program, structure)
        interpreter = _watched(Interpreter(program), signature, report, False, debug_nans)
        return CompiledFunction(interpreter, signature, storages=storages, written=written, report=report)
    from .runtime.binding import NativeLibrary
    from .runtime.native import NativeExecutor
    from .runtime.target import resolve_target

    resolved = resolve_target(target)
    artifact, path, compilation = _artifact(program, resolved, options, seconds)
    report = CompileReport(program, structure, threads, target, backend, options, artifact, compilation, seconds)
    with timed(seconds, "load"):
        executor = NativeExecutor(artifact, NativeLibrary(path), storages, threads=threads)
        executor.sites = report.sites
        signature = Signature.of(artifact, structure)
        watched = _watched(executor, signature, report, crosscheck, debug_nans)
        return CompiledFunction(watched, signature, storages=storages, written=written, report=report)


def _watched(
    executor: Any, signature: Signature, report: CompileReport, crosscheck: bool, debug_nans: bool
) -> Any:
    """The executor, behind one that looks at what it does where that is wanted."""
    if not crosscheck and not debug_nans:
        return executor
    from .debugging import Watching

    named = {d.name: d for d in program_dims(report.program)}
    dims = [named[d.name] for d in signature.dims]
    return Watching(executor, report.program, dims, report, crosscheck, debug_nans)


def _artifact(
    program: Program, target: Target, options: Options | None, seconds: dict[str, float]
) -> tuple[Artifact, Path, Compilation | None]:
    """The artifact, its library, and the compilation if one had to run: the cache is asked before any pass runs.

    `seconds` gets the time of every phase.
    """
    from .runtime.build import build_library
    from .runtime.cache import Cache
    from .runtime.serial import artifact_from_json, artifact_to_json
    from .runtime.toolchain import find_toolchain

    with timed(seconds, "cache"):
        cache = Cache()
        if options is not None and options == type(options)():
            options = None
        toolchain = find_toolchain(cache)
        key = _key(program, target, options, toolchain.identity)
        record = None if os.environ.get("ADJOINT_VERIFY") == "1" else cache.get_graph(key)
        if record is not None:
            try:
                artifact, library = artifact_from_json(record)
            except ValueError:
                library = None
            found = cache.blob(library) if library is not None else None
            if found is not None:
                return artifact, found, None
    with timed(seconds, "import"):
        from .pipeline import compile_program

    compilation = compile_program(program, target, options)
    seconds.update(compilation.seconds)
    artifact = compilation.artifact
    preparing = Thread(target=_prepare, args=(artifact.parallel,))
    preparing.start()
    with timed(seconds, "cc"):
        built = build_library(artifact.units, target, cache=cache, toolchain=toolchain)
    preparing.join()
    cache.put_graph(key, artifact_to_json(artifact, built.name))
    return artifact, built.path, compilation


def _prepare(parallel: bool) -> None:
    """Makes what loading a function and its first parallel call need beside it, while the C compiler runs."""
    from .runtime.binding import load_abi
    from .runtime.pool import build_services

    # Whatever fails here fails again, and is reported, where it is needed.
    with suppress(CompileError, ImportError, OSError):
        load_abi()
        if parallel:
            build_services()


def load(
    data: bytes, structure: Any, threads: int | None, target: Any, backend: str, options: Options | None
) -> CompiledFunction:
    """A function from its pickle."""
    return _build(deserialize_program(data).listed(), structure, threads, target, backend, options)
