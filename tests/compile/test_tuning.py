"""Choices about schedules: none changes a bit, and the one that was timed is found again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint import tuning
from adjoint.artifact import Target
from adjoint.errors import AdjointError
from adjoint.lower.options import Choice, Options
from adjoint.runtime.target import native_target, resolve_target


def _step(dtype: str, **named: Any) -> tuple[Any, list[np.ndarray], Any]:
    """Dense, convolved and batched products of odd sizes, forward and backward, and the variable that they update."""
    rng = np.random.default_rng(3)
    x, y = ad.input("x", ("n", 3, 9, 11), dtype), ad.input("y", ("n", 37), dtype)
    kernel = ad.variable(rng.standard_normal((5, 3, 3, 3)).astype(dtype), name="kernel")
    w = ad.variable((rng.standard_normal((495, 37)) / 20).astype(dtype), name="w")
    h = ad.tanh(ad.reshape(ad.nn.conv2d(x, kernel, padding=1), (x.shape[0], 495)) @ w)
    loss = ((h - y) ** 2).sum() + (ad.matrix_transpose(h) @ h).sum()
    updates = {v: v - 1e-3 * g for v, g in zip((w, kernel), ad.grad(loss, [w, kernel]), strict=True)}
    data = [rng.standard_normal(s).astype(dtype) for s in ((21, 3, 9, 11), (21, 37))]
    return ad.compile([x, y], loss, updates=updates, name="tuned", **named), data, w


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_candidate_changes_a_bit(dtype: str) -> None:
    texts, results = set(), []
    for choice in (*tuning.candidates(native_target()), Choice(1, 1, 4096)):
        step, data, w = _step(dtype, options=Options(choice=choice))
        results.append((step(*data).tobytes(), w.value.tobytes()))
        texts.add(step.dump("c"))
    assert len(texts) > 4  # there is something to choose
    assert set(results) == {results[0]}


@pytest.mark.parametrize("name", ["generic", "x86-64", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_candidates_fit_into_registers(name: str) -> None:
    target: Target = resolve_target(name)
    found = tuning.candidates(target)
    assert found[0] == Choice() and len(set(found)) == len(found) <= 8
    assert all(c.rows * c.vectors + c.vectors < target.registers for c in found)


SECOND = """
import sys
sys.path.insert(0, {folder!r})
import test_tuning
from adjoint import tuning
def fastest(steps):
    raise AssertionError("timed again")
tuning.fastest = fastest
step, data, w = test_tuning._step("float32", tune=True)
print(step.report.options.choice, "cc" in step.report.seconds)
"""


def test_the_choice_is_found_by_a_second_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tuning, "candidates", lambda target: (Choice(), Choice(4, 1)))
    timed = []
    monkeypatch.setattr(tuning, "fastest", lambda steps: timed.append([s() for s in steps.values()]) or [*steps][1])
    step, data, w = _step("float32", tune=True)
    plain, _, v = _step("float32")
    assert len(timed) == 1 and len(timed[0]) == 2
    assert w.value.tobytes() == v.value.tobytes()  # what was timed ran on copies
    assert step.report.options.choice == Choice(4, 1) and plain.report.options is None
    assert step.dump("c") != plain.dump("c")
    assert step(*data).tobytes() == plain(*data).tobytes()
    script = SECOND.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == f"{Choice(4, 1)} False", done.stderr


def test_the_first_candidate_stays_unless_another_is_faster() -> None:
    calls = []
    steps = {c: (lambda c=c: calls.append(c)) for c in (Choice(), Choice(4, 1))}
    assert tuning.fastest(steps) in steps  # type: ignore[arg-type]
    assert set(calls) == set(steps)


def test_examples_and_what_is_refused() -> None:
    x = ad.input("x", (8, 8))
    root = ad.while_loop(lambda s: (s * s).sum() > 1e-3, lambda s: (s @ x) / 20, x)
    with pytest.raises(AdjointError, match=r"tune: how long a while_loop runs.*example arguments"):
        ad.compile(x, root, tune=True)
    f = ad.compile(x, root, tune=(np.eye(8, dtype=np.float32),))
    assert np.isfinite(f(np.eye(8, dtype=np.float32))).all()
    product = x @ x
    for wrong, message in (
        ("yes", "tune is True, False or a tuple"), (1, "tune is True, False or a tuple"), ((), "0 example arguments"),
        ((np.zeros((3, 3), np.float32),), "x"),
    ):  # fmt: skip
        with pytest.raises(AdjointError, match=message):
            ad.compile(x, product, name="refused", tune=wrong)
    with pytest.raises(AdjointError, match="interpreter has no schedules"):
        ad.compile(x, product, backend="numpy", tune=True)
    for choice in ({"rows": 99}, {"vectors": -1}, {"panel_bytes": 1.5}, {"rows": True}):
        with pytest.raises(AdjointError, match="Choice: "):
            Choice(**choice)
