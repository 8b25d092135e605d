"""The same bits from any threads, schedule, spelling of lanes and compiler; the same bytes from any process."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from programs import PROGRAMS, large, values_of

import adjoint as ad
from adjoint.graph.program import Program
from adjoint.lower.options import Options
from adjoint.runtime.target import TARGETS

ALL = {**PROGRAMS, "large": large}


def same(a: list[Any], b: list[Any]) -> None:
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        assert x.tobytes() == y.tobytes(), f"root {k}: {int(np.sum(x != y))} of {x.size} elements differ"


def test_threads() -> None:
    program = large()
    values = values_of(program)
    one = oracle.run(program, values, threads=1)
    for _ in range(3):
        same(one, oracle.run(program, values, threads=2))


@pytest.mark.parametrize("shape", [(40, 50, 60), (3, 4, 5), (300, 3, "m"), ("n", 3, 500)], ids=str)
def test_sums_in_company(shape: Any) -> None:
    """What else is summed of a computed array does not change the order of a sum."""
    a = np.random.default_rng(3).normal(size=[70 if isinstance(e, str) else e for e in shape]).astype(np.float32)
    sets = [axes for k in (1, 2, 3) for axes in combinations(range(3), k)]

    def sums(groups: list[Any]) -> list[Any]:
        xs = [ad.input(f"x{k}", shape) for k in range(len(groups))]
        found = [ad.sum(ad.abs(x) * 1.1, axes) for x, group in zip(xs, groups, strict=True) for axes in group]
        return list(ad.compile(xs, found)(*[a] * len(xs)))

    alone = dict(zip(sets, sums([(axes,) for axes in sets]), strict=True))
    pairs = list(combinations(sets, 2))
    same(sums(pairs), [alone[axes] for pair in pairs for axes in pair])


@pytest.mark.parametrize("name", ALL)
def test_everything_recomputed(name: str) -> None:
    """What a kernel recomputes has the bits of what another stored, sums included."""
    program = ALL[name]()
    values = values_of(program)
    stored = oracle.run(program, values)
    again = oracle.run(program, values, options=Options(recompute="all"))
    same(stored, again)


def _with_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, extra: str = "") -> None:
    script = tmp_path / "compiler"
    script.write_text(f'#!/bin/sh\nexec {command} "$@" {extra}\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))


@pytest.mark.parametrize("target", ["x86-64", "native"])
def test_spelling_of_lanes(target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The plain path unrolls and vectorises badly, which takes long: not at all, and small programs, are enough.
    cases = {n: (p := make(), values_of(p)) for n, make in PROGRAMS.items()}
    expected = {n: oracle.run(*case, target=target) for n, case in cases.items()}
    _with_compiler(monkeypatch, tmp_path, shutil.which("cc") or "cc", "-DADJOINT_PLAIN_LANES -O0")
    for name, case in cases.items():
        same(expected[name], oracle.run(*case, target=target))


@pytest.mark.parametrize("target", ["x86-64", "native"])
def test_compilers(target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gcc, clang = shutil.which("gcc"), shutil.which("clang")
    if gcc is None or clang is None:
        pytest.skip("needs gcc and clang, of which " + ("gcc" if gcc is None else "clang") + " is not installed")
    cases = {n: (p := make(), values_of(p)) for n, make in ALL.items()}
    monkeypatch.setenv("CC", gcc)
    expected = {n: oracle.run(*case, target=target) for n, case in cases.items()}
    monkeypatch.setenv("CC", clang)
    for name, case in cases.items():
        same(expected[name], oracle.run(*case, target=target))


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import hashlib
from programs import PROGRAMS, large
from adjoint.pipeline import compile_program
from adjoint.runtime.target import TARGETS
for make in [*PROGRAMS.values(), large]:
    artifact = compile_program(make(), TARGETS["x86-64-v3"]).artifact
    text = "".join(u.text for u in artifact.units) + artifact.header
    print(make.__name__, hashlib.sha256(text.encode()).hexdigest())
"""


def test_bytes_do_not_depend_on_the_process_or_its_folder(tmp_path: Path) -> None:
    found = set()
    for seed in ("0", "4711"):
        folder = tmp_path / f"folder{seed}"
        folder.mkdir()
        shutil.copy(Path(__file__).parent.parent / "programs.py", folder)
        (folder / "script.py").write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, "script.py", str(folder)], cwd=folder, env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
    digest = hashlib.sha256(_text(ALL["rows"]()).encode()).hexdigest()
    assert f"rows {digest}" in found.pop(), "what ran before in a process shows in the C"


def _text(program: Program) -> str:
    from adjoint.pipeline import compile_program

    artifact = compile_program(program, TARGETS["x86-64-v3"]).artifact
    return "".join(u.text for u in artifact.units) + artifact.header
