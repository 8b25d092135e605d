"""Views (reshape, permute, broadcast, slice): merged, dropped, and moved towards the leaves. Exact.

Each kind of view keeps one canonical form: a permutation or broadcast that only moves or adds axes of extent 1 is a
reshape. Reshapes and permutations sink below elementwise operations, so that they end on leaves, reductions and
contractions, which absorb them in their index maps. Broadcasts rise above elementwise operations, since below them
there is less to compute.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import build as b
from ..graph import sizes
from ..graph.index import reshape_groups
from ..graph.node import Node, make
from ..graph.sizes import Extent, Shape
from ..graph.table import OPS
from .engine import Rule, Uses


def reshaped_broadcast(x: Node, shape: Shape) -> Node | None:
    """reshape(broadcast(y), shape) as a broadcast of a reshaped y, if no group of merged axes is partly stretched."""
    (y,), axes = x.inputs, x["axes"]
    if any(n == 0 for n in (*x.shape, *shape)):
        return None
    held = {axis: y.shape[k] for k, axis in enumerate(axes) if y.shape[k] == x.shape[axis]}
    inner: list[Extent] = []
    kept: list[int] = []
    for (i0, i), (j0, j) in reshape_groups(x.shape, shape):
        real = [axis for axis in range(i0, i) if x.shape[axis] != 1]
        if not any(axis in held for axis in real):
            continue
        if not all(axis in held for axis in real):
            return None
        inner.extend(shape[j0:j])
        kept.extend(range(j0, j))
    if sizes.product(inner) != sizes.product(y.shape):
        return None
    return b.broadcast(b.reshape(y, tuple(inner)), shape, kept)


def _reshape(node: Node, uses: Uses) -> Node | None:
    """reshape∘reshape, a reshape to the same shape, a reshape of a broadcast."""
    (x,), shape = node.inputs, node.shape
    if x.shape == shape:
        return x
    if x.op.name == "reshape":
        return b.reshape(x.inputs[0], shape)
    if x.op.name == "broadcast":
        return reshaped_broadcast(x, shape)
    return None


def _real(shape: Sequence[Extent]) -> list[int]:
    return [k for k, n in enumerate(shape) if n != 1]


def _permute(node: Node, uses: Uses) -> Node | None:
    """permute∘permute, one that moves only axes of extent 1, one of a broadcast."""
    (x,), axes = node.inputs, node["axes"]
    if list(axes) == sorted(axes):
        return x
    if x.op.name == "permute":
        inner = x["axes"]
        return b.permute(x.inputs[0], [inner[a] for a in axes])
    if [a for a in axes if x.shape[a] != 1] == _real(x.shape):
        return b.reshape(x, node.shape)
    if x.op.name == "broadcast":
        (y,), placed = x.inputs, x["axes"]
        at = [axes.index(p) for p in placed]
        order = sorted(range(len(at)), key=at.__getitem__)
        return b.broadcast(b.permute(y, order), node.shape, [at[k] for k in order])
    return None


def _broadcast(node: Node, uses: Uses) -> Node | None:
    """broadcast∘broadcast, one that only adds axes of extent 1, one of a reshape that does."""
    (x,), axes, shape = node.inputs, node["axes"], node.shape
    if [x.shape[k] for k in _real(x.shape)] == [shape[k] for k in _real(shape)]:
        return b.reshape(x, shape)
    if x.op.name == "broadcast":
        return b.broadcast(x.inputs[0], shape, [axes[a] for a in x["axes"]])
    if x.op.name == "reshape":
        y = x.inputs[0]
        real = _real(x.shape)
        if [y.shape[k] for k in _real(y.shape)] == [x.shape[k] for k in real]:
            squeezed = b.reshape(y, tuple(x.shape[k] for k in real))
            return b.broadcast(squeezed, shape, [axes[k] for k in real])
    return None


def _slice(node: Node, uses: Uses) -> Node | None:
    """The slice of everything, slice∘slice."""
    (x,), starts, steps = node.inputs, node["starts"], node["steps"]
    if node.shape == x.shape and all(s == 0 for s in starts) and all(s == 1 for s in steps):
        return x
    if x.op.name != "slice" or any(n == 0 for n in node.shape):
        return None
    new_starts, new_stops, new_steps = [], [], []
    for s, k, s0, k0, n in zip(starts, steps, x["starts"], x["steps"], node.shape, strict=True):
        start, step = sizes.add(s0, sizes.mul(s, k0)), k * k0
        span = sizes.mul(sizes.add(n, -1), step)
        new_starts.append(start)
        new_stops.append(sizes.add(sizes.add(start, span), 1 if step > 0 else -1))
        new_steps.append(step)
    return b.slice(x.inputs[0], new_starts, new_stops, new_steps)


def _pad(node: Node, uses: Uses) -> Node | None:
    """A pad that adds and takes nothing."""
    return node.inputs[0] if not any(e != 0 for e in (*node["low"], *node["high"], *node["interior"])) else None


def _concat(node: Node, uses: Uses) -> Node | None:
    """A concatenation of one array; operands of extent 0."""
    axis = node["axis"]
    parts = [x for x in node.inputs if x.shape[axis] != 0]
    if len(parts) == 1:
        return parts[0]
    return make("concat", parts, axis) if 0 < len(parts) < len(node.inputs) else None


def _sinkable(x: Node, uses: Uses) -> bool:
    return x.op.kind == "elementwise" and uses.once(x)


def _sink_reshape(node: Node, uses: Uses) -> Node | None:
    """reshape(f(a, b)) → f(reshape a, reshape b), unless that splits or merges the axes of a broadcast operand."""
    (x,), shape = node.inputs, node.shape
    if not _sinkable(x, uses):
        return None
    operands = []
    for operand in x.inputs:
        view: Node | None = b.reshape(operand, shape)
        if operand.op.name == "broadcast":
            view = reshaped_broadcast(operand, shape)
        if view is None:
            return None
        operands.append(view)
    return make(x.op, operands, *x.attrs)


def _sink_permute(node: Node, uses: Uses) -> Node | None:
    """permute(f(a, b)) → f(permute a, permute b)."""
    (x,), axes = node.inputs, node["axes"]
    if not _sinkable(x, uses):
        return None
    return make(x.op, [b.permute(i, axes) for i in x.inputs], *x.attrs)


def _raise_broadcast(node: Node, uses: Uses) -> Node | None:
    """f(broadcast a, broadcast b) → broadcast(f(a, b)) where no operand varies along some axis."""
    shape = node.shape
    held: set[int] = set()
    for x in node.inputs:
        if b.constant_value(x) is None:
            if x.op.name != "broadcast":
                return None
            held.update(axis for _, axis in _held(x))
    left = sorted(held)
    if not left or all(axis in held for axis in _real(shape)):
        return None
    inner = tuple(shape[axis] for axis in left)
    operands = []
    for x in node.inputs:
        value = b.constant_value(x)
        if value is not None:
            operands.append(b.full(value, inner, x.dtype))
            continue
        pairs, (y,) = _held(x), x.inputs
        squeezed = b.reshape(y, tuple(y.shape[k] for k, _ in pairs))
        operands.append(b.broadcast(squeezed, inner, [left.index(axis) for _, axis in pairs]))
    return b.broadcast(make(node.op, operands, *node.attrs), shape, left)


def _held(x: Node) -> list[tuple[int, int]]:
    """The axes of its operand along which a broadcast varies, each with the axis that it becomes."""
    (y,) = x.inputs
    return [(k, axis) for k, axis in enumerate(x["axes"]) if y.shape[k] != 1]


# An index that is out of range must fail only where it is used, which is nowhere if there are no elements.
_RAISED = tuple(n for n, op in OPS.items() if op.kind == "elementwise" and n != "check_index")

RULES = (
    Rule("reshape", "exact", ("reshape",), _reshape),
    Rule("permute", "exact", ("permute",), _permute),
    Rule("broadcast", "exact", ("broadcast",), _broadcast),
    Rule("slice", "exact", ("slice",), _slice),
    Rule("pad-nothing", "exact", ("pad",), _pad),
    Rule("concat", "exact", ("concat",), _concat),
    Rule("sink-reshape", "exact", ("reshape",), _sink_reshape),
    Rule("sink-permute", "exact", ("permute",), _sink_permute),
    Rule("raise-broadcast", "exact", _RAISED, _raise_broadcast),
)
