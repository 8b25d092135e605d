"""State that hangs on results: updates of variables which whatever is computed from a result brings along.

A layer that keeps statistics, or a key of random numbers, returns `carry(y, {variable: new value})`. This is a node
whose value is y and whose other operands are the variables and their new values. Functions that reach it when they are
compiled perform the updates; `released` takes the nodes themselves out of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import DTypeError, GraphError, ShapeError
from ..graph.control import bodies, toposort_deep
from ..graph.node import Node, make, toposort, type_text
from ..graph.substitute import substitute
from .array import Array
from .explain import complain
from .lift import wrap

Pair = tuple[Node, Node]


def carry(x: Array, updates: Mapping[Array, Array]) -> Array:
    """x, from which `ad.compile` learns that functions of it also set each variable to its new value.

    Raises GraphError for what is no variable, ShapeError or DTypeError for a value that does not fit its variable.
    """
    pairs = []
    for variable, new in updates.items():
        if not isinstance(variable, Array) or variable.node.op.name != "variable":
            raise complain(GraphError, "what is updated along with a result must be a variable", variable)
        if new.shape != variable.shape or new.dtype != variable.dtype:
            kind = DTypeError if new.shape == variable.shape else ShapeError
            texts = f"{type_text(new.shape, new.dtype)} for {variable.describe()}"
            raise complain(kind, f"the new value of a variable does not fit it: {texts}", variable, new)
        pairs.append((variable.node, new.node))
    return wrap(carried(x.node, pairs), (x,))


def carried(node: Node, pairs: Sequence[Pair]) -> Node:
    """A node that brings the updates along; the node itself when there are none."""
    return make("carry", (node, *(part for pair in pairs for part in pair))) if pairs else node


def pending(roots: Iterable[Node]) -> list[Pair]:
    """(variable, new value) of all that the roots bring along, each pair once, in order of first use.

    Raises GraphError for state within the body of a loop, whose value ends with the iteration.
    """
    roots = list(roots)
    # Most graphs carry nothing, which shows sooner than an order of all their nodes.
    if not _reaches(roots):
        return []
    outside = set(toposort(roots))
    found: dict[Pair, None] = {}
    for node in toposort_deep(roots):
        if node.op.name != "carry":
            continue
        parts = node.inputs[1:]
        if node not in outside:
            text = f"the body of a loop would update {_label(parts[0])} in every iteration"
            raise complain(GraphError, f"{text}; call the layer outside, or with training=False")
        found.update(dict.fromkeys(zip(parts[::2], parts[1::2], strict=True)))
    return list(found)


def lifted(roots: Sequence[Node], params: Iterable[Node], label: str) -> tuple[list[Node], list[Pair]]:
    """The results of a loop's body without what they carry, and the updates, which the loop's own results can carry.

    Raises GraphError for a new value that depends on the body's parameters: it ends with the iteration.
    """
    pairs = pending(roots)
    if not pairs:
        return list(roots), []
    inner = set(params)
    for node in toposort(new for _, new in pairs):
        if any(i in inner for i in node.inputs):
            inner.add(node)
    for variable, new in pairs:
        if new in inner:
            text = f"{label} would update {_label(variable)} in every iteration"
            raise complain(GraphError, f"{text}; call the layer outside, or with training=False")
    return substitute(roots, {}, transparent="carry"), pairs


def _reaches(roots: Sequence[Node]) -> bool:
    """Whether the roots or the bodies of loops that they depend on carry something."""
    seen, stack = set(roots), list(roots)
    while stack:
        node = stack.pop()
        if node.op.name == "carry":
            return True
        inner = [o for body in bodies(node) for o in body.outputs] if node.op.kind == "control" else ()
        for i in (*node.inputs, *inner):
            if i not in seen:
                seen.add(i)
                stack.append(i)
    return False


def _label(variable: Node) -> str:
    return f'"{variable["token"].name}"' if variable.op.name == "variable" else "a variable"


def released(roots: Sequence[Node], explicit: Iterable[Node], wanted: bool) -> tuple[list[Node], list[Pair]]:
    """The roots without what they carry, and the updates that they brought along if these are `wanted`.

    Variables in `explicit` have updates already, which stand. Where one variable has several, as when a layer is used
    twice, each reads what the one before it in the graph writes.
    """
    pairs = pending(roots)
    if not pairs:
        return list(roots), []
    fixed = set(explicit)
    latest: dict[Node, Node] = {}
    for variable, new in pairs if wanted else ():
        if variable not in fixed:
            before = latest.get(variable)
            latest[variable] = new if before is None else substitute([new], {variable: before})[0]
    nodes = substitute([*roots, *latest.values()], {}, transparent="carry")
    return nodes[: len(roots)], list(zip(latest, nodes[len(roots) :], strict=True))
