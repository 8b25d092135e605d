"""The table of all rules, and the pass that applies them."""

from __future__ import annotations

from collections.abc import Collection

from ..graph.program import Program
from . import (
    arithmetic,
    bounds,
    contractions,
    factoring,
    folding,
    onehot,
    pieces,
    reductions,
    rounding,
    stability,
    underflow,
    views,
)
from .calls import inline_calls
from .engine import CLASSES, Rule, apply_rules
from .loops import tidy_loops

RULES: tuple[Rule, ...] = (
    *folding.RULES,
    *arithmetic.RULES,
    *bounds.RULES,
    *views.RULES,
    *pieces.RULES,
    *reductions.RULES,
    *contractions.RULES,
    *onehot.RULES,
    *stability.RULES,
    *underflow.RULES,
    *rounding.RULES,
    *factoring.RULES,
)


def rewrite(
    program: Program, classes: Collection[str] = CLASSES, disabled: Collection[str] = (), fused: bool = True
) -> tuple[Program, dict[str, int]]:
    """Applies every rule of the given classes that is not disabled by name.

    Gives the program (the same object when nothing changed) and how often each rule fired. Differentiation comes
    before: some rules remove what only matters to it. `fused` tells whether the target rounds an fma once.
    """
    known = {rule.name for rule in RULES}
    for name in disabled:
        if name not in known:
            raise ValueError(f"there is no rewrite rule {name!r}; the rules are {', '.join(sorted(known))}")
    for name in classes:
        if name not in CLASSES:
            raise ValueError(f"there is no class {name!r} of rewrite rules; the classes are {', '.join(CLASSES)}")
    program, merged = tidy_loops(inline_calls(program))
    rules = [r for r in RULES if r.cls in classes and r.name not in disabled and (fused or not r.fused)]
    program, firings = apply_rules(program, rules)
    return program, {**firings, "loops": merged}
