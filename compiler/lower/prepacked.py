"""Contractions within a loop that leaves the columns' operand as it is: its panels are packed once, before the loop."""

from __future__ import annotations

from dataclasses import dataclass

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from .instantiate import Shared, instantiate
from .ir import Buf, Const, Expr, Kernel, Load, Loop, Stmt, Store
from .schedule import SERIAL, Placement, lanes_for
from .stages import Stage
from .tiling import Plan


@dataclass(frozen=True, slots=True)
class Prepacked:
    """Panels one after another, each with all steps of the summed axes: [batch · panels, outer · depth, width]. Columns
    of the last one that do not exist are 0."""

    buf: Buf
    plan: Plan
    panels: int
    depth: int

    def at(self, batch_at: Index, panel: Index, outer: dict[IVar, Index], start: Index) -> Index:
        """Where a panel begins, from a step of the depth on."""
        p = self.plan
        block = index.linear([outer.get(v, index.ZERO) for v in p.outer], tuple(v.extent for v in p.outer))
        number = index.add(index.scale(batch_at, self.panels), panel)
        line = index.add(index.scale(block, self.depth), start)
        return index.linear_strides((number, line, index.ZERO), self.buf.strides)


def prepack(stage: Stage, plan: Plan, place: Placement, target: Target) -> Prepacked | None:
    """The panels, and a kernel that fills them; None outside of loops and where the operand changes."""
    assert stage.factors is not None
    factor = stage.factors[1 - plan.rows_operand]
    n, depth, outer, batch = (
        sizes.product(v.extent for v in axes) for axes in (plan.columns, plan.depth, plan.outer, plan.batch)
    )
    if not (isinstance(n, int) and isinstance(depth, int) and isinstance(outer, int) and isinstance(batch, int)):
        return None
    panels = -(-n // plan.width)
    buf = place.before_loop(factor, stage.node.dtype, (batch * panels, outer * depth, plan.width))
    if buf is None:
        return None
    found = Prepacked(buf, plan, panels, depth)
    chunk, j = IVar("chunk", batch * panels), IVar("j", plan.width)
    b_at, panel = index.unflatten(index.of(chunk), (batch, panels))
    loops = [IVar(f"k{k}", v.extent) for k, v in enumerate((*plan.outer, *plan.depth))]
    values = {v: index.of(k) for v, k in zip((*plan.outer, *plan.depth), loops, strict=True)}
    column = index.add(index.scale(panel, plan.width), index.of(j))
    for axes, at in ((plan.batch, b_at), (plan.columns, column)):
        values.update(zip(axes, index.unflatten(at, tuple(v.extent for v in axes)), strict=True))

    def resolve(node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
        return Load(place.buffer(node), at, node.dtype, guards, fill)

    value = instantiate(factor, values, resolve, place.buffer, Shared())
    line = index.linear([index.of(k) for k in loops], tuple(k.extent for k in loops))
    body: list[Stmt] = [Store(buf, (index.of(chunk), line, index.of(j)), value)]
    left = None if n % plan.width == 0 else index.add(index.of(n), index.scale(panel, -plan.width))
    body = [Loop(j, index.ZERO, index.of(plan.width), "vec", body, lanes_for(body, target), limit=left)]
    if left is not None:
        z = IVar("z", plan.width)
        zero: list[Stmt] = [Store(buf, (index.of(chunk), line, index.of(z)), Const(0, buf.dtype))]
        body = [Loop(z, index.ZERO, index.of(plan.width), "vec", zero, plan.lanes), *body]
    for k in reversed(loops):
        body = [Loop(k, index.ZERO, index.of(k.extent), "seq", body)]
    body = [Loop(chunk, index.ZERO, index.of(chunk.extent), "chunk", body)]
    kernel = Kernel(f"k_{buf.name}", [], set(), chunk.extent, body, nodes=[stage.node])
    kernel.serial = sizes.hint(sizes.product(buf.shape)) < SERIAL
    place.run_before_loop(kernel)
    return found
