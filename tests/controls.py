"""Functions with loops and branches, for tests of their derivatives and of their C: name → (function, arguments)."""

from __future__ import annotations

import numpy as np

import adjoint as ad

RNG = np.random.default_rng(2)
XS = RNG.uniform(0.2, 1, (5, 3))
H, W, U, B = RNG.uniform(0.2, 1, 2), RNG.standard_normal((3, 2)), RNG.standard_normal((2, 2)), RNG.standard_normal(2)


def rnn(xs, h, w, u, c, **how):
    def cell(h, x):
        h = ad.tanh(x @ w + h @ u + c)
        return h, h * h

    last, ys = ad.scan(cell, h, xs, **how)
    return ad.concat([last, ys.sum(0)])


def powers(x, w):
    """As many multiplications as the first element needs to pass 10."""
    return ad.while_loop(lambda s: ad.sum(s) < 10, lambda s: s * w + 1, x)


def root(x):
    return ad.while_loop(lambda s: ad.any(ad.abs(s * s - x) > 1e-13), lambda s: 0.5 * (s + x / s), x)


def branches(x, w):
    def large():
        return x * x * w, ad.sum(w)

    def small():
        return ad.exp(x), ad.constant(np.float64(2))

    a, c = ad.cond(ad.sum(x) > 2, large, small)
    return a * c


def nested(xs, w):
    """A loop of unknown length inside a scan, whose body branches."""

    def body(c, x):
        c = ad.while_loop(lambda t: t < 3 * x, lambda t: t * w + 0.3, c * 0.1)
        c = ad.cond(c > 2.5, lambda: c / w, lambda: c * x)
        return c, c * c

    last, ys = ad.scan(body, ad.constant(np.float64(0.2)), xs)
    return ys * last


def loops_in_loops(x, w):
    def outer(state):
        k, t = state
        return k + 1, ad.while_loop(lambda u: ad.sum(u) < 2.0 * k + 2, lambda u: u * w + 0.1, t * 0.5)

    return ad.while_loop(lambda s: s[0] < 4, outer, (0, x))[1]


def linear(x, es):
    """Loops of unknown length within a scan, whose adjoints need nothing of theirs but the length."""

    def body(c, e):
        c = ad.while_loop(lambda t: ad.sum(t) < 3 * e, lambda t: t * 1.5 + 0.1, c)
        return c, c * c

    return ad.scan(body, ad.abs(x) + 0.1, es)[1]


CASES = {
    "scan": (rnn, XS, H, W, U, B),
    "scan backwards": (lambda *a: rnn(*a, reverse=True), XS, H, W, U, B),
    "scan that accumulates": (
        lambda xs: ad.scan(lambda c, x: (c + x * x, None), ad.zeros(3, dtype="float64"), xs)[0], XS,
    ),
    "scan of two carries": (
        lambda xs: ad.scan(lambda c, x: ((c[0] * x, c[0] + c[1]), c[1]), (xs[0], xs[1]), xs)[0][1], XS,
    ),
    "scan over nothing": (lambda h: ad.scan(lambda c, _: (c * c, None), h, length=0)[0], H),
    "scan of matrices": (lambda a, h: ad.scan(lambda c, m: (m @ c, None), h, a)[0], RNG.standard_normal((3, 2, 2)), H),
    "scan with an index": (
        lambda w, h: ad.scan(lambda c, i: (c * ad.take(w, i), None), h, ad.arange(3))[0], RNG.random(3), H,
    ),
    "nested scans": (
        lambda xs, h: ad.scan(
            lambda c, x: (ad.scan(lambda d, v: (ad.sin(d) * v, None), c, x)[0], c), h, xs
        )[1], XS, H,
    ),
    "while": (powers, RNG.uniform(0.5, 1, 3), RNG.uniform(1.2, 1.5, 3)),
    "while that runs never": (powers, np.full(3, 9.0), np.ones(3)),
    "while bounded": (
        lambda x, w: ad.while_loop(lambda s: ad.sum(s) < 10, lambda s: s * w + 1, x, max_iterations=3),
        RNG.uniform(0.5, 1, 3), RNG.uniform(1.2, 1.5, 3),
    ),
    "newton": (root, RNG.uniform(0.5, 4, 3)),
    "cond": (branches, RNG.uniform(0.1, 0.5, 3), RNG.random(3)),
    "cond the other way": (branches, RNG.uniform(1, 2, 3), RNG.random(3)),
    "fori_loop": (lambda x, w: ad.fori_loop(3, lambda i, c: c * w + ad.astype(i, "float64"), x), H, RNG.random(2)),
    "nested": (nested, RNG.uniform(0.5, 2, 4), np.float64(1.6)),
    "linear loops": (linear, RNG.uniform(0.1, 0.5, 2), np.array([0.5, 1, 2])),
    "loops in loops": (loops_in_loops, RNG.uniform(0.5, 1, 2), np.float64(1.3)),
}  # fmt: skip
