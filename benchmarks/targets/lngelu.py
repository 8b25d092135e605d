"""Layer-norm with a scale and a bias, gelu in its tanh form, mean squared error; only scale and bias are trained."""

from typing import Any

import numpy as np
from common import Workload

ROWS, WIDTH = 4096, 1024
EPSILON = 1e-5


def jax_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    mean = x.mean(1, keepdims=True)
    variance = ((x - mean) ** 2).mean(1, keepdims=True)
    h = (x - mean) * jax.lax.rsqrt(variance + EPSILON) * p["g"] + p["b"]
    return jnp.mean((jax.nn.gelu(h, approximate=True) - y) ** 2)


def torch_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    from torch.nn import functional

    h = functional.layer_norm(x, (WIDTH,), p["g"], p["b"], EPSILON)
    return functional.mse_loss(functional.gelu(h, approximate="tanh"), y)


def workload() -> Workload:
    rng = np.random.default_rng(1)
    return Workload(
        name="lngelu",
        inputs=[rng.standard_normal((ROWS, WIDTH), np.float32) for _ in range(2)],
        parameters={
            "g": (1 + 0.1 * rng.standard_normal(WIDTH)).astype(np.float32),
            "b": (0.1 * rng.standard_normal(WIDTH)).astype(np.float32),
        },
        flops=ROWS * WIDTH * 120,
        jax_loss=jax_loss,
        torch_loss=torch_loss,
    )
