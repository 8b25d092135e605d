"""The Jinja2 environment of the C templates. Jinja2 is imported on first use: importing the package stays fast."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment, Template


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The one environment; an undefined name in a template is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("adjoint.templates", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        auto_reload=False,
    )


def template(name: str) -> Template:
    """The compiled template `name`, e.g. "lanes.h.j2"."""
    return environment().get_template(name)
