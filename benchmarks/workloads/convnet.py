"""Two convolutions 3×3 of 16 and 32 channels on 28×28, each with relu and pooling, and a linear layer; batch 64."""

from typing import Any

import numpy as np
from subject import Subject

BATCH, SIDE, CHANNELS, CLASSES = 64, 28, (1, 16, 32), 10


def adjoint_loss(p: dict[str, Any], x: Any, label: Any) -> Any:
    import adjoint as ad

    h = ad.nn.max_pool2d(ad.relu(ad.nn.conv2d(x, p["k1"], p["b1"], padding=1)), 2)
    h = ad.nn.max_pool2d(ad.relu(ad.nn.conv2d(h, p["k2"], p["b2"], padding=1)), 2)
    return ad.nn.cross_entropy(ad.reshape(h, (h.shape[0], -1)) @ p["w"] + p["b"], label)


def jax_loss(p: dict[str, Any], x: Any, label: Any) -> Any:
    import jax
    import jax.numpy as jnp

    h = x
    for k, bias in (("k1", "b1"), ("k2", "b2")):
        z = jax.lax.conv_general_dilated(h, p[k], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        z = jax.nn.relu(z + p[bias][:, None, None])
        h = jax.lax.reduce_window(z, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    logp = jax.nn.log_softmax(h.reshape(len(h), -1) @ p["w"] + p["b"])
    return -jnp.take_along_axis(logp, label[:, None], 1).mean()


def torch_loss(p: dict[str, Any], x: Any, label: Any) -> Any:
    from torch.nn import functional

    h = functional.max_pool2d(functional.relu(functional.conv2d(x, p["k1"], p["b1"], padding=1)), 2)
    h = functional.max_pool2d(functional.relu(functional.conv2d(h, p["k2"], p["b2"], padding=1)), 2)
    return functional.cross_entropy(h.flatten(1) @ p["w"] + p["b"], label)


def subject() -> Subject:
    rng = np.random.default_rng(4)
    first, second, third = CHANNELS
    features = third * (SIDE // 4) ** 2

    def normal(*shape: int, fan: int) -> np.ndarray:
        return (rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)

    parameters = {
        "k1": normal(second, first, 3, 3, fan=9 * first),
        "b1": normal(second, fan=200),
        "k2": normal(third, second, 3, 3, fan=9 * second),
        "b2": normal(third, fan=200),
        "w": normal(features, CLASSES, fan=features),
        "b": np.zeros(CLASSES, np.float32),
    }
    inputs = {
        "x": rng.standard_normal((BATCH, first, SIDE, SIDE), np.float32),
        "label": rng.integers(0, CLASSES, BATCH),
    }
    return Subject("convnet", inputs, parameters, adjoint_loss, jax_loss, torch_loss, None)
