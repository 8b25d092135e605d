"""The C of a few small graphs, as it was when somebody last read it: `pytest --update-golden` writes it anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from programs import _program, convolution, mlp, recurrence

import adjoint as ad
from adjoint.graph.program import Program
from adjoint.pipeline import compile_program
from adjoint.runtime.target import TARGETS

FOLDER = Path(__file__).parent.parent / "golden"


def scale() -> Program:
    x = ad.input("x", ("n", 5))
    return _program("scale", [x], [ad.relu(x * 2.0 + 1.0)])


def softmax() -> Program:
    x = ad.input("x", (8, 20))
    return _program("softmax", [x], [ad.softmax(x, axis=-1)])


def dense() -> Program:
    x, w, v = ad.input("x", (33, 20)), ad.input("w", (20, 17)), ad.input("v", (17,))
    return _program("dense", [x, w, v], [ad.relu(x @ w + v)])


@pytest.mark.parametrize("make", [scale, softmax, dense, mlp, convolution, recurrence], ids=lambda f: f.__name__)
def test_the_c_is_as_it_was(make: Callable[[], Program], request: pytest.FixtureRequest) -> None:
    """Kernels and entry function only: what precedes them in the file has tests of its own."""
    (unit,) = compile_program(make(), TARGETS["x86-64-v3"], split=False).artifact.units
    text = unit.text[unit.text.index("#endif\n\n", unit.text.index("#define KERNEL\n")) + 8 :]
    path = FOLDER / f"{make.__name__}.c"
    if request.config.getoption("--update-golden"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), "the C has changed; if that is meant, run pytest --update-golden and read the diff"
