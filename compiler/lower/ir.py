"""The kernel IR, whole.

    Kernel = name, params: Buf*, chunks: Size, body: Stmt*, nodes         a function of a range of chunks
    Buf    = dtype, shape: Size*, strides, storage: arg | arena | scratch | register | lanes | constant | view
    Size   = int | Dim | sum | product | floordiv                          (graph.sizes)
    Index  = affine in loop variables, quotients, remainders, lookups      (graph.index)
    Stmt   = Loop(var, lo, hi [, limit], chunk | seq | vec L [x U] | unroll) | Store(buf, index, expr)
           | Reduce(buf, index, combine, expr) | Prefetch(buf, index)
           | Call(kernel or routine, (buf, offset)*, sizes)
    Expr   = Const | IndexValue | Load(buf, index, guards, fill) | Op(lane function, expr*)
           | Guarded(guards, expr, fill) | Across(combine, lanes)
    Step   = Run(kernel) | Branch(flag, steps, steps) | ScanLoop(var, length, steps, views, carries, pieces)
           | WhileLoop(var, steps, flag, steps, views, carries, record)    what the function as a whole does

A `vec` loop runs its body for `lanes` consecutive values at once; a Reduce into a `lanes` buffer keeps one partial
result per lane (and per copy of the body where the loop is unrolled), which Across folds in a fixed tree. Loops run
upwards by one; other orders are a matter of the indices in them. Control flow across kernels is the `Step`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from ..graph.dtypes import DType
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from ..graph.sizes import Dim, Extent, Shape


@dataclass(eq=False, slots=True, repr=False)
class Buf:
    """Memory, row-major unless `strides` say otherwise. `register` and `lanes` buffers have constant shapes and live in
    variables."""

    name: str
    dtype: DType
    shape: Shape
    storage: str
    strides: tuple[Extent, ...] = ()
    array: np.ndarray[Any, Any] | None = None  # contents of a constant
    base: Buf | None = None  # what a view is part of (a loop steps through it, or it starts at one record for good), or
    # scratch whose place it takes
    shift: Extent = 0  # the record of the base at which a view starts
    ahead: int = 0  # elements from what an iteration touches to what to ask memory for

    def __post_init__(self) -> None:
        if not self.strides:
            self.strides = row_major(self.shape)

    def __repr__(self) -> str:
        return self.name


def row_major(shape: Shape) -> tuple[Extent, ...]:
    strides: list[Extent] = []
    stride: Extent = 1
    for extent in reversed(shape):
        strides.append(stride)
        stride = stride * extent
    return tuple(reversed(strides))


@dataclass(eq=False, slots=True)
class Const:
    value: float | int | bool
    dtype: DType


@dataclass(eq=False, slots=True)
class IndexValue:
    """An index as a number."""

    index: Index
    dtype: DType


@dataclass(eq=False, slots=True)
class Load:
    """An element, or `fill` where a guard does not hold. Until buffers are placed, `buf` is the node that is read."""

    buf: Any
    index: tuple[Index, ...]
    dtype: DType
    guards: tuple[Guard, ...] = ()
    fill: Expr | None = None


@dataclass(eq=False, slots=True)
class Op:
    """A lane function of the op table applied to expressions; `attr` is what `cvt` and `check_index` need."""

    name: str
    args: tuple[Expr, ...]
    dtype: DType
    attr: Any = None


@dataclass(eq=False, slots=True)
class Guarded:
    """`expr` where the guards hold, else `fill`: a choice between values that are both safe to compute."""

    guards: tuple[Guard, ...]
    expr: Expr
    fill: Expr
    dtype: DType


@dataclass(eq=False, slots=True)
class Across:
    """The lanes (and unrolled copies) of an accumulator, combined in a fixed halving tree; for `argmax` the position
    that goes with the best of the lanes, the first of those that are as good."""

    combine: str
    buf: Buf
    dtype: DType
    positions: Buf | None = None


Expr = Union[Const, IndexValue, Load, Op, Guarded, Across]


@dataclass(eq=False, slots=True)
class Loop:
    var: IVar
    lo: Index
    hi: Index
    kind: str  # "chunk" | "seq" | "vec" | "unroll"
    body: list[Stmt]
    lanes: int = 1
    unroll: int = 1
    limit: Index | None = None  # a second upper bound: hi is the lesser of the two


@dataclass(eq=False, slots=True)
class Store:
    buf: Buf
    index: tuple[Index, ...]
    value: Expr


@dataclass(eq=False, slots=True)
class Reduce:
    """buf[index] = combine(buf[index], value). `argmax` pairs the value with `position` in a second buffer."""

    buf: Buf
    index: tuple[Index, ...]
    combine: str
    value: Expr
    positions: Buf | None = None
    position: Index | None = None


@dataclass(frozen=True, slots=True)
class Routine:
    """A function of the lane library over whole arrays, for elements of `dtype`: `writes` says which arguments it
    writes."""

    name: str
    dtype: DType
    writes: tuple[bool, ...]


@dataclass(eq=False, slots=True)
class Call:
    """Calls another kernel or a routine on parts of buffers: pairs of buffer and element offset, then sizes."""

    kernel: Kernel | Routine
    args: tuple[tuple[Buf, Index], ...]
    sizes: tuple[Index, ...]

    def touches(self) -> list[tuple[Buf, bool]]:
        """The buffers, each with whether it is written. A tile's parameters come in the order of the arguments."""
        k = self.kernel
        written = k.writes if isinstance(k, Routine) else [p in k.writes for p in k.params]
        return [(buf, w) for (buf, _), w in zip(self.args, written, strict=True)]


