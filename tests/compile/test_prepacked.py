"""Matrices that a loop leaves alone are packed before it, whatever loops and branches lie around the product."""

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
    return Program("prepacked", tuple(x.node for x in inputs), tuple(y.node for y in outputs))


def checked(program: Program, dims: dict[Any, int] | None = None) -> None:
    rng = np.random.default_rng(5)
    names = {d.name: n for d, n in (dims or {}).items()}
    values = {}
    for node in program.inputs:
        shape = [n if isinstance(n, int) else names[str(n)] for n in node.shape]
        values[node] = (rng.normal(size=shape) / 8).astype(node.dtype)
    one, two = (oracle.check(program, values, dims, threads=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()


def packs(program: Program) -> int:
    module = compile_program(program, resolve_target("native")).module
    return sum("pack" in k.name for k in module.kernels)


def network(batch: Any, width: int, dtype: str = "float32") -> Program:
    x, w = ad.input("x", (3, batch, width), dtype), ad.input("w", (width, width), dtype)
    h, _ = ad.scan(lambda h, z: (ad.tanh(h @ w + z), None), ad.zeros((batch, width), dtype=dtype), x)
    loss = (h * h).sum()
    return program_of([x, w], [loss, *ad.grad(loss, [x, w])])


@pytest.mark.parametrize(("batch", "width", "dtype"), [
    (32, 128, "float32"), (21, 96, "float32"), (40, 160, "float64"), (9, 100, "float32"), (64, 576, "float32"),
])  # fmt: skip
def test_recurrent(batch: int, width: int, dtype: str) -> None:
    program = network(batch, width, dtype)
    checked(program)
    assert packs(program) == 2 or width == 576


def test_rows_of_run_time() -> None:
    n = Dim("n")
    program = network(n, 128)
    for extent in (1, 19):
        checked(program, {n: extent})


def test_loops_and_branches_around() -> None:
    x, w, u = ad.input("x", (4, 24, 128)), ad.input("w", (128, 128)), ad.input("u", (2, 128, 128))

    def inner(h: Any, v: Any) -> Any:
        return ad.cond(h.sum() > 0, lambda h: h @ w, lambda h: (h @ v) @ w, h), None

    def outer(h: Any, z: Any) -> Any:
        g, _ = ad.scan(inner, h + z, u)
        return ad.tanh(g @ (w * 2)), None

    h, _ = ad.scan(outer, ad.zeros((24, 128)), x)
    h = ad.while_loop(lambda h: ad.abs(h).sum() > 0.1, lambda h: h @ w / 4, h)
    loss = (h * h).sum()
    checked(program_of([x, w, u], [loss, *ad.grad(loss, [x, w, u])]))


def test_windows_and_batches() -> None:
    x, k = ad.input("x", (2, 4, 16, 12, 12)), ad.input("k", (16, 16, 3, 3))
    m = ad.input("m", (4, 64, 64))
    y, _ = ad.scan(lambda s, z: (ad.tanh(ad.nn.conv2d(s, k, padding=1) + z), None), ad.zeros((4, 16, 12, 12)), x)
    z = ad.fori_loop(3, lambda i, s: s @ m, ad.reshape(y, (4, 36, 64)))
    loss = (z * z).sum()
    checked(program_of([x, k, m], [loss, *ad.grad(loss, [x, k, m])]))
