"""Every operation of the table, for every dtype it takes, in many shapes: compiled against the interpreter."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import oracle
import pytest

from adjoint.graph import build as b
from adjoint.graph import interp, sequence
from adjoint.graph.contraction import contract, plain
from adjoint.graph.dtypes import BOOL, FLOAT32, FLOAT64, INT32, INT64, UINT8
from adjoint.graph.node import Literal, Node, Token, make
from adjoint.graph.program import Program
from adjoint.graph.sizes import Dim
from adjoint.graph.storage import Storage
from adjoint.graph.table import OPS
from adjoint.graph.views import windows

DTYPES = {"f": [FLOAT32, FLOAT64], "i": [INT32, INT64], "u": [UINT8], "b": [BOOL]}
ALL = [d for found in DTYPES.values() for d in found]
# Scalars, nothing, extents of 1 in every place, sizes around 4, 8, 16 and 32 lanes, and a few axes.
SHAPES: list[Any] = [
    (), (1,), (0,), (3,), (16,), (37,), (1, 5), (5, 1), (3, 0), (7, 9), (2, 33), (2, 3, 5), (1, 1, 4), (4, 1, 1),
]  # fmt: skip
N = Dim("n", min=0)
SIZED: list[Any] = [(N,), (N, 3), (3, N), (2, N, 5)]
HARD = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, 3e38, -1e-38, 0.5, -7.5, 1e5, 87.0, -104.0, 2.0]
ULPS = {FLOAT32: 3, FLOAT64: 4}  # vector math is within 2, the interpreter's NumPy within 1
# Sums of terms that may cancel: relative to the value, what is promised for them in float64.
PROMISED = dict.fromkeys(("lgamma", "digamma", "polygamma"), 1e-13)
COVERED_ELSEWHERE = {
    *("hook", "after", "call"),  # in tests of gradients, checkpoints and custom rules
    *("extent", "input", "variable", "param", "check_index", "fma"),
    *("scan", "while", "cond", "item"),
}


class Builder:
    """One program with many outputs, so that the C compiler starts once."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(11)
        self.inputs: list[Node] = []
        self.values: dict[Node, Any] = {}
        self.outputs: list[Node] = []

    def leaf(self, shape: Any, dtype: Any, low: float = -2, high: float = 2, n: int = 0, hard: bool = False) -> Node:
        node = make("input", (), Token(f"x{len(self.inputs)}"), shape, dtype)
        self.inputs.append(node)
        self.values[node] = self.array(node, low, high, n, hard)
        return node

    def array(self, node: Node, low: float, high: float, n: int, hard: bool) -> Any:
        shape = tuple(n if e is N else e for e in node.shape)
        if node.dtype == BOOL:
            return self.rng.integers(0, 2, shape).astype(bool)
        if node.dtype.kind == "f":
            if hard:
                return self.rng.choice(np.array(HARD, node.dtype), shape)
            return self.rng.uniform(low, high, shape).astype(node.dtype)
        info = np.iinfo(node.dtype)
        small = self.rng.integers(max(info.min, -9), 10, shape)
        large = self.rng.choice(np.array([info.min, info.max, 0, 1, info.max - 1], node.dtype), shape)
        return np.where(self.rng.random(shape) < 0.7, small, large).astype(node.dtype)

    def add(self, node: Node) -> None:
        if node not in self.outputs:
            self.outputs.append(node)

    def program(self) -> Program:
        return Program("table", tuple(self.inputs), tuple(self.outputs))


def elementwise(kind: str) -> list[str]:
    return [
        n for n, op in OPS.items()
        if op.kind == "elementwise" and kind in op.kinds and n not in COVERED_ELSEWHERE and n != "cast"
    ]  # fmt: skip


