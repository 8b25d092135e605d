"""Kernels that follow each other chunk by chunk, in whose scratch the scores of an attention lie: against the
interpreter, and the same on one thread and two."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program
from adjoint.lower.ir import Call, walk
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def checked(inputs: list[Any], outputs: list[Any], **dims: int) -> list[Any]:
    """The kernels of a program whose compiled form agrees with the interpreter, and with itself on two threads."""
    program = Program("chains", tuple(x.node for x in inputs), tuple(y.node for y in outputs), ())
    rng = np.random.default_rng(5)
    values = {}
    for node in program.inputs:
        shape = [n if isinstance(n, int) else dims[str(n)] for n in node.shape]
        value = rng.normal(size=shape)
        values[node] = value < 0.8 if node.dtype.kind == "b" else value.astype(node.dtype)
    found = {d: dims[d.name] for x in inputs for d in x.shape if not isinstance(d, int)} or None
    one = oracle.check(program, values, found)
    for a, b in zip(one, oracle.run(program, values, threads=2), strict=True):
        np.testing.assert_array_equal(a, b)
    return compile_program(program, resolve_target("x86-64-v4")).module.kernels


def attention(batch: Any, queries: int, keys: int, width: int, dtype: str) -> tuple[list[Any], Any, Any, Any]:
    shapes = [(batch, 3, n, width) for n in (queries, keys, keys)]
    inputs = [ad.input(name, shape, dtype) for name, shape in zip("qkv", shapes, strict=True)]
    return inputs, *inputs


@pytest.mark.parametrize(
    ("queries", "keys", "width", "dtype"),
    [(40, 40, 16, "float32"), (33, 33, 7, "float64"), (70, 41, 9, "float32"), (20, 37, 8, "float32"),
     (136, 136, 8, "float32")],
)  # fmt: skip
def test_causal_attention_and_its_gradient(queries: int, keys: int, width: int, dtype: str) -> None:
    inputs, q, k, v = attention(6, queries, keys, width, dtype)
    out = ad.nn.scaled_dot_product_attention(q, k, v, is_causal=True)
    made = checked(inputs, [out, *ad.grad((out**2).sum(), inputs)])
    scores = [b for kernel in made for b in kernel.params if b.shape == (6, 3, queries, keys)]
    assert not scores, [(b.name, kernel.name) for kernel in made for b in kernel.params]


def test_sums_end_where_masks_cut_off() -> None:
    """Comparisons in several forms; a row that sees nothing; corners on either side and without exponentials."""
    inputs, q, k, v = attention(6, 43, 43, 8, "float32")
    i, j = ad.reshape(ad.arange(43), (43, 1)), ad.arange(43)
    scores = q @ ad.permute_dims(k, (0, 1, 3, 2))
    strict = ad.softmax(ad.where(i > j, scores, -np.inf), axis=-1) @ v
    band = ad.softmax(ad.where((j - i <= 2) & (i - j < 9), scores, -np.inf), axis=-1) @ v
    after = ad.where(j < i, 0.0, scores) @ v
    outputs = [strict, band, after]
    made = checked(inputs, [*outputs, *ad.grad(sum((y**2).sum() for y in outputs), inputs)])
    depths = [s.sizes[0] for kernel in made for s in walk(kernel.body) if isinstance(s, Call) and len(s.sizes) == 5]
    assert sum(bool(depth.terms) for depth in depths) >= 4, depths


def test_what_is_cut_off_of_an_array_is_not_taken_for_0_times_another() -> None:
    x, y = ad.input("x", (4, 4, 20, 20)), ad.input("y", (4, 4, 20, 20))
    low = ad.where(ad.arange(20) <= ad.reshape(ad.arange(20), (20, 1)), x, 0.0)
    product = low * y
    f = ad.compile([x, y], [product, product / ad.exp(product).sum(-1, keepdims=True)])
    ones = np.ones((4, 4, 20, 20), np.float32)
    values = np.where(np.arange(20) > 15, np.inf, ones).astype(np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(f(ones, values)[0], np.tril(ones) * values)


def test_masks_and_biases_are_read_where_they_lie() -> None:
    inputs, q, k, v = attention("batch", 24, 40, 16, "float32")
    mask, slope = ad.input("mask", (24, 40), "bool"), ad.input("slope", (3, 1, 1))
    apart = ad.arange(40) - ad.reshape(ad.arange(24), (24, 1))
    scores = q @ ad.permute_dims(k, (0, 1, 3, 2)) - slope * ad.astype(ad.abs(apart), "float32")
    seen = ad.where(mask & (apart < 3), scores, -np.inf)
    out = ad.softmax(seen, axis=-1) @ v
    checked([*inputs, mask, slope], [out, *ad.grad((out * out).sum(), [*inputs, slope])], batch=5)


def test_chunks_are_sequences_where_these_share_more_than_heads() -> None:
    """Heads are put side by side again, which a step over sequences can do in scratch."""
    x, w = ad.input("x", (5, 24, 3 * 32)), ad.input("w", (32, 8))
    q, k, v = (ad.permute_dims(ad.reshape(a, (5, 24, 4, 8)), (0, 2, 1, 3)) for a in ad.split(x, 3, axis=-1))
    out = ad.nn.scaled_dot_product_attention(q, k, v, is_causal=True)
    merged = ad.reshape(ad.permute_dims(out, (0, 2, 1, 3)), (5, 24, 32)) @ w
    checked([x, w], [merged, *ad.grad((merged**2).sum(), [x, w])])


def test_values_that_others_need_stay_in_memory() -> None:
    inputs, q, k, v = attention(6, 16, 24, 8, "float32")
    scores = q @ ad.permute_dims(k, (0, 1, 3, 2))
    weights = ad.softmax(scores, axis=-1)
    made = checked(inputs, [weights @ v, weights, scores.sum((0, 2)), ad.exp(weights) @ (v * 2)])
    assert made
