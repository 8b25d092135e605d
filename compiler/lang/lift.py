"""From what users pass to nodes and back: constants, dtype promotion, broadcasting, wrapping of results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from functools import reduce
from typing import Any

import numpy as np

from ..errors import AdjointError, DTypeError, GraphError, ShapeError, SymbolicError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.dtypes import BOOL, FLOAT32, INT64, DType
from ..graph.node import Literal, Node, make, type_text
from ..graph.sizes import Shape
from . import checks
from .array import Array
from .explain import complain, refuse, retell


class _Mode(threading.local):
    grad_enabled = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether results that are made now can be differentiated."""
    return _mode.grad_enabled


class _Cut(ContextDecorator):
    """Sets whether results can be differentiated, for a block or for the calls of a function."""

    def __init__(self, flag: bool) -> None:
        self.flag = flag
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(_mode.grad_enabled)
        _mode.grad_enabled = self.flag

    def __exit__(self, *error: object) -> None:
        _mode.grad_enabled = self.before.pop()


class _Switch(_Cut):
    """Acts at once, until it is entered as a block or put on a function."""

    def __init__(self, flag: bool) -> None:
        super().__init__(flag)
        self.until = [_mode.grad_enabled]
        _mode.grad_enabled = flag

    def _restore(self) -> None:
        if self.until:
            _mode.grad_enabled = self.until.pop()

    def __enter__(self) -> None:
        self._restore()
        super().__enter__()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[override]
        self._restore()
        return _Cut(self.flag)(fn)


def set_grad_enabled(flag: bool) -> _Cut:
    """While `flag` is False, results are cut from differentiation.

    As a statement from now on, in this thread; `with set_grad_enabled(flag):` for the block, as a decorator for the
    calls of the function.
    """
    return _Switch(bool(flag))


def no_grad(fn: Callable[..., Any] | None = None) -> Any:
    """A context and decorator, with or without parentheses: results made inside are wrapped in `stop_gradient`."""
    return _Cut(False) if fn is None else _Cut(False)(fn)


def wrap(node: Node, operands: Sequence[Any] = ()) -> Array:
    """The handle of a result; inherits `requires_grad` and the enclosing loop from the operands."""
    requires_grad, scope = False, None
    for x in operands:
        if isinstance(x, Array):
            requires_grad = requires_grad or x.requires_grad
            if x.scope is not None:
                if not x.scope.is_open:
                    raise complain(GraphError, f"a value made inside the body of {x.scope.label} leaked out of it", x)
                if scope is None or x.scope.depth > scope.depth:
                    scope = x.scope
    if not dtypes.is_float(node.dtype):
        requires_grad = False
    elif not _mode.grad_enabled:
        node, requires_grad = make("stop_gradient", (node,)), False
    return Array(node, requires_grad=requires_grad, scope=scope)


def apply(op: str, nodes: Sequence[Node], *attrs: Any, of: Sequence[Any]) -> Array:
    """The handle of a new node; what the graph objects to is told in terms of the operands `of`."""
    try:
        node = make(op, nodes, *attrs)
    except AdjointError as error:
        raise retell(error, *of) from None
    return wrap(node, of)


def weak_kind(x: Any) -> str | None:
    """"b", "i" or "f" for Python and NumPy scalars, which take the dtype of what they meet; None for others."""
    if isinstance(x, (bool, np.bool_)):
        return "b"
    if isinstance(x, (int, np.integer)):
        return "i"
    if isinstance(x, (float, np.floating)):
        return "f"
    return None


def constant_node(array: np.ndarray[Any, Any]) -> Node:
    dtypes.as_dtype(array.dtype)
    return make("constant", (), Literal(array))


def _has_arrays(x: Any) -> bool:
    return isinstance(x, (np.ndarray, Array)) or (isinstance(x, (list, tuple)) and any(_has_arrays(e) for e in x))


def as_numpy(x: Any) -> np.ndarray[Any, Any]:
    """A list or array in a supported dtype: arrays keep theirs, Python floats become float32, ints int64."""
    if isinstance(x, (list, tuple)):
        keep = _has_arrays(x)
        try:
            array = np.asarray(x)
        except SymbolicError:
            text = "a list that holds symbolic arrays is no array; use ad.stack or ad.concat"
            raise refuse(SymbolicError, text, *(e for e in x if isinstance(e, Array))) from None
        except OverflowError:
            raise refuse(DTypeError, f"the numbers of {_short(x)} do not fit {INT64}", x) from None
        except ValueError:
            raise refuse(ShapeError, "a ragged list is not an array", x) from None
        if not keep:
            defaults: dict[str, DType] = {"f": FLOAT32, "i": INT64, "b": BOOL}
            array = array.astype(defaults.get(array.dtype.kind, array.dtype))
    elif weak_kind(x) == "i" and not -(2**63) <= x < 2**63:
        raise refuse(DTypeError, f"the integer {x} does not fit {INT64}")
    else:
        array = np.asarray(x)
    if array.dtype not in dtypes.ALL:
        what = f"{_short(x)} is no array: {type(x).__name__} of dtype {array.dtype}"
        if isinstance(x, np.ndarray):
            what = f"a NumPy array of dtype {array.dtype} is not supported"
        raise refuse(DTypeError, f"{what}; supported are {dtypes.SUPPORTED}")
    return array


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 40 else text[:37] + "..."