def check_elementwise(build: Builder, dims: Any = None, **how: Any) -> None:
    program = build.program()
    want = interp.evaluate(program.outputs, build.values, dims)
    wide = interp.evaluate(program.outputs, build.values, dims, "float64")
    results = oracle.run(program, build.values, **how)
    for node, x, reference, got in zip(program.outputs, want, wide, results, strict=True):
        assert (got.dtype, got.shape) == (x.dtype, x.shape), node
        if x.dtype.kind != "f":
            np.testing.assert_array_equal(got, x, err_msg=repr(node))
            continue
        with np.errstate(all="ignore"):
            rounded = np.asarray(reference).astype(x.dtype)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded), err_msg=repr(node))
            number = ~np.isnan(rounded)
            allowed = ULPS[node.dtype] * np.spacing(np.abs(rounded))
            if node.op.name in PROMISED and node.dtype == FLOAT64:
                allowed = PROMISED[node.op.name] * np.abs(rounded)
            close = np.abs(got.astype(np.float64) - reference) <= allowed
            bad = number & ~(close | (got == rounded))
        if bad.any():
            at = tuple(np.argwhere(bad)[0])
            operands = [build.values[i][at] if i in build.values else "…" for i in node.inputs]
            raise AssertionError(f"{node} of {operands}: got {got[at]!r}, want {reference[at]!r}")


def operands(build: Builder, name: str, shape: Any, dtype: Any, n: int = 0, hard: bool = False) -> list[Node]:
    op = OPS[name]
    return [
        build.leaf(shape, BOOL if name == "where" and k == 0 else dtype, low, high, n, hard)
        for k, (low, high) in enumerate(op.samples)
    ]


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_elementwise(dtype: Any) -> None:
    build = Builder()
    for shape in SHAPES:
        leaves = [build.leaf(shape, dtype, 0.3, 2) for _ in range(3)] + [build.leaf(shape, BOOL)]
        for name in elementwise(dtype.kind):
            own = (
                [leaves[3], *leaves[:2]] if name == "where"
                else operands(build, name, shape, dtype) if shape == (37,) else leaves[: OPS[name].arity]
            )
            build.add(make(name, own, *OPS[name].sample_attrs))
    check_elementwise(build)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_elementwise_at_hard_values(dtype: Any) -> None:
    build = Builder()
    for name in elementwise("f"):
        build.add(make(name, operands(build, name, (301,), dtype, hard=True), *OPS[name].sample_attrs))
    check_elementwise(build)


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("n", [0, 1, 17, 40])
def test_elementwise_of_a_run_time_size(dtype: Any, n: int) -> None:
    build = Builder()
    for shape in SIZED:
        leaves = [build.leaf(shape, dtype, 0.3, 2, n) for _ in range(3)] + [build.leaf(shape, BOOL, n=n)]
        for name in elementwise(dtype.kind):
            own = [leaves[3], *leaves[:2]] if name == "where" else leaves[: OPS[name].arity]
            build.add(make(name, own, *OPS[name].sample_attrs))
    check_elementwise(build, {N: n})


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_broadcast_operands(dtype: Any) -> None:
    """Operands of lower rank, unit extents and single elements on either side."""
    build = Builder()
    for shape in [(37,), (3, 19), (2, 3, 5), (4, 1)]:
        rank = len(shape)
        full = build.leaf(shape, dtype, 0.3, 2)
        parts = [(b.broadcast(build.leaf((), dtype, 0.3, 2), shape, ()))]
        parts += [b.broadcast(build.leaf((shape[k],), dtype, 0.3, 2), shape, (k,)) for k in range(rank)]
        unit = tuple(1 if k == rank - 1 else e for k, e in enumerate(shape))
        parts.append(b.broadcast(build.leaf(unit, dtype, 0.3, 2), shape, range(rank)))
        parts.append(b.full(2 if dtype != BOOL else True, shape, dtype))
        for name in ("add", "subtract", "less", "maximum", "logical_or", "where"):
            op = OPS[name]
            if dtype.kind not in op.kinds:
                continue
            for part in parts:
                lead = [b.broadcast(build.leaf((shape[-1],), BOOL), shape, (rank - 1,))] if name == "where" else []
                build.add(make(name, [*lead, full, part]))
                build.add(make(name, [*lead, part, full]))
                build.add(make(name, [*lead, part, parts[0]]))
    check_elementwise(build)


def test_casts() -> None:
    build = Builder()
    for source in ALL:
        for shape in [(), (37,), (3, 5)]:
            x = build.leaf(shape, source, -300, 300)
            hard = build.leaf((64,), source, hard=True)
            for to in ALL:
                build.add(b.cast(x, to))
                build.add(b.cast(hard, to))
    check_elementwise(build)


