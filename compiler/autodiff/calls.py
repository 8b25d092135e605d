"""Both modes through calls: rules that users give, and what is computed again in place of being kept.

A rule for cotangents is linear in them, and its transpose is the rule for tangents, so one declaration serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import GradientError
from ..graph import build as b
from ..graph import dtypes
from ..graph.control import Body, item
from ..graph.node import Node, Token, make, operand_lines, toposort
from ..graph.substitute import substitute
from .iteration import Params

Parts = list[Node | None]


def call_cotangents(node: Node, given: Mapping[int, Node], wanted: set[Node]) -> Parts:
    """Cotangents of a call's inputs, for cotangents of some results by number; None where an input needs none."""
    active = [k for k, x in enumerate(node.inputs) if x in wanted and dtypes.is_float(x.dtype)]
    if node["rule"] is None:
        return _recomputed(node, given, active)
    _refuse_closed(node, active)
    if node["kind"] == "linear":
        return _transposed(node, given)
    return _pulled(node, given, active)


def call_tangents(node: Node, given: Mapping[int, Node]) -> Parts:
    """Tangents of all results of a call for tangents of some inputs, by position."""
    if node["rule"] is None:
        return _alongside(node, given)
    _refuse_closed(node, list(given))
    if node["kind"] == "linear":
        return _applied(node, given)
    return _pushed(node, given)


def _refuse_closed(node: Node, active: Sequence[int]) -> None:
    """A rule says nothing of what its function closes over."""
    beyond = [k for k in active if k >= node["n_args"]]
    read = set(toposort(node["body"].outputs)) if beyond else ()
    closed = [node.inputs[k] for k in beyond if node["body"].params[k] in read]
    if closed:
        text = "a function with its own rule closes over what is differentiated by; make that an argument, or detach it"
        raise GradientError(text + operand_lines(["closed over"] * len(closed), closed))


def _transposed(node: Node, given: Mapping[int, Node]) -> Parts:
    n = node["n_args"]
    bars = [_or_zeros(given.get(k), o) for k, o in enumerate(node["body"].outputs)]
    back = make("call", (*bars, *node.inputs[n:]), node["rule"], node["body"], "linear", len(bars), ())
    return [*(item(back, k) for k in range(n)), *(None,) * (len(node.inputs) - n)]


def _applied(node: Node, given: Mapping[int, Node]) -> Parts:
    n = node["n_args"]
    dots = [_or_zeros(given.get(k), x) for k, x in enumerate(node.inputs[:n])]
    along = make("call", (*dots, *node.inputs[n:]), *node.attrs)
    return [item(along, k) for k in range(len(node["body"].outputs))]


def ruled(node: Node) -> int:
    """How many results of a call with a custom rule the user has; the others are saved for the rule."""
    return len(node["rule"].params) - len(node.inputs) - len(node["body"].outputs)


def _rule_applied(node: Node, bars: Sequence[Node]) -> Parts:
    """Cotangents of all inputs, as the user's rule gives them for cotangents of the results that the user has."""
    rule, results = node["rule"], [item(node, k) for k in range(len(node["body"].outputs))]
    values = dict(zip(rule.params, [*node.inputs, *results, *bars], strict=True))
    parts: Parts = [None] * len(node.inputs)
    for k, part in zip(node["places"], substitute(rule.outputs, values, stem=node), strict=True):
        parts[k] = part
    return parts


def _pulled(node: Node, given: Mapping[int, Node], active: Sequence[int]) -> Parts:
    n = ruled(node)
    bars = {k: g for k, g in given.items() if k < n}
    saved = {k: g for k, g in given.items() if k >= n}
    through: Parts = [None] * len(node.inputs)
    if saved:
        inner = _Saved(node)
        marks = [inner.params.like(inner.outputs[k]) for k in saved]
        sources = [*(node["body"].params[k] for k in active), *inner.results]
        from .reverse import vjp

        found = vjp([inner.outputs[k] for k in saved], sources, marks)
        parts = inner.outside(found, dict(zip(marks, saved.values(), strict=True)))
        for k, part in zip(active, parts, strict=False):
            through[k] = part
        for k, part in enumerate(parts[len(active) :]):
            if part is not None:
                bars[k] = b.add(bars[k], part) if k in bars else part
    if not bars:
        return through
    direct = _rule_applied(node, [_or_zeros(bars.get(k), node["body"].outputs[k]) for k in range(n)])
    return [d if t is None else t if d is None else b.add(d, t) for d, t in zip(direct, through, strict=True)]


