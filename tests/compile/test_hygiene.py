"""The C itself: clean under strict compilers and sanitizers, and never broken by what users write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from programs import PROGRAMS, dims_of, values_of

import adjoint as ad
from adjoint.artifact import Artifact
from adjoint.graph import interp
from adjoint.graph.program import Program
from adjoint.graph.sizes import evaluate
from adjoint.pipeline import compile_program
from adjoint.runtime.target import missing_features, resolve_target

STRICT = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off", "-fno-math-errno"]


def artifact_of(program: Program, target: str) -> Artifact:
    return compile_program(program, resolve_target(target)).artifact


def compiler(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("target", ["generic", "x86-64", "x86-64-v3", "native"])
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_strict_compilers_have_nothing_to_say(name: str, target: str, tmp_path: Path) -> None:
    cc, files = compiler(name), []
    for program in PROGRAMS:
        for k, unit in enumerate(artifact_of(PROGRAMS[program](), target).units):
            path = tmp_path / f"{program}{k}.c"
            path.write_text(unit.text)
            files.append(path.name)
    flags = resolve_target(target).cflags
    done = subprocess.run([cc, *STRICT, *flags, "-c", *files], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


TAPE = 1 << 16


def driver(program: Program, artifact: Artifact, values: Any, dims: Any) -> str:
    """A main program with these arguments in buffers of exactly their size; prints the bytes of every result."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>", "#include <stdint.h>",
             f'#include "{artifact.name}.h"', "int main(void) {", f"  {artifact.name}_args args = {{0}};"]  # fmt: skip
    nodes = [*program.inputs, *program.variables]
    outputs = [p for p in artifact.params if p.role == "output"]
    fields = [p for p in artifact.params if p.role in ("input", "variable")]
    for p, node in zip(fields, nodes, strict=True):
        data = values[node].tobytes()
        numbers = ", ".join(map(str, data)) or "0"
        lines += [f"  static const unsigned char in_{p.name}[] = {{{numbers}}};",
                  f"  void *{p.name} = malloc({len(data)});", f"  memcpy({p.name}, in_{p.name}, {len(data)});",
                  f"  args.{p.name} = {p.name};"]  # fmt: skip
    sizes = {}
    for p, node in zip(outputs, program.outputs, strict=True):
        shape = [evaluate(e, dims) for e in node.shape]
        sizes[p.name] = int(np.prod(shape)) * node.dtype.itemsize
        lines += [f"  void *{p.name} = malloc({sizes[p.name]});", f"  args.{p.name} = {p.name};"]
    lines += [f"  args.{d} = {n};" for d, n in dims.items()]
    name = artifact.name
    lines += [
        f"  char *raw = malloc({name}_workspace(&args) + 64);",
        "  char *workspace = raw + (64 - (uintptr_t)raw % 64) % 64;",
        # A tape of a fixed size, where a first call without any says that one is needed.
        f"  int32_t status = {name}(&args, workspace, NULL);",
        "  adjoint_context context = {0};",
        f"  char *tape_memory = malloc({TAPE} + 64);",
        "  context.tape = tape_memory + (64 - (uintptr_t)tape_memory % 64) % 64;",
        f"  context.tape_bytes = {TAPE};",
        f"  if (status == ADJOINT_TAPE) status = {name}(&args, workspace, &context);",
    ]
    written = [p.name for p in fields if p.written]
    for p, node in zip(fields, nodes, strict=True):
        sizes[p.name] = values[node].nbytes
    for field in [*(p.name for p in outputs), *written]:
        lines.append("  if (status == ADJOINT_OK)")
        lines.append(f'  for (int64_t k = 0; k < {sizes[field]}; k++) printf("%02x", ((unsigned char *){field})[k]);')
    lines += [f"  free({p.name});" for p in [*fields, *outputs]]
    lines += ["  free(raw);", "  free(tape_memory);"]
    return "\n".join([*lines, "  return status == ADJOINT_OK ? 0 : 3;", "}", ""])


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("target", ["x86-64", "x86-64-v3"])
def test_sanitizers_find_nothing_and_the_program_alone_gives_the_same_bits(
    name: str, target: str, tmp_path: Path
) -> None:
    """Address and undefined behaviour, in a program of C alone whose buffers end where the arrays end."""
    program = PROGRAMS[name]()
    values, dims = values_of(program), dims_of(program)
    done = sanitized(program, values, dims, target, tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr[:3000]
    results = oracle.run(program, values, target=target)
    assert done.stdout == "".join(r.tobytes().hex() for r in results)


def sanitized(
    program: Program, values: Any, dims: Any, target: str, tmp_path: Path
) -> subprocess.CompletedProcess[str]:
    """Builds a program with its main function under sanitizers, and runs it."""
    if missing_features(resolve_target(target)):
        pytest.skip(f"this processor is no {target}")
    artifact = artifact_of(program, target)
    (tmp_path / f"{artifact.name}.h").write_text(artifact.header)
    files = ["main.c"]
    (tmp_path / "main.c").write_text(driver(program, artifact, values, {d.name: n for d, n in dims.items()} | dims))
    for k, unit in enumerate(artifact.units):
        (tmp_path / f"unit{k}.c").write_text(unit.text)
        files.append(f"unit{k}.c")
    flags = ["-std=c99", "-O0", "-g1", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    flags += [*resolve_target(target).cflags, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [compiler("gcc"), *flags, *files, "-o", "main", "-lm"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    if "cannot find" in built.stderr and "asan" in built.stderr:
        pytest.skip("gcc is installed without its sanitizer libraries")
    assert built.returncode == 0, built.stderr
    return subprocess.run(
        [str(tmp_path / "main")], capture_output=True, text=True, env={**os.environ, "LD_PRELOAD": ""}
    )


def taken(x: Any, k: Any) -> list[Any]:
    return [ad.take(x, k) * 2.0, ad.sum(ad.take(ad.exp(x), k), axis=0), ad.grad(ad.sum(ad.take(x, k)), x)]


def taken_within_a_loop(x: Any, k: Any) -> list[Any]:
    last, rows = ad.scan(lambda c, i: (c + ad.take(x, i), ad.take(x, i) * c), ad.zeros((3,)), k)
    return [last, rows]


@pytest.mark.parametrize("how", [taken, taken_within_a_loop])
def test_nothing_is_taken_from_an_empty_axis(how: Any, tmp_path: Path) -> None:
    """An index into an axis that turns out to be empty fails the call before anything is read through it."""
    x, k = ad.input("x", (ad.Dim("n", min=0), 3)), ad.input("k", (4,), "int64")
    outputs = how(x, k)
    program = Program("empty", (x.node, k.node), tuple(y.node for y in outputs))
    for index in (0, -1, 2):
        data = np.zeros((0, 3), np.float32), np.full(4, index)
        for backend in ("c", "numpy"):
            with pytest.raises(ad.ExecutionError, match="out of range"):
                ad.compile([x, k], outputs, backend=backend)(*data)
    done = sanitized(program, dict(zip(program.inputs, data, strict=True)), {x.shape[0]: 0}, "x86-64", tmp_path)
    assert done.returncode == 3 and not done.stderr, done.stderr[:3000]


NASTY = [
    "*/", '"quoted"', "back\\slash", "??/", "größe", "new\nline", "for", "exp", "int64_t", "j", "row", "x_1", "i0",
    "acc0", "f32x16_add", "NAN", "LANE", "k0_add", "table_", "a", "a_1", "b a", "b_a", "memcpy", "args", "begin", "n",
    "panel", "tile", "_x", "main", "t", "v0", "x_1_", "out0", "", "%s", "// /*", "\x00",
]  # fmt: skip


def test_names_of_arrays_never_break_the_c() -> None:
    inputs = [ad.input(s or "empty", ("size", 7)) for s in NASTY]
    w = ad.input("table", (7, 5))
    total = inputs[0]
    for x in inputs[1:]:
        total = ad.tanh(total * 0.5) + x
    outputs = [total, total @ w, ad.sum(total, axis=0), total + ad.constant(np.arange(7, dtype=np.float32))]
    program = Program("tables", tuple(x.node for x in (*inputs, w)), tuple(y.node for y in outputs))
    rng = np.random.default_rng(0)
    values = {x.node: rng.normal(size=(9, 7)).astype(np.float32) for x in inputs}
    values[w.node] = rng.normal(size=(7, 5)).astype(np.float32)
    dims = {inputs[0].shape[0]: 9}
    want = interp.evaluate(program.roots, values, dims)
    oracle.compare(program, values, dims, want, oracle.run(program, values, target="x86-64"))


def test_a_description_longer_than_c_allows_a_literal_to_be(tmp_path: Path) -> None:
    inputs = [ad.input(f"input_number_{k}", (3,)) for k in range(80)]
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    (unit,) = artifact_of(Program("many", tuple(x.node for x in inputs), (total.node,), ()), "x86-64").units
    (tmp_path / "many.c").write_text(unit.text)
    main = "#include <stdio.h>\nconst char *many_describe(void);\nint main(void) { return puts(many_describe()) < 0; }"
    (tmp_path / "main.c").write_text(main)
    command = [compiler("gcc"), *STRICT, "many.c", "main.c", "-o", "main", "-lm"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0 and not built.stderr, built.stderr
    described = json.loads(subprocess.run([str(tmp_path / "main")], capture_output=True, text=True).stdout)
    assert [a["name"] for a in described["arguments"]] == [*(f"input_number_{k}" for k in range(80)), "out"]


@pytest.mark.parametrize("name", ["exp", "double", "fmaf", "memcpy", "f32x8_add", "k0_x", "main", "_x", "isnan"])
def test_names_of_functions_that_c_has_already_are_refused(name: str) -> None:
    x = ad.input("x", (3,))
    with pytest.raises(ad.AdjointError, match=name):
        ad.compile(x, x + 1, name=name)


@pytest.mark.parametrize("name", ["for", "begin", "NAN", "größe", "int64_t"])
def test_names_of_dimensions_that_c_has_already_are_refused(name: str) -> None:
    x = ad.input("x", (name,))
    with pytest.raises(ad.ShapeError, match="dimension"):
        ad.compile(x, x + 1)


def test_a_compiler_error_shows_the_lines_and_keeps_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "cc"
    script.write_text(f'#!/bin/sh\nexec {compiler("gcc")} "$@" -Dfloat=nonsense\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path / "cache"))
    x = ad.input("x", (3,))
    with pytest.raises(ad.CompileError) as caught:
        ad.compile(x, ad.exp(x), name="broken")
    message = str(caught.value)
    kept = next((tmp_path / "cache").rglob("broken*.c"))
    assert str(kept) in message and "error:" in message and ">" in message
    assert "broken" in kept.read_text()
