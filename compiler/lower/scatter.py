"""Scatter schedule: a neutral start, with which updates are combined in the order of the index: bits never vary."""

from __future__ import annotations

from ..artifact import Target
from ..graph import index, sizes
from ..graph.index import Index, IVar
from .instantiate import Shared, instantiate, place_index
from .ir import Expr, Kernel, Load, Loop, Reduce, Stmt, Store
from .schedule import SERIAL, Placement, chunk_count, identity_of, in_chunks_of, lanes_for
from .stages import Stage, rows_in_chunk


def scatter_kernel(stage: Stage, place: Placement, target: Target, name: str) -> Kernel:
    """Axes in front of the scattered one are rows, which chunks share out; then come index positions, and inside them
    the other axes, lanes along the last where it is contiguous."""
    home = place.result(stage)
    assert stage.target is not None and stage.combine is not None
    axis = stage.node["axis"]
    leading = stage.axes[:axis]
    row = IVar("row", sizes.product(v.extent for v in leading))
    at_row = index.unflatten(index.of(row), tuple(v.extent for v in leading))
    values = dict(zip(leading, at_row, strict=True))

    zero_vars = [IVar(f"z{k}", n) for k, n in enumerate(stage.node.shape[axis:])]
    zero_at = (*at_row, *map(index.of, zero_vars))
    clear: list[Stmt] = [Store(home, zero_at, identity_of(stage.combine, home.dtype))]

    def resolve(node: object, at: tuple[Index, ...], guards: object, fill: Expr | None) -> Expr:
        return Load(place.buffer(node), at, place.buffer(node).dtype, guards, fill)  # type: ignore[arg-type]

    value = instantiate(stage.value, values, resolve, place.buffer, Shared())
    at = tuple(place_index(i, values, place.buffer) for i in stage.target)
    body: list[Stmt] = [Reduce(home, at, stage.combine, value)]
    axes = [*stage.reduce, *stage.axes[axis:]]
    last = axes[-1] if len(stage.axes) > axis else None
    lanes = last is not None and index.linear(at, stage.node.shape).affine_in(last) == 1 and last.extent != 1
    rows = [*_loops(zero_vars, clear, True, target), *_loops(axes, body, lanes, target)]
    per_chunk = rows_in_chunk(row.extent, sizes.hint(sizes.product(v.extent for v in axes)))
    kernel = Kernel(name, [], set(), chunk_count(row.extent, per_chunk), [], nodes=[stage.node])
    kernel.serial = stage.work() < SERIAL
    kernel.body = in_chunks_of(per_chunk, row, rows, IVar("chunk", kernel.chunks))
    return kernel


def _loops(axes: list[IVar], body: list[Stmt], vec: bool, target: Target) -> list[Stmt]:
    for k, v in enumerate(reversed(axes)):
        if v.extent == 1:
            continue
        kind = "vec" if vec and k == 0 else "seq"
        lanes = lanes_for(body, target) if kind == "vec" else 1
        body = [Loop(v, index.ZERO, index.of(v.extent), kind, body, lanes)]
    return body
