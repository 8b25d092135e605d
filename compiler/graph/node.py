"""Nodes: immutable, pure, interned; and the record that declares an operation."""

from __future__ import annotations

import hashlib
import itertools
import struct
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes, sites
from .dtypes import DType
from .sites import Site
from .sizes import Shape

if TYPE_CHECKING:
    from .index import Access, Index

_tokens = itertools.count()


class Node:
    """A value in the graph. Equality is identity: equal (op, inputs, attributes) give the same object.

    `shape` and `dtype` are known at construction; a node with several results has tuples of them and is read through
    `item` nodes. `sites` (where users made it) and `stems_from` (the node whose derivative it belongs to) are not part
    of its identity.
    """

    __slots__ = ("__weakref__", "attrs", "dtype", "inputs", "op", "shape", "sites", "stems_from")
    op: Op
    inputs: tuple[Node, ...]
    attrs: tuple[Any, ...]
    shape: Shape
    dtype: DType
    sites: tuple[Site, ...]
    stems_from: Node | None

    def __getitem__(self, name: str) -> Any:
        return self.attrs[self.op.attrs.index(name)]

    def __repr__(self) -> str:
        return f"<{self.op.name} {describe(self)}>"

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from .serial import flatten, restore_node

        return (restore_node, flatten([self]).parts())


class Token:
    """The identity of a leaf. Leaves with different tokens are never merged.

    `requires_grad` puts the leaf into the default set of those that are differentiated by; `hooks` are applied to
    gradients taken with respect to it, `grad` is the variable that accumulates them. Leaves pickled together keep their
    identity among each other; what is loaded is a new leaf with its own storage, without hooks.
    """

    __slots__ = ("grad", "hooks", "name", "number", "requires_grad", "storage")

    def __init__(self, name: str, storage: Any = None, requires_grad: bool = False) -> None:
        self.name, self.storage, self.number = name, storage, next(_tokens)
        self.requires_grad = requires_grad
        self.hooks: list[Callable[[Node], Node]] = []
        self.grad: Node | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Token, (self.name, self.storage, self.requires_grad))

    def __repr__(self) -> str:
        return self.name


class Literal:
    """A constant array as an attribute: compared by dtype, shape and bytes; never written.

    `content` is the bytes themselves where they are few, else their digest, which tells apart as much and keeps
    large constants from being held twice.
    """

    __slots__ = ("_key", "array", "content")
    SMALL = 64

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        array = np.array(array, order="C")
        array.flags.writeable = False
        self.array = array
        self.content = (
            array.tobytes() if array.nbytes <= self.SMALL else hashlib.sha256(array.data).digest()
        )
        self._key = (array.dtype.str, array.shape, self.content)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Literal, (self.array,))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key


Cotangent = Node | Callable[[], Node] | None


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """The single declaration of a primitive.

    kind        "leaf", "elementwise", "structural", "reduction", "sequence", "contraction", "scatter",
                "control"
    attrs       names of the attributes, in the order in which nodes hold them
    infer       (inputs, attrs) → (shape, dtype); raises ShapeError or DTypeError
    evaluate    (node, arrays, shape) → array: the reference semantics, in NumPy
    partials    elementwise: (inputs…, output) → one partial per input (see `derivative`)
    vjp         others: (node, cotangent) → per input one cotangent, a function that makes it, or None
    access      structural: (node, output index) → the accesses that make it up
    lanes       elementwise: the C function over lanes, as named in the lane library; a number that is an attribute
                follows it (`polygamma2`)
    combine     reduction: the name of the combining operation
    cost        flops per element for the cost model
    samples     argument ranges (low, high) for tests, one per input
    sample_attrs  attributes for tests, where an elementwise operation has any
    """

    name: str
    kind: str
    arity: int | None
    infer: Callable[[Sequence[Node], tuple[Any, ...]], tuple[Any, Any]]
    attrs: tuple[str, ...] = ()
    evaluate: Callable[..., Any] | None = None
    partials: Callable[..., Sequence[Any]] | None = None
    vjp: Callable[[Node, Node], Sequence[Cotangent]] | None = None
    access: Callable[[Node, tuple[Index, ...]], list[Access]] | None = None
    lanes: str | None = None
    combine: str | None = None
    cost: int = 1
    commutative: bool = False
    samples: tuple[tuple[float, float], ...] = ()
    kinds: str = ""
    sample_attrs: tuple[Any, ...] = ()


