"""Logistic regression by Newton's method on scikit-learn's breast-cancer data (569 real tumours, 30 measurements each).

Value, gradient, Hessian and the solution of the Newton equations by conjugate gradients, a loop of its own in the C,
are one native call per step, in float64. Compares the coefficients and the predictions with those of scikit-learn's
`LogisticRegression` for the same penalty.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import adjoint as ad


def load():
    """(training rows [n, 30], labels [n], held-out rows, labels), standardised by the training rows; 1 is benign."""
    data = load_breast_cancer()
    order = np.random.default_rng(2024).permutation(len(data.target))
    held, kept = np.split(order, [len(order) // 4])
    mean, spread = data.data[kept].mean(axis=0), data.data[kept].std(axis=0)
    rows, labels = (data.data - mean) / spread, data.target.astype(np.float64)
    return rows[kept], labels[kept], rows[held], labels[held]


def score(x, w):
    """The log of the odds of label 1: all entries of `w` but the last are coefficients, the last is the intercept."""
    return x @ w[:-1] + w[-1]


def objective(x, y, w, c):
    """scikit-learn's: c times the sum of the losses, and half the squared norm of the coefficients."""
    z = score(x, w)
    return c * ad.sum(ad.softplus(z) - y * z) + 0.5 * ad.sum(w[:-1] ** 2)


def conjugate_gradients(a, b, tolerance=1e-12):
    """(x, steps) with a x = b for a symmetric positive definite matrix, to a residual of `tolerance` times |b|.

    Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952.
    """
    enough = tolerance**2 * (b @ b)

    def step(state):
        x, residual, direction, square, count = state
        image = a @ direction
        length = square / (direction @ image)
        residual = residual - length * image
        after = residual @ residual
        return x + length * direction, residual, residual + after / square * direction, after, count + 1

    start = (ad.zeros_like(b), b, b, b @ b, ad.constant(0))
    x, *_, count = ad.while_loop(lambda state: state[3] > enough, step, start, max_iterations=10 * b.shape[0])
    return x, count


def build(features, c, backend="c"):
    """(Newton step, probabilities, parameters): the step takes rows [n, features] and labels [n].

    It returns the objective and the norm of its gradient before the update, and how many conjugate gradients it took.
    """
    x, y = ad.input("x", ("n", features), dtype="float64"), ad.input("y", ("n",), dtype="float64")
    w = ad.variable(np.zeros(features + 1), name="w")
    value = objective(x, y, w, c)
    slope = ad.grad(value, w)
    direction, count = conjugate_gradients(ad.hessian(value, w), slope)
    results = [value, ad.vector_norm(slope), count]
    newton = ad.compile([x, y], results, updates={w: w - direction}, name="newton", backend=backend)
    return newton, ad.compile(x, ad.sigmoid(score(x, w)), name="probabilities", backend=backend), w


def fit(newton, rows, labels, tolerance=1e-8, most=50):
    """Steps until the gradient's norm is below `tolerance`: (objective, norm, conjugate gradients) of each."""
    history = []
    while len(history) < most:
        value, norm, count = newton(rows, labels)
        history.append((float(value), float(norm), int(count)))
        if norm < tolerance:
            return history
    raise RuntimeError(f"the gradient's norm is still {history[-1][1]:.1e} after {most} steps")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--c", type=float, default=1.0, help="weight of the losses against the penalty (default: 1)")
    parser.add_argument("--backend", choices=("c", "numpy"), default="c", help="numpy needs no C compiler")
    options = parser.parse_args()
    if not options.c > 0:
        parser.error("--c must be positive")
    rows, labels, test_rows, test_labels = load()

    start = time.perf_counter()
    newton, probabilities, w = build(rows.shape[1], options.c, options.backend)
    compiled = time.perf_counter() - start
    start = time.perf_counter()
    history = fit(newton, rows, labels)
    fitted = time.perf_counter() - start
    print("step    objective        |gradient|   conjugate gradients")
    for number, (value, norm, count) in enumerate(history):
        print(f"{number:4}    {value:<14.10g}   {norm:<10.2e}   {count:4}")

    start = time.perf_counter()
    theirs = LogisticRegression(C=options.c, solver="newton-cholesky", tol=1e-10).fit(rows, labels)
    expected, took = np.append(theirs.coef_, theirs.intercept_), time.perf_counter() - start
    ours, guesses = w.value, probabilities(test_rows) > 0.5
    right, equal = np.mean(guesses == test_labels), np.mean(guesses == theirs.predict(test_rows))
    print("\ncoefficient                    adjoint    scikit-learn")
    names = [*load_breast_cancer().feature_names, "intercept"]
    for k in [*np.argsort(-np.abs(ours[:-1]))[:6], len(ours) - 1]:
        print(f"{names[k]:26} {ours[k]:11.6f}     {expected[k]:11.6f}")
    print(f"\nlargest difference of {len(ours)} coefficients  {np.abs(ours - expected).max():.1e}")
    print(f"same predictions                       {equal:.2%} of {len(test_labels)} held-out tumours")
    print(f"accuracy                               {right:.2%}")
    print(f"compiled in {compiled:.2f} s; fitted in {1e3 * fitted:.1f} ms, scikit-learn in {1e3 * took:.1f} ms")


if __name__ == "__main__":
    main()
