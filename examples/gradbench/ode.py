"""A system of differential equations solved by Runge and Kutta's method, and the gradient of the last of its values.

The problem `an_ode` of cmpad, as GradBench has it: y₀' = x₀ and yᵢ' = xᵢ yᵢ₋₁ from y = 0 at time 0 to time 2. The exact
solution is yᵢ = x₀ x₁ … xᵢ t^(i+1) / (i+1)!.

    python examples/gradbench/ode.py 10 1000
"""

import numpy as np
from gradbench_common import report, sizes

import adjoint as ad


def solution(x, s, end=2.0):
    """y[n] at the time `end` for coefficients x[n], in s steps."""
    h = end / s

    def slope(y):
        return x * ad.concat([ad.ones((1,), "float64"), y[:-1]])

    def step(_, y):
        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        k4 = slope(y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return ad.fori_loop(s, step, ad.zeros_like(x))


def build(n, s, threads=None, backend="c"):
    """A function of x[n] that returns y[n], and the gradient of its last element."""
    x = ad.input("x", (n,), "float64")
    y = solution(x, s)
    return ad.compile(x, (y, ad.grad(y[-1], x)), name="ode", threads=threads, backend=backend)


def sample(rng, n, s):
    return (rng.uniform(size=n),)


if __name__ == "__main__":
    n, s = sizes("n s", 10, 1000)
    report(build(n, s), *sample(np.random.default_rng(0), n, s))