OPS: dict[str, Op] = {}


def register(op: Op) -> Op:
    if op.name in OPS:
        raise ValueError(f"operation {op.name!r} is declared twice")
    OPS[op.name] = op
    return op


_interned: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()
_lock = threading.Lock()


class _Made(threading.local):
    """Where `make` notes new nodes while somebody wants to know of them."""

    log: list[Node] | None = None


_made = _Made()


@contextmanager
def noting_new(log: list[Node]) -> Iterator[None]:
    """Appends every node that this thread makes, and that did not exist, to `log`."""
    before, _made.log = _made.log, log
    try:
        yield
    finally:
        _made.log = before
        if before is not None:
            before.extend(log)


def attribute_key(value: Any) -> Any:
    """A key that tells apart 1, 1.0, True, -0.0 and NaN, inside tuples too."""
    if isinstance(value, tuple):
        return ("tuple", *map(attribute_key, value))
    if isinstance(value, float):
        return ("float", struct.pack("<d", value))
    if isinstance(value, (int, str, bool)) or value is None:
        return (type(value).__name__, value)
    return value


def find(op: Op, inputs: Iterable[Node], attrs: Iterable[Any]) -> Node | None:
    """The node of this operation, inputs and attributes if it exists."""
    return _interned.get((op.name, tuple(map(id, inputs)), tuple(map(attribute_key, attrs))))


def make(op: Op | str, inputs: Iterable[Node] = (), *attrs: Any) -> Node:
    """The node of this operation, inputs and attributes; the existing one if it was made before.

    Raises what the operation's shape and dtype rule raises.
    """
    if isinstance(op, str):
        op = OPS[op]
    inputs = tuple(inputs)
    key = (op.name, tuple(map(id, inputs)), tuple(map(attribute_key, attrs)))
    found = _interned.get(key)
    here = sites.here()
    if found is not None:
        for site in here:
            if site not in found.sites:
                found.sites = (*found.sites, site)
        return found
    shape, dtype = op.infer(inputs, attrs)
    node = object.__new__(Node)
    node.op, node.inputs, node.attrs = op, inputs, attrs
    node.shape, node.dtype = shape, dtype
    node.sites, node.stems_from = here, sites.stem()
    with _lock:
        node = _interned.setdefault(key, node)
    if _made.log is not None:
        _made.log.append(node)
    return node


def type_text(shape: Shape, dtype: DType) -> str:
    """`float32[batch, 784]`."""
    return f"{dtypes.NAMES.get(dtype, dtype)}[{', '.join(map(str, shape))}]"


def describe(node: Node) -> str:
    if isinstance(node.shape, tuple) and isinstance(node.dtype, tuple):
        return "(" + ", ".join(type_text(s, d) for s, d in zip(node.shape, node.dtype, strict=True)) + ")"
    return type_text(node.shape, node.dtype)


def operand_lines(names: Sequence[str], nodes: Sequence[Node]) -> str:
    """The lines of an error that say what each operand is and where it was made."""
    rows = []
    for name, node in zip(names, nodes, strict=True):
        label = f'{node.op.name} "{node["token"].name}"' if node.op.kind == "leaf" and "token" in node.op.attrs else (
            node.op.name
        )
        where = str(node.sites[0]) if node.sites else ""
        rows.append((f"{name} = {label}", describe(node), where))
    widths = [max(len(row[k]) for row in rows) for k in range(2)]
    return "".join(f"\n  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)


def toposort(
    roots: Iterable[Node],
    stop: Callable[[Node], bool] | None = None,
    operands: Callable[[Node], Sequence[Node]] | None = None,
) -> list[Node]:
    """Every node that the roots depend on, operands first, each once; deterministic; no recursion.

    `operands` gives what a node depends on: its inputs, if not given.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = list(reversed(list(roots)))  # None: what lies below it has all its operands in order
    while stack:
        node = stack.pop()
        if node is None:
            order.append(stack.pop())  # type: ignore[arg-type]
        elif node not in seen:
            seen.add(node)
            below = node.inputs if operands is None else operands(node)
            if not below or (stop is not None and stop(node)):
                order.append(node)
                continue
            stack += (node, None)
            for operand in reversed(below):
                if operand not in seen:
                    stack.append(operand)
    return order
