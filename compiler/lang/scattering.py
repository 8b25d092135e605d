"""What goes to places that indices name: updates of parts of an array, and reductions over segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import BOOL, INT64, UINT8
from ..graph.node import Node, make, type_text
from ..graph.sizes import Extent
from . import arithmetic as ar
from .array import Array
from .explain import complain
from .indexing import Gather, gather, in_range, inverse, select
from .lift import as_array, broadcast_shapes, cast_node, common_dtype, operands_of, reshaped, stretch, wrap
from .reducing import mirrored


class At:
    """`x.at`: indexed like x itself."""

    __slots__ = ("_x",)

    def __init__(self, x: Array) -> None:
        self._x = x

    def __getitem__(self, key: Any) -> Place:
        return Place(self._x, key)


class Place:
    """`x.at[key]`: methods return x with x[key] changed by `values`, which broadcast to the shape of x[key].

    The dtype stays that of x; one that values do not fit raises DTypeError. Nothing is changed in place. Where index
    arrays name an element more than once, all its updates count, in the order of the index, except in `set`, where
    the last one wins.
    """

    __slots__ = ("_key", "_x")

    def __init__(self, x: Array, key: Any) -> None:
        self._x, self._key = x, key

    def set(self, values: Any) -> Array:
        """`values` in place of x[key]. Of several for one element the last wins; it alone gets the cotangent."""
        return self._update("set", values, lambda x, v: v, _set)

    def add(self, values: Any) -> Array:
        """x plus `values` at x[key]; integers wrap."""
        self._not_bool("add", "use max(values) for logical or")
        return self._update("add", values, ar.add, _combine("scatter_add", ar.add))

    def multiply(self, values: Any) -> Array:
        """x times `values` at x[key]; integers wrap.

        The adjoint is exact up to second order where factors are 0; other factors have to be finite, as their product.
        """
        self._not_bool("multiply", "use min(values) for logical and")
        return self._update("multiply", values, ar.multiply, _combine("scatter_multiply", ar.multiply))

    def max(self, values: Any) -> Array:
        """The greater of x and `values` at x[key]; NaN where one is. The cotangent goes to x where it is greatest, else
        to the first greatest update."""
        return self._extremum("max", values, lambda x: x)

    def min(self, values: Any) -> Array:
        """The lesser of x and `values` at x[key]; NaN where one is. The cotangent goes to x where it is least, else to
        the first least update."""
        return self._extremum("min", values, mirrored)

    def _extremum(self, name: str, values: Any, turned: Callable[[Array], Array]) -> Array:
        x, v = self._x, self._values(name, values)
        if x.dtype == BOOL:
            x, v = ar.astype(x, UINT8), ar.astype(v, UINT8)
        place = Place(turned(x), self._key)
        result = turned(place._update(name, turned(v), _greater, _combine("scatter_max", _greater)))
        return ar.astype(result, self._x.dtype)

    def _not_bool(self, name: str, hint: str) -> None:
        if self._x.dtype == BOOL:
            raise complain(DTypeError, f"at.{name}: not defined for bool; {hint}", self._x)

    def _values(self, name: str, values: Any) -> Array:
        x = self._x
        (v,) = operands_of(values)
        if common_dtype([x, v]) != x.dtype:
            found = v.dtype if isinstance(v, Array) else type(values).__name__
            text = f"at[…].{name}: values of {found} do not fit {x.dtype}; use astype on either"
            raise complain(DTypeError, text, x, v)
        return wrap(cast_node(v, x.dtype), (v,))

    def _update(
        self,
        name: str,
        values: Any,
        change: Callable[[Array, Array], Array],
        scatter: Callable[[Gather, Array, Array], Array],
    ) -> Array:
        """`change` gives the new values of elements that are named once, `scatter` those under index arrays."""
        x, v = self._x, self._values(name, values)
        chosen = select(x, self._key)
        sliced = chosen.sliced(x.node)
        part = wrap(reshaped(sliced, chosen.shape), (x,))
        how = gather(x, chosen) if chosen.arrays else None
        if how is None:
            shape = part.shape
        else:
            taken = (*how.merged[: how.axis], *how.flat.shape, *how.merged[how.axis + 1 :])
            shape = tuple(taken[a] for a in how.last) if how.last else taken
        if broadcast_shapes(f"at[…].{name}", (v.shape, shape), (x, v)) != shape:
            text = f"at[…].{name}: {type_text(v.shape, v.dtype)} does not broadcast to the {list(shape)} of x[key]"
            raise complain(ShapeError, text, x, v)
        if 0 in shape:
            return x
        v = wrap(stretch(v.node, shape), (v,))
        if how is None:
            new = change(part, v)
        else:
            if how.last:
                v = wrap(b.permute(v.node, inverse(how.last)), (v,))
            merged = scatter(how, wrap(how.merge(part.node), (part,)), v)
            new = wrap(how.unmerge(merged.node, part.shape), (merged,))
        new = wrap(reshaped(new.node, sliced.shape), (new,))
        if sliced is x.node:
            return new
        # The transpose of a slice puts its elements back, and says of which places they are.
        assert sliced.op.vjp is not None
        back, mask = (sliced.op.vjp(sliced, n)[0] for n in (new.node, b.full(True, sliced.shape, BOOL)))
        assert isinstance(back, Node) and isinstance(mask, Node)
        return ar.where(wrap(mask), wrap(back, (new,)), x)


def _ordered(x: Array, fn: Callable[[Array], Array]) -> Array:
    """A function of arrays with an order of values, for bools too."""
    return ar.astype(fn(ar.astype(x, UINT8)), BOOL) if x.dtype == BOOL else fn(x)


def _greater(x: Array, v: Array) -> Array:
    """The greater, x where both are equal; in contrast to `maximum`, one of them is always chosen."""
    above = v > x
    if dtypes.is_float(v.dtype):
        above = ar.logical_or(above, ar.isnan(v))
    return ar.where(above, v, x)


def _combine(op: str, fn: Callable[[Array, Array], Array]) -> Callable[[Gather, Array, Array], Array]:
    """x combined with all updates of a place, which are combined among themselves first."""

    def scatter(how: Gather, x: Array, v: Array) -> Array:
        return fn(x, wrap(make(op, (how.flat, v.node), how.axis, x.shape[how.axis]), (v,)))

    return scatter


def _set(how: Gather, x: Array, v: Array) -> Array:
    """The last update of a place is looked up by its position, so that it alone is read."""
    index, axis, n = how.flat.shape, how.axis, x.shape[how.axis]
    count = sizes.product(index)
    position = b.flat_iota(index, range(len(index))) if index else b.literal(0, INT64)
    last = make("scatter_max", (how.flat, position), 0, n)
    hit = b.less_equal(b.zeros_like(last), last)
    source = reshaped(v.node, (*v.shape[:axis], count, *v.shape[axis + len(index) :]))
    at = b.where(hit, last, 0)
    if sizes.lower_bound(count) < 1:
        # There may be no update to read where none wins: one in front of them all stands for it.
        low = [1 if k == axis else 0 for k in range(len(source.shape))]
        source, at = b.pad(source, low, [0] * len(source.shape)), b.where(hit, b.add(last, 1), 0)
    picked = wrap(make("take", (source, at), axis), (v,))
    return ar.where(wrap(b.broadcast(hit, x.shape, (axis,))), picked, x)


def segment_sum(data: Any, segment_ids: Any, num_segments: Any) -> Array:
    """Sums of the elements of `data` that have the same segment: shape [num_segments, *rest].

    `segment_ids` are integers (sorted or not) in the shape of the leading axes of `data`; `num_segments` is an int or a
    run-time extent. Negative ids count from the end; one out of range fails the call (ExecutionError), a constant one
    now. The order of addition is that of `data`. Integers and bools are summed in int64; a segment of nothing is 0.
    """
    data = as_array(data)
    if not dtypes.is_float(data.dtype):
        data = ar.astype(data, INT64)
    return _segments("segment_sum", "scatter_add", data, segment_ids, num_segments)


def segment_prod(data: Any, segment_ids: Any, num_segments: Any) -> Array:
    """Products of segments, as `segment_sum` takes them; of nothing 1. Derivatives are those of `x.at[…].multiply`."""
    data = as_array(data)
    if not dtypes.is_float(data.dtype):
        data = ar.astype(data, INT64)
    return _segments("segment_prod", "scatter_multiply", data, segment_ids, num_segments)


def segment_max(data: Any, segment_ids: Any, num_segments: Any) -> Array:
    """The greatest elements of segments, as `segment_sum` takes them; NaN where there is one.

    Of nothing −inf, or the least integer (False). The first greatest element takes the whole cotangent.
    """
    return _ordered(
        as_array(data), lambda x: _segments("segment_max", "scatter_max", x, segment_ids, num_segments)
    )


def segment_min(data: Any, segment_ids: Any, num_segments: Any) -> Array:
    """The least elements of segments, as `segment_sum` takes them; NaN where there is one.

    Of nothing inf, or the greatest integer (True). The first least element takes the whole cotangent.
    """

    def least(x: Array) -> Array:
        return mirrored(_segments("segment_min", "scatter_max", mirrored(x), segment_ids, num_segments))

    return _ordered(as_array(data), least)


def _segments(name: str, op: str, data: Array, segment_ids: Any, num_segments: Any) -> Array:
    ids = as_array(segment_ids)
    rank = ids.ndim
    if rank == 0 or data.shape[:rank] != ids.shape:
        texts = f"{type_text(ids.shape, ids.dtype)} for data {type_text(data.shape, data.dtype)}"
        raise complain(ShapeError, f"{name}: segment_ids must have the shape of leading axes, got {texts}", data, ids)
    extent: Extent
    (extent,) = sizes.as_shape((num_segments,))
    known = ids.node["data"].array if ids.node.op.name == "constant" else ids
    index = in_range(name, known, extent, "segments", "segment_ids", data, ids)
    return wrap(make(op, (index, data.node), 0, extent), (data, ids))
