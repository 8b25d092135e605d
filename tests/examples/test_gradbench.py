"""The problems of GradBench against implementations in NumPy that share nothing with them, in float64.

Derivatives are those of a complex step, Im f(x + ih) / h with h = 1e-30, which has no cancellation (Squire, Trapp,
"Using complex variables to estimate derivatives of real functions", 1998), or derived by hand.
"""

from __future__ import annotations

import importlib
import math
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import multigammaln
from scipy.stats import multivariate_normal

import adjoint as ad

Array = np.ndarray[Any, Any]
FOLDER = Path(__file__).parents[2] / "examples" / "gradbench"
BACKENDS = ("c", "numpy")


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a module of the folder, under its own name and for the length of a test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = [path.stem for path in FOLDER.glob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


def same(got: Any, want: Any, tolerance: float = 1e-11) -> None:
    """Equal within the tolerance, relative to the largest element."""
    want = np.asarray(want)
    assert np.shape(got) == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.max(np.abs(want), initial=1e-300))


def complex_step(f: Callable[..., Any], parameters: Sequence[Array]) -> tuple[float, list[Array]]:
    """The value of f and its derivatives by all parameters.

    f takes parameters with one more axis, the last, along which each has one element moved; it returns one value each.
    """
    h, total = 1e-30, sum(p.size for p in parameters)
    moved, start = [], 0
    for p in parameters:
        step = np.zeros((p.size, total))
        step[:, start : start + p.size] = np.eye(p.size)
        moved.append(p[..., None] + 1j * h * step.reshape(*p.shape, total))
        start += p.size
    values = f(*moved)
    flat = np.split(values.imag / h, np.cumsum([p.size for p in parameters])[:-1])
    return values[0].real, [g.reshape(p.shape) for g, p in zip(flat, parameters, strict=True)]


def logsumexp(rows: Sequence[Array]) -> Array:
    top = np.max([r.real for r in rows], axis=0)
    return np.log(sum(np.exp(r - top) for r in rows)) + top


def gmm_loops(x: Array, gamma: float, m: int) -> Callable[..., Array]:
    n, d = x.shape

    def f(alpha: Array, means: Array, log_diagonal: Array, below: Array) -> Array:
        densities, prior = [], 0
        for a, mean, q, l in zip(alpha, means, log_diagonal, below, strict=True):
            centred = [x[:, i, None] - mean[i] for i in range(d)]
            white = [np.exp(q[i]) * centred[i] for i in range(d)]
            place = 0
            for j in range(d):
                for i in range(j + 1, d):
                    white[i] = white[i] + l[place] * centred[j]
                    place += 1
            densities.append(a + sum(q) - 0.5 * sum(w**2 for w in white))
            prior += m * sum(q) - 0.5 * gamma**2 * (sum(np.exp(2 * q)) + np.sum(l**2, 0))
            dof = d + m + 1
            prior += dof * d * (math.log(gamma) - 0.5 * math.log(2)) - multigammaln(0.5 * dof, d)
        likelihood = logsumexp(densities).sum(0) - n * logsumexp(list(alpha))
        return likelihood - 0.5 * n * d * math.log(2 * math.pi) + prior

    return f


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("sizes", "gamma", "m"), [((1, 1, 1), 1.0, 0), ((2, 3, 17), 1.3, 2), ((6, 5, 40), 0.7, 3), ((9, 3, 33), 1.0, 0)]
)
def test_gmm(sizes: tuple[int, int, int], gamma: float, m: int, backend: str, problem: Any) -> None:
    gmm = problem("gmm")
    *parameters, x = gmm.sample(np.random.default_rng(sum(sizes)), *sizes)
    value, gradients = gmm.build(*sizes, gamma, m, threads=1, backend=backend)(*parameters, x)
    want, wanted = complex_step(gmm_loops(x, gamma, m), parameters)
    same(value, want)
    for got, g in zip(gradients, wanted, strict=True):
        same(got, g)


def test_gmm_is_a_mixture_of_normal_densities(problem: Any) -> None:
    gmm = problem("gmm")
    d, k, n = 3, 4, 50
    alpha, means, log_diagonal, below, x = gmm.sample(np.random.default_rng(5), d, k, n)
    # Prior and likelihood are told apart by the difference of two sets of points.
    function = gmm.build(d, k, n, threads=1, backend="numpy")
    weights = np.exp(alpha) / np.exp(alpha).sum()
    factors = [np.diag(np.exp(q)) for q in log_diagonal]
    for factor, l in zip(factors, below, strict=True):
        factor[[1, 2, 2], [0, 0, 1]] = l

    def likelihood(points: Array) -> float:
        parts = [
            w * multivariate_normal(mean, np.linalg.inv(q.T @ q)).pdf(points)
            for w, mean, q in zip(weights, means, factors, strict=True)
        ]
        return float(np.log(sum(parts)).sum())

    other = 0.5 * x + 0.1
    parameters = alpha, means, log_diagonal, below
    difference = function(*parameters, x)[0] - function(*parameters, other)[0]
    same(difference, likelihood(x) - likelihood(other), 1e-9)


