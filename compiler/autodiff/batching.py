"""Batching: a function of one example becomes a function of many, along a new leading axis.

Every rule says what an operation does when some of its operands have got that axis; values that do not depend on the
batch are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import GradientError
from ..graph import build as b
from ..graph import dtypes, sites, sizes
from ..graph.contraction import OperandMap, contract, plain
from ..graph.control import Body, item
from ..graph.node import Node, describe, make, toposort
from ..graph.sizes import Extent

# Operands of a node, each with whether it has the batch axis.
Operands = Sequence[tuple[Node, bool]]
Rule = Callable[[Node, Operands, Extent], Node]


def batch(outputs: Sequence[Node], batched: Mapping[Node, Node], size: Extent) -> list[Node]:
    """The outputs over a batch, with a leading axis of extent `size`; `batched` gives nodes that have it already."""
    done = {x: (y, True) for x, y in batched.items()}
    return [with_axis(x, has, size) for x, has in _Batch(size, done).run(outputs)]


def with_axis(node: Node, has: bool, size: Extent) -> Node:
    return node if has else b.broadcast(node, (size, *node.shape), range(1, len(node.shape) + 1))


class _Batch:
    """One graph, or one body, being batched: what its nodes have become, each with whether it has the axis."""

    def __init__(self, size: Extent, done: dict[Node, tuple[Node, bool]]) -> None:
        self.size, self.done = size, done
        self.loops: dict[Node, list[tuple[Node, bool]]] = {}
        # Where examples take different numbers of iterations: which of them take part in each.
        self.running: dict[Extent, Node] = {}

    def run(self, outputs: Sequence[Node]) -> list[tuple[Node, bool]]:
        done = self.done
        for node in toposort(outputs, stop=done.__contains__):
            if node in done:
                continue
            if node.op.name == "item" and node.inputs[0] in self.loops:
                done[node] = self.loops[node.inputs[0]][node["number"]]
                continue
            operands = [done[i] for i in node.inputs]
            if not any(has for _, has in operands):
                changed = any(i is not o for i, (o, _) in zip(node.inputs, operands, strict=True))
                done[node] = (make(node.op, [o for o, _ in operands], *node.attrs) if changed else node, False)
                continue
            with sites.at(node.sites, node.stems_from):
                if node.op.name in CONTROL:
                    self.loops[node] = CONTROL[node.op.name](self, node, operands)
                    done[node] = (node, True)
                else:
                    done[node] = (_one(node, operands, self.size), True)
        return [done[x] for x in outputs]

    def body(self, body: Body, params: Sequence[tuple[Node, bool]]) -> list[tuple[Node, bool]]:
        """A body's results for other nodes in place of its parameters."""
        return _Batch(self.size, dict(zip(body.params, params, strict=True))).run(body.outputs)

    def param(self, param: Node, has: bool) -> tuple[Node, bool]:
        if not has:
            return param, False
        shape = (self.size, *param.shape)
        return make("param", (), param["depth"], param["position"], shape, param.dtype), True

    def select(self, mask: Node, chosen: tuple[Node, bool], other: tuple[Node, bool]) -> Node:
        """`mask` has one bool for each example."""
        x, y = with_axis(*chosen, self.size), with_axis(*other, self.size)
        return b.where(b.broadcast(mask, x.shape, (0,)), x, y)

    def cond(self, node: Node, operands: Operands) -> list[tuple[Node, bool]]:
        """Where examples go different ways, both are gone and results chosen from."""
        (test, differs), rest = operands[0], operands[1:]
        if differs:
            sides = [self.body(body, rest) for body in (node["then"], node["otherwise"])]
            return [(self.select(test, x, y), True) for x, y in zip(*sides, strict=True)]
        params = [self.param(p, has) for p, (_, has) in zip(node["then"].params, rest, strict=True)]
        sides = [self.body(body, params) for body in (node["then"], node["otherwise"])]
        kinds = [x[1] or y[1] for x, y in zip(*sides, strict=True)]
        own = [p for p, _ in params]
        bodies = [
            Body(own, [with_axis(*o, self.size) if k else o[0] for o, k in zip(side, kinds, strict=True)])
            for side in sides
        ]
        branch = make("cond", (test, *(x for x, _ in rest)), *bodies)
        return [(item(branch, k), has) for k, has in enumerate(kinds)]

    def scan(self, node: Node, operands: Operands) -> list[tuple[Node, bool]]:
        """Carries that vary with the batch in any iteration have the axis in all of them."""
        body, n, m = node["body"], node["n_carry"], node["n_carry"] + node["n_xs"]
        running = self.running.get(node["length"])
        has = [h or (running is not None and k < n) for k, (_, h) in enumerate(operands)]
        params, outputs = self.settled(body, n, has)
        inputs = []
        for k, (x, given) in enumerate(operands):
            x = with_axis(x, given, self.size) if has[k] else x
            inputs.append(_swapped(x) if n <= k < m and has[k] else x)
        flat, n_xs = [p for p, _ in params], node["n_xs"]
        if running is not None:
            position = 1 + max(p["position"] for p in flat)
            mask = make("param", (), flat[0]["depth"], position, (self.size,), running.dtype)
            outputs = [
                (self.select(mask, o, params[k] if k < n else (b.zeros_like(o[0]), o[1])), True)
                for k, o in enumerate(outputs)
            ]
            flat.insert(n, mask)
            inputs.insert(n, running)
            n_xs += 1
        results = [with_axis(*o, self.size) if k < n and has[k] else o[0] for k, o in enumerate(outputs)]
        loop = make("scan", inputs, Body(flat, results), n, n_xs, node["length"], node["reverse"])
        return self.results(loop, n, has, outputs)

    def settled(
        self, body: Body, n: int, has: list[bool]
    ) -> tuple[list[tuple[Node, bool]], list[tuple[Node, bool]]]:
        """Parameters and results of a body; sets `has` for carries that turn out to vary."""
        while True:
            params = [self.param(p, h) for p, h in zip(body.params, has, strict=True)]
            outputs = self.body(body, params)
            late = [k for k in range(n) if outputs[k][1] and not has[k]]
            if not late:
                return params, outputs
            for k in late:
                has[k] = True

    def results(
        self, loop: Node, n: int, has: Sequence[bool], outputs: Sequence[tuple[Node, bool]]
    ) -> list[tuple[Node, bool]]:
        found = []
        for k, (_, varies) in enumerate(outputs):
            varies = varies or (k < n and has[k])
            result = item(loop, k)
            found.append((_swapped(result) if varies and k >= n else result, varies))
        return found

    def while_(self, node: Node, operands: Operands) -> list[tuple[Node, bool]]:
        """Examples that are done keep their values while others go on."""
        test, body, n, trips, limit = node.attrs
        has = [h for _, h in operands]
        params, outputs = self.settled(body, n, has)
        ((on, differs),) = self.body(test, params)
        if differs:
            has[:n] = [True] * n
            params, outputs = self.settled(body, n, has)
            ((on, _),) = self.body(test, params)
            outputs = [
                (self.select(on, o, params[k] if k < n else (b.zeros_like(o[0]), o[1])), True)
                for k, o in enumerate(outputs)
            ]
            count = b.sum(b.cast(on, dtypes.INT64), (0,))
            goes_on = make("not_equal", (count, b.zeros_like(count)))
        else:
            goes_on = on
        flat = [p for p, _ in params]
        results = [with_axis(*o, self.size) if k < n and has[k] else o[0] for k, o in enumerate(outputs)]
        if differs and trips is not None:
            results.append(on)
        inputs = [with_axis(x, h, self.size) if has[k] else x for k, (x, h) in enumerate(operands)]
        loop = make("while", inputs, Body(flat, [goes_on]), Body(flat, results), n, trips, limit)
        if differs and trips is not None:
            self.running[trips] = item(loop, len(results) - 1)
        return self.results(loop, n, has, outputs)


