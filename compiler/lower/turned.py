"""Transpositions: an array whose rows are the columns of another, turned square by square in registers."""

from __future__ import annotations

from ..graph import index, sizes
from ..graph.dtypes import is_float
from ..graph.index import Index, IVar
from .groups import Group
from .ir import Buf, Call, Kernel, Load, Loop, Routine, Stmt
from .schedule import SERIAL, Placement
from .stages import GRAIN

LEAST = 16  # rows and columns from which on it is worth a call


def turned(group: Group, place: Placement, name: str) -> Kernel | None:
    """The kernel of a group that copies an array with axes in another order, the last of them from far apart; None
    where it does anything else."""
    stage = group.stages[0]
    value, node = stage.value, stage.node
    if len(group.stages) > 1 or stage.reduce or stage.target is not None or stage.part is not None:
        return None
    if not isinstance(value, Load) or value.guards or len(stage.axes) < 2 or not is_float(node.dtype):
        return None
    source, home = place.buffer(value.buf), place.result(stage)
    offset = index.linear_strides(value.index, source.strides)
    strides = [offset.affine_in(v) for v in stage.axes]
    along = [v for v, stride in zip(stage.axes, strides, strict=True) if stride == 1 and v.extent != 1]
    across, apart = stage.axes[-1], strides[-1]
    if len(along) != 1 or along[0] is across or apart is None or apart == 0 or home is source or home.strides[-1] != 1:
        return None
    k = along[0]
    if not isinstance(k.extent, int) or min(k.extent, sizes.hint(across.extent)) < LEAST:
        return None
    if any(stride is None for stride in strides):
        return None
    return _kernel(stage.axes, k, source, offset, apart, home, name, group)


def _kernel(
    axes: tuple[IVar, ...], k: IVar, source: Buf, offset: Index, apart: sizes.Extent, home: Buf, name: str,
    group: Group,
) -> Kernel:
    across = axes[-1]
    assert isinstance(k.extent, int)
    # Lines of a cache from either array: sixteen elements are whole ones.
    block = min(k.extent, -(-GRAIN // max(1, sizes.hint(across.extent)) // LEAST) * LEAST)
    whole, rest = divmod(k.extent, block)
    others = [v for v in axes if v is not k and v is not across]
    blocks = whole + (1 if rest else 0)
    chunk = IVar("chunk", sizes.product((*(v.extent for v in others), blocks)))
    *places, at = index.unflatten(index.of(chunk), (*(v.extent for v in others), blocks))
    values = {**dict(zip(others, places, strict=True)), across: index.ZERO, k: index.scale(at, block)}
    there = index.linear_strides([index.of(v) for v in axes], home.strides)
    arrays = (source, index.substitute(offset, values)), (home, index.substitute(there, values))
    step = home.strides[axes.index(k)]

    def call(count: int) -> Stmt:
        routine = Routine("turn", home.dtype, (False, True))
        return Call(routine, arrays, tuple(index.of(n) for n in (apart, step, across.extent, count)))

    body: list[Stmt] = [call(block)]
    if rest:
        # Of the two loops one runs: until the last block the first, then the second.
        left = index.add(index.of(whole), index.scale(at, -1))
        one, last = IVar("one", 1), IVar("last", 2)
        body = [Loop(one, index.ZERO, index.of(1), "seq", body, limit=left),
                Loop(last, left, index.of(1), "seq", [call(rest)])]
    body = [Loop(chunk, index.ZERO, index.of(chunk.extent), "chunk", body)]
    kernel = Kernel(name, [], set(), chunk.extent, body, nodes=[group.stages[0].node])
    kernel.serial = sizes.hint(sizes.product(home.shape)) < SERIAL
    return kernel
