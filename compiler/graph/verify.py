"""The verifier of the graph: what every pass may rely on, and must leave true.

A broken invariant of the compiler is a VerifyError; a program that no pass could have broken (a name taken twice, a
leaf that is not an argument, a leaked placeholder) is the user's and raises GraphError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import AdjointError, GraphError, VerifyError
from . import dtypes, sizes
from .control import Body, bodies, dims_in
from .node import OPS, Node, describe, find, operand_lines, toposort
from .pretty import context
from .program import Program
from .sizes import Dim, Size


def verify_program(program: Program) -> None:
    """Raises VerifyError or GraphError when the program is not well formed."""
    _Verifier(program).run()


class _Verifier:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.checked: set[Node] = set()

    def reject(self, node: Node, message: str) -> VerifyError:
        name = node.op.name
        return VerifyError(f"{self.program.name}: {name}: {message}\n{context(self.program, node)}")

    def run(self) -> None:
        program = self.program
        for kind, nodes in (("input", program.inputs), ("variable", [v for v, _ in program.updates])):
            for node in nodes:
                if node.op.name != kind:
                    raise self.reject(node, f"stands where {kind}s are listed")
        _no_repeats(program)
        self.acyclic([*program.inputs, *program.roots])
        order = [*program.inputs, *toposort(program.roots)]
        for node in order:
            self.node(node)
        self.arguments(order)
        _names(order, program)
        self.updates()
        self.dims(order)

    def acyclic(self, roots: Iterable[Node]) -> None:
        """A node whose operands are still being visited is on a cycle. Loop bodies hang on their loops as operands."""
        open_, done = set(), set()
        stack: list[tuple[Node, bool]] = [(r, False) for r in roots]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                open_.discard(node)
                done.add(node)
                continue
            if node in done:
                continue
            open_.add(node)
            stack.append((node, True))
            for operand in [*node.inputs, *(o for body in bodies(node) for o in body.outputs)]:
                if operand in open_:
                    raise self.reject(node, "is part of a cycle")
                if operand not in done:
                    stack.append((operand, False))

    def node(self, node: Node) -> None:
        if node in self.checked:
            return
        self.checked.add(node)
        op = node.op
        if OPS.get(op.name) is not op:
            raise self.reject(node, "is not an operation of the table")
        if op.arity is not None and len(node.inputs) != op.arity:
            raise self.reject(node, f"takes {op.arity} operands and has {len(node.inputs)}")
        if len(node.attrs) != len(op.attrs):
            raise self.reject(node, f"has {len(node.attrs)} attributes where it declares {len(op.attrs)}")
        self.type(node)
        try:
            shape, dtype = op.infer(node.inputs, node.attrs)
        except (AdjointError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise self.reject(node, f"its operands do not fit: {error}") from error
        if shape != node.shape or dtype != node.dtype:
            kept, found = describe(node), describe_type(shape, dtype)
            raise self.reject(node, f"holds type {kept}, but its operands give {found}")
        for body in bodies(node):
            self.body(node, body)
        if find(op, node.inputs, node.attrs) is not node:
            raise self.reject(node, "is not the interned node of its operation, operands and attributes")

    def type(self, node: Node) -> None:
        """Shapes are tuples of non-negative ints and extents, dtypes are supported ones."""
        shapes: Any = node.shape
        kinds: Any = node.dtype
        if not isinstance(kinds, tuple):
            shapes, kinds = (shapes,), (kinds,)
        if not isinstance(shapes, tuple) or len(shapes) != len(kinds):
            raise self.reject(node, "has not one shape for each dtype")
        for shape in shapes:
            if not isinstance(shape, tuple):
                raise self.reject(node, f"its shape is {shape!r}, not a tuple")
            for extent in shape:
                if not (type(extent) is int and extent >= 0) and not isinstance(extent, Size):
                    raise self.reject(node, f"its shape holds {extent!r}, which is no extent")
        for kind in kinds:
            if kind not in dtypes.ALL:
                raise self.reject(node, f"its dtype {kind!r} is not supported")

    def body(self, loop: Node, body: Body) -> None:
        """A body is closed: what it needs from outside comes in through its parameters."""
        own = set(body.params)
        if len(own) != len(body.params):
            raise self.reject(loop, "its body has a parameter twice")
        for node in [*body.params, *toposort(body.outputs)]:
            if node.op.name == "param":
                if node not in own:
                    raise GraphError(_leak(node, f"inside the body of another {loop.op.name}", loop))
            elif node in own:
                raise self.reject(loop, f"a parameter of its body is a {node.op.name}, not a param")
            elif node.op.name in ("input", "variable"):
                raise self.reject(loop, f'its body is not closed: it reaches {node.op.name} "{node["token"].name}"')
            self.node(node)

    def arguments(self, order: Iterable[Node]) -> None:
        """Every leaf without a value of its own is an argument; placeholders stay inside their loops."""
        listed = set(self.program.inputs)
        for node in order:
            if node.op.name == "param":
                user = next((n for n in order if node in n.inputs), None)
                raise GraphError(_leak(node, "outside its loop", user))
            if node.op.name == "input" and node not in listed:
                raise GraphError(
                    f'{self.program.name}: input "{node["token"].name}" is needed but is not among the arguments'
                    + operand_lines((node["token"].name,), (node,))
                )

    def updates(self) -> None:
        for variable, value in self.program.updates:
            if (variable.shape, variable.dtype) != (value.shape, value.dtype):
                name = variable["token"].name
                raise self.reject(
                    value, f'updates variable "{name}", which is {describe(variable)}, with {describe(value)}'
                )

    def dims(self, order: Sequence[Node]) -> None:
        """Run-time dimensions are bound by the shape of an argument, or by a loop of unknown length."""
        bound: set[Dim] = set()
        for node in self.program.inputs:
            bound.update(d for extent in node.shape for d in sizes.dims_of(extent))
        for node in order:
            if node.op.kind == "control":
                bound.update(d for d in dims_in(node) if d.min == 0)
        names: dict[str, Dim] = {}
        for node in order:
            for dim in dims_in(node):
                if dim not in bound:
                    raise GraphError(
                        f'{self.program.name}: dimension "{dim.name}" is not bound by the shape of any argument'
                        + operand_lines(("it",), (node,))
                    )
                if names.setdefault(dim.name, dim) is not dim:
                    raise GraphError(
                        f'{self.program.name}: two dimensions are called "{dim.name}" and have different bounds: '
                        f"{_bounds(names[dim.name])} and {_bounds(dim)}" + operand_lines(("it",), (node,))
                    )


def _bounds(dim: Dim) -> str:
    return f"min={dim.min}" if dim.max is None else f"min={dim.min}, max={dim.max}"


def describe_type(shape: Any, dtype: Any) -> str:
    """Like `describe`, of a type that no node holds yet."""
    probe = object.__new__(Node)
    probe.shape, probe.dtype = shape, dtype
    return describe(probe)


_PLACES = 4  # how many of them a message names, the latest


def _leak(node: Node, where: str, user: Node | None) -> str:
    """The message about a placeholder, naming the loop by the place where the placeholder was made."""
    # Equal placeholders are one node, so several loops may have made this one.
    made = [str(site) for site in node.sites[-_PLACES:]]
    place = f" made at {' or '.join(made)}" if made else ""
    scope = f' "{node.sites[0].scope}"' if node.sites and node.sites[0].scope else ""
    message = f"parameter {node['position']} of the loop{scope}{place} is used {where}; return it from the loop instead"
    nodes = [n for n in (node, user) if n is not None]
    return message + operand_lines(("placeholder", "used by")[: len(nodes)], nodes)


def _no_repeats(program: Program) -> None:
    for what, nodes in (("input", program.inputs), ("update of variable", tuple(v for v, _ in program.updates))):
        seen: set[Node] = set()
        for node in nodes:
            if node in seen:
                raise GraphError(f'{program.name}: {what} "{node["token"].name}" is listed twice')
            seen.add(node)


def _names(order: Iterable[Node], program: Program) -> None:
    """Arguments and variables are found by name: in calls, in files, in the structs of the C."""
    seen: dict[str, Node] = {}
    for node in dict.fromkeys([*order, *(v for v, _ in program.updates)]):
        if node.op.name in ("input", "variable"):
            name = node["token"].name
            if seen.setdefault(name, node) is not node:
                raise GraphError(
                    f'{program.name}: the name "{name}" is taken twice' + operand_lines("ab", (seen[name], node))
                )
