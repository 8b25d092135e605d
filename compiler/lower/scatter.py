"""Scatter schedule: a neutral start, with which updates are combined in the order of the index: bits never vary."""

from __future__ import annotations

from ..artifact import Target
from ..graph import index
from ..graph.index import Index, IVar
from .instantiate import Shared, instantiate, place_index
from .ir import Expr, Kernel, Load, Loop, Reduce, Stmt, Store
from .schedule import Placement, identity_of, lanes_for
from .stages import Stage


def scatter_kernel(stage: Stage, place: Placement, target: Target, name: str) -> Kernel:
    """One chunk: index positions outside, the other axes inside, lanes along the last where it is contiguous."""
    home = place.result(stage)
    assert stage.target is not None and stage.combine is not None
    zero_vars = [IVar(f"z{k}", n) for k, n in enumerate(stage.node.shape)]
    zero_at = tuple(index.of(v) for v in zero_vars)
    clear: list[Stmt] = [Store(home, zero_at, identity_of(stage.combine, home.dtype))]
    first = _loops(zero_vars, clear, bool(zero_vars), target)

    def resolve(node: object, at: tuple[Index, ...], guards: object, fill: Expr | None) -> Expr:
        return Load(place.buffer(node), at, place.buffer(node).dtype, guards, fill)  # type: ignore[arg-type]

    value = instantiate(stage.value, {}, resolve, place.buffer, Shared())
    at = tuple(place_index(i, {}, place.buffer) for i in stage.target)
    body: list[Stmt] = [Reduce(home, at, stage.combine, value)]
    axes = [*stage.reduce, *stage.axes]
    last = stage.axes[-1] if stage.axes else None
    lanes = last is not None and index.linear(at, stage.node.shape).affine_in(last) == 1 and last.extent != 1
    kernel = Kernel(name, [], set(), 1, [*first, *_loops(axes, body, lanes, target)])
    kernel.nodes = [stage.node]
    return kernel


def _loops(axes: list[IVar], body: list[Stmt], vec: bool, target: Target) -> list[Stmt]:
    for k, v in enumerate(reversed(axes)):
        if v.extent == 1:
            continue
        kind = "vec" if vec and k == 0 else "seq"
        lanes = lanes_for(body, target) if kind == "vec" else 1
        body = [Loop(v, index.ZERO, index.of(v.extent), kind, body, lanes)]
    return body
