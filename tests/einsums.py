"""Random einsum expressions with arrays that fit them: the same seed gives the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np

_LETTERS = "abcdeZ"


def random_einsum(seed: int) -> tuple[str, list[np.ndarray[Any, Any]]]:
    """Subscripts and float64 operands: labels repeated, summed, shared and stretched, ellipses, empty axes."""
    rng = np.random.default_rng(seed)
    extent = dict(zip(_LETTERS, rng.choice([1, 2, 3, 4], len(_LETTERS)), strict=True))
    if rng.random() < 0.05:
        extent["b"] = 0
    hidden = rng.integers(1, 4, rng.integers(0, 3))
    terms, operands = [], []
    for _ in range(rng.integers(1, 5)):
        labels = [str(c) for c in rng.choice(list(_LETTERS), rng.integers(0, 4))]
        shape = {c: 1 if rng.random() < 0.12 else extent[c] for c in labels}
        extents = [shape[c] for c in labels]
        if rng.random() < 0.35:
            at = rng.integers(0, len(labels) + 1)
            own = [int(n) if rng.random() < 0.8 else 1 for n in hidden[rng.integers(0, len(hidden) + 1) :]]
            labels.insert(at, "...")
            extents[at:at] = own
        terms.append("".join(labels))
        operands.append(rng.standard_normal(extents))
    text = ",".join(terms)
    if rng.random() < 0.7:
        known = sorted(set(text) - set(".,"))
        chosen = [str(c) for c in rng.permutation(known)[: rng.integers(0, len(known) + 1)]] if known else []
        if "..." in text:
            chosen.insert(rng.integers(0, len(chosen) + 1), "...")
        text += "->" + "".join(chosen)
    return text, operands
