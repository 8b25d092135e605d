"""`ad.nn`: layers and what they are made of."""

from __future__ import annotations

from .activations import elu, gelu, leaky_relu, log_softmax, one_hot, silu, softmax, softplus
from .arithmetic import relu, sigmoid, tanh
from .functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    embedding,
    l1_loss,
    layer_norm,
    linear,
    mse_loss,
    scaled_dot_product_attention,
)
from .layers import Conv2d, Embedding, LayerNorm, Linear, Module, Sequential, seed
from .windows import avg_pool2d, conv2d, max_pool2d

__all__ = [
    "Conv2d",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "Sequential",
    "avg_pool2d",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "elu",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "one_hot",
    "relu",
    "scaled_dot_product_attention",
    "seed",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
