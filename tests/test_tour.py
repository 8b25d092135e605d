"""The stops of `examples/autodiff_tour.py` have known answers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "autodiff_tour.py"


@pytest.fixture(name="tour", params=["c", "numpy"])
def _tour(request: pytest.FixtureRequest) -> ModuleType:
    spec = importlib.util.spec_from_file_location("autodiff_tour", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.OPTIONS["backend"] = request.param
    return module


ANSWERS: dict[str, Any] = {
    "inner_product": (28, [0, 4, 8, 12]),
    "sum_of_elements": [1, 1, 1, 1],
    "cotangents": [0, 2, 4, 6],
    "detached": ([0, 1, 4, 9], [0, 1, 4, 9]),
    "polynomials": [7, 16],
    "two_variables": [[4, 1], [6, 6]],
    "second_derivative": [32, 48],
    "one_neuron": [[0, 0], [8, 4]],
    "elementwise": [7, 9],
}


@pytest.mark.parametrize("stop", ANSWERS)
def test_answers(stop: str, tour: ModuleType) -> None:
    got, want = getattr(tour, stop)(), ANSWERS[stop]
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    else:
        np.testing.assert_array_equal(np.array(got), want)


def test_matrices(tour: ModuleType) -> None:
    for got, want in tour.matrices():
        assert got.any()
        np.testing.assert_array_equal(got, want)


def test_linear_regression_finds_the_line(tour: ModuleType) -> None:
    w, b, points, values = tour.linear_regression()
    assert abs(w - 3) < 0.05 and abs(b - 2) < 0.05
    np.testing.assert_allclose([w, b], np.polyfit(points.astype("d"), values.astype("d"), 1), rtol=1e-4)


def test_the_network_learns_with_clipped_gradients(tour: ModuleType) -> None:
    model, inputs, targets, history = tour.network(steps=2)
    # The parameters before the second step follow from those before the first, in NumPy.
    start = tour.network(steps=0)[0]
    p = {name: v.value.astype("d") for name, v in start.named_parameters().items()}
    for chosen, results in history:
        x, t = inputs[chosen].astype("d"), targets[chosen].astype("d")
        a1 = x @ p["0.weight"].T + p["0.bias"]
        h1 = np.maximum(a1, 0)
        a2 = h1 @ p["2.weight"].T + p["2.bias"]
        h2 = np.maximum(a2, 0)
        y = h2 @ p["4.weight"].T + p["4.bias"]
        np.testing.assert_allclose(results["loss"], ((y - t) ** 2).mean(), rtol=1e-4)
        d3 = 2 * (y - t) / y.size
        d2 = d3 @ p["4.weight"] * (a2 > 0)
        d1 = d2 @ p["2.weight"] * (a1 > 0)
        g = {
            "0.weight": d1.T @ x, "0.bias": d1.sum(0), "2.weight": d2.T @ h1, "2.bias": d2.sum(0),
            "4.weight": d3.T @ h2, "4.bias": d3.sum(0),
        }  # fmt: skip
        for name, norm in results["norms"].items():
            np.testing.assert_allclose(norm, np.linalg.norm(g[name]), rtol=1e-4)
        total = np.sqrt(sum((a**2).sum() for a in g.values()))
        np.testing.assert_allclose(results["total"], total, rtol=1e-4)
        assert total > 1
        p = {name: a - 0.1 * g[name] / total for name, a in p.items()}
    for name, v in model.named_parameters().items():
        np.testing.assert_allclose(v.value, p[name], rtol=1e-3, atol=1e-5)


def test_the_network_fits(tour: ModuleType) -> None:
    losses = [float(results["loss"]) for _, results in tour.network()[3]]
    assert np.mean(losses[-20:]) < 0.15 * losses[0]


def test_it_can_be_read_along() -> None:
    command = [sys.executable, str(EXAMPLE), "--backend", "numpy"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in (
        "12. Network", "dy/dx = [ 0.  4.  8. 12.]", "at 3 = 16.", "first 32., second 48.", "at (1, 2) = (6., 6.)",
        "t = 5: d/dW = 8., d/db = 4.", "|d 0.weight|",
    ):  # fmt: skip
        assert line in printed
