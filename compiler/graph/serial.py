"""The graph as a flat list: canonical bytes for cache keys, pickling, and files.

The structure is JSON: tables of operations, extents, tokens and attribute tuples, then one run of integers per node.
Everything is numbered in the order in which one deterministic traversal meets it, so equal graphs give equal bytes in
any process. Sites, the nodes that adjoints stem from, values of variables and large constants travel beside it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import sites, sizes
from .control import Body, toposort_deep
from .node import OPS, Literal, Node, Token, attribute_key, make
from .program import Program
from .sites import Site
from .sizes import Dim, Extent, FloorDiv, Size
from .storage import Storage

FORMAT = 1
_MAGIC = b"adjgraph"


@dataclass(frozen=True, slots=True)
class Flat:
    """A graph taken apart. `structure` is canonical; `tokens` and `arrays` are what it refers to by number."""

    structure: bytes
    origins: bytes
    tokens: tuple[Token, ...]
    arrays: tuple[np.ndarray[Any, Any], ...]

    def parts(self) -> tuple[Any, ...]:
        return (self.structure, self.origins, self.tokens, self.arrays)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Writer:
    """Numbers what attributes refer to and turns them into JSON: plain values and tuples (as lists) stand for
    themselves, everything else is an object whose only key says what it is."""

    def __init__(self) -> None:
        self.numbers: dict[Node, int] = {}
        self.ops: dict[str, int] = {}
        self.tokens: dict[Token, int] = {}
        self.sizes: list[Any] = []
        self.size_numbers: dict[Size, int] = {}
        self.arrays: dict[Literal, int] = {}
        self.attrs: list[Any] = []
        self.attr_numbers: dict[Any, int] = {}

    def value(self, x: Any) -> Any:
        kind = type(x)
        if kind is int or kind is str or kind is bool or x is None:
            return x
        if kind is tuple:
            return [self.value(i) for i in x]
        if isinstance(x, float):
            return {"f": struct.pack(">d", x).hex()}
        if isinstance(x, np.dtype):
            return {"d": x.name}
        if isinstance(x, Size):
            return {"z": self.size(x)}
        if isinstance(x, Token):
            return {"k": self.tokens.setdefault(x, len(self.tokens))}
        if isinstance(x, Literal):
            content: Any = x.content.hex()
            if x.array.nbytes > Literal.SMALL:
                content = [content, self.arrays.setdefault(x, len(self.arrays))]
            return {"a": [x.array.dtype.name, list(x.array.shape), content]}
        if isinstance(x, Body):
            return {"b": [[self.numbers[p] for p in x.params], [self.numbers[o] for o in x.outputs]]}
        raise TypeError(f"an attribute of type {kind.__name__} cannot be serialised")

    def size(self, x: Size) -> int:
        found = self.size_numbers.get(x)
        if found is None:
            entry: list[Any]
            if isinstance(x, Dim):
                entry = ["dim", x.name, x.min, x.max]
            elif isinstance(x, FloorDiv):
                entry = ["div", self.value(x.numerator), self.value(x.denominator)]
            else:
                entry = ["sum", [[c, [self.size(a) for a in monomial]] for monomial, c in x.terms]]
            found = self.size_numbers[x] = len(self.sizes)
            self.sizes.append(entry)
        return found

    def attributes(self, attrs: tuple[Any, ...]) -> int:
        key = attribute_key(attrs)
        found = self.attr_numbers.get(key)
        if found is None:
            encoded = self.value(attrs)
            found = self.attr_numbers[key] = len(self.attrs)
            self.attrs.append(encoded)
        return found


def flatten(roots: Sequence[Node]) -> Flat:
    """Takes the graph below `roots` apart, loop bodies included."""
    order = toposort_deep(roots)
    writer = _Writer()
    numbers, ops = writer.numbers, writer.ops
    records: list[int] = []
    for number, node in enumerate(order):
        records.append(ops.setdefault(node.op.name, len(ops)))
        records.append(writer.attributes(node.attrs) if node.attrs else -1)
        records.append(len(node.inputs))
        records.extend([numbers[i] for i in node.inputs])
        numbers[node] = number
    structure = {
        "format": FORMAT,
        "ops": list(ops),
        "sizes": writer.sizes,
        "tokens": [t.name for t in writer.tokens],
        "attrs": writer.attrs,
        "nodes": records,
        "roots": [numbers[r] for r in roots],
    }
    return Flat(
        _json(structure), _origins(order, numbers), tuple(writer.tokens), tuple(a.array for a in writer.arrays)
    )


def _origins(order: Sequence[Node], numbers: Mapping[Node, int]) -> bytes:
    """Sites of every node, and the node that it stems from where that belongs to the graph."""
    table: dict[Site, int] = {}
    places = [[table.setdefault(s, len(table)) for s in node.sites] for node in order]
    stems = [numbers.get(node.stems_from, -1) if node.stems_from is not None else -1 for node in order]
    return _json([[list(s) for s in table], places, stems])


class _Reader:
    """The inverse of `_Writer`."""

    def __init__(self, tokens: Sequence[Token], arrays: Sequence[np.ndarray[Any, Any]], table: list[Any]) -> None:
        self.tokens, self.arrays = tokens, arrays
        self.nodes: list[Node] = []
        self.sizes: list[Extent] = []
        for entry in table:
            self.sizes.append(self._size(entry))

    def _size(self, entry: list[Any]) -> Extent:
        if entry[0] == "dim":
            return Dim(*entry[1:])
        if entry[0] == "div":
            return sizes.floordiv(self.value(entry[1]), self.value(entry[2]))
        total: Extent = 0
        for coefficient, atoms in entry[1]:
            total = sizes.add(total, sizes.mul(coefficient, sizes.product(self.sizes[a] for a in atoms)))
        return total

    def value(self, x: Any) -> Any:
        if isinstance(x, list):
            return tuple([self.value(i) for i in x])
        if not isinstance(x, dict):
            return x
        ((tag, what),) = x.items()
        if tag == "f":
            return struct.unpack(">d", bytes.fromhex(what))[0]
        if tag == "d":
            return np.dtype(what)
        if tag == "z":
            return self.sizes[what]
        if tag == "k":
            return self.tokens[what]
        if tag == "a":
            dtype, shape, content = what
            if isinstance(content, str):
                return Literal(np.frombuffer(bytes.fromhex(content), dtype).reshape(shape))
            found = Literal(self.arrays[content[1]])
            if found.content.hex() != content[0]:
                raise ValueError("a constant of a serialised graph does not match its digest")
            return found
        assert tag == "b", tag
        params, outputs = what
        return Body([self.nodes[p] for p in params], [self.nodes[o] for o in outputs])


def unflatten(
    structure: bytes, origins: bytes, tokens: Sequence[Token], arrays: Sequence[np.ndarray[Any, Any]]
) -> list[Node]:
    """The roots of a graph that `flatten` took apart."""
    read = json.loads(structure)
    if read["format"] != FORMAT:
        raise ValueError(f"a serialised graph of format {read['format']}, expected {FORMAT}")
    site_table, places, stems = json.loads(origins)
    table = [Site(*s) for s in site_table]
    ops = [OPS[name] for name in read["ops"]]
    reader = _Reader(tokens, arrays, read["sizes"])
    nodes, encoded, records = reader.nodes, read["attrs"], read["nodes"]
    decoded: list[tuple[Any, ...] | None] = [None] * len(encoded)
    at = 0
    while at < len(records):
        op, attrs, count = records[at : at + 3]
        inputs = [nodes[i] for i in records[at + 3 : at + 3 + count]]
        at += 3 + count
        values: tuple[Any, ...] = ()
        if attrs >= 0:
            known = decoded[attrs]
            # Bodies refer to nodes by number, and those exist once the first node with this attribute is reached.
            values = known if known is not None else reader.value(encoded[attrs])
            decoded[attrs] = values
        with sites.at(tuple([table[s] for s in places[len(nodes)]])):
            nodes.append(make(ops[op], inputs, *values))
    for node, stem in zip(nodes, stems, strict=True):
        if stem >= 0 and node.stems_from is None:
            node.stems_from = nodes[stem]
    return [nodes[r] for r in read["roots"]]


def restore_node(
    structure: bytes, origins: bytes, tokens: Sequence[Token], arrays: Sequence[np.ndarray[Any, Any]]
) -> Node:
    """What a pickled node is loaded with."""
    return unflatten(structure, origins, tokens, arrays)[0]


def dump_graph(roots: Sequence[Node]) -> bytes:
    """The graph below `roots`, values of variables and large constants included, as one self-contained string."""
    flat = flatten(roots)
    blobs: list[np.ndarray[Any, Any]] = list(flat.arrays)
    storages: list[int] = []
    for token in flat.tokens:
        if isinstance(token.storage, Storage):
            storages.append(len(blobs))
            blobs.append(token.storage.array)
        else:
            storages.append(-1)
    header = _json(
        {
            "structure": len(flat.structure),
            "origins": len(flat.origins),
            "arrays": len(flat.arrays),
            "storages": storages,
            "blobs": [[b.dtype.name, list(b.shape)] for b in blobs],
        }
    )
    pieces = [_MAGIC, struct.pack("<Q", len(header)), header, flat.structure, flat.origins]
    return b"".join([*pieces, *(np.ascontiguousarray(b).tobytes() for b in blobs)])


def load_graph(data: bytes) -> list[Node]:
    """The roots that `dump_graph` was given, with leaves of their own."""
    if data[:8] != _MAGIC:
        raise ValueError("not a serialised graph")
    (length,) = struct.unpack_from("<Q", data, 8)
    at = 16 + length
    header = json.loads(data[16:at])
    structure = data[at : at + header["structure"]]
    at += header["structure"]
    origins = data[at : at + header["origins"]]
    at += header["origins"]
    blobs = []
    for name, shape in header["blobs"]:
        dtype = np.dtype(name)
        count = int(np.prod(shape, dtype=np.int64))
        blobs.append(np.frombuffer(data, dtype, count, at).reshape(shape))
        at += count * dtype.itemsize
    names = json.loads(structure)["tokens"]
    tokens = [
        Token(name, Storage(blobs[k]) if k >= 0 else None) for name, k in zip(names, header["storages"], strict=True)
    ]
    return unflatten(structure, origins, tokens, blobs[: header["arrays"]])


def _program_roots(program: Program) -> list[Node]:
    variables, values = [v for v, _ in program.updates], [u for _, u in program.updates]
    return [*program.inputs, *program.outputs, *variables, *values]


def _outline(program: Program) -> list[Any]:
    return [program.name, len(program.inputs), len(program.outputs), len(program.updates)]


def _assemble(outline: Sequence[Any], roots: Sequence[Node]) -> Program:
    name, n_inputs, n_outputs, n_updates = outline
    at = n_inputs + n_outputs
    updates = tuple(zip(roots[at : at + n_updates], roots[at + n_updates :], strict=True))
    return Program(name, tuple(roots[:n_inputs]), tuple(roots[n_inputs:at]), updates)


def flatten_program(program: Program) -> tuple[Any, ...]:
    """What a program is pickled as; its leaves keep their identity among all that is pickled with it."""
    return (_outline(program), *flatten(_program_roots(program)).parts())


def restore_program(outline: Sequence[Any], *parts: Any) -> Program:
    return _assemble(outline, unflatten(*parts))


def serialize_program(program: Program) -> bytes:
    """The program as one self-contained string; the values of its variables travel in it."""
    outline = _json(_outline(program))
    return struct.pack("<Q", len(outline)) + outline + dump_graph(_program_roots(program))


def deserialize_program(data: bytes) -> Program:
    (length,) = struct.unpack_from("<Q", data, 0)
    return _assemble(json.loads(data[8 : 8 + length]), load_graph(data[8 + length :]))


def canonical_bytes(program: Program) -> bytes:
    """What the program computes, and under which names: nothing of where it was written or which values it holds."""
    flat = flatten(_program_roots(program))
    outline = _json(_outline(program))
    return struct.pack("<Q", len(outline)) + outline + flat.structure


def canonical_key(program: Program, extra: Mapping[str, str]) -> str:
    """The key of the graph cache: a digest of the program and of whatever else decides the C."""
    digest = hashlib.sha256(canonical_bytes(program))
    digest.update(_json(sorted(extra.items())))
    return digest.hexdigest()
