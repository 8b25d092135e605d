"""Optimisers: each turns a loss into updates of variables, state included, for `ad.compile(updates=…)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, GradientError, ShapeError
from ..graph.node import Node, toposort
from . import arithmetic as ar
from .array import Array
from .create import handle, variable
from .explain import complain
from .grads import grad
from .lift import weak_kind

Updates = dict[Array, Array]


def trainable(loss: Array) -> list[Array]:
    """The variables that `loss` depends on and that require gradients, in order of first use."""
    reached = [n for n in toposort([loss.node]) if n.op.name == "variable" and n["token"].requires_grad]
    return [handle(n) for n in reached]


class Optimizer:
    """Common to all: the learning rate (a number, a 0-d input or variable) and `minimize`.

    `state` lists the variables that hold momenta and the like, by name, once `minimize` has made them.
    """

    kind = "optimizer"

    def __init__(self, lr: Any) -> None:
        if isinstance(lr, Array):
            if lr.shape != ():
                raise complain(ShapeError, "a learning rate is a number or a 0-d array", lr)
        elif weak_kind(lr) is None:
            raise complain(DTypeError, f"a learning rate is a number, a 0-d input or a variable, got {lr!r}")
        self.lr = lr
        self.state: dict[str, Array] = {}
        self._slots: dict[tuple[str, Node], Array] = {}
        self._first: dict[Any, Array] = {}

    def minimize(self, loss: Array, variables: Sequence[Array] | None = None) -> Updates:
        """Updates of `variables` (by default all that the loss reaches and that require gradients) and of the state.

        Raises GradientError when the loss is not a floating scalar or nothing is left to update.
        """
        chosen = trainable(loss) if variables is None else list(variables)
        if not chosen:
            raise complain(GradientError, f"{self.kind}: the loss reaches no variable that requires a gradient", loss)
        for v in chosen:
            if not isinstance(v, Array) or v.node.op.name != "variable":
                raise complain(GradientError, f"{self.kind}: only variables can be updated", v)
        return self.apply(dict(zip(chosen, grad(loss, chosen), strict=True)))

    def apply(self, gradients: Updates) -> Updates:
        """Updates for given gradients, such as clipped ones."""
        updates: Updates = {}
        # What variables share is named after the first of its dtype, so that two optimisers fit into one step.
        self._first = {v.dtype: v for v in reversed(gradients)}
        for v, g in gradients.items():
            step = self.step(v, g, updates)
            updates[v] = ar.subtract(v, step)
        return updates

    def step(self, v: Array, g: Array, updates: Updates) -> Array:
        """What is subtracted from `v`; adds the updates of its state to `updates`."""
        raise NotImplementedError

    def rate(self, v: Array) -> Any:
        """The learning rate in the dtype of `v`."""
        return ar.astype(self.lr, v.dtype) if isinstance(self.lr, Array) else self.lr

    def slot(self, name: str, v: Array, scalar: bool = False) -> Array:
        """A state variable of zeros, `<optimizer>.<name>.<variable>`; the same one when asked for again."""
        found = self._slots.get((name, v.node))
        if found is None:
            full = f"{self.kind}.{name}.{v.name}"
            start = np.zeros(() if scalar else tuple(map(int, v.shape)), v.dtype)
            found = self._slots[name, v.node] = self.state[full] = variable(start, name=full, requires_grad=False)
        return found


class SGD(Optimizer):
    """w - lr · g, with momentum b = momentum · b + g, and g + momentum · b in its place if `nesterov`."""

    kind = "sgd"

    def __init__(self, lr: Any, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
        super().__init__(lr)
        if nesterov and not momentum:
            raise ValueError("sgd: nesterov needs a momentum")
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def step(self, v: Array, g: Array, updates: Updates) -> Array:
        if self.weight_decay:
            g = g + self.weight_decay * v
        if self.momentum:
            velocity = self.slot("momentum", v)
            new = self.momentum * velocity + g
            updates[velocity] = new
            g = g + self.momentum * new if self.nesterov else new
        return ar.multiply(self.rate(v), g)


class Adam(Optimizer):
    """Adam with bias correction: lr · m̂ / (√v̂ + eps).

    The corrections 1 - betaᵗ are state too: c = beta · c + (1 - beta), which keeps its precision in float32.
    """

    kind = "adam"

    def __init__(
        self, lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def step(self, v: Array, g: Array, updates: Updates) -> Array:
        if self.weight_decay:
            g = g + self.weight_decay * v
        return self.adapted(v, g, updates)

    def adapted(self, v: Array, g: Array, updates: Updates) -> Array:
        first, second = self.betas
        m, n = self.slot("m", v), self.slot("v", v)
        updates[m] = first * m + (1 - first) * g
        updates[n] = second * n + (1 - second) * (g * g)
        scale = self.rate(v) / self._correction(1, first, v, updates)
        root = ar.sqrt(self._correction(2, second, v, updates))
        return ar.multiply(scale, updates[m] / (ar.sqrt(updates[n]) / root + self.eps))

    def _correction(self, number: int, beta: float, v: Array, updates: Updates) -> Array:
        """1 - betaᵗ, one for all variables of a dtype."""
        c = self.slot(f"correction{number}", self._first[v.dtype], scalar=True)
        if c not in updates:
            updates[c] = beta * c + (1 - beta)
        return updates[c]


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: lr · weight_decay · w is subtracted too."""

    kind = "adamw"

    def __init__(
        self, lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)

    def step(self, v: Array, g: Array, updates: Updates) -> Array:
        step = self.adapted(v, g, updates)
        return step + self.rate(v) * self.weight_decay * v if self.weight_decay else step


def clip_by_global_norm(gradients: Sequence[Array], max_norm: float) -> list[Array]:
    """Gradients scaled down together so that their joint Euclidean norm is at most `max_norm`."""
    total: Any = 0
    for g in gradients:
        total = total + (g * g).sum()
    norm = ar.sqrt(ar.maximum(total, 1e-30))
    scale = ar.minimum(1, max_norm / norm)
    return [g * ar.astype(scale, g.dtype) for g in gradients]
