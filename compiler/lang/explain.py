"""Errors that name operands as the user's line does, and say where each was made."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import Any

import numpy as np

from ..errors import AdjointError
from ..graph.node import Node, type_text
from ..graph.sites import RAISED_BY, Site, called, told, user_frame

_LETTERS = "abcdefgh"


def _name_in(frame: FrameType, operand: object) -> str | None:
    """What the user's code calls this object, if it has a name of its own there."""
    for names in (frame.f_locals, frame.f_globals):
        for name, value in names.items():
            if value is operand and not name.startswith("__"):
                return name
    return None


def _row(operand: Any, name: str) -> tuple[str, str, str]:
    from .array import Array

    if isinstance(operand, Array):
        node, label, site = operand.node, operand.name, operand.site
        kind = f'{node.op.name} "{label}"' if label else node.op.name
        return f"{name} = {kind}", type_text(operand.shape, operand.dtype), str(site or "")
    if isinstance(operand, Node):
        where = str(operand.sites[0]) if operand.sites else ""
        return f"{name} = {operand.op.name}", type_text(operand.shape, operand.dtype), where
    if isinstance(operand, np.ndarray):
        return f"{name} = NumPy array", type_text(operand.shape, operand.dtype), ""
    text = repr(operand)
    return f"{name} = {text if len(text) <= 40 else text[:37] + '...'}", "", ""


def complain(kind: type[AdjointError], headline: str, *operands: Any, names: Sequence[str] = ()) -> AdjointError:
    """The error to raise: the headline, a line per operand, and the user's line.

    Operands are called what the user's frame calls them, else what `names` says.
    """
    frame = user_frame()
    given = [*names, *_LETTERS[len(names) : len(operands)]]
    rows = [_row(o, _name_in(frame, o) or n) for o, n in zip(operands, given, strict=False)]
    site = Site(frame.f_code.co_filename, frame.f_lineno)
    first = max((len(row[0]) for row in rows), default=0)
    lines = [(f"  {left:<{first}}  {middle}".rstrip(), where) for left, middle, where in rows]
    lines.append((f"{RAISED_BY}{site.source()}".rstrip(), str(site)))
    column = max(len(text) for text, where in lines if where) + 2
    return kind("\n".join([headline, *(f"{text:<{min(column, 100) - 2}}  {where}".rstrip() for text, where in lines)]))


def retell(error: AdjointError, *operands: Any) -> AdjointError:
    """An error of the graph, told again in the user's terms; as it is when that was done already."""
    if is_told(error):
        return error
    return complain(type(error), str(error).split("\n", 1)[0], *operands)


def is_told(error: AdjointError) -> bool:
    """Whether an error names the user's line."""
    return f"\n{RAISED_BY}" in str(error)


def located(error: AdjointError) -> AdjointError:
    """An error with the user's line at its end; as it is when that was done already."""
    return error if is_told(error) else type(error)(told(str(error)))


def refuse(kind: type[AdjointError], text: str, *operands: Any) -> AdjointError:
    """The error to raise for an argument: `complain` behind the name of what the user's line calls."""
    return complain(kind, called() + text, *operands)
