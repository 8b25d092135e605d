"""Functions that rearrange, repeat and fill, with their gradients: compiled against the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program

FUNCTIONS: list[Callable[[ad.Array], ad.Array]] = [
    lambda x: ad.diagonal(x, 0),
    lambda x: ad.diagonal(x @ x.T, 1),
    lambda x: ad.exp(ad.diagonal(x @ x.T, -1)),
    lambda x: ad.diag(x[:, 1], -2),
    lambda x: ad.diag(ad.sum(x, axis=1)),
    lambda x: ad.tril(x, 1) + ad.triu(x, 2),
    lambda x: ad.repeat(x, 3, 0),
    lambda x: ad.repeat(x, 2),
    lambda x: ad.tile(x, (2, 1, 3)),
    lambda x: ad.pad(x, ((2, 1), (1, 2)), "edge"),
    lambda x: ad.pad(x, ((1, 2), (2, 1)), "reflect"),
    lambda x: ad.pad(x, ((1, 2), (2, 1)), "symmetric"),
    lambda x: ad.pad(x, ((1, 2), (2, 1)), "wrap"),
    lambda x: ad.pad(x.T, 1, constant_values=0.5),
    lambda x: ad.roll(x, (2, -1), (0, 1)),
    lambda x: ad.flip(ad.swapaxes(x, 0, 1), 1),
    lambda x: ad.stack(ad.unstack(x, 1)[1:], 0),
    lambda x: ad.concat(ad.split(x, [1, 3], 1)[::-1], None),
    lambda x: ad.multiply(*ad.meshgrid(x[:, 0], ad.linspace(-1, x[0, 0], 9))),
    lambda x: x[::-1, None, ..., 3:0:-2],
    lambda x: ad.ravel(x)[1:] * ad.linspace(0, 1, 5)[2],
]


def check(x: ad.Array, values: Any, dims: Any = None) -> None:
    outputs = []
    for fn in FUNCTIONS:
        y = fn(x)
        outputs += [y, ad.grad((y * y * y).sum(), x)]
    program = Program("f", (x.node,), tuple(y.node for y in dict.fromkeys(outputs)))
    oracle.check(program, {x.node: values}, dims)


@pytest.mark.parametrize("shape", [(5, 4), (4, 19), (33, 36)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fixed_extents(shape: tuple[int, int], dtype: str) -> None:
    check(ad.input("x", shape, dtype), np.random.default_rng(0).normal(size=shape).astype(dtype))


@pytest.mark.parametrize("n", [4, 5, 40])
def test_run_time_extents(n: int) -> None:
    rows = ad.Dim("rows", min=4)
    check(ad.input("x", (rows, 4)), np.random.default_rng(n).normal(size=(n, 4)).astype("f"), {rows: n})


@pytest.mark.parametrize("n", [1, 3, 40])
def test_what_is_filled(n: int) -> None:
    """Nothing but extents goes in; runtime ones as those that are known."""
    m = ad.Dim("m")
    x = ad.input("x", (m,))
    outputs = [
        make(e)
        for e in (n, m)
        for make in (
            ad.arange, ad.zeros, ad.eye,
            lambda e: ad.eye(e, 7, -2, "int64"),
            lambda e: ad.eye(5, e, 1, "bool"),
            lambda e: ad.linspace(-1, 3, e),
            lambda e: ad.linspace(0.1, 1, e, endpoint=False, dtype="float64"),
            lambda e: ad.full((2, e), 3, "uint8"),
            lambda e: ad.arange(e, dtype="float32") * 2,
            lambda e: ad.tile(ad.arange(3), e),
            lambda e: ad.repeat(ad.arange(3), e),
        )
    ]  # fmt: skip
    outputs += [ad.arange(-3, 9, 4, "int32"), ad.arange(1, -1, -0.3), *ad.meshgrid(x, ad.arange(4))]
    program = Program("f", (x.node,), tuple(y.node for y in dict.fromkeys(outputs)))
    oracle.check(program, {x.node: np.arange(n, dtype="f")}, {m: n})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transpositions(dtype: str) -> None:
    """Whole squares and what is left of them, in chunks of which the last is shorter."""
    x, y, z = ad.input("x", (300, 40), dtype), ad.input("y", (2, 130, 3, 50), dtype), ad.input("z", ("n", 37), dtype)
    v = ad.variable(np.ones((20, 20), dtype), name="v")
    found = [x.T, ad.permute_dims(y, (3, 2, 0, 1)), ad.permute_dims(y, (2, 0, 3, 1)), z.T]
    updates = ((v.node, v.T.node),)
    program = Program("f", (x.node, y.node, z.node), tuple(a.node for a in found), updates)
    rng = np.random.default_rng(1)
    shapes = {x: (300, 40), y: (2, 130, 3, 50), z: (19, 37), v: (20, 20)}
    values = {a.node: rng.normal(size=s).astype(dtype) for a, s in shapes.items()}
    oracle.check(program, values, {n: 19 for n in z.shape if not isinstance(n, int)}, threads=2)
