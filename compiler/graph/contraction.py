"""The contraction of two arrays: Σ a[f(i)] · b[g(i)] with affine maps f and g.

Matrix products, batched ones, `einsum` of two operands and convolutions are all of this form. Labels 0 … n-1 stand
for loop variables with the extents `extents`; the first `n_out` index the result, the rest are summed over. The map of
an operand has one entry `(terms, offset, divisor)` per axis, meaning (Σ coefficient · label + offset) / divisor;
where that is no integer or lies outside the axis, the operand counts as 0 (padding). The form is closed under
transposition, so convolution needs no gradient of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from . import dtypes, index, sizes
from .index import Access, Guard, IVar
from .node import Node, Op, make, operand_lines, register
from .sizes import Extent

Term = tuple[int, int]  # (label, coefficient)
AxisMap = tuple[tuple[Term, ...], Extent, int]
OperandMap = tuple[AxisMap, ...]


def plain(label: int) -> AxisMap:
    return (((label, 1),), 0, 1)


def contract(
    a: Node, b: Node, extents: Sequence[Extent], n_out: int, a_map: OperandMap, b_map: OperandMap
) -> Node:
    return make("contract", (a, b), tuple(extents), n_out, a_map, b_map)


def _infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    (x, y), (extents, n_out, a_map, b_map) = inputs, attrs
    if x.dtype != y.dtype or not dtypes.is_float(x.dtype):
        raise DTypeError("contraction: operands must be of one floating dtype" + operand_lines("ab", inputs))
    for operand, axes in ((x, a_map), (y, b_map)):
        if len(operand.shape) != len(axes):
            raise ShapeError("contraction: a map does not fit its operand's rank" + operand_lines("ab", inputs))
    return tuple(extents[:n_out]), x.dtype


def _labels(axes: OperandMap) -> list[int]:
    return sorted({label for terms, _, _ in axes for label, _ in terms})


def _expand(x: Any, axes: OperandMap, extents: Sequence[int]) -> tuple[Any, list[int]]:
    """The operand as an array over its labels, zeros where the map leaves the operand."""
    from .interp import extents as values

    labels = _labels(axes)
    grids = dict(zip(labels, np.ix_(*(np.arange(extents[k]) for k in labels)), strict=True))
    valid: Any = True
    where = []
    for (terms, offset, divisor), n in zip(axes, x.shape, strict=True):
        at: Any = values((offset,))[0]
        for label, coefficient in terms:
            at = at + coefficient * grids[label]
        valid = valid & (at % divisor == 0) & (at >= 0) & (at // divisor < n)
        where.append(np.clip(at // divisor, 0, max(n - 1, 0)))
    full = tuple(extents[k] for k in labels)
    if 0 in full or x.size == 0:
        return np.zeros(full, x.dtype), labels
    gathered = x[tuple(where)] if where else x
    return np.where(valid, np.broadcast_to(gathered, full), np.zeros((), x.dtype)), labels


def _evaluate(node: Node, arrays: list[Any], shape: tuple[int, ...]) -> Any:
    from .interp import extents as values

    extents, n_out = values(node["extents"]), node["n_out"]
    operands: list[Any] = []
    for x, axes in zip(arrays, (node["a_map"], node["b_map"]), strict=True):
        operands.extend(_expand(x, axes, extents))
    return np.asarray(np.einsum(*operands, list(range(n_out)), optimize=True), arrays[0].dtype)


def _bounded(label: int, node: Node) -> bool:
    """Whether a label that is solved for stays within its extent: an axis of the cotangent or an operand is just it."""
    if label < node["n_out"]:
        return True
    return any(
        axis == plain(label) and n == node["extents"][label]
        for operand, axes in zip(node.inputs, (node["a_map"], node["b_map"]), strict=True)
        for axis, n in zip(axes, operand.shape, strict=True)
    )


def _direct(node: Node, axes: OperandMap) -> dict[int, int]:
    """Labels that an axis of an operand is just, with the first such axis; other axes may use them too."""
    found: dict[int, int] = {}
    for axis, (terms, offset, divisor) in enumerate(axes):
        if len(terms) == 1 and terms[0][1] == 1 and offset == 0 and divisor == 1 and _bounded(terms[0][0], node):
            found.setdefault(terms[0][0], axis)
    return found


def _transpose(node: Node, g: Node, wrt: int) -> Node:
    """The contraction of the cotangent with the other operand that gives the cotangent of operand `wrt`.

    Every axis of the operand becomes an output label. Where an axis is just a label, that label is renamed; else one
    label that the axis' map contains is solved for and replaced in the maps of the cotangent and of the other operand.
    """
    extents, n_out = node["extents"], node["n_out"]
    maps = (node["a_map"], node["b_map"])
    mine, others = maps[wrt], maps[1 - wrt]
    target, other = node.inputs[wrt], node.inputs[1 - wrt]
    rank = len(target.shape)
    direct = _direct(node, mine)
    uses: dict[int, int] = {}
    for terms, _, _ in mine:
        for label, _ in terms:
            uses[label] = uses.get(label, 0) + 1
    renamed: dict[Any, int] = {("x", axis): axis for axis in range(rank)}
    renamed.update(direct)
    solved: dict[int, tuple[tuple[tuple[Any, int], ...], Extent, int]] = {}
    for axis, (terms, offset, divisor) in enumerate(mine):
        if axis in direct.values():
            continue
        # Labels of the result first: what remains to be summed is then the kernel, not the image.
        candidates = [
            t for t in terms if uses[t[0]] == 1 and t[0] not in direct and t[1] > 0 and _bounded(t[0], node)
        ]
        if not candidates:
            raise ShapeError("contraction: this index map has no transpose")
        label, coefficient = min(candidates, key=lambda t: (t[0] >= n_out, t[1], t[0]))
        rest = tuple((l, -c) for l, c in terms if l != label)
        solved[label] = ((((("x", axis)), divisor), *rest), sizes.mul(offset, -1), coefficient)
    remaining = [k for k in range(len(extents)) if k not in solved and k not in direct]
    renamed.update({label: rank + k for k, label in enumerate(remaining)})

    def rewrite(axes: OperandMap) -> OperandMap:
        result = []
        for terms, offset, divisor in axes:
            denominator = 1
            for label, coefficient in terms:
                if label in solved:
                    c = solved[label][2]
                    if gcd(coefficient, c) != 1 and c != 1:
                        raise ShapeError("contraction: this index map has no transpose")
                    denominator *= c
            total: dict[int, int] = {}
            new_offset = sizes.mul(offset, denominator)
            for label, coefficient in terms:
                if label not in solved:
                    total[renamed[label]] = total.get(renamed[label], 0) + coefficient * denominator
                    continue
                numerator, shift, c = solved[label]
                factor = coefficient * denominator // c
                new_offset = sizes.add(new_offset, sizes.mul(shift, factor))
                for l, k in numerator:
                    total[renamed[l]] = total.get(renamed[l], 0) + k * factor
            result.append((tuple(sorted((l, k) for l, k in total.items() if k)), new_offset, divisor * denominator))
        return tuple(result)

    g_map = rewrite(tuple(plain(k) for k in range(n_out)))
    other_map = rewrite(others)
    sizes_ = (*target.shape, *(extents[k] for k in remaining))
    if wrt == 0:
        return contract(g, other, sizes_, rank, g_map, other_map)
    return contract(other, g, sizes_, rank, other_map, g_map)


def loads(node: Node, labels: Sequence[IVar]) -> list[Access]:
    """The accesses of both operands at given loop variables."""
    result = []
    for operand, axes in enumerate((node["a_map"], node["b_map"])):
        at, guards = [], []
        for (terms, offset, divisor), n in zip(axes, node.inputs[operand].shape, strict=True):
            i = index.of(offset)
            for label, coefficient in terms:
                i = index.add(i, index.scale(index.of(labels[label]), coefficient))
            if divisor != 1:
                guards.append(Guard(i, divisor=divisor))
                guards.append(Guard(i, sizes.add(sizes.mul(sizes.add(n, -1), divisor), 1)))
                i = index.floordiv(i, divisor)
            else:
                guards.append(Guard(i, n))
            at.append(i)
        result.append(Access(operand, tuple(at), tuple(guards)))
    return result


register(
    Op(
        "contract",
        "contraction",
        2,
        _infer,
        attrs=("extents", "n_out", "a_map", "b_map"),
        evaluate=_evaluate,
        vjp=lambda node, g: (lambda: _transpose(node, g, 0), lambda: _transpose(node, g, 1)),
        combine="add",
    )
)
