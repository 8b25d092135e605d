"""`adjoint bench`, `adjoint report`, and what doctor measures."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint import cli
from adjoint.runtime import peak

ROOT = Path(__file__).parent.parent


def _load(name: str) -> object:
    """A script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bench(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adjoint.cli", "bench", "--quick", "linreg", "-o", str(tmp_path)]
    options = ["--tables", "steps,compile,memory,roofline", "--tools", "adjoint,pytensor"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "bench.json").read_text())
    assert record["failures"] == [] and record["machine"]["cpus"] >= 1
    row = record["tables"]["steps"]["workloads"]["linreg"]
    assert row["seconds"]["adjoint bound"] > 0 and row["wrong"] == {}
    if importlib.util.find_spec("pytensor") is None:
        assert "pytensor is absent: not installed" in done.stdout
        assert row["judge"] == "interpreter" and row["ratios"]["adjoint bound"] is None
    else:
        assert row["ratios"]["adjoint bound"] > 0
    memory = record["tables"]["memory"]["workloads"]["linreg"]
    assert memory["state"] == 8 and memory["adjoint"] == memory["workspace"] + 8 + memory["outputs"]
    phases = record["tables"]["compile"]["workloads"]["linreg"]["cold"]["phases"]
    assert {"rewrite", "lower", "emit", "cc", "load"} <= set(phases)
    assert (tmp_path / "steps.png").stat().st_size > 1000


def test_bench_is_refused_outside_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "adjoint" / "cli.py"))
    assert cli.main(["bench", "--quick"]) == 2
    assert "not part of an installed package" in capsys.readouterr().err


def test_what_is_wrong_counts_as_nothing() -> None:
    goals = _load("goals")
    assert goals.ratio({"adjoint bound": 2.0, "jax": 6.0, "torch": 5.0, "target": 1.0}, "adjoint bound") == 2.5
    assert goals.ratio({"jax": 6.0}, "adjoint bound") == 0.0
    assert goals.ratio({"adjoint bound": 2.0, "target": 1.0}, "adjoint bound") is None
    assert goals.geometric_mean([4.0, 1.0]) == 2.0
    assert goals.geometric_mean([4.0, 0.0]) == 0.0 and math.isnan(goals.geometric_mean([]))


def test_operations_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    roofline = _load("roofline")
    x, w = ad.input("x", (5, 7)), ad.input("w", (7, 7))
    product = ad.compile([x, w], x @ w + 1).report.compilation.optimized
    assert roofline.operations(product.roots) == 2 * 5 * 7 * 7 + 5 * 7
    assert roofline.traffic(product) == 4 * (35 + 49 + 35)
    loop = ad.compile([x, w], ad.fori_loop(3, lambda k, h: h @ w, x)).report.compilation.optimized
    assert roofline.operations(loop.roots) >= 3 * 2 * 5 * 7 * 7


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path))
    x = ad.input("x", (6, 5))
    make = lambda: ad.compile(x, [ad.exp(x).sum(axis=1), x @ x.T], name="told")  # noqa: E731
    cold, warm = make().report, make().report
    phases = ["graph", "cache", "import", "verify", "rewrite", "lower", "emit", "cc", "load"]
    assert list(cold.seconds) == phases
    assert list(warm.seconds) == ["graph", "cache", "load"]
    assert all(s >= 0 for s in cold.seconds.values()) and cold.seconds["cc"] > 0
    assert cold.counts == warm.counts
    assert cold.counts["kernels"] >= 2 and cold.counts["units"] == 1 and cold.counts["lines"] > 50
    assert cold.counts["functions"] >= cold.counts["kernels"]  # the tile is one too
    assert "compiled   yes" in str(cold) and "taken from the cache" in str(warm)
    assert "nothing was compiled" in str(ad.compile(x, x, backend="numpy").report)
    model = tmp_path / "model.py"
    model.write_text("import adjoint as ad\nx = ad.input('x', (3,))\nf = ad.compile(x, x + 1, name='f')\n")
    assert cli.main(["report", f"{model}:f"]) == 0
    assert capsys.readouterr().out.startswith("f for ")


def test_profile_counts_work_of_every_kernel() -> None:
    x = ad.input("x", (64, 32))
    f = ad.compile(x, ad.cumulative_sum(ad.softmax(x @ x.T, axis=1), axis=0), name="counted")
    f(np.ones((64, 32), np.float32))
    kernels = f.executor.artifact.kernels
    assert len(kernels) > 1
    assert all(k.flops > 0 and k.bytes > 0 for k in kernels)


def test_the_machine_is_measured() -> None:
    one = peak.peak_flops("float32")
    assert one > 1e9
    assert peak.peak_flops("float32") == one  # once a process
    assert peak.bandwidth("read", "L2") > 1e8
    assert peak.working_set("L2") % 4096 == 0
    with pytest.raises(ValueError, match="dtype must be"):
        peak.peak_flops("int32")
    with pytest.raises(ValueError, match="the levels L2"):
        peak.bandwidth("read", "L9")
