"""`ad.optim`: optimisers turn a loss into updates of variables, state included, for `ad.compile(updates=…)`."""

from __future__ import annotations

from .clipping import clip_by_global_norm, clip_by_value, global_norm
from .optimizer import Optimizer, trainable
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop
from .schedules import constant, cosine, exponential, linear, piecewise, step_decay

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Optimizer",
    "RMSprop",
    "clip_by_global_norm",
    "clip_by_value",
    "constant",
    "cosine",
    "exponential",
    "global_norm",
    "linear",
    "piecewise",
    "step_decay",
    "trainable",
]
