"""Scans whose carries go along element by element: the whole loop over time inside blocks of elements.

Where an iteration computes every element of its carries from the same element of what it reads, a block of elements
can go through all iterations before the next block begins: its carries stay in the first cache, and all of it is one
kernel. Sums over the elements, one per iteration or one for the whole loop, are kept per chunk of blocks and added up
by a stage of a later kernel. Cheap bodies do several iterations in one pass, with the carries in registers between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..graph import index, sizes
from ..graph.index import Guard, Index, IVar
from ..graph.node import Node, toposort
from ..graph.sizes import Extent, Shape
from .instantiate import Shared, instantiate
from .ir import Across, Buf, Expr, Guarded, Kernel, Load, Loop, Op, Reduce, Stmt, Store
from .schedule import SERIAL, chunk_count, identity_of, in_chunks_of, lanes_for
from .stacks import Stacks
from .stages import CHUNKS, Stage, make_stage

if TYPE_CHECKING:
    from .scope import Scope

BLOCK = 512  # elements; nothing but shapes has a say in it, for the order of sums follows from it
COPIES = 2  # of an accumulator, side by side
TOGETHER = 4  # iterations in one pass over a block
CHEAP = 32  # operations of a pass up to which iterations go together
STATEMENTS = 200  # operations of a body at most


@dataclass(eq=False, slots=True)
class Blockwise:
    """What is known of a scan that can go block by block: stages of the carries and of the results that are read, by
    number; `totals` are the numbers of 0-d carries that only add up sums."""

    shape: Shape
    carries: dict[int, Stage] = field(default_factory=dict)
    rows: dict[int, Stage] = field(default_factory=dict)
    sums: dict[int, Stage] = field(default_factory=dict)
    totals: dict[int, Stage] = field(default_factory=dict)

    @property
    def stages(self) -> list[Stage]:
        return [s for part in (self.carries, self.rows, self.sums, self.totals) for s in part.values()]


def blockwise(node: Node, results: Mapping[int, Node], contiguous: Callable[[Node], bool]) -> Blockwise | None:
    """How a scan goes block by block; None where an iteration is not elementwise."""
    body, n_carry = node["body"], node["n_carry"]
    shape = next((p.shape for p in body.params[:n_carry] if p.shape), ())
    wanted = [k for k in range(len(body.outputs)) if k < n_carry or k in results]
    roots = [body.outputs[k] for k in wanted]
    order = toposort(roots)
    if not shape or 0 in shape or node["length"] == 0 or not all(_alone(n, shape) for n in order):
        return None
    users = Counter(x for n in order for x in n.inputs)
    summed = {n for n in order if n.op.kind == "reduction"}

    def stage(n: Node) -> Stage:
        return make_stage(n, summed.__contains__, lambda x: users[x] == 1 and x not in roots)

    found = Blockwise(shape)
    placed: set[Node] = set()
    for k, out in zip(wanted, roots, strict=True):
        total = _added(body.params[k], out, users, summed, roots) if k < n_carry and out.shape == () else None
        if total is not None:
            found.totals[k] = stage(total)
            placed.add(total)
        elif out in summed and k >= n_carry and not users[out]:
            found.sums[k] = stage(out)
            placed.add(out)
        elif out.shape == shape:
            (found.carries if k < n_carry else found.rows)[k] = stage(out)
        else:
            return None
    carried = set(body.params[:n_carry])
    if placed != summed or sum(s.ops for s in found.stages) > STATEMENTS:
        return None
    operands = dict(zip(body.params, node.inputs, strict=True))
    flat = len(shape) == 1
    for s in found.stages:
        own = tuple(index.of(v) for v in s.loop_axes)
        if s.lookups or len(own) != len(shape):
            return None
        for read, at in s.reads:
            if at != own and (read in carried or (not flat and any(i.terms for i in at))):
                return None
            if not flat and at == own and not contiguous(operands.get(read, read)):
                return None
    whole = [*node.inputs[:n_carry], *(n for k, n in results.items() if k not in found.sums)]
    return found if flat or all(contiguous(n) for n in whole if n.shape) else None


def _added(
    param: Node, out: Node, users: Mapping[Node, int], summed: Collection[Node], roots: Sequence[Node]
) -> Node | None:
    """The sum that an iteration adds to a 0-d carry, where nothing else reads either."""
    if out.op.name != "add" or param not in out.inputs or users[param] != 1 or users[out] or roots.count(out) != 1:
        return None
    total = next((x for x in out.inputs if x is not param), param)
    return total if total in summed and users[total] == 1 and total not in roots else None


def _alone(n: Node, shape: Shape) -> bool:
    """Whether a node of a body gives an element from single elements, or is a sum over all of them."""
    if n.op.kind == "reduction":
        return n.op.name == "sum" and n.inputs[0].shape == shape and len(n["axes"]) == len(shape)
    return n.op.kind in ("leaf", "elementwise", "structural") and n.op.name != "check_index"


class BlockScan:
    """Builds the kernel of one scan. `build` is the only entry."""

    def __init__(self, scope: Scope, node: Node, results: Mapping[int, Node], plan: Blockwise, name: str) -> None:
        self.scope, self.node, self.results, self.plan = scope, node, results, plan
        self.body, self.n_carry, self.n_xs = node["body"], node["n_carry"], node["n_xs"]
        self.length: Extent = node["length"]
        self.target = scope.shared.target
        self.kernel = Kernel(name, [], set(), 1, [], nodes=[node])
        self.stacks = Stacks(scope, node, results)
        self.operands = dict(zip(self.body.params, node.inputs, strict=True))
        self.numbers = {p: k for k, p in enumerate(self.body.params)}

    def build(self) -> Kernel:
        kernel = self.kernel
        self._blocks()
        self._homes()
        body: list[Stmt] = [*self._start(), *self._passes(), *self._end()]
        kernel.chunks = self.chunks
        cost = max(1, sum(s.cost for s in self.plan.stages))
        kernel.flops = work = cost * sizes.hint(sizes.product(self.plan.shape)) * sizes.hint(self.length)
        kernel.serial = work < SERIAL
        kernel.body = in_chunks_of(self.per_chunk, self.row, body, self.chunk, self.before, self.after)
        return kernel

    def _blocks(self) -> None:
        """Blocks of elements, chunks of blocks, and passes over a block."""
        shape = self.plan.shape
        elements = sizes.product(shape)
        block = min(BLOCK, elements) if isinstance(elements, int) else BLOCK
        self.row, self.lane = IVar("row", sizes.ceildiv(elements, block)), IVar("j", block)
        start = index.scale(index.of(self.row), block)
        flat = index.add(start, index.of(self.lane))
        whole = isinstance(elements, int) and elements % block == 0
        self.limit = None if whole else index.add(index.of(elements), index.scale(start, -1))
        axis = max((k for k, n in enumerate(shape) if n != 1), default=0)
        self.at = tuple(flat if k == axis else index.ZERO for k in range(len(shape)))
        rows = self.row.extent
        self.per_chunk = -(-rows // CHUNKS) if isinstance(rows, int) else 1
        self.chunks = chunk_count(rows, self.per_chunk)
        self.chunk = IVar("chunk", self.chunks)
        ops = sum(s.ops for s in self.plan.stages)
        self.together = next((k for k in (4, 2) if k * max(1, ops) <= CHEAP and _at_least(self.length, 2 * k)), 1)
        adds = bool(self.plan.sums or self.plan.totals)
        self.unroll = COPIES if adds and block * 4 >= COPIES * self.target.vector_bytes else 1

    def _homes(self) -> None:
        """Where carries are between passes, sums and totals until the chunks are added up."""
        plan, lead = self.plan, () if self.chunks == 1 else (index.of(self.chunk),)
        self.before: list[Stmt] = []
        self.after: list[Stmt] = []
        reads = {k: {n for n, _ in s.reads} for k, s in plan.carries.items()}
        self.scratch: dict[int, Buf] = {}
        for k, s in plan.carries.items():
            if k not in self.stacks.current:
                # What others read as well has two places that take turns.
                shared = any(self.body.params[k] in found for j, found in reads.items() if j != k)
                shape: Shape = (2 if shared else 1, self.lane.extent)
                self.scratch[k] = Buf(f"carry{k}", s.node.dtype, shape, "scratch")
        self.kernel.scratch.extend(self.scratch.values())
        self.sums: dict[int, tuple[Buf, tuple[Index, ...]]] = {}
        for k in plan.sums:
            home = self._parts(k)
            self.sums[k] = home, lead
            if self.row.extent != self.chunks:
                t = IVar("t", self.length)
                clear: list[Stmt] = [Store(home, (*lead, index.of(t)), identity_of("add", home.dtype))]
                self.before.append(Loop(t, index.ZERO, index.of(self.length), "seq", clear))
        self.totals: dict[int, Buf] = {}
        for k, s in plan.totals.items():
            if k in self.results:
                self.totals[k] = acc = self._accumulator(s, self.before)
                nothing = identity_of("add", acc.dtype)
                initial = self.scope.in_memory(self.node.inputs[k])
                first = () if self.chunks == 1 else (Guard(index.of(self.chunk), 1),)
                start = Load(initial, (), acc.dtype, first, nothing if first else None)
                value = Op("add", (start, self._folded(s, acc)), acc.dtype)
                self.after.append(Store(self._parts(k), lead, value))

    def _parts(self, k: int) -> Buf:
        """Memory for the chunks of a result that adds up over the elements; the result itself where there is one."""
        node = self.results[k]
        if self.chunks == 1:
            return self.scope.buffer(node)
        return self.scope.partial(Stage(node, (), (), "add", Load(node, (), node.dtype), [], 0, 1), self.chunks)

    def _accumulator(self, s: Stage, before: list[Stmt]) -> Buf:
        """A register for every lane, that starts from nothing."""
        registers = self.kernel.registers
        kind = "register" if self.lane.extent == 1 else "lanes"
        acc = Buf(f"acc{len(registers)}", s.node.dtype, (), kind)
        registers.append(acc)
        before.append(Store(acc, (), identity_of("add", acc.dtype)))
        return acc

    def _folded(self, s: Stage, acc: Buf) -> Expr:
        return Across(s.combine or "add", acc, acc.dtype) if acc.storage == "lanes" else Load(acc, (), acc.dtype)

    def _over(self, body: list[Stmt], unroll: int = 1) -> list[Stmt]:
        """A loop over the elements of the block at hand."""
        if not body:
            return []
        vec = self.lane.extent != 1
        lanes = lanes_for(body, self.target) if vec else 1
        extent = index.of(self.lane.extent)
        return [Loop(self.lane, index.ZERO, extent, "vec" if vec else "seq", body, lanes, unroll, self.limit)]

    def _start(self) -> list[Stmt]:
        body: list[Stmt] = []
        for k, home in self.scratch.items():
            initial = self.scope.in_memory(self.node.inputs[k])
            body.append(Store(home, self._slot(k, index.ZERO), Load(initial, self.at, home.dtype)))
        body += [self._copied(to, source) for to, source in self.stacks.before]
        return self._over(body)

    def _end(self) -> list[Stmt]:
        body: list[Stmt] = []
        for k, home in self.scratch.items():
            if k in self.results:
                value = Load(home, self._slot(k, index.of(self.passes)), home.dtype)
                body.append(Store(self.scope.buffer(self.results[k]), self.at, value))
        body += [self._copied(to, source) for to, source in self.stacks.after]
        return self._over(body)

    def _copied(self, to: Buf, source: Buf) -> Stmt:
        home, at = self._record(to)
        return Store(home, at, Load(*self._record(source), home.dtype))

    def _record(self, buf: Buf, t: Index = index.ZERO) -> tuple[Buf, tuple[Index, ...]]:
        """The element at hand of a buffer; a record of a stack of this loop is addressed in the stack."""
        if buf.base is None or all(buf.base is not own.base for own in self.stacks.current.values()):
            return buf, self.at
        return buf.base, (index.add(t, buf.shift), *self.at)

    def _slot(self, k: int, turn: Index) -> tuple[Index, ...]:
        return index.mod(turn, 2) if self.scratch[k].shape[0] == 2 else index.ZERO, index.of(self.lane)

    def _passes(self) -> list[Stmt]:
        """The loops over time: passes of several iterations, and one at a time for those that are left."""
        n = self.together
        whole = sizes.floordiv(self.length, n)
        rest = sizes.add(self.length, sizes.mul(whole, -n))
        self.passes = sizes.add(whole, rest)
        loops: list[Stmt] = []
        for count, each, done in ((whole, n, 0), (rest, 1, whole)):
            if count != 0:
                t = IVar("t", count)
                first = index.add(index.scale(index.of(t), each), sizes.mul(done, n))
                body = self._pass(first, each, index.add(index.of(t), done))
                loops.append(Loop(t, index.ZERO, index.of(count), "seq", body))
        return loops

    def _pass(self, first: Index, count: int, turn: Index) -> list[Stmt]:
        """`count` iterations from iteration `first` on: values of a carry go from one to the next in registers."""
        before: list[Stmt] = []
        after: list[Stmt] = []
        body: list[Stmt] = []
        shared, live = Shared(), dict[Node, Expr]()
        for i in range(count):
            t = index.add(first, i)
            if self.node["reverse"]:
                t = index.add(index.of(self.length), index.add(index.scale(t, -1), -1))
            self._iteration(t, turn, shared, live, (before, body, after))
        for k, home in self.scratch.items():
            body.append(Store(home, self._slot(k, index.add(turn, 1)), live[self.body.params[k]]))
        return [*before, *self._over(body, self.unroll), *after]

    def _iteration(
        self, t: Index, turn: Index, shared: Shared, live: dict[Node, Expr],
        parts: tuple[list[Stmt], list[Stmt], list[Stmt]],
    ) -> None:
        before, body, after = parts

        def resolve(node: Node, at: tuple[Index, ...], guards: tuple[Guard, ...], fill: Expr | None) -> Expr:
            number = self.numbers.get(node)
            if number is None or number >= self.n_carry + self.n_xs:
                return Load(self.scope.buffer(self.operands.get(node, node)), at, node.dtype, guards, fill)
            if number >= self.n_carry:
                return Load(self.scope.in_memory(self.operands[node]), (t, *at), node.dtype, guards, fill)
            value = live.get(node)
            if value is None:
                value = shared.keep(Load(*self._carry(number, t, turn), node.dtype))
            return value if fill is None else Guarded(guards, value, fill, node.dtype)

        def value(s: Stage) -> Expr:
            places = dict(zip(s.loop_axes, self.at, strict=True))
            return instantiate(s.value, places, resolve, self._source, shared)

        for k, s in self.plan.sums.items():
            acc = self._accumulator(s, before)
            body.append(Reduce(acc, (), s.combine or "add", value(s)))
            home, lead = self.sums[k]
            total = self._folded(s, acc)
            once = self.row.extent == self.chunks
            after.append(Store(home, (*lead, t), total) if once else Reduce(home, (*lead, t), "add", total))
        for k, acc in self.totals.items():
            s = self.plan.totals[k]
            body.append(Reduce(acc, (), s.combine or "add", value(s)))
        for k, s in self.plan.rows.items():
            if k not in self.stacks.held:
                body.append(Store(self.scope.buffer(self.results[k]), (t, *self.at), value(s)))
        new = {k: value(s) for k, s in self.plan.carries.items()}
        for k, e in new.items():
            live[self.body.params[k]] = e
            if k in self.stacks.following:
                body.append(Store(*self._record(self.stacks.following[k], t), e))

    def _carry(self, k: int, t: Index, turn: Index) -> tuple[Buf, tuple[Index, ...]]:
        """Where a carry is before a pass."""
        if k in self.scratch:
            return self.scratch[k], self._slot(k, turn)
        return self._record(self.stacks.current[k], t)

    def _source(self, node: Node) -> Buf:
        return self.scope.buffer(self.operands.get(node, node))


def _at_least(length: Extent, n: int) -> bool:
    return not isinstance(length, int) or length >= n
