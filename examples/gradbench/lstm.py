"""The LSTM of ADBench: how badly it predicts the next character of a text, and the gradient of that.

Characters are rows of b bits; all weights are diagonal, so the l layers work on each bit alone. The files of `data` are
two of ADBench's: parameters drawn at random, and the beginning of Shakespeare's sonnets in rows of 14 bits.

    python examples/gradbench/lstm.py examples/gradbench/data/lstm_l4_c1024.txt
"""

import math
import sys
from pathlib import Path

import numpy as np
from gradbench_common import report

import adjoint as ad

DATA = Path(__file__).parent / "data"


def loss(main, extra, state, text):
    """The 0-d mean over bits and characters of the negative logarithm of what is predicted.

    main[2 * l, 4 * b]  weights of layer 0, biases of layer 0, weights of layer 1, …: each of them those of the forget
                        gate, the input gate, the output gate and the candidate
    extra[3, b]         weights of the input, weights and bias of the output
    state[2 * l, b]     hidden values of layer 0, cells of layer 0, hidden values of layer 1, …, before the text
    text[c, b]          the characters
    """
    c, b = text.shape
    layers = main.reshape((-1, 2, 4, b))
    start = state.reshape((-1, 2, b))

    def step(states, x):
        new = []
        for (hidden, cell), (weights, biases) in zip(states, map(ad.unstack, ad.unstack(layers)), strict=True):
            hidden, cell = layer(weights, biases, hidden, cell, x)
            new.append((hidden, cell))
            x = hidden
        return new, x

    _, outputs = ad.scan(step, [tuple(ad.unstack(s)) for s in ad.unstack(start)], text[:-1] * extra[0])
    outputs = outputs * extra[1] + extra[2]
    # Predictions are normalised by 2 + Σ exp, as in ADBench.
    logarithms = outputs - ad.logaddexp(ad.logsumexp(outputs, -1, keepdims=True), math.log(2))
    return -(text[1:] * logarithms).sum() / ((c - 1) * b)


def layer(weights, biases, hidden, cell, x):
    """The next hidden values and cells. The forget and the output gate see the input, the others the hidden values."""
    forget = ad.sigmoid(x * weights[0] + biases[0])
    ingate = ad.sigmoid(hidden * weights[1] + biases[1])
    outgate = ad.sigmoid(x * weights[2] + biases[2])
    change = ad.tanh(hidden * weights[3] + biases[3])
    cell = cell * forget + ingate * change
    return outgate * ad.tanh(cell), cell


def build(l, c, b, threads=None, backend="c"):
    """A function of main, extra, state and text that returns the loss and its derivatives by main and extra."""
    shapes = {"main": (2 * l, 4 * b), "extra": (3, b), "state": (2 * l, b), "text": (c, b)}
    main, extra, state, text = inputs = [ad.input(name, shape, "float64") for name, shape in shapes.items()]
    outputs = ad.value_and_grad(loss(main, extra, state, text), [main, extra])
    return ad.compile(inputs, outputs, name="lstm", threads=threads, backend=backend)


def load(path):
    """Main, extra, state and text of a file of ADBench."""
    _, *blocks = Path(path).read_text(encoding="ascii").strip().split("\n\n")
    main, extra, state, text = (np.array([row.split() for row in b.split("\n")], np.float64) for b in blocks)
    return main, extra, state, text


def sample(rng, l, c, b=14):
    """Arguments as ADBench draws them; the text is that of its files, again and again, b bits of each character."""
    text = load(DATA / "lstm_l2_c1024.txt")[-1][:, -b:]
    return *(rng.uniform(size=s) for s in ((2 * l, 4 * b), (3, b), (2 * l, b))), np.resize(text, (c, b))


if __name__ == "__main__":
    arguments = load(sys.argv[1] if len(sys.argv) > 1 else DATA / "lstm_l2_c1024.txt")
    main, _, _, text = arguments
    report(build(len(main) // 2, *text.shape), *arguments)
