"""Recurrent layers, through `scan`."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph.node import type_text
from . import arithmetic as ar
from . import checks, init
from . import functional as fn
from .array import Array
from .control import scan
from .create import variable
from .explain import complain
from .filling import full
from .lift import as_array
from .linalg import matmul
from .module import Module
from .shaping import matrix_transpose, moveaxis, split


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
        checks.whole("input_size", input_size, least=0)
        checks.whole("hidden_size", hidden_size, least=1)

        def start(name: str, *shape: int) -> Array:
            return variable(init.fan_uniform(shape, hidden_size, seed=rng, dtype=dtype), name=name)

        self.weight_ih = start("weight_ih", 4 * hidden_size, input_size)
        self.weight_hh = start("weight_hh", 4 * hidden_size, hidden_size)
        self.bias_ih = start("bias_ih", 4 * hidden_size) if bias else None
        self.bias_hh = start("bias_hh", 4 * hidden_size) if bias else None
        self.hidden_size, self.batch_first = hidden_size, batch_first

    def _pair(self, state: Any) -> Any:
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise complain(ShapeError, "LSTM: the state is a pair (h, c)", state)
        return state

    def forward(self, x: Any, state: tuple[Any, Any] | None = None) -> tuple[Array, tuple[Array, Array]]:
        """`state` is (h, c) [batch, hidden] before the first step, zeros unless given."""
        x = as_array(x)
        if x.ndim != 3:
            raise complain(ShapeError, f"LSTM: x must have three axes: {type_text(x.shape, x.dtype)}", x)
        x = moveaxis(x, 0, 1) if self.batch_first else x
        nought = full((x.shape[1], self.hidden_size), 0, self.weight_hh.dtype)
        h, c = (nought, nought) if state is None else map(as_array, self._pair(state))
        for name, start in (("h", h), ("c", c)):
            if start.shape != nought.shape:
                texts = f"{type_text(start.shape, start.dtype)} for x {type_text(x.shape, x.dtype)}"
                text = f"LSTM: {name} of the state must be [batch, {self.hidden_size}]: {texts}"
                raise complain(ShapeError, text, x, start)
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
