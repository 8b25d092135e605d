"""Loops whose rows never meet run piece by piece: which loops do, and that every kernel stays with its piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program
from adjoint.graph.sizes import Dim
from adjoint.lower.ir import in_pieces
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target

TARGET = replace(resolve_target("native"), workers=2)


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def with_gradients(inputs: list[Any], value: Any) -> Program:
    loss = (value * value).sum()
    outputs = [loss, *ad.grad(loss, inputs)]
    return Program("pieces", tuple(x.node for x in inputs), tuple(y.node for y in outputs))


def zeros(*shape: Any, dtype: str = "float32") -> Any:
    return ad.zeros(shape, dtype=dtype)


def lstm(batch: Any, units: int, dtype: str = "float32") -> Program:
    x, w = ad.input("x", (4, batch, 4 * units), dtype), ad.input("w", (units, 4 * units), dtype)

    def cell(carry: Any, z: Any) -> Any:
        h, c = carry
        i, f, g, o = ad.split(z + h @ w, 4, axis=1)
        c = ad.sigmoid(f) * c + ad.sigmoid(i) * ad.tanh(g)
        return (ad.sigmoid(o) * ad.tanh(c), c), None

    start = zeros(batch, units, dtype=dtype)
    (h, _), _ = ad.scan(cell, (start, start), x)
    return with_gradients([x, w], h)


def gru_of_layers(batch: int, units: int) -> Program:
    """Two layers, the second of which goes backwards, with their states handed on."""
    x, w, u = (ad.input(n, s) for n, s in (("x", (3, batch, units)), ("w", (2, units, units)), ("u", (units, units))))

    def cell(h: Any, z: Any) -> Any:
        r = ad.sigmoid(z + h @ w[0])
        h = r * h + (1 - r) * ad.tanh(z + (r * h) @ u)
        return h, h

    _, hs = ad.scan(cell, zeros(batch, units), x)
    _, hs = ad.scan(cell, zeros(batch, units), hs @ w[1], reverse=True)
    return with_gradients([x, w, u], hs)


def flow(batch: Any, units: int) -> Program:
    """An ordinary differential equation, by the midpoint."""
    y, w, b = ad.input("y", (batch, units)), ad.input("w", (units, units)), ad.input("b", (units,))
    slope = lambda y: ad.tanh(y @ w + b)  # noqa: E731
    return with_gradients([y, w, b], ad.fori_loop(5, lambda i, y: y + 0.1 * slope(y + 0.05 * slope(y)), y))


def centred(shape: Any, dtype: str = "float32") -> Program:
    """Rows without a product lose their mean."""
    x, a = ad.input("x", (7, *shape), dtype), ad.input("a", shape, dtype)

    def step(s: Any, z: Any) -> Any:
        s = ad.sin(s * a) + z
        s = s - ad.mean(s, axis=-1, keepdims=True)
        return s, s * z

    s, ys = ad.scan(step, a, x)
    return with_gradients([x, a], ys + s)


def attending(batch: int) -> Program:
    """Every row looks at memory of its own."""
    q, m = ad.input("q", (batch, 3, 16)), ad.input("m", (batch, 16, 24))

    def step(i: Any, q: Any) -> Any:
        return ad.nn.softmax(q @ m) @ ad.matrix_transpose(m)

    return with_gradients([q, m], ad.fori_loop(3, step, q))


def meeting(batch: int) -> Program:
    """Rows lose their mean, in the first loop; in the second each reads its neighbour."""
    x, w = ad.input("x", (4, batch, 32)), ad.input("w", (32, 32))
    h, _ = ad.scan(lambda h, z: (ad.tanh((h - h.mean(0)) @ w + z), None), zeros(batch, 32), x)
    h, _ = ad.scan(lambda h, z: (ad.tanh(ad.flip(h, 0) @ w + z), None), h, x)
    return with_gradients([x, w], h)


N = Dim("n")
CASES: dict[str, tuple[Callable[[], Program], int, dict[Any, int] | None]] = {
    "lstm, few rows": (lambda: lstm(11, 32), 2, None),
    "lstm, odd": (lambda: lstm(53, 24, "float64"), 2, None),
    "lstm, run time": (lambda: lstm(N, 32), 2, {N: 41}),
    "gru": (lambda: gru_of_layers(45, 40), 4, None),
    "flow": (lambda: flow(37, 33), 2, None),
    "flow, run time": (lambda: flow(N, 16), 2, {N: 1}),
    "centred": (lambda: centred((170, 33), "float64"), 2, None),
    "centred, run time": (lambda: centred((N, 50)), 2, {N: 100}),
    "attending": (lambda: attending(37), 2, None),
    "meeting": (lambda: meeting(40), 0, None),
}


@pytest.mark.parametrize("name", CASES)
def test_pieces(name: str) -> None:
    make, loops, dims = CASES[name]
    program = make()
    assert len(in_pieces(compile_program(program, TARGET).module.steps)) == loops
    rng = np.random.default_rng(5)
    names = {d.name: n for d, n in (dims or {}).items()}
    values = {}
    for node in program.inputs:
        shape = [n if isinstance(n, int) else names[str(n)] for n in node.shape]
        values[node] = (rng.normal(size=shape) / 4).astype(node.dtype)
    one, two = (oracle.check(program, values, dims, threads=n, target=TARGET) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()


def test_profile() -> None:
    """A kernel of a loop in pieces counts once for every iteration, whoever runs its pieces."""
    x, w = ad.input("x", (20, 40, 16)), ad.input("w", (16, 16))
    h, _ = ad.scan(lambda h, z: (ad.tanh(h @ w + z), None), zeros(40, 16), x)
    step = ad.compile([x, w], h, target=TARGET, threads=2)
    table = step.profile(*(np.ones(a.shape, np.float32) for a in (x, w)), repeat=3).splitlines()
    (line,) = [line.split() for line in table if "tanh" in line]
    calls, milliseconds = line[-6:-4]
    assert calls == "60" and float(milliseconds) > 0
