"""Carries that live in the stacks that their loop leaves behind: every way to read old, new and last values."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph.node import toposort
from adjoint.graph.program import Program
from adjoint.graph.sizes import Dim
from adjoint.pipeline import compile_program
from adjoint.runtime.target import resolve_target


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def program_of(inputs: list[Any], outputs: list[Any], updates: dict[Any, Any] | None = None) -> Program:
    return Program(
        "stacks", tuple(x.node for x in inputs), tuple(y.node for y in outputs),
        tuple((v.node, u.node) for v, u in (updates or {}).items()),
    )  # fmt: skip


def checked(program: Program, dims: dict[Any, int] | None = None) -> None:
    rng = np.random.default_rng(5)
    names = {d.name: n for d, n in (dims or {}).items()}
    values = {}
    for node in (*program.inputs, *program.variables):
        shape = [n if isinstance(n, int) else names[str(n)] for n in node.shape]
        values[node] = (rng.normal(size=shape) / 2).astype(node.dtype)
    oracle.check(program, values, dims)


def network(n: Any, dtype: str, reverse: bool, both: bool) -> Program:
    """States that are recorded, read as a sequence, stored in a variable and returned."""
    x, w = ad.input("x", (n, 3, 4), dtype), ad.input("w", (4, 4), dtype)
    v = ad.variable(np.zeros((3, 4), dtype), name="v")

    def cell(carry: Any, z: Any) -> Any:
        h, c = carry
        h = ad.tanh(z + h @ w)
        c = c * 0.5 + h
        return (h, c), (h, c * c) if both else c * c

    (h, c), ys = ad.scan(cell, (v, v + 1), x, reverse=reverse)
    states, squares = ys if both else (ys, ys)
    loss = (h * h).sum() + (states * squares).sum() + c.sum()
    return program_of([x, w], [loss, *ad.grad(loss, [x, w, v]), h], {v: h})


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "both"), [("float32", True), ("float32", False), ("float64", True)])
def test_recorded_and_read(dtype: str, both: bool, reverse: bool) -> None:
    checked(network(5, dtype, reverse, both))


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_of_run_time(reverse: bool) -> None:
    n = Dim("n", min=0)
    program = network(n, "float32", reverse, True)
    for length in (0, 1, 2, 7):
        checked(program, {n: length})


def test_stacks_that_are_returned() -> None:
    x = ad.input("x", (6, 3))
    (a, b), (old, new) = ad.scan(
        lambda carry, z: ((carry[1], ad.sin(carry[0]) + z), (carry[0], carry[1])), (ad.zeros((3,)), ad.ones((3,))), x
    )
    loss = (old[1:] * new[:-1]).sum() + (a * b).sum()
    checked(program_of([x], [old, new, a, b]))
    checked(program_of([x], [loss, new, *ad.grad(loss, [x])]))
    checked(program_of([x], [old.sum() + new.sum() + a.sum()]))


def test_loops_in_loops() -> None:
    x, w = ad.input("x", (8, 5)), ad.input("w", (5, 5))
    h, _ = ad.scan(lambda h, z: (ad.tanh(h @ w + z), None), ad.zeros((5,)), x, checkpoint_every=4)

    def outer(s: Any, z: Any) -> Any:
        inner, _ = ad.scan(lambda h, k: (ad.sin(h * k) + s, h), z, w)
        return s * 0.5 + inner, None

    s, _ = ad.scan(outer, h, x)
    loss = (s * s).sum()
    checked(program_of([x, w], [loss, *ad.grad(loss, [x, w])]))


def test_loops_after_loops_that_tell_their_length() -> None:
    x = ad.input("x", (4,))
    root = ad.while_loop(lambda s: ad.abs(s * s - x).sum() > 1e-3, lambda s: (s + x * x / s) / 2, x + 1)
    loss = (root * x).sum()
    program = program_of([x], [loss, ad.grad(loss, x)])
    oracle.check(program, {program.inputs[0]: np.float32([1, 1, 1, 1])})


def test_nothing_is_copied() -> None:
    program = network(5, "float32", False, True)
    names = [k.name for k in compile_program(program, resolve_target("native")).module.kernels]
    assert sum("copy" in name for name in names) <= 1, names


def test_carries_that_stay_are_closed_over() -> None:
    x, w = ad.input("x", (5, 3)), ad.input("w", (3,))
    (h, kept), _ = ad.scan(lambda c, z: ((ad.tanh(c[0] * c[1]) + z, c[1]), None), (ad.zeros((3,)), w), x)
    (last, also) = ad.while_loop(lambda c: c[0].sum() < 9, lambda c: (c[0] + c[1] * c[1] + 1, c[1]), (h, kept))
    only = ad.while_loop(lambda c: c.sum() < -1e9, lambda c: c, w)
    loss = (h * kept).sum() + last.sum() + also.sum() + only.sum()
    program = program_of([x, w], [loss, *ad.grad(loss, [x, w])])
    checked(program)
    rewritten = compile_program(program, resolve_target("native")).optimized
    scans = [n for n in toposort(rewritten.outputs) if n.op.name == "scan"]
    pairs = [(n["body"].outputs[k], n["body"].params[k]) for n in scans for k in range(n["n_carry"])]
    assert pairs and all(out is not param for out, param in pairs)
