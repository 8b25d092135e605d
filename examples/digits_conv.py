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


def shifted(rng, images, far=1):
    """Every image moved by up to `far` pixels along both axes, with zeros coming in."""
    padded = np.pad(images.reshape(-1, 8, 8), ((0, 0), (far, far), (far, far)))
    places = np.lib.stride_tricks.sliding_window_view(padded, (8, 8), (1, 2))
    rows, columns = rng.integers(0, 2 * far + 1, (2, len(images)))
    return places[np.arange(len(images)), rows, columns].reshape(-1, 64)


if __name__ == "__main__":
    run(model(), shifted, __doc__, epochs=20, out="out/conv")
