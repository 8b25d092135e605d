"""The optimisers. In all formulas g is the gradient, w the variable and lr the learning rate."""

from __future__ import annotations

from typing import Any

from ..errors import GraphError
from . import arithmetic as ar
from . import checks
from .array import Array
from .explain import complain
from .optimizer import Optimizer, Options


def _decayed(v: Array, g: Array, options: Options) -> Array:
    """The gradient of the loss and weight_decay/2 · |w|²."""
    decay = options["weight_decay"]
    return g if _is_zero(decay) else g + decay * v


def _is_zero(option: Any) -> bool:
    return not isinstance(option, Array) and option == 0


class SGD(Optimizer):
    """w - lr · g; with momentum b = momentum · b + (1 - dampening) · g in place of g, which b starts from.

    With `nesterov` g + momentum · b is taken in place of b. `weight_decay` · w is added to g first.
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning", 2013.
    """

    kind = "sgd"

    def __init__(
        self, lr: Any = 1e-3, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0,
        dampening: float = 0.0,
    ) -> None:
        super().__init__(
            lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, dampening=dampening
        )

    def check(self, options: Options) -> None:
        super().check(options)
        if options["nesterov"] and (_is_zero(options["momentum"]) or not _is_zero(options["dampening"])):
            raise complain(GraphError, "sgd: nesterov needs a momentum and no dampening")

    def step(self, v: Array, g: Array, options: Options) -> Array:
        g = _decayed(v, g, options)
        momentum, dampening = options["momentum"], options["dampening"]
        if not _is_zero(momentum):
            velocity = self.slot("momentum", v)
            fresh = g
            if not _is_zero(dampening):
                # The first gradient is taken whole.
                fresh = ar.where(ar.equal(self.count(), 0), g, (1 - dampening) * g)
            new = self.put(velocity, momentum * velocity + fresh)
            g = g + momentum * new if options["nesterov"] else new
        return ar.multiply(self.rate(v), g)


class Adam(Optimizer):
    """lr · m̂ / (√v̂ + eps) with m = beta1 · m + (1 - beta1) · g and v = beta2 · v + (1 - beta2) · g².

    m̂ = m / (1 - beta1ᵗ) and v̂ = v / (1 - beta2ᵗ). The corrections 1 - betaᵗ are state too: c = beta · c + (1 - beta),
    which keeps its precision in float32. `weight_decay` · w is added to g first.
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """

    kind = "adam"

    def __init__(
        self, lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def check(self, options: Options) -> None:
        super().check(options)
        _check_betas(self.kind, options["betas"])

    def step(self, v: Array, g: Array, options: Options) -> Array:
        return self.adapted(v, _decayed(v, g, options), options)

    def adapted(self, v: Array, g: Array, options: Options) -> Array:
        first, second = options["betas"]
        m, n = self.slot("m", v), self.slot("v", v)
        new_m = self.put(m, first * m + (1 - first) * g)
        new_n = self.put(n, second * n + (1 - second) * (g * g))
        scale = self.rate(v) / self._correction(1, first, v)
        root = ar.sqrt(self._correction(2, second, v))
        return ar.multiply(scale, new_m / (ar.sqrt(new_n) / root + options["eps"]))

    def _correction(self, number: int, beta: float, v: Array) -> Array:
        """1 - betaᵗ, one for all variables of a dtype and a group."""
        c = self.shared(f"correction{number}", v)
        return self.put(c, beta * c + (1 - beta))


def _check_betas(kind: str, betas: Any) -> None:
    numbers = isinstance(betas, (tuple, list)) and len(betas) == 2 and all(map(checks.is_number, betas))
    if not numbers or not all(0 <= b < 1 for b in betas):
        raise complain(GraphError, f"{kind}: betas are two numbers within 0 … 1, got {betas}")


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: lr · weight_decay · w is subtracted too.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    kind = "adamw"

    def __init__(
        self, lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)

    def step(self, v: Array, g: Array, options: Options) -> Array:
        step, decay = self.adapted(v, g, options), options["weight_decay"]
        return step if _is_zero(decay) else step + self.rate(v) * decay * v


class RMSprop(Optimizer):
    """lr · g / (√v + eps) with v = alpha · v + (1 - alpha) · g²; with momentum b = momentum · b + g / (√v + eps).

    `centered` subtracts from v the square of the running mean of g. `weight_decay` · w is added to g first.
    Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; centred: Graves, "Generating
    Sequences With Recurrent Neural Networks", 2013.
    """

    kind = "rmsprop"

    def __init__(
        self, lr: Any = 1e-2, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            lr=lr, alpha=alpha, eps=eps, momentum=momentum, centered=centered, weight_decay=weight_decay
        )

    def step(self, v: Array, g: Array, options: Options) -> Array:
        g, alpha, momentum = _decayed(v, g, options), options["alpha"], options["momentum"]
        square = self.slot("square", v)
        spread = self.put(square, alpha * square + (1 - alpha) * (g * g))
        if options["centered"]:
            mean = self.slot("mean", v)
            new_mean = self.put(mean, alpha * mean + (1 - alpha) * g)
            # Rounding may take the difference below 0.
            spread = ar.maximum(spread - new_mean * new_mean, 0)
        step = g / (ar.sqrt(spread) + options["eps"])
        if not _is_zero(momentum):
            velocity = self.slot("momentum", v)
            step = self.put(velocity, momentum * velocity + step)
        return ar.multiply(self.rate(v), step)


class Adagrad(Optimizer):
    """lr · g / (√s + eps) with s the sum of all g² so far. `weight_decay` · w is added to g first.

    Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011.
    """

    kind = "adagrad"

    def __init__(self, lr: Any = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        super().__init__(lr=lr, eps=eps, weight_decay=weight_decay)

    def step(self, v: Array, g: Array, options: Options) -> Array:
        g = _decayed(v, g, options)
        total = self.slot("sum", v)
        new = self.put(total, total + g * g)
        return ar.multiply(self.rate(v), g / (ar.sqrt(new) + options["eps"]))


class Lion(Optimizer):
    """lr · (sign(beta1 · m + (1 - beta1) · g) + weight_decay · w), then m = beta2 · m + (1 - beta2) · g.

    Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
    """

    kind = "lion"

    def __init__(self, lr: Any = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0) -> None:
        super().__init__(lr=lr, betas=betas, weight_decay=weight_decay)

    def check(self, options: Options) -> None:
        super().check(options)
        _check_betas(self.kind, options["betas"])

    def step(self, v: Array, g: Array, options: Options) -> Array:
        (first, second), decay = options["betas"], options["weight_decay"]
        m = self.slot("m", v)
        self.put(m, second * m + (1 - second) * g)
        step = ar.sign(first * m + (1 - first) * g)
        return ar.multiply(self.rate(v), step if _is_zero(decay) else step + decay * v)
