"""What becomes of loops: merged, shortened, rid of what nothing reads, with matrices turned once."""

from __future__ import annotations

import numpy as np

import adjoint as ad
from adjoint.graph import interp
from adjoint.graph.contraction import plain
from adjoint.graph.node import Node, toposort
from adjoint.graph.program import Program
from adjoint.rewrite.loops import tidy_loops

RNG = np.random.default_rng(0)


def tidied(inputs: list[ad.Array], outputs: list[ad.Array]) -> tuple[Program, list[Node]]:
    """The program, whose values must stay, and its loops."""
    program = Program("f", tuple(x.node for x in inputs), tuple(y.node for y in outputs))
    found, _ = tidy_loops(program)
    values = {x.node: RNG.standard_normal(x.shape).astype(x.dtype) for x in inputs}
    for got, want in zip(*(interp.evaluate(p.outputs, values) for p in (found, program)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert tidy_loops(found)[0] is found
    return found, [n for n in toposort(found.outputs) if n.op.name in ("scan", "while", "cond")]


def network(n: int) -> tuple[list[ad.Array], ad.Array]:
    x, w, u = ad.input("x", (n, 4, 3)), ad.input("w", (3, 5)), ad.input("u", (5, 5))
    last, _ = ad.scan(lambda h, v: (ad.tanh(v @ w + h @ u), h * 2), ad.zeros((4, 5)), x)
    return [x, w, u], last.sum()


def test_the_loop_of_the_user_and_the_recording_one_are_one() -> None:
    (x, w, u), loss = network(6)
    _, loops = tidied([x, w, u], [loss, *ad.grad(loss, [w, u])])
    assert [n["reverse"] for n in loops] == [False, True]


def test_what_lies_across_is_turned_before_the_loop() -> None:
    (x, w, u), loss = network(6)
    _, (_, backward) = tidied([x, w, u], [loss, *ad.grad(loss, [w, u])])
    products = [n for n in toposort(backward["body"].outputs) if n.op.name == "contract"]
    assert products and all(n["b_map"][-1] == plain(n["n_out"] - 1) for n in products)
    assert any(i.op.name == "permute" for i in backward.inputs)


def test_unread_results_and_carries_go() -> None:
    (x, w, u), loss = network(6)
    _, (forward,) = tidied([x, w, u], [loss])
    assert len(forward["body"].outputs) == 1
    b = ad.input("b", (3,))
    _, (other, _) = ad.cond(ad.sum(b) > 0, lambda: (ad.exp(b), (b * 2, b)), lambda: (b, (b, b * 3)))
    _, (branch,) = tidied([b], [other])
    assert len(branch["then"].outputs) == 1


def test_loops_that_run_never_or_once_are_no_loops() -> None:
    for n in (0, 1):
        inputs, loss = network(n)
        assert not tidied(inputs, [loss, *ad.grad(loss, inputs)])[1]
