"""Leaves: inputs, variables and constants."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

from ..errors import DTypeError, GraphError
from ..graph import dtypes, sizes
from ..graph.node import Node, Token, make
from ..graph.sites import called, told
from ..graph.storage import Storage
from . import checks
from .array import Array
from .explain import complain
from .lift import as_array, as_numpy, check_fits, constant_node, weak_kind

_unnamed = itertools.count()
_handles: weakref.WeakValueDictionary[Node, Array] = weakref.WeakValueDictionary()


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise GraphError(told(f"{called()}a name is a non-empty string, got {name!r}"))
    return name


def input(name: str, shape: Any = (), dtype: Any = "float32", *, requires_grad: bool = False) -> Array:
    """A placeholder for an argument. Extents are ints, `Dim`s, or names of such: `ad.input("x", ("batch", 784))`.

    Two inputs are never one, even of the same name. Raises ShapeError or DTypeError.
    """
    target = dtypes.as_dtype(dtype)
    array = Array(make("input", (), Token(_checked_name(name)), sizes.as_shape(shape), target))
    if checks.flag("requires_grad", requires_grad):
        array.requires_grad = True
    return array


def variable(value: Any, name: str | None = None, dtype: Any = None, *, requires_grad: bool | None = None) -> Array:
    """Persistent state with the initial value `value`, which is copied; `.value` is the live NumPy array.

    NumPy arrays keep their dtype; lists and scalars of floats become float32, of ints int64, unless `dtype` is given.
    Floating variables require gradients unless said otherwise.
    """
    if isinstance(value, Array):
        text = "variable: the initial value must be known: a number, a list or a NumPy array"
        raise complain(DTypeError, text, value)
    kind = weak_kind(value)
    if kind is not None and not isinstance(value, np.generic):
        start = as_numpy(value).astype({"b": dtypes.BOOL, "i": dtypes.INT64, "f": dtypes.FLOAT32}[kind])
    else:
        start = as_numpy(value)
    if dtype is not None:
        start = _converted(start, dtypes.as_dtype(dtype))
    flag = dtypes.is_float(start.dtype) if requires_grad is None else requires_grad
    if flag and not dtypes.is_float(start.dtype):
        raise GraphError(told(f"variable: requires_grad needs a floating dtype, got {start.dtype}"))
    label = _checked_name(name) if name is not None else f"v{next(_unnamed)}"
    token = Token(label, Storage(start), requires_grad=flag)
    return handle(make("variable", (), token, tuple(map(int, start.shape)), start.dtype))


def handle(node: Node) -> Array:
    """The user's handle of a variable while there is one, else a new one."""
    found = _handles.get(node)
    if found is None:
        found = _handles[node] = Array(node)
    return found


def constant(value: Any, dtype: Any = None) -> Array:
    """A fixed array. NumPy arrays keep their dtype; numbers and lists become float32, int64 or bool, unless said.

    Other than a plain number, a 0-d constant has a strong dtype.
    """
    if isinstance(value, Array):
        return value if dtype is None else value.astype(dtype)
    target = None if dtype is None else dtypes.as_dtype(dtype)
    if weak_kind(value) is not None and not isinstance(value, np.generic):
        return as_array(value, target)
    array = as_numpy(value)
    return Array(constant_node(array if target is None else _converted(array, target)))


def _converted(array: np.ndarray[Any, Any], dtype: dtypes.DType) -> np.ndarray[Any, Any]:
    """The array in a dtype that was asked for; integers must fit it. Raises DTypeError."""
    if array.dtype.kind in "iu":
        check_fits(array, dtype if dtype.kind != "b" else array.dtype, "the value")
    return array.astype(dtype)
