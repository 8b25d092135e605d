"""The version, and the identity of the code that stands behind it."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

VERSION = "0.1.0"


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """A digest of the compiler's files by size and time: part of cache keys, so that an edited compiler is another one.

    Stats files and reads none: about a millisecond, once a process.
    """
    found = (find_spec(f"{__package__}.{name}") for name in ("runtime", "templates"))
    folders = [Path(place) for spec in found if spec is not None for place in spec.submodule_search_locations or ()]
    digest = hashlib.sha256(VERSION.encode())
    for root in (Path(__file__).parent, *folders):
        for folder, subfolders, files in os.walk(root):
            subfolders[:] = sorted(d for d in subfolders if d != "__pycache__")
            for name in sorted(files):
                if name.endswith((".py", ".j2", ".c")):
                    state = os.stat(os.path.join(folder, name))
                    digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