@pytest.mark.parametrize("n", [1, 2, 23])
def test_reductions(n: int) -> None:
    """Over every set of axes; with expressions inside, and of a run-time size."""
    build = Builder()
    for dtype in (FLOAT32, FLOAT64, INT32, INT64, UINT8):
        for shape in [*SHAPES[3:8], *SHAPES[9:], (N,), (4, N), (N, 6)]:
            x = build.leaf(shape, dtype, n=n)
            for mask in range(1, 2 ** len(shape)):
                axes = tuple(k for k in range(len(shape)) if mask >> k & 1)
                for name in ("sum", "prod", "max", "argmax"):
                    if name in ("sum", "prod") or not any(shape[a] is N for a in axes):
                        build.add(make(name, (x,), axes))
            build.add(make("sum", (make("multiply", (x, x)),), (len(shape) - 1,)))
    nothing = build.leaf((3, 0), FLOAT32)
    build.add(make("sum", (nothing,), (1,)))
    build.add(make("sum", (nothing,), (0,)))
    build.add(make("prod", (nothing,), (1,)))
    check_sums(build, {N: n})


@pytest.mark.parametrize("shape", [(3, 4, 5), (N, 4, 21), (300, 3, N)], ids=str)
def test_reductions_of_one_computed_array(shape: Any) -> None:
    """Over any two sets of axes, the array itself stored or not: kernels share loops as far as orders of sums allow."""
    build = Builder()
    sets = [axes for k in (1, 2, 3) for axes in combinations(range(3), k)]
    for pair in combinations(sets, 2):
        for name in ("sum", "max"):
            x = build.leaf(shape, FLOAT32, n=40)
            build.values[x] = np.rint(8 * build.values[x])  # sums are exact in any order
            y = make("abs", (x,))
            for axes in pair:
                # Extents may be 0 for the table's sake, and of nothing there is no maximum.
                build.add(make("sum" if any(shape[a] is N for a in axes) else name, (y,), axes))
            if name == "sum":
                build.add(y)
    check_sums(build, {N: 40})


def check_sums(build: Builder, dims: Any = None) -> None:
    """Sums within rounding of the sum of magnitudes, everything else exactly."""
    program = build.program()
    want = interp.evaluate(program.outputs, build.values, dims)
    wide = interp.evaluate(program.outputs, build.values, dims, "float64")
    magnitudes = interp.evaluate(
        program.outputs, {k: np.abs(v) if v.dtype.kind == "f" else v for k, v in build.values.items()}, dims, "float64"
    )
    results = oracle.run(program, build.values)
    for node, x, reference, size, got in zip(program.outputs, want, wide, magnitudes, results, strict=True):
        assert (got.dtype, got.shape) == (x.dtype, x.shape), node
        if x.dtype.kind != "f" or node.op.combine == "max":
            np.testing.assert_array_equal(got, x, err_msg=f"{node} of {node.inputs}")
        else:
            # A product of n factors is rounded n - 1 times, by up to half a unit each.
            roundings = build.values[node.inputs[0]].size if node.op.name == "prod" else 4
            allowed = roundings * np.finfo(x.dtype).eps * np.abs(size)
            assert (np.abs(got - reference) <= allowed).all(), (node, node.inputs)


def test_extrema_of_special_rows() -> None:
    """Ties go to the first, NaN wins, −inf and −0 are ordinary."""
    inf, nan = np.inf, np.nan
    rows = np.array(
        [[-inf] * 20, [0.0, -0.0] * 10, [1.0] * 20, [nan] * 20, [1.0] * 7 + [nan] + [9.0] * 4 + [nan] + [inf] * 7,
         [inf] * 20, [*range(10), *range(10)], [-1.0] * 19 + [nan]], np.float64,
    )  # fmt: skip
    build = Builder()
    for dtype in (FLOAT32, FLOAT64):
        for at in (rows, rows.T):
            x = build.leaf(at.shape, dtype)
            build.values[x] = at.astype(dtype)
            for axes in [(0,), (1,), (0, 1)]:
                build.add(make("max", (x,), axes))
                build.add(make("argmax", (x,), axes))
    program = build.program()
    for node, want, got in zip(
        program.outputs, interp.evaluate(program.outputs, build.values), oracle.run(program, build.values), strict=True
    ):
        np.testing.assert_array_equal(got, want, err_msg=repr(node))


