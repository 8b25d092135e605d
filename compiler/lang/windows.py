"""Where windows lie: what convolution and pooling of any number of axes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ShapeError
from ..graph import sizes
from ..graph.contraction import AxisMap
from ..graph.node import type_text
from ..graph.sizes import Extent
from . import checks
from .array import Array
from .explain import complain

LAYOUTS = {1: "[N, C, W]", 2: "[N, C, H, W]", 3: "[N, C, D, H, W]"}


def per_axis(name: str, what: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """An int for every one of `rank` axes, from one for all or a tuple."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(given) != rank or any(not checks.is_whole(v) or v < least for v in given):
        several = {1: "", 2: " or a pair of such", 3: " or three of such"}[rank]
        raise complain(ShapeError, f"{name}: {what} must be an int of at least {least}{several}, got {value!r}")
    return tuple(v.__index__() for v in given)


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one axis of extent `extent`: window p starts at stride · p - low and has `kernel` elements, one
    every `dilation`; there are `positions` of them."""

    extent: Extent
    kernel: int
    stride: int
    low: int
    dilation: int
    positions: Extent

    @property
    def reach(self) -> int:
        """From the first element of a window to its last."""
        return reach(self.kernel, self.dilation)

    def map(self, position: int, place: int) -> AxisMap:
        """The index of element `place` (a label) of window `position` (another)."""
        return (((position, self.stride), (place, self.dilation)), -self.low, 1)


def reach(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) + 1


def window_axis(
    name: str, n: Extent, kernel: int, stride: int, low: int, high: int, dilation: int, ceil_mode: bool, *of: Any
) -> Axis:
    """Windows along an axis of extent n with `low` and `high` elements of padding around it.

    With `ceil_mode`, a last window may hang over the end, if it starts before the padding there. Raises ShapeError
    where no window fits.
    """
    span = reach(kernel, dilation)
    checks.flag("ceil_mode", ceil_mode, *of)
    if sizes.lower_bound(n) + low + high < span:
        text = f"{name}: a window of {span} does not fit an axis of {n} padded by {low} and {high}"
        raise complain(ShapeError, text, *of)
    # The lesser of ceil((n + low + high - span) / stride) and floor((n + low - 1) / stride).
    room = low + high - span if not ceil_mode else low - 1 + min(high - span + stride, 0)
    return Axis(n, kernel, stride, low, dilation, sizes.add(sizes.floordiv(sizes.add(n, room), stride), 1))


def images(name: str, rank: int, x: Array) -> None:
    """Checks that x has a batch axis, channels and `rank` axes."""
    if x.ndim != rank + 2:
        raise complain(ShapeError, f"{name}: x must be {LAYOUTS[rank]}, got {type_text(x.shape, x.dtype)}", x)
