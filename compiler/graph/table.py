"""The whole op table: importing this module declares every primitive."""

from __future__ import annotations

from . import contraction, control, elementary, elementwise, leaves, reduction, structural
from .node import OPS, Op

__all__ = ["OPS", "Op", "contraction", "control", "elementary", "elementwise", "leaves", "reduction", "structural"]
