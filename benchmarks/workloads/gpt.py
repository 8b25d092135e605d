"""A decoder of 4 layers, 4 heads, width 128, context 64, batch 12, 65 characters: pre-norm, gelu in its tanh form."""

from typing import Any

import numpy as np
from subject import Subject

LAYERS, HEADS, WIDTH, CONTEXT, BATCH, VOCABULARY = 4, 4, 128, 64, 12, 65


def _shapes() -> dict[str, tuple[int, ...]]:
    layer = {
        "scale1": (WIDTH,), "shift1": (WIDTH,), "qkv": (WIDTH, 3 * WIDTH), "qkv_bias": (3 * WIDTH,),
        "proj": (WIDTH, WIDTH), "proj_bias": (WIDTH,), "scale2": (WIDTH,), "shift2": (WIDTH,),
        "up": (WIDTH, 4 * WIDTH), "up_bias": (4 * WIDTH,), "down": (4 * WIDTH, WIDTH), "down_bias": (WIDTH,),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {"characters": (VOCABULARY, WIDTH), "places": (CONTEXT, WIDTH)}
    shapes |= {f"{name}_{k}": shape for k in range(LAYERS) for name, shape in layer.items()}
    return {**shapes, "scale": (WIDTH,), "shift": (WIDTH,), "head": (WIDTH, VOCABULARY)}


def adjoint_loss(p: dict[str, Any], tokens: Any, targets: Any) -> Any:
    import adjoint as ad

    b, t = tokens.shape

    def heads(a: Any) -> Any:
        return ad.permute_dims(ad.reshape(a, (b, t, HEADS, WIDTH // HEADS)), (0, 2, 1, 3))

    x = p["characters"][tokens] + p["places"]
    for k in range(LAYERS):
        w = {name: p[f"{name}_{k}"] for name in _LAYER}
        h = ad.nn.layer_norm(x, w["scale1"], w["shift1"])
        q, key, v = map(heads, ad.split(h @ w["qkv"] + w["qkv_bias"], 3, axis=-1))
        a = ad.nn.scaled_dot_product_attention(q, key, v, is_causal=True)
        x = x + ad.reshape(ad.permute_dims(a, (0, 2, 1, 3)), (b, t, WIDTH)) @ w["proj"] + w["proj_bias"]
        h = ad.nn.layer_norm(x, w["scale2"], w["shift2"])
        x = x + ad.gelu(h @ w["up"] + w["up_bias"], approximate="tanh") @ w["down"] + w["down_bias"]
    return ad.nn.cross_entropy(ad.nn.layer_norm(x, p["scale"], p["shift"]) @ p["head"], targets)


def jax_loss(p: dict[str, Any], tokens: Any, targets: Any) -> Any:
    import jax
    import jax.numpy as jnp

    b, t = tokens.shape

    def norm(x: Any, scale: Any, shift: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale + shift

    def heads(a: Any) -> Any:
        return a.reshape(b, t, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)

    causal = jnp.tril(jnp.ones((t, t), bool))
    x = p["characters"][tokens] + p["places"]
    for k in range(LAYERS):
        w = {name: p[f"{name}_{k}"] for name in _LAYER}
        h = norm(x, w["scale1"], w["shift1"])
        q, key, v = map(heads, jnp.split(h @ w["qkv"] + w["qkv_bias"], 3, axis=-1))
        scores = jnp.where(causal, q @ key.swapaxes(-1, -2) / np.sqrt(WIDTH // HEADS).astype(x.dtype), -jnp.inf)
        a = jax.nn.softmax(scores, axis=-1) @ v
        x = x + a.transpose(0, 2, 1, 3).reshape(b, t, WIDTH) @ w["proj"] + w["proj_bias"]
        h = norm(x, w["scale2"], w["shift2"])
        x = x + jax.nn.gelu(h @ w["up"] + w["up_bias"], approximate=True) @ w["down"] + w["down_bias"]
    logp = jax.nn.log_softmax(norm(x, p["scale"], p["shift"]) @ p["head"])
    return -jnp.take_along_axis(logp, targets[..., None], -1).mean()


def torch_loss(p: dict[str, Any], tokens: Any, targets: Any) -> Any:
    from torch.nn import functional

    b, t = tokens.shape

    def heads(a: Any) -> Any:
        return a.view(b, t, HEADS, WIDTH // HEADS).transpose(1, 2)

    x = p["characters"][tokens] + p["places"]
    for k in range(LAYERS):
        w = {name: p[f"{name}_{k}"] for name in _LAYER}
        h = functional.layer_norm(x, (WIDTH,), w["scale1"], w["shift1"])
        q, key, v = map(heads, functional.linear(h, w["qkv"].T, w["qkv_bias"]).split(WIDTH, -1))
        a = functional.scaled_dot_product_attention(q, key, v, is_causal=True)
        x = x + functional.linear(a.transpose(1, 2).reshape(b, t, WIDTH), w["proj"].T, w["proj_bias"])
        h = functional.layer_norm(x, (WIDTH,), w["scale2"], w["shift2"])
        up = functional.gelu(functional.linear(h, w["up"].T, w["up_bias"]), approximate="tanh")
        x = x + functional.linear(up, w["down"].T, w["down_bias"])
    logits = functional.layer_norm(x, (WIDTH,), p["scale"], p["shift"]) @ p["head"]
    return functional.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


_LAYER = tuple(name[: -len("_0")] for name in _shapes() if name.endswith("_0"))


def subject() -> Subject:
    rng = np.random.default_rng(5)

    def start(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.startswith("scale"):
            return np.ones(shape, np.float32)
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        spread = 0.02 if name in ("characters", "places") else shape[0] ** -0.5
        return (spread * rng.standard_normal(shape)).astype(np.float32)

    parameters = {name: start(name, shape) for name, shape in _shapes().items()}
    tokens, targets = rng.integers(0, VOCABULARY, (2, BATCH, CONTEXT))
    return Subject("gpt", {"tokens": tokens, "targets": targets}, parameters, adjoint_loss, jax_loss, torch_loss, None)
