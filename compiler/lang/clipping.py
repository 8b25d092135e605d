"""Gradients held within bounds. Trees of gradients (a list, a dict by variable) come back as the same tree."""

from __future__ import annotations

from typing import Any

from ..errors import GraphError
from . import arithmetic as ar
from . import reducing as rd
from .array import Array
from .explain import complain
from .lift import as_array, weak_kind
from .tree import flatten, unflatten


def _checked(name: str, role: str, bound: Any) -> None:
    if isinstance(bound, Array):
        if bound.shape != ():
            raise complain(GraphError, f"{name}: {role} is a number or a 0-d array", bound)
    elif weak_kind(bound) not in ("i", "f") or not bound > 0:
        raise complain(GraphError, f"{name}: {role} is a positive number or a 0-d array, got {bound!r}")


def _limit(bound: Any, g: Array) -> Any:
    return ar.astype(bound, g.dtype) if isinstance(bound, Array) else bound


def clip_by_value(gradients: Any, value: Any) -> Any:
    """Every element held within ±value, a number or a 0-d array; NaN stays NaN."""
    _checked("clip_by_value", "the value", value)
    leaves, structure = flatten(gradients)
    clipped = []
    for g in map(as_array, leaves):
        bound = _limit(value, g)
        clipped.append(ar.clip(g, -bound, bound))
    return unflatten(structure, clipped)


def global_norm(gradients: Any) -> Array:
    """The Euclidean norm of all elements of a tree of arrays, 0-d; derivative 0 at 0."""
    leaves, _ = flatten(gradients)
    total: Any = 0.0
    for g in map(as_array, leaves):
        total = ar.add(rd.sum(ar.multiply(g, g)), total)
    return rd.root(as_array(total))


def clip_by_global_norm(gradients: Any, max_norm: Any) -> tuple[Any, Array]:
    """(the gradients scaled down together so that their joint norm is at most `max_norm`, the norm before).

    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    _checked("clip_by_global_norm", "max_norm", max_norm)
    norm = global_norm(gradients)
    scale = ar.minimum(1, ar.divide(_limit(max_norm, norm), norm))
    leaves, structure = flatten(gradients)
    return unflatten(structure, [ar.multiply(g, ar.astype(scale, as_array(g).dtype)) for g in leaves]), norm
