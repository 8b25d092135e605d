"""Choices about kernels, apart from what makes them: a call that finds its function in the cache needs no more."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import GraphError

_LIMITS = {"rows": (1, 32), "vectors": (1, 8), "panel_bytes": (4096, 1 << 20)}


@dataclass(frozen=True, slots=True)
class Choice:
    """How contractions are cut: most `rows` of a tile, most `vectors` of its width, most `panel_bytes` of a packed
    panel; 0 leaves it to the cost model. Raises GraphError for what no schedule can have.

    No result changes. The products of an element are added one after the other along the depth, in registers and from
    block to block, so neither a tile's shape nor where the depth is cut has a say in rounding. Which operand is packed
    is no choice, for on it depends what is stored, and so how kernels are divided.
    """

    rows: int = 0
    vectors: int = 0
    panel_bytes: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or (value and not least <= value <= most):
                raise GraphError(f"Choice: {name} must be 0 or an int from {least} to {most}, got {value!r}")


@dataclass(frozen=True, slots=True)
class Options:
    """Choices that change kernels: `recompute` ("cheap" or "all", see `choose_kept`) and `choice` never change results,
    `disabled` names rewrite rules to leave out."""

    recompute: str = "cheap"
    disabled: tuple[str, ...] = ()
    choice: Choice = Choice()
