"""Services that native calls get from the host: the thread pool, the growing tape, the clock.

They are a small library of their own, built through the same toolchain and cache, and loaded when the first function
that needs one of them is called.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from adjoint.artifact import ABI_HEADER, Target, Unit
from adjoint.runtime.binding import NativeLibrary
from adjoint.runtime.build import Library, build_library

_lock = threading.Lock()
_services: Services | None = None


def build_services() -> Library:
    """Compiles the services, or finds them in the cache. Loads nothing, so that it may run beside other builds."""
    # One unit, so that one compiler makes it while others work on the function.
    texts = [Path(__file__).with_name(f"{name}.c").read_text(encoding="utf-8") for name in ("pool", "tape")]
    unit = Unit("services", "\n".join(texts).replace("@ABI@", ABI_HEADER))
    # No ISA flags: the services are the same for every target of this machine.
    plain = Target("host", "", 16, 16, False, 0, 0, 1, ())
    return build_library((unit,), plain, extra=("-pthread",))


class Services:
    """cffi function pointers for the fields `parallel_for`, `grow` and `clock` of a context.

    `release(context)` frees a context's tape; `pool_threads()` tells how many threads the pool has started.
    """

    def __init__(self) -> None:
        self.library = NativeLibrary(build_services().path)
        self.parallel_for: Any = self.library.function("adjoint_parallel_for", "adjoint_parallel")
        self.grow: Any = self.library.function("adjoint_grow", "adjoint_grower")
        self.release: Any = self.library.function("adjoint_tape_free", "adjoint_release")
        self.clock: Any = self.library.function("adjoint_clock", "adjoint_clocker")
        self.pool_threads: Any = self.library.function("adjoint_pool_threads", "adjoint_count")


def services() -> Services:
    """The services of this process, built and loaded at the first call. Raises CompileError as any build does."""
    global _services
    if _services is None:
        with _lock:
            if _services is None:
                _services = Services()
    return _services
