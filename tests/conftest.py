"""Shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

# Helpers such as `randgraph` are imported by name, in importlib mode too.
sys.path.insert(0, str(Path(__file__).parent))


def _check_packages() -> None:
    """The folders are reached as `adjoint.…` only: under two names there would be two `Node` classes."""
    found = [name for name in ("compiler", "runtime") if name in sys.modules]
    if found:
        pytest.exit(f"imported under a folder's name instead of adjoint: {', '.join(found)}", returncode=3)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing comes from, or stays in, the user's cache."""
    before = os.environ.get("ADJOINT_CACHE_DIR")
    os.environ["ADJOINT_CACHE_DIR"] = str(tmp_path_factory.mktemp("adjoint"))
    yield
    if before is None:
        del os.environ["ADJOINT_CACHE_DIR"]
    else:
        os.environ["ADJOINT_CACHE_DIR"] = before


@pytest.fixture(autouse=True)
def _one_package() -> Iterator[None]:
    yield
    _check_packages()


def run(outputs: Any, values: Mapping[Any, Any] | None = None, dims: Any = None) -> Any:
    """Values of one handle, or of a list of them, by the interpreter; variables have their own value unless another is
    given."""
    from adjoint.graph.interp import evaluate
    from adjoint.graph.node import toposort

    many = isinstance(outputs, (list, tuple))
    nodes = [o.node for o in (outputs if many else [outputs])]
    leaves = {n: n["token"].storage.array for n in toposort(nodes) if n.op.name == "variable"}
    leaves.update({k.node: v for k, v in (values or {}).items()})
    results = evaluate(nodes, leaves, dims)
    return results if many else results[0]


@pytest.fixture(name="run")
def _run() -> Callable[..., Any]:
    return run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the expected C of tests/golden anew")
