"""The examples, in short."""

from __future__ import annotations

import importlib
import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adjoint as ad

pytest.importorskip("matplotlib", reason="the examples draw with matplotlib, which is not installed")
needs_data = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="the data are scikit-learn's, which is not installed"
)


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples"))
    return importlib.import_module


@needs_data
def test_the_images_are_split_in_one_way(examples: Any) -> None:
    images, labels, test_images, test_labels = examples("digits_common").load()
    assert images.shape == (1438, 64) and test_images.shape == (359, 64)
    assert images.dtype == np.float32 and images.min() == 0 and images.max() == 1
    assert set(labels) == set(test_labels) == set(range(10))
    pairs = {x.tobytes() for x in images} & {x.tobytes() for x in test_images}
    assert not pairs, "no image is in both parts"


@needs_data
def test_warps(examples: Any) -> None:
    warped = examples("digits_conv").warped
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(50, 64)).astype("f")
    np.testing.assert_allclose(warped(rng, images, 0, 0, 0), images, atol=1e-6)
    dots = np.zeros((400, 8, 8), "f")
    dots[:, 3, 5] = 1
    moved = warped(rng, dots.reshape(-1, 64)).reshape(-1, 8, 8)
    assert moved.dtype == np.float32 and moved.min() >= 0 and moved.max() <= 1
    assert not moved[:, [0, 7]].any() and not moved[:, :, :3].any(), "a dot stays near where it was"
    weights = moved / moved.sum((1, 2), keepdims=True)
    rows, columns = (weights * np.arange(8)[:, None]).sum((1, 2)), (weights * np.arange(8)).sum((1, 2))
    assert 0.2 < rows.std() < 0.6 and 0.2 < columns.std() < 0.6


@needs_data
@pytest.mark.parametrize(
    ("name", "disturb", "epochs", "least"), [("digits", "noisy", 3, 0.9), ("digits_conv", "warped", 5, 0.93)]
)
def test_a_few_epochs(name: str, disturb: str, epochs: int, least: float, examples: Any, tmp_path: Path) -> None:
    common, example = examples("digits_common"), examples(name)
    images, labels, test_images, test_labels = common.load()
    step, classify = common.build(example.model(), 32, len(test_images), threads=1)
    losses, _ = common.train(step, images, labels, 32, epochs, 4e-3, getattr(example, disturb))
    probabilities = classify(test_images)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    assert (probabilities.argmax(1) == test_labels).mean() > least
    common.draw_losses(tmp_path / "loss.png", losses, len(images) // 32)
    common.draw_mistakes(tmp_path / "mistakes.png", test_images, test_labels, probabilities)
    assert all((tmp_path / f"{p}.png").stat().st_size > 5000 for p in ("loss", "mistakes"))


@needs_data
def test_conjugate_gradients(examples: Any) -> None:
    a, b = ad.input("a", (12, 12), dtype="float64"), ad.input("b", (12,), dtype="float64")
    solve = ad.compile([a, b], examples("logistic_regression").conjugate_gradients(a, b), name="solve")
    rng = np.random.default_rng(3)
    root = rng.standard_normal((12, 12))
    matrix, right = root @ root.T + np.eye(12), rng.standard_normal(12)
    x, steps = solve(matrix, right)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11)
    assert 12 <= steps <= 30
    x, steps = solve(3 * np.eye(12), right)
    np.testing.assert_allclose(x, right / 3, rtol=1e-15)
    assert steps == 1, "one direction is enough where all eigenvalues are equal"
    x, steps = solve(matrix, np.zeros(12))
    assert not x.any() and steps == 0


