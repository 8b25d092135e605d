"""Exports: built by make without Python, run on files, and held to the bits of the JIT."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.codegen import units
from adjoint.codegen.export import c_extent, export_files
from adjoint.pipeline import compile_program
from adjoint.runtime.target import TARGETS, missing_features, native_target, resolve_target

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

SANITIZE = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all"
RUNNABLE = [name for name in TARGETS if not missing_features(TARGETS[name])]
BEST = native_target().name


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "export-cache"))


def compiler(name: str, *flags: str) -> str:
    """The path of a compiler; skips the test when it is missing or cannot link with these flags."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    if flags:
        command = [path, *flags, "-x", "c", "-", "-o", os.devnull]
        done = subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True)
        if done.returncode:
            pytest.skip(f"{name} cannot link with {' '.join(flags)}")
    return path


def training_step(target: Any, name: str = "step", batch: Any = 24) -> tuple[Any, dict[str, Any], ad.Array]:
    """A perceptron's training step with Adam, its inputs, and its model."""
    rng = np.random.default_rng(5)
    model = ad.nn.Sequential(ad.nn.Linear(19, 33, seed=1), ad.relu, ad.nn.Linear(33, 7, seed=2))
    x, t = ad.input("x", (batch, 19)), ad.input("t", (batch,), dtype="int64")
    loss = ad.nn.cross_entropy(model(x), t)
    updates = ad.optim.Adam(1e-2).minimize(loss)
    step = ad.compile([x, t], [loss, model(x)], updates=updates, name=name, target=target)
    rows = 24 if isinstance(batch, str) else batch
    values = {"x": rng.standard_normal((rows, 19)).astype(np.float32), "t": rng.integers(0, 7, rows)}
    return step, values, list(updates)


def params(function: Any, role: str) -> list[Any]:
    return [p for p in function.report.artifact.params if p.role == role]


