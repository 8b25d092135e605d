"""The verifier against graphs broken by hand, and what dumps look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adjoint.errors import GraphError, VerifyError
from adjoint.graph import build as b
from adjoint.graph import dtypes, sites
from adjoint.graph.contraction import contract, plain
from adjoint.graph.control import Body, item
from adjoint.graph.node import OPS, Node, Token, make
from adjoint.graph.pretty import dump_program
from adjoint.graph.program import Program
from adjoint.graph.sites import Site
from adjoint.graph.sizes import Dim
from adjoint.graph.storage import Storage
from adjoint.graph.verify import verify_program

F = dtypes.FLOAT32
N = Dim("n")


def leaf(name: str = "x", shape: tuple[Any, ...] = (2, 3)) -> Node:
    return make("input", (), Token(name), shape, F)


def variable(name: str = "w", shape: tuple[int, ...] = (2, 3)) -> Node:
    return make("variable", (), Token(name, Storage(np.zeros(shape, np.float32))), shape, F)


def forged(op: str, inputs: list[Node], attrs: tuple[Any, ...], shape: Any, dtype: Any = F) -> Node:
    """A node past `make`, and so past every check."""
    node = object.__new__(Node)
    node.op, node.inputs, node.attrs = OPS[op], tuple(inputs), attrs
    node.shape, node.dtype, node.sites, node.stems_from = shape, dtype, (Site("model.py", 7),), None
    return node


X = leaf()
BROKEN = {
    "other shape": (forged("exp", [X], (), (2, 4)), "holds type float32\\[2, 4\\]"),
    "other dtype": (forged("exp", [X], (), (2, 3), dtypes.INT32), "operands give float32\\[2, 3\\]"),
    "too few operands": (forged("add", [X], (), (2, 3)), "takes 2 operands and has 1"),
    "operands that differ": (forged("add", [X, b.sum(X, (0,))], (), (2, 3)), "do not fit"),
    "no attribute": (forged("reshape", [X], (), (6,)), "0 attributes where it declares 1"),
    "wrong size": (forged("reshape", [X], ((5,),), (5,)), "do not fit"),
    "a shape that is none": (forged("exp", [X], (), [2, 3]), "not a tuple"),
    "an extent that is none": (forged("exp", [X], (), (2, 3.0)), "no extent"),
    "a dtype that is none": (forged("exp", [X], (), (2, 3), np.dtype(np.int16)), "not supported"),
    "not interned": (forged("exp", [X], (), (2, 3)), "not the interned node"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_nodes_are_rejected_in_context(name: str) -> None:
    node, message = BROKEN[name]
    program = Program("f", (X,), (b.neg(X), node))
    with pytest.raises(VerifyError, match=message) as raised:
        verify_program(program)
    marked = [line for line in str(raised.value).splitlines() if line.startswith(">")]
    assert len(marked) == 1 and "# model.py:7" in marked[0]


def test_context_is_ten_lines() -> None:
    y = X
    for k in range(50):
        y = b.add(y, float(k))
    bad = forged("exp", [y], (), (9,))
    rest = forged("negative", [bad], (), (9,))
    with pytest.raises(VerifyError) as raised:
        verify_program(Program("f", (X,), (rest,)))
    assert len(str(raised.value).splitlines()) == 11


def test_a_cycle_is_rejected() -> None:
    first = forged("exp", [X], (), (2, 3))
    second = forged("negative", [first], (), (2, 3))
    first.inputs = (second,)
    with pytest.raises(VerifyError, match="cycle"):
        verify_program(Program("f", (X,), (second,)))


def _loop(param: Node, out: Node) -> Node:
    return make("scan", (b.full(0.0, (), F),), Body([param], [out]), 1, 0, 3, False)


def test_leaked_placeholders_name_their_loop() -> None:
    with sites.at((Site("model.py", 12, "encoder"),)):
        inner = make("param", (), 0, 0, (), F)
    with pytest.raises(GraphError, match=r'loop "encoder" made at model\.py:12 is used outside its loop'):
        verify_program(Program("f", (), (b.exp(inner),)))
    with sites.at((Site("model.py", 13, "decoder"),)):
        other = make("param", (), 1, 0, (), F)
    with pytest.raises(GraphError, match=r'"decoder" made at model\.py:13 is used inside the body of another scan'):
        verify_program(Program("f", (), (item(_loop(inner, b.add(inner, other)), 0),)))
    verify_program(Program("f", (), (item(_loop(inner, b.exp(inner)), 0),)))


def test_bodies_are_closed() -> None:
    inner, outer = make("param", (), 0, 0, (), F), leaf("outer", ())
    with pytest.raises(VerifyError, match='not closed: it reaches input "outer"'):
        verify_program(Program("f", (outer,), (item(_loop(inner, b.add(inner, outer)), 0),)))


def test_what_users_get_wrong() -> None:
    w = variable()
    with pytest.raises(GraphError, match='input "y" is needed but is not among the arguments'):
        verify_program(Program("f", (X,), (leaf("y"),)))
    with pytest.raises(GraphError, match='the name "x" is taken twice'):
        verify_program(Program("f", (X, leaf("x")), ()))
    with pytest.raises(GraphError, match='the name "x" is taken twice'):
        verify_program(Program("f", (X,), (variable("x"),)))
    with pytest.raises(GraphError, match='input "x" is listed twice'):
        verify_program(Program("f", (X, X), ()))
    with pytest.raises(GraphError, match='dimension "n" is not bound'):
        verify_program(Program("f", (X,), (b.full(1.0, (N,), F),)))
    with pytest.raises(VerifyError, match='updates variable "w"'):
        verify_program(Program("f", (X,), (), ((w, b.sum(w, (0,))),)))
    with pytest.raises(GraphError, match='update of variable "w" is listed twice'):
        verify_program(Program("f", (X,), (), ((w, b.neg(w)), (w, b.exp(w)))))
    with pytest.raises(VerifyError, match="stands where inputs are listed"):
        verify_program(Program("f", (w,), ()))
    bounded = leaf("v", (Dim("n", max=5),))
    with pytest.raises(GraphError, match='two dimensions are called "n"'):
        verify_program(Program("f", (leaf("u", (N,)), bounded), ()))


# Inner nodes are numbered after the outer ones.
DUMP = """\
step(%0 x: float32[n, 4])
  variables %1 w: float32[4, 3]
  %0  x: float32[n, 4]             = input                                              # model.py:1
  %1  w: float32[4, 3]             = variable                                           # model.py:2
  %2  float32[3]                   = broadcast 0.125 axes=[]                              # model.py:4
  %3  float32[n, 3]                = contract %0[i, k], %1[k, j] -> [i, j] sum k<4      # model.py:3
  %4  (float32[3], float32[n, 3])  = scan %2, %3 n_carry=1 n_xs=1 length=n reverse=False {  # model.py:4
      %10  float32[3]  = param depth=0 position=0  # model.py:4
      %11  float32[3]  = param depth=0 position=1  # model.py:4
      %12  float32[3]  = add %10, %11               # model.py:4
      %13  float32[3]  = multiply %10, -3.0         # model.py:4
      yield %12, %13
  }