def lstm_loops(state: Array, text: Array) -> Callable[..., Array]:
    def sigmoid(z: Array) -> Array:
        return 1 / (1 + np.exp(-z))

    def f(main: Array, extra: Array) -> Array:
        b = text.shape[1]
        hidden, cells = [h[:, None] for h in state[::2]], [c[:, None] for c in state[1::2]]
        total = 0
        for x, following in pairwise(text):
            y = x[:, None] * extra[0]
            for k in range(len(hidden)):
                w, bias = main[2 * k], main[2 * k + 1]
                gates = [slice(b * g, b * (g + 1)) for g in range(4)]
                forget = sigmoid(y * w[gates[0]] + bias[gates[0]])
                ingate = sigmoid(hidden[k] * w[gates[1]] + bias[gates[1]])
                outgate = sigmoid(y * w[gates[2]] + bias[gates[2]])
                change = np.tanh(hidden[k] * w[gates[3]] + bias[gates[3]])
                cells[k] = cells[k] * forget + ingate * change
                y = hidden[k] = outgate * np.tanh(cells[k])
            y = y * extra[1] + extra[2]
            normalised = y - np.log(2 + np.exp(y).sum(0))
            total = total - (following[:, None] * normalised).sum(0)
        return total / ((len(text) - 1) * b)

    return f


@pytest.mark.parametrize(("name", "c", "backends"), [("lstm_l2_c1024", 1024, ("c",)), ("lstm_l4_c1024", 60, BACKENDS)])
def test_lstm_on_a_text(name: str, c: int, backends: Sequence[str], problem: Any) -> None:
    lstm = problem("lstm")
    *parameters, state, text = lstm.load(FOLDER / "data" / f"{name}.txt")
    assert text.shape == (1024, 14) and set(text.flat) == {0, 1} and len(state) == len(parameters[0])
    written = "".join(chr(int("".join("01"[int(bit)] for bit in row), 2)) for row in text)
    assert written.startswith("THE SONNETS") and "From fairest creatures we desire increase" in written
    text = text[:c]
    want, wanted = complex_step(lstm_loops(state, text), parameters)
    for backend in backends:
        value, gradients = lstm.build(len(state) // 2, c, 14, threads=1, backend=backend)(*parameters, state, text)
        same(value, want)
        for got, g in zip(gradients, wanted, strict=True):
            same(got, g)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [(1, 2, 3), (3, 30, 5)])
def test_lstm_of_other_sizes(sizes: tuple[int, int, int], backend: str, problem: Any) -> None:
    lstm = problem("lstm")
    *parameters, state, text = lstm.sample(np.random.default_rng(1), *sizes)
    value, gradients = lstm.build(*sizes, threads=1, backend=backend)(*parameters, state, text)
    want, wanted = complex_step(lstm_loops(state, text), parameters)
    same(value, want)
    for got, g in zip(gradients, wanted, strict=True):
        same(got, g)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [(1, 3, 2), (4, 60, 3), (11, 130, 16)])
def test_kmeans(sizes: tuple[int, int, int], backend: str, problem: Any) -> None:
    kmeans = problem("kmeans")
    points, centroids = kmeans.sample(np.random.default_rng(2), *sizes)
    centroids += 0.1
    function = kmeans.build(*sizes, threads=1, backend=backend)
    value, (gradient, diagonal) = function(points, centroids)
    want, wanted, count = 0.0, np.zeros_like(centroids), np.zeros_like(centroids)
    for p in points:
        distances = [((p - c) ** 2).sum() for c in centroids]
        nearest = int(np.argmin(distances))
        want += distances[nearest]
        wanted[nearest] += 2 * (centroids[nearest] - p)
        count[nearest] += 2
    same(value, want)
    same(gradient, wanted)
    np.testing.assert_array_equal(diagonal, count)
    if diagonal.all():
        # In the quadratic piece, a step of Newton's method goes to the means of the clusters.
        nearest = ((points[:, None] - centroids) ** 2).sum(-1).argmin(1)
        means = [points[nearest == j].mean(0) for j in range(len(centroids))]
        same(centroids - gradient / diagonal, means)


