"""Code divided between translation units: wherever the cuts lie, the bits are the same and the C is clean."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import oracle
import pytest
from programs import PROGRAMS, dims_of, large, values_of

import adjoint as ad
from adjoint.artifact import Artifact
from adjoint.codegen import entry, units
from adjoint.graph.program import Program
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target

ALL = {**PROGRAMS, "large": large}
STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wmissing-prototypes", "-Werror", "-ffp-contract=off"]


def cut_small(patch: pytest.MonkeyPatch) -> None:
    """Units of a few lines, and of a few calls of the entry."""
    for name, value in (("ONE_UNIT", 20), ("UNIT_LINES", 60), ("ENTRY_ARGUMENTS", 4), ("UNIT_ARGUMENTS", 8)):
        patch.setattr(units, name, value)
    patch.setattr(entry, "PART", 2)


def artifact_of(program: Program, target: str) -> Artifact:
    return compile_program(program, resolve_target(target)).artifact


def chain(length: int) -> Program:
    x = ad.input("x", (64,))
    h = x
    for k in range(length):
        h = (ad.tanh(h), h * x, h + x)[k % 3]
    return Program("chain", (x.node,), (h.node, ad.grad(ad.sum(h), x).node))


@pytest.mark.parametrize("name", ALL)
def test_bits_wherever_units_end(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Where units end is no part of a cache key, being fixed in every other process.
    program = ALL[name]()
    values = values_of(program)
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path / "whole"))
    expected = oracle.run(program, values, threads=2)
    cut_small(monkeypatch)
    assert len(artifact_of(program, "native").units) > 1
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path / "cut"))
    for k, (a, b) in enumerate(zip(expected, oracle.run(program, values, threads=2), strict=True)):
        assert a.tobytes() == b.tobytes(), f"root {k}"


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_strict_compilers_have_nothing_to_say(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cc = shutil.which(name)
    if cc is None:
        pytest.skip(f"{name} is not installed")
    cut_small(monkeypatch)
    target = resolve_target("x86-64-v3")
    for program, make in ALL.items():
        folder = tmp_path / program
        folder.mkdir()
        made = compile_program(make(), target).artifact.units
        for unit in made:
            (folder / f"{unit.name}.c").write_text(unit.text)
        files = [f"{unit.name}.c" for unit in made]
        command = [cc, *STRICT, *target.cflags, "-fPIC", "-shared", "-Wl,--no-undefined", *files, "-lm"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr[:3000]


def test_a_long_entry_stands_apart_from_kernels() -> None:
    program = chain(700)
    made = artifact_of(program, "native").units
    assert [u.effort for u in made[:-1]].count(0) == 0 and made[-1].effort == 0
    assert "KERNEL void" not in made[-1].text and "int32_t chain(" in made[-1].text
    values = values_of(program)
    oracle.check(program, values, dims_of(program))
    whole = compile_program(program, resolve_target("native"), split=False).artifact
    assert len(whole.units) == 1


SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
import hashlib
from test_units import artifact_of, chain
print(hashlib.sha256("".join(u.text for u in artifact_of(chain(2000), "x86-64-v3").units).encode()).hexdigest())
"""


def test_bytes_of_a_long_program_do_not_depend_on_the_process() -> None:
    here = Path(__file__).parent
    found = set()
    for seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(here), str(here.parent)], capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
