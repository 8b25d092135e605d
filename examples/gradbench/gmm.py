"""The log-posterior of a Gaussian mixture, and its gradient by all parameters.

The problem GMM of ADBench (Šrajer, Kukelova, Fitzgibbon, "A benchmark of selected algorithmic differentiation tools on
some problems in computer vision and machine learning", 2018). Each of k components has a weight, a mean μ, and a factor
Q of its inverse covariance QᵀQ: a lower triangular matrix, whose diagonal is given by its logarithms. A Wishart prior
keeps the factors from degenerating.

    python examples/gradbench/gmm.py 8 10 1000
"""

import math

import numpy as np
from gradbench_common import report, sizes

import adjoint as ad


def log_posterior(alpha, means, log_diagonal, below, x, gamma=1.0, m=0):
    """The 0-d log-posterior of points x[n, d].

    alpha[k]                   weights of the components, softmax(alpha)
    means[k, d]
    log_diagonal[k, d]         logarithms of the diagonals of the factors
    below[k, d * (d - 1) / 2]  what is below these diagonals, column by column
    gamma, m                   numbers: scale of the Wishart prior, and its degrees of freedom beyond d + 1
    """
    n, d = x.shape
    components = ad.vmap(component, in_axes=(0, 0, 0, 0, None))
    densities, frobenius, log_determinants = components(alpha, means, log_diagonal, below, x)
    likelihood = ad.logsumexp(densities, 0).sum() - n * (ad.logsumexp(alpha) + 0.5 * d * math.log(2 * math.pi))
    prior = m * log_determinants - 0.5 * gamma**2 * frobenius + wishart_constant(d, gamma, m)
    return likelihood + prior.sum()


def component(alpha, mean, log_diagonal, below, x):
    """One component: the logarithms of its unnormalised densities at all points, Σ Q², log det Q."""
    columns, rows = np.triu_indices(mean.shape[0], 1)
    factor = ad.diag(ad.exp(log_diagonal)).at[rows, columns].set(below)
    log_determinant = log_diagonal.sum()
    # Q (x - μ) as Q x - Q μ: the products of all components with x are then one of two matrices.
    whitened = x @ factor.mT - factor @ mean
    return alpha + log_determinant - 0.5 * (whitened**2).sum(-1), (factor**2).sum(), log_determinant


def wishart_constant(d, gamma, m):
    """The logarithm of the factor of the prior that does not depend on Q."""
    dof = d + m + 1
    log_gamma = 0.25 * d * (d - 1) * math.log(math.pi) + sum(math.lgamma(0.5 * (dof - i)) for i in range(d))
    return dof * d * (math.log(gamma) - 0.5 * math.log(2)) - log_gamma


def build(d, k, n, gamma=1.0, m=0, threads=None, backend="c"):
    """A function of the parameters and points that returns the log-posterior and the list of its derivatives."""
    shapes = {"alpha": (k,), "means": (k, d), "log_diagonal": (k, d), "below": (k, d * (d - 1) // 2)}
    parameters = [ad.input(name, shape, "float64") for name, shape in shapes.items()]
    x = ad.input("x", (n, d), "float64")
    value = log_posterior(*parameters, x, gamma, m)
    outputs = ad.value_and_grad(value, parameters)
    return ad.compile([*parameters, x], outputs, name="gmm", threads=threads, backend=backend)


def sample(rng, d, k, n):
    """Arguments as ADBench draws them: points and parameters of order 1."""
    alpha, means, x = rng.standard_normal(k), rng.uniform(size=(k, d)), rng.standard_normal((n, d))
    return alpha, means, rng.standard_normal((k, d)), rng.standard_normal((k, d * (d - 1) // 2)), x


if __name__ == "__main__":
    d, k, n = sizes("d k n", 8, 10, 1000)
    report(build(d, k, n), *sample(np.random.default_rng(0), d, k, n))
