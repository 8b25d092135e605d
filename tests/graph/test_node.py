"""Interning, weakness, and no recursion anywhere."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np

from adjoint.graph import build as b
from adjoint.graph import dtypes, sites
from adjoint.graph.node import Literal, Node, Token, attribute_key, make
from adjoint.graph.pretty import dump_program
from adjoint.graph.program import Program
from adjoint.graph.serial import canonical_bytes, canonical_key, deserialize_program, serialize_program
from adjoint.graph.storage import Storage
from adjoint.graph.verify import verify_program

F = dtypes.FLOAT32


def leaf(name: str = "x", shape: tuple[int, ...] = (3,)) -> Node:
    return make("input", (), Token(name), shape, F)


def test_equal_numbers_of_different_kind_are_different_keys() -> None:
    values = [1, 1.0, True, 0, 0.0, -0.0, False, float("nan"), "1", None, (1,), (1.0,), (True,)]
    assert len({attribute_key(v) for v in values}) == len(values)
    assert attribute_key(float("nan")) == attribute_key(float("nan"))


def test_equal_nodes_are_one_and_leaves_are_not() -> None:
    x = leaf()
    assert b.add(x, 1.0) is b.add(x, 1.0)
    assert b.literal(0.0, F) is not b.literal(-0.0, F)
    assert b.literal(float("nan"), F) is b.literal(float("nan"), F)
    assert b.literal(1, dtypes.INT32) is not b.literal(1, dtypes.INT64)
    assert leaf() is not leaf()
    assert make("constant", (), Literal(np.zeros(100))) is make("constant", (), Literal(np.zeros(100)))
    assert make("constant", (), Literal(np.zeros(100))) is not make("constant", (), Literal(-np.zeros(100)))


def test_unused_nodes_are_collected() -> None:
    x = leaf()
    gone = weakref.ref(b.exp(b.add(x, 1.0)))
    gc.collect()
    assert gone() is None


def test_a_node_made_twice_has_both_sites() -> None:
    x = leaf()
    with sites.at((sites.Site("a.py", 1),)):
        first = b.exp(x)
    with sites.at((sites.Site("b.py", 2),)):
        assert b.exp(x) is first
    assert [s.file for s in first.sites] == ["a.py", "b.py"]


def test_pickled_together_leaves_keep_their_identity() -> None:
    x = leaf()
    w = make("variable", (), Token("w", Storage(np.arange(3, dtype=np.float32))), (3,), F)
    y = b.mul(x, w)
    a, c, d = pickle.loads(pickle.dumps([x, w, y]))
    assert d.inputs == (a, c)
    assert a is not x
    assert d.sites == y.sites
    np.testing.assert_array_equal(c["token"].storage.array, [0, 1, 2])
    assert copy.copy(y) is y
    assert copy.deepcopy([y])[0] is y


def chain(x: Node, length: int) -> Node:
    y = x
    for k in range(length):
        y = b.add(y, float(k % 7))
    return y


def test_a_hundred_thousand_nodes() -> None:
    x = leaf()
    program = Program("deep", (x,), (chain(x, 100_000),))
    verify_program(program)
    assert dump_program(program).count("\n") > 100_000
    loaded = deserialize_program(serialize_program(program))
    assert canonical_key(loaded, {}) == canonical_key(program, {})
    (y,) = pickle.loads(pickle.dumps(program.outputs))
    assert y.op.name == "add"


def test_the_key_sees_what_matters_and_nothing_else() -> None:
    def program(name: str = "x", number: float = 1.0, line: int = 1, value: float = 0.0, called: str = "f") -> Program:
        with sites.at((sites.Site("some.py", line),)):
            x = leaf(name)
            w = make("variable", (), Token("w", Storage(np.full(3, value, np.float32))), (3,), F)
            return Program(called, (x,), (b.mul(b.add(x, number), w),))

    base = canonical_bytes(program())
    assert base == canonical_bytes(program(line=2)) == canonical_bytes(program(value=3.0))
    assert b"some.py" not in base
    different = {base, *(canonical_bytes(p) for p in (program("y"), program(number=2.0), program(called="g")))}
    assert len(different) == 4
    assert canonical_key(program(), {"threads": "1"}) != canonical_key(program(), {"threads": "2"})


def test_large_constants_enter_the_key_as_a_digest() -> None:
    big = make("constant", (), Literal(np.arange(100_000, dtype=np.float32)))
    program = Program("f", (), (b.exp(big),))
    assert len(canonical_bytes(program)) < 1000
    loaded = deserialize_program(serialize_program(program))
    assert loaded.outputs[0] is program.outputs[0]
