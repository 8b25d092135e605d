"""Trees of values: tuples, lists and dicts, nested; everything else is a leaf."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# A hashable description: "leaf", or (kind, keys, parts).
Structure = Any
LEAF = "leaf"


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Leaves in order, and the structure that `unflatten` puts them back into."""
    if isinstance(tree, dict):
        parts = [flatten(v) for v in tree.values()]
        kind: Any = ("dict", tuple(tree))
    elif isinstance(tree, tuple):
        parts = [flatten(v) for v in tree]
        kind = ("tuple", type(tree) if hasattr(tree, "_fields") else None)
    elif isinstance(tree, list):
        parts, kind = [flatten(v) for v in tree], ("list", None)
    else:
        return [tree], LEAF
    return [leaf for leaves, _ in parts for leaf in leaves], (*kind, tuple(s for _, s in parts))


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    return _build(structure, iter(leaves))


def _build(structure: Structure, leaves: Iterator[Any]) -> Any:
    if structure == LEAF:
        return next(leaves)
    kind, extra, parts = structure
    values = [_build(p, leaves) for p in parts]
    if kind == "dict":
        return dict(zip(extra, values, strict=True))
    if kind == "list":
        return values
    return extra(*values) if extra is not None else tuple(values)
