"""`ad.nn`: layers and what they are made of."""

from __future__ import annotations

from .activations import elu, gelu, leaky_relu, log_softmax, one_hot, silu, softmax, softplus
from .arithmetic import relu, sigmoid, tanh
from .attention import scaled_dot_product_attention
from .functional import embedding, linear
from .layers import Conv2d, Embedding, LayerNorm, Linear, Module, Sequential, seed
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .normalisation import batch_norm, group_norm, layer_norm, rms_norm
from .windows import avg_pool2d, conv2d, max_pool2d

__all__ = [
    "Conv2d",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "Sequential",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "elu",
    "embedding",
    "gelu",
    "group_norm",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "seed",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]
