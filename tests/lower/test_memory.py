"""The memory plan: lifetimes never overlap in one place, and places are shared, run-time sizes included."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph import sizes
from adjoint.graph.program import Program
from adjoint.lower.lowering import Module, lower
from adjoint.lower.memory import aligned, nbytes
from adjoint.lower.options import Options
from adjoint.rewrite.rules import rewrite
from adjoint.runtime.target import resolve_target


def chain(n: int | str) -> Module:
    """Products with a common matrix: each is read by the next alone."""
    x = ad.input("x", (n, 48))
    w = ad.constant(np.eye(48, dtype=np.float32))
    y = x
    for _ in range(6):
        y = ad.exp(y @ w)
    program, _ = rewrite(Program("chain", (x.node,), (y.node,)))
    return lower(program, resolve_target("x86-64-v3"), Options())


@pytest.mark.parametrize("n", [40, "n"])
def test_places_are_shared_once_values_are_dead(n: int | str) -> None:
    layout = chain(n).layout
    assert len(layout.offsets) >= 5
    dims = dict.fromkeys(sizes.dims_of(layout.arena), 40)
    assert sizes.evaluate(layout.arena, dims) <= sizes.evaluate(layout.unshared, dims) // 2
    for one, other in combinations(layout.offsets, 2):
        (a, b), (c, d) = layout.lifetimes[one], layout.lifetimes[other]
        if a <= d and c <= b:
            start, after = (sizes.evaluate(layout.offsets[x], dims) for x in (one, other))
            end, beyond = (sizes.evaluate(sizes.add(layout.offsets[x], aligned(nbytes(x))), dims) for x in (one, other))
            assert end <= after or beyond <= start
