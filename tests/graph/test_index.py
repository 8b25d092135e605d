"""Index algebra on random values; index maps of operations against their NumPy meaning."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from adjoint.graph import build as b
from adjoint.graph import dtypes, index, interp
from adjoint.graph.contraction import _transpose, contract, loads
from adjoint.graph.index import Access, Index, IVar, Lookup, Quotient, Remainder
from adjoint.graph.node import OPS, Literal, Node, Token, make
from adjoint.graph.program import Program
from adjoint.graph.verify import verify_program
from adjoint.graph.views import windows


def value(at: Index, variables: Mapping[IVar, int], arrays: Mapping[Any, Any]) -> int:
    """The integer that an index stands for."""
    total = at.const
    assert isinstance(total, int)
    for atom, coefficient in at.terms:
        assert isinstance(coefficient, int)
        if isinstance(atom, IVar):
            part = variables[atom]
        elif isinstance(atom, Lookup):
            part = int(arrays[atom.key[0]][tuple(value(i, variables, arrays) for i in atom.key[1])])
        else:
            inner = value(atom.key[0], variables, arrays)
            part = inner // atom.key[1] if isinstance(atom, Quotient) else inner % atom.key[1]
            assert isinstance(atom, (Quotient, Remainder))
        total += coefficient * part
    return total


def holds(access: Access, variables: Mapping[IVar, int], arrays: Mapping[Any, Any]) -> bool:
    for guard in access.guards:
        at = value(guard.index, variables, arrays)
        if (at % guard.divisor != 0) if guard.divisor is not None else not 0 <= at < int(guard.size or 0):
            return False
    return True


def _random_index(rng: random.Random, variables: list[IVar], depth: int = 2) -> Index:
    terms = [(v, rng.choice([1, 2, 3, 4, 6, 12, -1, -3])) for v in variables if rng.random() < 0.7]
    at = Index(terms, rng.randint(-6, 12))
    if depth and rng.random() < 0.6:
        inner = _random_index(rng, variables, depth - 1)
        other = rng.choice([index.floordiv, index.mod])(inner, rng.choice([1, 2, 3, 4, 6]))
        at = index.add(at, index.scale(other, rng.choice([1, 2, 3])))
    return at


@pytest.mark.parametrize("seed", range(200))
def test_quotients_remainders_and_substitution(seed: int) -> None:
    rng = random.Random(seed)
    variables = [IVar(f"i{k}", rng.randint(1, 4)) for k in range(3)]
    at, n = _random_index(rng, variables), rng.choice([1, 2, 3, 4, 6])
    replacement = {variables[0]: _random_index(rng, variables[1:], 1)}
    quotient, remainder = index.floordiv(at, n), index.mod(at, n)
    replaced = index.substitute(at, replacement)
    bounds = index.bounds(at)
    for point in itertools.product(*(range(int(v.extent)) for v in variables)):  # type: ignore[arg-type]
        here = dict(zip(variables, point, strict=True))
        expected = value(at, here, {})
        assert value(quotient, here, {}) == expected // n
        assert value(remainder, here, {}) == expected % n
        moved = {**here, variables[0]: value(replacement[variables[0]], here, {})}
        assert value(replaced, here, {}) == value(at, moved, {})
        if bounds is not None:
            assert bounds[0] <= expected <= bounds[1]  # type: ignore[operator]


SHAPES = [
    ((2, 3, 4), (6, 4)), ((2, 3, 4), (2, 12)), ((6, 4), (2, 3, 4)), ((4, 6), (8, 3)), ((1, 6, 1), (2, 3)), ((), (1, 1)),
    ((3,), (3, 1)), ((2, 2, 3), (3, 4)), ((0, 3), (3, 0)), ((3, 0), (0,)), ((2, 0), (0, 5, 3)), ((4,), (2, 1, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_reshape(source: tuple[int, ...], target: tuple[int, ...]) -> None:
    variables = [IVar(f"i{k}", n) for k, n in enumerate(target)]
    at = index.reshape([index.of(v) for v in variables], source, target)
    array = np.arange(int(np.prod(source))).reshape(source)
    for point in np.ndindex(*target):
        here = dict(zip(variables, point, strict=True))
        assert array[tuple(value(i, here, {}) for i in at)] == array.reshape(target)[point]


def _constant(rng: np.random.Generator, *shape: int) -> Node:
    return make("constant", (), Literal(rng.normal(size=shape)))


def _taken(x: Node, indices: Any, axis: int) -> Node:
    return make("take", (x, make("constant", (), Literal(np.asarray(indices, np.int64)))), axis)


def _structural(seed: int) -> list[Node]:
    rng = np.random.default_rng(seed)
    x, y = _constant(rng, 3, 4), _constant(rng, 2, 4)
    zero = b.literal(0.5, dtypes.FLOAT64)
    return [
        b.reshape(x, (2, 6)),
        b.permute(_constant(rng, 2, 3, 4), (2, 0, 1)),
        b.broadcast(_constant(rng, 3, 1), (2, 3, 4), (1, 2)),
        b.slice(x, (1, 3), (3, -1), (1, -2)),
        b.slice(x, (0, 1), (3, 4), (2, 2)),
        b.slice(x, (2, 2), (2, 2), (1, 1)),
        b.pad(x, (1, 0), (0, 2), None, 0.5),
        b.pad(x, (-1, 2), (2, -1), (0, 0)),
        b.pad(x, (1, -2), (-1, 3), (1, 2)),
        make("pad", (x, zero), (-2, -3), (-1, 0), (2, 1)),
        b.pad(_constant(rng, 0, 2), (2, 0), (1, 0), (3, 0)),
        make("concat", (x, y, x), 0),
        make("concat", (x, _constant(rng, 3, 0), _constant(rng, 3, 2)), 1),
        _taken(x, [2, 0, 2], 0),
        _taken(x, [[1, 3], [0, 0]], 1),
        _taken(x, 2, 1),
        make("stop_gradient", (x,)),
        make("copy", (x,)),
        make("hook", (x,), Token("mark")),
        make("after", (x, x)),
        make("diagonal", (_constant(rng, 2, 3, 3),)),
        make("diagonal", (_constant(rng, 0, 0),)),
        windows(_constant(rng, 2, 6, 7), (2, 3), (2, 1), (1, 2), (3, 2)),
        windows(_constant(rng, 0, 9), (3,), (3,), (2,), (2,)),
        make("carry", (x, x, x)),
    ]


def test_every_structural_operation_has_a_case() -> None:
    structural = {name for name, op in OPS.items() if op.kind == "structural"}
    assert structural <= {node.op.name for node in _structural(0)}


@pytest.mark.parametrize("number", range(len(_structural(0))))
def test_index_maps_are_what_numpy_computes(number: int) -> None:
    node = _structural(number)[number]
    operands = interp.evaluate(node.inputs, {})
    (expected,) = interp.evaluate([node], {})
    arrays = dict(zip(node.inputs, operands, strict=True))
    variables = [IVar(f"i{k}", n) for k, n in enumerate(node.shape)]
    assert node.op.access is not None
    accesses = node.op.access(node, tuple(index.of(v) for v in variables))
    for point in np.ndindex(*expected.shape):
        here = dict(zip(variables, point, strict=True))
        chosen = next(a for a in accesses if holds(a, here, arrays))
        at = tuple(value(i, here, arrays) for i in chosen.index)
        array = operands[chosen.operand]
        assert all(0 <= i < n for i, n in zip(at, array.shape, strict=True))
        assert array[at] == expected[point]


def _contractions() -> list[tuple[str, Node]]:
    rng = np.random.default_rng(1)

    def conv(length: int, taps: int, stride: int, dilation: int, pad: int) -> Node:
        x, w = _constant(rng, 2, 3, length), _constant(rng, 4, 3, taps)
        out = (length + 2 * pad - dilation * (taps - 1) - 1) // stride + 1
        window = (((2, stride), (4, dilation)), -pad, 1)
        return contract(
            x, w, (2, 4, out, 3, taps), 3,
            ((((0, 1),), 0, 1), (((3, 1),), 0, 1), window),
            ((((1, 1),), 0, 1), (((3, 1),), 0, 1), (((4, 1),), 0, 1)),
        )  # fmt: skip

    one = (((0, 1),), 0, 1)
    return [
        ("matmul", contract(_constant(rng, 2, 3), _constant(rng, 3, 4), (2, 4, 3), 2,
            (one, (((2, 1),), 0, 1)), ((((2, 1),), 0, 1), (((1, 1),), 0, 1)))),
        ("conv", conv(7, 3, 1, 1, 1)),
        ("strided", conv(8, 3, 2, 1, 1)),
        ("dilated", conv(9, 2, 1, 3, 2)),
        ("strided-dilated", conv(11, 3, 3, 2, 2)),
        ("dot", contract(_constant(rng, 5), _constant(rng, 5), (5,), 0, (one,), (one,))),
    ]  # fmt: skip


def _brute_force(node: Node) -> Any:
    """The contraction as its definition reads."""
    extents, n_out = node["extents"], node["n_out"]
    arrays = interp.evaluate(node.inputs, {})
    variables = [IVar(f"i{k}", n) for k, n in enumerate(extents)]
    accesses = loads(node, variables)
    result = np.zeros(extents[:n_out])
    for point in np.ndindex(*extents):
        here = dict(zip(variables, point, strict=True))
        factors = [
            array[tuple(value(i, here, {}) for i in a.index)] if holds(a, here, {}) else 0.0
            for a, array in zip(accesses, arrays, strict=True)
        ]
        result[point[:n_out]] += factors[0] * factors[1]
    return result


@pytest.mark.parametrize("name", [name for name, _ in _contractions()])
def test_contractions_and_their_transposes(name: str) -> None:
    node = dict(_contractions())[name]
    (expected,) = interp.evaluate([node], {})
    np.testing.assert_allclose(_brute_force(node), expected, atol=1e-12)
    rng = np.random.default_rng(2)
    g = make("constant", (), Literal(rng.normal(size=node.shape)))
    for wrt in range(2):
        transposed = _transpose(node, g, wrt)
        verify_program(Program("t", (), (transposed,)))
        (found,) = interp.evaluate([transposed], {})
        np.testing.assert_allclose(_brute_force(transposed), found, atol=1e-12)
        # ⟨g, C(v)⟩ = ⟨Cᵀ(g), v⟩ for every direction v.
        direction = make("constant", (), Literal(rng.normal(size=node.inputs[wrt].shape)))
        pair = [direction if k == wrt else x for k, x in enumerate(node.inputs)]
        values = interp.evaluate([make(node.op, pair, *node.attrs), g, direction], {})
        np.testing.assert_allclose(np.sum(values[0] * values[1]), np.sum(found * values[2]), atol=1e-10)
