"""What a compiled function takes and returns, and how run-time dimensions are bound by the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from adjoint.artifact import Artifact, DimSpec, Param
from adjoint.errors import GraphError, ShapeError

# A tree of lists, tuples and dicts whose leaves are output numbers, each used once: 0, [0, 1], {"loss": 0, "w": [1]}.
Structure = Any

_KNOWN_SHAPES = 256  # bindings remembered per function
_PROBES = (0, 1, 2, 1001)  # where an expression must lie on one line to be solved for a dimension


def describe(dtype: object, shape: Sequence[int | str]) -> str:
    """`float32[batch, 784]`, the form of all messages."""
    return f"{dtype}[{', '.join(map(str, shape))}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs in slot order, the dimensions in the order of the extents, and the outputs' structure."""

    name: str
    inputs: tuple[Param, ...]
    outputs: tuple[Param, ...]
    dims: tuple[DimSpec, ...] = ()
    structure: Structure = 0

    @classmethod
    def of(cls, artifact: Artifact, structure: Structure) -> Signature:
        def role(wanted: str) -> tuple[Param, ...]:
            return tuple(param for param in artifact.params if param.role == wanted)

        return cls(artifact.name, role("input"), role("output"), artifact.dims, structure)

    def argument(self, index: int) -> str:
        return f'{self.name}: argument {index + 1} "{self.inputs[index].label}"'


def leaves(structure: Structure) -> list[int]:
    """The output numbers of a structure in its own order."""
    found: list[int] = []
    stack = [structure]
    while stack:
        item = stack.pop()
        if isinstance(item, int):
            found.append(item)
        elif isinstance(item, list | tuple):
            stack.extend(reversed(item))
        elif isinstance(item, dict):
            stack.extend(reversed(item.values()))
        else:
            raise GraphError(f"outputs may be nested in lists, tuples and dicts, not in {type(item).__name__}")
    return found


def packer(structure: Structure, count: int) -> Callable[[list[Any]], Any]:
    """A function from the flat list of `count` outputs to their structure (a fresh container at each call)."""
    if sorted(leaves(structure)) != list(range(count)):
        raise GraphError(f"the structure {structure!r} does not use each of {count} outputs once")
    if isinstance(structure, int):
        return lambda values: values[0]
    if structure == list(range(count)) and isinstance(structure, list):
        return list
    return lambda values: _fill(structure, values)


def _fill(structure: Structure, values: list[Any]) -> Any:
    # The depth is that of a literal in the user's program, not of the graph.
    if isinstance(structure, int):
        return values[structure]
    if isinstance(structure, dict):
        return {key: _fill(item, values) for key, item in structure.items()}
    return type(structure)([_fill(item, values) for item in structure])


class _Extent:
    """One entry of a shape: a number, or an expression over dimension names."""

    def __init__(self, text: int | str, dims: frozenset[str]) -> None:
        self.text = text
        self.code: CodeType = compile(str(text), "<extent>", "eval")
        self.names = frozenset(self.code.co_names)
        unknown = self.names - dims
        if unknown:
            raise GraphError(f"extent {text!r} uses {min(unknown)}, which is no dimension of the function")

    def __call__(self, values: Mapping[str, int]) -> int:
        return int(eval(self.code, {"__builtins__": {}}, dict(values)))

    def solve(self, name: str, values: Mapping[str, int], extent: int) -> int | None:
        """The value of dimension `name` that gives `extent`, if the expression is a line in it and there is one."""
        first, second, *others = (self({**values, name: probe}) for probe in _PROBES)
        slope = second - first
        straight = all(y == first + slope * x for x, y in zip(_PROBES[2:], others, strict=True))
        if not straight or slope == 0 or (extent - first) % slope:
            return None
        return (extent - first) // slope


@dataclass(frozen=True, slots=True)
class Binding:
    """What the shapes of one call's inputs fix: the extents in order of the dimensions, the shapes of the outputs."""

    extents: list[int]
    outputs: list[tuple[int, ...]]


