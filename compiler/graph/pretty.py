"""Programs as text: one aligned, typed line a node, in the order in which the graph is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import sites
from .control import Body, bodies
from .node import Literal, Node, Token, describe, toposort, type_text
from .program import Program

_LABELS = "ijklmnopqrstuvwxyzabcdefgh"
_SITES_SHOWN = 4
_VALUES_SHOWN = 16
# Beyond these widths a cell no longer pushes the columns of all other lines to the right.
_TYPE_WIDTH, _EXPRESSION_WIDTH = 36, 64


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a dump and the node that it shows (None for headings)."""

    node: Node | None
    text: str


class _Dump:
    """Without `appended`, what differentiation made is not opened: a node of it that the user's own nodes take is one
    line that says so."""

    def __init__(self, appended: bool = True) -> None:
        self.appended = appended
        self.rows: list[tuple[Node | None, int, str, str, str, str]] = []
        self.files: dict[str, str] = {}
        self.numbers: dict[Node, int] = {}
        self.count = 0

    def heading(self, text: str, depth: int = 0, node: Node | None = None) -> None:
        self.rows.append((node, depth, text, "", "", ""))

    def region(self, roots: Sequence[Node], first: Iterable[Node], depth: int) -> Mapping[Node, Any]:
        """The lines of one level: the leaves in `first`, then everything that the roots need."""
        order = list(dict.fromkeys([*first, *toposort(roots, self.closed)]))
        constants = _constants(order)
        needed = _shown(order, roots, constants, self.closed)
        shown = [node for node in order if node in needed]
        # Numbered ahead of printing, so that a graph with a cycle can still be shown.
        for node in shown:
            self.numbers[node] = self.count
            self.count += 1
        for node in shown:
            closed = self.closed(node)
            inner = [] if closed else bodies(node)
            expression = "derivative" if closed else self.expression(node, constants)
            self.rows.append(
                (node, depth, f"%{self.numbers[node]}", _typed(node), f"= {expression}", self.comment(node))
            )
            for number, body in enumerate(inner):
                self.body(body, depth + 1, node)
                self.heading("}" if number == len(inner) - 1 else "} {", depth, node)
        return constants

    def closed(self, node: Node) -> bool:
        return not self.appended and node.stems_from is not None

    def body(self, body: Body, depth: int, loop: Node) -> None:
        """Equal bodies and parameters are shared between loops, and get numbers of their own in each."""
        outer = {node: self.numbers.get(node) for node in [*body.params, *toposort(body.outputs)]}
        constants = self.region(body.outputs, body.params, depth)
        results = ", ".join(self.reference(o, constants) for o in body.outputs)
        self.heading(f"yield {results}", depth, loop)
        for node, number in outer.items():
            if number is None:
                self.numbers.pop(node, None)
            else:
                self.numbers[node] = number

    def reference(self, node: Node, constants: Mapping[Node, Any]) -> str:
        if node in self.numbers:
            return f"%{self.numbers[node]}"
        return _number(constants[node]) if node in constants else "%?"

    def expression(self, node: Node, constants: Mapping[Node, Any]) -> str:
        operands = [
            _number(constants[i]) if i in constants and _prints_inline(node) else self.reference(i, constants)
            for i in node.inputs
        ]
        try:
            return _SPECIAL.get(node.op.name, _plain)(node, operands)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            # A malformed node is what dumps are read for, so it is printed for what it holds.
            return " ".join([node.op.name, ", ".join(operands), *map(_attribute, node.attrs)])

    def comment(self, node: Node) -> str:
        parts = []
        places = [self.place(s) for s in node.sites[:_SITES_SHOWN]]
        if len(node.sites) > _SITES_SHOWN:
            places.append(f"+{len(node.sites) - _SITES_SHOWN} more")
        if places:
            parts.append(", ".join(places))
        if node.stems_from is not None:
            number = self.numbers.get(node.stems_from)
            parts.append(f"d %{number}" if number is not None else f"d {node.stems_from.op.name}")
        return "# " + "  ".join(parts) if parts else ""

    def place(self, site: sites.Site) -> str:
        if site.file not in self.files:
            self.files[site.file] = sites.relative(site.file)
        return f"{self.files[site.file]}:{site.line}" + (f" in {site.scope}" if site.scope else "")

    def lines(self) -> list[Line]:
        """Aligns the columns, each level of nesting for itself."""
        widths: dict[int, list[int]] = {}
        for _, depth, number, typed, expression, _ in self.rows:
            if expression:
                w = widths.setdefault(depth, [0, 0, 0])
                w[0] = max(w[0], len(number))
                w[1] = max(w[1], min(len(typed), _TYPE_WIDTH))
                w[2] = max(w[2], min(len(expression), _EXPRESSION_WIDTH))
        result = []
        for node, depth, number, typed, expression, comment in self.rows:
            indent = "  " + "    " * depth
            if expression:
                a, b, c = widths[depth]
                text = f"{indent}{number:<{a}}  {typed:<{b}}  {expression:<{c}}  {comment}"
            else:
                text = indent + number
            result.append(Line(node, text.rstrip()))
        return result


