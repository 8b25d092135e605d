"""Rewriting random programs: exact rules keep every bit, the others stay within rounding."""

from __future__ import annotations

import numpy as np
import pytest
from randgraph import random_case

from adjoint.graph.node import toposort
from adjoint.graph.program import Program
from adjoint.graph.verify import verify_program
from adjoint.rewrite.rules import rewrite


@pytest.mark.parametrize("seed", range(200))
def test_exact_rules_keep_every_bit(seed: int) -> None:
    case = random_case(seed, size=20)
    rewritten, _ = rewrite(case.program, classes=("exact",))
    verify_program(rewritten)
    for before, after in zip(case.run(), case.run(rewritten), strict=True):
        assert before.dtype == after.dtype and before.shape == after.shape
        if before.dtype.kind == "f" and _reduces(case.program):
            # NumPy sums in an order that depends on strides, which views change.
            np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-4)
        else:
            _same_bits(before, after)
    again, more = rewrite(rewritten, classes=("exact",))
    assert again is rewritten and not any(more.values())


@pytest.mark.parametrize("seed", range(100))
def test_all_rules_stay_within_rounding(seed: int) -> None:
    case = random_case(seed, size=20, dtypes_used=("float64",))
    rewritten, _ = rewrite(case.program)
    verify_program(rewritten)
    for before, after in zip(case.run(), case.run(rewritten), strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-6, atol=1e-6)


def _reduces(program: Program) -> bool:
    return any(n.op.kind in ("reduction", "contraction", "scatter") for n in toposort(program.roots))


def _same_bits(a: np.ndarray, b: np.ndarray) -> None:  # type: ignore[type-arg]
    np.testing.assert_array_equal(a, b)
    if a.dtype.kind == "f":
        numbers = ~np.isnan(a)
        np.testing.assert_array_equal(np.signbit(a)[numbers], np.signbit(b)[numbers])
