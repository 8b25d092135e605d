"""Printed expressions evaluated back: random trees as C, in one file, against the op table's NumPy."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adjoint.codegen.kernel import KernelPrinter
from adjoint.codegen.prelude import prelude
from adjoint.graph import index
from adjoint.graph.dtypes import ALL, BOOL, FLOAT32, FLOAT64, INT32, INT64, UINT8, DType
from adjoint.graph.index import Guard, Index, IVar
from adjoint.graph.table import OPS
from adjoint.lower.ir import Buf, Const, Expr, Guarded, IndexValue, Kernel, Load, Loop, Op, Reduce, Stmt, Store
from adjoint.lower.ir import expressions as subexpressions
from adjoint.lower.rows import identity_of
from adjoint.lower.verify import verify_kernel
from adjoint.runtime.target import resolve_target

Array = np.ndarray[Any, Any]
ROWS = 24
TREES = 400
REDUCTIONS = 200
NAMES = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "select": "where",
         "lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal", "and": "logical_and", "or": "logical_or",
         "not": "logical_not", "cvt": "cast"}  # fmt: skip
CONSTANTS: dict[DType, list[Any]] = {
    FLOAT32: [0.0, -0.0, 1.0, -1.0, 0.1, -2.5, 1e-40, -3e38, 16777216.0, np.inf, -np.inf, np.nan],
    FLOAT64: [0.0, -0.0, 1.0, -1.0, 0.1, -2.5, 1e-310, -1e308, np.inf, -np.inf, np.nan],
    INT32: [0, 1, -1, 7, -13, 2**31 - 1, -(2**31)],
    INT64: [0, 1, -1, -13, 2**31, -(2**31), 10**12, -(10**12), 2**63 - 1, -(2**63)],
    UINT8: [0, 1, 200, 255],
    BOOL: [False, True],
}


def rows_of(dtype: DType, rng: np.random.Generator) -> Array:
    if dtype == BOOL:
        return rng.random(ROWS) < 0.5
    if dtype.kind == "f":
        values = (rng.integers(-24, 24, ROWS) / 4).astype(dtype)
        values[rng.integers(0, ROWS, 3)] = [np.inf, np.nan, -0.0]
        return values
    return rng.integers(0 if dtype == UINT8 else -9, 10, ROWS).astype(dtype)


class Trees:
    """Random expressions of one loop over rows, and what NumPy makes of them, a value for every row."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.row = IVar("row", ROWS)
        self.at = (index.of(self.row),)
        self.data = {Buf(f"{d.name}_{k}", d, (ROWS,), "arg"): rows_of(d, self.rng) for d in ALL for k in range(2)}
        self.positions = np.arange(ROWS)

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def guards(self) -> tuple[Guard, ...]:
        at: Index = index.add(index.scale(self.at[0], self.pick([1, 2, -1])), self.pick([0, -5, 3, -20]))
        guards = [Guard(at, self.pick([1, 7, 15])), Guard(at, divisor=self.pick([2, 3]))]
        return tuple(guards[: self.pick([1, 2])]) if self.rng.random() < 0.8 else tuple(guards[1:])

    def expr(self, dtype: DType, depth: int) -> Expr:
        if depth == 0 or self.rng.random() < 0.1:
            return self.leaf(dtype)
        kind = self.rng.random()
        if kind < 0.12:
            return Guarded(self.guards(), self.expr(dtype, depth - 1), self.expr(dtype, depth - 1), dtype)
        if kind < 0.24:
            source = self.pick(ALL)
            return Op("cvt", (self.expr(source, depth - 1),), dtype, source)
        if kind < 0.36:
            parts = tuple(self.expr(d, depth - 1) for d in (BOOL, dtype, dtype))
            return Op("select", parts, dtype)
        if dtype == BOOL:
            if self.rng.random() < 0.5:
                name = self.pick(["and", "or", "not"])
                return Op(name, tuple(self.expr(BOOL, depth - 1) for _ in range(1 if name == "not" else 2)), BOOL)
            source = self.pick(ALL)
            return Op(self.pick(["lt", "le", "eq", "ne"]), (self.expr(source, depth - 1), self.expr(source, depth - 1)),
                      BOOL)
        name = self.pick(["add", "sub", "mul", "neg", *(["div"] if dtype.kind == "f" else [])])
        return Op(name, tuple(self.expr(dtype, depth - 1) for _ in range(1 if name == "neg" else 2)), dtype)

    def leaf(self, dtype: DType) -> Expr:
        kind = self.rng.random()
        if kind < 0.35:
            return Const(self.pick(CONSTANTS[dtype]), dtype)
        if kind < 0.45 and dtype in (INT32, INT64):
            return IndexValue(index.add(index.scale(self.at[0], self.pick([1, 3, -2])), self.pick([0, -4])), dtype)
        buf = self.pick([b for b in self.data if b.dtype == dtype])
        if kind < 0.65:
            return Load(buf, self.at, dtype, self.guards(), self.leaf(dtype))
        return Load(buf, self.at, dtype)

    def holds(self, guards: tuple[Guard, ...]) -> Array:
        result = np.ones(ROWS, bool)
        for g in guards:
            at = self.number(g.index)
            result &= at % g.divisor == 0 if g.divisor is not None else (at >= 0) & (at < g.size)
        return result

    def number(self, i: Index) -> Array:
        return np.asarray(sum((c * self.positions for _, c in i.terms), np.zeros(ROWS, np.int64) + i.const))

    def value(self, root: Expr) -> Array:
        """What the op table says, so that no second definition of its meaning exists."""
        memo: dict[int, Array] = {}
        for e in subexpressions([root]):
            if isinstance(e, Const):
                found = np.full(ROWS, e.value, e.dtype)
            elif isinstance(e, IndexValue):
                found = self.number(e.index).astype(e.dtype)
            elif isinstance(e, Load):
                found = self.data[e.buf]
                if e.fill is not None:
                    found = np.where(self.holds(e.guards), found, memo[id(e.fill)])
            elif isinstance(e, Guarded):
                found = np.where(self.holds(e.guards), memo[id(e.expr)], memo[id(e.fill)])
            else:
                assert isinstance(e, Op)
                evaluate = OPS[NAMES[e.name]].evaluate
                assert evaluate is not None
                node: Any = SimpleNamespace(dtype=e.dtype)
                found = np.asarray(evaluate(node, [memo[id(a)] for a in e.args], (ROWS,)))
            assert found.dtype == e.dtype, e
            memo[id(e)] = found
        return memo[id(root)]

    def kernel(self, name: str, out: Buf, body: list[Stmt], registers: list[Buf]) -> Kernel:
        return Kernel(name, [*self.data, out], {out}, 1, body, registers=registers)