def _constants(order: Iterable[Node]) -> dict[Node, Any]:
    """The nodes that hold one number everywhere: literals, under broadcasts and reshapes."""
    found: dict[Node, Any] = {}
    for node in order:
        if node.op.name == "literal" and node.attrs:
            found[node] = node.attrs[0]
        elif node.op.name in ("broadcast", "reshape") and node.inputs and node.inputs[0] in found:
            found[node] = found[node.inputs[0]]
    return found


def _prints_inline(user: Node) -> bool:
    """Whether a constant operand of this node has the type of the others, so that its number says everything."""
    name = user.op.name
    return (user.op.kind == "elementwise" and name not in ("cast", "check_index")) or name in ("pad", "broadcast")


def _shown(
    order: Sequence[Node], roots: Iterable[Node], constants: Mapping[Node, Any], closed: Callable[[Node], bool]
) -> set[Node]:
    """All nodes but the constants that appear as numbers only."""
    shown = {node for node in order if node not in constants}
    shown.update(roots)
    for node in reversed(order):
        if node in shown and not _prints_inline(node) and not closed(node):
            shown.update(node.inputs)
    return shown


def _typed(node: Node) -> str:
    token = node.attrs[0] if node.attrs and isinstance(node.attrs[0], Token) else None
    try:
        text = describe(node)
    except (TypeError, ValueError):
        text = f"{node.dtype}{node.shape}"
    return f"{token.name}: {text}" if token is not None else text


def _number(value: Any) -> str:
    return repr(value)


def _attribute(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_attribute, value)) + "]"
    if isinstance(value, Literal):
        return _data(value)
    return str(value)


def _data(value: Literal) -> str:
    array = value.array
    if array.size <= _VALUES_SHOWN:
        return str(array.tolist())
    digest = value.content.hex()[:16]
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    span = f" min={finite.min()} max={finite.max()}" if finite.size and array.dtype.kind != "b" else ""
    return f"<{type_text(array.shape, array.dtype)} {digest}{span}>"


def _join(name: str, operands: Sequence[str], attributes: Sequence[str] = ()) -> str:
    return " ".join(part for part in (name, ", ".join(operands), *attributes) if part)


def _plain(node: Node, operands: Sequence[str]) -> str:
    named = zip(node.op.attrs, node.attrs, strict=True)
    return _join(node.op.name, operands, [f"{name}={_attribute(value)}" for name, value in named])


def _leaf(node: Node, operands: Sequence[str]) -> str:
    return node.op.name


def _param(node: Node, operands: Sequence[str]) -> str:
    return f"param depth={node['depth']} position={node['position']}"


def _shape_known(node: Node, operands: Sequence[str]) -> str:
    """Attributes that repeat the type on the left are left out."""
    named = [
        f"{name}={_attribute(value)}"
        for name, value in zip(node.op.attrs, node.attrs, strict=True)
        if name not in ("shape", "dtype")
    ]
    return _join(node.op.name, operands, named)


