"""Reads under a guard of values that the same kernel makes."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program


@pytest.mark.parametrize("shape", [(40, 48), (5, 1), (3, 4, 19)])
def test_guarded_reads_of_what_the_same_loops_compute(shape: tuple[int, ...]) -> None:
    """A value cut and padded back is read at its own place, under a guard, by kernels that have just computed it."""
    rng = np.random.default_rng(0)
    x, w = ad.input("x", shape), ad.input("w", (shape[-1], shape[-1]))
    square = x @ w
    outputs = []
    for y in (square, ad.exp(x), ad.tanh(x) * ad.sigmoid(x)):
        inside = y[..., : shape[-1] // 2, :1]
        back = ad.pad(inside, [(0, 0)] * (len(shape) - 2) + [(0, m - n) for m, n in zip(
            shape[-2:], inside.shape[-2:], strict=True)], constant_values=1)  # fmt: skip
        third = y.at[..., 1:2, :].max(0.5)
        outputs += [back, y, y + back, third, ad.grad((third * third).sum(), x)]
    values = {n.node: rng.normal(size=n.shape).astype("f") for n in (x, w)}
    for some in (outputs, *([y] for y in outputs)):
        oracle.check(Program("f", (x.node, w.node), tuple(y.node for y in some)), values)
