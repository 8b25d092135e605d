"""Loading compiled libraries through cffi, without its C parser.

All compiled functions have one interface, so one set of C types serves them all. cffi parses declarations with
pycparser, which costs 40 to 60 ms to import; here that happens once per cache folder and cffi version. What it leaves
is an out-of-line module in ABI mode, which every later process executes in about a millisecond.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from adjoint.artifact import ABI_HEADER
from adjoint.errors import CompileError
from adjoint.runtime.cache import Cache, digest

_MODULE = "_adjoint_abi"
_FUNCTIONS = """
typedef int32_t (*adjoint_entry)(const void *args, void *workspace, adjoint_context *context);
typedef uint64_t (*adjoint_workspace)(const void *args);
typedef void (*adjoint_parallel)(adjoint_context *, adjoint_chunks, const void *, int64_t);
typedef int32_t (*adjoint_grower)(adjoint_context *, uint64_t);
typedef void (*adjoint_release)(adjoint_context *);
typedef uint64_t (*adjoint_clocker)(void);
typedef int32_t (*adjoint_count)(void);
typedef struct adjoint_bound {
  adjoint_entry entry;
  const void *args;
  void *workspace;
  adjoint_context *context;
  const void *inside;
  const void *result;
  int64_t count;
  int64_t busy;
} adjoint_bound;
void *dlopen(const char *path, int mode);
void *dlsym(void *library, const char *name);
char *dlerror(void);
"""

_module: ModuleType | None = None


def load_abi(cache: Cache | None = None) -> tuple[Any, Any]:
    """The cffi objects `(ffi, c)`: types of the C contract, and the dynamic loader's functions. Made once a process."""
    global _module
    if _module is None:
        if os.name != "posix":
            raise CompileError(f'compiled functions need a POSIX loader, not {sys.platform}; use backend="numpy"')
        module = _import_module(cache or Cache())
        module.c = module.ffi.dlopen(None)  # type: ignore[attr-defined]
        _module = module  # whole: other threads may be waiting for it
    return _module.ffi, _module.c


def _import_module(cache: Cache) -> ModuleType:
    import _cffi_backend  # type: ignore[import-untyped]

    declarations = "".join(line for line in ABI_HEADER.splitlines(True) if not line.startswith("#")) + _FUNCTIONS
    key = digest("abi", _cffi_backend.__version__, sys.implementation.cache_tag or "", declarations)
    stored = cache.get_note(key)
    if stored is None:
        stored = _generate(declarations, cache)
        cache.put_note(key, stored)
    module = ModuleType(_MODULE)
    # The record's checksum was verified when it was read, which an import from a path would not do.
    exec(compile(stored, f"<{_MODULE}>", "exec"), module.__dict__)
    return module


def _generate(declarations: str, cache: Cache) -> bytes:
    """The Python text of cffi's out-of-line ABI module for `declarations`."""
    from cffi import FFI  # type: ignore[import-untyped]

    ffi = FFI()
    ffi.cdef(declarations)
    ffi.set_source(_MODULE, None)
    with cache.workdir() as work:
        ffi.compile(tmpdir=str(work))  # writes Python text: ABI mode has nothing to compile
        return (work / f"{_MODULE}.py").read_bytes()


class NativeLibrary:
    """A loaded shared library. It stays loaded for the life of the process: threads and calls may be inside it.

    Raises CompileError when the loader refuses the file or a function is missing.
    """

    def __init__(self, path: Path) -> None:
        self.ffi, self._c = load_abi()
        self.path = path
        # Local, so that equal kernel names of two libraries never meet.
        self._handle = self._c.dlopen(os.fsencode(path), os.RTLD_NOW | os.RTLD_LOCAL)
        if self._handle == self.ffi.NULL:
            raise CompileError(f"cannot load {path}: {self._reason()}")

    def function(self, name: str, type_name: str) -> Any:
        """The C function `name` as a cffi pointer of a type of the contract, such as "adjoint_entry"."""
        address = self._c.dlsym(self._handle, name.encode())
        if address == self.ffi.NULL:
            raise CompileError(f"{self.path} has no function {name!r}: {self._reason()}")
        return self.ffi.cast(type_name, address)

    def _reason(self) -> str:
        text = self._c.dlerror()
        return self.ffi.string(text).decode(errors="replace") if text != self.ffi.NULL else "no reason given"
