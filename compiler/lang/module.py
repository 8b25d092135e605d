"""`Module`: objects that own named variables and are called as `layer(x, training=False)`; containers of them."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from ..errors import GraphError
from ..graph import sites
from ..graph.node import Node
from . import checks
from .array import Array
from .explain import complain


class _Calls(threading.local):
    training = False
    record: list[tuple[Module, Any]] | None = None


_calls = _Calls()


def _parts(path: str, value: Any) -> Iterator[tuple[str, Array | Module]]:
    """Variables and modules that an attribute holds: itself, or members of a list, tuple or dict."""
    if isinstance(value, Module) or (isinstance(value, Array) and value.node.op.name == "variable"):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for k, part in enumerate(value):
            yield from _parts(_join(path, str(k)), part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(_join(path, str(key)), part)


def _join(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path else prefix or path


class Module:
    """Base of layers and models. Subclasses define `forward(self, x, …)` or `forward(self, x, …, training)`.

    Variables are found in attributes, in the order in which these were set, and take their path as their name:
    `model.layers = [Linear(…), Linear(…)]` gives `layers.0.weight` and so on. Names must be unique within a program:
    of two models side by side, call one `model.named("critic")`, or make both attributes of a third.

    `model(x, training=True)` reaches every module that is called meanwhile and not told otherwise.
    """

    # Layers that may stand alone get a number, so that two of them do not take the same names.
    numbered = False
    _label: str
    _prefix: str

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if any(True for _ in _parts(name, value)):
            self._rename()

    def _rename(self) -> None:
        """Gives everything inside its path as its name."""
        if "_prefix" not in vars(self):
            own = _own_name(self) if self.numbered else ""
            object.__setattr__(self, "_prefix", own)
            if own:
                object.__setattr__(self, "_label", own)
        for path, v in self.named_variables().items():
            v.name = _join(self._prefix, path)
        for path, module in self._children():
            if isinstance(module, Module):
                object.__setattr__(module, "_label", path)
                module._place(_join(self._prefix, path))

    def _place(self, prefix: str) -> None:
        object.__setattr__(self, "_prefix", prefix)
        for path, module in self._children():
            if isinstance(module, Module):
                module._place(_join(prefix, path))

    def _members(self) -> Iterable[tuple[str, Any]]:
        """Attributes by name."""
        return vars(self).items()

    def _children(self) -> Iterator[tuple[str, Array | Module]]:
        """Variables and modules of its own, by path."""
        for name, value in self._members():
            yield from _parts(name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        signature = inspect.signature(self.forward)
        parameters = signature.parameters
        flag = kwargs.get("training", _calls.training)
        if "training" not in parameters:
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                kwargs.pop("training", None)
        elif "training" not in kwargs:
            checks.function(f"forward of {type(self).__name__}", self.forward, *args, **kwargs)
            given = signature.bind(*args, **kwargs).arguments
            flag = given.get("training", flag)
            if "training" not in given:
                kwargs["training"] = flag
        checks.function(f"forward of {type(self).__name__}", self.forward, *args, **kwargs)
        before, _calls.training = _calls.training, flag
        try:
            with sites.scope(getattr(self, "_label", type(self).__name__.lower())):
                result = self.forward(*args, **kwargs)
        finally:
            _calls.training = before
        if _calls.record is not None:
            _calls.record.append((self, result))
        return result

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise complain(GraphError, f"{type(self).__name__} defines no forward(); call the modules within, or define it")

    def named(self, prefix: str) -> Self:
        """Puts `prefix` before the names of all variables; returns the module."""
        object.__setattr__(self, "_prefix", prefix)
        object.__setattr__(self, "_label", prefix)
        self._rename()
        return self

    def _walk(self) -> Iterator[tuple[str, Array | Module]]:
        """This module as "", and every variable and module within, in order of attributes; modules once."""
        yield "", self
        seen = {id(self)}
        stack: list[tuple[str, Iterator[tuple[str, Array | Module]]]] = [("", self._children())]
        while stack:
            prefix, children = stack[-1]
            path, found = next(children, ("", None))
            if found is None:
                stack.pop()
                continue
            path = _join(prefix, path)
            if isinstance(found, Module):
                if id(found) in seen:
                    continue
                seen.add(id(found))
                stack.append((path, found._children()))
            yield path, found

    def named_variables(self) -> dict[str, Array]:
        """Every variable by its path, each once: parameters, running statistics, keys."""
        found: dict[Node, tuple[str, Array]] = {}
        for path, v in self._walk():
            if isinstance(v, Array):
                found.setdefault(v.node, (path, v))
        return dict(found.values())

    def named_modules(self) -> dict[str, Module]:
        """This module as "" and all within it by their paths, each once."""
        return {path: module for path, module in self._walk() if isinstance(module, Module)}

    def named_parameters(self) -> dict[str, Array]:
        """The variables that require gradients, by path."""
        return {name: v for name, v in self.named_variables().items() if v.requires_grad}

    def parameters(self) -> list[Array]:
        """The variables that require gradients."""
        return list(self.named_parameters().values())

    def parameter_count(self) -> int:
        """How many numbers the variables that require gradients hold."""
        return sum(math.prod(map(int, v.shape)) for v in self.parameters())

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's own line: variables by shape, and plain attributes."""
        texts = []
        for name, value in self._members():
            if isinstance(value, Array):
                texts.append(f"{name}={list(value.shape)}")
            elif isinstance(value, (bool, int, float, str)) and not name.startswith("_"):
                texts.append(f"{name}={value}")
        return ", ".join(texts)

    def __repr__(self) -> str:
        own = self.extra_repr()
        inner = [(path, m) for path, m in self._entries() if not isinstance(m, Array)]
        if not inner:
            return f"{type(self).__name__}({own})"
        lines = [f"{type(self).__name__}({own}"]
        for path, m in inner:
            text = repr(m) if isinstance(m, Module) else getattr(m, "__name__", repr(m))
            lines.append(f"  ({path}): " + text.replace("\n", "\n  "))
        return "\n".join([*lines, ")"])

    def _entries(self) -> Iterator[tuple[str, Any]]:
        """What the representation lists below the module's own line."""
        return self._children()


