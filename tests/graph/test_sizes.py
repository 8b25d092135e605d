"""Extents against integers."""

from __future__ import annotations

import random

import pytest

from adjoint.errors import ShapeError
from adjoint.graph import sizes
from adjoint.graph.sizes import Dim, Extent

DIMS = [Dim("p"), Dim("q"), Dim("r", max=9)]


def _random(rng: random.Random, depth: int, values: dict[Dim, int]) -> tuple[Extent, int]:
    """An extent and the integer that it stands for."""
    if depth == 0:
        if rng.random() < 0.5:
            n = rng.randint(0, 5)
            return n, n
        dim = rng.choice(DIMS)
        return dim, values[dim]
    (a, x), (c, y) = _random(rng, depth - 1, values), _random(rng, depth - 1, values)
    kind = rng.choice(["add", "sub", "mul", "div"])
    if kind == "add":
        return sizes.add(a, c), x + y
    if kind == "sub":
        return sizes.add(a, sizes.mul(c, -1)), x - y
    if kind == "mul":
        return sizes.mul(a, c), x * y
    divisor = rng.choice([1, 2, 3, rng.choice(DIMS)])
    return sizes.floordiv(a, divisor), x // sizes.evaluate(divisor, values)


@pytest.mark.parametrize("seed", range(300))
def test_arithmetic_is_that_of_integers(seed: int) -> None:
    rng = random.Random(seed)
    values = {d: rng.randint(1, 9) for d in DIMS}
    extent, expected = _random(rng, 3, values)
    assert sizes.evaluate(extent, values) == expected
    assert set(sizes.dims_of(extent)) <= set(DIMS)


@pytest.mark.parametrize("seed", range(100))
def test_lower_bound_holds_where_extents_are_not_negative(seed: int) -> None:
    rng = random.Random(seed)
    values = {d: rng.randint(1, 9) for d in DIMS}
    extent, value = _random(rng, 3, values)
    if value >= 0:
        assert sizes.lower_bound(extent) <= value


def test_normal_form_makes_equal_extents_identical() -> None:
    p, q, _ = DIMS
    assert (p + q) * 2 is q * 2 + p * 2
    assert (p + 1) * (p - 1) is p * p - 1
    assert sizes.floordiv(p * q * 6, p * 2) is q * 3
    assert p - p == 0
    assert sizes.floordiv(p + 1, 2) is sizes.floordiv(1 + p, 2)


def test_dims_of_one_name_and_different_bounds_stay_apart() -> None:
    a, c = Dim("z", max=4), Dim("z", max=5)
    assert a is not c
    assert sizes.mul(a, c) is sizes.mul(c, a)
    assert sizes.add(a, c) is sizes.add(c, a)


def test_rejected_dims() -> None:
    with pytest.raises(ShapeError):
        Dim("no name")
    with pytest.raises(ShapeError):
        Dim("p", min=3, max=2)
