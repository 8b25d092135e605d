"""Checks and conversions of what users pass: inputs, and buffers for `out=`.

Everything here is off the hot path: `CompiledFunction` comes here only with what does not fit at the first look.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adjoint.errors import AdjointError, DTypeError, ShapeError, SymbolicError
from adjoint.runtime.signature import Signature, describe, leaves

Array = np.ndarray[Any, Any]

C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x001, 0x100, 0x400  # bits of ndarray.flags.num
READY = C_CONTIGUOUS | ALIGNED
FILLABLE = READY | WRITEABLE


def arrange(signature: Signature, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """Positional and keyword arguments in the order of the inputs. Raises SymbolicError (a TypeError)."""
    labels = [param.label for param in signature.inputs]
    takes = f"{signature.name} takes {len(labels)} argument{'' if len(labels) == 1 else 's'} ({', '.join(labels)})"
    if len(args) > len(labels):
        raise SymbolicError(f"{takes}, got {len(args) + len(named)}")
    values: dict[str, Any] = dict(zip(labels, args, strict=False))
    for name, value in named.items():
        if name not in labels:
            raise SymbolicError(f"{takes}, got one named {name!r}")
        if name in values:
            raise SymbolicError(f"{takes}, got {name!r} twice, by position and by name")
        values[name] = value
    missing = [label for label in labels if label not in values]
    if missing:
        raise SymbolicError(f"{takes}, got {len(args) + len(named)}; missing: {', '.join(missing)}")
    return [values[label] for label in labels]


def admit(signature: Signature, index: int, value: Any) -> Array:
    """`value` as an aligned contiguous array of the input's dtype, without a copy where it is one already.

    Arrays (and what offers itself as one) convert where no value can be lost; Python and NumPy scalars and lists of
    them are weak: floats fit every float dtype, integers every dtype that holds their value. Raises DTypeError for
    lossy conversions, ShapeError for another rank or extent. Run-time dimensions are the binder's business.
    """
    param = signature.inputs[index]
    dtype = np.dtype(param.dtype)
    weak = _is_weak(value)
    array = _weak_array(signature, index, value, dtype) if weak else _strict_array(signature, index, value)
    fits = len(array.shape) == len(param.shape) and all(
        isinstance(wanted, str) or wanted == extent for wanted, extent in zip(param.shape, array.shape, strict=True)
    )
    if not fits:
        raise ShapeError(_message(signature, index, array))
    if not weak and not np.can_cast(array.dtype, dtype, "safe"):
        hint = f"converting may lose values; pass {param.label}.astype({param.dtype!r}) if that is meant"
        raise DTypeError(f"{_message(signature, index, array)}: {hint}")
    return np.require(array, dtype, ("C_CONTIGUOUS", "ALIGNED"))


def _message(signature: Signature, index: int, array: Array) -> str:
    param = signature.inputs[index]
    expected = describe(param.dtype, param.shape)
    return f"{signature.argument(index)}: expected {expected}, got {describe(array.dtype, array.shape)}"


def _is_weak(value: Any) -> bool:
    """Whether all leaves of a (nested) value are Python or NumPy scalars."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list | tuple):
            stack.extend(item)
        elif not isinstance(item, bool | int | float | np.generic):
            return False
    return True


def _weak_array(signature: Signature, index: int, value: Any, dtype: np.dtype[Any]) -> Array:
    try:
        natural = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ShapeError(f"{signature.argument(index)}: a list that is no array: {error}") from error
    if natural.size == 0:
        return natural.astype(dtype)
    kinds = {"b": "biuf", "i": "iuf", "u": "iuf", "f": "f"}
    if dtype.kind not in kinds.get(natural.dtype.kind, ""):
        raise DTypeError(f"{_message(signature, index, natural)}")
    if natural.dtype.kind in "iu" and dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = int(natural.min()), int(natural.max())
        if low < info.min or high > info.max:
            worst = low if low < info.min else high
            raise DTypeError(f"{_message(signature, index, natural)}: {worst} does not fit into {dtype}")
    with np.errstate(over="ignore"):  # a float beyond float32 becomes inf, as in NumPy's own weak promotion
        return natural.astype(dtype)


def _strict_array(signature: Signature, index: int, value: Any) -> Array:
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray):
        raise DTypeError(f"{signature.argument(index)}: a masked array, whose mask would be lost; pass x.filled(…)")
    try:
        array = np.asarray(value)
    except AdjointError:
        raise
    except Exception as error:
        raise DTypeError(f"{signature.argument(index)}: a {type(value).__name__} is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        shown = type(value).__name__ if array.dtype.kind == "O" else describe(array.dtype, array.shape)
        param = signature.inputs[index]
        raise DTypeError(f"{signature.argument(index)}: expected {describe(param.dtype, param.shape)}, got {shown}")
    return array


def flatten_out(signature: Signature, out: Any) -> list[Array]:
    """The buffers of `out=` by output number. Raises SymbolicError when its structure is not that of the outputs."""
    if isinstance(signature.structure, int) and isinstance(out, np.ndarray):
        return [out]
    found: list[tuple[int, Any, str]] = []
    stack: list[tuple[Any, Any, str]] = [(signature.structure, out, "out")]
    while stack:
        wanted, given, path = stack.pop()
        if isinstance(wanted, int):
            found.append((wanted, given, path))
        elif isinstance(wanted, dict):
            if not isinstance(given, dict) or given.keys() != wanted.keys():
                expected = f"a dict with the keys {', '.join(map(repr, wanted))}"
                raise SymbolicError(f"{signature.name}: {path} must be {expected}, got {_shown(given)}")
            stack += [(wanted[key], given[key], f"{path}[{key!r}]") for key in wanted]
        else:
            if not isinstance(given, list | tuple) or len(given) != len(wanted):
                raise SymbolicError(f"{signature.name}: {path} must be a list of {len(wanted)}, got {_shown(given)}")
            stack += [(w, g, f"{path}[{i}]") for i, (w, g) in enumerate(zip(wanted, given, strict=True))]
    found.sort(key=lambda item: item[0])
    for number, given, path in found:
        if not isinstance(given, np.ndarray):
            param = signature.outputs[number]
            expected = describe(param.dtype, param.shape)
            raise SymbolicError(f"{signature.name}: {path} must be a NumPy array {expected}, got {_shown(given)}")
    return [given for _, given, _ in found]


def check_out(
    signature: Signature, buffers: list[Array], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype[Any]]
) -> None:
    """Raise ShapeError, DTypeError or SymbolicError unless each buffer can take its output as it stands."""
    for number, buffer in enumerate(buffers):
        shape, dtype, flags = shapes[number], dtypes[number], buffer.flags.num
        if buffer.shape == shape and buffer.dtype == dtype and flags & FILLABLE == FILLABLE:
            continue
        order = leaves(signature.structure)
        where = f"out[{order.index(number)}]" if len(order) > 1 else "out"
        head = f"{signature.name}: {where}: expected {describe(dtype, shape)}, got"
        if buffer.shape != shape:
            raise ShapeError(f"{head} {describe(buffer.dtype, buffer.shape)}")
        if buffer.dtype != dtype:
            raise DTypeError(f"{head} {describe(buffer.dtype, buffer.shape)}")
        if flags & READY != READY:
            raise SymbolicError(f"{head} one that is not C-contiguous and aligned")
        raise SymbolicError(f"{head} one that is read-only")


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return describe(value.dtype, value.shape)
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(map(repr, value))}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple) else type(value).__name__
