"""`ad.compile`: from handles to a compiled function. The one place, with the pipeline, that sees all rooms."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from .artifact import STAGES, Artifact, DimSpec, Param, Target
from .errors import CompileError, DTypeError, ExecutionError, GraphError, ShapeError
from .graph import sizes
from .graph.node import Node, type_text
from .graph.program import Program
from .graph.serial import canonical_key, deserialize_program, serialize_program
from .lang import checks
from .lang.array import Array
from .lang.explain import complain, located, refuse
from .lang.lift import as_array
from .lang.state import released
from .lower.names import is_free, is_free_function
from .runtime.callable import CompiledFunction
from .runtime.signature import Signature
from .timing import timed
from .version import fingerprint

if TYPE_CHECKING:
    from .lower.options import Options
    from .pipeline import Compilation

BACKENDS = ("c", "numpy")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


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
            wanted = outputs if watch is None else (outputs, _named(watch))
            program, structure = _program(inputs, wanted, updates, name, state_updates)
        if tune is not False:
            with timed(seconds, "tune"):
                options = _tuned(program, threads, target, backend, options, tune)
        return _build(program, structure, threads, target, backend, options, crosscheck, debug_nans, seconds)
    except (GraphError, ShapeError, DTypeError) as error:
        told = located(error)
        if told is error:
            raise
        raise told from None


def _named(watch: Any) -> dict[str, Any]:
    """What is watched, by name."""
    if isinstance(watch, Mapping):
        pairs = list(watch.items())
    else:
        arrays = [watch] if isinstance(watch, Array) else checks.sequence("watch", watch, kind=GraphError)
        pairs = [(x.name if isinstance(x, Array) else None, x) for x in arrays]
    for name, x in pairs:
        if not isinstance(x, Array):
            raise refuse(GraphError, f"watch: an array is expected, got {x!r}")
        if not isinstance(name, str):
            raise complain(GraphError, "watch: the array has no name; set its `name` or give a dict, name → array", x)
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(n for n, x in pairs if found[n] is not x)
        raise complain(GraphError, f"watch: two arrays are called {name!r}", *(x for n, x in pairs if n == name))
    return found


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

        verify_program(program)
        report = CompileReport(program, structure, threads, target, backend, options, None)
        signature = _signature(program, structure)
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

    named = {d.name: d for d in Interpreter(report.program).dims}
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


def _program(
    inputs: Any, outputs: Any, updates: Mapping[Array, Any] | None, name: str, state_updates: bool
) -> tuple[Program, Any]:
    if not isinstance(name, str) or not _NAME.match(name):
        raise GraphError(f"compile: the name must be a C identifier, got {name!r}")
    if not is_free_function(name):
        raise GraphError(f"compile: a function cannot be called {name!r}, which C or the generated file has already")
    given = [inputs] if isinstance(inputs, Array) else checks.sequence("inputs", inputs, kind=GraphError)
    for k, x in enumerate(given):
        if not isinstance(x, Array) or x.node.op.name != "input":
            what = x.describe() if isinstance(x, Array) else repr(x)
            raise complain(GraphError, f"compile: argument {k + 1} of `inputs` must be an ad.input, got {what}", x)
    leaves: list[Node] = []

    def number(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {k: number(v) for k, v in tree.items()}
        if isinstance(tree, (list, tuple)):
            return type(tree)([number(v) for v in tree])
        if not isinstance(tree, Array) and (tree is None or isinstance(tree, (str, set, frozenset)) or callable(tree)):
            text = "outputs are arrays, or lists, tuples and dicts of arrays"
            raise refuse(GraphError, f"{text}; output {len(leaves)} is {tree!r}")
        leaves.append(as_array(tree).node)
        return len(leaves) - 1

    structure = number(outputs)
    if updates is not None and not isinstance(updates, Mapping):
        text = f"updates must be a dict, variable → new value, got {type(updates).__name__}"
        raise refuse(GraphError, text, updates)
    pairs = []
    for variable, value in (updates or {}).items():
        if not isinstance(variable, Array) or variable.node.op.name != "variable":
            what = variable.describe() if isinstance(variable, Array) else repr(variable)
            raise complain(GraphError, f"compile: a key of `updates` must be an ad.variable, got {what}", variable)
        new = as_array(value).node
        if new.shape != variable.node.shape:
            text = f'compile: the update of variable "{variable.name}" has another shape: '
            text += f"{type_text(new.shape, new.dtype)} for {type_text(variable.shape, variable.dtype)}"
            raise complain(ShapeError, text, variable, value)
        if new.dtype != variable.node.dtype:
            text = f'compile: the update of variable "{variable.name}" is {new.dtype}, the variable {variable.dtype}'
            raise complain(DTypeError, f"{text}; use astype", variable, value)
        pairs.append((variable.node, new))
    written = [v for v, _ in pairs]
    roots, brought = released([*leaves, *(new for _, new in pairs)], written, state_updates)
    leaves, values = roots[: len(leaves)], roots[len(leaves) :]
    own = (*zip(written, values, strict=True), *brought)
    program = Program(name, tuple(x.node for x in given), tuple(leaves), own).listed()
    _check_dims(program)
    return program, structure


def _check_dims(program: Program) -> None:
    """Dimensions keep their names in the C."""
    found: dict[str, sizes.Dim] = {}
    for node in (*program.inputs, *program.variables, *program.outputs):
        for dim in (d for extent in node.shape for d in sizes.dims_of(extent)):
            if found.setdefault(dim.name, dim) is not dim:
                raise ShapeError(f"compile: two dimensions of different bounds are called {dim.name!r}")
            if not is_free(dim.name):
                raise ShapeError(f"compile: a dimension cannot be called {dim.name!r}, which C has a use for")


def _signature(program: Program, structure: Any) -> Signature:
    """The signature of a program that no artifact stands for."""

    def param(name: str, role: str, node: Node) -> Param:
        return Param(name, role, str(node.dtype), tuple(n if isinstance(n, int) else str(n) for n in node.shape), name)

    dims: dict[sizes.Dim, None] = {}
    for node in (*program.inputs, *program.outputs):
        for extent in node.shape:
            dims.update(dict.fromkeys(sizes.dims_of(extent)))
    return Signature(
        program.name,
        tuple(param(n["token"].name, "input", n) for n in program.inputs),
        tuple(param(f"out{k}", "output", n) for k, n in enumerate(program.outputs)),
        tuple(DimSpec(d.name, d.min, d.max) for d in dims),
        structure,
    )


class Interpreter:
    """The executor of backend="numpy": the graph as the user wrote it, one NumPy call per node."""

    def __init__(self, program: Program) -> None:
        self.program = program
        dims: dict[sizes.Dim, None] = {}
        for node in (*program.inputs, *program.outputs):
            for extent in node.shape:
                dims.update(dict.fromkeys(sizes.dims_of(extent)))
        self.dims = list(dims)

    def run(self, inputs: list[Any], outputs: list[Any], extents: list[int]) -> None:
        from .graph.interp import evaluate

        program = self.program
        leaves = dict(zip(program.inputs, inputs, strict=True))
        leaves.update({v: v["token"].storage.array for v in program.variables})
        try:
            values = evaluate(program.roots, leaves, dict(zip(self.dims, extents, strict=True)))
        except ExecutionError as error:
            raise ExecutionError(f"{program.name}: {error}") from None
        values = [np.array(v) for v in values]
        for buffer, value in zip(outputs, values, strict=False):
            buffer[...] = value
        for (variable, _), value in zip(program.updates, values[len(program.outputs) :], strict=True):
            variable["token"].storage.array[...] = value


class CompileReport:
    """What can be told about a compilation. Texts are made when asked for, from the graph, never cached.

    `target` is what the user asked for: a function for "native" that is pickled is native to where it is loaded.
    `seconds` tells, by phase and in order, what making the function took: "graph" (the program collected from what the
    user built), "cache" (compiler found, key made, cache asked), and, unless the cache had the answer, "import" (of
    the compiler's own modules), "verify", "rewrite", "lower", "emit" and "cc" (the C compiler); then "load".
    """

    def __init__(
        self, program: Program, structure: Any, threads: int | None, target: Any, backend: str,
        options: Options | None, artifact: Artifact | None, compilation: Compilation | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.program, self.structure, self.threads, self.target = program, structure, threads, target
        self.backend, self.options, self.artifact = backend, options, artifact
        self._compilation = compilation
        self.seconds: Mapping[str, float] = {} if seconds is None else seconds

    def __str__(self) -> str:
        """What was made and what it took, as text."""
        from .runtime.report import report_text

        return report_text(self.program.name, self.artifact, self.seconds)

    @property
    def counts(self) -> dict[str, int]:
        """How many "kernels" a call runs (one in a loop counts once), distinct "functions" they and what they call are
        compiled to, translation "units", and "lines" of C. All 0 where the interpreter runs the function."""
        from .runtime.report import counts

        return counts(self.artifact)

    @property
    def compilation(self) -> Compilation:
        """All stages of the compilation, run again when the artifact came from the cache."""
        if self._compilation is None:
            from .pipeline import compile_program
            from .runtime.target import resolve_target

            self._compilation = compile_program(self.program, resolve_target(self.target), self.options)
        return self._compilation

    @property
    def sites(self) -> Mapping[int, str]:
        return _Sites(self)

    def dump(self, stage: str = "graph") -> str:
        """A stage as text: one of "graph", "adjoint", "optimized", "kernels", "memory", "c"."""
        if stage not in STAGES:
            raise GraphError(f"dump: there is no stage {stage!r}; the stages are {', '.join(STAGES)}")
        if stage in ("graph", "adjoint"):
            from .graph.pretty import dump_program

            return dump_program(self.program, appended=stage == "adjoint")
        if stage == "optimized":
            from .graph.pretty import dump_program

            return dump_program(self.compilation.optimized)
        if stage == "c":
            return "\n".join(u.text for u in (self.artifact or self.compilation.artifact).units)
        from .lower.printer import memory_text, module_text

        return (module_text if stage == "kernels" else memory_text)(self.compilation.module)

    def export(self, directory: Any, target: Any = None) -> list[Path]:
        """Writes the C, its header, a main program and a Makefile into a folder; returns the paths.

        The code is for `target`, else for the one that was given to `compile`; where that was this machine, for the
        named target that most machines of its architecture can run. Needs no C compiler.
        """
        from .codegen.export import export_files
        from .runtime.target import portable_target, resolve_target

        try:
            folder = Path(directory)
        except TypeError:
            raise GraphError(f"export: the folder must be a path, got {directory!r}") from None
        given = target if target is not None else self.target
        chosen = portable_target() if given in (None, "native") else resolve_target(given)
        artifact = self.artifact
        if artifact is None or artifact.target != chosen or len(artifact.units) > 1:
            from .pipeline import compile_program

            artifact = compile_program(self.program, chosen, self.options, split=False).artifact
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, text in export_files(artifact).items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        return paths

    def reduce(self) -> Any:
        """How a compiled function pickles: the graph and the options; loading compiles, usually from the cache."""
        state = (serialize_program(self.program), self.structure, self.threads, self.target, self.backend, self.options)
        return _load, state


class _Sites(Mapping[int, str]):
    """The site table, built from the live graph when a message first needs it."""

    def __init__(self, report: CompileReport) -> None:
        self.report = report
        self._table: dict[int, str] | None = None

    def _lines(self) -> dict[int, str]:
        if self._table is None:
            from .pipeline import site_numbers, site_table

            optimized = self.report.compilation.optimized
            self._table = site_table(site_numbers(self.report.program, optimized))
        return self._table

    def __getitem__(self, number: int) -> str:
        return self._lines()[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._lines())

    def __len__(self) -> int:
        return len(self._lines())


def _load(
    data: bytes, structure: Any, threads: int | None, target: Any, backend: str, options: Options | None
) -> CompiledFunction:
    return _build(deserialize_program(data).listed(), structure, threads, target, backend, options)