def bits(a: Array) -> Array:
    """Equal where the bits are; all NaN are one."""
    return np.where(np.isnan(a), np.nan, a).view(f"u{a.dtype.itemsize}") if a.dtype.kind == "f" else a


def run(trees: Trees, kernels: list[Kernel], folder: Path) -> list[Array]:
    """Prints, compiles and calls kernels; the rows that each leaves in its last parameter."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    target = resolve_target("generic")
    printed = []
    for kernel in kernels:
        verify_kernel(kernel)
        printed.append(KernelPrinter(kernel, {}, {}).print_function())
    texts = [f.named(f.kernel.name, [b.name for b in f.kernel.params]).replace("$static$", "") for f in printed]
    needs, types = (frozenset().union(*(getattr(f, part) for f in printed)) for part in ("needs", "types"))
    source, library = folder / "trees.c", folder / "trees.so"
    source.write_text(prelude(needs, target, types) + "\n".join(texts))
    flags = ["-std=c99", "-O1", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared"]
    done = subprocess.run([compiler, *flags, "-o", library, source, "-lm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    loaded, results = ctypes.CDLL(str(library)), []
    for kernel in kernels:
        out = np.zeros(kernel.params[-1].shape, kernel.params[-1].dtype)  # type: ignore[arg-type]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*trees.data.values(), out)]
        getattr(loaded, kernel.name)(*pointers, ctypes.c_int64(0), ctypes.c_int64(1))
        results.append(out)
    return results


def check(trees: Trees, kernels: list[Kernel], wanted: list[Array], folder: Path) -> None:
    for kernel, want, got in zip(kernels, wanted, run(trees, kernels, folder), strict=True):
        text = KernelPrinter(kernel, {}, {}).print_function().text
        np.testing.assert_array_equal(bits(got), bits(want), err_msg=text)


def test_trees_mean_what_they_print(tmp_path: Path) -> None:
    trees = Trees(5)
    kernels, wanted = [], []
    with np.errstate(all="ignore"):
        for k in range(TREES):
            dtype = ALL[k % len(ALL)]
            root = trees.expr(dtype, 1 + k // len(ALL) % 5)
            out = Buf("out", dtype, (ROWS,), "arg")
            body: list[Stmt] = [Loop(trees.row, index.ZERO, index.of(ROWS), "seq", [Store(out, trees.at, root)])]
            kernels.append(trees.kernel(f"tree{k}", out, body, []))
            wanted.append(trees.value(root))
    check(trees, kernels, wanted, tmp_path)


def folded(combine: str, start: Any, values: list[Array], step: Callable[[Any, Any], Any]) -> Any:
    total = start
    for row in zip(*values, strict=True):
        total = step(total, row[0]) if combine != "fma" else total + row[0] * row[1]
    return total


@pytest.mark.parametrize("home", ["register", "memory"])
def test_reductions_of_trees(home: str, tmp_path: Path) -> None:
    """The target of a sum stands in front of the printed value: `acc + (c ? a : b)`, `acc + (a - b)`."""
    trees = Trees(7)
    kernels, wanted = [], []
    with np.errstate(all="ignore"):
        for k in range(REDUCTIONS):
            combine, depth = ("add", "max", "fma", "mul")[k % 4], 1 + k // 4 % 4
            dtype = trees.pick([FLOAT32, FLOAT64] if combine == "fma" else [FLOAT32, FLOAT64, INT32, INT64])
            parts = tuple(trees.expr(dtype, depth) for _ in range(2 if combine == "fma" else 1))
            value = Op("pair", parts, dtype) if combine == "fma" else parts[0]
            zero = identity_of(combine, dtype)
            out = Buf("out", dtype, (1,), "arg")
            acc, at = (Buf("acc", dtype, (), "register"), ()) if home == "register" else (out, (index.ZERO,))
            loop = Loop(trees.row, index.ZERO, index.of(ROWS), "seq", [Reduce(acc, at, combine, value)])
            body: list[Stmt] = [Store(acc, at, zero), loop]
            if home == "register":
                body.append(Store(out, (index.ZERO,), Load(acc, (), dtype)))
            kernels.append(trees.kernel(f"reduction{k}", out, body, [acc] if home == "register" else []))
            step = {"add": np.add, "mul": np.multiply}.get(combine, np.maximum)
            start = np.asarray(zero.value, dtype)[()]
            wanted.append(np.array([folded(combine, start, [trees.value(p) for p in parts], step)], dtype))
    check(trees, kernels, wanted, tmp_path)


def test_positions_of_the_greatest(tmp_path: Path) -> None:
    trees = Trees(9)
    kernels, wanted = [], []
    with np.errstate(all="ignore"):
        for k in range(REDUCTIONS // 4):
            dtype = trees.pick([FLOAT32, FLOAT64, INT32, INT64, UINT8])
            root = trees.expr(dtype, 1 + k % 4)
            out = Buf("out", INT64, (1,), "arg")
            best, where = Buf("best", dtype, (), "register"), Buf("where", INT64, (), "register")
            reduce = Reduce(best, (), "argmax", root, where, trees.at[0])
            body: list[Stmt] = [
                Store(best, (), identity_of("max", dtype)), Store(where, (), Const(-1, INT64)),
                Loop(trees.row, index.ZERO, index.of(ROWS), "seq", [reduce]),
                Store(out, (index.ZERO,), Load(where, (), INT64)),
            ]  # fmt: skip
            kernels.append(trees.kernel(f"position{k}", out, body, [best, where]))
            wanted.append(np.array([np.argmax(trees.value(root))]))
    check(trees, kernels, wanted, tmp_path)
