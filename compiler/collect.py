"""From handles to a program: what `ad.compile` is given, checked and gathered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .artifact import DimSpec, Param
from .errors import DTypeError, GraphError, ShapeError
from .graph import sizes
from .graph.node import Node, type_text
from .graph.program import Program
from .lang import checks
from .lang.array import Array
from .lang.explain import complain, refuse
from .lang.lift import as_array
from .lang.state import released
from .lower.names import is_free, is_free_function
from .runtime.signature import Signature

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def collect_program(
    inputs: Any, outputs: Any, updates: Mapping[Array, Any] | None, name: str, state_updates: bool
) -> tuple[Program, Any]:
    """The program, and the structure of what calls return, with the number of an output in place of each array."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise GraphError(f"compile: the name must be a C identifier, got {name!r}")
    if not is_free_function(name):
        raise GraphError(f"compile: a function cannot be called {name!r}, which C or the generated file has already")
    given = [inputs] if isinstance(inputs, Array) else checks.sequence("inputs", inputs, kind=GraphError)
    for k, x in enumerate(given):
        if not isinstance(x, Array) or x.node.op.name != "input":
            what = x.describe() if isinstance(x, Array) else repr(x)
            raise complain(GraphError, f"compile: argument {k + 1} of `inputs` must be an ad.input, got {what}", x)
    leaves: list[Node] = []

    def number(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {k: number(v) for k, v in tree.items()}
        if isinstance(tree, (list, tuple)):
            return type(tree)([number(v) for v in tree])
        if not isinstance(tree, Array) and (tree is None or isinstance(tree, (str, set, frozenset)) or callable(tree)):
            text = "outputs are arrays, or lists, tuples and dicts of arrays"
            raise refuse(GraphError, f"{text}; output {len(leaves)} is {tree!r}")
        leaves.append(as_array(tree).node)
        return len(leaves) - 1

    structure = number(outputs)
    if updates is not None and not isinstance(updates, Mapping):
        text = f"updates must be a dict, variable → new value, got {type(updates).__name__}"
        raise refuse(GraphError, text, updates)
    pairs = []
    for variable, value in (updates or {}).items():
        if not isinstance(variable, Array) or variable.node.op.name != "variable":
            what = variable.describe() if isinstance(variable, Array) else repr(variable)
            raise complain(GraphError, f"compile: a key of `updates` must be an ad.variable, got {what}", variable)
        new = as_array(value).node
        if new.shape != variable.node.shape:
            text = f'compile: the update of variable "{variable.name}" has another shape: '
            text += f"{type_text(new.shape, new.dtype)} for {type_text(variable.shape, variable.dtype)}"
            raise complain(ShapeError, text, variable, value)
        if new.dtype != variable.node.dtype:
            text = f'compile: the update of variable "{variable.name}" is {new.dtype}, the variable {variable.dtype}'
            raise complain(DTypeError, f"{text}; use astype", variable, value)
        pairs.append((variable.node, new))
    written = [v for v, _ in pairs]
    roots, brought = released([*leaves, *(new for _, new in pairs)], written, state_updates)
    leaves, values = roots[: len(leaves)], roots[len(leaves) :]
    own = (*zip(written, values, strict=True), *brought)
    program = Program(name, tuple(x.node for x in given), tuple(leaves), own).listed()
    _check_dims(program)
    return program, structure


def _check_dims(program: Program) -> None:
    """Dimensions keep their names in the C."""
    found: dict[str, sizes.Dim] = {}
    for node in (*program.inputs, *program.variables, *program.outputs):
        for dim in (d for extent in node.shape for d in sizes.dims_of(extent)):
            if found.setdefault(dim.name, dim) is not dim:
                raise ShapeError(f"compile: two dimensions of different bounds are called {dim.name!r}")
            if not is_free(dim.name):
                raise ShapeError(f"compile: a dimension cannot be called {dim.name!r}, which C has a use for")


def program_dims(program: Program) -> list[sizes.Dim]:
    """The run-time dimensions of inputs and outputs, in the order in which these name them."""
    found: dict[sizes.Dim, None] = {}
    for node in (*program.inputs, *program.outputs):
        for extent in node.shape:
            found.update(dict.fromkeys(sizes.dims_of(extent)))
    return list(found)


def program_signature(program: Program, structure: Any) -> Signature:
    """The signature of a program that no artifact stands for."""

    def param(name: str, role: str, node: Node) -> Param:
        return Param(name, role, str(node.dtype), tuple(n if isinstance(n, int) else str(n) for n in node.shape), name)

    return Signature(
        program.name,
        tuple(param(n["token"].name, "input", n) for n in program.inputs),
        tuple(param(f"out{k}", "output", n) for k, n in enumerate(program.outputs)),
        tuple(DimSpec(d.name, d.min, d.max) for d in program_dims(program)),
        structure,
    )


def watched_arrays(watch: Any) -> dict[str, Any]:
    """What `watch` asks for, by name."""
    if isinstance(watch, Mapping):
        pairs = list(watch.items())
    else:
        arrays = [watch] if isinstance(watch, Array) else checks.sequence("watch", watch, kind=GraphError)
        pairs = [(x.name if isinstance(x, Array) else None, x) for x in arrays]
    for name, x in pairs:
        if not isinstance(x, Array):
            raise refuse(GraphError, f"watch: an array is expected, got {x!r}")
        if not isinstance(name, str):
            raise complain(GraphError, "watch: the array has no name; set its `name` or give a dict, name → array", x)
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(n for n, x in pairs if found[n] is not x)
        raise complain(GraphError, f"watch: two arrays are called {name!r}", *(x for n, x in pairs if n == name))
    return found
