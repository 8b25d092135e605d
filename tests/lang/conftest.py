"""Evaluates handles on the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from adjoint.graph.interp import evaluate
from adjoint.graph.node import toposort


def run(outputs: Any, values: Mapping[Any, Any] | None = None, dims: Any = None) -> Any:
    """Values of one handle, or of a list of them; variables have their own value unless another is given."""
    many = isinstance(outputs, (list, tuple))
    nodes = [o.node for o in (outputs if many else [outputs])]
    leaves = {n: n["token"].storage.array for n in toposort(nodes) if n.op.name == "variable"}
    leaves.update({k.node: v for k, v in (values or {}).items()})
    results = evaluate(nodes, leaves, dims)
    return results if many else results[0]


@pytest.fixture(name="run")
def _run() -> Callable[..., Any]:
    return run
