"""What `adjoint doctor` tells: the installation, the target, and what this machine was measured to do."""

from __future__ import annotations

import os
import platform

from .errors import AdjointError, CompileError
from .version import VERSION


def examine() -> int:
    """Prints what is installed and found, and what the machine reaches; returns 1 when something does not work."""
    import importlib.metadata

    from .runtime.cache import Cache
    from .runtime.native import available_cpus
    from .runtime.target import native_target, portable_target
    from .runtime.toolchain import find_toolchain

    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "cffi", "jinja2")]
    _row("adjoint", f"{VERSION}, Python {platform.python_version()}, {', '.join(versions)}")
    t = native_target()
    _row("machine", f"{platform.machine()} {platform.system()}, {available_cpus()} CPUs for this process")
    _row("target", f"native is {t.name}: {t.vector_bytes} byte vectors, {t.registers} registers, "
                   f"{'FMA' if t.fma else 'no FMA'}, L1 {t.l1 // 1024} KiB, L2 {t.l2 // 1024} KiB a core, "
                   f"at most {t.workers} workers")
    _row("", f"exports default to {portable_target().name}")
    status = 0
    try:
        cache = Cache()
        table = cache.sizes()
        total = sum(size for _, size in table.values())
        _row("cache", f"{cache.root}, {sum(n for n, _ in table.values())} files, {bytes_text(total)}")
    except CompileError as error:
        _row("cache", f"not usable: {error}")
        return 1
    try:
        found = find_toolchain(cache)
        _row("compiler", f"{' '.join(found.command)} (from {found.origin}): {found.version}")
        _row("check", _try())
        _measured()
    except AdjointError as error:
        _row("compiler", f"not usable: {error}")
        status = 1
    return status


def _measured() -> None:
    """Arithmetic and memory of this machine, which the compiler does not look at but its results are judged by."""
    from .runtime.native import available_cpus
    from .runtime.peak import KINDS, LEVELS, bandwidth, peak_flops, working_set

    cpus = available_cpus()
    counts = [1] if cpus == 1 else [1, cpus]
    on = "on one CPU" if cpus == 1 else f"on one CPU / on {cpus}"

    def rates(values: list[float]) -> str:
        return " / ".join(f"{v / 1e9:.0f}" for v in values)

    for k, dtype in enumerate(("float32", "float64")):
        peak = rates([peak_flops(dtype, n) for n in counts])
        _row("" if k else "peak", f"{dtype} {peak} GFLOP/s in FMAs, {on}")
    for k, level in enumerate(LEVELS):
        kinds = ", ".join(f"{kind} {rates([bandwidth(kind, level, n) for n in counts])} GB/s" for kind in KINDS)
        _row("" if k else "bandwidth", f"{level} ({bytes_text(working_set(level))}): {kinds}")


def _try() -> str:
    """Compiles a small function from an empty cache and runs it."""
    import tempfile
    import time

    import numpy as np

    from . import input as placeholder
    from .api import compile as build

    before = os.environ.get("ADJOINT_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ADJOINT_CACHE_DIR"] = folder
        try:
            start = time.perf_counter()
            x = placeholder("x", (4,))
            result = build(x, x * 2 + 1, name="check")(np.arange(4, dtype=np.float32))
            seconds = time.perf_counter() - start
        finally:
            if before is None:
                del os.environ["ADJOINT_CACHE_DIR"]
            else:
                os.environ["ADJOINT_CACHE_DIR"] = before
    if result.tolist() != [1, 3, 5, 7]:
        raise CompileError(f"a compiled function gave {result.tolist()} in place of [1, 3, 5, 7]")
    return f"compiled and ran a function in {seconds:.2f} s"


def _row(label: str, text: str) -> None:
    print(f"{label:<10}{text}")


def bytes_text(count: int) -> str:
    """A number of bytes for people."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
