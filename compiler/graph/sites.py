"""Where in the user's program a node was made."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .node import Node

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The package may be installed in one folder or mapped from three beside each other.
_OWN = (_HERE + os.sep, os.path.join(os.path.dirname(_HERE), "runtime") + os.sep)


class Site(NamedTuple):
    """A line of the user's program, with the scope (path of named modules or loops) that was open there."""

    file: str
    line: int
    scope: str = ""

    def __str__(self) -> str:
        return f"{relative(self.file)}:{self.line}"

    def source(self) -> str:
        """The text of the line, empty when it cannot be read."""
        import linecache

        return linecache.getline(self.file, self.line).strip()


def relative(path: str) -> str:
    """The path relative to the working folder where it lies below it."""
    try:
        found = os.path.relpath(path)
    except ValueError:
        return path
    return path if found.startswith("..") else found


class _State(threading.local):
    sites: tuple[Site, ...] | None = None
    scope: str = ""
    stem: Node | None = None


_state = _State()


def here() -> tuple[Site, ...]:
    """The innermost line outside the package, or what `at` has put in its place."""
    if _state.sites is not None:
        return _state.sites
    frame = user_frame()
    return (Site(frame.f_code.co_filename, frame.f_lineno, _state.scope),)


def user_frame() -> FrameType:
    """The innermost frame outside the package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    return frame


def called() -> str:
    """What the user's line called, followed by a colon and a space; empty where that has no public name."""
    frame, below = sys._getframe(1), None
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN):
        frame, below = frame.f_back, frame
    if below is None:
        return ""
    path, own = below.f_code.co_qualname.split(".<locals>")[0], below.f_locals
    name = path.rpartition(".")[2]
    if name in ("__init__", "__call__", "__new__"):
        made = own["cls"] if name == "__new__" else own["self"]
        name = getattr(made, "__name__", type(made).__name__)
    elif name.startswith("__"):
        name = name.strip("_")
        name = name[1:] if name in _REFLECTED else name
    return "" if name.startswith("_") else f"{name}: "


_REFLECTED = frozenset("radd rsub rmul rtruediv rfloordiv rmod rpow rmatmul rand ror rxor rlshift rrshift".split())


def told(text: str) -> str:
    """The text of an error, followed by the user's line."""
    frame = user_frame()
    site = Site(frame.f_code.co_filename, frame.f_lineno)
    return f"{text}\n{RAISED_BY}{site.source()}  {site}"


RAISED_BY = "  raised by  "


def stem() -> Node | None:
    """The node whose derivative is being built, see `at`."""
    return _state.stem


class at:
    """Gives nodes made inside the block the sites of the node that they stem from, and that node as their stem.

    A class, since passes enter it once a node and a generator costs five times as much.
    """

    __slots__ = ("before", "found", "stem")

    def __init__(self, found: tuple[Site, ...], stem: Node | None = None) -> None:
        self.found, self.stem = found, stem

    def __enter__(self) -> at:
        self.before = _state.sites, _state.stem
        _state.sites, _state.stem = self.found, self.stem
        return self

    def move(self, found: tuple[Site, ...]) -> None:
        """Other sites for the rest of the block."""
        _state.sites = found

    def __exit__(self, *error: object) -> None:
        _state.sites, _state.stem = self.before


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Names a region of the user's program, such as a layer; nested names are joined by slashes."""
    before = _state.scope
    _state.scope = f"{before}/{name}" if before else name
    try:
        yield
    finally:
        _state.scope = before