def write(folder: Path, arrays: Mapping[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        array.astype(array.dtype.newbyteorder("<")).tofile(folder / f"{name}.bin")


def held(function: Any) -> dict[str, Any]:
    """The variables of a function as they are now, by the names that C knows them by."""
    arrays = [storage.array.copy() for storage in function.executor.storages]
    return {p.name: a for p, a in zip(params(function, "variable"), arrays, strict=True)}


def make(folder: Path, *arguments: str) -> None:
    # Without PATH's Python: what is built must not need it.
    done = subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([folder / "main", *arguments], capture_output=True, text=True, env={})


def assert_same_bits(folder: Path, function: Any, results: list[Any]) -> None:
    """What the program wrote equals what the call returned and what it left in the variables."""
    expected = {p.name: r for p, r in zip(params(function, "output"), results, strict=True)}
    written = {p.name for p in params(function, "variable") if p.written}
    assert written
    expected |= {name: a for name, a in held(function).items() if name in written}
    for name, array in expected.items():
        assert (folder / f"{name}.out.bin").read_bytes() == array.tobytes(), name


@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_a_training_step_has_the_bits_of_the_jit(tmp_path: Path, cc: str, target: str) -> None:
    command = compiler(cc)
    step, values, _ = training_step(target)
    names = sorted(path.name for path in step.export(tmp_path))
    assert names == ["Makefile", "main.c", "step.c", "step.h"]
    make(tmp_path, f"CC={command}", "CFLAGS=-O2 -Werror")
    data = tmp_path / "data"
    write(data, values | held(step))
    results = step(**values)
    done = run(tmp_path, str(data))
    assert done.returncode == 0, done.stderr
    assert_same_bits(data, step, results)
    loss, logits = done.stdout.splitlines()
    assert loss == f"out0 float32[] = {float(results[0]):.9g}"
    assert logits.startswith("out1 float32[24, 7] = ")
    assert logits.endswith(" ...")
    make(tmp_path, "clean")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == names


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_under_sanitizers(tmp_path: Path, cc: str) -> None:
    command = compiler(cc, "-fsanitize=address,undefined")
    step, values, _ = training_step(BEST)
    step.export(tmp_path)
    make(tmp_path, f"CC={command}", f"CFLAGS={SANITIZE}")
    data = tmp_path / "data"
    write(data, values | held(step))
    results = step(**values)
    done = run(tmp_path, str(data))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert_same_bits(data, step, results)


def test_two_steps_in_two_processes(tmp_path: Path) -> None:
    step, values, _ = training_step(BEST)
    step.export(tmp_path)
    make(tmp_path)
    data = tmp_path / "data"
    write(data, values | held(step))
    for _ in range(2):
        results = step(**values)
        assert run(tmp_path, str(data)).returncode == 0
        assert_same_bits(data, step, results)
        for path in data.glob("*.out.bin"):
            path.replace(data / path.name.replace(".out.bin", ".bin"))


def test_run_time_dimensions(tmp_path: Path) -> None:
    step, values, _ = training_step(BEST, batch="batch")
    step.export(tmp_path)
    make(tmp_path, "CFLAGS=-O2 -Werror")
    data = tmp_path / "data"
    for rows in (24, 1, 17):
        given = {name: array[:rows] for name, array in values.items()}
        write(data, given | held(step))
        results = step(**given)
        done = run(tmp_path, str(data), f"batch={rows}")
        assert done.returncode == 0, done.stderr
        assert f"float32[{rows}, 7] =" in done.stdout
        assert_same_bits(data, step, results)
    for arguments, message in [
        ([], "batch=... is missing"),
        (["batch=0"], "at least 1"),
        (["batch=3x"], "must be a number"),
        (["size=3"], "not of the form"),
        (["batch=18"], "takes 1368"),
    ]:
        done = run(tmp_path, str(data), *arguments)
        assert done.returncode == 1
        assert message in done.stderr


def test_files_and_failures(tmp_path: Path) -> None:
    table = ad.input("table", (5, 3))
    index = ad.input("index", (2,), dtype="int64")
    total = ad.variable(np.zeros((), np.float32), name="total")
    rows = ad.take(table, index, axis=0)
    look = ad.compile([table, index], rows, updates={total: total + rows.sum()}, name="look")
    look.export(tmp_path)
    make(tmp_path, "CFLAGS=-O2 -Werror")
    usage = run(tmp_path)
    assert usage.returncode == 1
    assert "float32[5, 3]" in usage.stderr and "variable float32[], updated" in usage.stderr
    data = tmp_path / "data"
    data.mkdir()
    done = run(tmp_path, str(data))  # what is absent is zero
    assert done.returncode == 0
    assert "= 0 0 0 0 0 0" in done.stdout
    for path in data.glob("*.out.bin"):
        path.unlink()
    write(data, {"table": np.ones((5, 3), np.float32), "index": np.array([-1, 5])})
    done = run(tmp_path, str(data))
    assert done.returncode == 2
    assert "index out of range" in done.stderr and "got 5, bound 5" in done.stderr
    assert not list(data.glob("*.out.bin"))  # all or nothing
    for count in (14, 16):
        write(data, {"table": np.ones(count, np.float32), "index": np.array([-1, 4])})
        done = run(tmp_path, str(data))
        assert done.returncode == 1
        assert "table.bin" in done.stderr and "takes 60" in done.stderr
    write(data, {"table": np.ones((5, 3), np.float32)})
    done = run(tmp_path, str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "nowhere" in done.stderr


def test_several_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "ONE_UNIT", 20)
    monkeypatch.setattr(units, "UNIT_LINES", 100)
    step, values, _ = training_step(BEST)
    artifact = compile_program(step.report.program, resolve_target(BEST)).artifact
    assert len(artifact.units) > 2
    for name, text in export_files(artifact).items():
        (tmp_path / name).write_text(text)
        if name.endswith(".c"):
            assert text.count('#include "step.h"') == 1
            assert "typedef struct step_args" not in text
    make(tmp_path, "CFLAGS=-O2 -Werror")
    data = tmp_path / "data"
    write(data, values | held(step))
    results = step(**values)
    assert run(tmp_path, str(data)).returncode == 0
    assert_same_bits(data, step, results)


def test_threads_by_openmp(tmp_path: Path) -> None:
    command = compiler("gcc", "-fopenmp")
    x = ad.input("x", (500, 300))
    w = ad.variable(np.linspace(-1, 1, 300 * 200, dtype=np.float32).reshape(300, 200), name="w")
    y = ad.tanh(x @ w)
    step = ad.compile(x, y, updates={w: w - ad.grad(y.sum(), w)}, name="step", target=BEST)
    assert step.report.artifact.parallel
    step.export(tmp_path)
    make(tmp_path, f"CC={command}", "OPENMP=1", "CFLAGS=-O2 -Werror")
    values = {"x": np.random.default_rng(0).standard_normal((500, 300)).astype(np.float32)}
    data = tmp_path / "data"
    write(data, values | held(step))
    results = [step(**values)]
    for threads in ("1", "2", "5"):
        env = {"OMP_NUM_THREADS": threads}
        assert subprocess.run([tmp_path / "main", data], capture_output=True, env=env).returncode == 0
        assert_same_bits(data, step, results)


def test_every_dtype_and_a_user_text_that_would_break_out(tmp_path: Path) -> None:
    inputs = [
        ad.input(f'a"*/{d}\\', (3,), dtype=d) for d in ("float32", "float64", "int32", "int64", "uint8", "bool")
    ]
    same = ad.compile(inputs, [ad.where(x, x, x) if x.dtype == bool else x + x for x in inputs], name="same")
    same.export(tmp_path)
    make(tmp_path, "CFLAGS=-O2 -Werror")
    data = tmp_path / "data"
    arrays = [np.array([1, 0, 1]).astype(x.dtype) for x in inputs]
    write(data, {p.name: a for p, a in zip(params(same, "input"), arrays, strict=True)})
    done = run(tmp_path, str(data))
    assert done.returncode == 0, done.stderr
    for p, result in zip(params(same, "output"), same(*arrays), strict=True):
        assert (data / f"{p.name}.out.bin").read_bytes() == result.tobytes()
    assert len(done.stdout.splitlines()) == 6


def test_nothing_of_this_machine_is_in_an_export(tmp_path: Path) -> None:
    step, _, _ = training_step(None)
    for path in step.export(tmp_path):
        text = path.read_text()
        assert str(Path.cwd()) not in text
        assert "test_export" not in text
        assert "/home" not in text and "/root" not in text
        assert "native" not in text.replace("-march=native", "native")


def test_an_export_needs_no_compiler(tmp_path: Path) -> None:
    x = ad.input("x", (3,))
    f = ad.compile(x, x + 1, name="f", backend="numpy", target="generic")
    assert {p.name for p in f.export(tmp_path)} == {"f.c", "f.h", "main.c", "Makefile"}
    assert "-march" not in (tmp_path / "Makefile").read_text()
    f.export(tmp_path, target="x86-64-v3")
    assert "-march=x86-64-v3" in (tmp_path / "Makefile").read_text()


def test_names_that_c_reserves_are_refused() -> None:
    x = ad.input("x", (3,))
    for name in ("main", "int"):
        with pytest.raises(ad.GraphError, match=name):
            ad.compile(x, x + 1, name=name)


def test_extents_as_c() -> None:
    assert c_extent("batch") == "main_args.batch"
    assert c_extent("((a + b*2) // 3)") == (
        "main_floordiv((main_args.a + (main_args.b * INT64_C(2))), INT64_C(3))"
    )
    with pytest.raises(ValueError, match="not an extent"):
        c_extent("f(x)")