CONTROL: dict[str, Callable[[_Batch, Node, Operands], list[tuple[Node, bool]]]] = {
    "cond": _Batch.cond,
    "scan": _Batch.scan,
    "while": _Batch.while_,
}


def _one(node: Node, operands: Operands, size: Extent) -> Node:
    if node.op.kind == "elementwise":
        return make(node.op, [with_axis(x, has, size) for x, has in operands], *node.attrs)
    rule = RULES.get(node.op.name) or OF_KIND.get(node.op.kind)
    if rule is None:
        raise GradientError(f"{node.op.name} cannot be batched: {describe(node)}")
    return rule(node, operands, size)


def _all(operands: Operands, size: Extent) -> list[Node]:
    return [with_axis(x, has, size) for x, has in operands]


def _reshape(node: Node, operands: Operands, size: Extent) -> Node:
    return b.reshape(operands[0][0], (size, *node.shape))


def _permute(node: Node, operands: Operands, size: Extent) -> Node:
    return b.permute(operands[0][0], (0, *(a + 1 for a in node["axes"])))


def _broadcast(node: Node, operands: Operands, size: Extent) -> Node:
    return b.broadcast(operands[0][0], (size, *node.shape), (0, *(a + 1 for a in node["axes"])))


def _slice(node: Node, operands: Operands, size: Extent) -> Node:
    return b.slice(operands[0][0], (0, *node["starts"]), (size, *node["stops"]), (1, *node["steps"]))


def _pad(node: Node, operands: Operands, size: Extent) -> Node:
    (x, has), (value, varies) = operands
    low, high, interior = (0, *node["low"]), (0, *node["high"]), (0, *node["interior"])
    x = with_axis(x, has, size)
    if not varies:
        return make("pad", (x, value), low, high, interior)
    inside = b.pad(b.full(True, x.shape, dtypes.BOOL), low, high, interior, False)
    return b.where(inside, b.pad(x, low, high, interior), b.broadcast(value, inside.shape, (0,)))


def _concat(node: Node, operands: Operands, size: Extent) -> Node:
    return make("concat", _all(operands, size), node["axis"] + 1)


