"""Concatenations that lie in memory are computed part by part, in place, wherever their operands come from."""

from __future__ import annotations

from collections.abc import Callable
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


def program_of(inputs: list[Any], outputs: list[Any], updates: dict[Any, Any] | None = None) -> Program:
    return Program(
        "assembly", tuple(x.node for x in inputs), tuple(y.node for y in outputs),
        tuple((v.node, u.node) for v, u in (updates or {}).items()),
    )  # fmt: skip


def checked(program: Program, dims: dict[Any, int] | None = None) -> None:
    rng = np.random.default_rng(3)
    names = {d.name: n for d, n in (dims or {}).items()}
    values = {}
    for node in (*program.inputs, *program.variables):
        shape = [n if isinstance(n, int) else names[str(n)] for n in node.shape]
        values[node] = (rng.normal(size=shape) / 2).astype(node.dtype)
    one, two = (oracle.check(program, values, dims, threads=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()


def split_and_back(dtype: str) -> Program:
    """Gates of unequal width: the cotangent of what they are read from is contracted, summed and given back."""
    x, w = ad.input("x", (9, 6), dtype), ad.input("w", (6, 75), dtype)
    z = x @ w
    a, b, c = ad.split(z, [20, 52], axis=1)
    loss = (ad.tanh(a)[:, :3] * ad.sigmoid(b)[:, :3]).sum() + (ad.exp(c) * 2).sum() + (b**3).sum()
    return program_of([x, w], [loss, *ad.grad(loss, [x, w, z])])


def gaps_and_rows() -> Program:
    x = ad.input("x", (40, 17))
    y = ad.exp(x)
    loss = (y[3:9] * ad.sin(y[20:26])).sum() + y[30:31].sum()
    g = ad.grad(loss, y)
    return program_of([x], [loss, g, g @ g.T])


def twice_the_same() -> Program:
    x, y = ad.input("x", (5, 33)), ad.input("y", (5, 33))
    s = ad.tanh(x) * y
    whole = ad.concat([s, x, s, ad.relu(y), s * 2], axis=1)
    return program_of([x, y], [whole, whole @ whole.T, s, whole.sum(axis=0)])


def in_state() -> Program:
    """A variable that becomes a concatenation of parts of itself."""
    v, x = ad.variable(np.zeros((8, 64), np.float32), name="v"), ad.input("x", (8, 16))
    w = ad.variable(np.zeros((64,), np.float32), name="w")
    rolled = ad.concat([v[:, 16:], ad.tanh(x)], axis=1)
    return program_of([x], [rolled.sum()], {v: rolled, w: ad.concat([w[32:] + 1, w[:32]], axis=0)})


def whole_rows() -> Program:
    x, w = ad.input("x", (3, 50)), ad.input("w", (50, 50))
    parts = [x @ w, ad.relu(x), ad.zeros((2, 50)), (x @ w + 1).sum(axis=0, keepdims=True)]
    whole = ad.concat(parts, axis=0)
    return program_of([x, w], [whole, ad.exp(whole) @ w])


def attention() -> Program:
    """Products are stored straight into their part, transposed."""
    x, w = ad.input("x", (2, 24, 32)), ad.input("w", (32, 96))
    q, k, v = (ad.permute_dims(ad.reshape(p, (2, 24, 2, 16)), (0, 2, 1, 3)) for p in ad.split(x @ w, 3, axis=-1))
    y = ad.softmax(q @ ad.matrix_transpose(k)) @ v
    loss = (y * y).sum()
    return program_of([x, w], [loss, *ad.grad(loss, [x, w])])


def in_loops(reverse: bool) -> Program:
    x, w, u = ad.input("x", (4, 6, 5)), ad.input("w", (5, 60)), ad.input("u", (20, 60))

    def gru(h: Any, v: Any) -> Any:
        r, z, n = ad.split(v @ w, 3, axis=1)
        a, b, c = ad.split(h @ u, 3, axis=1)
        z = ad.sigmoid(z + b)
        return (1 - z) * ad.tanh(n + ad.sigmoid(r + a) * c) + z * h, None

    h, _ = ad.scan(gru, ad.zeros((6, 20)), x, reverse=reverse)
    loss = (h * h).sum()
    return program_of([x, w, u], [loss, *ad.grad(loss, [x, w, u])])


CASES: dict[str, Callable[[], Program]] = {
    "split": lambda: split_and_back("float32"),
    "split, float64": lambda: split_and_back("float64"),
    "gaps": gaps_and_rows,
    "twice": twice_the_same,
    "state": in_state,
    "rows": whole_rows,
    "attention": attention,
    "loop": lambda: in_loops(False),
    "loop backwards": lambda: in_loops(True),
}


@pytest.mark.parametrize("name", CASES)
def test_parts_in_place(name: str) -> None:
    program = CASES[name]()
    checked(program)
    module = compile_program(program, resolve_target("native")).module
    assert any("concat" in k.name for k in module.kernels) or name in ("attention", "rows")


def test_run_time_extents() -> None:
    n = Dim("n")
    x, w = ad.input("x", ("n", 24)), ad.input("w", (24, 24))
    parts = ad.concat([ad.tanh(x), x @ w, ad.exp(x)], axis=0)
    loss = (parts @ w).sum() + (x[:, :8] * x[:, 16:]).sum()
    program = program_of([x, w], [parts, loss, *ad.grad(loss, [x, w])])
    for extent in (1, 5, 70):
        checked(program, {n: extent})
