"""What can be told about a compiled function: its stages as text, its C in a folder, times, counts and lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifact import STAGES, Artifact
from .errors import GraphError
from .graph.program import Program
from .graph.serial import serialize_program

if TYPE_CHECKING:
    from .lower.options import Options
    from .pipeline import Compilation


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
        from .api import load

        state = (serialize_program(self.program), self.structure, self.threads, self.target, self.backend, self.options)
        return load, state


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
