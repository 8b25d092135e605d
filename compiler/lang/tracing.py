"""`@ad.function`: a pure Python function, traced and compiled once per kind of arguments."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np

from ..errors import SymbolicError
from ..graph import dtypes
from . import checks
from .array import Array
from .create import input
from .explain import complain
from .lift import as_numpy, weak_kind
from .tree import Structure, flatten, unflatten

_compile: Callable[..., Any] | None = None


def compile_with(compile: Callable[..., Any]) -> None:
    """Told by the front of the package, which alone sees all rooms: what `ad.compile` is."""
    global _compile
    _compile = compile


class Function:
    """A traced function. Called with symbolic arrays it builds graph; with NumPy arrays it compiles and runs.

    Traces are kept per structure, shapes, dtypes and static arguments. `traces` counts them.
    """

    def __init__(self, fn: Callable[..., Any], static: Sequence[str], options: dict[str, Any]) -> None:
        if not callable(fn):
            raise complain(SymbolicError, f"function: what is traced must be a function, got {fn!r}")
        update_wrapper(self, fn)
        self.__name__: str = getattr(fn, "__name__", type(fn).__name__)
        names = (static,) if isinstance(static, str) else checks.sequence("static", static, kind=SymbolicError)
        self._fn, self._static, self._options = fn, frozenset(names), options
        self._signature = inspect.signature(fn)
        unknown = self._static - set(self._signature.parameters)
        if unknown:
            text = f"function: {self.__name__} has no parameter {sorted(unknown)[0]!r} to be static"
            raise complain(SymbolicError, text)
        self._compiled: dict[Any, Any] = {}
        self._lock = threading.Lock()

    @property
    def traces(self) -> int:
        return len(self._compiled)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._bind(args, kwargs)
        leaves, structure = flatten({k: v for k, v in bound.arguments.items() if k not in self._static})
        if any(isinstance(x, Array) for x in leaves):
            return self._fn(*args, **kwargs)
        fixed = [x is None or isinstance(x, (str, bool)) for x in leaves]
        arrays = [_concrete(x) for x, f in zip(leaves, fixed, strict=True) if not f]
        key = (
            structure,
            tuple((a.shape, a.dtype.str) for a in arrays),
            tuple((type(x).__name__, x) if f else None for x, f in zip(leaves, fixed, strict=True)),
            tuple((k, bound.arguments[k]) for k in sorted(self._static) if k in bound.arguments),
        )
        try:
            hash(key)
        except TypeError:
            text = f"{self.__name__}: static arguments must be hashable, such as numbers, strings and tuples"
            raise complain(SymbolicError, text, *(value for _, value in key[-1]), names=sorted(self._static)) from None
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = self._trace(bound, leaves, fixed, structure, arrays)
        return self._compiled[key](*arrays)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise complain(SymbolicError, f"{self.__name__}: {error}") from None
        bound.apply_defaults()
        return bound

    def _trace(
        self,
        bound: inspect.BoundArguments,
        leaves: list[Any],
        fixed: list[bool],
        structure: Structure,
        arrays: list[np.ndarray[Any, Any]],
    ) -> Any:
        inputs = [input(f"argument{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
        rest = iter(inputs)
        filled = [x if f else next(rest) for x, f in zip(leaves, fixed, strict=True)]
        bound.arguments.update(unflatten(structure, filled))
        outputs = self._fn(*bound.args, **bound.kwargs)
        name = self.__name__ if self.__name__.isidentifier() else "function"  # that of a lambda is no name in C
        assert _compile is not None, "the front of the package has not said how to compile"
        return _compile(inputs, outputs, **{"name": name, **self._options})


def _concrete(x: Any) -> np.ndarray[Any, Any]:
    kind = weak_kind(x)
    if kind is not None and not isinstance(x, np.generic):
        return np.asarray(x, {"b": dtypes.BOOL, "i": dtypes.INT64, "f": dtypes.FLOAT32}[kind])
    return as_numpy(x)


def function(fn: Callable[..., Any] | None = None, *, static: Sequence[str] = (), **options: Any) -> Any:
    """Decorator: traces a pure function once per structure, shapes, dtypes and static arguments.

    `static` names parameters that the function must see as plain Python values (hashable); strings, bools and None
    always are. Other numbers become 0-d arrays. Further options go to `ad.compile`.
    """
    if fn is None:
        return lambda f: Function(f, static, options)
    return Function(fn, static, options)