"""


def test_a_dump_shows_everything() -> None:
    def at(line: int) -> Any:
        return sites.at((Site("model.py", line),))

    with at(1):
        x = leaf("x", (N, 4))
    with at(2):
        w = variable("w", (4, 3))
    with at(3):
        h = contract(x, w, (N, 3, 4), 2, (plain(0), plain(2)), (plain(2), plain(1)))
    with at(4):
        p, q = (make("param", (), 0, k, (3,), F) for k in range(2))
        body = Body([p, q], [b.add(p, q), b.mul(p, -3.0)])
        loop = make("scan", (b.full(0.125, (3,), F), h), body, 1, 1, N, False)
    with at(5):
        y = b.sum(item(loop, 0), (0,))
        g = b.exp(item(loop, 1))
        g.stems_from = h
        u = b.mul(w, 2.0)
    text = dump_program(Program("step", (x,), (y, g), ((w, u),)))
    for line in DUMP.splitlines():
        assert " ".join(line.split()) in [" ".join(found.split()) for found in text.splitlines()]
    lines = text.splitlines()
    assert any("exp" in line and line.endswith("# model.py:5  d %3") for line in lines)
    assert lines[-1].startswith("  update %1 w = %")
    assert next(line for line in lines if "multiply %1, 2.0" in line)
