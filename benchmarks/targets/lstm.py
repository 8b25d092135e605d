"""An LSTM with a linear readout of its last hidden state, mean squared error; gates in the order i, f, g, o."""

from typing import Any

import numpy as np
from common import Workload

STEPS, BATCH, INPUTS, UNITS = 64, 32, 64, 128


def jax_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def body(carry: Any, z: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(z + h @ p["wh"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((BATCH, UNITS), x.dtype)
    (h, _), _ = jax.lax.scan(body, (zero, zero), x @ p["wx"] + p["b"])
    return jnp.mean((h @ p["wo"] + p["bo"] - y) ** 2)


def torch_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import torch
    from torch.nn import functional

    zero = torch.zeros(1, BATCH, UNITS)
    # The library's own kernel, the fastest that torch has; its second bias is held at zero.
    weights = [p["wx"].T, p["wh"].T, p["b"], torch.zeros(4 * UNITS)]
    _, h, _ = torch.lstm(x, (zero, zero), weights, True, 1, 0.0, True, False, False)
    return functional.mse_loss(h[0] @ p["wo"] + p["bo"], y)


def workload() -> Workload:
    rng = np.random.default_rng(2)
    bound = UNITS**-0.5

    def uniform(*shape: int) -> np.ndarray:
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    return Workload(
        name="lstm",
        inputs=[rng.standard_normal(shape, np.float32) for shape in ((STEPS, BATCH, INPUTS), (BATCH,))],
        parameters={
            "wx": uniform(INPUTS, 4 * UNITS),
            "wh": uniform(UNITS, 4 * UNITS),
            "b": uniform(4 * UNITS),
            "wo": uniform(UNITS),
            "bo": uniform(1),
        },
        flops=STEPS * BATCH * 4 * UNITS * 2 * (2 * (INPUTS + UNITS) + UNITS),
        jax_loss=jax_loss,
        torch_loss=torch_loss,
    )
