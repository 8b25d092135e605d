"""Matrix products and convolutions of every size around tile and lane boundaries."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph import interp
from adjoint.graph.program import Program

EDGES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 64, 100]


class Sweep:
    """Many products in one program; every result within rounding of the products' magnitudes."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.rng = np.dtype(dtype), np.random.default_rng(1)
        self.known: dict[tuple[int, ...], ad.Array] = {}
        self.values: dict[Any, Any] = {}
        self.outputs: list[Any] = []

    def array(self, *shape: int) -> ad.Array:
        """One input per shape: operands are shared between products."""
        if shape not in self.known:
            x = self.known[shape] = ad.input("x" + "_".join(map(str, shape)), shape, self.dtype)
            self.values[x.node] = self.rng.normal(size=shape).astype(self.dtype)
        return self.known[shape]

    def check(self) -> None:
        program = Program("sweep", tuple(x.node for x in self.known.values()), tuple(y.node for y in self.outputs))
        wide = interp.evaluate(program.outputs, self.values, None, "float64")
        sizes = interp.evaluate(program.outputs, {k: np.abs(v) for k, v in self.values.items()}, None, "float64")
        for node, want, size, got in zip(program.outputs, wide, sizes, oracle.run(program, self.values), strict=True):
            assert got.dtype == self.dtype and got.shape == want.shape
            allowed = 8 * np.finfo(self.dtype).eps * size
            bad = ~(np.abs(got - want) <= allowed)
            assert not bad.any(), f"{node} of {[i.shape for i in node.inputs]}: {int(bad.sum())} elements of {bad.size}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul(dtype: str) -> None:
    """Each size along one axis against ordinary and awkward sizes along the others."""
    sweep = Sweep(dtype)
    shapes = set()
    for n in EDGES if dtype == "float32" else EDGES[::3]:
        shapes |= {(n, 33, 17), (33, n, 17), (17, 33, n), (n, n, n)}
    for m, k, n in sorted(shapes):
        sweep.outputs.append(sweep.array(m, k) @ sweep.array(k, n))
    sweep.check()


def test_transposed_and_batched_matmul() -> None:
    sweep = Sweep("float32")
    for m, k, n in itertools.product([1, 7, 32, 50], [3, 16, 65], [1, 9, 33]):
        sweep.outputs.append(sweep.array(k, m).T @ sweep.array(k, n))
        sweep.outputs.append(sweep.array(m, k) @ sweep.array(n, k).T)
    for m, k, n in [(5, 8, 16), (33, 17, 40), (1, 9, 20), (16, 16, 16)]:
        batched = sweep.array(3, m, k)
        sweep.outputs.append(batched @ sweep.array(3, k, n))
        sweep.outputs.append(batched @ sweep.array(k, n))
        sweep.outputs.append(ad.permute_dims(batched, (0, 2, 1)) @ sweep.array(3, m, n))
        sweep.outputs.append(ad.permute_dims(sweep.array(m, 3, k), (1, 0, 2)) @ sweep.array(3, k, n))
    sweep.check()


def test_deep_sums_in_several_panels() -> None:
    sweep = Sweep("float32")
    sweep.outputs += [sweep.array(9, 5000) @ sweep.array(5000, 20), sweep.array(5000, 9).T @ sweep.array(5000, 20)]
    sweep.check()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_sizes_over_several_blocks_of_depth(dtype: str) -> None:
    """Rows and columns that no tile divides, summed in blocks, the last of which is shorter; in batches too."""
    sweep = Sweep(dtype)
    sizes = [(7, 385, 17), (13, 700, 33), (19, 1025, 5), (31, 801, 67), (2, 1537, 35), (65, 449, 129)]
    for m, k, n in sizes if dtype == "float32" else sizes[1:4]:
        sweep.outputs.append(sweep.array(m, k) @ sweep.array(k, n))
        sweep.outputs.append(sweep.array(k, m).T @ sweep.array(n, k).T)
    for m, k, n in [(9, 769, 21), (17, 400, 37)]:
        batched = sweep.array(3, m, k)
        sweep.outputs += [batched @ sweep.array(3, k, n), batched @ sweep.array(k, n)]
        sweep.outputs.append(ad.permute_dims(sweep.array(3, k, m), (0, 2, 1)) @ sweep.array(3, k, n))
    sweep.check()


def test_prologues_and_epilogues() -> None:
    x, w, v = ad.input("x", (33, 50)), ad.input("w", (50, 41)), ad.input("v", (41,))
    h = ad.relu(x @ w + v)
    masked = ad.where(h > 0, x @ w, 0.0)
    outputs = [h, masked, (x * 2.0 + 1.0) @ w, ad.exp(x * 0.1) @ ad.tanh(w), (h.T @ x) - 0.1 * w.T, ad.sum(h, axis=0)]
    rng = np.random.default_rng(2)
    values = {a.node: rng.normal(size=a.shape).astype(np.float32) for a in (x, w, v)}
    oracle.check(Program("f", (x.node, w.node, v.node), tuple(o.node for o in outputs)), values)


