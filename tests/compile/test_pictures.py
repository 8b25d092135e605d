"""Schedules of convolution and pooling that small budgets bring about on small pictures, against the interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest

import adjoint as ad
from adjoint.graph import index, interp
from adjoint.graph.index import IVar
from adjoint.graph.program import Program
from adjoint.lower import places, positions, scope, windows


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


def _program(inputs: list[ad.Array], outputs: list[ad.Array]) -> Program:
    return Program("pictures", tuple(x.node for x in inputs), tuple(y.node for y in outputs))


def _layers(dtype: str) -> tuple[list[ad.Array], list[ad.Array]]:
    inputs: list[ad.Array] = []
    outputs: list[ad.Array] = []

    def add(conv: Any, x: tuple[Any, ...], w: tuple[int, ...], **how: Any) -> None:
        a, b = (ad.input(f"x{len(inputs) + k}", shape, dtype) for k, shape in enumerate((x, w)))
        inputs.extend((a, b))
        y = ad.relu(conv(a, b, **how))
        outputs.extend((y, *ad.grad(ad.sum(y * y), [a, b])))

    add(ad.nn.conv1d, (3, 3, 150), (5, 3, 3), stride=2, padding=1)
    add(ad.nn.conv1d, (18, 3, 63), (5, 3, 3), padding=1)  # in two bands of which the first is the longer
    add(ad.nn.conv2d, (2, 5, 13, 11), (11, 5, 3, 2), padding=1)
    add(ad.nn.conv2d, (5, 4, 16, 17), (18, 2, 3, 3), stride=(3, 2), padding=2, dilation=(1, 2), groups=2)
    add(ad.nn.conv3d, (2, 3, 6, 7, 9), (9, 3, 2, 3, 2), stride=(1, 2, 1), padding=1)
    add(ad.nn.conv_transpose2d, (2, 6, 7, 9), (6, 5, 3, 2), stride=2, padding=1)
    return inputs, outputs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("budget", [1 << 17, 2048])
def test_parts_of_pictures(dtype: str, budget: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bands of rows, blocks of channels, panels and groups of images come to the same as whole pictures."""
    monkeypatch.setenv("ADJOINT_CACHE_DIR", str(tmp_path))  # what small budgets make is nobody else's
    for module, names in ((windows, ("IMAGE_BYTES", "SUMS_BYTES")), (positions, ("IMAGE_BYTES", "RESULT_BYTES")),
                          (places, ("IMAGE_BYTES", "PANEL_BYTES"))):
        for name in names:
            monkeypatch.setattr(module, name, min(getattr(module, name), budget))
    used = []
    plan = scope.plan_windows

    def spy(*args: Any) -> windows.WindowPlan | None:
        found = plan(*args)
        if found is not None:
            used.append((found.over_positions, found.parts != 1))
        return found

    monkeypatch.setattr(scope, "plan_windows", spy)
    inputs, outputs = _layers(dtype)
    rng = np.random.default_rng(8)
    program = _program(inputs, outputs)
    values = {x.node: rng.normal(size=x.shape).astype(dtype) for x in inputs}
    oracle.check(program, values)
    assert {(True, False), (False, True)} <= set(used)
    one, two = (oracle.run(program, values, threads=threads) for threads in (1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


def test_run_time_batches_add_up_in_parts() -> None:
    n = ad.Dim("n", min=0)
    x, w, b = ad.input("x", (n, 3, 9, 10)), ad.input("w", (8, 3, 3, 3)), ad.input("b", (8,))
    y = ad.nn.max_pool2d(ad.relu(ad.nn.conv2d(x, w, b, padding=1)), 2)
    program = _program([x, w, b], [y, *ad.grad(ad.sum(y * y), [x, w, b])])
    function = oracle.build(program, threads=2)
    rng = np.random.default_rng(9)
    for size in (0, 1, 8, 19):
        arrays = [rng.normal(size=s).astype("f") for s in [(size, 3, 9, 10), w.shape, b.shape]]
        values, dims = dict(zip(program.inputs, arrays, strict=True)), {n: size}
        results = [np.asarray(r) for r in function(*arrays)]
        oracle.compare(program, values, dims, interp.evaluate(program.roots, values, dims), results)


@pytest.mark.parametrize(("shape", "dtype"), [((16, 3, 24, 26), "float32"), ((32, 3, 17, 23), "float64")])
def test_pooling_joins_the_pictures_that_it_reads(shape: tuple[int, ...], dtype: str) -> None:
    """Where no chunk reads what another one writes; differences of pictures that follow each other do."""
    x, w = ad.input("x", shape, dtype), ad.input("w", (9, shape[1], 3, 3), dtype)
    h = ad.relu(ad.nn.conv2d(x, w, padding=1))
    rng = np.random.default_rng(14)
    values = {v.node: rng.normal(size=v.shape).astype(dtype) for v in (x, w)}
    pooled = ad.nn.max_pool2d(h, 2), ad.nn.avg_pool2d(h, 3, 2)
    apart = (ad.exp(h[1:] - h[:-1]),)
    for outputs, joins in ((pooled, True), (apart, False)):
        program = _program([x, w], [h, *outputs])
        assert ("_relu_" in oracle.build(program).dump("kernels")) is joins
        oracle.check(program, values)
        one, two = (oracle.run(program, values, threads=threads) for threads in (1, 2))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


def test_infinities_stay_within_their_windows() -> None:
    x, w = ad.input("x", (2, 2, 8, 9)), ad.input("w", (4, 2, 3, 3))
    y = ad.nn.conv2d(x, w, padding=1)
    program = _program([x, w], [y, *ad.grad(ad.sum(y), [x, w])])
    rng = np.random.default_rng(10)
    picture = rng.normal(size=x.shape).astype("f")
    picture[0, 0, 3, 8], picture[1, 1, 7, 0] = np.inf, np.nan
    oracle.check(program, {x.node: picture, w.node: rng.normal(size=w.shape).astype("f")})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_maxima_of_windows(dtype: str) -> None:
    """Of rows that are shorter and longer than vectors, with ties and NaN in every place of a window."""
    rng = np.random.default_rng(11)
    for shape, kernel in (((2, 3, 8, 14), 2), ((1, 2, 6, 66), (2, 3)), ((3, 2, 9, 7), (3, 1)), ((2, 2, 4, 36), (2, 4))):
        x = ad.input("x", shape, dtype)
        y = ad.nn.max_pool2d(x, kernel)
        program = _program([x], [y, ad.grad(ad.sum(ad.sin(y)), x)])
        value = rng.integers(0, 3, shape).astype(dtype)
        value[rng.random(shape) < 0.1] = np.nan
        oracle.check(program, {x.node: value})


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_reductions_written_out(dtype: str) -> None:
    rng = np.random.default_rng(12)
    x, z = ad.input("x", (70, 3), dtype), ad.input("z", (2, 33, 2, 5), dtype)
    over = ((x, 1), (z, 0), (z, 2), (z, (0, 2)))
    outputs = [f(a, axis) for f in (ad.sum, ad.prod, ad.max, ad.min) for a, axis in over]
    outputs += [ad.argmax(x, 1), ad.argmax(z, 2), ad.sum(x * x, 1)]
    values = {a.node: rng.integers(0, 4, a.shape).astype(dtype) for a in (x, z)}
    oracle.check(_program([x, z], outputs), values)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
@pytest.mark.parametrize("length", [6, 14, 32, 50])
def test_neighbours_are_picked(dtype: str, length: int) -> None:
    """Every second element, every one twice or three times, and all but the first, at both ends of an array."""
    x = ad.input("x", (3, length), dtype)
    twice, thrice = (ad.reshape(ad.broadcast_to(x[:, :, None], (3, length, k)), (3, -1)) for k in (2, 3))
    outputs = [x[:, ::2], x[:, 1::2], x[:, 1:], x[:, ::-1], twice, thrice, twice[:, 1:-1]]
    rng = np.random.default_rng(13)
    value = rng.integers(0, 2 if dtype == "bool" else 100, x.shape).astype(dtype)
    oracle.check(_program([x], [ad.where(y == y, y, y) for y in outputs]), {x.node: value})


def test_along() -> None:
    i, j = IVar("i", 64), IVar("j", 10)
    half = index.add(index.floordiv(index.of(i), 2), index.scale(index.of(j), 7))
    assert index.along(half, i, 8) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert index.along(index.mod(index.of(i), 4), i, 8) == [0, 1, 2, 3, 0, 1, 2, 3]
    assert index.along(index.scale(index.of(i), 2), i, 4) == [0, 2, 4, 6]
    assert index.along(index.floordiv(index.of(i), 3), i, 8) is None
    assert index.along(index.floordiv(index.of(i), 3), i, 8, index.of(16)) == [0, 0, 1, 1, 1, 2, 2, 2]
