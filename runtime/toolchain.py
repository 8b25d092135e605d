"""Finding a C compiler: `CC`, then cc, gcc, clang on PATH, then the `ziglang` package.

A compiler is known by a `Toolchain`: its command, kind, version and an identity for cache keys. The search runs once
per process for each state of the environment; the version text is kept in the cache, so that a warm process starts no
compiler at all.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from adjoint.artifact import Target
from adjoint.errors import CompileError
from adjoint.runtime.cache import Cache, digest

_COMMON = ("-std=c99", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
# How far gcc looks for the store that a load may see. Kernels keep what they use again in variables, so that there is
# next to nothing to find, and in a long one the search takes a third of the compiler's time.
_GCC = ("--param", "sccvn-max-alias-queries-per-access=100")
_INSTALL = (
    "install one (Debian and Ubuntu: apt install gcc; Fedora: dnf install gcc; macOS: xcode-select --install; "
    'anywhere: pip install ziglang), or set CC to its command; backend="numpy" runs without a compiler'
)


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler that answered. `identity` changes whenever the compiler may produce different code."""

    command: tuple[str, ...]
    kind: str  # "gcc" | "clang" | "zig"
    version: str  # first line of --version
    identity: str
    origin: str  # "CC" | "PATH" | "ziglang"

    def compile_flags(self, target: Target) -> tuple[str, ...]:
        """Flags of every translation unit for `target`: order is part of the cache key."""
        if self.kind != "zig":
            return (*_COMMON, *(_GCC if self.kind == "gcc" else ()), *target.cflags)
        # zig has its own spelling of CPU names, builds for the machine it runs on unless told, and may turn traps on.
        flags = [
            "-mcpu=" + flag.removeprefix("-march=").replace("-", "_") if flag.startswith("-march=") else flag
            for flag in target.cflags
        ]
        if not any(flag.startswith("-mcpu=") for flag in flags):
            flags.append("-mcpu=baseline")
        return (*_COMMON, "-fno-sanitize=undefined", *flags)

    def link_flags(self) -> tuple[str, ...]:
        """Flags that turn objects into a loadable library."""
        # Without -Bsymbolic a kernel named like a function of the host program would bind to the latter.
        return ("-shared",) if sys.platform == "darwin" else ("-shared", "-Wl,-Bsymbolic")


_found: dict[tuple[str | None, str | None], Toolchain] = {}


def find_toolchain(cache: Cache | None = None) -> Toolchain:
    """The compiler for the present environment (`CC`, `PATH`).

    Raises CompileError when `CC` names something that does not work (it is never skipped silently), or when nothing was
    found at all.
    """
    environment = (os.environ.get("CC"), os.environ.get("PATH"))
    known = _found.get(environment)
    if known is None:
        known = _found[environment] = _search(environment[0], cache or Cache())
    return known


def _search(cc: str | None, cache: Cache) -> Toolchain:
    if cc is not None and cc.strip():
        return _from_variable(cc, cache)
    failures: list[str] = []
    for name in ("cc", "gcc", "clang"):
        path = shutil.which(name)
        if path is not None:
            found = _probe((path,), "PATH", cache)
            if isinstance(found, Toolchain):
                return found
            failures.append(f"{path} {found}")
    if importlib.util.find_spec("ziglang") is not None:
        found = _probe((sys.executable, "-m", "ziglang", "cc"), "ziglang", cache)
        if isinstance(found, Toolchain):
            return found
        failures.append(f"the ziglang package {found}")
    tried = f" ({'; '.join(failures)})" if failures else ""
    raise CompileError(f"no C compiler found: no cc, gcc or clang on PATH, no ziglang package{tried}; {_INSTALL}")


def _from_variable(cc: str, cache: Cache) -> Toolchain:
    try:
        words = shlex.split(cc)
    except ValueError as error:
        raise CompileError(f"CC={cc!r} cannot be split into words: {error}") from error
    path = shutil.which(words[0])
    if path is None:
        raise CompileError(f"CC={cc!r}: no program {words[0]!r} on PATH; unset CC to search for one, or {_INSTALL}")
    found = _probe((path, *words[1:]), "CC", cache)
    if isinstance(found, str):
        raise CompileError(f"CC={cc!r} {found}; unset CC to search for one, or {_INSTALL}")
    return found


def _probe(command: tuple[str, ...], origin: str, cache: Cache) -> Toolchain | str:
    """Ask a command for its version; a string says why it cannot be used."""
    stamp = digest("toolchain", *command, *_stamps(command))
    stored = cache.get_note(stamp)
    if stored is None:
        try:
            done = subprocess.run([*command, "--version"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"could not be started: {error}"
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            return f"failed on --version with status {done.returncode}" + (f": {reason[0]}" if reason else "")
        if not done.stdout.strip():
            return "printed nothing on --version, so it is no C compiler that is known here"
        stored = done.stdout
        cache.put_note(stamp, stored)
    text = stored.decode(errors="replace").strip()
    words = " ".join(command)
    kind = "zig" if "zig" in words else "clang" if "clang" in text.lower() else "gcc"
    return Toolchain(command, kind, text.splitlines()[0], digest(*command, text)[:32], origin)


def _stamps(command: tuple[str, ...]) -> list[str]:
    """Path, size and time of every program in the command: changes when the compiler is replaced."""
    stamps = []
    for word in command:
        path = shutil.which(word)
        if path is not None:
            real = os.path.realpath(path)
            info = os.stat(real)
            stamps.append(f"{real} {info.st_size} {info.st_mtime_ns}")
    if "ziglang" in command:
        spec = importlib.util.find_spec("ziglang")
        if spec is not None and spec.origin:
            stamps.append(f"{spec.origin} {Path(spec.origin).stat().st_mtime_ns}")
    return stamps
