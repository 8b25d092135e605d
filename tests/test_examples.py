"""The examples on handwritten digits, in short."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples"))
    return importlib.import_module


def test_the_images_are_split_in_one_way(examples: Any) -> None:
    images, labels, test_images, test_labels = examples("digits_common").load()
    assert images.shape == (1438, 64) and test_images.shape == (359, 64)
    assert images.dtype == np.float32 and images.min() == 0 and images.max() == 1
    assert set(labels) == set(test_labels) == set(range(10))
    pairs = {x.tobytes() for x in images} & {x.tobytes() for x in test_images}
    assert not pairs, "no image is in both parts"


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
