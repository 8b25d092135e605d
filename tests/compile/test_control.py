"""Loops and branches in C against the interpreter, derivatives and batches of them included."""

from __future__ import annotations

import numpy as np
import pytest
from controls import CASES

import adjoint as ad


@pytest.fixture(autouse=True)
def _verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJOINT_VERIFY", "1")


@pytest.mark.parametrize("name", CASES)
def test_compiled(name: str) -> None:
    fn, *given = CASES[name]
    arrays = [np.asarray(a, np.float64) for a in given]
    examples = [np.stack([a, a[..., ::-1] * 1.05 if a.ndim else a + 0.1]) for a in arrays]
    xs = [ad.input(f"x{k}", a.shape, "float64") for k, a in enumerate(arrays)]
    stacks = [ad.input(f"s{k}", e.shape, "float64") for k, e in enumerate(examples)]
    y = fn(*xs)
    first = ad.grad(ad.sum(y * y), xs)
    second = ad.grad(sum(ad.sum(g * g) for g in first), xs)
    forward = ad.jvp(y, xs, [np.ones(a.shape) for a in arrays])
    batched = ad.vmap(lambda *own: ad.grad(ad.sum(fn(*own) ** 2), list(own)))(*stacks)
    outputs = [y, *first, *second, forward, *batched]
    compiled = ad.compile([*xs, *stacks], outputs)(*arrays, *examples)
    reference = ad.compile([*xs, *stacks], outputs, backend="numpy")(*arrays, *examples)
    for got, want in zip(compiled, reference, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_only_the_chosen_branch_runs() -> None:
    """The branch not taken would fail the call."""
    i, x = ad.input("i", (), "int64"), ad.input("x", (3,))
    y = ad.cond(i < 3, lambda: x[i], lambda: ad.sum(x))
    f = ad.compile([i, x], y)
    values = np.arange(1, 4, dtype=np.float32)
    assert f(np.int64(2), values) == 3 and f(np.int64(7), values) == 6


def test_the_tape_grows_with_what_runs_and_a_limit_makes_it_static() -> None:
    x, n = ad.input("x", (100,), "float64"), ad.input("n", (), "int64")

    def powers(limit: int | None) -> ad.Array:
        def body(state: tuple[ad.Array, ad.Array]) -> tuple[ad.Array, ad.Array]:
            k, y = state
            return k + 1, ad.sin(y) + x

        return ad.while_loop(lambda s: s[0] < n, body, (0, x), max_iterations=limit)[1]

    free, limited = (ad.compile([x, n], ad.grad(powers(m).sum(), x)) for m in (None, 50))
    value = np.linspace(0, 1, 100)
    for count in (3, 50, 0, 7):
        slope = np.ones(100)
        y = value
        for _ in range(count):
            slope, y = np.cos(y) * slope + 1, np.sin(y) + value
        np.testing.assert_allclose(free(value, count), slope, rtol=1e-12)
        np.testing.assert_allclose(limited(value, count), slope, rtol=1e-12)
    assert "top" in free.dump("c") and "top" not in limited.dump("c")
    assert limited.memory - free.memory > 50 * 800 - 2000
    # Far more than the tape starts with.
    assert np.isfinite(free(value, 20_000)).all()


def test_a_failed_check_inside_a_loop_leaves_state_alone() -> None:
    w, i = ad.variable(np.zeros(3, np.float32), name="w"), ad.input("i", (4,), "int64")
    total, _ = ad.scan(lambda c, k: (c + w[k], None), ad.constant(np.float32(0)), i)
    f = ad.compile([i], total, updates={w: w + 1})
    with pytest.raises(ad.ExecutionError, match="got 5"):
        f(np.array([0, 1, 5, 2]))
    assert (w.value == 0).all()
    f(np.array([0, 1, 2, -1]))
    assert (w.value == 1).all()


def test_a_tape_that_cannot_grow_leaves_state_alone() -> None:
    """The first call finds no tape, has to have changed nothing, and is made again."""
    w, x = ad.variable(np.full(3, 2.0), name="w"), ad.input("x", (3,), "float64")
    y = ad.while_loop(lambda s: ad.sum(s) < 1000, lambda s: s * s + x, x)
    f = ad.compile([x], [], updates={w: w * 2, ad.variable(np.zeros(3), name="g"): ad.grad(ad.sum(y), x)})
    f(np.full(3, 2.0))
    assert (w.value == 4).all()
