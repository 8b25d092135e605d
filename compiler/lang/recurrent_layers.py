"""Recurrent layers, through `scan`."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph.node import type_text
from . import arithmetic as ar
from . import functional as fn
from . import init
from .array import Array
from .control import scan
from .create import variable
from .explain import complain
from .lift import as_array
from .linalg import matmul
from .module import Module
from .shaping import full, matrix_transpose, moveaxis, split


class LSTM(Module):
    """x[time, batch, in] to (every h [time, batch, hidden], (last h, last c) [batch, hidden]), in one direction.

    `weight_ih` [4 · hidden, in], `weight_hh` [4 · hidden, hidden], `bias_ih` and `bias_hh` [4 · hidden], in the order
    input, forget, cell, output gate; uniform within ±1/√hidden. With `batch_first`, x and all h are [batch, time, …].
    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997; forget gates: Gers, Schmidhuber and Cummins, 2000.
    """

    numbered = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        *,
        seed: Any = None,
        dtype: Any = "float32",
    ) -> None:
        rng = init.generator(seed)

        def start(name: str, *shape: int) -> Array:
            return variable(init.fan_uniform(shape, hidden_size, seed=rng, dtype=dtype), name=name)

        self.weight_ih = start("weight_ih", 4 * hidden_size, input_size)
        self.weight_hh = start("weight_hh", 4 * hidden_size, hidden_size)
        self.bias_ih = start("bias_ih", 4 * hidden_size) if bias else None
        self.bias_hh = start("bias_hh", 4 * hidden_size) if bias else None
        self.hidden_size, self.batch_first = hidden_size, batch_first

    def forward(self, x: Any, state: tuple[Any, Any] | None = None) -> tuple[Array, tuple[Array, Array]]:
        """`state` is (h, c) [batch, hidden] before the first step, zeros unless given."""
        x = as_array(x)
        if x.ndim != 3:
            raise complain(ShapeError, f"LSTM: x must have three axes: {type_text(x.shape, x.dtype)}", x)
        x = moveaxis(x, 0, 1) if self.batch_first else x
        nought = full((x.shape[1], self.hidden_size), 0, self.weight_hh.dtype)
        h, c = (nought, nought) if state is None else map(as_array, state)
        # What the inputs add to the gates does not wait for the steps before.
        given = fn.linear(x, self.weight_ih, self.bias_ih)
        if self.bias_hh is not None:
            given = ar.add(given, self.bias_hh)
        across = matrix_transpose(self.weight_hh)

        def step(carry: tuple[Array, Array], now: Array) -> tuple[tuple[Array, Array], Array]:
            i, f, g, o = split(ar.add(now, matmul(carry[0], across)), 4, -1)
            cell = ar.add(ar.multiply(ar.sigmoid(f), carry[1]), ar.multiply(ar.sigmoid(i), ar.tanh(g)))
            hidden = ar.multiply(ar.sigmoid(o), ar.tanh(cell))
            return (hidden, cell), hidden

        (h, c), every = scan(step, (h, c), given)
        return (moveaxis(every, 0, 1) if self.batch_first else every), (h, c)
