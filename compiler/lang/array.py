"""`Array`: what users hold. A small mutable handle on an immutable node of the graph."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GraphError, ShapeError, SymbolicError
from ..graph import dtypes, sites, sizes
from ..graph.node import Node, type_text
from ..graph.sites import Site, told
from ..graph.sizes import Shape

if TYPE_CHECKING:
    from .bodies import Trace


def _refuse(what: str, hint: str) -> Callable[..., Any]:
    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        raise SymbolicError(told(f"{what} of the symbolic array {self.describe()} is not known before a call; {hint}"))

    return method


_RUN = "compile a function of it (ad.compile) and call that, or keep computing with ad.* functions"


class Array:
    """A symbolic array: shape and dtype are known, values are not.

    Arithmetic, comparisons (elementwise) and indexing build the graph. Handles hash by identity.
    `requires_grad` chooses what `backward` and `minimize` differentiate by default; results inherit it.
    `draws` counts the random numbers that were drawn with the handle as their key.
    """

    __slots__ = ("__weakref__", "_name", "_requires_grad", "draws", "node", "scope", "site")
    __array_ufunc__ = None
    node: Node
    site: Site | None
    scope: Trace | None
    draws: int

    def __init__(self, node: Node, *, requires_grad: bool = False, scope: Trace | None = None) -> None:
        self.node, self.scope, self.draws = node, scope, 0
        self._name: str | None = None
        self._requires_grad = requires_grad
        # An interned node may carry the sites of others: then the handle's own is looked up again.
        self.site = node.sites[0] if len(node.sites) == 1 else next(iter(sites.here()), None)

    @property
    def name(self) -> str | None:
        """The name of an input or variable, or what a result was called; None when nobody named it."""
        return self.node["token"].name if "token" in self.node.op.attrs else self._name

    @name.setter
    def name(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise GraphError(told(f"{self.describe()}: a name is a non-empty string, got {name!r}"))
        if "token" in self.node.op.attrs:
            self.node["token"].name = name
        else:
            self._name = name

    @property
    def requires_grad(self) -> bool:
        token = self.node["token"] if "token" in self.node.op.attrs else None
        return self._requires_grad if token is None else token.requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if "token" not in self.node.op.attrs:
            text = f"requires_grad can be set on inputs and variables; results such as {self.describe()} inherit it"
            raise GraphError(told(text))
        if flag and not dtypes.is_float(self.dtype):
            raise GraphError(told(f"requires_grad needs a floating dtype; {self.describe()} has none"))
        self.node["token"].requires_grad = bool(flag)

    @property
    def is_leaf(self) -> bool:
        return self.node.op.kind == "leaf"

    @property
    def shape(self) -> Shape:
        return self.node.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.node.dtype

    @property
    def ndim(self) -> int:
        return len(self.node.shape)

    @property
    def size(self) -> sizes.Extent:
        return sizes.product(self.node.shape)

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """The live memory of a variable; assigning copies into it.

        Raises ShapeError or DTypeError for a value that does not fit; floats may lose digits, but become no integers.
        """
        array: np.ndarray[Any, Any] = self._storage().array
        return array

    @value.setter
    def value(self, value: Any) -> None:
        array, given = self._storage().array, lift.as_numpy(value)
        if given.shape != array.shape:
            texts = f"{type_text(given.shape, given.dtype)}: {self.describe()}"
            raise ShapeError(told(f"value: the new value of a variable must have its shape, got {texts}"))
        lift.check_fits(given, array.dtype, f"the value of {self.describe()}")
        array[...] = given

    def _storage(self) -> Any:
        if self.node.op.name != "variable":
            raise SymbolicError(told(f"only variables have a value; {self.describe()} is computed by a call: {_RUN}"))
        return self.node["token"].storage

    def describe(self) -> str:
        """`input "x" float32[32, 784]`."""
        kind = self.node.op.name
        named = f'{kind} "{self.name}"' if self.name else kind
        return f"{named} {type_text(self.shape, self.dtype)}"

    def __repr__(self) -> str:
        return f"<Array {self.describe()}>"

    __hash__ = object.__hash__

    __bool__ = _refuse("the truth value", "use ad.where or ad.logical_and, or " + _RUN)
    __float__ = _refuse("the float value", _RUN)
    __int__ = _refuse("the int value", _RUN)
    __index__ = _refuse("the int value", "index with ad.take or x[i] where x is symbolic too")
    __complex__ = _refuse("the value", _RUN)
    __array__ = _refuse("the NumPy value", _RUN)
    __contains__ = _refuse("membership", "use (x == value) and ad.any")

    def __array_function__(self, func: Callable[..., Any], *args: Any) -> Any:
        name = func.__name__
        hint = f"use ad.{name}" if hasattr(sys.modules["adjoint"], name) else "use ad.* functions"
        raise SymbolicError(told(f"np.{name} does not take symbolic arrays such as {self.describe()}; {hint}"))

    def __iter__(self) -> Any:
        raise SymbolicError(told(f"{self.describe()} cannot be iterated over; take x[i] for each i, or use ad.scan"))

    def __len__(self) -> int:
        if not self.shape:
            raise SymbolicError(told(f"{self.describe()} is 0-d and has no length"))
        n = self.shape[0]
        if not isinstance(n, int):
            raise SymbolicError(told(f"the length of {self.describe()} is known only at run time; use x.shape[0]"))
        return n

    def __setitem__(self, key: Any, value: Any) -> None:
        text = f"{self.describe()} is symbolic and not assigned to"
        raise SymbolicError(told(f"{text}; use x.at[…].set(value) or ad.compile(updates=…)"))

    def __getitem__(self, key: Any) -> Array:
        return indexing.getitem(self, key)

    @property
    def at(self) -> scattering.At:
        """`x.at[key].set(v)`, `.add(v)`, `.multiply(v)`, `.max(v)`, `.min(v)`: a new array that differs at x[key]."""
        return scattering.At(self)

    def __add__(self, other: Any) -> Array:
        return arithmetic.add(self, other)

    def __radd__(self, other: Any) -> Array:
        return arithmetic.add(other, self)

    def __sub__(self, other: Any) -> Array:
        return arithmetic.subtract(self, other)

    def __rsub__(self, other: Any) -> Array:
        return arithmetic.subtract(other, self)

    def __mul__(self, other: Any) -> Array:
        return arithmetic.multiply(self, other)

    def __rmul__(self, other: Any) -> Array:
        return arithmetic.multiply(other, self)

    def __truediv__(self, other: Any) -> Array:
        return arithmetic.divide(self, other)

    def __rtruediv__(self, other: Any) -> Array:
        return arithmetic.divide(other, self)

    def __floordiv__(self, other: Any) -> Array:
        return arithmetic.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Array:
        return arithmetic.floor_divide(other, self)

    def __mod__(self, other: Any) -> Array:
        return arithmetic.remainder(self, other)

    def __rmod__(self, other: Any) -> Array:
        return arithmetic.remainder(other, self)

    def __pow__(self, other: Any) -> Array:
        return arithmetic.pow(self, other)

    def __rpow__(self, other: Any) -> Array:
        return arithmetic.pow(other, self)

    def __matmul__(self, other: Any) -> Array:
        return linalg.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Array:
        return linalg.matmul(other, self)

    def __neg__(self) -> Array:
        return arithmetic.negative(self)

    def __pos__(self) -> Array:
        return self

    def __abs__(self) -> Array:
        return arithmetic.abs(self)

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return arithmetic.equal(self, other)

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return arithmetic.not_equal(self, other)

    def __lt__(self, other: Any) -> Array:
        return arithmetic.less(self, other)

    def __le__(self, other: Any) -> Array:
        return arithmetic.less_equal(self, other)

    def __gt__(self, other: Any) -> Array:
        return arithmetic.greater(self, other)

    def __ge__(self, other: Any) -> Array:
        return arithmetic.greater_equal(self, other)

    def __and__(self, other: Any) -> Array:
        return bits.bitwise_and(self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Array:
        return bits.bitwise_or(self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Array:
        return bits.bitwise_xor(self, other)

    __rxor__ = __xor__

    def __lshift__(self, other: Any) -> Array:
        return bits.bitwise_left_shift(self, other)

    def __rlshift__(self, other: Any) -> Array:
        return bits.bitwise_left_shift(other, self)

    def __rshift__(self, other: Any) -> Array:
        return bits.bitwise_right_shift(self, other)

    def __rrshift__(self, other: Any) -> Array:
        return bits.bitwise_right_shift(other, self)

    def __invert__(self) -> Array:
        return bits.bitwise_invert(self)

    @property
    def T(self) -> Array:
        """All axes reversed, as NumPy's."""
        return shaping.permute_dims(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Array:
        """The last two axes exchanged."""
        return shaping.matrix_transpose(self)

    def astype(self, dtype: Any) -> Array:
        return arithmetic.astype(self, dtype)

    def reshape(self, *shape: Any, copy: bool | None = None) -> Array:
        return shaping.reshape(self, shape[0] if len(shape) == 1 else shape, copy)

    def flatten(self) -> Array:
        """All elements along one axis."""
        return shaping.ravel(self)

    ravel = flatten

    def swapaxes(self, axis1: int, axis2: int) -> Array:
        return shaping.swapaxes(self, axis1, axis2)

    def transpose(self, *axes: Any) -> Array:
        if not axes:
            return self.T
        return shaping.permute_dims(self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)

    def squeeze(self, axis: Any = None) -> Array:
        return shaping.squeeze(self, axis)

    def sum(self, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Array:
        return reducing.sum(self, axis, keepdims, dtype)

    def prod(self, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Array:
        return reducing.prod(self, axis, keepdims, dtype)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Array:
        return reducing.mean(self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Array:
        return reducing.max(self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Array:
        return reducing.min(self, axis, keepdims)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Array:
        return reducing.argmax(self, axis, keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Array:
        return reducing.argmin(self, axis, keepdims)

    def cumsum(self, axis: int | None = None) -> Array:
        """`cumulative_sum`, of the flattened array where the axis is None."""
        return cumulative.cumulative_sum(self.reshape(-1) if axis is None else self, axis)

    def cumprod(self, axis: int | None = None) -> Array:
        """`cumulative_prod`, of the flattened array where the axis is None."""
        return cumulative.cumulative_prod(self.reshape(-1) if axis is None else self, axis)

    def argsort(self, axis: int = -1, descending: bool = False) -> Array:
        return sorting.argsort(self, axis, descending)

    def var(self, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Array:
        return reducing.var(self, axis, correction, keepdims)

    def std(self, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Array:
        return reducing.std(self, axis, correction, keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Array:
        return reducing.any(self, axis, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Array:
        return reducing.all(self, axis, keepdims)

    def detach(self) -> Array:
        """The same values, through which no derivative passes."""
        return arithmetic.stop_gradient(self)

    @property
    def grad(self) -> Array | None:
        """The variable into which `ad.backward` accumulates the gradient of a variable, or of a result that retains it;
        None before the first `backward`."""
        return imperative.accumulated(self)

    def retain_grad(self) -> None:
        """Has `ad.backward` accumulate the gradient with respect to this result too, into `.grad`.

        Raises GradientError for inputs, integers and results whose shape is known only at run time.
        """
        imperative.retain(self)

    def register_hook(self, fn: Callable[[Array], Any]) -> imperative.Hook:
        """Has every gradient with respect to this array go through `fn`, which returns another array of its shape and
        dtype, or None to let it pass; `.remove()` of what this returns ends that for gradients taken later.

        A variable or input keeps its identity. A result goes on as a node of its own: what is computed from the handle
        from now on goes through it; expressions built before, and equal ones elsewhere, do not. Hooks of one array run
        in the order of registration. `fn` runs while the derivative is built, for a loop maybe more than once.
        """
        return imperative.register(self, fn)


# The functions need the class above, the methods need the functions.
from . import (  # noqa: E402
    arithmetic,
    bits,
    cumulative,
    imperative,
    indexing,
    lift,
    linalg,
    reducing,
    scattering,
    shaping,
    sorting,
)