@needs_data
@pytest.mark.parametrize("c", [0.05, 1.0])
def test_logistic_regression_agrees_with_scikit_learn(c: float, examples: Any) -> None:
    from sklearn.linear_model import LogisticRegression

    example = examples("logistic_regression")
    rows, labels, test_rows, test_labels = example.load()
    assert rows.shape == (427, 30) and test_rows.shape == (142, 30)
    np.testing.assert_allclose([rows.mean(0), rows.var(0)], [np.zeros(30), np.ones(30)], atol=1e-12)
    newton, probabilities, w = example.build(30, c)
    history = example.fit(newton, rows, labels)
    values, norms, _ = zip(*history, strict=True)
    assert values[0] == pytest.approx(c * len(labels) * math.log(2))
    assert list(values) == sorted(values, reverse=True) and norms[-1] < 1e-8
    assert norms[-1] < norms[-2] < norms[-3] ** 1.5, "steps of Newton's method converge faster than linearly"
    theirs = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10).fit(rows, labels)
    np.testing.assert_allclose(w.value, np.append(theirs.coef_, theirs.intercept_), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(probabilities(test_rows), theirs.predict_proba(test_rows)[:, 1], atol=1e-9)
    assert ((probabilities(test_rows) > 0.5) == test_labels).mean() > 0.95


@needs_data
def test_logistic_regression_as_a_script(
    examples: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["logistic_regression.py", "--backend", "numpy"])
    examples("logistic_regression").main()
    printed = capsys.readouterr().out
    assert "100.00% of 142 held-out tumours" in printed and "worst radius" in printed


SIZES = {"context": 16, "batch": 8, "steps": 80}


def test_the_text_of_the_library(examples: Any) -> None:
    gpt = examples("gpt")
    text, held = gpt.read_library()
    assert (text, held) == gpt.read_library()
    assert len(text) > 1_000_000 and 0.03 < len(held) / len(text) < 0.3
    assert held[:500] not in text, "no file is in both parts"
    vocabulary = gpt.Vocabulary(text)
    assert 90 < len(vocabulary) < 128
    line = "def f(x): return x['a'] + 1\n"
    assert vocabulary.decode(vocabulary.encode(line)) == line
    assert vocabulary.decode(vocabulary.encode("a\N{SNOWMAN}b")) == "a\N{REPLACEMENT CHARACTER}b"
    # The last window ends with the text.
    found = gpt.windows(np.arange(100), np.array([0, 96]), 3)
    np.testing.assert_array_equal(found, [[0, 1, 2, 3], [96, 97, 98, 99]])


def test_a_small_gpt(examples: Any, tmp_path: Path) -> None:
    gpt = examples("gpt")
    text, held = (part[:200_000] for part in gpt.read_library())
    vocabulary = gpt.Vocabulary(text)
    numbers, others = vocabulary.encode(text), vocabulary.encode(held)
    model = gpt.GPT(len(vocabulary), SIZES["context"], layers=1, width=32)
    step, evaluate, write = gpt.build(model, **SIZES, threads=1)

    def check() -> Any:
        return gpt.held_out_loss(evaluate, others, SIZES["context"], SIZES["batch"])

    before = model.characters.weight.value.copy()
    assert check() == pytest.approx(math.log(len(vocabulary)), abs=0.1), "at first nothing is known"
    assert (model.characters.weight.value == before).all(), "evaluation changes nothing"
    losses, _, checks = gpt.train(step, check, numbers, **SIZES, every=40)
    assert len(losses) == 80 and [done for done, _ in checks] == [0, 40, 80]
    assert checks[2][1] < checks[1][1] < checks[0][1] and checks[2][1] < 3.4
    gpt.draw_losses(tmp_path / "loss.png", losses, 10, "step", checks)
    assert (tmp_path / "loss.png").stat().st_size > 5000

    # The loss of a window is what each of its characters says about the next, given those before alone.
    some = gpt.windows(others, np.arange(8) * 1000, SIZES["context"])
    surprises = [-math.log(write(row[None, :k], 1.0)[row[k]]) for row in some for k in range(1, SIZES["context"] + 1)]
    assert evaluate(some) == pytest.approx(np.mean(surprises), rel=1e-4)

    written = gpt.sample(write, vocabulary, SIZES["context"], "import ", 40, 0.8)
    assert written == gpt.sample(write, vocabulary, SIZES["context"], "import ", 40, 0.8)
    assert written.startswith("import ") and len(written) == 47
    odds = write(some[:1, :5], 1e-3)
    assert odds.max() == pytest.approx(1) and odds.argmax() == write(some[:1, :5], 1.0).argmax(), "cold: the likeliest"


def test_gpt_as_a_script(
    examples: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sizes = [f"--{name}={n}" for name, n in SIZES.items()]
    monkeypatch.setattr(
        "sys.argv", ["gpt.py", *sizes, "--layers=1", "--width=32", "--length=50", "--threads=1", f"--out={tmp_path}"]
    )
    examples("gpt").main()
    printed = capsys.readouterr().out
    assert "held-out loss" in printed and "\ndef " in printed
    assert (tmp_path / "loss.png").stat().st_size > 5000
