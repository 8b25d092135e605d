"""Loops as nodes with inner graphs. Several results are read through `item` nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import ShapeError
from .node import Node, Op, describe, make, operand_lines, register


class Body:
    """A closed inner graph: parameters and outputs. Equal bodies are equal by the identity of their nodes."""

    __slots__ = ("outputs", "params")

    def __init__(self, params: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.params, self.outputs = tuple(params), tuple(outputs)

    def __hash__(self) -> int:
        return hash((self.params, self.outputs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and (self.params, self.outputs) == (other.params, other.outputs)


def bodies(node: Node) -> tuple[Body, ...]:
    """The inner graphs of a loop, none for other nodes."""
    if node.op.kind != "control":
        return ()
    return tuple(a for a in node.attrs if isinstance(a, Body))


def toposort_deep(roots: Iterable[Node]) -> list[Node]:
    """Like `toposort`, with the nodes of inner graphs (parameters first) ahead of the loop that holds them."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(r, False) for r in reversed(list(roots))]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        if node.op.kind == "control":
            for body in reversed(bodies(node)):
                stack.extend((i, False) for i in reversed((*body.params, *body.outputs)) if i not in seen)
        stack.extend((i, False) for i in reversed(node.inputs) if i not in seen)
    return order


def _scan_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    body, n_carry, n_xs, length, _ = attrs
    for k, (init, param, out) in enumerate(
        zip(inputs[:n_carry], body.params[:n_carry], body.outputs[:n_carry], strict=True)
    ):
        if (init.shape, init.dtype) != (param.shape, param.dtype) or (out.shape, out.dtype) != (
            param.shape,
            param.dtype,
        ):
            raise ShapeError(
                f"scan: carry {k} goes in as {describe(init)} and comes out of the body as {describe(out)}"
                + operand_lines(("init",), (init,))
            )
    for k, (xs, param) in enumerate(
        zip(inputs[n_carry : n_carry + n_xs], body.params[n_carry : n_carry + n_xs], strict=True)
    ):
        if xs.shape != (length, *param.shape) or xs.dtype != param.dtype:
            raise ShapeError(f"scan: sequence {k} is {describe(xs)}, its loop has length {length}")
    carries, ys = body.outputs[:n_carry], body.outputs[n_carry:]
    shapes = (*(c.shape for c in carries), *((length, *y.shape) for y in ys))
    return shapes, tuple(o.dtype for o in body.outputs)


def _scan_evaluate(node: Node, arrays: list[Any], shape: Any) -> Any:
    from .interp import run_scan

    return run_scan(node, arrays)


# inputs: initial carries, sequences (scanned along axis 0), closed-over arrays; body parameters in the same order;
# body outputs: next carries, then one element of every stacked output.
SCAN = register(
    Op(
        "scan",
        "control",
        None,
        _scan_infer,
        attrs=("body", "n_carry", "n_xs", "length", "reverse"),
        evaluate=_scan_evaluate,
    )
)


def _item_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    return inputs[0].shape[attrs[0]], inputs[0].dtype[attrs[0]]


register(
    Op(
        "item",
        "control",
        1,
        _item_infer,
        attrs=("number",),
        evaluate=lambda node, arrays, shape: arrays[0][node["number"]],
    )
)


def item(node: Node, number: int) -> Node:
    return make("item", (node,), number)