@dataclass(eq=False, slots=True)
class Prefetch:
    """Announces an element that a later iteration reads. It may lie outside the array, and nothing depends on it."""

    buf: Buf
    index: tuple[Index, ...]


Stmt = Union[Loop, Store, Reduce, Call, Prefetch]


@dataclass(eq=False, slots=True)
class Kernel:
    """A function of a chunk range. `params` are the buffers of others that it touches, `locals` its own."""

    name: str
    params: list[Buf]
    writes: set[Buf]
    chunks: Extent
    body: list[Stmt]
    nodes: list[Node] = field(default_factory=list)
    title: str = ""
    scratch: list[Buf] = field(default_factory=list)  # one copy per worker
    registers: list[Buf] = field(default_factory=list)
    size_params: list[Dim] = field(default_factory=list)
    checks: bool = False
    inner: bool = False  # called by kernels only
    per_piece: Extent = 1  # chunks of a piece, in a loop that is cut into pieces
    serial: bool = False  # too little work to hand chunks to other cores
    flops: Extent = 0  # of a call, by the cost model
    bytes: Extent = 0  # of all parameters together
    shares: dict[Buf, int] = field(default_factory=dict)  # arrays that chunks share out evenly, and elements of a share


@dataclass(eq=False, slots=True)
class Run:
    """A kernel call at the level of the whole function."""

    kernel: Kernel


@dataclass(eq=False, slots=True)
class ScanLoop:
    """A sequential loop around calls: `views` step through their bases, `carries` swap after every iteration.

    A loop in `pieces` holds nothing but kernels; chunks `per_piece` · k onwards of each are those of piece k.
    """

    var: IVar
    length: Extent
    reverse: bool
    steps: list[Step]
    views: list[Buf]
    carries: list[tuple[Buf, Buf, Buf, Buf]]  # (initial value, current, next, where the last value goes)
    before: list[tuple[Buf, Buf]] = field(default_factory=list)  # (to, from) copies, of carries that stay in stacks
    after: list[tuple[Buf, Buf]] = field(default_factory=list)
    pieces: Extent = 1  # of the rows of all arrays of the loop, each of which goes through all iterations by itself


