"""One step of Newton's method for k-means clustering: cost, gradient and the diagonal of the Hessian.

The cost is the sum over points of the squared distance to the nearest centroid (Bottou, Bengio, "Convergence properties
of the k-means algorithms", 1994). No coordinate of a centroid occurs in the derivative by another, so the Hessian is
diagonal, and its product with a vector of ones is the diagonal.

    python examples/gradbench/kmeans.py 10 1000 16
"""

import numpy as np
from gradbench_common import report, sizes

import adjoint as ad


def cost(points, centroids):
    """The 0-d sum of the squared distances of points[n, d] to the nearest of centroids[k, d]."""
    # |p - c|² without |p|², which is the same for all c: all but a product of matrices is small.
    nearest = ad.argmin((centroids**2).sum(-1) - 2 * (points @ centroids.T), -1)
    return ((points - centroids[nearest]) ** 2).sum()


def build(k, n, d, threads=None, backend="c"):
    """A function of points and centroids: the cost, and a list of gradient and diagonal of the Hessian, each [k, d]."""
    points, centroids = ad.input("points", (n, d), "float64"), ad.input("centroids", (k, d), "float64")
    value, gradient = ad.value_and_grad(cost(points, centroids), centroids)
    diagonal = ad.jvp(gradient, centroids, ad.ones_like(centroids))
    outputs = value, [gradient, diagonal]
    return ad.compile([points, centroids], outputs, name="kmeans", threads=threads, backend=backend)


def sample(rng, k, n, d):
    """Points of a normal distribution; the first k of them are the centroids, so that each has a point."""
    points = rng.standard_normal((n, d))
    return points, points[:k].copy()


if __name__ == "__main__":
    k, n, d = sizes("k n d", 10, 1000, 16)
    report(build(k, n, d), *sample(np.random.default_rng(0), k, n, d))
