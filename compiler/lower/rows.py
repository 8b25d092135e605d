"""Row schedule: a loop over the shared frame, and inside it nests of inner loops in levels.

A stage that needs a finished reduction over inner axes starts a new level; stages of one level with the same inner
axes share one nest, where values pass in registers. Reductions over the frame accumulate per chunk, and their chunks
are combined by a stage of a later kernel, in the order of the chunks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..artifact import Target
from ..graph import index, sizes
from ..graph.dtypes import BOOL, INT64
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .fuse import Classes, Group
from .instantiate import Shared, instantiate, place_index
from .ir import (
    Across,
    Buf,
    Const,
    Expr,
    Guarded,
    IndexValue,
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
from .stages import Stage, in_chunks, rows_in_chunk

SERIAL = 1 << 17  # flops below which one core is as fast as several
FLAT_BLOCK = 4096  # elements of a block when a kernel has only one long axis
COLUMN_BLOCK = 256  # the same where every block carries accumulators


class Placement(Protocol):
    """What a schedule asks about memory."""

    def buffer(self, node: Node) -> Buf: ...
    def external(self, stage: Stage) -> bool: ...
    def partial(self, stage: Stage, chunks: Extent) -> Buf: ...
    def result(self, stage: Stage) -> Buf: ...
    def contiguous(self, node: Node) -> bool: ...


def identity_of(combine: str, dtype: object) -> Const:
    import numpy as np

    kind = np.dtype(dtype)  # type: ignore[call-overload]
    if combine in ("add", "fma"):
        return Const(0, kind)
    least = -np.inf if kind.kind == "f" else int(np.iinfo(kind).min)
    return Const(least, kind)


@dataclass(eq=False, slots=True)
class _Nest:
    """Inner loops shared by stages of one level."""

    level: int
    axes: tuple[IVar, ...]
    vec: bool
    stages: list[Stage] = field(default_factory=list)


class RowScheduler:
    """Builds the kernel of one group. `build` is the only entry."""

    def __init__(self, group: Group, classes: Classes, place: Placement, target: Target, name: str) -> None:
        self.group, self.classes, self.place, self.target = group, classes, place, target
        self.kernel = Kernel(name, [], set(), 1, [])
        self.values: dict[Stage, Buf] = {}
        self.announced: set[Buf] = set()
        self.maker = {s.node: s for s in group.stages}

    def _class_axes(self, stage: Stage) -> list[IVar]:
        return [self.classes.find(v) for v in stage.loop_axes]

    def build(self) -> Kernel:
        stages = self.group.stages
        self.frame = self._frame()
        self.flat = self._is_flat()
        self.vec = self._choose_vec()
        if any(any(self.classes.find(v) is self.vec for v in s.reduce) and self._inner_out(s) for s in stages):
            # Lanes that are summed up have no place each in an array of results.
            self.frame = [c for c in self.frame if c is not self.vec]
        self._split_frame()
        self._assign_nests()
        self._chunk()
        self._accumulators()
        body: list[Stmt] = []
        for nest in self.nests:
            body.extend(self._emit(nest))
        self._wrap(body)
        self.kernel.nodes = [s.node for s in stages]
        return self.kernel

    def _frame(self) -> list[IVar]:
        """The group's frame without the classes that a stage reduces while it keeps others of the frame."""
        frame = list(self.group.frame)
        for s in self.group.stages:
            if s.combine == "argmax" or s.combines:
                frame = [c for c in frame if c not in {self.classes.find(v) for v in s.reduce}]
        changed = True
        while changed:
            changed = False
            for s in self.group.stages:
                kept = [c for c in map(self.classes.find, s.axes) if c in frame]
                reduced = [c for c in map(self.classes.find, s.reduce) if c in frame]
                if kept and reduced:
                    gone = kept if in_chunks(s) else reduced
                    frame = [c for c in frame if c not in gone]
                    changed = True
        return frame

    def _is_flat(self) -> bool:
        """Whether every access is either the same contiguous walk over equal shapes or a single element."""
        first = self.group.stages[0]
        for s in self.group.stages:
            if s.reduce or s.target or s.node.shape != first.node.shape or len(s.axes) < 2:
                return False
            if all(v.extent == 1 for v in s.axes):
                return False
            own = tuple(index.of(v) for v in s.axes)
            for node, at in s.reads:
                if at != own and any(i.terms for i in at):
                    return False
                if at == own and (node.shape != s.node.shape or not self.place.contiguous(node)):
                    return False
            if any(isinstance(e, (IndexValue, Guarded)) or (isinstance(e, Load) and e.guards)
                   for e in expressions([s.value])):
                return False
        return all(self.place.contiguous(s.node) for s in self.group.stages)

    def _choose_vec(self) -> IVar | None:
        """The class along which most memory is contiguous."""
        if self.flat:
            n = sizes.product(self.group.stages[0].node.shape)
            return IVar("i", n)
        # Every array counts once, by its size: how often a schedule reads it must not turn the lanes around.
        walks: dict[tuple[Node, IVar], int] = {}
        for s in self.group.stages:
            own = (s.node, tuple(index.of(v) for v in s.axes))
            for node, at in [*s.reads, *([own] if self.place.external(s) and s.target is None else [])]:
                offset = index.linear(at, node.shape)
                for v in s.loop_axes:
                    if v.extent == 1:
                        continue
                    stride = offset.affine_in(v)
                    gain = 2 if stride == 1 else 0 if stride == 0 else -1
                    key = (node, self.classes.find(v))
                    walks[key] = min(walks.get(key, 2), gain)
        score: dict[IVar, int] = {}
        for (node, c), gain in walks.items():
            elements = math.prod(max(1, sizes.hint(n)) for n in node.shape)
            score[c] = score.get(c, 0) + gain * elements * min(sizes.hint(c.extent), 8)
        best = max(score.items(), key=lambda item: (item[1], -item[0].order), default=None)
        if best is None or best[1] <= 0 or sizes.hint(best[0].extent) < 2:
            return None
        return best[0]

    def _split_frame(self) -> None:
        """Maps classes to kernel indices: frame classes from one flat frame variable, the rest to inner loops."""
        self.inner_extent: dict[IVar, Index] = {}
        self.limit: Index | None = None
        extents: list[Extent] = []
        order: list[IVar] = []
        vec = self.vec
        if self.flat:
            assert vec is not None
            self.frame = [vec]
        block = 0
        if vec is not None and vec in self.frame:
            others = not self.flat and any(set(self._class_axes(s)) - set(self.frame) for s in self.group.stages)
            block = COLUMN_BLOCK if others else FLAT_BLOCK
            if isinstance(vec.extent, int) and vec.extent <= block:
                block = 0
        for c in self.frame:
            if c is not vec:
                extents.append(c.extent)
                order.append(c)
        self.at: dict[IVar, Index] = {}
        inner: IVar | None = None
        if vec is not None and vec in self.frame:
            inner = IVar("j", block or vec.extent)
            if block:
                extents.append(sizes.ceildiv(vec.extent, block))
        self.frame_extent = sizes.product(extents)
        self.row = IVar("row", self.frame_extent)
        coordinates = index.unflatten(index.of(self.row), tuple(extents))
        for c, i in zip(order, coordinates, strict=False):
            self.at[c] = i
        if inner is not None:
            assert vec is not None
            start = index.scale(coordinates[-1], block) if block else index.ZERO
            self.at[vec] = index.add(start, index.of(inner))
            self.vec_var = inner
            self.inner_extent[vec] = index.of(inner.extent)
            if block and not (isinstance(vec.extent, int) and vec.extent % block == 0):
                self.limit = index.add(index.of(vec.extent), index.scale(start, -1))
        elif vec is not None:
            self.vec_var = IVar("j", vec.extent)
            self.at[vec] = index.of(self.vec_var)
            self.inner_extent[vec] = index.of(vec.extent)

    def _inner(self, stage: Stage) -> tuple[IVar, ...]:
        """Classes that the stage loops over inside the frame; the vector class is always inside."""
        if self.flat:
            assert self.vec is not None
            return (self.vec,)
        found = dict.fromkeys(self._class_axes(stage))
        inner = [c for c in found if (c not in self.frame or c is self.vec) and c.extent != 1]
        return tuple(sorted(inner, key=lambda c: c is self.vec))

    def _frame_reduced(self, stage: Stage) -> bool:
        return any(self.classes.find(v) in self.frame for v in stage.reduce)

    def _inner_reduced(self, stage: Stage) -> tuple[IVar, ...]:
        inner = self._inner(stage)
        reduced = {self.classes.find(v) for v in stage.reduce}
        return tuple(c for c in inner if c in reduced)

    def _inner_out(self, stage: Stage) -> tuple[IVar, ...]:
        reduced = set(self._inner_reduced(stage))
        return tuple(c for c in self._inner(stage) if c not in reduced)

    def _assign_nests(self) -> None:
        self.nests: list[_Nest] = []
        level: dict[Stage, int] = {}
        key_of: dict[Stage, tuple[object, ...]] = {}
        by_key: dict[tuple[object, ...], _Nest] = {}
        self.nest_of: dict[Stage, _Nest] = {}
        for s in self.group.stages:
            inner, reduced = self._inner(s), self._inner_reduced(s)
            alone = (reduced and len(reduced) < len(inner) and not self._frame_reduced(s)) or s.combine == "argmax"
            key: tuple[object, ...] = (inner, s if alone else None)
            least = 0
            for node, at in s.reads:
                producer = self.maker.get(node)
                if producer is None or producer is s:
                    continue
                same = (
                    key_of[producer] == key and not producer.reduce and self._same_place(producer, s, at)
                    and node not in s.lookups
                )
                least = max(least, level[producer] + (0 if same else 1))
            level[s], key_of[s] = least, key
            full = (least, *key)
            nest = by_key.get(full)
            if nest is None:
                vec = self.vec is not None and self.vec in inner and s.combine != "argmax"
                nest = by_key[full] = _Nest(least, inner, vec)
                self.nests.append(nest)
            nest.stages.append(s)
            self.nest_of[s] = nest
        self.nests.sort(key=lambda n: n.level)
        self.read_later = {
            self.maker[node]
            for s in self.group.stages
            for node, _ in s.reads
            if node in self.maker and self.nest_of[self.maker[node]] is not self.nest_of[s]
        }

    def _same_place(self, producer: Stage, s: Stage, at: Sequence[Index]) -> bool:
        find = self.classes.find
        if self.flat:
            return True
        for axis, i in zip(producer.axes, at, strict=True):
            if axis.extent == 1:
                continue
            v = i.as_var()
            if v is None or find(v) is not find(axis):
                return False
        return True

    def _chunk(self) -> None:
        """Rows per chunk, from shapes alone: what else a kernel computes must not change the tree of a sum in it."""
        rows = self.frame_extent
        elements = max(
            math.prod(max(1, sizes.hint(v.extent)) for v in s.loop_axes) for s in self.group.stages
        )
        self.rows_per_chunk = rows_in_chunk(rows, elements // max(1, sizes.hint(rows)))
        self.kernel.serial = sum(s.work() for s in self.group.stages) < SERIAL
        if self.group.kind == "check":
            # One chunk, so that the failure reported is the first and nobody races for the status.
            self.chunks: Extent = 1
        elif isinstance(rows, int):
            self.chunks = max(1, -(-rows // self.rows_per_chunk))
        else:
            self.chunks = sizes.ceildiv(rows, self.rows_per_chunk)
        self.kernel.chunks = self.chunks
        self.chunk = IVar("chunk", self.chunks)

    def _accumulators(self) -> None:
        """Where reductions over the frame live: per chunk in memory, or in lanes and registers around the rows."""
        self.before: list[Stmt] = []
        self.after: list[Stmt] = []
        self.frame_acc: dict[Stage, tuple[Buf, tuple[Index, ...]]] = {}
        for s in self.group.stages:
            if not self._frame_reduced(s):
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

    def _accumulator(self, s: Stage, nest: _Nest) -> Buf:
        lanes = nest.vec
        acc = Buf(f"acc{len(self.kernel.registers)}", s.node.dtype, (), "lanes" if lanes else "register")
        self.kernel.registers.append(acc)
        return acc

    def _folded(self, acc: Buf, combine: str) -> Expr:
        return Across(combine, acc, acc.dtype) if acc.storage == "lanes" else Load(acc, (), acc.dtype)

    def _flat_axis(self, s: Stage) -> int:
        """The axis that stands for all of them in a flat kernel: the last that indices mention, of stride 1."""
        return max(k for k, v in enumerate(s.axes) if v.extent != 1)

    def _out_index(self, s: Stage) -> tuple[Index, ...]:
        if self.flat:
            values = self._values_of(s)
            return tuple(values[v] for v in s.axes)
        return tuple(self._axis_index(v) for v in s.axes)

    def _axis_index(self, v: IVar) -> Index:
        if v.extent == 1:
            return index.ZERO
        c = self.classes.find(v)
        return self.at[c] if c in self.at else index.of(c)

    def _values_of(self, s: Stage) -> dict[IVar, Index]:
        if self.flat:
            assert self.vec is not None
            flat = self._flat_axis(s)
            return {v: self.at[self.vec] if k == flat else index.ZERO for k, v in enumerate(s.axes)}
        return {v: self._axis_index(v) for v in s.loop_axes}

    def _expr(self, s: Stage, nest: _Nest) -> Expr:
        """The stage's value inside a nest; values made in the same nest are shared, not loaded."""
        def resolve(node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
            producer = self.maker.get(node)
            if producer is None or producer is s:
                return Load(self.place.buffer(node), at, node.dtype, guards, fill)
            if producer in self.live and not guards and at == self._out_index(producer):
                return self.live[producer]
            home = self.values[producer]
            if home.storage == "register":
                kept = Load(home, (), node.dtype)
                return kept if fill is None else Guarded(guards, kept, fill, node.dtype)
            if home.storage == "scratch":
                axes = [k for k, v in enumerate(producer.axes) if self.classes.find(v) in self._inner_out(producer)]
                if self.flat:
                    axes = [self._flat_axis(producer)]
                return Load(home, self._scratch_index(producer, [at[k] for k in axes]), node.dtype, guards, fill)
            return Load(home, at, node.dtype, guards, fill)

        return instantiate(s.value, self._values_of(s), resolve, self.place.buffer, self.shared)

    def _scratch_index(self, producer: Stage, at: list[Index]) -> tuple[Index, ...]:
        """Index within one row's scratch: a blocked vector class counts from the start of its block."""
        result = []
        for i in at:
            if self.vec is not None and self.vec in self.frame:
                start = index.add(self.at[self.vec], index.scale(index.of(self.vec_var), -1))
                if self.vec_var in i.vars():
                    i = index.add(i, index.scale(start, -1))
            result.append(i)
        return tuple(result)

    def _loops(self, axes: Sequence[IVar], body: list[Stmt], vec: bool, unroll: int = 1) -> list[Stmt]:
        """Wraps statements in loops over inner classes, the vector class innermost."""
        for c in reversed(axes):
            if c is self.vec:
                kind = "vec" if vec else "seq"
                lanes = self._lanes(body) if vec else 1
                hi = self.inner_extent[c]
                loop = Loop(self.vec_var, index.ZERO, hi, kind, body, lanes, unroll if vec else 1, self.limit)
            else:
                loop = Loop(c, index.ZERO, index.of(c.extent), "seq", body)
            body = [loop]
        return body

    def _lanes(self, body: Sequence[Stmt]) -> int:
        return lanes_for(body, self.target)

    def _emit(self, nest: _Nest) -> list[Stmt]:
        self.live: dict[Stage, Expr] = {}
        self.shared = Shared()
        single = nest.stages[0]
        reduced = self._inner_reduced(single)
        if len(nest.stages) == 1 and not self._frame_reduced(single):
            if single.combine == "argmax":
                return self._emit_argmax(single, nest)
            if reduced and len(reduced) < len(nest.axes):
                return self._emit_partly(single, nest)
        before: list[Stmt] = []
        after: list[Stmt] = []
        body: list[Stmt] = []
        for s in nest.stages:
            value = self._expr(s, nest)
            if self._frame_reduced(s):
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
        if nest.vec:
            body.extend(self._ahead(body, nest))
        reduces = any(isinstance(b, Reduce) and b.buf.storage == "lanes" for b in body)
        unroll = 4 if nest.vec and reduces and self._long() else 1
        if not reduces and nest.vec:
            unroll = self._deep(nest)
        if body:
            before.extend(self._loops(nest.axes, body, nest.vec, unroll))
        return [*before, *after]

    def _ahead(self, body: Sequence[Stmt], nest: _Nest) -> list[Stmt]:
        """Announces the next row of long rows from memory: prefetchers of hardware stop at the end of a page.

        Done in the nest that takes longest of those that read the array, where the requests spread best.
        """
        heaviest: dict[Buf, _Nest] = {}
        for other in sorted((n for n in self.nests if n.vec), key=lambda n: sum(s.cost for s in n.stages)):
            for s in other.stages:
                heaviest.update((self.place.buffer(node), other) for node, _ in s.reads if node not in self.maker)
        found: list[Stmt] = []
        roots = [s.value for s in body if isinstance(s, (Store, Reduce))]
        following = {self.row: index.add(index.of(self.row), 1)}
        for e in expressions(roots):
            if not isinstance(e, Load) or e.guards or e.buf in self.announced or heaviest.get(e.buf) is not nest:
                continue
            offset = index.linear_strides(e.index, e.buf.strides)
            stride = offset.affine_in(self.row)
            rows = sizes.hint(sizes.product(e.buf.shape), 1 << 20) * e.buf.dtype.itemsize
            long = isinstance(stride, int) and stride * e.buf.dtype.itemsize >= 2048
            if long and rows > self.target.l2 and offset.affine_in(self.vec_var) == 1:
                self.announced.add(e.buf)
                found.append(Prefetch(e.buf, tuple(index.substitute(i, following) for i in e.index)))
        return found

    def _deep(self, nest: _Nest) -> int:
        """How many vectors go side by side: where one's chain of operations is long, others fill its gaps."""
        assert self.vec is not None
        n = self.inner_extent[self.vec].const
        cost, ops = sum(s.cost for s in nest.stages), sum(s.ops for s in nest.stages)
        if not isinstance(n, int) or self.limit is not None or not 30 <= cost <= 150 or ops > 60:
            return 1
        lanes = self.target.vector_bytes // 4
        return next((k for k in (4, 2) if n % (k * lanes) == 0), 1)

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

    def _scratch_at(self, s: Stage) -> tuple[Index, ...]:
        if self.flat:
            return (index.of(self.vec_var),)
        inner = self._inner_out(s)
        return tuple(
            index.of(self.vec_var) if c is self.vec else index.of(c)
            for c in map(self.classes.find, s.axes)
            if c in inner
        )

    def _emit_partly(self, s: Stage, nest: _Nest) -> list[Stmt]:
        """A reduction over some inner axes with others left."""
        out, reduced = self._inner_out(s), self._inner_reduced(s)
        combine = s.combine or "add"
        zero = identity_of(combine, s.node.dtype)
        if self.place.external(s):
            home, where = self.place.result(s), self._out_index(s)
            self.values[s] = home
        else:
            home = self._scratch(s)
            where = self._scratch_at(s)
        value = self._expr(s, nest)
        if self.vec in out:
            rest = tuple(c for c in out if c is not self.vec)
            assert self.vec is not None
            first = self._loops(out, [Store(home, where, zero)], True)
            order = (*rest, *reduced, self.vec)
            return [*first, *self._loops(order, [Reduce(home, where, combine, value)], True)]
        acc = self._accumulator(s, nest)
        unroll = 4 if nest.vec and self._long() else 1
        inner = self._loops(reduced, [Reduce(acc, (), combine, value)], nest.vec, unroll)
        body: list[Stmt] = [Store(acc, (), zero), *inner, Store(home, where, self._folded(acc, combine))]
        return self._loops(out, body, False)

    def _emit_argmax(self, s: Stage, nest: _Nest) -> list[Stmt]:
        out, reduced = self._inner_out(s), self._inner_reduced(s)
        value = self._expr(s, nest)
        best = Buf(f"acc{len(self.kernel.registers)}", value.dtype, (), "register")
        where = Buf(f"acc{len(self.kernel.registers) + 1}", INT64, (), "register")
        self.kernel.registers += [best, where]
        assert s.position is not None
        position = place_index(s.position, self._values_of(s), self.place.buffer)
        inner = self._loops(reduced, [Reduce(best, (), "argmax", value, where, position)], False)
        start: list[Stmt] = [Store(best, (), identity_of("max", value.dtype)), Store(where, (), Const(-1, INT64))]
        result = Load(where, (), INT64)
        if not out:
            return [*start, *inner, *self._finish(s, result)]
        if self.place.external(s):
            home, at = self.place.result(s), self._out_index(s)
            self.values[s] = home
        else:
            home = self._scratch(s)
            at = self._scratch_at(s)
        return self._loops(out, [*start, *inner, Store(home, at, result)], False)

    def _wrap(self, body: list[Stmt]) -> None:
        """Puts the rows of a chunk, and the chunks, around the nests."""
        if self.frame_extent != 1:
            if self.chunks == 1:
                lo, hi, limit = index.ZERO, index.of(self.frame_extent), None
            else:
                lo = index.scale(index.of(self.chunk), self.rows_per_chunk)
                hi = index.add(lo, self.rows_per_chunk)
                exact = isinstance(self.frame_extent, int) and self.frame_extent % self.rows_per_chunk == 0
                limit = None if exact else index.of(self.frame_extent)
            body = [Loop(self.row, lo, hi, "seq", body, limit=limit)]
        body = [*self.before, *body, *self.after]
        if self.chunks != 1:
            body = [Loop(self.chunk, index.ZERO, index.of(self.chunks), "chunk", body)]
        self.kernel.body = body


def lanes_for(body: Sequence[Stmt], target: Target) -> int:
    """Lanes so that the widest type that takes part fills a register."""
    widest = 4
    roots = [s.value for s in body if isinstance(s, (Store, Reduce))]
    for e in expressions(roots):
        if e.dtype != BOOL:
            widest = max(widest, e.dtype.itemsize)
    for s in body:
        if isinstance(s, (Store, Reduce)) and s.buf.dtype != BOOL:
            widest = max(widest, s.buf.dtype.itemsize)
    return max(2, target.vector_bytes // widest)