class ShapeBinder:
    """Checks the shapes of the inputs of one function and binds its run-time dimensions."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        dims = frozenset(dim.name for dim in signature.dims)
        self._inputs = [[_Extent(e, dims) for e in param.shape] for param in signature.inputs]
        self._outputs = [[_Extent(e, dims) for e in param.shape] for param in signature.outputs]
        used = frozenset().union(*(e.names for shape in self._inputs for e in shape))
        if dims - used:
            raise GraphError(f"{signature.name}: no input has dimension {min(dims - used)} in its shape to bind it")
        self.known: dict[tuple[tuple[int, ...], ...], Binding] = {}

    def bind(self, shapes: tuple[tuple[int, ...], ...]) -> Binding:
        """The binding for these input shapes. Raises ShapeError, naming the arguments that disagree."""
        known = self.known.get(shapes)
        if known is None:
            known = self._bind(shapes)
            if len(self.known) >= _KNOWN_SHAPES:
                self.known.clear()
            self.known[shapes] = known
        return known

    def _bind(self, shapes: tuple[tuple[int, ...], ...]) -> Binding:
        entries: list[tuple[int, int, _Extent, int]] = []
        for index, shape in enumerate(shapes):
            expected = self._inputs[index]
            if len(shape) != len(expected):
                raise self._mismatch(index, shape, f"{len(expected)} dimensions, not {len(shape)}")
            entries += [(index, axis, e, shape[axis]) for axis, e in enumerate(expected)]
        values, source = self._solve(entries, shapes)
        for index, axis, expression, extent in entries:
            wanted = expression(values)
            if wanted == extent:
                continue
            if not expression.names:
                raise self._mismatch(index, shapes[index], f"axis {axis}: {wanted}, not {extent}")
            known = "; ".join(f"{n} is {values[n]} by {source[n]}" for n in sorted(expression.names))
            raise self._mismatch(index, shapes[index], f"axis {axis}: {wanted}, not {extent}, because {known}")
        for dim in self.signature.dims:
            value = values[dim.name]
            head = f"{self.signature.name}: dimension {dim.name} is {value} by {source[dim.name]}"
            if value < dim.min:
                raise ShapeError(f"{head}, below its minimum {dim.min}")
            if dim.max is not None and value > dim.max:
                raise ShapeError(f"{head}, above its maximum {dim.max}")
        outputs = [tuple(e(values) for e in shape) for shape in self._outputs]
        return Binding([values[dim.name] for dim in self.signature.dims], outputs)

    def _solve(
        self, entries: list[tuple[int, int, _Extent, int]], shapes: tuple[tuple[int, ...], ...]
    ) -> tuple[dict[str, int], dict[str, str]]:
        """Values of the dimensions and where each came from: bare names first, then expressions with one unknown."""
        values: dict[str, int] = {}
        source: dict[str, str] = {}
        waiting = sorted(entries, key=lambda entry: not str(entry[2].text).isidentifier())
        progress = True
        while progress:
            progress = False
            for index, axis, expression, extent in waiting:
                unknown = expression.names - values.keys()
                if len(unknown) != 1:
                    continue
                (name,) = unknown
                solved = expression.solve(name, values, extent)
                if solved is not None:
                    values[name] = solved
                    source[name] = f'argument {index + 1} "{self.signature.inputs[index].label}" (axis {axis})'
                    progress = True
        for index, axis, expression, extent in entries:
            if expression.names - values.keys():
                missing = ", ".join(sorted(expression.names - values.keys()))
                reason = f"axis {axis}: no {missing} makes {expression.text} equal {extent}"
                raise self._mismatch(index, shapes[index], reason)
        return values, source

    def _mismatch(self, index: int, shape: tuple[int, ...], reason: str) -> ShapeError:
        param = self.signature.inputs[index]
        expected, got = describe(param.dtype, param.shape), describe(param.dtype, shape)
        return ShapeError(f"{self.signature.argument(index)}: expected {expected}, got {got} ({reason})")
