"""Sequence schedule: what goes along an axis in order. The other axes are rows, which chunks share out; where the last
axis is one of those, lanes lie along it."""

from __future__ import annotations

from ..artifact import Target
from ..graph import index, sizes
from ..graph.dtypes import INT64, DType
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node
from ..graph.sizes import Extent
from .instantiate import Shared, instantiate
from .ir import Buf, Call, Const, Expr, Kernel, Load, Loop, Op, Reduce, Routine, Stmt, Store
from .schedule import SERIAL, Placement, chunk_count, identity_of, in_chunks_of, lanes_for
from .stages import Stage, rows_in_chunk

BLOCK = 256  # elements of the lanes' axis that go along the other one together


class SequenceScheduler:
    """Builds the kernel of one stage. `build` is the only entry."""

    def __init__(self, stage: Stage, place: Placement, target: Target, name: str) -> None:
        self.stage, self.place, self.target = stage, place, target
        self.home = place.result(stage)
        self.kernel = Kernel(name, [], set(), 1, [], nodes=[stage.node])

    def build(self) -> Kernel:
        node = self.stage.node
        if node.op.name == "searchsorted":
            return self._search()
        body = {"argsort": self._sort, "running_argmax": self._argmax, "recurrence": self._recur}[node.op.name]
        axis = node["axis"]
        along = self.stage.axes[axis]
        lanes = node.op.name == "recurrence" and axis != len(self.stage.axes) - 1
        self._rows([v for v in self.stage.axes if v is not along], along.extent, lanes)
        self.step = IVar("i", along.extent)
        reverse = node.op.name == "recurrence" and node["reverse"]
        last = index.add(index.of(along.extent), -1)
        step = index.of(self.step)
        self.at[along] = index.add(last, index.scale(step, -1)) if reverse else step
        return self._finish(body())

    def _rows(self, axes: list[IVar], per_row: Extent, lanes: bool) -> None:
        """Gives every axis its index: those of rows from one row variable, with lanes the last from one of its own."""
        self.limit: Index | None = None
        self.lane: IVar | None = None
        extents = [v.extent for v in axes]
        wide = extents.pop() if lanes else 1
        block: Extent = wide
        if not isinstance(wide, int) or wide > BLOCK:
            block = BLOCK
            extents.append(sizes.ceildiv(wide, BLOCK))
        self.row = IVar("row", sizes.product(extents))
        place = index.unflatten(index.of(self.row), tuple(extents))
        self.at = dict(zip(axes, place, strict=False))
        if lanes:
            self.lane = IVar("j", block)
            start = index.scale(place[-1], BLOCK) if block is not wide else index.ZERO
            self.at[axes[-1]] = index.add(start, index.of(self.lane))
            if block is not wide and not (isinstance(wide, int) and wide % BLOCK == 0):
                self.limit = index.add(index.of(wide), index.scale(start, -1))
        self.per_chunk = rows_in_chunk(self.row.extent, sizes.hint(per_row) * sizes.hint(block))

    def _finish(self, body: list[Stmt]) -> Kernel:
        kernel = self.kernel
        kernel.chunks = chunk_count(self.row.extent, self.per_chunk)
        kernel.flops = work = self.stage.work()
        kernel.serial = work < SERIAL
        kernel.body = in_chunks_of(self.per_chunk, self.row, body, IVar("chunk", kernel.chunks))
        return kernel

    def _value(self, root: Expr, shared: Shared) -> Expr:
        def resolve(node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
            buf = self.place.buffer(node)
            return Load(buf, at, buf.dtype, guards, fill)

        return instantiate(root, self.at, resolve, self.place.buffer, shared)

    def _here(self) -> tuple[Index, ...]:
        """Where the element at hand goes in the result."""
        return tuple(self.at[v] for v in self.stage.axes)

    def _scratch(self, name: str, dtype: DType, extent: Extent) -> Buf:
        buf = Buf(name, dtype, (extent,), "scratch")
        self.kernel.scratch.append(buf)
        return buf

    def _register(self, dtype: DType) -> Buf:
        buf = Buf(f"acc{len(self.kernel.registers)}", dtype, (), "register")
        self.kernel.registers.append(buf)
        return buf

    def _each(self, var: IVar, body: list[Stmt], limit: Index | None = None, vec: bool = False) -> Loop:
        lanes = lanes_for(body, self.target) if vec else 1
        return Loop(var, index.ZERO, index.of(var.extent), "vec" if vec else "seq", body, lanes, limit=limit)

    def _recur(self) -> list[Stmt]:
        """The value before is kept in a register, with lanes in a row of them."""
        factors, node = self.stage.factors, self.stage.node
        assert factors is not None
        shared = Shared()
        a, x = (self._value(f, shared) for f in factors)
        carry: Buf
        at: tuple[Index, ...]
        if self.lane is None:
            carry, at = self._register(node.dtype), ()
        else:
            carry, at = self._scratch("carry", node.dtype, self.lane.extent), (index.of(self.lane),)
        before: Expr = Load(carry, at, node.dtype)
        start: Stmt = Store(carry, at, Const(node["start"], node.dtype))
        product = before if _is_one(a) else Op("mul", (a, before), node.dtype)
        value = product if _is_nothing(x) else Op("add", (product, x), node.dtype)
        body: list[Stmt] = [Store(self.home, self._here(), value), Store(carry, at, value)]
        if self.lane is not None:
            vec = self.lane.extent != 1
            start = self._each(self.lane, [start], self.limit, vec)
            body = [self._each(self.lane, body, self.limit, vec)]
        return [start, self._each(self.step, body)]

    def _argmax(self) -> list[Stmt]:
        value = self._value(self.stage.value, Shared())
        best, where = self._register(value.dtype), self._register(INT64)
        step = index.of(self.step)
        body: list[Stmt] = [
            Reduce(best, (), "argmax", value, where, step),
            Store(self.home, self._here(), Load(where, (), INT64)),
        ]
        start: list[Stmt] = [Store(best, (), identity_of("max", value.dtype)), Store(where, (), Const(-1, INT64))]
        return [*start, self._each(self.step, body)]

    def _sort(self) -> list[Stmt]:
        """A row's keys are put side by side and sorted together with their positions."""
        node, n = self.stage.node, self.step.extent
        value = self._value(self.stage.value, Shared())
        keys, order = self._scratch("keys", value.dtype, n), self._scratch("order", INT64, n)
        spare = self._scratch("spare_keys", value.dtype, n), self._scratch("spare_order", INT64, n)
        at = (index.of(self.step),)
        routine = Routine("argsort", value.dtype, (True,) * 4)
        args = tuple((buf, index.ZERO) for buf in (keys, order, *spare))
        vec = node["axis"] == len(node.shape) - 1 and n != 1
        return [
            self._each(self.step, [Store(keys, at, value)], vec=vec),
            Call(routine, args, (index.of(n),)),
            self._each(self.step, [Store(self.home, self._here(), Load(order, at, INT64))], vec=vec),
        ]

    def _search(self) -> Kernel:
        """One value after the other."""
        stage = self.stage
        self._rows(list(stage.axes), 1, False)
        value = self._value(stage.value, Shared())
        key, found = self._scratch("key", value.dtype, 1), self._scratch("found", INT64, 1)
        source = self.place.buffer(stage.node.inputs[0])
        routine = Routine(f"search_{'right' if stage.node['right'] else 'left'}", value.dtype, (False, False, True))
        at = (index.ZERO,)
        return self._finish([
            Store(key, at, value),
            Call(routine, tuple((buf, index.ZERO) for buf in (source, key, found)), (index.of(source.shape[0]),)),
            Store(self.home, self._here(), Load(found, at, INT64)),
        ])


def _is_one(e: Expr) -> bool:
    return isinstance(e, Const) and e.value == 1


def _is_nothing(e: Expr) -> bool:
    """Whether adding it changes no number: −0 does not even change the sign of −0."""
    return isinstance(e, Const) and e.value == 0 and (e.dtype.kind != "f" or str(float(e.value)) == "-0.0")
