"""Calls give way to their bodies: what they meant to differentiation is done."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import sites
from ..graph.control import CALL, ITEM, Body, toposort_deep
from ..graph.node import Node, make, toposort
from ..graph.program import Program
from ..graph.substitute import substitute


def inline_calls(program: Program) -> Program:
    """The program without calls; the same object if there are none."""
    if not any(node.op is CALL for node in toposort_deep(program.roots)):
        return program
    roots = list(program.roots)
    return program.replaced(dict(zip(roots, _inlined(roots, {}), strict=True)))


def _inlined(roots: Sequence[Node], known: dict[Body, Body]) -> list[Node]:
    """Bodies first, each once: recursion follows the nesting of loops and calls, not the graph."""
    new: dict[Node, Node] = {}
    results: dict[Node, list[Node]] = {}
    order = toposort(roots)
    read: dict[Node, list[int]] = {}
    for node in order:
        if node.op is ITEM and node.inputs[0].op is CALL:
            read.setdefault(node.inputs[0], []).append(node["number"])
    # What one recomputation is for is finished before the next begins, or all would be held at once.
    before: list[Node] = []
    for node in order:
        if node.op is CALL:
            results[node] = _called(node, [new[i] for i in node.inputs], before, known)
            if node["kind"] == "recompute":
                before = [results[node][k] for k in read.get(node, ())]
            new[node] = node
            continue
        if node.op is ITEM and node.inputs[0] in results:
            new[node] = results[node.inputs[0]][node["number"]]
            continue
        inputs = tuple(new[i] for i in node.inputs)
        attrs = tuple(_free_of_calls(a, known) if isinstance(a, Body) else a for a in node.attrs)
        if inputs == node.inputs and attrs == node.attrs:
            new[node] = node
            continue
        with sites.at(node.sites, node.stems_from):
            new[node] = make(node.op, inputs, *attrs)
    return [new[r] for r in roots]


def _free_of_calls(body: Body, known: dict[Body, Body]) -> Body:
    if body not in known:
        known[body] = Body(body.params, _inlined(body.outputs, known))
    return known[body]


def _called(node: Node, operands: list[Node], before: Sequence[Node], known: dict[Body, Body]) -> list[Node]:
    """The results of a call. Those of a recomputation wait for its cotangents, and for what is `before`."""
    if node["kind"] == "recompute":
        # Of other operands than the forward run's, so that interning does not make the two runs one.
        triggers = dict.fromkeys([*(operands[k] for k in node["places"]), *before])
        with sites.at(node.sites, node.stems_from):
            operands[: node["n_args"]] = [make("after", (x, *triggers)) for x in operands[: node["n_args"]]]
    body = _free_of_calls(node["body"], known)
    values = dict(zip(body.params, operands, strict=True))
    return substitute(body.outputs, values, stem=node.stems_from)
