"""Structural operations: each is an index map, from which lowering, transposition and tests follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from . import build as b
from . import dtypes, index, sizes
from .index import Access, Guard, Index
from .node import Node, Op, describe, operand_lines, register
from .sizes import Extent


def _fail(message: str, *inputs: Node) -> ShapeError:
    return ShapeError(message + operand_lines("abcdefgh"[: len(inputs[:8])], inputs[:8]))


def _reshape_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x,), (shape,) = inputs, attrs
    if sizes.product(x.shape) != sizes.product(shape):
        raise _fail(f"reshape: cannot reshape {describe(x)} to {list(shape)}: the sizes differ", x)
    return shape, x.dtype


register(
    Op(
        "reshape",
        "structural",
        1,
        _reshape_infer,
        attrs=("shape",),
        evaluate=lambda node, arrays, shape: np.reshape(arrays[0], shape),
        vjp=lambda node, g: (b.reshape(g, node.inputs[0].shape),),
        access=lambda node, out: [Access(0, index.reshape(out, node.inputs[0].shape, node.shape))],
    )
)


def _permute_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x,), (axes,) = inputs, attrs
    if sorted(axes) != list(range(len(x.shape))):
        raise _fail(f"permute_dims: axes {axes} are not a permutation of {len(x.shape)} axes", x)
    return tuple(x.shape[a] for a in axes), x.dtype


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=lambda k: axes[k]))


register(
    Op(
        "permute",
        "structural",
        1,
        _permute_infer,
        attrs=("axes",),
        evaluate=lambda node, arrays, shape: np.transpose(arrays[0], node["axes"]),
        vjp=lambda node, g: (b.permute(g, _inverse(node["axes"])),),
        access=lambda node, out: [Access(0, tuple(out[k] for k in _inverse(node["axes"])))],
    )
)


def _broadcast_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x,), (shape, axes) = inputs, attrs
    if len(axes) != len(x.shape) or list(axes) != sorted(set(axes)) or any(a >= len(shape) for a in axes):
        raise _fail(f"broadcast: axes {axes} do not place {describe(x)} in {list(shape)}", x)
    for k, axis in enumerate(axes):
        if x.shape[k] != shape[axis] and x.shape[k] != 1:
            raise _fail(f"broadcast: cannot stretch {describe(x)} to {list(shape)}", x)
    return shape, x.dtype


def _broadcast_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    x = arrays[0]
    expanded = [1] * len(shape)
    for k, axis in enumerate(node["axes"]):
        expanded[axis] = x.shape[k]
    return np.broadcast_to(x.reshape(expanded), shape)


def _broadcast_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    x, axes = node.inputs[0], node["axes"]
    summed = [
        k
        for k in range(len(node.shape))
        if k not in axes or (x.shape[axes.index(k)] == 1 and node.shape[k] != 1)
    ]
    return (b.reshape(b.sum(g, summed), x.shape),)


register(
    Op(
        "broadcast",
        "structural",
        1,
        _broadcast_infer,
        attrs=("shape", "axes"),
        evaluate=_broadcast_evaluate,
        vjp=_broadcast_vjp,
        access=lambda node, out: [
            Access(
                0,
                tuple(
                    out[a] if node.inputs[0].shape[k] == node.shape[a] else index.ZERO
                    for k, a in enumerate(node["axes"])
                ),
            )
        ],
    )
)


def slice_extent(start: Extent, stop: Extent, step: int) -> Extent:
    """The number of elements from `start` towards `stop` (exclusive) by `step`, both within the axis."""
    if step > 0:
        return sizes.floordiv(sizes.add(sizes.add(stop, step - 1), sizes.mul(start, -1)), step)
    return sizes.floordiv(sizes.add(sizes.add(start, -step - 1), sizes.mul(stop, -1)), -step)


def _slice_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x,), (starts, stops, steps) = inputs, attrs
    shape = tuple(slice_extent(*bounds) for bounds in zip(starts, stops, steps, strict=True))
    return tuple(0 if isinstance(e, int) and e < 0 else e for e in shape), x.dtype


def _slice_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    from .interp import extents

    starts, steps = extents(node["starts"]), node["steps"]
    x = arrays[0]
    for axis, (start, step, n) in enumerate(zip(starts, steps, shape, strict=True)):
        x = np.take(x, start + step * np.arange(n), axis=axis)
    return x


def _slice_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    (x,), starts, steps = node.inputs, node["starts"], node["steps"]
    low, high, flipped = [], [], []
    for axis, (start, step, n) in enumerate(zip(starts, steps, node.shape, strict=True)):
        span = sizes.mul(sizes.add(n, -1), abs(step))
        first = start if step > 0 else sizes.add(start, sizes.mul(span, -1))
        if n == 0:
            span, first = -1, 0
        low.append(first)
        high.append(sizes.add(sizes.add(x.shape[axis], sizes.mul(first, -1)), sizes.mul(sizes.add(span, 1), -1)))
        flipped.append(step < 0)
    if any(flipped):
        g = b.slice(
            g,
            [sizes.add(n, -1) if f else 0 for n, f in zip(node.shape, flipped, strict=True)],
            [-1 if f else n for n, f in zip(node.shape, flipped, strict=True)],
            [-1 if f else 1 for f in flipped],
        )
    return (b.pad(g, low, high, [abs(s) - 1 for s in steps]),)


register(
    Op(
        "slice",
        "structural",
        1,
        _slice_infer,
        attrs=("starts", "stops", "steps"),
        evaluate=_slice_evaluate,
        vjp=_slice_vjp,
        access=lambda node, out: [
            Access(
                0,
                tuple(
                    index.add(index.scale(i, step), start)
                    for i, start, step in zip(out, node["starts"], node["steps"], strict=True)
                ),
            )
        ],
    )
)


def _pad_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x, value), (low, high, interior) = inputs, attrs
    if value.shape != () or value.dtype != x.dtype:
        raise _fail(f"pad: the value must be a 0-d {x.dtype}, got {describe(value)}", x, value)
    shape = []
    for n, l, h, i in zip(x.shape, low, high, interior, strict=True):
        inner = sizes.add(n, sizes.mul(sizes.add(n, -1), i)) if n != 0 else 0
        extent = sizes.add(sizes.add(inner, l), h)
        if isinstance(extent, int) and extent < 0:
            raise _fail(f"pad: negative padding ({l}, {h}) removes more than an axis of extent {n} has", x)
        shape.append(extent)
    return tuple(shape), x.dtype


def _pad_evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    from .interp import extents

    x, value = arrays
    result = np.full(shape, value, dtype=x.dtype)
    low = extents(node["low"])
    source, target = [], []
    for n, l, i, size in zip(x.shape, low, node["interior"], shape, strict=True):
        at = l + (i + 1) * np.arange(n)
        keep = (at >= 0) & (at < size)
        source.append(np.flatnonzero(keep))
        target.append(at[keep])
    result[np.ix_(*target)] = x[np.ix_(*source)]
    return result


def _pad_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    x, value = node.inputs
    low, interior = node["low"], node["interior"]
    if any(isinstance(e, int) and e < 0 for e in (*low, *node["high"])):
        # What negative padding cut away gets a zero cotangent: pad back before slicing.
        back_low = [max(0, -e) if isinstance(e, int) else 0 for e in low]
        back_high = [max(0, -e) if isinstance(e, int) else 0 for e in node["high"]]
        g = b.pad(g, back_low, back_high)
        low = tuple(max(0, e) if isinstance(e, int) else e for e in low)
    steps = [i + 1 for i in interior]
    stops = [
        sizes.add(l, sizes.add(sizes.mul(sizes.add(n, -1), s), 1)) if n != 0 else l
        for l, n, s in zip(low, x.shape, steps, strict=True)
    ]
    inner = b.slice(g, low, stops, steps)
    needs_value = value.op.name != "literal"
    whole = b.sum(node_cotangent, range(len(g.shape))) if (node_cotangent := g) is not None and needs_value else None
    return inner, b.sub(whole, b.sum(inner, range(len(inner.shape)))) if whole is not None else None


def _pad_access(node: Node, out: tuple[Index, ...]) -> list[Access]:
    x = node.inputs[0]
    result, guards = [], []
    for i, n, l, gap in zip(out, x.shape, node["low"], node["interior"], strict=True):
        at = index.add(i, sizes.mul(l, -1))
        if gap:
            guards.append(Guard(at, divisor=gap + 1))
            # Floor division of a negative index must not round to a valid one, hence the guard on the numerator too.
            guards.append(Guard(at, sizes.add(sizes.mul(sizes.add(n, -1), gap + 1), 1)))
            at = index.floordiv(at, gap + 1)
        else:
            guards.append(Guard(at, n))
        result.append(at)
    return [Access(0, tuple(result), tuple(guards)), Access(1, ())]


register(
    Op(
        "pad",
        "structural",
        2,
        _pad_infer,
        attrs=("low", "high", "interior"),
        evaluate=_pad_evaluate,
        vjp=_pad_vjp,
        access=_pad_access,
    )
)


def _concat_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (axis,) = attrs
    first = inputs[0]
    for x in inputs[1:]:
        if x.dtype != first.dtype:
            raise DTypeError("concat: operands of different dtypes" + operand_lines("ab", (first, x)))
        if len(x.shape) != len(first.shape) or any(
            m != n for k, (m, n) in enumerate(zip(x.shape, first.shape, strict=True)) if k != axis
        ):
            raise _fail(f"concat: shapes differ beside axis {axis}: {describe(first)} and {describe(x)}", first, x)
    total: Extent = 0
    for x in inputs:
        total = sizes.add(total, x.shape[axis])
    return tuple(total if k == axis else n for k, n in enumerate(first.shape)), first.dtype


def _concat_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    axis, at, parts = node["axis"], 0, []
    for x in node.inputs:
        end = sizes.add(at, x.shape[axis])
        starts = [at if k == axis else 0 for k in range(len(g.shape))]
        stops = [end if k == axis else n for k, n in enumerate(g.shape)]
        parts.append(b.slice(g, starts, stops, [1] * len(g.shape)))
        at = end  # type: ignore[assignment]
    return parts


def _concat_access(node: Node, out: tuple[Index, ...]) -> list[Access]:
    axis, at, parts = node["axis"], 0, []
    for k, x in enumerate(node.inputs):
        shifted = index.add(out[axis], sizes.mul(at, -1))
        here = tuple(shifted if d == axis else i for d, i in enumerate(out))
        parts.append(Access(k, here, (Guard(shifted, x.shape[axis]),)))
        at = sizes.add(at, x.shape[axis])  # type: ignore[assignment]
    return parts


register(
    Op(
        "concat",
        "structural",
        None,
        _concat_infer,
        attrs=("axis",),
        evaluate=lambda node, arrays, shape: np.concatenate(arrays, axis=node["axis"]),
        vjp=_concat_vjp,
        access=_concat_access,
    )
)


def _take_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x, idx), (axis,) = inputs, attrs
    if not dtypes.is_integer(idx.dtype):
        raise DTypeError("take: the index must be of an integer dtype" + operand_lines("xi", (x, idx)))
    return (*x.shape[:axis], *idx.shape, *x.shape[axis + 1 :]), x.dtype


def _take_access(node: Node, out: tuple[Index, ...]) -> list[Access]:
    (x, idx), axis = node.inputs, node["axis"]
    n = len(idx.shape)
    at = index.lookup(idx, out[axis : axis + n], x.shape[axis])
    return [Access(0, (*out[:axis], at, *out[axis + n :]))]


def _take_vjp(node: Node, g: Node) -> Sequence[Node | None]:
    (x, idx), axis = node.inputs, node["axis"]
    return b.make("scatter_add", (idx, g), axis, x.shape[axis]), None


# Gather along an axis. Indices come through `check_index`, so they are in range here.
register(
    Op(
        "take",
        "structural",
        2,
        _take_infer,
        attrs=("axis",),
        evaluate=lambda node, arrays, shape: np.take(arrays[0], arrays[1], axis=node["axis"]),
        vjp=_take_vjp,
        access=_take_access,
    )
)


register(
    Op(
        "stop_gradient",
        "structural",
        1,
        lambda inputs, attrs: (inputs[0].shape, inputs[0].dtype),
        evaluate=lambda node, arrays, shape: arrays[0],
        vjp=lambda node, g: (None,),
        access=lambda node, out: [Access(0, out)],
    )
)

# An array of its own for a value that already has one: a second output, an argument returned, a delayed update.
register(
    Op(
        "copy",
        "structural",
        1,
        lambda inputs, attrs: (inputs[0].shape, inputs[0].dtype),
        attrs=("number",),
        evaluate=lambda node, arrays, shape: arrays[0],
        vjp=lambda node, g: (g,),
        access=lambda node, out: [Access(0, out)],
    )
)

# Its operand, with an identity of its own: `mark` is a Token whose hooks reverse mode applies to the cotangent.
register(
    Op(
        "hook",
        "structural",
        1,
        lambda inputs, attrs: (inputs[0].shape, inputs[0].dtype),
        attrs=("mark",),
        evaluate=lambda node, arrays, shape: arrays[0],
        vjp=lambda node, g: (g,),
        access=lambda node, out: [Access(0, out)],
    )
)


# Its first operand, which is not read before the others are known: what is computed again is not computed at once.
register(
    Op(
        "after",
        "structural",
        None,
        lambda inputs, attrs: (inputs[0].shape, inputs[0].dtype),
        evaluate=lambda node, arrays, shape: arrays[0],
        vjp=lambda node, g: (g, *(None,) * (len(node.inputs) - 1)),
        access=lambda node, out: [Access(0, out)],
    )
)


def _carry_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    for variable, new in zip(inputs[1::2], inputs[2::2], strict=True):
        if (variable.shape, variable.dtype) != (new.shape, new.dtype):
            raise _fail(f"carry: {describe(new)} is no value for {describe(variable)}", variable, new)
    return inputs[0].shape, inputs[0].dtype


# Its first operand; the others are variables, each with the new value that functions of the result give it. The front
# turns them into updates before any pass runs.
register(
    Op(
        "carry",
        "structural",
        None,
        _carry_infer,
        evaluate=lambda node, arrays, shape: arrays[0],
        vjp=lambda node, g: (g, *(None,) * (len(node.inputs) - 1)),
        access=lambda node, out: [Access(0, out)],
    )
)
