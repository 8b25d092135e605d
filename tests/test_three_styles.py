"""The example in three styles, and the snippets of docs/differentiation.md."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np

import adjoint as ad

ROOT = Path(__file__).parent.parent


def test_all_styles_agree():
    spec = importlib.util.spec_from_file_location("three_styles", ROOT / "examples" / "three_styles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [style(200) for style in (module.functional, module.on_the_graph, module.imperative)]
    for weights, loss in found:
        np.testing.assert_allclose(weights, found[0][0], rtol=1e-4)
        np.testing.assert_allclose(weights, [1, -2, 3], atol=0.01)
        np.testing.assert_allclose(loss, found[0][1], rtol=1e-2)


def test_snippets_of_the_page():
    text = (ROOT / "docs" / "differentiation.md").read_text(encoding="utf-8")
    rng = np.random.default_rng(0)
    x, y, w = ad.input("x", (4, 3)), ad.input("y", (4,)), ad.variable(np.zeros(3, np.float32), name="w")
    batches = [(rng.standard_normal((4, 3)).astype("f"), np.ones(4, np.float32)) for _ in range(2)]
    names = {
        "ad": ad, "x": x, "y": y, "w": w, "batches": batches, "loss": ((x @ w - y) ** 2).sum(),
        "q": rng.standard_normal((3, 3)).astype("f"),
    }  # fmt: skip
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(snippet, names)
    want = sum(2 * a.T @ -b for a, b in batches)
    np.testing.assert_allclose(w.grad.value, want, rtol=1e-5)
    np.testing.assert_allclose(w.value, -0.1 * want, rtol=1e-5)
    for f in (names["logistic"], names["rotate"], names["exponential"]):
        assert ad.gradcheck(f(x), x, batches[0][0], order=2)
