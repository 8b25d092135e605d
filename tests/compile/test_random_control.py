"""Random programs of loops and branches within one another: C against the interpreter, both modes, differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjoint as ad

MATRIX = np.random.default_rng(0).standard_normal((3, 3)) / 2


class Maker:
    """Draws functions of vectors of three elements whose values stay within the range of tanh."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def of(self, *values: ad.Array, depth: int) -> ad.Array:
        rng = self.rng
        x, y = (values[k] for k in rng.integers(0, len(values), 2))
        simple = [
            lambda: x * y, lambda: x + ad.sin(y), lambda: ad.tanh(x * 2) - y, lambda: ad.where(x > y, x, y * y),
            lambda: x @ ad.constant(MATRIX), lambda: x * ad.sum(y), lambda: ad.exp(-x * x) * y, lambda: ad.flip(x) + y,
        ]  # fmt: skip
        if depth == 0:
            return ad.tanh(simple[rng.integers(len(simple))]())
        nested = [self.branch, self.scan, self.loop, self.times]
        inner = nested[rng.integers(len(nested))](values, depth - 1)
        return ad.tanh(self.of(inner, *values, depth=0) + inner)

    def branch(self, values: Any, depth: int) -> ad.Array:
        test = ad.sum(values[0]) > float(self.rng.normal())
        return ad.cond(test, lambda: self.of(*values, depth=depth), lambda: self.of(*values, depth=depth))

    def scan(self, values: Any, depth: int) -> ad.Array:
        xs = ad.stack([v * k for k, v in enumerate(values, 1)])
        draw = self.rng.integers(2)

        def body(c: ad.Array, x: ad.Array) -> Any:
            h = self.of(c, x, *values, depth=depth)
            return h, h * x

        last, ys = ad.scan(body, values[0], xs, reverse=bool(self.rng.integers(2)))
        return last if draw else ys.sum(0)

    def loop(self, values: Any, depth: int) -> ad.Array:
        count = ad.astype(ad.floor(ad.abs(ad.sum(values[-1]) * 3)), "int64") % 4
        limit = None if self.rng.integers(2) else 2

        def body(state: Any) -> Any:
            k, v = state
            return k + 1, self.of(v, *values, depth=depth)

        return ad.while_loop(lambda s: s[0] < count, body, (0, values[0]), max_iterations=limit)[1]

    def times(self, values: Any, depth: int) -> ad.Array:
        return ad.fori_loop(3, lambda i, v: self.of(v + ad.astype(i, "float64"), *values, depth=depth), values[0])


@pytest.mark.parametrize("seed", range(16))
def test_nested(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")
    rng = np.random.default_rng(seed)
    xs = [ad.input(n, (3,), "float64") for n in "abc"]
    y = Maker(seed).of(*xs, depth=1 + seed % 3)
    bar, dots = rng.standard_normal(3), [rng.standard_normal(3) for _ in xs]
    slopes = ad.vjp(y, xs, bar)
    forward = ad.jvp(y, xs, dots)
    outputs = [y, *slopes, forward]
    values = [rng.standard_normal(3) for _ in xs]
    compiled, reference = (ad.compile(xs, outputs, backend=b)(*values) for b in ("c", "numpy"))
    for got, want in zip(compiled, reference, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    backward = sum(g @ d for g, d in zip(reference[1:-1], dots, strict=True))
    np.testing.assert_allclose(reference[-1] @ bar, backward, rtol=1e-10, atol=1e-10)
    value = ad.compile(xs, y, backend="numpy")
    ahead, behind = (value(*(v + h * d for v, d in zip(values, dots, strict=True))) for h in (1e-6, -1e-6))
    np.testing.assert_allclose((ahead - behind) / 2e-6, reference[-1], rtol=1e-4, atol=1e-6)