@dataclass(eq=False, slots=True)
class Branch:
    """One of two lists of steps, by a flag in memory; both leave their results in the same buffers."""

    flag: Buf
    then: list[Step]
    otherwise: list[Step]


@dataclass(eq=False, slots=True)
class WhileLoop:
    """Steps that run while a flag holds, which the steps before them set in every iteration, at most `limit` times.

    `trips`, an extent, gets the number of iterations. Stacks of a loop without a limit lie on the tape, as records of
    one iteration each: `record` bytes, in which `places` tells the offsets of the stacks.
    """

    var: IVar
    test: list[Step]
    flag: Buf
    steps: list[Step]
    views: list[Buf]
    carries: list[tuple[Buf, Buf, Buf, Buf]]
    trips: Dim | None
    limit: int | None
    record: Extent = 0
    places: dict[Buf, Extent] = field(default_factory=dict)


Step = Union[Run, Branch, ScanLoop, WhileLoop]


def inner_steps(step: Step) -> tuple[list[Step], ...]:
    """The lists of steps within a step, in the order in which they run."""
    if isinstance(step, Run):
        return ()
    if isinstance(step, Branch):
        return step.then, step.otherwise
    return (step.steps,) if isinstance(step, ScanLoop) else (step.test, step.steps)


def in_pieces(steps: Sequence[Step]) -> list[ScanLoop]:
    """The loops that are cut into pieces, those within others too, in order."""
    found: list[ScanLoop] = []
    pending = list(reversed(steps))
    while pending:
        step = pending.pop()
        if isinstance(step, ScanLoop) and step.pieces != 1:
            found.append(step)
        pending.extend(s for inner in reversed(inner_steps(step)) for s in reversed(inner))
    return found


def kernels_within(step: Step) -> Iterator[Kernel]:
    """The kernels that a step runs, in order; a kernel is listed once for every place where it stands."""
    if isinstance(step, Run):
        yield step.kernel
    for steps in inner_steps(step):
        for inner in steps:
            yield from kernels_within(inner)


def outer_buffers(step: Step) -> list[Buf]:
    """The buffers that a step refers to itself, beside those of the steps and kernels within."""
    if isinstance(step, Run):
        return []
    if isinstance(step, Branch):
        return [step.flag]
    own = [b for carry in step.carries for b in carry]
    own += [v.base for v in step.views if v.base is not None]
    if isinstance(step, ScanLoop):
        return [*own, *(b for copy in (*step.before, *step.after) for b in copy)]
    return [step.flag, *own]


def walk(body: Sequence[Stmt]) -> Iterator[Stmt]:
    """Every statement, outer ones first."""
    stack: list[Stmt] = list(reversed(body))
    while stack:
        stmt = stack.pop()
        yield stmt
        if isinstance(stmt, Loop):
            stack.extend(reversed(stmt.body))


def operands(expr: Expr) -> tuple[Expr, ...]:
    if isinstance(expr, Op):
        return expr.args
    if isinstance(expr, Load):
        return () if expr.fill is None else (expr.fill,)
    if isinstance(expr, Guarded):
        return (expr.expr, expr.fill)
    return ()


def expressions(roots: Sequence[Expr], seen: set[int] | None = None) -> list[Expr]:
    """Every subexpression once, operands first; no recursion. Those whose ids are in `seen` are left out and new ones
    added to it: statements that share operands can be walked in time linear in what they have together."""
    order: list[Expr] = []
    seen = set() if seen is None else seen
    stack: list[Expr | None] = list(reversed(roots))  # None: what lies below it has all its operands in order
    while stack:
        expr = stack.pop()
        if expr is None:
            order.append(stack.pop())  # type: ignore[arg-type]
        elif id(expr) not in seen:
            seen.add(id(expr))
            below = operands(expr)
            if not below:
                order.append(expr)
                continue
            stack += (expr, None)
            for o in reversed(below):
                if id(o) not in seen:
                    stack.append(o)
    return order
