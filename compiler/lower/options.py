"""Choices about kernels, apart from what makes them: a call that finds its function in the cache needs no more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Choices that change kernels: `recompute` ("cheap" or "all", see `choose_kept`) never changes results,
    `disabled` names rewrite rules to leave out."""

    recompute: str = "cheap"
    disabled: tuple[str, ...] = ()
