"""Checks of arguments that are plain values: ints, numbers, flags, choices, functions.

Every error names what the user's line called, the parameter, what it takes and what came.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import AdjointError, GraphError, ShapeError, SymbolicError
from .array import Array
from .explain import refuse


def is_whole(value: Any) -> bool:
    """Whether a value is an int (of Python or NumPy); bools are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a real number of Python or NumPy; bools are none."""
    return is_whole(value) or isinstance(value, (float, np.floating))


def whole(role: str, value: Any, *of: Any, least: int | None = None) -> int:
    """An int, of at least `least`. Raises ShapeError."""
    if not is_whole(value) or (least is not None and value < least) or not -(2**63) <= value < 2**63:
        bound = "" if least is None else f" of at least {least}"
        raise refuse(ShapeError, f"{role} must be an int{bound}, got {value!r}", *of)
    return int(value)


def number(
    role: str, value: Any, *of: Any, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> Any:
    """A real number that is greater than `above` and within `least` and `most`. Raises GraphError."""
    if not is_number(value) or not (value > above or above == -math.inf) or not least <= value <= most:
        bounds = (("greater than", above), ("at least", least), ("at most", most))
        text = " and ".join(f"{words} {bound:g}" for words, bound in bounds if math.isfinite(bound))
        raise refuse(GraphError, f"{role} must be a number{' ' if text else ''}{text}, got {value!r}", *of)
    return value


def flag(role: str, value: Any, *of: Any) -> bool:
    """True or False. Raises GraphError."""
    if not isinstance(value, (bool, np.bool_)):
        raise refuse(GraphError, f"{role} is True or False, got {value!r}", *of)
    return bool(value)


def choice(role: str, value: Any, known: Sequence[str], *of: Any, kind: type[AdjointError] = GraphError) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in known:
        *first, last = (f'"{word}"' for word in known)
        raise refuse(kind, f"{role} is {', '.join(first)} or {last}, got {value!r}", *of)
    return value


def sequence(role: str, value: Any, *of: Any, kind: type[AdjointError] = ShapeError) -> Sequence[Any]:
    """A list or tuple, or what can be made one; an array is none."""
    if isinstance(value, (Array, str)) or not isinstance(value, Iterable):
        raise refuse(kind, f"{role} must be a list or tuple, got {value!r}", *of)
    return value if isinstance(value, (list, tuple)) else list(value)


def function(role: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """A function that can be called with these arguments. Raises SymbolicError."""
    if not callable(fn):
        raise refuse(SymbolicError, f"{role} must be a function, got {fn!r}")
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # of some built-in functions
        return fn
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        called = f"{len(args)} argument{'' if len(args) == 1 else 's'}" if not kwargs else "these arguments"
        raise refuse(SymbolicError, f"{role} cannot be called with {called}: {error}") from None
    return fn