def _pushed(node: Node, given: Mapping[int, Node]) -> Parts:
    """Source of the double transposition: Radul et al., You Only Linearize Once (2023), read from right to left."""
    from .forward import jvp
    from .reverse import vjp

    outputs, n = node["body"].outputs, ruled(node)
    bars = [make("input", (), Token("cotangent"), o.shape, o.dtype) for o in outputs[:n]]
    parts = _rule_applied(node, bars)
    pairs = [(part, given[k]) for k, part in enumerate(parts) if part is not None and k in given]
    known = frozenset((*node.inputs, node))
    tangents = vjp([p for p, _ in pairs], bars, [t for _, t in pairs], known)
    marks = set(bars)
    for x in toposort([t for t in tangents if t is not None], stop=known.__contains__):
        if x in marks:
            text = "a rule for cotangents that is not linear in them has no forward mode"
            raise GradientError(text + operand_lines(("call",), (node,)))
    if n == len(outputs):
        return tangents
    inner = _Saved(node)
    sources: dict[Node, Node] = {node["body"].params[k]: t for k, t in given.items()}
    sources.update({r: t for r, t in zip(inner.results, tangents, strict=True) if t is not None})
    dots = {inner.params.like(x): t for x, t in sources.items()}
    found = jvp(inner.outputs[n:], list(sources), list(dots))
    return [*tangents, *inner.outside(found, dots)]


class _Saved:
    """What a call saves for its rule, as a function of its parameters and of results: those have the user's rule."""

    def __init__(self, node: Node) -> None:
        self.node, body, n = node, node["body"], ruled(node)
        self.params = Params(body)
        self.results = [self.params.like(o) for o in body.outputs[:n]]
        self.inner = dict(zip(body.outputs[:n], self.results, strict=True))
        # A result that is a parameter as it came stays the parameter.
        self.outputs = substitute(body.outputs, {o: r for o, r in self.inner.items() if o not in body.params})

    def outside(self, parts: Sequence[Node | None], more: Mapping[Node, Node]) -> Parts:
        """Parts made of parameters in terms of the call's inputs and results."""
        values = dict(zip(self.node["body"].params, self.node.inputs, strict=True))
        values.update({r: item(self.node, k) for k, r in enumerate(self.results)})
        values.update(more)
        found = iter(substitute([p for p in parts if p is not None], values, stem=self.node))
        return [None if p is None else next(found) for p in parts]


def _recomputed(node: Node, given: Mapping[int, Node], active: Sequence[int]) -> Parts:
    """The reverse of a checkpoint is a call that holds the forward computation as well."""
    from .reverse import vjp

    body, params = node["body"], Params(node["body"])
    bars = {k: params.like(body.outputs[k]) for k in given}
    found = vjp([body.outputs[k] for k in bars], [body.params[k] for k in active], list(bars.values()))
    kept = [k for k, part in zip(active, found, strict=True) if part is not None]
    inner = Body((*body.params, *bars.values()), [part for part in found if part is not None])
    n = len(node.inputs)
    again = make("call", (*node.inputs, *given.values()), inner, None, "recompute", n, tuple(range(n, n + len(bars))))
    return [item(again, kept.index(k)) if k in kept else None for k in range(n)]


def _alongside(node: Node, given: Mapping[int, Node]) -> Parts:
    """Tangents by a call of its own; what it shares with the original is computed once."""
    from .forward import jvp

    body, params = node["body"], Params(node["body"])
    dots = {k: params.like(body.params[k]) for k in given}
    found = jvp(body.outputs, [body.params[k] for k in dots], list(dots.values()))
    kept = [k for k, part in enumerate(found) if part is not None]
    inner = Body((*body.params, *dots.values()), [part for part in found if part is not None])
    inputs = (*node.inputs, *given.values())
    n_args = node["n_args"] if node["kind"] == "recompute" else len(inputs)
    beside = make("call", inputs, inner, None, node["kind"], n_args, node["places"])
    return [item(beside, kept.index(k)) if k in kept else None for k in range(len(found))]


def _or_zeros(node: Node | None, like: Node) -> Node:
    return b.zeros_like(like) if node is None else node
