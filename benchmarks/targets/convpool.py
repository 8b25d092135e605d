"""Convolution 3x3 (16 to 32 channels, 14x14, padding 1, NCHW), relu, max over 2x2, mean squared error."""

from typing import Any

import numpy as np
from common import Workload

IMAGES, IN, OUT, SIDE = 64, 16, 32, 14


def jax_loss(p: dict[str, Any], x: Any, t: Any) -> Any:
    import jax
    import jax.numpy as jnp

    z = jax.lax.conv_general_dilated(x, p["w"], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    h = jax.nn.relu(z + p["b"][:, None, None])
    pooled = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return jnp.mean((pooled - t) ** 2)


def torch_loss(p: dict[str, Any], x: Any, t: Any) -> Any:
    from torch.nn import functional

    h = functional.relu(functional.conv2d(x, p["w"], p["b"], padding=1))
    return functional.mse_loss(functional.max_pool2d(h, 2), t)


def workload() -> Workload:
    rng = np.random.default_rng(3)
    return Workload(
        name="convpool",
        inputs=[
            rng.standard_normal((IMAGES, IN, SIDE, SIDE), np.float32),
            rng.standard_normal((IMAGES, OUT, SIDE // 2, SIDE // 2), np.float32),
        ],
        parameters={
            "w": (rng.standard_normal((OUT, IN, 3, 3)) * np.sqrt(2 / (IN * 9))).astype(np.float32),
            "b": (0.1 * rng.standard_normal(OUT)).astype(np.float32),
        },
        wanted={"dx": 0},
        flops=3 * 2 * IMAGES * SIDE * SIDE * OUT * IN * 9,
        jax_loss=jax_loss,
        torch_loss=torch_loss,
    )
