"""The problems of `examples/gradbench` in the words of jax and torch: functions from arguments to (value, derivatives).

Each is written as a user of the tool would, from the same formulas; loops are `scan` in jax and Python's in torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[], Any]


def jax_problem(name: str, arguments: Any, sizes: tuple[int, ...]) -> tuple[Call, Call]:
    """The objective and the gradient of a problem in jax, compiled, on arguments that are on the device."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import logsumexp

    def gmm(alpha: Any, means: Any, log_diagonal: Any, below: Any, x: Any) -> Any:
        n, d = x.shape
        columns, rows = np.triu_indices(d, 1)

        def component(a: Any, mean: Any, log_diag: Any, under: Any) -> Any:
            factor = jnp.diag(jnp.exp(log_diag)).at[rows, columns].set(under)
            white = x @ factor.T - factor @ mean
            return a + log_diag.sum() - 0.5 * (white**2).sum(-1), (factor**2).sum()

        densities, squares = jax.vmap(component)(alpha, means, log_diagonal, below)
        likelihood = logsumexp(densities, axis=0).sum() - n * (logsumexp(alpha) + 0.5 * d * math.log(2 * math.pi))
        return likelihood - 0.5 * squares.sum() + len(alpha) * gmm_constant(d)

    def lstm(main: Any, extra: Any, state: Any, text: Any) -> Any:
        c, b = text.shape
        layers = main.reshape((-1, 2, 4, b))

        def step(states: Any, x: Any) -> Any:
            new = []
            for (hidden, cell), (w, bias) in zip(states, layers, strict=True):
                forget, ingate = jax.nn.sigmoid(x * w[0] + bias[0]), jax.nn.sigmoid(hidden * w[1] + bias[1])
                outgate, change = jax.nn.sigmoid(x * w[2] + bias[2]), jnp.tanh(hidden * w[3] + bias[3])
                cell = cell * forget + ingate * change
                x = outgate * jnp.tanh(cell)
                new.append((x, cell))
            return new, x

        start = [(s[0], s[1]) for s in state.reshape((-1, 2, b))]
        _, outputs = jax.lax.scan(step, start, text[:-1] * extra[0])
        outputs = outputs * extra[1] + extra[2]
        logarithms = outputs - jnp.log(2 + jnp.exp(outputs).sum(-1, keepdims=True))
        return -(text[1:] * logarithms).sum() / ((c - 1) * b)

    def kmeans(points: Any, centroids: Any) -> Any:
        nearest = jnp.argmin((centroids**2).sum(-1) - 2 * (points @ centroids.T), -1)
        return ((points - centroids[nearest]) ** 2).sum()

    def llsq(x: Any) -> Any:
        n = sizes[0]
        t = 2 * jnp.arange(n) / (n - 1) - 1
        value, _ = jax.lax.scan(lambda v, c: (v * t + c, None), jnp.zeros(n), x, reverse=True)
        return 0.5 * ((jnp.sign(t) - value) ** 2).sum()

    def ode(x: Any) -> Any:
        h = 2 / sizes[1]

        def slope(y: Any) -> Any:
            return x * jnp.concatenate([jnp.ones(1), y[:-1]])

        def step(y: Any, _: Any) -> Any:
            k1 = slope(y)
            k2 = slope(y + h / 2 * k1)
            k3 = slope(y + h / 2 * k2)
            k4 = slope(y + h * k3)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return jax.lax.scan(step, jnp.zeros_like(x), length=sizes[1])[0]

    objective = {"gmm": gmm, "lstm": lstm, "kmeans": kmeans, "llsq": llsq, "ode": ode}[name]
    by: tuple[int, ...] = {"gmm": (0, 1, 2, 3), "lstm": (0, 1), "kmeans": (1,), "llsq": (0,), "ode": (0,)}[name]

    def last(*args: Any) -> Any:
        y = objective(*args)
        return y[-1], y

    def gradient(*args: Any) -> Any:
        if name == "ode":
            (_, y), found = jax.value_and_grad(last, by, has_aux=True)(*args)
            return y, *found
        if name == "kmeans":
            points, centroids = args
            diagonal = jax.jvp(lambda c: jax.grad(objective, 1)(points, c), (centroids,), (jnp.ones_like(centroids),))
            return objective(*args), *diagonal
        value, found = jax.value_and_grad(objective, by)(*args)
        return value, *found

    on_device = [jnp.asarray(a) for a in arguments]
    compiled = [jax.jit(objective), jax.jit(gradient)]
    return tuple(lambda f=f: jax.block_until_ready(f(*on_device)) for f in compiled)  # type: ignore[return-value,misc]


