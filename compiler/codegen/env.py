"""The Jinja2 environment of the C templates. Jinja2 is imported on first use: importing the package stays fast."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment, Template


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The one environment; an undefined name in a template is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("adjoint.templates", ""),
        bytecode_cache=_bytecode(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        auto_reload=False,
    )


def _bytecode() -> BytecodeCache | None:
    """Compiled templates lie beside them, as Python's own bytecode does; where that is not allowed there are none."""
    from jinja2 import FileSystemBytecodeCache

    from .. import templates

    folder = Path(templates.__file__).parent / "__pycache__"
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None


def template(name: str) -> Template:
    """The compiled template `name`, e.g. "lanes.h.j2"."""
    return environment().get_template(name)