def check_fits(given: np.ndarray[Any, Any], dtype: DType, what: str) -> None:
    """Raises DTypeError for numbers of another kind than a dtype holds: floats for integers, or too large integers."""
    if "biuf".index(given.dtype.kind.replace("u", "i")) > "biuf".index(dtype.kind.replace("u", "i")):
        raise refuse(DTypeError, f"{what} must be {dtype}, got {given.dtype}")
    if dtype.kind in "iu" and given.dtype.kind in "iu" and given.size:
        info = np.iinfo(dtype)
        worst = next((int(v) for v in (given.min(), given.max()) if not info.min <= v <= info.max), None)
        if worst is not None:
            raise refuse(DTypeError, f"{what} must be {dtype}, which {worst} does not fit")


def as_array(x: Any, dtype: DType | None = None) -> Array:
    """A handle for anything array-like; weak scalars become 0-d constants of `dtype` or of their default dtype."""
    if isinstance(x, Array):
        return x
    kind = weak_kind(x)
    if kind is not None:
        return Array(_literal(x, dtype or {"b": BOOL, "i": INT64, "f": FLOAT32}[kind]))
    return Array(constant_node(as_numpy(x)))


def _literal(x: Any, dtype: DType) -> Node:
    value = x.item() if isinstance(x, np.generic) else x
    if dtype.kind in "iu" and not isinstance(value, float):
        info = np.iinfo(dtype)
        if not info.min <= value <= info.max:
            text = f"the integer {value} does not fit {dtype}; cast the array to a wider dtype"
            raise refuse(DTypeError, text)
    return b.literal(value, dtype)


def common_dtype(operands: Sequence[Any]) -> DType:
    """The dtype in which operands (handles and weak scalars) meet."""
    strong = [x.dtype for x in operands if isinstance(x, Array)]
    kinds = {weak_kind(x) for x in operands} - {None}
    result = reduce(dtypes.promote, strong) if strong else BOOL
    if dtypes.is_float(result):
        return result
    if "f" in kinds:
        return FLOAT32
    return INT64 if result == BOOL and "i" in kinds else result


def cast_node(x: Any, dtype: DType) -> Node:
    """The node of a handle or weak scalar in the given dtype."""
    if isinstance(x, Array):
        return b.cast(x.node, dtype)
    return _literal(x, dtype)


def operands_of(*values: Any) -> list[Any]:
    """Handles for arrays and lists; weak scalars stay as they are."""
    return [x if isinstance(x, Array) or weak_kind(x) is not None else as_array(x) for x in values]


def broadcast_shapes(name: str, shapes: Sequence[Shape], of: Sequence[Any]) -> Shape:
    """NumPy's rule; a run-time extent meets only itself and 1. Raises ShapeError."""
    rank = max((len(s) for s in shapes), default=0)
    result: list[sizes.Extent] = [1] * rank
    for shape in shapes:
        for k, extent in enumerate(shape, rank - len(shape)):
            if extent == 1 or extent == result[k]:
                continue
            if result[k] != 1:
                texts = " and ".join(type_text(x.shape, x.dtype) for x in of if isinstance(x, Array) and x.shape)
                axis = f"axis {k - rank} has extents {result[k]} and {extent}"
                raise complain(ShapeError, f"{name}: shapes do not broadcast: {texts}: {axis}", *of)
            result[k] = extent
    return tuple(result)


def reshaped(x: Node, shape: Shape) -> Node:
    """`x` in another shape; reshapes of reshapes fall together."""
    while x.op.name == "reshape" and x.shape != shape:
        x = x.inputs[0]
    return b.reshape(x, shape)


def stretch(x: Node, shape: Shape) -> Node:
    """`x` broadcast to `shape`, which must be what it broadcasts to; unit axes that stretch are dropped first."""
    if x.shape == shape:
        return x
    lead = len(shape) - len(x.shape)
    axes = [k for k in range(lead, len(shape)) if x.shape[k - lead] == shape[k]]
    return b.broadcast(reshaped(x, tuple(shape[k] for k in axes)), shape, axes)


def align(name: str, operands: Sequence[Any], dtype: DType | None = None) -> Sequence[Node]:
    """Nodes of one dtype and one shape for the operands of an elementwise operation."""
    if dtype is None:
        dtype = common_dtype(operands)
    return spread(name, [cast_node(x, dtype) for x in operands], operands)


def spread(name: str, nodes: Sequence[Node], operands: Sequence[Any]) -> Sequence[Node]:
    """The nodes of operands, broadcast to their common shape."""
    first = nodes[0].shape
    if all(n.shape == first for n in nodes):
        return nodes
    shape = broadcast_shapes(name, [n.shape for n in nodes], operands)
    return [stretch(n, shape) for n in nodes]


def axes_of(name: str, axis: Any, x: Array) -> tuple[int, ...]:
    """Axes as sorted non-negative numbers; None means all. Raises ShapeError."""
    if axis is None:
        return tuple(range(x.ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = []
    for a in given:
        if not checks.is_whole(a):
            raise complain(ShapeError, f"{name}: an axis is an int, got {a!r}", x)
        k = int(a)
        if not -x.ndim <= k < x.ndim:
            text = f"{name}: axis {k} is out of range for {x.ndim} axes: {type_text(x.shape, x.dtype)}"
            raise complain(ShapeError, text, x)
        found.append(k % x.ndim)
    if len(set(found)) != len(found):
        raise complain(ShapeError, f"{name}: an axis is named twice in {axis}", x)
    return tuple(sorted(found))


def one_axis(name: str, axis: Any, x: Array) -> int:
    if axis is None or isinstance(axis, (tuple, list)):
        raise complain(ShapeError, f"{name}: one axis is expected, got {axis}", x)
    return axes_of(name, axis, x)[0]
