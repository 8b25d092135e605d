"""Tables of misuses: what each of them raises, and what every error of the family has to say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import adjoint as ad

# What else an error of the family is, so that code which knows nothing of the package catches it.
ALSO = {
    ad.ShapeError: ValueError,
    ad.DTypeError: TypeError,
    ad.GraphError: ValueError,
    ad.SymbolicError: TypeError,
    ad.GradientError: ValueError,
    ad.CompileError: RuntimeError,
    ad.ExecutionError: RuntimeError,
}


@dataclass(frozen=True)
class Misuse:
    """`call` raises `error` itself, not a subclass; the first fragment (a regular expression) occurs in the first line
    of the message, the others anywhere."""

    name: str
    call: Callable[..., Any]
    error: type[ad.AdjointError]
    fragments: tuple[str, ...]


def misuse(name: str, call: Callable[..., Any], error: type[ad.AdjointError], *fragments: str) -> Misuse:
    assert fragments, "an error has something to say"
    return Misuse(name, call, error, fragments)


def table(cases: list[Misuse]) -> pytest.MarkDecorator:
    """Parametrises a test by `case`."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two misuses have one name"
    return pytest.mark.parametrize("case", cases, ids=names)


def check_raises(case: Misuse, *args: Any) -> tuple[str, str]:
    """Runs a misuse and checks its error; returns the message, and the user's innermost line in the case's file."""
    file = case.call.__code__.co_filename
    with pytest.raises(ad.AdjointError) as caught:
        case.call(*args)
    error, text = caught.value, str(caught.value)
    assert type(error) is case.error, text
    assert isinstance(error, ALSO[case.error])
    first, *rest = case.fragments
    assert re.search(first, text.splitlines()[0]), text
    for fragment in rest:
        assert re.search(fragment, text), f"{fragment} is missing in:\n{text}"
    # Nobody wants to read about the package's own files.
    assert not re.search(r"adjoint/(lang|graph|runtime)|compiler/(lang|graph)|runtime/\w+\.py", text), text
    lines = [frame.lineno + 1 for frame in caught.traceback if str(frame.path) == file]
    assert lines, "the misuse is not in the file of its table"
    return text, f"{Path(file).name}:{lines[-1]}"


def check_built(case: Misuse) -> None:
    """A misuse while the graph is built: the message ends with the user's line, and says where arrays were made."""
    text, line = check_raises(case)
    last = text.splitlines()[-1]
    assert last.startswith("  raised by  "), text
    assert last.endswith(line), f"{line} is missing in:\n{text}"
    assert text.count("raised by") == 1, text
    file = line.partition(":")[0]
    for row in text.splitlines()[1:-1]:
        if re.match(r'  \w+ = (input|variable) "', row):
            assert re.search(rf"(float|int|uint|bool)\d*\[.*\] .*{file}:\d+$", row), text
