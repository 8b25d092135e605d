"""The whole op table: importing this module declares every primitive."""

from __future__ import annotations

from . import (
    bits,
    contraction,
    control,
    elementwise,
    leaves,
    random,
    reduction,
    sequence,
    special,
    structural,
    views,
)
from .node import OPS, Op

__all__ = [
    "OPS",
    "Op",
    "bits",
    "contraction",
    "control",
    "elementwise",
    "leaves",
    "random",
    "reduction",
    "sequence",
    "special",
    "structural",
    "views",
]
