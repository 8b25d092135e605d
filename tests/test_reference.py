"""docs/operations.md says what the code does."""

from __future__ import annotations

import runpy
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs"


def test_the_table_of_operations_is_current() -> None:
    reference = runpy.run_path(str(FOLDER / "operations.py"))
    found = reference["page"]()
    assert found == (FOLDER / "operations.md").read_text(), "out of date: run python docs/operations.py, read the diff"


def test_every_function_and_rule_says_what_it_does() -> None:
    reference = runpy.run_path(str(FOLDER / "operations.py"))
    assert [name for _, name, function in reference["functions"]() if not reference["summary"](function)] == []
    assert [rule.name for rule in reference["RULES"] if not reference["summary"](rule.apply)] == []
