"""Contractions that sum over more than they leave: the sum in parts, each of which reads its own rows once.

A result of few elements gives few tiles; shared among cores, each of them would read all of both operands. And where
the summed axis is the batch, as in the gradient of a weight, the rows of a part are in the cache of the core that made
them. The number of parts follows from the shapes and the target alone, and so does the order of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from ..artifact import Target
from ..graph import build as b
from ..graph import sites
from ..graph.contraction import OperandMap, contract, plain
from ..graph.node import Node, toposort
from ..graph.program import Program
from ..graph.substitute import substitute
from .blocks import SERIAL

LEAST, PARTS = 8, 32
ROWS = 1024  # elements of a result that are enough for all cores
FRACTION = 8  # the parts of the result are at most this fraction of the operands
LONG = 8  # times the longer side of a result
STEPS = 256  # of the sum in a part of a matrix product, at least


def split_sums(program: Program, target: Target) -> Program:
    """The program with such sums in parts (the same object if there are none)."""
    changes: dict[Node, Node] = {}
    for node in toposort(program.roots):
        if node.op.name == "contract":
            found = _in_parts(node, target, changes)
            if found is not None:
                changes[node] = found
    if not changes:
        return program
    new = substitute(program.roots, changes)
    return program.replaced(dict(zip(program.roots, new, strict=True)))


def _in_parts(node: Node, target: Target, changes: Mapping[Node, Node]) -> Node | None:
    (x, y), extents, n_out, maps = node.inputs, node["extents"], node["n_out"], (node["a_map"], node["b_map"])
    if not all(isinstance(n, int) and n > 0 for n in extents) or n_out == len(extents):
        return None
    if any(len(axis[0]) > 1 for axes in maps for axis in axes):
        return None  # sums over windows share their images out themselves
    over, parts = _few(node, target) or _long(node) or (0, 0)
    if not parts:
        return None
    each = extents[over] // parts
    if changes:
        x, y = substitute((x, y), changes)

    def shifted(axes: OperandMap) -> OperandMap:
        return tuple(
            (((0, each), (over + 1, 1)), 0, 1) if axis == plain(over)
            else (tuple((label + 1, c) for label, c in axis[0]), axis[1], axis[2])
            for axis in axes
        )

    inner = [each if label == over else n for label, n in enumerate(extents)]
    with sites.at(node.sites, node.stems_from):
        partial = contract(x, y, (parts, *inner), n_out + 1, shifted(maps[0]), shifted(maps[1]))
        return b.sum(partial, (0,))


def _few(node: Node, target: Target) -> tuple[int, int] | None:
    """The summed label, and the number of its parts, where a result of few elements is left of much."""
    (x, y), extents, n_out, maps = node.inputs, node["extents"], node["n_out"], (node["a_map"], node["b_map"])
    over = max(range(n_out, len(extents)), key=lambda label: extents[label])
    if any(plain(over) not in axes for axes in maps) or any(_mixed(axes, over) for axes in maps):
        return None
    wide = {label for label, extent in enumerate(extents) if extent > 1}
    if prod(extents[:n_out]) >= ROWS and any(wide <= _labels(axes) for axes in maps):
        return None  # whoever computes a row of the result reads rows of that operand that nobody else reads
    operands = prod(x.shape) + prod(y.shape)
    if operands * node.dtype.itemsize <= target.l2:
        return None
    most = min(PARTS, operands // (FRACTION * prod(extents[:n_out])))
    parts = next((k for k in range(most, LEAST - 1, -1) if extents[over] % k == 0), None)
    return None if parts is None else (over, parts)


def _long(node: Node) -> tuple[int, int] | None:
    """The same for a product of two matrices that sums over more than either side of the result. Few parts, of a number
    that cores divide: they are written and read once more."""
    extents, n_out, maps = node["extents"], node["n_out"], (node["a_map"], node["b_map"])
    labels = range(len(extents))
    if any(axis not in map(plain, labels) for axes in maps for axis in axes):
        return None
    if any(all(plain(label) in axes for axes in maps) for label in labels[:n_out]):
        return None
    steps, result = prod(extents[n_out:]), prod(extents[:n_out])
    sides = [prod(extents[label] for label in labels[:n_out] if plain(label) in axes) for axes in maps]
    if steps <= max(sides) or min(sides) < 2 or 2 * steps * result < SERIAL:
        return None
    over = next(label for axis in maps[0] for label in labels[n_out:] if axis == plain(label))
    if any(axes[-1] == plain(over) for axes in maps) and steps < LONG * max(sides):
        return None  # rows that lie along the sum are read once, whoever reads them
    parts = next((k for k in (8, 4, 2, 6, 3, 5, 7) if k <= steps // STEPS and extents[over] % k == 0), None)
    return None if parts is None else (over, parts)


def _labels(axes: OperandMap) -> set[int]:
    return {label for terms, _, _ in axes for label, _ in terms}


def _mixed(axes: OperandMap, label: int) -> bool:
    """Whether an axis reads the label together with others."""
    return any(axis != plain(label) and any(k == label for k, _ in axis[0]) for axis in axes)
