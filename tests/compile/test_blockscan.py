"""Scans of elementwise bodies, which go through all iterations block by block: carries, stacks, sums and totals."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program
from adjoint.graph.sizes import Dim
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def program_of(inputs: list[Any], outputs: list[Any]) -> Program:
    return Program("blocks", tuple(x.node for x in inputs), tuple(y.node for y in outputs), ())


def values_of(program: Program, names: dict[str, int]) -> dict[Any, Any]:
    rng = np.random.default_rng(7)
    shapes = {x: [n if isinstance(n, int) else names[str(n)] for n in x.shape] for x in program.inputs}
    return {x: (rng.normal(size=s) / 2).astype(x.dtype) for x, s in shapes.items()}


def loops_of(program: Program) -> int:
    """How many loops of the graph are still loops around kernels."""
    steps = compile_program(program, resolve_target("native")).module.steps
    return sum(type(step).__name__ == "ScanLoop" for step in steps)


def polynomial(n: Any, m: Any, dtype: str, reverse: bool) -> Program:
    """Coefficients get sums of iterations, `scale` one of the whole loop, `t` and the start carries of their own."""
    c, t, scale = ad.input("c", (m,), dtype), ad.input("t", (n,), dtype), ad.input("scale", (), dtype)
    value, states = ad.scan(lambda v, k: ((v * t + k) * scale, v), t * 2, c, reverse=reverse)
    loss = (value * value).sum() + (states * states).sum()
    return program_of([c, t, scale], [value, loss, *ad.grad(loss, [c, t, scale])])


@pytest.mark.parametrize(
    ("n", "m", "dtype", "reverse"),
    [(1, 9, "float32", False), (5, 3, "float64", True), (515, 8, "float32", True), (1300, 21, "float64", False),
     (40000, 9, "float32", False)],
)  # fmt: skip
def test_polynomials(n: int, m: int, dtype: str, reverse: bool) -> None:
    program = polynomial(n, m, dtype, reverse)
    assert n == 1 or loops_of(program) == 0
    values = values_of(program, {})
    oracle.check(program, values)
    if n > 1000:
        one, two = (oracle.run(program, values, threads=threads) for threads in (1, 2))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


def test_extents_of_run_time() -> None:
    n, m = Dim("n", min=0), Dim("m", min=0)
    program = polynomial(n, m, "float32", True)
    for elements, length in ((0, 3), (1, 1), (7, 0), (600, 5), (1100, 12)):
        dims = {"n": elements, "m": length}
        oracle.check(program, values_of(program, dims), {n: elements, m: length})


@pytest.mark.parametrize("length", [2, 9])
def test_carries_that_read_each_other(length: int) -> None:
    """An oscillator and its energy, with arrays of several axes, a count and rows of sequences."""
    x, v = ad.input("x", (3, 7, 40), "float64"), ad.input("v", (3, 7, 40), "float64")
    push, strength = ad.input("push", (length, 3, 7, 40), "float64"), ad.input("strength", (), "float64")

    def step(carry: Any, given: Any) -> Any:
        x, v, energy, steps = carry
        pulled = v - 0.1 * ad.sin(x) * strength + given
        return (x + 0.1 * v, pulled, energy + (v * v).sum(), steps + 1), (x, (x * v).sum())

    start = (x, v, ad.constant(0.5, "float64"), ad.zeros((3, 7, 40), "int64"))
    (last, speed, energy, steps), (path, work) = ad.scan(step, start, push)
    loss = (path * path).sum() + (last * speed * steps).sum() + energy + (work * work).sum()
    inputs = [x, v, push, strength]
    program = program_of(inputs, [loss, last, energy, steps, path, work, *ad.grad(loss, inputs)])
    assert loops_of(program) == 0
    oracle.check(program, values_of(program, {}))


def test_loops_in_loops_and_shared_rows() -> None:
    """The inner loop starts from a record of the outer one, whose elements depend on one another."""
    x, w = ad.input("x", (4, 30)), ad.input("w", (5, 30))

    def outer(s: Any, row: Any) -> Any:
        inner, all_of_it = ad.scan(lambda h, k: (ad.tanh(h * k + s), h), row, w)
        return ad.cumulative_sum(inner) * 0.1 + s, (inner, all_of_it[2])

    s, (inner, third) = ad.scan(outer, x[0], x)
    loss = (s * s).sum() + (inner * third).sum()
    program = program_of([x, w], [loss, *ad.grad(loss, [x, w])])
    oracle.check(program, values_of(program, {}))
