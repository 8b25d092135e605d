"""Compiled products of every form against the interpreter, gradients included."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from einsums import random_einsum

import adjoint as ad
from adjoint.graph import interp
from adjoint.graph.program import Program

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def check(name: str, outputs: list[Any], values: dict[Any, Any], dims: Any = None) -> None:
    program = Program(name, tuple(x.node for x in values), tuple(y.node for y in outputs))
    oracle.check(program, {x.node: a for x, a in values.items()}, dims)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", range(4))
def test_random_expressions_with_gradients(group: int, dtype: str) -> None:
    outputs, values = [], {}
    for seed in range(20 * group, 20 * group + 20):
        text, arrays = random_einsum(seed)
        xs = [ad.input(f"x{seed}_{k}", a.shape, dtype) for k, a in enumerate(arrays)]
        values.update(zip(xs, (a.astype(dtype) for a in arrays), strict=True))
        y = ad.einsum(text, *xs)
        outputs += [y, *ad.grad(ad.sum(y * y), xs)]
    check("einsums", outputs, values)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_expressions_of_integers(dtype: str) -> None:
    x, y = ad.input("x", (5, 5), dtype), ad.input("y", (5, 7), dtype)
    texts = ["ij,jk->ik", "ii,ij->j", "ij,jk->", "ij,ik->ijk"]
    outputs = [ad.einsum(t, x, y) for t in texts]
    outputs += [x @ y, ad.trace(x, 1), ad.diagonal(x, -1), ad.vecdot(x, y[:, :1], 0)]
    info = (-2**31, 2**31) if dtype.startswith("int") else (0, 2 if dtype == "bool" else 256)
    check("whole", outputs, {a: RNG.integers(*info, a.shape).astype(dtype) for a in (x, y)})


def test_diagonals_within_products() -> None:
    """Diagonals become part of the index map; the large ones run in tiles."""
    n = ad.Dim("n")
    x, w, v = ad.input("x", (40, 33, 33)), ad.input("w", (33, 50)), ad.input("v", (n, n))
    outputs = [ad.einsum(t, x, w) for t in ("bii,ij->bj", "bii,ij->ij", "bij,jk->bik")]
    outputs += [ad.einsum("nn,nm->m", v, v), ad.trace(v @ v), ad.einsum("nn->n", ad.exp(v))]
    outputs += ad.grad(sum(ad.sum(ad.tanh(o)) for o in outputs), [x, w, v])
    program = Program("diagonals", (x.node, w.node, v.node), tuple(o.node for o in outputs))
    function = oracle.build(program)
    for size in (1, 6, 37):
        shapes = [x.shape, w.shape, (size, size)]
        arrays = [(0.3 * RNG.standard_normal(s)).astype("f") for s in shapes]
        values = dict(zip(program.inputs, arrays, strict=True))
        expected = interp.evaluate(program.roots, values, {n: size})
        results = [np.asarray(r) for r in function(*arrays)]
        oracle.compare(program, values, {n: size}, expected, results)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0, 3), (3, 2)),
        ((3, 0), (0, 2)),
        ((0,), (0,)),
        ((2, 0, 3), (3, 2)),
        ((4,), (2, 1, 4, 3)),
        ((2, 1, 5, 4), (3, 4, 6)),
    ],
)
def test_matmul_of_awkward_ranks(a: Any, b: Any) -> None:
    x, y = ad.input("x", a), ad.input("y", b)
    z = x @ y
    outputs = [z, *ad.grad(ad.sum(z * z), [x, y])]
    check("product", outputs, {v: RNG.standard_normal(v.shape).astype("f") for v in (x, y)})
