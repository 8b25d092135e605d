"""From an artifact's C units to a shared library in the cache.

One unit is compiled and linked by one compiler call. Several units are compiled up to two at a time, each cached under
the hash of its text, flags and compiler, then linked; so a changed graph recompiles only what changed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adjoint.artifact import Target, Unit
from adjoint.errors import CompileError
from adjoint.runtime.cache import Cache, digest
from adjoint.runtime.toolchain import Toolchain, find_toolchain

_PARALLEL = 2
_CONTEXT = 2  # source lines shown above and below a rejected one
_SHOWN = 3  # compiler errors that are quoted with their source
_LOCATION = re.compile(r"^([\w.-]+\.c):(\d+):(?:(\d+):)?\s*(?:fatal )?error:\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Library:
    """A built library: `name` is its blob in the cache (for graph records), `path` where it lies now."""

    name: str
    path: Path
    compiled: int  # units that were compiled for it, 0 when all came from the cache


def build_library(
    units: Sequence[Unit],
    target: Target,
    *,
    cache: Cache | None = None,
    toolchain: Toolchain | None = None,
    extra: tuple[str, ...] = (),
) -> Library:
    """Compile and link `units`; each unit's text must be complete in itself (no header is put beside it).

    `extra` are more flags for compiling and linking (such as `-pthread`). Raises CompileError when there is no
    compiler, or when it rejects the code; the message then quotes the source and tells where the file was kept.
    """
    if not units:
        raise CompileError("an artifact without translation units cannot be compiled")
    cache = cache or Cache()
    toolchain = toolchain or find_toolchain(cache)
    flags = (*toolchain.compile_flags(target), *extra)
    keys = [digest("unit", toolchain.identity, *_level(unit), *flags, "text", unit.text) for unit in units]
    link = (*toolchain.link_flags(), *extra)
    whole = digest("library", toolchain.identity, *link, "units", *keys)
    path = cache.get_unit(whole)
    if path is not None:
        return Library(path.name, path, 0)
    with cache.workdir() as work:
        if len(units) == 1:
            source = _write_source(work, 0, units[0])
            arguments = [*flags, *_level(units[0]), *link, "-o", "library.so", source, "-lm"]
            _run(toolchain, arguments, work, cache, units[0], keys[0])
            compiled = 1
        else:
            objects, compiled = _objects(units, keys, flags, toolchain, cache, work)
            _run(toolchain, [*flags, *link, "-o", "library.so", *objects, "-lm"], work, cache, None, whole)
        path = cache.put_unit(whole, (work / "library.so").read_bytes(), ".so")
    return Library(path.name, path, compiled)


def _level(unit: Unit) -> tuple[str, ...]:
    """The optimisation level of a unit. Lane loops become vector instructions from the first on."""
    return (("-O0",), ("-O1", "-ftree-vectorize"), ("-O2",))[unit.effort]


def _objects(
    units: Sequence[Unit], keys: list[str], flags: tuple[str, ...], toolchain: Toolchain, cache: Cache, work: Path
) -> tuple[list[str], int]:
    """Paths of the objects in unit order, and how many had to be compiled."""
    missing: dict[str, int] = {}  # equal units have one key and are compiled once
    for index, key in enumerate(keys):
        stored = cache.get_unit(key)
        if stored is not None:
            # A private copy: another process may delete the cache between now and the link.
            try:
                (work / f"{key}.o").write_bytes(stored.read_bytes())
                continue
            except FileNotFoundError:
                pass
        missing.setdefault(key, index)

    from concurrent.futures import ThreadPoolExecutor  # a warm process never needs it

    def compile_one(key: str, index: int) -> None:
        source = _write_source(work, index, units[index])
        _run(toolchain, [*flags, *_level(units[index]), "-c", source, "-o", f"{key}.o"], work, cache, units[index], key)
        cache.put_unit(key, (work / f"{key}.o").read_bytes(), ".o")

    with ThreadPoolExecutor(_PARALLEL) as threads:  # they only wait for their compilers
        jobs = [threads.submit(compile_one, key, index) for key, index in missing.items()]
        try:
            for job in jobs:
                job.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # after an error, units that did not start never do
    return list(dict.fromkeys(f"{key}.o" for key in keys)), len(missing)


def _write_source(work: Path, index: int, unit: Unit) -> str:
    # The path is relative and numbered, so that neither the user's names nor the folder reach the object file.
    name = f"unit{index}.c"
    (work / name).write_text(unit.text, encoding="utf-8")
    return name


def _run(toolchain: Toolchain, arguments: list[str], work: Path, cache: Cache, unit: Unit | None, key: str) -> None:
    """One compiler process, for a unit or (None) for linking. Raises CompileError with what it said."""
    command = [*toolchain.command, *arguments]
    try:
        done = subprocess.run(
            command, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise CompileError(f"the C compiler {toolchain.command[0]} could not be started: {error}") from error
    status, output = done.returncode, done.stdout.decode(errors="replace")
    if status == 0:
        return
    how = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
    head, tail = f"{toolchain.version}: {how}", f"command: {' '.join(command)}"
    if unit is None:
        raise CompileError(f"{head} while linking\n{output.strip()}\n{tail}")
    safe = re.sub(r"\W", "_", unit.name)[:60]
    kept = cache.keep_failed(f"{safe}-{key[:12]}.c", unit.text)
    raise CompileError(f'{head} on unit "{unit.name}", kept as {kept}\n{_quote(output, unit.text)}\n{tail}')


def _quote(output: str, text: str) -> str:
    """The compiler's errors, each with the lines of the source around it; all of its output if none has a place."""
    lines = text.splitlines()
    blocks: list[str] = []
    for line in output.splitlines():
        match = _LOCATION.match(line)
        if match is None:
            continue
        if len(blocks) == _SHOWN:
            blocks.append("  … more errors in the same file")
            break
        number, column = int(match[2]), int(match[3] or 0)
        block = [f"  line {number}: error: {match[4]}"]
        for n in range(max(1, number - _CONTEXT), min(len(lines), number + _CONTEXT) + 1):
            block.append(f"  {'>' if n == number else ' '}{n:6} | {lines[n - 1]}")
            if n == number and column:
                block.append(f"  {'':7} | {' ' * (column - 1)}^")
        blocks.append("\n".join(block))
    return "\n".join(blocks) if blocks else "\n".join(output.strip().splitlines()[:40])
