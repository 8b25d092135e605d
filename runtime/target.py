"""Targets by name, and the machine that this process runs on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

from adjoint.artifact import Target
from adjoint.errors import CompileError

_V2 = frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})
_V4 = _V3 | frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})

# Feature names are those of /proc/cpuinfo; levels are those of the x86-64 psABI. Best first within an architecture.
_FEATURES: dict[str, frozenset[str]] = {
    "x86-64-v4": _V4,
    "x86-64-v3": _V3,
    "x86-64": frozenset(),
    "aarch64": frozenset(),
}

_KIB = 1024
_GNU = "defined(__GNUC__)"
_AVX512 = " && ".join(f"defined(__AVX512{part}__)" for part in ("F", "DQ", "BW", "VL"))

# Cache sizes of the named targets are those of common server cores; `native` puts in what the machine says.
TARGETS: dict[str, Target] = {
    t.name: t
    for t in (
        Target("generic", _GNU, 16, 16, False, 32 * _KIB, 256 * _KIB, 8, ()),
        Target("x86-64", f"{_GNU} && defined(__SSE2__)", 16, 16, False, 32 * _KIB, 256 * _KIB, 8, ("-march=x86-64",)),
        Target(
            "x86-64-v3",
            f"{_GNU} && defined(__AVX2__) && defined(__FMA__)",
            32,
            16,
            True,
            32 * _KIB,
            512 * _KIB,
            8,
            ("-march=x86-64-v3",),
        ),
        Target(
            "x86-64-v4",
            f"{_GNU} && {_AVX512} && defined(__FMA__)",
            64,
            32,
            True,
            32 * _KIB,
            1024 * _KIB,
            8,
            ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        ),
        Target("aarch64", f"{_GNU} && defined(__aarch64__)", 16, 32, True, 64 * _KIB, 512 * _KIB, 8, ()),
    )
}


def resolve_target(target: str | Target | None = None) -> Target:
    """A target by name (`native` or None: this machine), or the record itself. Raises CompileError for other names."""
    if isinstance(target, Target):
        return target
    if target is None or target == "native":
        return native_target()
    if target not in TARGETS:
        raise CompileError(f"no target {target!r}; there are native, {', '.join(TARGETS)}, and adjoint Target records")
    return TARGETS[target]


@cache
def native_target() -> Target:
    """The best named ISA that this machine has, with its cache sizes and its number of CPUs."""
    base = TARGETS[_best_isa()]
    l1, l2 = _cache_sizes()
    return replace(base, l1=l1 or base.l1, l2=l2 or base.l2, workers=os.cpu_count() or 1)


def portable_target() -> Target:
    """The default of code that leaves this machine: a named target that most machines of this architecture can run."""
    return TARGETS[{"x86-64": "x86-64-v3", "aarch64": "aarch64"}.get(_architecture(), "generic")]


def missing_features(target: Target) -> list[str]:
    """CPU features that `target` needs and this machine lacks; empty when its code can run here."""
    if target.name not in _FEATURES:
        return []
    machine = _architecture()
    family = "aarch64" if target.name == "aarch64" else "x86-64"
    if machine != family:
        return [f"{family} processor"]
    return sorted(_FEATURES[target.name] - _cpu_features())


def _architecture() -> str:
    machine = platform.machine().lower()
    return {"amd64": "x86-64", "x86_64": "x86-64", "arm64": "aarch64", "aarch64": "aarch64"}.get(machine, machine)


def _best_isa() -> str:
    machine = _architecture()
    for name, needed in _FEATURES.items():
        if name.startswith(machine) and needed <= _cpu_features():
            return name
    return "generic"


@cache
def _cpu_features() -> frozenset[str]:
    """Flags of the first CPU; empty where the system does not tell, which leads to the baseline of the architecture."""
    if sys.platform == "darwin":
        names = " ".join(filter(None, (_sysctl("machdep.cpu.features"), _sysctl("machdep.cpu.leaf7_features"))))
        names += " " + (_sysctl("machdep.cpu.extfeatures") or "")
        return frozenset(_mac_spelling(name) for name in names.lower().split())
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _mac_spelling(name: str) -> str:
    known = {"avx1.0": "avx", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "lahf": "lahf_lm", "lzcnt": "abm"}
    return known.get(name, name)


def _sysctl(name: str) -> str | None:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _cache_sizes() -> tuple[int, int]:
    """L1 data and L2 bytes that one core has for itself; 0 where the system does not tell."""
    if sys.platform == "darwin":
        values = []
        for level in ("l1dcachesize", "l2cachesize"):
            text = _sysctl(f"hw.perflevel0.{level}") or _sysctl(f"hw.{level}")
            values.append(int(text) if text and text.isdigit() else 0)
        return values[0], values[1]
    root = Path("/sys/devices/system/cpu/cpu0")
    found = {1: 0, 2: 0}
    threads = len(_cpu_list(_read(root / "topology" / "thread_siblings_list"))) or 1
    for index in sorted((root / "cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level in ("1", "2") and kind in ("Data", "Unified") and size.endswith("K") and size[:-1].isdigit():
            sharing = len(_cpu_list(_read(index / "shared_cpu_list"))) or 1
            found[int(level)] = int(size[:-1]) * _KIB // max(1, sharing // threads)
    return found[1], found[2]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _cpu_list(text: str) -> list[int]:
    """The CPUs of a list such as "0-3,8"."""
    cpus: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus
