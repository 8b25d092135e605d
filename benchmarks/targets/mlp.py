"""784-512-512-10 with relu and biases, mean softmax cross-entropy, batch 128."""

from itertools import pairwise
from typing import Any

import numpy as np
from common import Workload

BATCH = 128
SIZES = (784, 512, 512, 10)


def jax_loss(p: dict[str, Any], x: Any, label: Any) -> Any:
    import jax
    import jax.numpy as jnp

    h = jax.nn.relu(x @ p["w1"] + p["b1"])
    h = jax.nn.relu(h @ p["w2"] + p["b2"])
    logp = jax.nn.log_softmax(h @ p["w3"] + p["b3"])
    return -jnp.take_along_axis(logp, label[:, None], 1).mean()


def torch_loss(p: dict[str, Any], x: Any, label: Any) -> Any:
    import torch
    from torch.nn import functional

    h = torch.relu(torch.addmm(p["b1"], x, p["w1"]))
    h = torch.relu(torch.addmm(p["b2"], h, p["w2"]))
    return functional.cross_entropy(torch.addmm(p["b3"], h, p["w3"]), label)


def workload() -> Workload:
    rng = np.random.default_rng(2)
    parameters = {}
    for i, (rows, columns) in enumerate(pairwise(SIZES), 1):
        parameters[f"w{i}"] = (rng.standard_normal((rows, columns)) * np.sqrt(2 / rows)).astype(np.float32)
        parameters[f"b{i}"] = (0.1 * rng.standard_normal(columns)).astype(np.float32)
    weights = [rows * columns for rows, columns in pairwise(SIZES)]
    return Workload(
        name="mlp",
        inputs=[rng.standard_normal((BATCH, SIZES[0]), np.float32), rng.integers(0, SIZES[-1], BATCH)],
        parameters=parameters,
        flops=2 * BATCH * (3 * sum(weights) - weights[0]),
        jax_loss=jax_loss,
        torch_loss=torch_loss,
    )
