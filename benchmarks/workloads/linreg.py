"""Linear regression with one feature: 100 points, mean squared error."""

from typing import Any

import numpy as np
from subject import Subject


def adjoint_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import adjoint as ad

    return ad.nn.mse_loss(x @ p["w"] + p["b"], y)


def jax_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import jax.numpy as jnp

    return jnp.mean((x @ p["w"] + p["b"] - y) ** 2)


def torch_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import torch
    from torch.nn import functional

    return functional.mse_loss(torch.addmm(p["b"], x, p["w"]), y)


def pytensor_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    return ((x @ p["w"] + p["b"] - y) ** 2).mean(dtype="float32")


def subject() -> Subject:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((100, 1), np.float32)
    noise = rng.standard_normal((100, 1), np.float32)
    return Subject(
        name="linreg",
        inputs={"x": x, "y": 3 * x + 2 + np.float32(0.1) * noise},
        parameters={"w": np.full((1, 1), 0.5, np.float32), "b": np.full(1, 0.1, np.float32)},
        adjoint_loss=adjoint_loss,
        jax_loss=jax_loss,
        torch_loss=torch_loss,
        pytensor_loss=pytensor_loss,
    )
