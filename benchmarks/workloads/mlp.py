"""784-512-512-10 with relu and biases, batch 128, mean softmax cross-entropy; jax and torch as beside the target."""

from typing import Any

from subject import Subject


def adjoint_loss(p: dict[str, Any], x: Any, label: Any) -> Any:
    import adjoint as ad

    h = ad.relu(x @ p["w1"] + p["b1"])
    h = ad.relu(h @ p["w2"] + p["b2"])
    return ad.nn.cross_entropy(h @ p["w3"] + p["b3"], label)


def pytensor_loss(p: dict[str, Any], x: Any, label: Any) -> Any:
    import pytensor.tensor as pt

    h = pt.maximum(x @ p["w1"] + p["b1"], 0)
    h = pt.maximum(h @ p["w2"] + p["b2"], 0)
    logp = pt.special.log_softmax(h @ p["w3"] + p["b3"], axis=1)
    return -logp[pt.arange(label.shape[0]), label].mean(dtype=logp.dtype)


def subject() -> Subject:
    import mlp as by_hand

    work = by_hand.workload()
    x, label = work.inputs
    inputs = {"x": x, "label": label}
    return Subject(
        "mlp", inputs, work.parameters, adjoint_loss, work.jax_loss, work.torch_loss, pytensor_loss, work.rate, "mlp"
    )
