"""Random programs and their gradients: compiled code against the interpreter and against finite differences."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from randgraph import Case, random_case

from adjoint.autodiff.reverse import vjp
from adjoint.graph import build as b
from adjoint.graph import interp
from adjoint.graph.program import Program
from adjoint.lower.options import Options


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


@pytest.mark.parametrize("seed", range(30))
def test_small_programs(seed: int) -> None:
    case = random_case(seed, size=20)
    oracle.check(case.program, case.values, case.dims)


@pytest.mark.parametrize("seed", range(1000, 1015))
def test_programs_beyond_a_vector(seed: int) -> None:
    case = random_case(seed, size=20, extents=(1, 2, 7, 16, 33))
    oracle.check(case.program, case.values, case.dims)


@pytest.mark.parametrize("seed", range(2000, 2008))
def test_everything_recomputed(seed: int) -> None:
    case = random_case(seed, size=20)
    oracle.check(case.program, case.values, case.dims, options=Options(recompute="all"))


def with_gradients(case: Case) -> Program | None:
    """The program, its outputs followed by the gradients of their sums; None where no gradient exists."""
    p = case.program
    ys = [y for y in p.outputs if y.dtype.kind == "f"]
    xs = [x for x in (*p.inputs, *p.variables) if x.dtype.kind == "f"]
    found = [g for g in vjp(ys, xs, [b.full(1, y.shape, y.dtype) for y in ys]) if g is not None]
    return Program(p.name, p.inputs, (*p.outputs, *found), p.updates) if found else None


@pytest.mark.parametrize("seed", range(3000, 3020))
def test_gradients(seed: int) -> None:
    case = random_case(seed, extents=(1, 3, 18))
    program = with_gradients(case)
    if program is not None:
        oracle.check(program, case.values, case.dims)


def test_gradients_against_differences() -> None:
    """Slopes along a random direction, for programs that are smooth there; compiled as one function."""
    rng = np.random.default_rng(5)
    compared = 0
    for seed in range(4000, 4040):
        case = random_case(seed, size=10, dims=False, dtypes_used=("float64",))
        ys = [y for y in case.program.outputs if y.dtype.kind == "f"]
        xs = [x for x in (*case.program.inputs, *case.program.variables) if x.dtype.kind == "f"]
        gradients = vjp(ys, xs, [b.full(1, y.shape, y.dtype) for y in ys]) if ys else []
        if all(g is None for g in gradients):
            continue
        directions = [rng.normal(size=case.values[x].shape) for x in xs]

        def total(step: float, case: Case = case, ys: list = ys, xs: list = xs, directions: list = directions) -> float:  # type: ignore[type-arg]
            moved = {x: case.values[x] + step * d for x, d in zip(xs, directions, strict=True)}
            with np.errstate(all="ignore"):
                return float(sum(np.sum(v) for v in interp.evaluate(ys, case.values | moved)))

        slopes = [(total(h) - total(-h)) / (2 * h) for h in (1e-5, 3e-6)]
        scale = max(1.0, abs(slopes[0]))
        if not np.isfinite(slopes).all() or abs(slopes[0] - slopes[1]) > 1e-6 * scale:
            continue  # a kink within a step, or values too large for differences
        names = [k for k, g in enumerate(gradients) if g is not None]
        program = Program("slopes", case.program.inputs, tuple(gradients[k] for k in names))
        values = case.values | {v: v["token"].storage.array for v in program.variables if v not in case.values}
        results = oracle.run(program, values)
        slope = sum(float(np.sum(g * directions[k])) for k, g in zip(names, results, strict=True))
        assert abs(slope - slopes[1]) <= 2e-5 * scale, seed
        compared += 1
    assert compared >= 20
