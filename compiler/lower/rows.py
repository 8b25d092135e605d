"""Row schedule: statements for nests of loops inside the rows of a chunk.

Stages of one nest pass values in registers; row values that later nests need live in scratch. Reductions over the
frame accumulate per chunk, and their chunks are combined by a stage of a later kernel, in the order of the chunks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..artifact import Target
from ..graph import index, sizes
from ..graph.dtypes import INT64
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .columns import Columns
from .corners import ending_of
from .groups import Classes, Group
from .instantiate import Shared, instantiate, place_index
from .ir import (
    Across,
    Buf,
    Const,
    Expr,
    Guarded,
    Kernel,
    Load,
    Loop,
    Op,
    Prefetch,
    Reduce,
    Stmt,
    Store,
    expressions,
)
from .jam import jam_rows
from .nests import Arrangement, Nest
from .schedule import SERIAL, WHOLE, Placement, chunk_count, clear, identity_of, in_chunks_of, lanes_for
from .stages import CHUNKS, Stage, rows_in_chunk

SIDE_BY_SIDE = 256  # operations of vectors that are interleaved


class RowScheduler(Arrangement):
    """Builds the kernel of one group. `build` is the only entry."""

    def __init__(
        self, group: Group, classes: Classes, place: Placement, target: Target, name: str, steps: Extent | None = None
    ) -> None:
        """`steps` is the number of chunks where other kernels share them (see `chains.py`)."""
        super().__init__(group, classes, place, walks_flat=steps is None)
        self.target, self.steps = target, steps
        self.kernel = Kernel(name, [], set(), 1, [])
        self.values: dict[Stage, Buf] = {}
        self.announced: set[Buf] = set()

    def build(self) -> Kernel:
        self._chunk()
        self._accumulators()
        body: list[Stmt] = []
        for nest in self.nests:
            body.extend(self._emit(nest))
        self.kernel.body = in_chunks_of(self.rows_per_chunk, self.row, body, self.chunk, self.before, self.after)
        self.kernel.nodes = [s.node for s in self.group.stages]
        jam_rows(self.kernel, self.target)
        return self.kernel

    def _chunk(self) -> None:
        """Rows per chunk, from shapes alone: what else a kernel computes must not change the tree of a sum in it."""
        rows = self.frame_extent
        elements = max(
            math.prod(max(1, sizes.hint(v.extent)) for v in s.loop_axes) for s in self.group.stages
        )
        per_chunk = rows_in_chunk(rows, elements // max(1, sizes.hint(rows)))
        self.kernel.flops = work = sum(s.work() for s in self.group.stages)
        self.kernel.serial = work < SERIAL
        self.rows_per_chunk: Extent = per_chunk
        self.chunks: Extent = chunk_count(rows, per_chunk)
        if self.pieces is not None:
            rest = sizes.product(self.frame_extents[1:])
            self.rows_per_chunk = rest if self.lead is self.vec else sizes.mul(rest, self.pieces.each)
            self.chunks = self.pieces.count
        elif self.group.kind == "check":
            # One chunk, so that the failure reported is the first and nobody races for the status.
            self.chunks = 1
        elif self.steps is not None:
            each = sizes.floordiv(rows, self.steps)
            assert isinstance(each, int)
            self.rows_per_chunk, self.chunks = each, self.steps
        elif isinstance(rows, int) and not any(self.frame_reduced(s) for s in self.group.stages):
            # No sum depends on how many rows a chunk has: expensive rows make more chunks.
            wanted = min(rows, CHUNKS, 2 * work // SERIAL)
            wanted = 1 << max(0, wanted.bit_length() - 1)
            if isinstance(self.chunks, int) and wanted > self.chunks:
                self.rows_per_chunk = per_chunk = -(-rows // wanted)
                self.chunks = chunk_count(rows, per_chunk)
        self.kernel.chunks = self.chunks
        self.chunk = IVar("chunk", self.chunks)

    def _accumulators(self) -> None:
        """Where reductions over the frame live: per chunk in memory, or in lanes and registers around the rows."""
        self.before: list[Stmt] = []
        self.after: list[Stmt] = []
        self.frame_acc: dict[Stage, tuple[Buf, tuple[Index, ...]]] = {}
        for s in self.group.stages:
            if not self.frame_reduced(s):
                continue
            out = self._inner_out(s)
            lead: tuple[Index, ...] = ()
            if self.chunks == 1:
                home = self.place.result(s)
            else:
                home, lead = self.place.partial(s, self.chunks), (index.of(self.chunk),)
            combine = s.combine or "add"
            zero = identity_of(combine, s.node.dtype)
            where = (*lead, *(self._out_index(s)))
            if out:
                body: list[Stmt] = [Store(home, where, zero)]
                self.before.extend(self._loops(out, body, self.vec in out))
                self.frame_acc[s] = (home, where)
            else:
                nest = self.nest_of[s]
                acc = self._accumulator(s, nest)
                self.before.append(Store(acc, (), zero))
                self.frame_acc[s] = (acc, ())
                self.after.append(Store(home, where, self._folded(acc, combine)))

    def _accumulator(self, s: Stage, nest: Nest) -> Buf:
        lanes = nest.vec
        acc = Buf(f"acc{len(self.kernel.registers)}", s.node.dtype, (), "lanes" if lanes else "register")
        self.kernel.registers.append(acc)
        return acc

    def _folded(self, acc: Buf, combine: str) -> Expr:
        return Across(combine, acc, acc.dtype) if acc.storage == "lanes" else Load(acc, (), acc.dtype)

    def _expr(self, s: Stage, nest: Nest) -> Expr:
        """The stage's value inside a nest; values made in the same nest are shared, not loaded."""
        def resolve(node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
            producer = self.maker.get(node)
            if producer is None or producer is s:
                return Load(self.place.buffer(node), at, node.dtype, guards, fill)
            if producer in self.live and self._placed(producer, at) == self._out_index(producer):
                value = self.live[producer]
                return value if fill is None else Guarded(guards, value, fill, node.dtype)
            home = self.values[producer]
            if home.storage == "register":
                kept = Load(home, (), node.dtype)
                return kept if fill is None else Guarded(guards, kept, fill, node.dtype)
            if home in self.kernel.scratch:
                axes = [k for k, v in enumerate(producer.axes) if self.classes.find(v) in self._inner_out(producer)]
                if self.flat:
                    axes = [self._flat_axis(producer)]
                return Load(home, self._scratch_index(producer, [at[k] for k in axes]), node.dtype, guards, fill)
            return Load(home, at, node.dtype, guards, fill)

        return instantiate(s.value, self._values_of(s), resolve, self.place.buffer, self.shared)

    def _placed(self, producer: Stage, at: Sequence[Index]) -> tuple[Index, ...]:
        """An index of the producer's value; along an axis of one element it is 0, whatever guards keep it there."""
        return tuple(index.ZERO if v.extent == 1 else i for v, i in zip(producer.axes, at, strict=True))

    def _loops(
        self, axes: Sequence[IVar], body: list[Stmt], vec: bool, unroll: int = 1, end: Index | None = None
    ) -> list[Stmt]:
        """Wraps statements in loops over inner classes, the vector class innermost, which may end early."""
        for c in reversed(axes):
            if c is self.vec:
                kind = "vec" if vec else "seq"
                lanes = self._lanes(body) if vec else 1
                hi = self.inner_extent[c]
                limit = self.limit if end is None else end
                loop = Loop(self.vec_var, index.ZERO, hi, kind, body, lanes, unroll if vec else 1, limit)
            elif c in self.split:
                window, place = self.split[c]
                loop = Loop(place, index.ZERO, index.of(place.extent), "unroll", body)
                loop = Loop(window, index.ZERO, index.of(window.extent), "seq", [loop])
            else:
                loop = Loop(c, index.ZERO, index.of(c.extent), "seq", body)
            body = [loop]
        return body

    def _lanes(self, body: Sequence[Stmt]) -> int:
        return lanes_for(body, self.target)

    def _emit(self, nest: Nest) -> list[Stmt]:
        self.live: dict[Stage, Expr] = {}
        self.shared = Shared()
        single = nest.stages[0]
        if len(nest.stages) == 1:
            if single.combine == "argmax":
                return self._emit_argmax(single, nest)
            if self._partly(single):
                return self._emit_partly(single, nest)
        before: list[Stmt] = []
        after: list[Stmt] = []
        body: list[Stmt] = []
        for s in nest.stages:
            value = self._expr(s, nest)
            if self.frame_reduced(s):
                acc, where = self.frame_acc[s]
                body.append(Reduce(acc, where, s.combine or "add", value))
            elif s.reduce and self._inner_reduced(s):
                acc = self._accumulator(s, nest)
                before.append(Store(acc, (), identity_of(s.combine or "add", s.node.dtype)))
                body.append(Reduce(acc, (), s.combine or "add", value))
                after.extend(self._finish(s, self._folded(acc, s.combine or "add")))
            else:
                if isinstance(value, Op) and value.name == "pair":
                    # A contraction over one element is its product; pairs are what a Reduce takes.
                    value = Op("mul", value.args, value.dtype)
                self.live[s] = value
                body.extend(self._keep(s, value))
        if nest.vec and self.pieces is None:
            body.extend(self._ahead(body, nest))
        reduces = any(isinstance(b, Reduce) and b.buf.storage == "lanes" for b in body)
        unroll = 4 if nest.vec and reduces and self._long() else 1
        if not reduces and nest.vec:
            unroll = self._deep(nest)
        if body:
            ending = ending_of(self, nest, self.place.cuts) if nest.vec else None
            lanes = self._lanes(body)
            end = None if ending is None else self._whole_vectors(ending.end, lanes)
            before.extend(self._loops(nest.axes, body, nest.vec, unroll, end))
            if ending is not None and end is not None:
                before.extend(self._beyond(end, ending.values, lanes))
        return [*before, *after]

    def _whole_vectors(self, end: Index, lanes: int) -> Index | None:
        """An end that may be rounded up to whole vectors, where there are nothing but such; None if it may be negative.
        What lies between the two is as it would be without an end."""
        assert self.vec is not None and isinstance(self.vec.extent, int)
        if self.vec.extent % lanes == 0:
            end = index.scale(index.floordiv(index.add(end, lanes - 1), lanes), lanes)
        least = index.bounds(end)
        return end if least is not None and isinstance(least[0], int) and least[0] >= 0 else None

    def _beyond(self, end: Index, values: Mapping[Stage, float], lanes: int) -> list[Stmt]:
        """Stores what is constant from an end on."""
        assert self.vec is not None and isinstance(self.vec.extent, int)
        z = IVar("z", self.vec.extent)
        there = {self.vec_var: index.add(end, index.of(z))}
        body: list[Stmt] = []
        for s, value in values.items():
            home = self.values.get(s)
            if home is None or home.storage == "register":
                continue
            at = self._scratch_at(s) if home in self.kernel.scratch else self._out_index(s)
            where = tuple(index.substitute(i, there) for i in at)
            body.append(Store(home, where, Const(value, s.node.dtype)))
        left = index.add(index.of(self.vec.extent), index.scale(end, -1))
        return [Loop(z, index.ZERO, left, "vec", body, lanes)] if body else []

    def _ahead(self, body: Sequence[Stmt], nest: Nest) -> list[Stmt]:
        """Announces the next row of long rows from memory: prefetchers of hardware stop at the end of a page.

        Done in the nest that takes longest of those that read the array, where the requests spread best.
        """
        heaviest: dict[Buf, Nest] = {}
        for other in sorted((n for n in self.nests if n.vec), key=lambda n: sum(s.cost for s in n.stages)):
            for s in other.stages:
                heaviest.update((self.place.buffer(node), other) for node, _ in s.reads if node not in self.maker)
        mine = {b for b, n in heaviest.items() if n is nest and b not in self.announced and self._outgrows(b)}
        found: list[Stmt] = []
        if not mine:
            return found
        roots = [s.value for s in body if isinstance(s, (Store, Reduce))]
        following = {self.row: index.add(index.of(self.row), 1)}
        for e in expressions(roots):
            if not isinstance(e, Load) or e.guards or e.buf not in mine:
                continue
            offset = index.linear_strides(e.index, e.buf.strides)
            stride = offset.affine_in(self.row)
            long = isinstance(stride, int) and stride * e.buf.dtype.itemsize >= 2048
            if long and offset.affine_in(self.vec_var) == 1:
                self.announced.add(e.buf)
                mine.remove(e.buf)
                found.append(Prefetch(e.buf, tuple(index.substitute(i, following) for i in e.index)))
        return found

    def _outgrows(self, buf: Buf) -> bool:
        """Whether an array comes from farther away than the second cache."""
        return sizes.hint(sizes.product(buf.shape), 1 << 20) * buf.dtype.itemsize > self.target.l2

    def _deep(self, nest: Nest) -> int:
        """How many vectors go side by side: where one's chain of operations is long, others fill its gaps. Plain
        operations wait for memory rather than for each other, and several functions fill each other's gaps."""
        assert self.vec is not None
        n = self.inner_extent[self.vec].const
        cost, ops = sum(s.cost for s in nest.stages), sum(s.ops for s in nest.stages)
        if not isinstance(n, int) or self.limit is not None or not max(30, 2 * ops) <= cost <= 150:
            return 1
        lanes = self.target.vector_bytes // 4
        return next((k for k in (4, 2) if n % (k * lanes) == 0 and k * cost <= SIDE_BY_SIDE), 1)

    def _long(self) -> bool:
        assert self.vec is not None
        return sizes.hint(self.vec.extent, 256) >= 4 * self.target.vector_bytes // 4

    def _finish(self, s: Stage, value: Expr) -> list[Stmt]:
        """Keeps a value that has no inner axes: in a register, and in memory where others need it."""
        statements: list[Stmt] = []
        if s in self.read_later:
            home = Buf(f"v{len(self.kernel.registers)}", s.node.dtype, (), "register")
            self.kernel.registers.append(home)
            self.values[s] = home
            statements.append(Store(home, (), value))
            value = Load(home, (), s.node.dtype)
        if self.place.external(s):
            statements.append(Store(self.place.result(s), self._out_index(s), value))
        return statements

    def _keep(self, s: Stage, value: Expr) -> list[Stmt]:
        """Keeps an elementwise value where it is needed beyond its own nest."""
        if not self._inner_out(s):
            return self._finish(s, value)
        if self.place.external(s):
            home = self.place.result(s)
            self.values[s] = home
            return [Store(home, self._out_index(s), value)]
        if s in self.read_later:
            home = self._scratch(s)
            return [Store(home, self._scratch_at(s), value)]
        return []

    def _scratch(self, s: Stage) -> Buf:
        out = [self.classes.find(v) for v in s.axes]
        inner = self._inner_out(s)
        shape = tuple(
            self.inner_extent[c].const if c is self.vec else c.extent for c in out if c in inner
        ) if not self.flat else (self.inner_extent[self.vec].const,)  # type: ignore[index]
        home = Buf(f"row{len(self.kernel.scratch)}", s.node.dtype, shape, "scratch")
        self.kernel.scratch.append(home)
        self.values[s] = home
        return home

    def _emit_partly(self, s: Stage, nest: Nest) -> list[Stmt]:
        """A reduction over some inner axes with others left; rows add up where it is over these too."""
        out, reduced = self._inner_out(s), self._inner_reduced(s)
        combine = s.combine or "add"
        zero = identity_of(combine, s.node.dtype)
        over_rows = self.frame_reduced(s)
        if over_rows:
            home, where = self.frame_acc[s]
        elif self.place.external(s):
            home, where = self.place.result(s), self._out_index(s)
            self.values[s] = home
        else:
            home = self._scratch(s)
            where = self._scratch_at(s)
        value = self._expr(s, nest)
        if self.vec in out:
            rest = tuple(c for c in out if c is not self.vec)
            assert self.vec is not None
            lanes = self._lanes([Reduce(home, where, combine, value)])
            if not over_rows and Columns.fit(self.inner_extent[self.vec], self.limit, lanes):
                columns = Columns(home, where, self.vec_var, self.inner_extent[self.vec], lanes, zero)
                self.kernel.registers.append(columns.row)
                summed = self._loops(reduced, [columns.add(combine, value)], False)
                return self._loops(rest, [columns.clear, *summed, columns.keep], False)
            first = self._loops(out, [Store(home, where, zero)], True)
            order = (*rest, *reduced, self.vec)
            return [*first, *self._loops(order, [Reduce(home, where, combine, value)], True)]
        acc = self._accumulator(s, nest)
        unroll = 4 if nest.vec and self._long() else 1
        inner = self._loops(reduced, [Reduce(acc, (), combine, value)], nest.vec, unroll)
        folded = self._folded(acc, combine)
        last = Reduce(home, where, "add" if combine == "fma" else combine, folded) if over_rows else (
            Store(home, where, folded)
        )
        body: list[Stmt] = [Store(acc, (), zero), *inner, last]
        return self._loops(out, body, False)

    def _emit_argmax(self, s: Stage, nest: Nest) -> list[Stmt]:
        out, value = self._inner_out(s), self._expr(s, nest)
        assert s.position is not None
        position = place_index(s.position, self._values_of(s), self.place.buffer)
        # In the order of positions: the first of equals is kept.
        inner = self._inner_reduced(s)
        reduced = [c for c in map(self.classes.find, s.reduce) if c in inner]
        if self.vec in out:
            return self._argmax_of_lanes(s, value, position, reduced)
        lanes = nest.vec and reduced[-1] is self.vec
        best, where = (
            Buf(f"acc{len(self.kernel.registers) + k}", dtype, (), "lanes" if lanes else "register")
            for k, dtype in enumerate((value.dtype, INT64))
        )
        self.kernel.registers += [best, where]
        body = self._loops(reduced, [Reduce(best, (), "argmax", value, where, position)], lanes)
        start: list[Stmt] = [Store(best, (), identity_of("max", value.dtype)), Store(where, (), Const(-1, INT64))]
        result: Expr = Load(where, (), INT64)
        if lanes:
            # Where nothing is greater than the start, the first position is the right one.
            start[1] = Store(where, (), Const(0, INT64))
            result = Across("argmax", best, INT64, where)
        if not out:
            return [*start, *body, *self._finish(s, result)]
        if self.place.external(s):
            home, at = self.place.result(s), self._out_index(s)
            self.values[s] = home
        else:
            home = self._scratch(s)
            at = self._scratch_at(s)
        return self._loops(out, [*start, *body, Store(home, at, result)], False)

    def _argmax_of_lanes(self, s: Stage, value: Expr, position: Index, reduced: Sequence[IVar]) -> list[Stmt]:
        """Every lane looks for the greatest of its own, in rows of the best so far and their positions."""
        assert self.vec is not None
        width = self.inner_extent[self.vec].const
        at = (index.of(self.vec_var),)
        best, where = (
            Buf(f"{name}{len(self.kernel.scratch)}", dtype, (sizes.mul(sizes.ceildiv(width, WHOLE), WHOLE),), "scratch")
            for name, dtype in (("best", value.dtype), ("where", INT64))
        )
        self.kernel.scratch += [best, where]
        start = [clear(best, identity_of("max", value.dtype), self.target), clear(where, Const(0, INT64), self.target)]
        body = self._loops([*reduced, self.vec], [Reduce(best, at, "argmax", value, where, position)], True)
        if self.place.external(s):
            home, place = self.place.result(s), self._out_index(s)
            self.values[s] = home
        else:
            home = self._scratch(s)
            place = self._scratch_at(s)
        end = self._loops([self.vec], [Store(home, place, Load(where, at, INT64))], True)
        rest = [c for c in self._inner_out(s) if c is not self.vec]
        return self._loops(rest, [*start, *body, *end], False)
