"""Compiled convolution and pooling, with their gradients, against the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph import interp
from adjoint.graph.node import toposort
from adjoint.graph.program import Program

IMAGE = {1: (19,), 2: (11, 10), 3: (4, 5, 6)}
KERNEL = (3, 2, 2)
CONV = {1: ad.nn.conv1d, 2: ad.nn.conv2d, 3: ad.nn.conv3d}
TRANSPOSED = {1: ad.nn.conv_transpose1d, 2: ad.nn.conv_transpose2d, 3: ad.nn.conv_transpose3d}
MAX = {1: ad.nn.max_pool1d, 2: ad.nn.max_pool2d, 3: ad.nn.max_pool3d}
AVG = {1: ad.nn.avg_pool1d, 2: ad.nn.avg_pool2d, 3: ad.nn.avg_pool3d}


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


class Steps:
    """Functions of inputs, and their gradients, in one program."""

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype, self.inputs, self.outputs = dtype, [], []

    def input(self, *shape: Any) -> ad.Array:
        x = ad.input(f"x{len(self.inputs)}", shape, self.dtype)
        self.inputs.append(x)
        return x

    def add(self, fn: Callable[..., ad.Array], *xs: ad.Array) -> None:
        y = fn(*xs)
        self.outputs += [y, *ad.grad(ad.sum(y * y), list(xs))]

    def program(self) -> Program:
        return Program("windows", tuple(x.node for x in self.inputs), tuple(y.node for y in self.outputs))

    def check(self) -> None:
        rng = np.random.default_rng(5)
        oracle.check(self.program(), {x.node: rng.normal(size=x.shape).astype(self.dtype) for x in self.inputs})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution(rank: int, dtype: str) -> None:
    steps = Steps(dtype)
    x = steps.input(2, 8, *IMAGE[rank])
    for groups in (1, 2, 8):
        w, v = (steps.input(16, 8 // groups, *KERNEL[:rank]) for _ in range(2))
        steps.add(lambda x, w, g=groups: CONV[rank](x, w, None, 1, "same", 1, g), x, w)
        steps.add(lambda x, w, g=groups: CONV[rank](x, w, None, 2, 1, 2, g), x, v)
    w, v = steps.input(8, 5, *KERNEL[:rank]), steps.input(8, 4, *KERNEL[:rank])
    steps.add(lambda x, w: TRANSPOSED[rank](x, w, None, 1, 1), x, w)
    steps.add(lambda x, w: TRANSPOSED[rank](x, w, None, 2, 1, 1, 1, 1), x, w)
    steps.add(lambda x, w: TRANSPOSED[rank](x, w, None, 3, 0, 2, 2, 2), x, v)
    steps.check()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling(rank: int, dtype: str) -> None:
    steps = Steps(dtype)
    x = steps.input(2, 3, *IMAGE[rank])
    for kernel, stride, padding, dilation in [(2, None, 0, 1), (3, 2, 1, 1), (2, 1, 0, 2), (3, None, 1, 1)]:
        for ceil_mode in (False, True):
            how = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
            steps.add(lambda x, how=how, d=dilation: MAX[rank](ad.tanh(x), dilation=d, **how), x)
            if dilation == 1:
                steps.add(lambda x, how=how: AVG[rank](x, count_include_pad=how["ceil_mode"], **how), x)
    steps.check()


def test_convolution_of_few_and_of_nothing() -> None:
    steps = Steps()
    for n, channels, outs in [(0, 2, 3), (2, 1, 1), (1, 0, 3), (2, 3, 0)]:
        x, w = steps.input(n, channels, 5, 4), steps.input(outs, channels, 3, 3)
        steps.add(lambda x, w: ad.nn.conv2d(x, w, padding=1), x, w)
        v = steps.input(channels, outs, 2, 2)
        steps.add(lambda x, v: ad.nn.conv_transpose2d(x, v, stride=2), x, v)
        steps.add(lambda x: ad.nn.max_pool2d(x, 3, 2, 1), x)
    steps.check()


def test_run_time_extents() -> None:
    n, h = ad.Dim("n"), ad.Dim("h", min=4)
    steps = Steps()
    x, w, v = steps.input(n, 4, h, 7), steps.input(6, 4, 3, 3), steps.input(4, 5, 3, 2)
    steps.add(lambda x, w: ad.nn.conv2d(x, w, None, 2, 1), x, w)
    steps.add(lambda x, w: ad.nn.conv2d(x, w, padding="same"), x, w)
    steps.add(lambda x, v: ad.nn.conv_transpose2d(x, v, None, 2, 1, 1), x, v)
    steps.add(lambda x: ad.nn.max_pool2d(x, 3, 2, 1, 1, True), x)
    steps.add(lambda x: ad.nn.max_pool2d(x, 2), x)
    steps.add(lambda x: ad.nn.avg_pool2d(x, 3, 2, 1, True, False), x)
    steps.add(lambda x: ad.nn.adaptive_avg_pool2d(x, (1, 3)), x)
    program = steps.program()
    function = oracle.build(program)
    rng = np.random.default_rng(6)
    for size, height in [(1, 4), (3, 9), (16, 16)]:
        shapes = [(size, 4, height, 7), w.shape, v.shape]
        arrays = [rng.normal(size=s).astype("f") for s in shapes]
        values, dims = dict(zip(program.inputs, arrays, strict=True)), {n: size, h: height}
        results = [np.asarray(r) for r in function(*arrays)]
        oracle.compare(program, values, dims, interp.evaluate(program.roots, values, dims), results)


def test_gradients_are_contractions() -> None:
    """Of a network of convolutions, both gradients of every layer: no scatter, no other kind of sum over windows."""
    x = ad.input("x", ("n", 3, 12, 12))
    layers = [ad.nn.Conv2d(3, 8, 3, padding=1), ad.nn.Conv2d(8, 8, 3, stride=2, groups=2)]
    layers.append(ad.nn.ConvTranspose2d(8, 4, 2, 2))
    h = x
    for layer in layers:
        h = layer(h)
    loss = ad.sum(h * h)
    gradients = ad.grad(loss, [x, *(layer.weight for layer in layers)])
    nodes = toposort([g.node for g in gradients])
    assert sum(node.op.name == "contract" for node in nodes) == 3 * len(layers)
    assert not any(node.op.kind in ("scatter", "control") or node.op.name in ("take", "windows") for node in nodes)