def test_matmul_of_a_run_time_size() -> None:
    x, w = ad.input("x", ("n", 33)), ad.input("w", (33, 20))
    outputs = [x @ w, x.T @ ad.relu(x @ w), ad.grad(ad.sum(ad.tanh(x @ w)), w)]
    program = Program("f", (x.node, w.node), tuple(o.node for o in outputs))
    function = oracle.build(program)
    rng = np.random.default_rng(2)
    for n in (1, 2, 7, 64, 200):
        values = {
            x.node: rng.normal(size=(n, 33)).astype(np.float32),
            w.node: rng.normal(size=(33, 20)).astype(np.float32),
        }
        dims = {x.shape[0]: n}
        results = [np.asarray(r) for r in function(values[x.node], values[w.node])]
        oracle.compare(program, values, dims, interp.evaluate(program.roots, values, dims), results)


def test_prologues_and_epilogues_over_several_blocks_of_depth() -> None:
    """A tail sees the whole sum, a prologue every block."""
    x, w, v = ad.input("x", (23, 901)), ad.input("w", (901, 37)), ad.input("v", (37,))
    h = ad.tanh(x @ w + v)
    outputs = [h, ad.exp(x * 0.1) @ ad.tanh(w), ad.grad(ad.sum(h * h), w), ad.sum(h, axis=0), (x @ w) * 0.5 - h]
    rng = np.random.default_rng(2)
    values = {a.node: (rng.normal(size=a.shape) * 0.2).astype(np.float32) for a in (x, w, v)}
    oracle.check(Program("f", (x.node, w.node, v.node), tuple(o.node for o in outputs)), values)


@pytest.mark.parametrize(
    ("size", "kernel", "how"),
    [
        ((2, 3, 9, 10), (4, 3, 3, 3), {}),
        ((1, 1, 28, 28), (16, 1, 3, 3), {"padding": 1}),
        ((2, 4, 11, 8), (8, 4, 3, 2), {"stride": 2, "padding": 1}),
        ((1, 2, 15, 15), (3, 2, 3, 3), {"dilation": 2, "padding": 2}),
        ((2, 3, 8, 9), (5, 3, 1, 1), {}),
        ((1, 16, 14, 14), (32, 16, 3, 3), {"padding": 1}),
        ((1, 3, 12, 12), (6, 3, 4, 4), {"stride": 3, "padding": 2, "dilation": 2}),
        # Sums of over 400 products in each of the three: blocks of depth with remainders.
        ((2, 51, 23, 21), (49, 51, 3, 3), {"padding": 1}),
        ((3, 45, 19, 22), (47, 45, 3, 3), {"stride": 2}),
        ((5, 430, 9, 11), (33, 430, 1, 1), {}),
    ],
)
def test_convolution_with_both_gradients(size: Any, kernel: Any, how: Any) -> None:
    x, w = ad.input("x", size), ad.input("w", kernel)
    y = ad.nn.conv2d(x, w, **how)
    c = ad.input("c", y.shape)
    gx, gw = ad.grad(ad.sum(y * c), [x, w])
    sweep = Sweep("float32")
    for a in (x, w, c):
        sweep.known[a.shape if a is not c else (0, *a.shape)] = a
        sweep.values[a.node] = sweep.rng.normal(size=a.shape).astype(np.float32)
    sweep.outputs = [y, gx, gw]
    sweep.check()


def test_long_sums_of_long_sums_are_computed_once() -> None:
    """Both products are summed in parts; the second reads the first through a third."""
    x = ad.input("x", (50000, 8), "float64")
    square = x.T @ x
    step = ad.compile(x, [square, x.T @ (x @ square)], threads=1)
    value = np.random.default_rng(0).standard_normal((50000, 8))
    for got, want in zip(step(value), (value.T @ value, value.T @ (value @ (value.T @ value))), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10 * np.abs(want).max())
    assert sum(line.startswith("kernel k") for line in step.dump("kernels").splitlines()) == 5


def test_products_with_one_column_are_no_long_sums() -> None:
    """Each row of the matrix belongs to one element, however many rows there are: nothing is summed in parts."""
    a, v = ad.input("a", (512, 64, 64)), ad.input("v", (512, 64, 1))
    step = ad.compile([a, v], a @ v, threads=1)
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((512, 64, 64), np.float32), rng.standard_normal((512, 64, 1), np.float32)
    np.testing.assert_allclose(step(x, y), x @ y, rtol=1e-4, atol=1e-4)
    assert sum(line.startswith("kernel k") for line in step.dump("kernels").splitlines()) == 1
