"""The tile: a block of results in registers, as a kernel that others call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph import index, sizes
from ..graph.dtypes import INT32, DType
from ..graph.index import Index, IVar, Lookup
from ..graph.sizes import Dim
from .ir import Buf, Const, Expr, Kernel, Load, Loop, Op, Prefetch, Reduce, Stmt, Store

AHEAD = 8  # steps of depth by which the panel is announced
STEPS = 4  # of depth in a row: what counts them takes turns that arithmetic could have


def tile_kernel(
    dtype: DType, tile_rows: int, vectors: int, lanes: int, adds: bool, ahead: bool = False, asks: bool = False
) -> Kernel:
    """c[rows, width] (+)= Σ_k a[row · row_stride + k · depth_stride] · b[k, width], in registers.

    The rows of b and c are `panel_stride` and `result_stride` elements apart. `ahead` announces b some rows early,
    which pays where it comes from far away. A tile that `asks` announces one place of `next`, `next_stride` elements
    apart, with every few steps: what is packed when it is done.
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

    product = Op("pair", (Load(row, (index.of(i), index.ZERO), dtype), Load(column, (index.of(j),), dtype)), dtype)

    def step(k: Index) -> list[Stmt]:
        here = index.add(index.scale(index.of(i), row_stride), index.scale(k, depth_stride))
        found: list[Stmt] = [columns(Store(column, (index.of(j),), Load(b, (k, index.of(j)), dtype)))]
        if ahead:
            found.append(columns(Prefetch(b, (index.add(k, AHEAD), index.of(j)))))
        element = columns(Store(row, at, Load(a, (here,), dtype)), 1)
        return [*found, rows(element, columns(Reduce(acc, at, "fma", product)))]

    begin: Expr = Load(c, at, dtype) if adds else Const(0, dtype)
    name = f"tile_{'add_' if adds else ''}{'far_' if ahead else ''}{'asking_' if asks else ''}"
    kernel = Kernel(f"{name}{tile_rows}x{width}{_wide(dtype)}", [a, b, c], {c}, 1, [], inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [depth, row_stride, depth_stride, panel_stride, result_stride]
    along: list[Stmt] = [Loop(k, index.ZERO, index.of(depth), "seq", step(index.of(k)), unroll=STEPS)]
    if asks:
        later, next_stride = Buf("next", dtype, (1,), "arg"), Dim("next_stride", min=0)
        kernel.params.append(later)
        kernel.size_params.append(next_stride)
        whole = sizes.floordiv(depth, STEPS)
        q, u = IVar("q", whole), IVar("u", STEPS)
        there = index.add(index.scale(index.of(q), STEPS), index.of(u))
        four = Loop(u, index.ZERO, index.of(STEPS), "unroll", step(there))
        ask = Prefetch(later, (Index(((q, next_stride),)),))
        along = [
            Loop(q, index.ZERO, index.of(whole), "seq", [ask, four]),
            Loop(k, index.of(sizes.mul(whole, STEPS)), index.of(depth), "seq", step(index.of(k))),
        ]
    kernel.body = [
        rows(columns(Store(acc, at, begin))), *along, rows(columns(Store(c, at, Load(acc, at, dtype))))
    ]
    kernel.title = f"c[{tile_rows}, {width}] {'+' if adds else ''}= a[{tile_rows}, depth] @ b[depth, {width}]"
    return kernel


def tile_of(tiles: dict[tuple[Any, ...], Kernel], make: Callable[..., Kernel], key: tuple[Any, ...]) -> Kernel:
    """The tile with these properties, made if it is the first; tiles of equal width differ in their vectors."""
    if key not in tiles:
        made = make(*key)
        if any(tile.name == made.name for tile in tiles.values()):
            made.name += f"_by_{key[3]}"
        tiles[key] = made
    return tiles[key]


def _wide(dtype: DType) -> str:
    return "d" if dtype.itemsize == 8 else ""


def nested_tile_kernel(
    dtype: DType, rows: tuple[int, int], vectors: int, lanes: int, adds: bool, levels: int
) -> Kernel:
    """c[rows, width] (+)= Σ a[row offset + depth offset] · b[depth offset, width], in registers.

    Rows come in two levels with a stride each; the depth has as many levels as it takes to walk through a window.
    """
    width, count = vectors * lanes, rows[0] * rows[1]
    outer_row, inner_row, c_row = (Dim(n, min=0) for n in ("outer_row", "inner_row", "c_row"))
    a = Buf("a", dtype, (1,), "arg")
    b = Buf("b", dtype, (1,), "arg")
    c = Buf("c", dtype, (count, width), "arg", (c_row, 1))
    acc = Buf("c", dtype, (count, width), "register")
    column = Buf("b", dtype, (width,), "register")
    row = Buf("a", dtype, (count, lanes), "register")
    depth = [Dim(f"depth{n}", min=0) for n in range(levels)]
    a_step, b_step = ([Dim(f"{side}_step{n}", min=0) for n in range(levels)] for side in "ab")
    i, j = IVar("i", count), IVar("j", width)
    ks = [IVar(f"k{n}", depth[n]) for n in range(levels)]
    at = (index.of(i), index.of(j))
    a_at, b_at = (Index(zip(ks, steps, strict=True)) for steps in (a_step, b_step))
    a_at = index.add(a_at, index.scale(index.floordiv(index.of(i), rows[1]), outer_row))
    a_at = index.add(a_at, index.scale(index.mod(index.of(i), rows[1]), inner_row))

    def columns(statement: Stmt, vectors: int = vectors) -> Loop:
        return Loop(j, index.ZERO, index.of(vectors * lanes), "vec", [statement], lanes, vectors)

    def each_row(*statements: Stmt) -> Loop:
        return Loop(i, index.ZERO, index.of(count), "unroll", list(statements))

    product = Op("pair", (Load(row, (index.of(i), index.ZERO), dtype), Load(column, (index.of(j),), dtype)), dtype)
    step: list[Stmt] = [
        columns(Store(column, (index.of(j),), Load(b, (index.add(b_at, index.of(j)),), dtype))),
        each_row(columns(Store(row, at, Load(a, (a_at,), dtype)), 1), columns(Reduce(acc, at, "fma", product))),
    ]
    for k in reversed(ks):
        step = [Loop(k, index.ZERO, index.of(k.extent), "seq", step)]
    begin: Expr = Load(c, at, dtype) if adds else Const(0, dtype)
    body = [each_row(columns(Store(acc, at, begin))), *step, each_row(columns(Store(c, at, Load(acc, at, dtype))))]
    height = f"{rows[0]}_{rows[1]}" if rows[0] > 1 else f"{count}"
    name = f"tile_{'add_' if adds else ''}{height}x{width}_{levels}{_wide(dtype)}"
    kernel = Kernel(name, [a, b, c], {c}, 1, body, inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [outer_row, inner_row, c_row]
    for n in range(levels):
        kernel.size_params += [depth[n], a_step[n], b_step[n]]
    kernel.title = f"c[{count}, {width}] {'+' if adds else ''}= a[{count}, depth] @ b[depth, {width}]"
    return kernel


def table_tile_kernel(dtype: DType, tile_rows: int, vectors: int, lanes: int) -> Kernel:
    """c[rows, width] = Σ_k a[k · a_step + row] · b[at[k] .. at[k] + width], in registers.

    The steps of the depth lie in b where the table `at` says, and one after another in a: however many levels a walk
    through windows has, this is one loop.
    """
    width = vectors * lanes
    depth, a_step, c_row = (Dim(n, min=0) for n in ("depth", "a_step", "c_row"))
    a = Buf("a", dtype, (1,), "arg")
    b = Buf("b", dtype, (1,), "arg")
    at = Buf("at", INT32, (depth,), "arg")
    c = Buf("c", dtype, (tile_rows, width), "arg", (c_row, 1))
    acc = Buf("c", dtype, (tile_rows, width), "register")
    column = Buf("b", dtype, (width,), "register")
    row = Buf("a", dtype, (tile_rows, lanes), "register")
    i, j, k = IVar("i", tile_rows), IVar("j", width), IVar("k", depth)
    place = (index.of(i), index.of(j))

    def columns(statement: Stmt, vectors: int = vectors) -> Loop:
        return Loop(j, index.ZERO, index.of(vectors * lanes), "vec", [statement], lanes, vectors)

    def rows(*statements: Stmt) -> Loop:
        return Loop(i, index.ZERO, index.of(tile_rows), "unroll", list(statements))

    there = Index(((Lookup(at, (index.of(k),), depth), 1), (j, 1)))
    element = Load(a, (Index(((k, a_step), (i, 1))),), dtype)
    product = Op("pair", (Load(row, (index.of(i), index.ZERO), dtype), Load(column, (index.of(j),), dtype)), dtype)
    body: list[Stmt] = [
        rows(columns(Store(acc, place, Const(0, dtype)))),
        Loop(k, index.ZERO, index.of(depth), "seq", [
            columns(Store(column, (index.of(j),), Load(b, (there,), dtype))),
            rows(columns(Store(row, place, element), 1), columns(Reduce(acc, place, "fma", product))),
        ]),
        rows(columns(Store(c, place, Load(acc, place, dtype)))),
    ]
    kernel = Kernel(f"tile_at_{tile_rows}x{width}{_wide(dtype)}", [a, b, at, c], {c}, 1, body, inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [depth, a_step, c_row]
    kernel.title = f"c[{tile_rows}, {width}] = a[depth, {tile_rows}]ᵀ @ b[at[depth], {width}]"
    return kernel