def torch_problem(name: str, arguments: Any, sizes: tuple[int, ...]) -> tuple[Call, Call]:
    """The objective and the gradient of a problem in eager torch."""
    import torch

    def gmm(alpha: Any, means: Any, log_diagonal: Any, below: Any, x: Any) -> Any:
        n, d = x.shape
        columns, rows = np.triu_indices(d, 1)
        factors = torch.diag_embed(torch.exp(log_diagonal))
        components = torch.arange(len(alpha))[:, None]
        factors = factors.index_put((components, torch.tensor(rows), torch.tensor(columns)), below)
        white = x @ factors.mT - (factors @ means[:, :, None]).mT
        densities = alpha[:, None] + log_diagonal.sum(-1)[:, None] - 0.5 * (white**2).sum(-1)
        likelihood = torch.logsumexp(densities, 0).sum()
        likelihood = likelihood - n * (torch.logsumexp(alpha, 0) + 0.5 * d * math.log(2 * math.pi))
        return likelihood - 0.5 * (factors**2).sum() + len(alpha) * gmm_constant(d)

    def lstm(main: Any, extra: Any, state: Any, text: Any) -> Any:
        c, b = text.shape
        layers = [(w.unbind(), bias.unbind()) for w, bias in main.reshape(-1, 2, 4, b)]
        states = [(s[0], s[1]) for s in state.reshape(-1, 2, b)]
        outputs = []
        for x in (text[:-1] * extra[0]).unbind():
            for k, (w, bias) in enumerate(layers):
                hidden, cell = states[k]
                forget, ingate = torch.sigmoid(x * w[0] + bias[0]), torch.sigmoid(hidden * w[1] + bias[1])
                outgate, change = torch.sigmoid(x * w[2] + bias[2]), torch.tanh(hidden * w[3] + bias[3])
                cell = cell * forget + ingate * change
                x = outgate * torch.tanh(cell)
                states[k] = x, cell
            outputs.append(x)
        found = torch.stack(outputs) * extra[1] + extra[2]
        logarithms = found - torch.log(2 + torch.exp(found).sum(-1, keepdim=True))
        return -(text[1:] * logarithms).sum() / ((c - 1) * b)

    def kmeans(points: Any, centroids: Any) -> Any:
        nearest = ((centroids**2).sum(-1) - 2 * (points @ centroids.T)).argmin(-1)
        return ((points - centroids[nearest]) ** 2).sum()

    def llsq(x: Any) -> Any:
        n = sizes[0]
        t = 2 * torch.arange(n, dtype=torch.float64) / (n - 1) - 1
        value = torch.zeros_like(t)
        for c in reversed(x.unbind()):
            value = value * t + c
        return 0.5 * ((torch.sign(t) - value) ** 2).sum()

    def ode(x: Any) -> Any:
        h, one = 2 / sizes[1], torch.ones(1, dtype=torch.float64)

        def slope(y: Any) -> Any:
            return x * torch.cat([one, y[:-1]])

        y = torch.zeros_like(x)
        for _ in range(sizes[1]):
            k1 = slope(y)
            k2 = slope(y + h / 2 * k1)
            k3 = slope(y + h / 2 * k2)
            k4 = slope(y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y

    objective = {"gmm": gmm, "lstm": lstm, "kmeans": kmeans, "llsq": llsq, "ode": ode}[name]
    by: tuple[int, ...] = {"gmm": (0, 1, 2, 3), "lstm": (0, 1), "kmeans": (1,), "llsq": (0,), "ode": (0,)}[name]
    tensors = [torch.tensor(a) for a in arguments]

    def value() -> Any:
        with torch.no_grad():
            return objective(*tensors)

    def gradient() -> Any:
        leaves = [t.detach().requires_grad_(k in by) for k, t in enumerate(tensors)]
        y = objective(*leaves)
        wanted = [leaves[k] for k in by]
        if name == "kmeans":
            (first,) = torch.autograd.grad(y, wanted, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), wanted)
            return y.detach(), first.detach(), second
        return y.detach(), *torch.autograd.grad(y[-1] if name == "ode" else y, wanted)

    return value, gradient


def gmm_constant(d: int) -> float:
    """The logarithm of the factor of the Wishart prior with γ = 1 and m = 0 that does not depend on the parameters."""
    dof = d + 1
    log_gamma = 0.25 * d * (d - 1) * math.log(math.pi) + sum(math.lgamma(0.5 * (dof - i)) for i in range(d))
    return -0.5 * dof * d * math.log(2) - log_gamma
