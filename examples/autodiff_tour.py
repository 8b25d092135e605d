"""A tour of automatic differentiation: small functions whose derivatives can be checked by hand, then two models.

Every stop builds a graph, lets `ad.grad` append the derivative, compiles both into one native function and calls it.
Run it to read along; each stop also returns what it computed.
"""

import argparse

import numpy as np

import adjoint as ad

OPTIONS = {"backend": "c"}


def compiled(inputs, outputs, **options):
    return ad.compile(inputs, outputs, **OPTIONS, **options)


def say(*lines):
    print(*lines, sep="\n")


def numbers(value):
    """Arrays and numbers as short text."""
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(numbers, value)) + ")"
    return np.array2string(np.asarray(value), precision=4, suppress_small=True).replace("\n", "")


def inner_product():
    say("A scalar of a vector: y = 2·xᵀx. Each element contributes 2x², so the gradient is 4x.")
    x = ad.input("x", (4,))
    y = 2 * (x @ x)
    value, slope = compiled(x, [y, ad.grad(y, x)])(np.arange(4, dtype=np.float32))
    say(f"    x = [0 1 2 3]   y = {numbers(value)}   dy/dx = {numbers(slope)}")
    return value, slope


def sum_of_elements():
    say("Every element of x counts once in sum(x), so its gradient is all ones.")
    x = ad.input("x", (4,))
    slope = compiled(x, ad.grad(x.sum(), x))(np.arange(4, dtype=np.float32))
    say(f"    d sum(x)/dx = {numbers(slope)}")
    return slope


def cotangents():
    say(
        "y = x·x is a vector. `grad` then asks how to weigh its elements: with a cotangent of ones we get the",
        "gradient of their sum, 2x.",
    )
    x = ad.input("x", (4,))
    slope = compiled(x, ad.grad(x * x, x, cotangent=np.ones(4, np.float32)))(np.arange(4, dtype=np.float32))
    say(f"    2x = {numbers(slope)}")
    return slope


def detached():
    say(
        "`detach` keeps a value and drops its history. With u = detach(x·x), z = u·x depends on x only through the",
        "second factor, and dz/dx = u in place of 3x².",
    )
    x = ad.input("x", (4,))
    u = (x * x).detach()
    value, slope = compiled(x, [u, ad.grad((u * x).sum(), x)])(np.arange(4, dtype=np.float32))
    say(f"    u = {numbers(value)}   dz/dx = {numbers(slope)}")
    return value, slope


def polynomials():
    say("Derivatives of polynomials, each at one point:")
    x = ad.input("x")
    found = []
    for text, y, at in (
        ("x² + 3x + 1", x**2 + 3 * x + 1, 2),
        ("x³ - 2x² + x - 1", x**3 - 2 * x**2 + x - 1, 3),
    ):
        slope = compiled(x, ad.grad(y, x))(at)
        say(f"    d/dx {text} at {at} = {numbers(slope)}")
        found.append(slope)
    return found


def two_variables():
    say("Several inputs: a list in, a list out.")
    x, y = ad.input("x"), ad.input("y")
    found = []
    for text, z in (("x·y + x²", x * y + x**2), ("x² + y² + 2xy", x**2 + y**2 + 2 * x * y)):
        slopes = compiled([x, y], ad.grad(z, [x, y]))(1, 2)
        say(f"    ∇({text}) at (1, 2) = {numbers(slopes)}")
        found.append(slopes)
    return found


def second_derivative():
    say("A derivative is a graph like any other and can be differentiated again.")
    x = ad.input("x")
    first = ad.grad(x**4, x)
    values = compiled(x, [first, ad.grad(first, x)])(2)
    say(f"    x⁴ at 2: first {numbers(values[0])}, second {numbers(values[1])}")
    return values


def one_neuron():
    say(
        "A neuron with a squared error, (W·x + b - t)² with W = 3, x = 2, b = 1. Its output is 7: for t = 7 nothing is",
        "to be learnt, for t = 5 the error of 2 gives 2·2·x and 2·2.",
    )
    w, b = ad.variable(3.0, "W"), ad.variable(1.0, "b")
    x, t = ad.input("x"), ad.input("t")
    slopes = compiled([x, t], ad.grad((w * x + b - t) ** 2, [w, b]))
    found = [slopes(2, target) for target in (7, 5)]
    for target, (dw, db) in zip((7, 5), found, strict=True):
        say(f"    t = {target}: d/dW = {numbers(dw)}, d/db = {numbers(db)}")
    return found


