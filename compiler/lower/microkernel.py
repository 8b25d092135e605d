"""The tile: a block of results in registers, as a kernel that others call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graph import index, sizes
from ..graph.dtypes import INT32, DType
from ..graph.index import Index, IVar, Lookup
from ..graph.sizes import Dim
from .ir import Buf, Const, Expr, Kernel, Load, Loop, Op, Prefetch, Reduce, Stmt, Store

AHEAD = 8  # steps of depth by which the panel is announced
PACKS_AHEAD = 12  # the same for a tile that packs the panel: nothing has asked for these lines before
ROWS_AHEAD = 32  # the same for rows that lie across the depth, a line of which every step takes
STEPS = 4  # of depth in a row: what counts them takes turns that arithmetic could have
FULL = 12  # sums of a tile from which on that is so: fewer wait for those of the last step, and leave turns


def tile_kernel(
    dtype: DType, tile_rows: int, vectors: int, lanes: int, adds: bool, ahead: bool = False, packs: bool = False,
    across: bool = False, asks: bool = False,
) -> Kernel:
    """c[rows, width] (+)= Σ_k a[row · row_stride + k · depth_stride] · b[k, width], in registers.

    The rows of b and c are `panel_stride` and `result_stride` elements apart. `ahead` announces b some rows early,
    which pays where it comes from far away, and `across` lines of a. A tile that `packs` leaves b behind as a panel,
    for those that follow. One that `asks` announces a place of `next`, each few steps another, `next_stride` elements
    from the last: what is packed when it is done.
    """
    width = vectors * lanes
    names = ("depth", "row_stride", "depth_stride", "panel_stride", "result_stride")
    depth, row_stride, depth_stride, panel_stride, result_stride = (Dim(n, min=0) for n in names)
    a = Buf("a", dtype, (1,), "arg")
    b = Buf("b", dtype, (1, width), "arg", (panel_stride, 1))
    c = Buf("c", dtype, (tile_rows, width), "arg", (result_stride, 1))
    panel = Buf("panel", dtype, (1, width), "arg")
    acc = Buf("c", dtype, (tile_rows, width), "register")
    column = Buf("b", dtype, (width,), "register")
    row = Buf("a", dtype, (tile_rows, lanes), "register")
    i, j, k = IVar("i", tile_rows), IVar("j", width), IVar("k", depth)
    at = (index.of(i), index.of(j))
    line: list[Stmt] = []
    if packs:
        line.append(Store(panel, (index.of(k), index.of(j)), Load(column, (index.of(j),), dtype)))
    if ahead:
        line.append(Prefetch(b, (index.add(index.of(k), PACKS_AHEAD if packs else AHEAD), index.of(j))))
    # A tile's first line of rows is the last one of the tile before it.
    later = index.scale(index.add(index.of(k), ROWS_AHEAD), depth_stride)
    last = index.add(index.of(sizes.mul(row_stride, tile_rows - 1)), later)
    coming, next_stride = Buf("next", dtype, (1,), "arg"), Dim("next_stride", min=0)
    asked = index.scale(index.floordiv(index.of(k), STEPS), next_stride)
    body = _tile_body(
        (i, j, k), (acc, row, column), vectors, lanes, Load(c, at, dtype) if adds else Const(0, dtype),
        Load(a, (Index(((i, row_stride), (k, depth_stride))),), dtype), Load(b, (index.of(k), index.of(j)), dtype), c,
        line, [Prefetch(buf, (place,)) for buf, place, there in ((a, last, across), (coming, asked, asks)) if there],
    )
    kinds = (("add", adds), ("pack", packs), ("far", ahead), ("across", across), ("asking", asks))
    name = "_".join(["tile", *(word for word, there in kinds if there), f"{tile_rows}x{width}{_wide(dtype)}"])
    params, writes = ([a, b, panel, c], {panel, c}) if packs else ([a, b, c], {c})
    kernel = Kernel(name, [*params, coming] if asks else params, writes, 1, body, inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [depth, row_stride, depth_stride, panel_stride, result_stride]
    if asks:
        kernel.size_params.append(next_stride)
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


def place_tile_kernel(dtype: DType, rows: tuple[int, int], vectors: int, lanes: int) -> Kernel:
    """c[rows, width] += Σ_k a[row offset + at[k]] · b[k, width], in registers.

    Rows come in two levels with a stride each, and the steps of the depth lie in a where the table `at` says.
    """
    width, count = vectors * lanes, rows[0] * rows[1]
    depth, outer_row, inner_row = (Dim(n, min=0) for n in ("depth", "outer_row", "inner_row"))
    a = Buf("a", dtype, (1,), "arg")
    at = Buf("at", INT32, (depth,), "arg")
    b = Buf("b", dtype, (depth, width), "arg")
    c = Buf("c", dtype, (count, width), "arg")
    acc = Buf("c", dtype, (count, width), "register")
    column = Buf("b", dtype, (width,), "register")
    row = Buf("a", dtype, (count, lanes), "register")
    i, j, k = IVar("i", count), IVar("j", width), IVar("k", depth)
    place = (index.of(i), index.of(j))
    there = index.add(_looked_up(at, k), index.scale(index.floordiv(index.of(i), rows[1]), outer_row))
    there = index.add(there, index.scale(index.mod(index.of(i), rows[1]), inner_row))
    body = _tile_body(
        (i, j, k), (acc, row, column), vectors, lanes, Load(c, place, dtype), Load(a, (there,), dtype),
        Load(b, (index.of(k), index.of(j)), dtype), c,
    )
    height = f"{rows[0]}_{rows[1]}" if rows[0] > 1 else f"{count}"
    kernel = Kernel(f"tile_places_{height}x{width}{_wide(dtype)}", [a, at, b, c], {c}, 1, body, inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [depth, outer_row, inner_row]
    kernel.title = f"c[{count}, {width}] += a[{count}, at[depth]] @ b[depth, {width}]"
    return kernel


def _looked_up(table: Buf, k: IVar) -> Index:
    return Index(((Lookup(table, (index.of(k),), k.extent), 1),))


def _tile_body(
    loops: tuple[IVar, IVar, IVar], registers: tuple[Buf, Buf, Buf], vectors: int, lanes: int, begin: Expr,
    element: Expr, line: Expr, result: Buf, along: Sequence[Stmt] = (), each: Sequence[Stmt] = (),
) -> list[Stmt]:
    """Rows, columns and depth; sums, a column of rows' elements, a line of columns: all sums begin, take in one product
    after another, and are stored. What else is done `along` a line, and once for `each`."""
    (i, j, k), (acc, row, column) = loops, registers
    at, dtype = (index.of(i), index.of(j)), acc.dtype

    def columns(statement: Stmt, vectors: int = vectors) -> Loop:
        return Loop(j, index.ZERO, index.of(vectors * lanes), "vec", [statement], lanes, vectors)

    def rows(*statements: Stmt) -> Loop:
        return Loop(i, index.ZERO, index.of(i.extent), "unroll", list(statements))

    product = Op("pair", (Load(row, (at[0], index.ZERO), dtype), Load(column, (at[1],), dtype)), dtype)
    step: list[Stmt] = [
        columns(Store(column, (at[1],), line)),
        *map(columns, along),
        *each,
        rows(columns(Store(row, at, element), 1), columns(Reduce(acc, at, "fma", product))),
    ]
    return [
        rows(columns(Store(acc, at, begin))),
        Loop(k, index.ZERO, index.of(k.extent), "seq", step, unroll=STEPS if i.extent * vectors >= FULL else 1),
        rows(columns(Store(result, at, Load(acc, at, dtype)))),
    ]


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
    body = _tile_body(
        (i, j, k), (acc, row, column), vectors, lanes, Const(0, dtype), Load(a, (Index(((k, a_step), (i, 1))),), dtype),
        Load(b, (index.add(_looked_up(at, k), index.of(j)),), dtype), c,
    )
    kernel = Kernel(f"tile_at_{tile_rows}x{width}{_wide(dtype)}", [a, b, at, c], {c}, 1, body, inner=True)
    kernel.registers = [acc, column, row]
    kernel.size_params = [depth, a_step, c_row]
    kernel.title = f"c[{tile_rows}, {width}] = a[depth, {tile_rows}]ᵀ @ b[at[depth], {width}]"
    return kernel
