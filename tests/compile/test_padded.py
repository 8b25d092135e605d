"""Rows of a power of two bytes have gaps in memory: every way to read such an array sees its elements alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program
from adjoint.lower.ir import row_major
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def program_of(inputs: list[Any], outputs: list[Any], updates: dict[Any, Any] | None = None) -> Program:
    return Program(
        "padded", tuple(x.node for x in inputs), tuple(y.node for y in outputs),
        tuple((v.node, u.node) for v, u in (updates or {}).items()),
    )  # fmt: skip


def padded(program: Program) -> list[str]:
    """Arena buffers whose rows have gaps."""
    module = compile_program(program, resolve_target("native")).module
    return [b.name for b in module.layout.offsets if b.shape and b.strides != row_major(b.shape)]


def values_of(program: Program) -> dict[Any, Any]:
    rng = np.random.default_rng(3)
    found: dict[Any, Any] = {}
    for node in (*program.inputs, *program.variables):
        if node.dtype.kind == "i":
            found[node] = rng.integers(0, 10, node.shape)
        else:
            found[node] = rng.normal(size=node.shape).astype(node.dtype) * 0.1
    return found


@pytest.mark.parametrize(("rows", "hidden", "dtype"), [(32, 256, "float32"), (20, 512, "float32"), (7, 256, "float64")])
def test_a_training_step(rows: int, hidden: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, t = ad.input("x", (rows, 64), dtype), ad.input("t", (rows,), "int64")
    sizes = [(64, hidden), (hidden, hidden), (hidden, 10)]
    weights = [ad.variable((rng.normal(size=s) * 0.1).astype(dtype), name=f"w{k}") for k, s in enumerate(sizes)]
    biases = [ad.variable(np.zeros(s[1], dtype), name=f"b{k}") for k, s in enumerate(sizes)]
    h = x
    for w, c in zip(weights[:2], biases[:2], strict=True):
        h = ad.tanh(h @ w + c)
    loss = ad.nn.cross_entropy(h @ weights[2] + biases[2], t)
    every = [*weights, *biases]
    program = program_of([x, t], [loss], {v: v - 0.1 * g for v, g in zip(every, ad.grad(loss, every), strict=True)})
    assert padded(program)
    oracle.check(program, values_of(program))


def scanned(h: Any) -> Any:
    last, ys = ad.scan(lambda c, row: (c * 0.5 + row, ad.sum(row * c)), ad.zeros((256,)), h)
    return [last, ys]


def carried(h: Any) -> Any:
    last, ys = ad.scan(lambda c, row: (ad.tanh(c + row), ad.sum(c, axis=1)), h, ad.ones((3,)))
    return [last, ys]


def closed_over(h: Any) -> Any:
    last, ys = ad.scan(lambda c, k: (ad.tanh(ad.sum(h * c, axis=0)) * k, ad.max(h * c)), ad.ones((256,)), ad.ones((3,)))
    return [last, ys]


READERS: dict[str, Callable[[Any], Any]] = {
    "split": lambda h: ad.exp(ad.reshape(h, (24, 4, 64))),
    "flat": lambda h: ad.exp(ad.reshape(h, (24 * 256,))),
    "flat sum": lambda h: ad.sum(ad.reshape(h, (24 * 256,)) * 2.0),
    "merged rows": lambda h: ad.tanh(ad.reshape(h, (12, 512))),
    "permute": lambda h: ad.exp(h.T),
    "heads": lambda h: ad.permute_dims(ad.reshape(h, (24, 4, 64)), (1, 0, 2)) @ ad.reshape(h, (4, 64, 24)),
    "slice": lambda h: ad.exp(h[3:20:2, 10:200:3]),
    "first columns": lambda h: [ad.exp(h[:20, :100]), ad.sum(h[:, :7], axis=0)],
    "unit axis": lambda h: ad.exp(h[:, None, :]) * ad.ones((24, 2, 256)),
    "flip": lambda h: ad.exp(h[::-1, ::-1]),
    "one row": lambda h: ad.exp(h[5]),
    "pad": lambda h: ad.concat([h, ad.exp(h[:2])], axis=0) * 2.0,
    "sum of rows": lambda h: ad.sum(h, axis=0),
    "sum of columns": lambda h: ad.sum(h, axis=1),
    "sum of all": lambda h: ad.sum(h * h),
    "mean": lambda h: ad.mean(h),
    "max": lambda h: [ad.max(h), ad.argmax(h), ad.argmax(h, axis=1), ad.max(h, axis=0)],
    "softmax": lambda h: [ad.softmax(h), ad.softmax(h, axis=0), ad.log_softmax(h)],
    "norm": lambda h: ad.nn.layer_norm(h, ad.ones((256,)), ad.zeros((256,)), 1e-5),
    "product": lambda h: [h @ h.T, h.T @ h],
    "take": lambda h: [ad.take(h, ad.constant([3, 0, 7])), ad.take(h, ad.constant([[3, 0], [255, 9]]), axis=1)],
    "result": lambda h: [h, h * 2.0],
    "scan over rows": scanned,
    "scan carry": carried,
    "scan constant": closed_over,
}


def outputs_of(reader: Callable[[Any], Any], h: Any) -> list[Any]:
    found = reader(h)
    return list(found) if isinstance(found, (list, tuple)) else [found]


@pytest.mark.parametrize("name", READERS)
def test_readers_of_a_padded_array(name: str) -> None:
    """Beside a product, which makes the array stay in memory and keeps its rows apart."""
    x, w = ad.input("x", (24, 32)), ad.input("w", (32, 256))
    h = ad.tanh(x @ w)
    outputs = outputs_of(READERS[name], h)
    program = program_of([x, w], [*outputs, h @ h.T, ad.sum(ad.exp(h), axis=1)])
    oracle.check(program, values_of(program))


def test_gradients_of_several_readers() -> None:
    x, w = ad.input("x", (24, 32)), ad.input("w", (32, 256))
    outputs = []
    for name in ("heads", "slice", "first columns", "sum of rows", "softmax", "norm", "product"):
        h = ad.tanh(x @ w + float(len(outputs)))
        y = outputs_of(READERS[name], h)[0]
        outputs.append(ad.grad(ad.sum(y * y), x))
    program = program_of([x, w], outputs)
    oracle.check(program, values_of(program))


def test_which_arrays_have_gaps() -> None:
    x, w = ad.input("x", (24, 32)), ad.input("w", (32, 256))
    h = ad.tanh(x @ w)
    rows = ad.sum(ad.exp(h @ h.T))
    assert padded(program_of([x, w], [rows]))
    assert not padded(program_of([x, w], [h, rows])), "what the caller receives has none"
    narrow = ad.tanh(x @ w[:, :200])
    assert not padded(program_of([x, w], [ad.sum(ad.exp(narrow @ narrow.T))])), "neither have other rows"
