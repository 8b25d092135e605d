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
    return [with_axis(x, has, size) for x, has in _batch(outputs, batched, size)]


def with_axis(node: Node, has: bool, size: Extent) -> Node:
    return node if has else b.broadcast(node, (size, *node.shape), range(1, len(node.shape) + 1))


def _batch(outputs: Sequence[Node], batched: Mapping[Node, Node], size: Extent) -> list[tuple[Node, bool]]:
    done: dict[Node, tuple[Node, bool]] = {x: (y, True) for x, y in batched.items()}
    loops: dict[Node, list[tuple[Node, bool]]] = {}
    for node in toposort(outputs, stop=done.__contains__):
        if node in done:
            continue
        if node.op.name == "item" and node.inputs[0] in loops:
            done[node] = loops[node.inputs[0]][node["number"]]
            continue
        if not any(done[i][1] for i in node.inputs):
            done[node] = (node, False)
            continue
        operands = [done[i] for i in node.inputs]
        with sites.at(node.sites, node.stems_from):
            if node.op.name == "scan":
                loops[node] = _scan(node, operands, size)
                done[node] = (node, True)
                continue
            done[node] = (_one(node, operands, size), True)
    return [done[x] for x in outputs]


def _one(node: Node, operands: Operands, size: Extent) -> Node:
    if node.op.kind == "elementwise":
        return make(node.op, [with_axis(x, has, size) for x, has in operands], *node.attrs)
    rule = RULES.get(node.op.name)
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


def _axes(node: Node, operands: Operands, size: Extent) -> Node:
    return make(node.op, _all(operands, size), tuple(a + 1 for a in node["axes"]), *node.attrs[1:])


def _axis(node: Node, operands: Operands, size: Extent) -> Node:
    """Operations along one axis, which is their first attribute."""
    return make(node.op, _all(operands, size), node["axis"] + 1, *node.attrs[1:])


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


def _scan(node: Node, operands: Operands, size: Extent) -> list[tuple[Node, bool]]:
    """Carries that vary with the batch in any iteration have the axis in all of them."""
    body, n, m = node["body"], node["n_carry"], node["n_carry"] + node["n_xs"]
    has = [h for _, h in operands]
    while True:
        params = {p: _batched_param(p, size) for p, h in zip(body.params, has, strict=True) if h}
        outputs = _batch(body.outputs, params, size)
        late = [k for k in range(n) if outputs[k][1] and not has[k]]
        if not late:
            break
        for k in late:
            has[k] = True
    inputs = []
    for k, (x, given) in enumerate(operands):
        x = with_axis(x, given, size) if has[k] else x
        inputs.append(_swapped(x) if n <= k < m and has[k] else x)
    results = [with_axis(o, h, size) if k < n and has[k] else o for k, (o, h) in enumerate(outputs)]
    whole = Body([params.get(p, p) for p in body.params], results)
    loop = make("scan", inputs, whole, *node.attrs[1:])
    found = []
    for k, (_, varies) in enumerate(outputs):
        varies = varies or (k < n and has[k])
        result = item(loop, k)
        found.append((_swapped(result) if varies and k >= n else result, varies))
    return found


def _batched_param(param: Node, size: Extent) -> Node:
    return make("param", (), param["depth"], param["position"], (size, *param.shape), param.dtype)


def _swapped(x: Node) -> Node:
    return b.permute(x, (1, 0, *range(2, len(x.shape))))


RULES: dict[str, Rule] = {
    "reshape": _reshape,
    "permute": _permute,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "take": _take,
    "scatter_add": _scatter,
    "stop_gradient": _same,
    "copy": _same,
    "sum": _axes,
    "max": _axes,
    "argmax": _axes,
    "contract": _contract,
}
