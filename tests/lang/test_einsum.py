"""Einstein summation against NumPy's."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
import pytest
from einsums import random_einsum

import adjoint as ad
from adjoint.lang.einsum import order_of_products

RNG = np.random.default_rng(12)
KNOWN = [
    "ij,jk->ik",
    "ij,jk",
    "ij,ij->",
    "ij,ij->ji",
    "bij,bjk->bik",
    "bij,kj->bki",
    "i,j->ij",
    "ij,k->kij",
    "ij,k->j",
    "...ij,...jk->...ik",
    "ij->ji",
    "ij->",
    "ij->j",
    "bij->b",
    "...i->...",
    "ba",
    "ij , jk -> k",
    "ii",
    "ii->i",
    "iii->i",
    "iij,jjk->ik",
    "bii,bi->b",
    "i->",
    "ij,jk,kb->ib",
    "bi,bj,ij->b",
    "i,j,k,b->kibj",
    "ij,jk,kb,ba,ai",
    "...",
    "...,...->...",
    "Ai,iA->",
]


def _values(text):
    extents = {"i": 2, "j": 3, "k": 4, "b": 5, "a": 2, "A": 3}
    for term in text.split("->")[0].replace(" ", "").split(","):
        lead = (5,) if "..." in term else ()
        yield RNG.standard_normal((*lead, *(extents[c] for c in term.replace("...", ""))))


@pytest.mark.parametrize("text", KNOWN)
def test_known_ones(text, run):
    arrays = list(_values(text))
    expected = np.einsum(text, *arrays)
    y = ad.einsum(text, *arrays)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(run(y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(400))
def test_random_ones_and_their_gradients(seed, run):
    text, arrays = random_einsum(seed)
    expected = np.einsum(text, *arrays)
    xs = [ad.input(f"x{k}", a.shape, "float64") for k, a in enumerate(arrays)]
    y = ad.einsum(text, *xs)
    assert y.shape == expected.shape
    rng = np.random.default_rng(seed)
    weights, directions = rng.standard_normal(y.shape), [rng.standard_normal(a.shape) for a in arrays]
    gradients = ad.grad((y * weights).sum(), xs)
    value, *found = run([y, *gradients], dict(zip(xs, arrays, strict=True)))
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-11)
    for k, (g, d) in enumerate(zip(found, directions, strict=True)):
        # Linear in every operand, so that the slope along a direction is the expression with the direction in it.
        slope = (np.einsum(text, *arrays[:k], d, *arrays[k + 1 :]) * weights).sum()
        np.testing.assert_allclose((g * d).sum(), slope, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "float32"])
@pytest.mark.parametrize("text", ["ij,jk->ik", "ij->j", "ii->", "ij,jk,kl->il", "i,j->ij", "ij,ij->ij"])
def test_dtypes(text, dtype, run):
    ranks = [len(term) for term in text.split("->")[0].split(",")]
    arrays = [(4 * RNG.standard_normal((3,) * rank)).astype(dtype) for rank in ranks]
    expected = np.einsum(text, *arrays)
    y = ad.einsum(text, *arrays)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(run(y), expected, rtol=1e-5)


def test_dtypes_that_meet(run):
    a, c = np.arange(3, dtype="int32"), RNG.standard_normal(3).astype("f")
    y = ad.einsum("i,i->", a, c)
    assert y.dtype == np.float32
    np.testing.assert_allclose(run(y), (a * c).sum(), rtol=1e-6)
    np.testing.assert_allclose(run(ad.einsum(",i", 2.0, c)), 2 * c, rtol=1e-6)


def test_labels_as_numbers(run):
    p, q = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((4, 5))
    with_dots = [(p, [..., 2], q, [2, 3]), (p, [..., 2], q, [2, 3], [3, ...])]
    for given in [(p, [0, 1, 2], q, [2, 3], [3, 0]), (q, [1, 0]), *with_dots]:
        np.testing.assert_allclose(run(ad.einsum(*given)), np.einsum(*given), rtol=1e-12)
    with pytest.raises(ad.ShapeError, match="below 52"):
        ad.einsum(q, [0, 52])


@pytest.mark.parametrize(
    ("text", "shapes", "match"),
    [
        ("ij,jk->ik", [(2, 3), (4, 5)], r"label 'j' of 'ij,jk->ik' has extent 3 in operand 0, 4 in operand 1"),
        ("ij,jk,ki->", [(2, 3), (3, 5), (5, 4)], r"label 'i' .* has extent 2 in operand 0, 4 in operand 2"),
        ("ii->i", [(2, 3)], r"label 'i' .* has extents 2 and 3 in operand 0"),
        ("ii->i", [(1, 3)], r"label 'i' .* has extents 1 and 3 in operand 0"),
        ("...,...", [(2,), (3,)], r"axis -1 of the ellipsis .* has extent 2 in operand 0, 3 in operand 1"),
        ("ij", [(2,)], r"'ij' of 'ij' does not fit operand 0, which has 1 axes"),
        ("i,ij", [(2,), (2, 3, 4)], r"'ij' of 'i,ij' does not fit operand 1, which has 3 axes"),
        ("ij...", [(2,)], "does not fit operand 0"),
        ("i", [(2,), (2,)], "is for 1 operands, got 2"),
        ("i->j", [(2,)], "label 'j' of the result is in no operand"),
        ("i->ii", [(2,)], "label 'i' of the result occurs twice"),
        ("...i->i", [(2, 3)], "the result .* has no ellipsis"),
        ("i..j", [(2, 2)], "neither a letter nor part of one ellipsis"),
        ("...i...", [(2, 2)], "neither a letter"),
        ("i->j->k", [(2,)], "neither a letter"),
        ("i1", [(2, 2)], "'1' is neither"),
    ],
)
def test_errors(text, shapes, match):
    with pytest.raises(ad.ShapeError, match=match):
        ad.einsum(text, *(np.zeros(s) for s in shapes))


def _cost(terms, out, extent, steps):
    """Multiplications that an order takes, counted anew."""
    left, total = {1 << k: set(t) for k, t in enumerate(terms)}, 0
    for a, c in steps:
        x, y = left.pop(a), left.pop(c)
        total += prod(extent[l] for l in x | y)
        left[a | c] = (x | y) & set(out).union(*left.values())
    assert list(left) == [(1 << len(terms)) - 1]
    return total


def _every_order(sets):
    if len(sets) == 1:
        yield []
        return
    for a, c in itertools.combinations(sets, 2):
        for rest in _every_order([s for s in sets if s not in (a, c)] + [a | c]):
            yield [(a, c), *rest]


@pytest.mark.parametrize("seed", range(12))
def test_the_order_is_the_cheapest(seed):
    rng = np.random.default_rng(seed)
    extent = dict(zip("abcdef", map(int, rng.integers(1, 20, 6)), strict=True))
    terms = [frozenset(map(str, rng.choice(list("abcdef"), rng.integers(1, 4)))) for _ in range(5)]
    # Labels of one term alone are summed before.
    shared = frozenset(l for l in extent if l in "ab" or sum(l in t for t in terms) > 1)
    terms = [t & shared for t in terms]
    out = frozenset("ab") & frozenset().union(*terms)
    steps = order_of_products(terms, out, extent)
    least = min(_cost(terms, out, extent, order) for order in _every_order([1 << k for k in range(5)]))
    assert _cost(terms, out, extent, steps) == least


def test_a_chain_of_many_matrices(run):
    """More operands than are ordered exactly: a row vector times matrices stays a row vector."""
    n = 12
    matrices = [RNG.standard_normal((6, 6)) / 3 for _ in range(n)]
    letters = "abcdefghijklmnop"
    text = "a," + ",".join(letters[k : k + 2] for k in range(n)) + "->" + letters[n]
    row = RNG.standard_normal(6)
    expected = row
    for m in matrices:
        expected = expected @ m
    y = ad.einsum(text, row, *matrices)
    np.testing.assert_allclose(run(y), expected, rtol=1e-10)
    terms = [frozenset(t) for t in text.split("->")[0].split(",")]
    out, extent = frozenset(letters[n]), dict.fromkeys(letters, 6)
    assert _cost(terms, out, extent, order_of_products(terms, out, extent)) == n * 36


def test_run_time_extents(run):
    n = ad.Dim("n")
    x, w = ad.input("x", (n, 3), "float64"), RNG.standard_normal((3, 3))
    p = RNG.standard_normal((5, 3))
    cases = [("ni,ij,mj->nm", (x, w, x)), ("ni,ni->i", (x, x)), ("ni,ni,ij->nj", (x, x, w)), ("ni->i", (x,))]
    for text, operands in cases:
        expected = np.einsum(text, *(p if o is x else o for o in operands))
        np.testing.assert_allclose(run(ad.einsum(text, *operands), {x: p}, {n: 5}), expected, rtol=1e-10)
    gram = ad.einsum("ni,mi->nm", x, x)
    np.testing.assert_allclose(run(ad.einsum("nn", gram), {x: p}, {n: 5}), (p * p).sum(), rtol=1e-12)
    with pytest.raises(ad.ShapeError, match=r"label 'i' .* has extent n in operand 0, 3 in operand 1"):
        ad.einsum("ij,ik", x, w)
