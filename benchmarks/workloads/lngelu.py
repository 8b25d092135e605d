"""Layer-norm, gelu in its tanh form, mean squared error, 4096×1024; jax and torch as beside the target."""

from typing import Any

import numpy as np
from subject import Subject

EPSILON = 1e-5


def adjoint_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import adjoint as ad

    h = ad.nn.layer_norm(x, p["g"], p["b"], EPSILON)
    return ad.nn.mse_loss(ad.gelu(h, approximate="tanh"), y)


def pytensor_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import pytensor.tensor as pt

    f = np.float32
    d = x - x.mean(axis=1, keepdims=True, dtype="float32")
    h = d / pt.sqrt((d * d).mean(axis=1, keepdims=True, dtype="float32") + f(EPSILON)) * p["g"] + p["b"]
    gelu = f(0.5) * h * (f(1) + pt.tanh(f(np.sqrt(2 / np.pi)) * (h + f(0.044715) * h * h * h)))
    return ((gelu - y) ** 2).mean(dtype="float32")


def subject() -> Subject:
    import lngelu as by_hand

    work = by_hand.workload()
    x, y = work.inputs
    inputs = {"x": x, "y": y}
    return Subject(
        "lngelu", inputs, work.parameters, adjoint_loss, work.jax_loss, work.torch_loss, pytensor_loss, work.rate,
        "lngelu",
    )
