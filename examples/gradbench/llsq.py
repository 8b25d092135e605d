"""Least squares by a polynomial: the distance to the sign function at n places, and its gradient by m coefficients.

The problem `llsq_obj` of cmpad, as GradBench has it: Σ (sign(t) - p(t))² / 2 over n places from -1 to 1.

    python examples/gradbench/llsq.py 4096 32
"""

import numpy as np
from gradbench_common import report, sizes

import adjoint as ad


def distance(x, n):
    """The 0-d objective for the polynomial x[0] + x[1] t + x[2] t² + … at n places."""
    # The quotient is rounded once, so that the place in the middle is 0, where the sign is 0.
    t = 2 * ad.arange(n, dtype="float64") / (n - 1) - 1
    residuals = ad.sign(t) - polynomial(x, t)
    return 0.5 * (residuals**2).sum()


def polynomial(x, t):
    """Σ x[j] t^j, of the shape of t, by Horner's rule."""
    value, _ = ad.scan(lambda value, c: (value * t + c, None), ad.zeros_like(t), x, reverse=True)
    return value


def build(n, m, threads=None, backend="c"):
    """A function of the m coefficients that returns the objective and its gradient."""
    x = ad.input("x", (m,), "float64")
    return ad.compile(x, ad.value_and_grad(distance(x, n), x), name="llsq", threads=threads, backend=backend)


def sample(rng, n, m):
    return (rng.standard_normal(m),)


if __name__ == "__main__":
    n, m = sizes("n m", 4096, 32)
    report(build(n, m), *sample(np.random.default_rng(0), n, m))
