"""Layers of a transformer, and the schedules that their shapes lead to: panels packed in front of many rows, sums in
parts, one residual in place of several, rows with gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.program import Program
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def checked(inputs: list[Any], outputs: list[Any], updates: dict[Any, Any] | None = None, **dims: int) -> Program:
    """The program, whose compiled form has agreed with the interpreter, and with itself on two threads bit by bit."""
    program = Program(
        "layers", tuple(x.node for x in inputs), tuple(y.node for y in outputs),
        tuple((v.node, u.node) for v, u in (updates or {}).items()),
    )  # fmt: skip
    rng = np.random.default_rng(3)
    values = {}
    for node in (*program.inputs, *program.variables):
        shape = [n if isinstance(n, int) else dims[str(n)] for n in node.shape]
        values[node] = (rng.normal(size=shape) / 4).astype(node.dtype)
    found = {d: dims[d.name] for x in inputs for d in x.shape if not isinstance(d, int)} or None
    one = oracle.check(program, values, found)
    for a, b in zip(one, oracle.run(program, values, threads=2), strict=True):
        np.testing.assert_array_equal(a, b)
    return program


def kernels(program: Program) -> list[Any]:
    return compile_program(program, resolve_target("x86-64-v4")).module.kernels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_panels_packed_in_front_of_many_rows(dtype: str) -> None:
    x, y = ad.input("x", (131, 70), dtype), ad.input("y", (3, 43, 401), dtype)
    w, narrow, deep = ad.input("w", (70, 65), dtype), ad.input("u", (33, 70), dtype), ad.input("v", (401, 37), dtype)
    bias = ad.input("b", (65,), dtype)
    outputs = [ad.relu(x @ w + bias), x @ narrow.T, (x @ narrow.T).T, ad.tanh(y @ deep) * 2]
    program = checked([x, y, w, narrow, deep, bias], outputs)
    names = [k.name for k in kernels(program)]
    assert any("pack" in name for name in names), names


def test_panels_packed_in_front_of_rows_that_are_not_counted() -> None:
    x, w, scale = ad.input("x", ("n", 9, 40)), ad.input("w", (40, 50)), ad.input("s", (40, 1))
    for n in (1, 30):
        checked([x, w, scale], [ad.sigmoid(x @ (w * scale)), (x @ w).sum(0)], n=n)


@pytest.mark.parametrize(("dtype", "rows"), [("float32", (6, 129)), ("float64", (600,))])
def test_sums_over_rows_in_parts(dtype: str, rows: tuple[int, ...]) -> None:
    """Gradients of weights: columns, and the update that follows, from parts of the sum."""
    x, w = ad.input("x", (*rows, 33), dtype), ad.variable(np.full((33, 41), 0.5, dtype), name="w")
    v = ad.variable(np.full((41, 40), 0.25, dtype), name="v")
    loss = ((ad.tanh(x @ w) @ v) ** 2).mean()
    gw, gv = ad.grad(loss, [w, v])
    program = checked([x], [loss], {w: w - 0.1 * gw, v: v - 0.1 * gv})
    parts = {b.shape[0] for k in kernels(program) for b in k.writes if len(b.shape) == 3 and b.shape[1:] == (33, 41)}
    assert parts == {2}, parts


@pytest.mark.parametrize("activation", [ad.silu, lambda a: ad.gelu(a, approximate="tanh")])
def test_one_residual_in_place_of_several(activation: Any) -> None:
    """The backward pass reads one array, the derivative, beside the activation itself."""
    x, w, b = ad.input("x", (96, 40)), ad.input("w", (40, 48)), ad.input("b", (48,))
    hidden = activation(x @ w + b)
    out = hidden @ ad.input("v", (48, 24))
    v = next(n for n in out.node.inputs if n is not hidden.node)
    gradient = ad.grad((out**2).sum(), [w, b])
    inputs = [x, w, b]
    program = Program("layers", (*(i.node for i in inputs), v), tuple(g.node for g in gradient))
    rng = np.random.default_rng(3)
    values = {n: (rng.normal(size=n.shape) / 4).astype(n.dtype) for n in program.inputs}
    oracle.check(program, values)
    stored = next(k for k in kernels(program) if "matmul" in k.name).writes
    assert len(stored) <= 2, stored


def test_what_lies_across_is_stored_rather_than_computed_while_it_is_turned() -> None:
    """Also where the activation, of 3 MB, outgrows the second cache."""
    shapes = {"x": (768, 128), "w": (128, 512), "b": (512,), "v": (512, 128)}
    x, w, b, v = inputs = [ad.input(name, shape, "float64") for name, shape in shapes.items()]
    out = ad.gelu(x @ w + b, approximate="tanh") @ v
    gradients = ad.grad((out**2).sum(), [w, v])
    program = Program("layers", tuple(i.node for i in inputs), tuple(g.node for g in gradients))
    names = {b.name for k in kernels(program) for b in k.params}
    assert not any("sigmoid" in name for name in names), names


def test_rows_with_gaps_in_arrays_of_more_axes() -> None:
    """Rows of 1024 bytes get a gap, unless the rows of an array are walked through as one."""
    x, w, whole = ad.input("x", (3, 8, 64)), ad.input("w", (64, 256)), ad.input("u", (8, 256, 20))
    y = ad.exp(x @ w)
    checked([x, w, whole], [y.sum(-1), y @ w.T, ad.einsum("bij,ijk->bk", y, whole), ad.flip(y, axis=1) * y])
    checked([x, w], [ad.permute_dims(y, (1, 0, 2)) @ w.T, y.reshape((24, 256)).T @ y.reshape((24, 256))])


def block(x: Any, memory: Any, heads: int, pre: bool, dtype: str, **attention: Any) -> Any:
    """A block of a transformer with parameters made of constants, and those parameters."""
    width = x.shape[-1]
    rng = np.random.default_rng(0)
    shapes = {"q": (width, width), "kv": (width, 2 * width), "o": (width, width), "up": (width, 3 * width),
              "down": (3 * width, width)}  # fmt: skip
    p = {k: ad.variable((rng.normal(size=s) / 6).astype(dtype), name=k) for k, s in shapes.items()}
    scale = ad.variable(np.linspace(0.5, 1.5, width).astype(dtype), name="scale")

    def norm(a: Any) -> Any:
        return ad.nn.layer_norm(a, scale)

    def split(a: Any) -> Any:
        return ad.permute_dims(a.reshape((*a.shape[:-1], heads, width // heads)), (0, 2, 1, 3))

    h = norm(x) if pre else x
    k, v = map(split, ad.split((h if memory is None else memory) @ p["kv"], 2, axis=-1))
    a = ad.nn.scaled_dot_product_attention(split(h @ p["q"]), k, v, **attention)
    x = x + ad.permute_dims(a, (0, 2, 1, 3)).reshape(x.shape) @ p["o"]
    x = x if pre else norm(x)
    x = x + ad.gelu((norm(x) if pre else x) @ p["up"], approximate="tanh") @ p["down"]
    return (x if pre else norm(x)), [*p.values(), scale]


@pytest.mark.parametrize(
    ("dtype", "shape", "memory", "heads", "pre", "kind"),
    [
        ("float32", (3, 40, 48), None, 3, True, "causal"),
        ("float64", (2, 33, 30), (2, 21, 30), 2, False, "plain"),
        ("float32", ("n", 35, 32), None, 2, False, "mask"),
    ],
)
def test_training_step(dtype: str, shape: Any, memory: Any, heads: int, pre: bool, kind: str) -> None:
    x, inputs = ad.input("x", shape, dtype), []
    other = None if memory is None else ad.input("memory", memory, dtype)
    if other is not None:
        inputs.append(other)
    attention: dict[str, Any] = {"is_causal": kind == "causal"}
    if kind == "mask":
        attention["attn_mask"] = np.tri(shape[1], dtype=bool)[::-1].copy()
    y, parameters = block(x, other, heads, pre, dtype, **attention)
    loss = (y * y).mean()
    updates = {p: p - 0.1 * g for p, g in zip(parameters, ad.grad(loss, parameters), strict=True)}
    checked([x, *inputs], [loss], updates, **({"n": 3} if shape[0] == "n" else {}))
