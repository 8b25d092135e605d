"""Loops and sums over arrays that outgrow the second cache: sums in parts, and records that are announced."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph import interp
from adjoint.graph.node import toposort
from adjoint.graph.program import Program
from adjoint.lower.ir import Prefetch, walk
from adjoint.lower.tall import split_sums
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def program_of(inputs: list[Any], outputs: list[Any]) -> Program:
    return Program("outgrowing", tuple(x.node for x in inputs), tuple(y.node for y in outputs))


def values_of(program: Program) -> dict[Any, Any]:
    rng = np.random.default_rng(5)
    return {n: (rng.normal(size=n.shape) / 8).astype(n.dtype) for n in program.inputs}


def summed_in_parts(program: Program) -> list[int]:
    """How many parts every such sum has."""
    found = split_sums(program, resolve_target("x86-64-v3"))
    return [n.shape[0] for n in toposort(found.roots) if n.op.name == "contract" and len(n.shape) == 3]


@pytest.mark.parametrize(("rows", "dtype", "parts"), [
    (60_000, "float32", 32), (30_030, "float64", 30), (50_021, "float32", 0),
])  # fmt: skip
def test_sums_in_parts(rows: int, dtype: str, parts: int) -> None:
    """A prime number of rows stays whole."""
    x, y = ad.input("x", (rows, 9), dtype), ad.input("y", (rows, 11), dtype)
    program = program_of([x, y], [x.T @ y * 2])
    assert summed_in_parts(program) == ([parts] if parts else [])
    values = values_of(program)
    (one,), (two,) = (oracle.run(program, values, threads=n) for n in (1, 2))
    assert one.tobytes() == two.tobytes()
    a, b = (v.astype("float64") for v in values.values())
    terms = np.abs(a).T @ np.abs(b) * 2
    np.testing.assert_array_less(np.abs(one - a.T @ b * 2), terms * np.finfo(dtype).eps * 50)


def test_little_in_comparison_stays_whole() -> None:
    """Rows that all cores read anyway, and a sum that is hardly longer than its result, are not shared out."""
    x, y = ad.input("x", (400, 300)), ad.input("y", (400, 300))
    assert not summed_in_parts(program_of([x, y], [x.T @ y, ad.sum(x * y, 0)]))
    x, y = ad.input("x", (4096, 300)), ad.input("y", (4096, 300))
    assert summed_in_parts(program_of([x, y], [x.T @ y])) == [8]


@pytest.mark.parametrize("reverse", [False, True])
def test_gradient_of_a_long_loop(reverse: bool) -> None:
    x, w, u = ad.input("x", (120, 64, 64)), ad.input("w", (64, 64)), ad.input("u", (64, 64))
    h, _ = ad.scan(lambda h, v: (ad.tanh(v @ w + h @ u), None), ad.zeros((64, 64)), x, reverse=reverse)
    loss = (h * h).sum()
    program = program_of([x, w, u], [loss, *ad.grad(loss, [w, u])])
    assert len(summed_in_parts(program)) == 2
    kernels = compile_program(program, resolve_target("x86-64-v3")).module.kernels
    assert any(isinstance(s, Prefetch) for k in kernels for s in walk(k.body))
    values = values_of(program)
    for got, want in zip(oracle.run(program, values), interp.evaluate(program.roots, values), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
