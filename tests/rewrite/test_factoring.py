"""Common factors: how many operations are left, and that the value stays."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from adjoint.graph import build as b
from adjoint.graph import interp
from adjoint.graph.dtypes import FLOAT64
from adjoint.graph.node import Node, Token, make, toposort
from adjoint.graph.program import Program
from adjoint.rewrite.rules import rewrite

A, B, C, D, E, F = LEAVES = tuple(make("input", (), Token(name), (7,), FLOAT64) for name in "abcdef")


def product(*factors: Node | float) -> Node:
    first, *rest = factors
    assert isinstance(first, Node)
    return reduce(b.mul, rest, first)


def rewritten(*roots: Node) -> tuple[Program, int]:
    """The program, and the number of its operations where each addition can take a product in."""
    found, _ = rewrite(Program("f", LEAVES, roots))
    arithmetic = ("add", "subtract", "multiply", "fma")
    return found, sum(n.op.name in arithmetic for n in toposort(found.outputs))


@pytest.mark.parametrize(
    ("root", "operations"),
    [
        # a · (b c + d): the product with a, one fma.
        (b.add(product(A, B, C), product(A, D)), 2),
        # Two products are as good as one sum and one product: left alone.
        (b.add(product(A, B), product(A, C)), 2),
        # a + a b c needs no more than a product and an fma.
        (b.add(A, product(A, B, C)), 2),
        # Over the whole of a sum: a · (b + c d + d e f) → a · (b + d · (c + e f)).
        (b.add(b.add(product(A, B), product(A, C, D)), product(A, D, E, F)), 3),
        # Signs stay with their terms.
        (b.sub(b.sub(product(A, B, C), product(A, D)), product(A, E, F)), 3),
        # A number of several terms is a factor, and leaves.
        (b.add(product(A, B, 3.0), product(C, D, 3.0)), 3),
        # Powers: a² (b + a c).
        (b.add(product(A, A, B), product(A, A, A, C)), 3),
    ],
)
def test_operations_left(root: Node, operations: int) -> None:
    found, count = rewritten(root)
    assert count == operations
    values = {x: np.random.default_rng(k).standard_normal(7) for k, x in enumerate(LEAVES)}
    (before,), (after,) = interp.evaluate([root], values), interp.evaluate(found.outputs, values)
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-12)


def test_a_product_that_others_need_stays_whole() -> None:
    shared = product(A, B)
    root = b.add(product(shared, C), product(shared, D))
    found, _ = rewritten(root, shared)
    assert found.outputs[1] is shared


def test_parts_that_several_terms_share_are_opened() -> None:
    """e and e b each occur in two terms, and nowhere else: both dissolve."""
    weighted = product(E, B)
    root = b.add(b.add(product(E, A), product(weighted, C)), product(weighted, D, F))
    assert rewritten(root)[1] == 3


@pytest.mark.parametrize("seed", range(60))
def test_random_sums_keep_their_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms = [product(*(LEAVES[k] for k in rng.integers(0, 4, rng.integers(1, 6)))) for _ in range(rng.integers(2, 7))]
    terms = [b.mul(t, float(rng.choice([0.5, 3.0]))) if rng.random() < 0.4 else t for t in terms]
    root = terms[0]
    for term in terms[1:]:
        root = make("add" if rng.random() < 0.6 else "subtract", (root, term))
    found, count = rewritten(root)
    plain, _ = rewrite(Program("f", LEAVES, (root,)), disabled=["common-factor"])
    assert count <= sum(n.op.name in ("add", "subtract", "multiply", "fma") for n in toposort(plain.outputs))
    values = {x: rng.standard_normal(7) for x in LEAVES}
    (before,), (after,) = interp.evaluate([root], values), interp.evaluate(found.outputs, values)
    np.testing.assert_allclose(after, before, rtol=1e-11, atol=1e-11)


def test_without_single_rounding_one_minus_is_kept() -> None:
    """y − y² from a rounded y² has nothing right where y is close to 1."""
    root = b.mul(A, b.sub(1.0, A))
    program = Program("f", LEAVES, (root,))
    assert rewrite(program)[0].outputs[0].op.name == "fma"
    assert rewrite(program, fused=False)[0].outputs[0] is root
