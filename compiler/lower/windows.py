"""What makes a contraction a sliding window, and how such contractions are cut into chunks, tiles and scratch.

An axis of one operand (the image) is read at stride · position + dilation · place - padding, all divided by a divisor
where a convolution is transposed; the other operand is read plainly. Such an image goes into scratch with its padding,
so that tiles read it where it lies. Which of the two indices of an axis the result has decides between two schedules:

* positions (convolutions and their input gradients): lanes run along the flattened positions of a padded picture. What
  lies between the end of one row and the begin of the next is computed in vain and never stored.
* places (weight gradients): positions are the depth of the contraction, and images are shared out among chunks, whose
  sums are added in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from ..artifact import Target
from ..graph import index, sizes
from ..graph.contraction import AxisMap, plain
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .ir import Const, Expr, Guarded, Load
from .stages import Expander, Stage

IMAGE_BYTES = 1 << 17  # what the part of an image that a chunk works on may take of the second cache
RESULT_BYTES = 1 << 15  # what a row of tiles may take of the first
PANEL_BYTES = 1 << 17  # what the packed positions of a weight gradient may take
SUMS_BYTES = 1 << 16  # what its sums may take
CHUNKS = 16  # chunks to aim at
UNITS = 8  # images of a chunk when their number is not known
LEAST = 1024  # products below which the general schedules serve as well


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """An axis of the image: element (out_step · out + sum_step · summed + start + low) / divisor, `out` a variable of
    the result and `summed` one that is summed over. The numerator minus `low` is the place in scratch, from 0 on."""

    size: int
    divisor: int
    out: IVar
    out_step: int
    summed: IVar
    sum_step: int
    start: int
    low: int
    place: IVar

    def reach(self, outs: int, sums: int) -> int:
        """Places that so many neighbours of both kinds touch."""
        return abs(self.out_step) * (outs - 1) + abs(self.sum_step) * (sums - 1) + 1


@dataclass(eq=False, slots=True)
class WindowPlan:
    """How a contraction over windows is scheduled. Variables are the stage's own.

    `rows` are what only the other operand shares with the result (output channels) and `shared` what both share with
    it; `own` are the result's axes of the image alone. Sums run over `outer` (images, or channels) and the windows.
    """

    operand: int  # which one is the image
    image: Expr  # an element of it, by the variables of plain axes and by the places of windows
    other: Expr
    windows: tuple[Window, ...]
    shared: tuple[IVar, ...]
    own: tuple[IVar, ...]
    rows: tuple[IVar, ...]
    outer: tuple[IVar, ...]
    over_positions: bool
    lanes: int
    tall: int
    parts: Extent = 1  # chunks of images whose sums are added up afterwards
    per_part: int = 1


def plan_windows(stage: Stage, kept: Callable[[Node], bool], target: Target) -> WindowPlan | None:
    """The schedule of a contraction over windows, or None where it is none or a general schedule serves better."""
    node = stage.node
    if node.op.kind != "contraction" or stage.factors is None:
        return None
    maps = (node["a_map"], node["b_map"])
    operand = next((k for k in (0, 1) if any(len(axis[0]) > 1 for axis in maps[k])), None)
    if operand is None:
        return None
    mine, others = maps[operand], maps[1 - operand]
    variables, n_out = stage.loop_axes, node["n_out"]
    theirs = [terms[0][0] for terms, _, _ in others if terms]
    if any(axis != plain(label) for axis, label in zip(others, theirs, strict=False)) or len(set(theirs)) < len(others):
        return None
    windows: list[Window] = []
    at: list[Index] = []
    guards: list[Guard] = []
    used: set[int] = set()
    direct: list[int] = []
    for axis, extent in zip(mine, node.inputs[operand].shape, strict=True):
        terms, _, divisor = axis
        labels = {label for label, _ in terms}
        if used & labels:
            return None
        used |= labels
        if len(terms) == 1 and axis == plain(terms[0][0]) and extent == variables[terms[0][0]].extent:
            direct.append(terms[0][0])
            at.append(index.of(variables[terms[0][0]]))
            continue
        window = _window(axis, variables, n_out, extent, len(windows))
        if window is None:
            return None
        windows.append(window)
        numerator = index.add(index.of(window.place), window.low)
        if divisor != 1:
            guards.append(Guard(numerator, divisor=divisor))
        guards.append(Guard(numerator, (window.size - 1) * divisor + 1))
        at.append(index.floordiv(numerator, divisor))
    moving = {v for w in windows for v in (w.out, w.summed)}
    if not windows or any(variables[k] in moving and k < n_out for k in theirs):
        return None
    if any(k not in theirs for k in range(n_out, len(variables)) if variables[k].extent != 1):
        return None
    if any(k not in used for k in range(n_out, len(variables)) if variables[k].extent != 1):
        return None
    expander = Expander(kept)
    value = expander.expand(node.inputs[operand], tuple(at), tuple(guards))
    if not isinstance(value, Load):
        value = Guarded(tuple(guards), value, Const(0, value.dtype), value.dtype)
    plan = WindowPlan(
        operand, value, stage.factors[1 - operand], tuple(windows),
        shared=tuple(variables[k] for k in direct if k < n_out and k in theirs),
        own=tuple(variables[k] for k in direct if k < n_out and k not in theirs),
        rows=tuple(variables[k] for k in theirs if k < n_out and k not in used),
        outer=tuple(variables[k] for k in direct if k >= n_out),
        over_positions=prod(known(w.out) for w in windows) >= prod(known(w.summed) for w in windows),
        lanes=max(2, target.vector_bytes // node.dtype.itemsize),
        tall=8 if target.registers >= 32 else 6,
    )  # fmt: skip
    return plan if _fits(plan, stage) else None


def _window(axis: AxisMap, variables: Sequence[IVar], n_out: int, size: Extent, number: int) -> Window | None:
    terms, offset, divisor = axis
    outs = [(variables[label], step) for label, step in terms if label < n_out]
    sums = [(variables[label], step) for label, step in terms if label >= n_out]
    if len(outs) > 1 or len(sums) > 1 or not isinstance(offset, int) or not isinstance(size, int):
        return None
    out, out_step = outs[0] if outs else (IVar("o", 1), 1)
    summed, sum_step = sums[0] if sums else (IVar("s", 1), 1)
    if not isinstance(out.extent, int) or not isinstance(summed.extent, int):
        return None
    least = min(0, out_step * (out.extent - 1)) + min(0, sum_step * (summed.extent - 1))
    reach = abs(out_step) * (out.extent - 1) + abs(sum_step) * (summed.extent - 1) + 1
    place = IVar(f"u{number}", reach)
    return Window(size, divisor, out, out_step, summed, sum_step, -least, offset + least, place)


def known(v: IVar) -> int:
    """The extent of a variable that has a fixed one."""
    assert isinstance(v.extent, int)
    return v.extent


def _fits(plan: WindowPlan, stage: Stage) -> bool:
    """Whether the schedule pays, and completes it."""
    static = [*plan.rows, *(plan.outer if plan.over_positions else plan.own)]
    if any(not isinstance(v.extent, int) for v in static):
        return False
    if any(v.extent == 0 for v in stage.loop_axes):
        return False
    if prod(sizes.hint(v.extent) for v in stage.loop_axes) < LEAST:
        return False
    if plan.over_positions:
        # Lanes that run along windows of a few positions would mostly be idle.
        positions = prod(known(w.out) for w in plan.windows)
        return all(w.out_step > 0 for w in plan.windows) and positions >= plan.lanes // 2
    units = sizes.product(v.extent for v in plan.outer)
    chunks = sizes.hint(sizes.product(v.extent for v in plan.shared)) * panels(plan) * row_blocks(plan, stage)[1]
    if not isinstance(units, int):
        plan.per_part, plan.parts = UNITS, sizes.ceildiv(units, UNITS)
        return True
    plan.per_part = -(-units // max(1, min(units, CHUNKS // chunks)))
    plan.parts = -(-units // plan.per_part)
    return True


def vectors(plan: WindowPlan, count: int) -> int:
    """Vectors of a tile for so many columns."""
    return 1 if count <= plan.lanes else 2


def panels(plan: WindowPlan) -> int:
    """Panels of columns of a weight gradient."""
    columns = prod(known(v) for v in plan.rows)
    return -(-columns // (vectors(plan, columns) * plan.lanes))


def row_blocks(plan: WindowPlan, stage: Stage) -> tuple[int, int]:
    """How many of the first own axis (input channels) a chunk of a weight gradient takes, and the number of blocks."""
    if not plan.own:
        return 1, 1
    first = known(plan.own[0])
    each = prod(known(v) for v in plan.own[1:]) * prod(known(w.out) for w in plan.windows)
    width = vectors(plan, prod(known(v) for v in plan.rows)) * plan.lanes
    picture = prod(w.reach(known(w.out), known(w.summed)) for w in plan.windows[1:])
    picture *= plan.windows[0].reach(known(plan.windows[0].out), 1) * prod(known(v) for v in plan.own[1:])
    itemsize = stage.node.dtype.itemsize
    most = max(1, min(SUMS_BYTES // (each * width * itemsize), IMAGE_BYTES // (picture * itemsize)))
    if most >= plan.tall:
        most -= most % plan.tall
    blocks = -(-first // most)
    return -(-first // blocks), blocks


def tile_height(rows: int, tall: int) -> int:
    """Rows of a tile, so that few are left over."""
    return min(range(1, min(tall, rows) + 1), key=lambda r: (-(-rows // r) * (r + 1), -r))
