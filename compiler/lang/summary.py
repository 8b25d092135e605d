"""A model as a table."""

from __future__ import annotations

import math
from typing import Any

from ..errors import GraphError
from ..graph.node import Node, type_text
from .array import Array
from .explain import complain
from .module import Module, recorded
from .tree import flatten


def summary(model: Module, *args: Any, **kwargs: Any) -> str:
    """What each module of a model returns for symbolic arguments, and how many parameters it holds itself.

    `print(ad.nn.summary(model, ad.input("x", ("batch", 784))))`. Nothing is compiled or run; `kwargs` go to the call.
    A module that is called twice has two lines, of which the second counts no parameters.
    """
    if not isinstance(model, Module):
        raise complain(GraphError, "summary: the model must be a module", model)
    paths = {id(m): path for path, m in model.named_modules().items()}
    seen: set[Node] = set()
    rows = [("layer", "kind", "output", "parameters")]
    calls = recorded(model, *args, **kwargs)
    for module, result in calls:
        own = 0
        for _, v in module._children():
            if isinstance(v, Array) and v.requires_grad and v.node not in seen:
                seen.add(v.node)
                own += math.prod(map(int, v.shape))
        leaves = [leaf for leaf in flatten(result)[0] if isinstance(leaf, Array)]
        texts = ", ".join(type_text(leaf.shape, leaf.dtype) for leaf in leaves)
        rows.append((paths.get(id(module), "") or "(whole)", type(module).__name__, texts, f"{own:,}"))
    rows.append(("total", "", "", f"{model.parameter_count():,}"))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    return "\n".join(
        "  ".join([*(f"{text:<{w}}" for text, w in zip(row, widths[:3], strict=False)), f"{row[3]:>{widths[3]}}"])
        for row in rows
    )
