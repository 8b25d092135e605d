"""An LSTM of 128 units over 64 steps of 64 features, batch 32, mean squared error of a linear readout at the end."""

from typing import Any

from subject import Subject


def adjoint_loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    import adjoint as ad

    def body(carry: Any, z: Any) -> Any:
        h, c = carry
        i, f, g, o = ad.split(z + h @ p["wh"], 4, axis=1)
        c = ad.sigmoid(f) * c + ad.sigmoid(i) * ad.tanh(g)
        return (ad.sigmoid(o) * ad.tanh(c), c), None

    zero = ad.zeros((x.shape[1], p["wh"].shape[0]), dtype=x.dtype)
    (h, _), _ = ad.scan(body, (zero, zero), x @ p["wx"] + p["b"])
    return ad.mean((h @ p["wo"] + p["bo"] - y) ** 2)


def subject() -> Subject:
    import lstm as by_hand

    work = by_hand.workload()
    x, y = work.inputs
    inputs = {"x": x, "y": y}
    return Subject(
        "lstm", inputs, work.parameters, adjoint_loss, work.jax_loss, work.torch_loss, None, work.rate, "lstm"
    )
