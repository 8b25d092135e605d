"""The tile: a block of results in registers, as a kernel that others call."""

from __future__ import annotations

from ..graph import index
from ..graph.dtypes import DType
from ..graph.index import Index, IVar
from ..graph.sizes import Dim
from .ir import Buf, Const, Expr, Kernel, Load, Loop, Op, Prefetch, Reduce, Stmt, Store

AHEAD = 8  # steps of depth by which the panel is announced


def tile_kernel(dtype: DType, tile_rows: int, vectors: int, lanes: int, adds: bool) -> Kernel:
    """c[rows, width] (+)= Σ_k a[row · row_stride + k · depth_stride] · b[k, width], in registers.

    The rows of b and c are `panel_stride` and `result_stride` elements apart.
    """
    width = vectors * lanes
    strides = ("depth", "row_stride", "depth_stride", "panel_stride", "result_stride")
    depth, row_stride, depth_stride, panel_stride, result_stride = (Dim(n, min=0) for n in strides)
    a = Buf("a", dtype, (1,), "arg")
    b = Buf("b", dtype, (1, width), "arg", (panel_stride, 1))
    c = Buf("c", dtype, (tile_rows, width), "arg", (result_stride, 1))
    acc = Buf("c", dtype, (tile_rows, width), "register")
    column = Buf("b", dtype, (width,), "register")
    row = Buf("a", dtype, (tile_rows, lanes), "register")
    i, j, k = IVar("i", tile_rows), IVar("j", width), IVar("k", depth)
    at = (index.of(i), index.of(j))

    def columns(statement: Stmt, vectors: int = vectors) -> Loop:
        return Loop(j, index.ZERO, index.of(vectors * lanes), "vec", [statement], lanes, vectors)

    def rows(*statements: Stmt) -> Loop:
        return Loop(i, index.ZERO, index.of(tile_rows), "unroll", list(statements))

    element = Load(a, (Index(((i, row_stride), (k, depth_stride))),), dtype)
    product = Op("pair", (Load(row, (index.of(i), index.ZERO), dtype), Load(column, (index.of(j),), dtype)), dtype)
    step: list[Stmt] = [
        columns(Store(column, (index.of(j),), Load(b, (index.of(k), index.of(j)), dtype))),
        columns(Prefetch(b, (index.add(index.of(k), AHEAD), index.of(j)))),
        rows(columns(Store(row, at, element), 1), columns(Reduce(acc, at, "fma", product))),
    ]
    begin: Expr = Load(c, at, dtype) if adds else Const(0, dtype)
    body: list[Stmt] = [
        rows(columns(Store(acc, at, begin))),
        Loop(k, index.ZERO, index.of(depth), "seq", step),
        rows(columns(Store(c, at, Load(acc, at, dtype)))),
    ]
    name = f"tile_{'add_' if adds else ''}{tile_rows}x{width}"
    kernel = Kernel(name, [a, b, c], {c}, 1, body, inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [depth, row_stride, depth_stride, panel_stride, result_stride]
    kernel.title = f"c[{tile_rows}, {width}] {'+' if adds else ''}= a[{tile_rows}, depth] @ b[depth, {width}]"
    return kernel
