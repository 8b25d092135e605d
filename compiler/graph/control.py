"""Loops as nodes with inner graphs. Several results are read through `item` nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import ShapeError
from . import dtypes, sizes
from .node import Node, Op, describe, make, operand_lines, register, toposort
from .sizes import Dim, Extent, Size


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


def _carries(name: str, inputs: Sequence[Node], body: Body, n_carry: int) -> None:
    """Raises ShapeError unless a body gives each carry back in the type in which it takes it."""
    for k, (init, param, out) in enumerate(
        zip(inputs[:n_carry], body.params[:n_carry], body.outputs[:n_carry], strict=True)
    ):
        if not (init.shape, init.dtype) == (param.shape, param.dtype) == (out.shape, out.dtype):
            raise ShapeError(
                f"{name}: carry {k} goes in as {describe(init)} and comes out of the body as {describe(out)}"
                + operand_lines(("init",), (init,))
            )


def _results(body: Body, n_carry: int, length: Extent) -> tuple[Any, Any]:
    """Shapes and dtypes of the last carries and of what is stacked along a new leading axis."""
    shapes = (*(c.shape for c in body.outputs[:n_carry]), *((length, *y.shape) for y in body.outputs[n_carry:]))
    return shapes, tuple(o.dtype for o in body.outputs)


def _scan_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    body, n_carry, n_xs, length, _ = attrs
    _carries("scan", inputs, body, n_carry)
    for k, (xs, param) in enumerate(
        zip(inputs[n_carry : n_carry + n_xs], body.params[n_carry : n_carry + n_xs], strict=True)
    ):
        if xs.shape != (length, *param.shape) or xs.dtype != param.dtype:
            raise ShapeError(f"scan: sequence {k} is {describe(xs)}, its loop has length {length}")
    return _results(body, n_carry, length)


def _scan_evaluate(node: Node, arrays: list[Any], shape: Any) -> Any:
    from .interp import run_scan

    return run_scan(node, arrays)


# inputs: initial carries, sequences (scanned along axis 0), closed-over arrays; body parameters in the same order;
# body outputs: next carries, then one element of every stacked output.
register(
    Op(
        "scan",
        "control",
        None,
        _scan_infer,
        attrs=("body", "n_carry", "n_xs", "length", "reverse"),
        evaluate=_scan_evaluate,
    )
)


def _tested(name: str, body: Body) -> None:
    (test,) = body.outputs
    if test.shape != () or test.dtype != dtypes.BOOL:
        text = f"{name}: the condition must be a 0-d bool, got {describe(test)}"
        raise ShapeError(text + operand_lines("p", (test,)))


def _cond_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    then, otherwise = attrs
    for k, (one, other) in enumerate(zip(then.outputs, otherwise.outputs, strict=True)):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            raise ShapeError(
                f"cond: result {k} is {describe(one)} in one branch and {describe(other)} in the other"
                + operand_lines(("if_true", "if_false"), (one, other))
            )
    if inputs[0].shape != () or inputs[0].dtype != dtypes.BOOL:
        raise ShapeError(f"cond: the predicate must be a 0-d bool, got {describe(inputs[0])}")
    return tuple(o.shape for o in then.outputs), tuple(o.dtype for o in then.outputs)


def _cond_evaluate(node: Node, arrays: list[Any], shape: Any) -> Any:
    from .interp import run_cond

    return run_cond(node, arrays)


# inputs: the predicate, then what the branches read; both bodies have the same parameters, one per such input.
register(
    Op("cond", "control", None, _cond_infer, attrs=("then", "otherwise"), evaluate=_cond_evaluate)
)


def _while_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    test, body, n_carry, trips, _ = attrs
    _tested("while_loop", test)
    _carries("while_loop", inputs, body, n_carry)
    return _results(body, n_carry, trips)


def _while_evaluate(node: Node, arrays: list[Any], shape: Any) -> Any:
    from .interp import run_while

    return run_while(node, arrays)


# inputs: initial carries, closed-over arrays; the parameters of both bodies in the same order. Outputs of the body:
# next carries, then one element of every stacked result. A loop with stacks binds `trips`, the Dim of their leading
# axis, to the number of iterations that ran. None run beyond `limit`.
WHILE = register(
    Op(
        "while",
        "control",
        None,
        _while_infer,
        attrs=("test", "body", "n_carry", "trips", "limit"),
        evaluate=_while_evaluate,
    )
)


def _call_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    body = attrs[0]
    for k, (operand, param) in enumerate(zip(inputs, body.params, strict=True)):
        if (operand.shape, operand.dtype) != (param.shape, param.dtype):
            raise ShapeError(
                f"call: operand {k} is {describe(operand)} where its body takes {describe(param)}"
                + operand_lines(("operand",), (operand,))
            )
    return tuple(o.shape for o in body.outputs), tuple(o.dtype for o in body.outputs)


def _call_evaluate(node: Node, arrays: list[Any], shape: Any) -> Any:
    from .interp import run_call

    return run_call(node, arrays)


# A function applied: its body with operands for parameters. It is there for differentiation alone, and gone before any
# other pass. What `rule`, `n_args` and `places` are depends on the kind:
#   custom      the first `n_args` inputs are arguments, the others what is closed over. `rule` takes all inputs, all
#               results, and cotangents of those results that the user has (the others are saved for the rule); it gives
#               cotangents of the arguments numbered in `places`.
#   linear      `rule` is the transpose: it takes cotangents of the results, then what is closed over, and gives
#               cotangents of the arguments.
#   checkpoint  computed again when it is differentiated, by a call that is
#   recompute   whose first `n_args` operands wait for those in `places`.
CALL = register(
    Op(
        "call",
        "control",
        None,
        _call_infer,
        attrs=("body", "rule", "kind", "n_args", "places"),
        evaluate=_call_evaluate,
    )
)


def dims_in(node: Node) -> list[Dim]:
    """The run-time dimensions in the type of a node, in how often it runs, or in its value."""
    shapes: Sequence[Any] = node.shape if isinstance(node.dtype, tuple) else (node.shape,)
    if node.op.name == "extent":
        shapes = (node.attrs,)
    elif node.op.name == "scan":
        shapes = (*shapes, (node["length"],))
    return [d for shape in shapes for extent in shape if isinstance(extent, Size) for d in sizes.dims_of(extent)]


def in_order(roots: Iterable[Node]) -> list[Node]:
    """Like `toposort`, with a loop that binds an extent ahead of what has the extent in its type, or runs so often."""
    roots = list(roots)
    order = toposort(roots)
    binders = {n["trips"]: n for n in order if n.op is WHILE and n["trips"] is not None}
    if not binders:
        return order
    after: dict[Node, tuple[Node, ...]] = {}
    for node in order:
        bound = dict.fromkeys(binders[d] for d in dims_in(node) if d in binders)
        after[node] = (*(b for b in bound if b is not node), *node.inputs)
    return toposort(roots, operands=after.__getitem__)


def _item_infer(inputs: Sequence[Node], attrs: tuple[Any, ...]) -> tuple[Any, Any]:
    return inputs[0].shape[attrs[0]], inputs[0].dtype[attrs[0]]


ITEM = register(
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