def test_kmeans_the_diagonal_of_the_hessian(problem: Any) -> None:
    kmeans = problem("kmeans")
    k, n, d = 3, 25, 2
    p, c = ad.input("p", (n, d), "float64"), ad.input("c", (k, d), "float64")
    cost = kmeans.cost(p, c)
    least = ad.min(((p[:, None] - c) ** 2).sum(-1), -1).sum()
    units = ad.constant(np.eye(k * d).reshape(-1, k, d))
    products = [ad.hvp(cost, c, units[j]) for j in range(k * d)]
    points, centroids = kmeans.sample(np.random.default_rng(3), k, n, d)
    centroids += 0.1
    function = kmeans.build(k, n, d, threads=1)
    _, (_, diagonal) = function(points, centroids)
    for backend in BACKENDS:
        outputs = [ad.hessian(cost, c), ad.stack(products), cost, ad.grad(cost, c), least, ad.grad(least, c)]
        hessian, rows, *found = ad.compile([p, c], outputs, threads=1, backend=backend)(points, centroids)
        np.testing.assert_array_equal(hessian.reshape(k * d, k * d), np.diag(diagonal.ravel()))
        np.testing.assert_array_equal(rows.reshape(k * d, k * d), np.diag(diagonal.ravel()))
        same(found[0], found[2])
        same(found[1], found[3])
    for place in np.ndindex(k, d):
        h = np.zeros((k, d))
        h[place] = 1e-6
        gradients = [function(points, centroids + sign * h)[1][0] for sign in (1, -1)]
        column = (gradients[0] - gradients[1]) / 2e-6
        same(column, np.where(h, diagonal, 0), 1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n", "m"), [(2, 1), (31, 5), (1000, 24)])
def test_llsq(n: int, m: int, backend: str, problem: Any) -> None:
    llsq = problem("llsq")
    (x,) = llsq.sample(np.random.default_rng(4), n, m)
    value, gradient = llsq.build(n, m, threads=1, backend=backend)(x)
    t = np.array([-1 + 2 * i / (n - 1) for i in range(n)])
    powers = t[:, None] ** np.arange(m)
    residuals = np.sign(t) - powers @ x
    same(value, 0.5 * residuals @ residuals)
    same(gradient, -powers.T @ residuals)


def ode_loops(s: int) -> Callable[..., Array]:
    def slope(x: Array, y: Array) -> Array:
        z = np.empty_like(x)
        z[0] = x[0]
        for i in range(1, len(x)):
            z[i] = x[i] * y[i - 1]
        return z

    def f(x: Array) -> Array:
        h, y = 2 / s, np.zeros_like(x)
        for _ in range(s):
            k1 = slope(x, y)
            k2 = slope(x, y + h * k1 / 2)
            k3 = slope(x, y + h * k2 / 2)
            k4 = slope(x, y + h * k3)
            y = y + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        return y

    return f


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n", "s"), [(1, 1), (5, 7), (40, 30)])
def test_ode(n: int, s: int, backend: str, problem: Any) -> None:
    ode = problem("ode")
    (x,) = ode.sample(np.random.default_rng(6), n, s)
    y, gradient = ode.build(n, s, threads=1, backend=backend)(x)
    want, (wanted,) = complex_step(lambda z: ode_loops(s)(z)[-1], [x])
    same(y, ode_loops(s)(x))
    same(y[-1], want)
    same(gradient, wanted)


def test_ode_tends_to_the_exact_solution(problem: Any) -> None:
    ode = problem("ode")
    n = 8
    x = np.linspace(0.5, 2, n)
    exact = np.cumprod(x) * 2.0 ** np.arange(1, n + 1) / [math.factorial(i + 1) for i in range(n)]
    errors = []
    for s in (20, 40):
        y, gradient = ode.build(n, s, threads=1, backend="numpy")(x)
        # The method is exact for polynomials of degree 4; every element is linear in each of its coefficients.
        same(y[:4], exact[:4], 1e-13)
        same(gradient, y[-1] / x, 1e-13)
        errors.append(np.abs(y - exact).max())
    assert errors[0] < 1e-4 and 14 < errors[0] / errors[1] < 18, "the order is 4"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("gmm", "3 4 50"), ("lstm", ""), ("kmeans", "3 50 4"), ("llsq", "64 5"), ("ode", "6 20")],
)
def test_main(
    name: str, arguments: str, problem: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(problem("gradbench_common").report, "__kwdefaults__", {"seconds": 0.0})
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments.split()])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["value", "gradient", "time"]


def test_sizes_that_are_none(problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ode.py", "10"])
    with pytest.raises(SystemExit, match=r"usage: python ode\.py N S"):
        problem("gradbench_common").sizes("n s", 10, 1000)