def structural_cases(build: Builder, dtype: Any) -> None:
    def x(*shape: Any) -> Node:
        return build.leaf(shape, dtype)

    fill = True if dtype == BOOL else 1
    for node in (
        b.reshape(x(6, 5), (5, 6)), b.reshape(x(4, 9), (2, 2, 3, 3)), b.reshape(x(1, 7), (7,)), b.reshape(x(), (1, 1)),
        b.permute(x(5, 33), (1, 0)), b.permute(x(2, 3, 17), (2, 0, 1)), b.permute(x(3, 4, 2, 5), (3, 1, 2, 0)),
        b.broadcast(x(5), (3, 5, 4), (1,)), b.broadcast(x(1, 7), (6, 7), (0, 1)), b.broadcast(x(), (33,), ()),
        make("slice", (x(40),), (3,), (38,), (1,)), make("slice", (x(40),), (39,), (-1,), (-1,)),
        make("slice", (x(7, 40),), (1, 38), (7, 2), (2, -3)), make("slice", (x(9, 3),), (4, 1), (4, 2), (1, 1)),
        b.pad(x(37), (2,), (3,), (0,), fill), b.pad(x(5, 18), (0, 1), (2, -3), (1, 2), 0),
        b.pad(x(5, 18), (-1, -2), (-1, 4), (0, 0), fill), b.pad(x(0), (2,), (1,), (0,), fill),
        make("concat", (x(20), x(1), x(18)), 0), make("concat", (x(3, 5), x(3, 0), x(3, 17)), 1),
        make("concat", (x(2, 33), x(3, 33)), 0), make("stop_gradient", (x(5),)), make("carry", (x(5), x(3), x(3))),
        make("diagonal", (x(7, 7),)), make("diagonal", (x(2, 17, 17),)), make("diagonal", (x(0, 0),)),
        windows(x(2, 6, 19), (2, 3), (2, 1), (1, 2), (3, 15)), windows(x(20), (3,), (4,), (2,), (4,)),
        b.permute(make("concat", (x(4, 1), x(4, 1)), 1), (1, 0)),
        b.reshape(make("concat", (x(4, 3), x(4, 2)), 1), (20,)),
        b.permute(b.pad(x(4, 18), (1, 1), (0, 1), (0, 0), fill), (1, 0)),
    ):  # fmt: skip
        build.add(node)
        if dtype != BOOL:
            build.add(make("maximum", (node, b.zeros_like(node))))
    table, index = x(6, 19), make("constant", (), Literal(np.array([[0, 5, -1], [2, 2, -6]])))
    for axis, extent in ((0, 6), (1, 19)):
        checked = make("check_index", (index,), extent, "take")
        taken = make("take", (table, checked), axis)
        build.add(taken)
        build.add(b.permute(taken, (2, 0, 1)))
        if dtype != BOOL:
            for name in ("scatter_add", "scatter_max", "scatter_multiply"):
                build.add(make(name, (checked, taken), axis, extent))
    if dtype != BOOL:
        for axis in (0, 1):
            build.add(make("iota", (), (5, 37), axis, dtype))
            build.add(make("add", (make("iota", (), (5, 37), axis, dtype), x(5, 37))))
    values = build.array(make("input", (), Token("t"), (5, 21), dtype), -2, 2, 0, False)
    build.add(make("concat", (make("constant", (), Literal(values)), x(5, 2)), 1))
    build.add(make("copy", (x(4),), 1))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_structural(dtype: Any) -> None:
    build = Builder()
    structural_cases(build, dtype)
    check_sums(build)


def sequence_cases(build: Builder, dtype: Any) -> None:
    """Along every axis: alone in it, in lanes of one and several blocks, of a run-time size."""
    for shape in [(1,), (0,), (33,), (5, 1), (1, 5), (7, 9), (3, 0), (2, 3, 5), (6, 300), (4, N), (N, 6), (2, N, 290)]:
        x, a = build.leaf(shape, dtype, n=21), build.leaf(shape, dtype, n=21)
        twice = b.add(x, x)
        for axis in range(len(shape)):
            for name in ("argsort", "running_argmax"):
                build.add(make(name, (x,), axis))
                build.add(make(name, (twice,), axis))
            for reverse in (False, True):
                build.add(sequence.running_sum(x, axis, reverse))
                build.add(sequence.running_product(x, axis, reverse))
                build.add(sequence.recurrence(a, b.mul(twice, x), 3, axis, reverse))
    for keys in ((1,), (0,), (40,), (N,)):
        leaf = build.leaf(keys, dtype, n=21)
        build.values[leaf] = np.sort(build.values[leaf])
        for shape in [(), (7,), (3, 50), (N, 2)]:
            for right in (False, True):
                build.add(make("searchsorted", (leaf, build.leaf(shape, dtype, n=21)), right))


