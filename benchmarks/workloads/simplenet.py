"""10-50-20-1 with relu and biases, batch 32, mean squared error: small enough that a call's overhead shows."""

from itertools import pairwise
from typing import Any

import numpy as np
from subject import Subject

BATCH = 32
SIZES = (10, 50, 20, 1)


def adjoint_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import adjoint as ad

    h = ad.relu(x @ p["w1"] + p["b1"])
    h = ad.relu(h @ p["w2"] + p["b2"])
    return ad.nn.mse_loss(h @ p["w3"] + p["b3"], y)


def jax_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    h = jax.nn.relu(x @ p["w1"] + p["b1"])
    h = jax.nn.relu(h @ p["w2"] + p["b2"])
    return jnp.mean((h @ p["w3"] + p["b3"] - y) ** 2)


def torch_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import torch
    from torch.nn import functional

    h = torch.relu(torch.addmm(p["b1"], x, p["w1"]))
    h = torch.relu(torch.addmm(p["b2"], h, p["w2"]))
    return functional.mse_loss(torch.addmm(p["b3"], h, p["w3"]), y)


def pytensor_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import pytensor.tensor as pt

    h = pt.maximum(x @ p["w1"] + p["b1"], np.float32(0))
    h = pt.maximum(h @ p["w2"] + p["b2"], np.float32(0))
    return ((h @ p["w3"] + p["b3"] - y) ** 2).mean(dtype="float32")


def subject() -> Subject:
    rng = np.random.default_rng(4)
    parameters = {}
    for i, (rows, columns) in enumerate(pairwise(SIZES), 1):
        parameters[f"w{i}"] = (rng.standard_normal((rows, columns)) * np.sqrt(2 / rows)).astype(np.float32)
        parameters[f"b{i}"] = (0.1 * rng.standard_normal(columns)).astype(np.float32)
    inputs = {
        "x": rng.standard_normal((BATCH, SIZES[0]), np.float32),
        "y": rng.standard_normal((BATCH, SIZES[-1]), np.float32),
    }
    return Subject("simplenet", inputs, parameters, adjoint_loss, jax_loss, torch_loss, pytensor_loss)
