"""Numbers so small that they no longer count, but would be computed with slowly: subnormal ones, which take processors
a hundred times as long."""

from __future__ import annotations

import numpy as np

from ..graph import build as b
from ..graph.node import Node
from .engine import Rule, Uses
from .stability import holds_maximum

_NEAR = 16


def _divided_by_total(x: Node, e: Node) -> bool:
    """Whether a factor is a quotient by a sum in which e is one term, spread out or chosen from."""
    stack = [x]
    for _ in range(_NEAR):
        if not stack:
            return False
        node = stack.pop()
        name = node.op.name
        if name == "divide":
            total = node.inputs[1]
            while total.op.name in ("broadcast", "reshape", "where"):
                total = total.inputs[2 if total.op.name == "where" else 0]
            if total.op.name == "sum" and total.inputs[0] is e:
                return True
            stack.append(node.inputs[0])
        elif name in ("broadcast", "reshape", "negative", "multiply"):
            stack.extend(node.inputs)
        elif name == "where":
            stack.extend(node.inputs[1:])
    return False


def _share(node: Node, uses: Uses) -> Node | None:
    """(t / Σ e) · e, the derivative of log Σ e: of a shifted e, the greatest of which is 1, what is subnormal is 0."""
    for e, other in (node.inputs, node.inputs[::-1]):
        if e.op.name == "exp" and holds_maximum(e.inputs[0]) and _divided_by_total(other, e):
            least = float(np.finfo(e.dtype).smallest_normal)
            return b.mul(other, b.where(b.less(e, least), 0, e))  # type: ignore[no-any-return]
    return None


RULES = (Rule("subnormal-share", "rounding", ("multiply",), _share, phase=1),)
