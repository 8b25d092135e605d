"""What the examples on handwritten digits share: the images, the loop of training, the pictures and the report.

The data are scikit-learn's bundled digits: 1797 real 8×8 images.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from pictures import draw_losses, plt
from sklearn.datasets import load_digits

import adjoint as ad


def load():
    """(training images, labels, held-out images, labels): every run holds out the same fifth."""
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(2024).permutation(len(images))
    held, kept = np.split(order, [len(images) // 5])
    return images[kept], labels[kept], images[held], labels[held]


def build(model, batch, n_test, threads=None, backend="c"):
    """The training step and the classifier of a model of images[n, 64], which share its variables."""
    x = ad.input("x", (batch, 64))
    t = ad.input("t", (batch,), dtype="int64")
    rate = ad.input("rate", ())
    loss = ad.nn.cross_entropy(model(x), t)
    updates = ad.optim.Adam(rate).minimize(loss)
    step = ad.compile([x, t, rate], loss, updates=updates, name="step", threads=threads, backend=backend)

    images = ad.input("images", (n_test, 64))
    probabilities = ad.softmax(model(images))
    classify = ad.compile(images, probabilities, name="classify", threads=threads, backend=backend)
    return step, classify


def progress(done, total, loss):
    """One line on stderr, rewritten in place."""
    if sys.stderr.isatty() or done == total:
        filled = 40 * done // total
        bar = "█" * filled + "·" * (40 - filled)
        print(f"\r{bar} {done:5}/{total}  loss {loss:.4f}", end="\n" if done == total else "", file=sys.stderr)


def train(step, images, labels, batch, epochs, rate, disturb):
    """The loss of every step, and the seconds spent in them. `disturb(rng, images)` changes the images of a step at
    random, which keeps so few from being learnt by heart."""
    rng = np.random.default_rng(7)
    per_epoch = len(images) // batch
    losses, seconds = [], 0.0
    total = epochs * per_epoch
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for k in range(per_epoch):
            chosen = order[k * batch : (k + 1) * batch]
            x, t = disturb(rng, images[chosen]), labels[chosen]
            now = rate * 0.5 * (1 + np.cos(np.pi * len(losses) / total))  # falls to zero along half a cosine
            start = time.perf_counter()
            loss = step(x, t, now)
            seconds += time.perf_counter() - start
            losses.append(float(loss))
        progress(len(losses), total, float(np.mean(losses[-per_epoch:])))
    return losses, seconds


def draw_mistakes(path, images, labels, probabilities):
    """Every misclassified image with its label, what was read instead, and how surely."""
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    columns = max(4, min(8, len(wrong)))
    rows = max(1, -(-len(wrong) // columns))
    figure, grid = plt.subplots(rows, columns, figsize=(1.5 * columns, 0.6 + 2 * rows), dpi=150, squeeze=False)
    for axes in grid.flat[len(wrong) :]:
        axes.axis("off")
    for axes, k in zip(grid.flat, wrong, strict=False):
        axes.imshow(images[k].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{labels[k]} read as {guesses[k]}\n{probabilities[k].max():.0%} sure", fontsize=9)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#d5d8dc")
    figure.suptitle(f"{len(wrong)} of {len(labels)} held-out digits misclassified", x=0.02, ha="left", fontsize=11)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def run(model, disturb, description, epochs, rate, out):
    """The whole example, with options from the command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch", type=int, default=32, help="images per step")
    parser.add_argument("--threads", type=int, default=None, help="most threads a step uses (default: all CPUs)")
    parser.add_argument("--backend", choices=("c", "numpy"), default="c", help="numpy needs no C compiler")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the pictures")
    options = parser.parse_args()
    images, labels, test_images, test_labels = load()
    if options.epochs < 1 or not 1 <= options.batch <= len(images):
        parser.error(f"--epochs must be at least 1, --batch between 1 and {len(images)}")

    start = time.perf_counter()
    step, classify = build(model, options.batch, len(test_images), options.threads, options.backend)
    compiled = time.perf_counter() - start

    losses, seconds = train(step, images, labels, options.batch, options.epochs, rate, disturb)
    probabilities = classify(test_images)
    right = int((probabilities.argmax(axis=1) == test_labels).sum())

    options.out.mkdir(parents=True, exist_ok=True)
    draw_losses(options.out / "loss.png", losses, len(images) // options.batch)
    draw_mistakes(options.out / "mistakes.png", test_images, test_labels, probabilities)
    print(f"compiled in    {compiled:.2f} s (both functions; cached for the next run)")
    print(f"time per step  {1e6 * seconds / len(losses):.1f} µs ({len(losses)} steps of {options.batch} images)")
    print(f"accuracy       {right / len(test_labels):.2%} ({right} of {len(test_labels)} held-out images)")
    print(f"pictures       {options.out / 'loss.png'}, {options.out / 'mistakes.png'}")
