"""The rooms of the house: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Every room may import itself, errors.py and artifact.py besides what is listed.
ALLOWED = {
    "graph": set(),
    "autodiff": {"graph"},
    "rewrite": {"graph"},
    # A traced function compiles itself through the front when it is called on arrays.
    "lang": {"graph", "autodiff", "__init__"},
    "lower": {"graph"},
    "codegen": {"graph", "lower", "templates"},
    "runtime": set(),
}
FRONT = {
    "api", "cli", "collect", "debugging", "doctor", "inspection", "interpreter", "pipeline", "tuning",
    "__init__", "__main__",
}  # fmt: skip
SHARED = {"errors", "artifact", "timing", "version"}


def _files() -> list[tuple[str, Path]]:
    """(dotted name within the package, file) of every module."""
    found = [(".".join(p.relative_to(ROOT / "compiler").with_suffix("").parts), p) for p in _python("compiler")]
    found += [(".".join(p.relative_to(ROOT).with_suffix("").parts), p) for p in _python("runtime")]
    return sorted(found)


def _python(folder: str) -> list[Path]:
    return [p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts]


def imported(module: str, text: str) -> set[str]:
    """First parts, within the package, of everything that a module imports."""
    found: set[str] = set()
    parts = ["adjoint", *module.split(".")]
    if parts[-1] == "__init__":
        parts[-1] = ""  # so that dropping the last part gives the package itself
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            names = [".".join([*base, alias.name]) for alias in node.names] if len(base) == 1 else [".".join(base)]
        for name in names:
            first, _, rest = name.partition(".")
            assert first not in ("compiler", "runtime", "templates"), f"{module} imports {name} past the package"
            if first == "adjoint":
                found.add(rest.split(".")[0] or "__init__")
    return found


@pytest.mark.parametrize(("module", "path"), _files(), ids=lambda x: x if isinstance(x, str) else "")
def test_imports_follow_the_flow_of_data(module: str, path: Path) -> None:
    room = module.split(".")[0]
    if room in FRONT:
        return
    used = imported(module, path.read_text())
    if room in SHARED:
        # The version is told by the files, so it knows where the templates lie.
        assert used <= SHARED | ({"templates"} if room == "version" else set())
    elif room in ALLOWED:
        assert used <= ALLOWED[room] | SHARED | {room}, f"{module} imports {sorted(used)}"
    else:
        pytest.fail(f"{module} lies outside the rooms of the house")


def test_the_parser_of_imports() -> None:
    assert imported("lang.nn.linear", "from ...graph import build\nfrom . import x") == {"graph", "lang"}
    assert imported("lang.__init__", "from ..errors import A\nfrom .array import B") == {"errors", "lang"}
    assert imported("runtime.x", "from adjoint import artifact, errors\nimport adjoint.graph.node") == {
        "artifact",
        "errors",
        "graph",
    }