def _same(node: Node, operands: Operands, size: Extent) -> Node:
    return make(node.op, _all(operands, size), *node.attrs)


def _windows(node: Node, operands: Operands, size: Extent) -> Node:
    return make("windows", (operands[0][0],), *node.attrs)


def _axes(node: Node, operands: Operands, size: Extent) -> Node:
    return make(node.op, _all(operands, size), tuple(a + 1 for a in node["axes"]), *node.attrs[1:])


def _axis(node: Node, operands: Operands, size: Extent) -> Node:
    """Operations along one axis, which is their first attribute."""
    return make(node.op, _all(operands, size), node["axis"] + 1, *node.attrs[1:])


def _start(node: Node, operands: Operands, size: Extent) -> Node:
    """Operations whose axis is their second attribute."""
    return make(node.op, _all(operands, size), node.attrs[0], node["axis"] + 1, *node.attrs[2:])


def _searchsorted(node: Node, operands: Operands, size: Extent) -> Node:
    (x, has), (values, _) = operands
    if not has:
        return make(node.op, (x, values), *node.attrs)
    # An order of each example: as many elements come before a value as are less than it, in any order.
    values = with_axis(*operands[1], size)
    shape = (*values.shape, x.shape[1])
    rank = len(shape)
    one = b.broadcast(x, shape, (0, rank - 1))
    other = b.broadcast(values, shape, range(rank - 1))
    behind = _comes_before(other, one) if node["right"] else b.make("logical_not", (_comes_before(one, other),))
    before = b.make("logical_not", (behind,))
    return b.sum(b.cast(before, dtypes.INT64), (rank - 1,))


def _comes_before(x: Node, y: Node) -> Node:
    """x < y, with NaN behind all numbers."""
    less: Node = b.less(x, y)
    if not dtypes.is_float(x.dtype):
        return less
    number, none = b.equal(x, x), make("not_equal", (y, y))
    return make("logical_or", (less, b.logical_and(number, none)))


def _take(node: Node, operands: Operands, size: Extent) -> Node:
    (x, has), (at, varies) = operands
    axis = node["axis"]
    if not varies:
        return make("take", (x, at), axis + 1)
    if not has:
        found = make("take", (x, at), axis)  # the batch axis stands where the indexed one was
        return b.permute(found, (axis, *range(axis), *range(axis + 1, len(found.shape))))
    # Every example looks into its own part of one long axis.
    n = x.shape[axis + 1]
    front = b.permute(x, (0, axis + 1, *range(1, axis + 1), *range(axis + 2, len(x.shape))))
    joined = b.reshape(front, (sizes.mul(size, n), *front.shape[2:]))
    found = make("take", (joined, _joined_index(at, n)), 0)
    rank = len(at.shape)
    return b.permute(
        found, (0, *range(rank, rank + axis), *range(1, rank), *range(rank + axis, len(found.shape)))
    )


def _joined_index(at: Node, n: Extent) -> Node:
    lane = b.mul(b.iota(at.shape, 0), b.broadcast(b.extent(n), at.shape, ()))
    return b.add(b.cast(at, dtypes.INT64), lane)  # type: ignore[no-any-return]


def _scatter(node: Node, operands: Operands, size: Extent) -> Node:
    (at, varies), (updates, has) = operands
    axis, extent = node["axis"], node["extent"]
    rest = node.attrs[2:]
    if not varies:
        return make(node.op, (at, updates), axis + 1, extent, *rest)
    updates = with_axis(updates, has, size)
    rank = len(at.shape) - 1
    order = (0, *range(axis + 1, axis + 1 + rank), *range(1, axis + 1), *range(axis + 1 + rank, len(updates.shape)))
    front = b.permute(updates, order)
    found = make(node.op, (_joined_index(at, extent), front), 0, sizes.mul(size, extent), *rest)
    split = b.reshape(found, (size, extent, *found.shape[1:]))
    return b.permute(split, (0, *range(2, axis + 2), 1, *range(axis + 2, len(split.shape))))


def _contract(node: Node, operands: Operands, size: Extent) -> Node:
    def shifted(axes: OperandMap, has: bool) -> OperandMap:
        moved = tuple(
            (tuple((label + 1, c) for label, c in terms), offset, divisor) for terms, offset, divisor in axes
        )
        return (plain(0), *moved) if has else moved

    (x, x_has), (y, y_has) = operands
    return contract(
        x, y, (size, *node["extents"]), node["n_out"] + 1, shifted(node["a_map"], x_has), shifted(node["b_map"], y_has)
    )


def _swapped(x: Node) -> Node:
    return b.permute(x, (1, 0, *range(2, len(x.shape))))


OF_KIND: dict[str, Rule] = {"reduction": _axes, "scatter": _scatter, "sequence": _axis}
RULES: dict[str, Rule] = {
    "reshape": _reshape,
    "permute": _permute,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "take": _take,
    "diagonal": _same,
    "windows": _windows,
    "carry": _same,
    "recurrence": _start,
    "searchsorted": _searchsorted,
    "stop_gradient": _same,
    "copy": _same,
    "contract": _contract,
}