def _literal(node: Node, operands: Sequence[str]) -> str:
    return _join("literal", [_number(node["value"])])


def _constant(node: Node, operands: Sequence[str]) -> str:
    return f"constant {_data(node['data'])}"


def _label(number: int) -> str:
    return _LABELS[number] if number < len(_LABELS) else f"i{number}"


def _subscript(axes: Sequence[Any]) -> str:
    result = []
    for terms, offset, divisor in axes:
        parts = [_label(k) if c == 1 else f"{c}*{_label(k)}" for k, c in terms]
        if offset != 0 or not parts:
            parts.append(str(offset))
        text = " + ".join(parts).replace("+ -", "- ")
        result.append(text if divisor == 1 else f"({text})/{divisor}")
    return "[" + ", ".join(result) + "]"


def _contract(node: Node, operands: Sequence[str]) -> str:
    """`contract %0[i, k], %1[k, j] -> [i, j] sum k<784`."""
    extents, n_out = node["extents"], node["n_out"]
    a, b = operands
    summed = ", ".join(f"{_label(k)}<{extents[k]}" for k in range(n_out, len(extents)))
    text = f"contract {a}{_subscript(node['a_map'])}, {b}{_subscript(node['b_map'])}"
    text += " -> [" + ", ".join(_label(k) for k in range(n_out)) + "]"
    return f"{text} sum {summed}" if summed else text


def _loop(node: Node, operands: Sequence[str]) -> str:
    named = zip(node.op.attrs, node.attrs, strict=True)
    rest = [f"{name}={_attribute(value)}" for name, value in named if not isinstance(value, Body)]
    return _join(node.op.name, operands, [*rest, "{"])


_SPECIAL = {
    "input": _leaf,
    "variable": _leaf,
    "param": _param,
    "literal": _literal,
    "constant": _constant,
    "iota": _shape_known,
    "extent": lambda node, operands: f"extent {node['extent']}",
    "broadcast": _shape_known,
    "reshape": _shape_known,
    "cast": _shape_known,
    "contract": _contract,
    "scan": _loop,
    "while": _loop,
    "cond": _loop,
    "call": _loop,
}


def dump_lines(program: Program, *, appended: bool = True) -> list[Line]:
    """The lines of `dump_program`, each with its node."""
    dump = _Dump(appended)
    variables = program.variables
    constants = dump.region(program.roots, [*program.inputs, *variables], 0)
    body = dump.lines()
    arguments = ", ".join(f"{dump.reference(i, constants)} {_typed(i)}" for i in program.inputs)
    head = [Line(None, f"{program.name}({arguments})")]
    if variables:
        held = ", ".join(f"{dump.reference(v, constants)} {_typed(v)}" for v in variables)
        head.append(Line(None, f"  variables {held}"))
    outputs = ", ".join(dump.reference(o, constants) for o in program.outputs)
    tail = [Line(None, f"  return {outputs}".rstrip())]
    for variable, value in program.updates:
        name = variable.attrs[0].name if variable.attrs and isinstance(variable.attrs[0], Token) else "?"
        target = dump.reference(variable, constants)
        tail.append(Line(variable, f"  update {target} {name} = {dump.reference(value, constants)}"))
    return [*head, *body, *tail]


def dump_program(program: Program, *, appended: bool = True) -> str:
    """The program as text: arguments, variables, one line a node, results and updates.

    Without `appended`, only what the user wrote: a derivative that it uses is one line, which names the operation that
    the derivative belongs to, and how it is computed is left to the full text.
    """
    return "\n".join(line.text for line in dump_lines(program, appended=appended)) + "\n"


def context(program: Program, node: Node, lines: int = 10) -> str:
    """The lines of the dump around a node, which is marked."""
    shown = dump_lines(program)
    at = next((k for k, line in enumerate(shown) if line.node is node), None)
    if at is None:
        return "\n".join(line.text for line in shown[:lines])
    first = max(0, min(at - lines // 2, len(shown) - lines))
    rows = shown[first : first + lines]
    return "\n".join(("> " if first + k == at else "  ") + line.text for k, line in enumerate(rows))
