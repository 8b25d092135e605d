"""Saving and loading variables: a zip of `.npy` members, which `numpy.load` reads too, without pickle."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adjoint.errors import DTypeError, ExecutionError, GraphError, ShapeError, SymbolicError

Array = np.ndarray[Any, Any]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same values give the same bytes


class VariableLike(Protocol):
    """A variable as far as this file needs one: assigning to `value` copies."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> Array: ...
    @value.setter
    def value(self, array: Array) -> None: ...


def save(path: str | os.PathLike[str], variables: Mapping[str, Any] | Iterable[VariableLike]) -> None:
    """Write arrays by name, or variables under their own names; an existing file is replaced in one step.

    Raises GraphError for a name that is missing or taken twice, DTypeError for arrays of objects.
    """
    path = _path("save", path)
    arrays: dict[str, Array] = {}
    if isinstance(variables, Mapping):
        pairs = [(name, np.asarray(value)) for name, value in variables.items()]
    else:
        pairs = [(variable.name, np.asarray(variable.value)) for variable in _listed("save", variables)]
    for name, array in pairs:
        if not isinstance(name, str) or not name:
            raise GraphError(f"save: every variable needs a name, got {name!r}")
        if name in arrays:
            raise GraphError(f"save: the name {name!r} is taken twice")
        if array.dtype.hasobject:
            raise DTypeError(f"save: {name!r} has dtype {array.dtype}, which needs pickle")
        arrays[name] = array
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, array in arrays.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _path(name: str, path: Any) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise SymbolicError(f"{name}: the first argument is the path of a file, got {path!r}") from None


def _listed(name: str, variables: Any) -> list[VariableLike]:
    """The variables, each of which has a name and a value. Raises SymbolicError for anything else."""
    if hasattr(variables, "value") or not hasattr(variables, "__iter__"):
        raise SymbolicError(f"{name}: a list of variables is expected, got {variables!r}")
    found = list(variables)
    for variable in found:
        if not hasattr(variable, "value"):
            raise SymbolicError(f"{name}: only variables have a value, not {variable!r}")
    return found


def load(path: str | os.PathLike[str], variables: Iterable[VariableLike] | None = None) -> dict[str, Array]:
    """The arrays of a file by name; with `variables`, also assigned to them.

    Nothing is assigned unless the names of both sides are the same and every shape and dtype fits. Raises GraphError,
    ShapeError or DTypeError if not, ExecutionError when the file is damaged or of another kind, OSError when it cannot
    be read.
    """
    path = _path("load", path)
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    arrays[member.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise ExecutionError(f"load: {os.fspath(path)} is damaged or was not written by save: {error}") from error
    if variables is not None:
        _assign(os.fspath(path), arrays, _listed("load", variables))
    return arrays


def _assign(path: str, arrays: dict[str, Array], variables: list[VariableLike]) -> None:
    names = [variable.name for variable in variables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GraphError(f"load: the name {twice[0]!r} is taken twice among the variables")
    missing, unknown = sorted(set(names) - set(arrays)), sorted(set(arrays) - set(names))
    if missing or unknown:
        parts = [f"the file lacks {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"no variable is called {', '.join(map(repr, unknown))}"] if unknown else []
        raise GraphError(f"load: {path}: {'; '.join(parts)}")
    for variable in variables:
        array, held = arrays[variable.name], variable.value
        shown = f"{array.dtype}{list(array.shape)}, the variable is {held.dtype}{list(held.shape)}"
        if array.shape != held.shape:
            raise ShapeError(f"load: {path}: {variable.name!r} is {shown}")
        if array.dtype != held.dtype:
            raise DTypeError(f"load: {path}: {variable.name!r} is {shown}")
    for variable in variables:
        variable.value = arrays[variable.name]
