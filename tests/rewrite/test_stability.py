"""Rules for stability: the value and its derivative stay in range where the expression as written leaves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import adjoint as ad
from adjoint.graph import interp
from adjoint.graph.node import toposort
from adjoint.graph.program import Program
from adjoint.rewrite.rules import rewrite

Array = np.ndarray[Any, Any]


def shares(x: Any) -> Any:
    e = ad.exp(x)
    return e / ad.sum(e, axis=-1, keepdims=True)


def shifted_shares(x: Any) -> Any:
    return shares(x - ad.stop_gradient(ad.max(x, axis=-1, keepdims=True)))


def entropy(x: Any) -> Any:
    p = ad.sigmoid(x)
    return -(0.25 * ad.log(p) + 0.75 * ad.log(1 - p))


def soft(x: Array) -> Array:
    return special.softmax(x, -1)  # type: ignore[no-any-return]


def length(x: Array) -> Array:
    return np.asarray(np.linalg.norm(x, axis=-1, keepdims=True))


def rows(x: Array) -> Array:
    return np.broadcast_to(x, (2, 6)) * np.array([[1], [-0.5]])


WIDE = np.array([-1e4, -800, -3, 0.5, 900, 2e4])
Case = tuple[Callable[[Any], Any], Callable[[Array], Array], Callable[[Array], Array], Array]
# name: as users write it, its value, its derivative where the cotangent is 1, points where plain arithmetic fails
CASES: dict[str, Case] = {
    "log of softmax": (
        lambda x: ad.log(ad.softmax(x)), lambda x: special.log_softmax(x, -1), lambda x: 1 - 6 * soft(x), rows(WIDE),
    ),
    "log of exponentials over their sum": (
        lambda x: ad.log(shares(x)), lambda x: special.log_softmax(x, -1), lambda x: 1 - 6 * soft(x), rows(WIDE),
    ),
    "log of them, shifted": (
        lambda x: ad.log(shifted_shares(x)), lambda x: special.log_softmax(x, -1), lambda x: 1 - 6 * soft(x),
        rows(WIDE),
    ),
    "exponentials over their sum": (
        lambda x: shares(x)[..., :2], lambda x: soft(x)[..., :2],
        lambda x: soft(x) * ((np.arange(6) < 2) - soft(x)[..., :2].sum(-1, keepdims=True)), rows(WIDE),
    ),
    "log of a sum of exponentials": (
        lambda x: ad.log(ad.sum(ad.exp(x), axis=-1)), lambda x: special.logsumexp(x, -1), soft, rows(WIDE),
    ),
    "log of a kept sum of exponentials": (
        lambda x: ad.log(ad.sum(ad.exp(x), axis=-1, keepdims=True)),
        lambda x: special.logsumexp(x, -1, keepdims=True), soft, rows(WIDE),
    ),
    "log of a mean of exponentials": (
        lambda x: ad.log(ad.mean(ad.exp(x), axis=-1)), lambda x: special.logsumexp(x, -1) - np.log(6), soft, rows(WIDE),
    ),
    "log of the logistic function": (
        lambda x: ad.log(ad.sigmoid(x)), special.log_expit, lambda x: special.expit(-x), WIDE,
    ),
    "log of its complement": (
        lambda x: ad.log(1 - ad.sigmoid(x)), lambda x: special.log_expit(-x), lambda x: -special.expit(x), WIDE,
    ),
    "binary cross entropy": (
        entropy, lambda x: -(0.25 * special.log_expit(x) + 0.75 * special.log_expit(-x)),
        lambda x: special.expit(x) - 0.25, WIDE,
    ),
    "the logistic function by hand": (
        lambda x: 1 / (1 + ad.exp(-x)), special.expit, lambda x: special.expit(x) * special.expit(-x), WIDE,
    ),
    "the same from the other side": (
        lambda x: ad.exp(x) / (1 + ad.exp(x)), special.expit, lambda x: special.expit(x) * special.expit(-x), WIDE,
    ),
    "softplus by hand": (lambda x: ad.log(1 + ad.exp(x)), lambda x: np.logaddexp(x, 0), special.expit, WIDE),
    "softplus with log1p": (lambda x: ad.log1p(ad.exp(x)), lambda x: np.logaddexp(x, 0), special.expit, WIDE),
    "log of two exponentials": (
        lambda x: ad.log(ad.exp(x) + ad.exp(-x)), lambda x: np.logaddexp(x, -x), np.tanh, WIDE,
    ),
    "length of a vector": (
        lambda x: ad.sqrt(ad.sum(x * x, axis=-1)), lambda x: length(x / 1e200)[..., 0] * 1e200,
        lambda x: x / 1e200 / length(x / 1e200), rows(np.array([1.0, -2, 0, 4, 8, 3])) * 1e200,
    ),
    "length of a tiny vector": (
        lambda x: ad.sqrt(ad.sum(x * x, axis=-1)), lambda x: length(x * 1e200)[..., 0] / 1e200,
        lambda x: x * 1e200 / length(x * 1e200),
        rows(np.array([1.0, -2, 0, 4, 8, 3])) * 1e-200,
    ),
    "length in the plane": (
        lambda x: ad.sqrt(x * x + (2 * x) * (2 * x)), lambda x: np.sqrt(5) * np.abs(x),
        lambda x: np.sqrt(5) * np.sign(x), np.array([-1e200, 1e170, 3e-200]),
    ),
    "exponentials less one": (
        lambda x: ad.exp(x) - 1, np.expm1, np.exp, np.array([1e-17, -1e-300, 3e-9, 0.5]),
    ),
    "log of one and a little": (
        lambda x: ad.log(1 + x), np.log1p, lambda x: 1 / (1 + x), np.array([1e-17, -1e-300, 3e-9, 0.5]),
    ),
}  # fmt: skip
USUAL = np.random.default_rng(5).normal(0, 2, (40, 6))


def both(function: Callable[[Any], Any], x: Array, rewritten: bool) -> tuple[Array, Array]:
    """The value and the derivative by the interpreter, as written or rewritten."""
    leaf = ad.input("x", x.shape, x.dtype)
    y = function(leaf)
    program = Program("f", (leaf.node,), (y.node, ad.grad(y, leaf, cotangent=ad.ones_like(y)).node))
    if rewritten:
        program, firings = rewrite(program)
        assert sum(firings.values())
    with np.errstate(all="ignore"):
        value, slope = interp.evaluate(program.outputs, {leaf.node: x})
    return value, slope


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_stay_in_range(name: str) -> None:
    function, value, slope, hard = CASES[name]
    found = both(function, hard, rewritten=True)
    with np.errstate(all="ignore"):
        wanted = value(hard), slope(hard)
    for got, want in zip(found, wanted, strict=True):
        assert np.isfinite(want).all()
        np.testing.assert_allclose(got, want, rtol=1e-14, atol=0 if np.abs(hard).max() < 1 else 1e-300)
    plain = both(function, hard, rewritten=False)
    fails = [not np.allclose(p, w, rtol=1e-9, atol=0) for p, w in zip(plain, wanted, strict=True)]
    assert any(fails), "the plain expression does as well"


@pytest.mark.parametrize("name", CASES)
def test_usual_values_and_derivatives_stay(name: str) -> None:
    function = CASES[name][0]
    x = np.abs(USUAL) if "one and" in name else USUAL
    for got, want in zip(both(function, x, True), both(function, x, False), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_infinite_terms_of_a_sum_of_exponentials() -> None:
    inf = np.inf
    x = np.array([[-inf, -inf], [inf, 1], [-inf, 2], [inf, -inf], [np.nan, 1]])
    value, _ = both(lambda x: ad.log(ad.sum(ad.exp(x), axis=-1)), x, True)
    np.testing.assert_array_equal(value, [-inf, inf, 2, inf, np.nan])


def test_lengths_of_nothing_and_of_what_is_not_finite() -> None:
    x = np.array([[0.0, 0], [np.inf, 1], [-np.inf, np.inf], [np.nan, 1]])
    value, _ = both(lambda x: ad.sqrt(ad.sum(x * x, axis=-1)), x, True)
    np.testing.assert_array_equal(value, [0, np.inf, np.inf, np.nan])


def test_what_is_shifted_is_not_shifted_again() -> None:
    x = ad.input("x", (3, 4))
    top = ad.max(x, axis=-1, keepdims=True)
    for y in (ad.log(ad.sum(ad.exp(x - top), axis=-1)), shifted_shares(x * 2 + 1), ad.logsumexp(x, axis=-1)):
        found, _ = rewrite(Program("f", (x.node,), (y.node,)))
        assert sum(n.op.name == "max" for n in _below(found)) == 1


def _below(program: Program) -> list[Any]:
    return toposort(program.outputs)


def test_the_logistic_function_keeps_one_exponential() -> None:
    """y · (1 − y) is not a second logistic function."""
    x = ad.input("x", (3,))
    program = Program("f", (x.node,), (ad.grad(ad.sum(ad.sigmoid(x)), x).node,))
    for fused in (True, False):
        found, _ = rewrite(program, fused=fused)
        assert sum(n.op.name == "sigmoid" for n in _below(found)) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(dtype: str) -> None:
    """All at once, in C: in range, and with the derivatives of the stable forms."""
    names = [n for n in CASES if not n.startswith(("length", "exponentials less", "log of one"))]
    x = ad.input("x", ("n", 6), dtype=dtype)
    functions = [CASES[n][0] for n in names]
    ys = [f(x) for f in functions]
    outputs = [[y, ad.grad(y, x, cotangent=ad.ones_like(y))] for y in ys]
    points = rows(np.array([-200.0, -120, -3, 0.5, 110, 400])).astype(dtype)
    for name, found in zip(names, ad.compile(x, outputs, name="stable")(points), strict=True):
        wide = points.astype(np.float64)
        for got, want in zip(found, (CASES[name][1](wide), CASES[name][2](wide)), strict=True):
            scale = np.finfo(dtype).eps * 64
            np.testing.assert_allclose(got, want, rtol=scale, atol=scale, err_msg=name)


def test_rules_see_through_no_other_axis() -> None:
    """Exponentials over a sum of others, or over another axis, are left as they are."""
    x, y = ad.input("x", (3, 3)), ad.input("y", (3, 3))
    other = ad.exp(x) / ad.sum(ad.exp(y), axis=1, keepdims=True)
    turned = ad.exp(x) / ad.sum(ad.exp(x), axis=1)
    program = Program("f", (x.node, y.node), (other.node, turned.node))
    found, firings = rewrite(program)
    assert not firings["share-of-exponentials"]
    assert not any(n.op.name == "max" for n in _below(found))