@pytest.mark.parametrize("dtype", ALL[:-1], ids=str)
def test_sequences(dtype: Any) -> None:
    """To the bit: what goes in order has one order of rounding."""
    build = Builder()
    sequence_cases(build, dtype)
    program = build.program()
    want = interp.evaluate(program.outputs, build.values, {N: 21})
    for node, x, got in zip(program.outputs, want, oracle.run(program, build.values), strict=True):
        assert (got.dtype, got.shape) == (x.dtype, x.shape), node
        np.testing.assert_array_equal(got, x, err_msg=f"{node} of {node.inputs}")
        if x.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(got), np.signbit(x), err_msg=f"{node} of {node.inputs}")


def test_the_table_is_covered() -> None:
    build = Builder()
    for dtype in ALL:
        structural_cases(build, dtype)
    sequence_cases(build, FLOAT32)
    used = {n.op.name for n in build.outputs} | {i.op.name for n in build.outputs for i in n.inputs}
    used |= {i.op.name for n in build.outputs for m in n.inputs for i in m.inputs} | COVERED_ELSEWHERE
    used |= {n for kind in DTYPES for n in elementwise(kind)} | {"cast", "sum", "prod", "max", "argmax", "contract"}
    assert used >= set(OPS)


def test_contractions_of_other_forms() -> None:
    """Outer products, sums over several labels, diagonals, windows with strides, dilation, padding and division."""
    build = Builder()
    for dtype in (FLOAT32, FLOAT64):
        a, c, v = build.leaf((5, 7), dtype), build.leaf((7, 3), dtype), build.leaf((7,), dtype)
        square, line = build.leaf((7, 7), dtype), build.leaf((33,), dtype)
        build.add(contract(v, v, (7, 7), 2, (plain(0),), (plain(1),)))
        build.add(contract(v, v, (7,), 0, (plain(0),), (plain(0),)))
        build.add(contract(a, c, (5, 3, 7), 2, (plain(0), plain(2)), (plain(2), plain(1))))
        build.add(contract(a, a, (5, 7), 0, (plain(0), plain(1)), (plain(0), plain(1))))
        build.add(contract(square, v, (7,), 1, (plain(0), plain(0)), (plain(0),)))
        build.add(contract(square, square, (7, 7), 1, (plain(0), plain(1)), (plain(1), plain(0))))
        for stride, dilation, pad in ((1, 1, 0), (2, 1, 1), (1, 3, 2), (3, 2, 4)):
            taps = build.leaf((4,), dtype)
            n = (33 + 2 * pad - dilation * 3 - 1) // stride + 1
            build.add(contract(line, taps, (n, 4), 1, ((((0, stride), (1, dilation)), -pad, 1),), (plain(1),)))
            # Its transpose: the gradient of the line, where positions must divide by the stride.
            out = build.leaf((n,), dtype)
            build.add(contract(out, taps, (33, 4), 1, ((((0, 1), (1, -dilation)), pad, stride),), (plain(1),)))
    check_sums(build)


def test_variables_and_constants_as_results() -> None:
    """Outputs that are inputs, variables, constants and one another; updates from other variables' old values."""
    x = make("input", (), Token("x"), (3,), FLOAT32)
    v, w = (make("variable", (), Token(n, Storage(np.zeros(3, np.float32))), (3,), FLOAT32) for n in "vw")
    constant = make("constant", (), Literal(np.arange(3, dtype=np.float32)))
    total = make("add", (x, v))
    program = Program("f", (x,), (x, v, constant, total, total, b.full(2.0, (3,), FLOAT32), x), ((v, w), (w, total)))
    values = {x: np.array([1, 2, 3], np.float32), v: np.array([5, 6, 7], np.float32), w: np.ones(3, np.float32)}
    for want, got in zip(interp.evaluate(program.roots, values), oracle.run(program, values), strict=True):
        np.testing.assert_array_equal(got, want)