_numbers: dict[str, int] = {}


def _own_name(layer: Module) -> str:
    """What a layer is called until it becomes part of another: `linear0`, `linear1`, …"""
    kind = type(layer).__name__.lower()
    number = _numbers[kind] = _numbers.get(kind, -1) + 1
    return f"{kind}{number}"


class _Listed(Module):
    """Modules and functions by number."""

    def __init__(self, layers: Iterable[Callable[..., Any]]) -> None:
        self.layers = list(checks.sequence("modules", layers, kind=GraphError))

    def _members(self) -> Iterable[tuple[str, Any]]:
        return [(str(k), layer) for k, layer in enumerate(self.layers)]

    def _entries(self) -> Iterator[tuple[str, Any]]:
        return iter(self._members())

    def extra_repr(self) -> str:
        return ""

    def __getitem__(self, k: int) -> Any:
        return self.layers[k]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def append(self, layer: Callable[..., Any]) -> Self:
        """Adds a layer at the end; returns the container."""
        self.layers.append(layer)
        self._rename()
        return self


class Sequential(_Listed):
    """Layers one after the other; plain functions such as `ad.relu` may stand between them."""

    def __init__(self, *layers: Callable[..., Any]) -> None:
        super().__init__(layers)

    def forward(self, x: Any) -> Any:
        for k, layer in enumerate(self.layers):
            x = checks.function(f"layer {k}", layer, x)(x)
        return x


class ModuleList(_Listed):
    """Modules by number, to be called one by one; a plain list does too where it does not grow."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__(modules)


class ModuleDict(Module):
    """Modules by name, to be called one by one; a plain dict does too where it does not grow."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.modules: dict[str, Module] = {}
        if modules is not None and not isinstance(modules, Mapping):
            raise complain(GraphError, f"ModuleDict: modules come as a dict, name → module, got {modules!r}")
        for name, module in (modules or {}).items():
            self[name] = module

    def _members(self) -> Iterable[tuple[str, Any]]:
        return self.modules.items()

    def __getitem__(self, name: str) -> Module:
        return self.modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not name:
            raise complain(GraphError, f"ModuleDict: a name is a non-empty string, got {name!r}")
        if not callable(module):
            raise complain(GraphError, f"ModuleDict: {name!r} must be a module or a function", module)
        self.modules[name] = module
        self._rename()

    def __len__(self) -> int:
        return len(self.modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def items(self) -> Iterable[tuple[str, Module]]:
        return self.modules.items()


def recorded(model: Module, *args: Any, **kwargs: Any) -> list[tuple[Module, Any]]:
    """(module, result) of every module that a call of the model calls, in the order in which they finish."""
    before, _calls.record = _calls.record, []
    try:
        model(*args, **kwargs)
        return _calls.record
    finally:
        _calls.record = before
