"""One regression in three styles: functional, on the graph, and imperative. All three end at the same weights.

The data is y = x · (1, -2, 3) and noise; every style makes steps of gradient descent on the mean squared error.
"""

import argparse

import numpy as np

import adjoint as ad

RATE = 0.1


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3)).astype("f")
    y = x @ np.array([1, -2, 3], np.float32) + 0.01 * rng.standard_normal(64).astype("f")
    return x, y


def loss_of(w, x, y):
    return ((x @ w - y) ** 2).mean()


def functional(steps):
    """A Python function and its derivative: state is what goes in and comes out."""

    @ad.function
    def step(w, x, y):
        loss, slope = ad.value_and_grad(loss_of)(w, x, y)
        return w - RATE * slope, loss

    w = np.zeros(3, np.float32)
    for _ in range(steps):
        w, loss = step(w, *data())
    return w, float(loss)


def on_the_graph(steps):
    """Nodes and the nodes of their derivative: state is a variable that a compiled step updates."""
    x, y = ad.input("x", ("n", 3)), ad.input("y", ("n",))
    w = ad.variable(np.zeros(3, np.float32), name="w")
    loss = loss_of(w, x, y)
    step = ad.compile([x, y], loss, updates={w: w - RATE * ad.grad(loss, w)}, name="step")
    for _ in range(steps):
        value = step(*data())
    return w.value.copy(), float(value)


def imperative(steps):
    """Gradients that accumulate in `w.grad`: here over four mini-batches, before an optimiser takes a step."""
    x, y = ad.input("x", ("n", 3)), ad.input("y", ("n",))
    w = ad.variable(np.zeros(3, np.float32), name="w")
    loss = loss_of(w, x, y) / 4
    accumulate = ad.compile([x, y], loss, updates=ad.backward(loss), name="accumulate")
    descend = ad.compile([], [], updates=ad.optim.SGD(RATE).apply({w: w.grad}), name="descend")
    for _ in range(steps):
        ad.zero_grad([w])
        value = 0.0
        for images, target in zip(*(np.split(a, 4) for a in data()), strict=True):
            value += float(accumulate(images, target))
        descend()
    return w.value.copy(), value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="of gradient descent (default: %(default)s)")
    options = parser.parse_args()
    for style in (functional, on_the_graph, imperative):
        weights, loss = style(options.steps)
        print(f"{style.__name__:>13}   w = {np.round(weights, 3)}   loss = {loss:.6f}")
