"""Trains a convolutional network on scikit-learn's bundled handwritten digits (1797 real 8×8 images).

Three convolutions, a maximum over windows, one linear layer. Forward pass, backward pass and Adam's update are one
native call per step. Prints what it took and the accuracy on a held-out fifth of the images, and draws the loss curve
and the misclassified digits.
"""

import numpy as np
from digits_common import run

import adjoint as ad


def model():
    return ad.nn.Sequential(
        lambda x: ad.reshape(x, (x.shape[0], 1, 8, 8)),
        ad.nn.Conv2d(1, 16, 3, padding="same", seed=1),
        ad.relu,
        ad.nn.Conv2d(16, 32, 3, padding="same", seed=2),
        ad.relu,
        ad.nn.MaxPool2d(2),
        ad.nn.Conv2d(32, 32, 3, padding="same", seed=3),
        ad.relu,
        ad.nn.Flatten(),
        ad.nn.Linear(512, 10, seed=4),
    )


def warped(rng, images, turn=0.2, stretch=0.15, shift=0.5):
    """Every image turned (by up to `turn` radians), stretched, slanted and moved (by up to `shift` pixels) a little.

    What lies between pixels is interpolated linearly; what comes in from outside is 0.
    """
    n = len(images)
    angle = rng.uniform(-turn, turn, (n, 1, 1))
    taller, wider, slant = rng.uniform(-stretch, stretch, (3, n, 1, 1))
    down, right = rng.uniform(-shift, shift, (2, n, 1, 1))
    rows, columns = np.mgrid[:8, :8] - 3.5
    # Where in the image, with a frame of zeros around it, every pixel of the result comes from.
    y = 4.5 + down + (1 + taller) * np.cos(angle) * rows + (slant - np.sin(angle)) * columns
    x = 4.5 + right + np.sin(angle) * rows + (1 + wider) * np.cos(angle) * columns
    y, x = np.clip(y, 0, 8.999), np.clip(x, 0, 8.999)
    top, left, which = y.astype(int), x.astype(int), np.arange(n)[:, None, None]
    y, x = y - top, x - left
    framed = np.pad(images.reshape(n, 8, 8), ((0, 0), (1, 1), (1, 1)))
    above = (1 - x) * framed[which, top, left] + x * framed[which, top, left + 1]
    below = (1 - x) * framed[which, top + 1, left] + x * framed[which, top + 1, left + 1]
    return ((1 - y) * above + y * below).astype(np.float32).reshape(n, 64)


if __name__ == "__main__":
    run(model(), warped, __doc__, epochs=30, rate=4e-3, out="out/conv")