def matrices():
    say("Matrices: xᵀAx has the gradient (A + Aᵀ)x, which is 2Ax where A is symmetric; trace(AᵀB) has B.")
    a, x, b = ad.input("A", (3, 3)), ad.input("x", (3,)), ad.input("B", (3, 3))
    slopes = compiled([a, x, b], [ad.grad(x @ a @ x, x), ad.grad(ad.trace(a.T @ b), a)])
    rng = np.random.default_rng(0)
    root, x0, b0 = (rng.integers(-3, 4, s).astype(np.float32) for s in ((3, 3), 3, (3, 3)))
    a0 = root + root.T
    along_x, along_a = slopes(a0, x0, b0)
    say(f"    d(xᵀAx)/dx = {numbers(along_x)}   2Ax = {numbers(2 * a0 @ x0)}")
    say(f"    d trace(AᵀB)/dA = {numbers(along_a)}   B = {numbers(b0)}")
    return (along_x, 2 * a0 @ x0), (along_a, b0)


def elementwise():
    say("Summing y = x² + 3x over a vector gives each element the slope 2x + 3.")
    x = ad.input("x", (2,))
    slope = compiled(x, ad.grad((x**2 + 3 * x).sum(), x))(np.float32([2, 3]))
    say(f"    at (2, 3): {numbers(slope)}")
    return slope


def linear_regression(steps=300, rate=0.1):
    say("Linear regression by plain gradient descent, on 100 noisy points of y = 3x + 2.")
    rng = np.random.default_rng(1)
    points = rng.standard_normal(100, dtype=np.float32)
    values = 3 * points + 2 + 0.1 * rng.standard_normal(100, dtype=np.float32)
    x, y = ad.input("x", ("n",)), ad.input("y", ("n",))
    w, b = ad.variable(0.0, "w"), ad.variable(0.0, "b")
    loss = ad.nn.mse_loss(w * x + b, y)
    dw, db = ad.grad(loss, [w, b])
    step = compiled([x, y], loss, updates={w: w - rate * dw, b: b - rate * db}, name="descend")
    for k in range(steps):
        error = step(points, values)
        if k % 100 == 0 or k == steps - 1:
            say(f"    step {k:3}   loss {numbers(error)}   w = {numbers(w.value)}   b = {numbers(b.value)}")
    return float(w.value), float(b.value), points, values


def network(steps=201, rate=0.1, max_norm=1.0):
    say(
        "A network 10-50-20-1 with ReLU and a mean squared error, in batches of 32. Every step returns the norm of the",
        f"gradient of every layer's weights; all gradients together are scaled down to a norm of at most {max_norm:g}.",
    )
    model = ad.nn.Sequential(
        ad.nn.Linear(10, 50, seed=1), ad.relu, ad.nn.Linear(50, 20, seed=2), ad.relu, ad.nn.Linear(20, 1, seed=3)
    )
    say(*(f"    {line}" for line in ad.nn.summary(model, ad.input("x", (32, 10))).splitlines()))
    x, t = ad.input("x", (32, 10)), ad.input("t", (32, 1))
    loss = ad.nn.mse_loss(model(x), t)
    weights = model.named_parameters()
    slopes = dict(zip(weights, ad.grad(loss, list(weights.values())), strict=True))
    norms = {name: ad.vector_norm(g) for name, g in slopes.items() if name.endswith("weight")}
    clipped, total = ad.optim.clip_by_global_norm(slopes, max_norm)
    updates = ad.optim.SGD(rate).apply({weights[name]: g for name, g in clipped.items()})
    step = compiled([x, t], {"loss": loss, "total": total, "norms": norms}, updates=updates, name="train")

    rng = np.random.default_rng(2)
    inputs = rng.standard_normal((1024, 10), dtype=np.float32)
    targets = 3 * np.sin(inputs[:, :1]) + inputs[:, 1:2] * inputs[:, 2:3]
    history = []
    for k in range(steps):
        chosen = rng.integers(0, len(inputs), 32)
        results = step(inputs[chosen], targets[chosen])
        history.append((chosen, results))
        if k % 40 == 0:
            each = "   ".join(f"|d {name}| {numbers(n)}" for name, n in results["norms"].items())
            say(f"    step {k:3}   loss {numbers(results['loss'])}   norm {numbers(results['total'])}   {each}")
    return model, inputs, targets, history


STOPS = (
    inner_product, sum_of_elements, cotangents, detached, polynomials, two_variables, second_derivative, one_neuron,
    matrices, elementwise, linear_regression, network,
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="A tour of automatic differentiation.")
    parser.add_argument("--backend", choices=("c", "numpy"), default="c")
    OPTIONS["backend"] = parser.parse_args().backend
    for number, stop in enumerate(STOPS, 1):
        say(f"\n{number}. {stop.__name__.replace('_', ' ').capitalize()}\n")
        stop()


if __name__ == "__main__":
    main()
