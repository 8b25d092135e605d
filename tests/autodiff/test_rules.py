"""Every primitive's rule against central differences, to second order."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph import build as b
from adjoint.graph.node import Token, make
from adjoint.graph.table import OPS
from adjoint.graph.views import windows

ELEMENTWISE = [op for op in OPS.values() if op.partials is not None and "f" in op.kinds]


def wrap(node):
    return ad.Array(node)


@pytest.mark.parametrize("shape", [(3, 4), (), (0, 3)], ids=["matrix", "scalar", "nothing"])
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise(op, shape, check):
    rng = np.random.default_rng(3)
    arrays = [rng.uniform(low, high, shape) for low, high in op.samples]
    if op.name == "where":
        mask = ad.constant(arrays[0] > 0)
        check(lambda x, y: wrap(make(op, (mask.node, x.node, y.node))), *arrays[1:])
    else:
        check(lambda *xs: wrap(make(op, [x.node for x in xs], *op.sample_attrs)), *arrays)


def _index(*values):
    return ad.constant(np.array(values, np.int64)).node


PLAIN = ((((0, 1),), 0, 1), (((2, 1),), 0, 1)), ((((2, 1),), 0, 1), (((1, 1),), 0, 1))
STRIDED = ((((0, 2), (1, 1)), -1, 1),), ((((1, 1),), 0, 1),)

# (name, function of float64 nodes, shapes of its arguments)
CASES = {
    "reshape": (lambda x: b.reshape(x, (6, 2)), [(3, 4)]),
    "permute": (lambda x: b.permute(x, (2, 0, 1)), [(2, 3, 4)]),
    "broadcast": (lambda x: b.broadcast(x, (2, 3, 4), (1, 2)), [(3, 1)]),
    "slice": (lambda x: b.slice(x, (1, 3), (5, -1), (2, -3)), [(6, 5)]),
    "pad": (lambda x: b.pad(x, (1, -1), (2, 0), (2, 0), 3.0), [(3, 4)]),
    "concat": (lambda x, y: make("concat", (x, y), 1), [(2, 3), (2, 1)]),
    "take": (lambda x: make("take", (x, _index(2, 0, 2)), 1), [(2, 3)]),
    "scatter_add": (lambda x: make("scatter_add", (_index(2, 0, 2), x), 1, 4), [(2, 3)]),
    "scatter_max": (lambda x: make("scatter_max", (_index(1, 0, 1), x), 0, 2), [(3, 2)]),
    "scatter_multiply": (lambda x: make("scatter_multiply", (_index(2, 0, 2, 2), x), 1, 4), [(2, 4)]),
    "diagonal": (lambda x: make("diagonal", (x,)), [(2, 3, 3)]),
    "windows": (lambda x: windows(x, (2, 3), (2, 1), (1, 2), (3, 2)), [(2, 6, 7)]),
    "windows of one": (lambda x: windows(x, (3,), (4,), (1,), (1,)), [(5,)]),
    "sum": (lambda x: b.sum(x, (0, 2)), [(2, 3, 2)]),
    "prod": (lambda x: make("prod", (x,), (0, 2)), [(2, 3, 2)]),
    "prod of all": (lambda x: make("prod", (x,), (0, 1)), [(2, 3)]),
    "max": (lambda x: make("max", (x,), (0, 2)), [(2, 3, 4)]),
    "recurrence": (lambda a, x: make("recurrence", (a, x), 0.5, 1, False), [(2, 4, 3), (2, 4, 3)]),
    "recurrence back": (lambda a, x: make("recurrence", (a, x), 1.0, 0, True), [(5,), (5,)]),
    "contract": (lambda x, y: make("contract", (x, y), (3, 2, 4), 2, *PLAIN), [(3, 4), (4, 2)]),
    "contract strided": (lambda x, y: make("contract", (x, y), (4, 3), 1, *STRIDED), [(7,), (3,)]),
    "copy": (lambda x: make("copy", (x,)), [(3, 4)]),
    "hook": (lambda x: make("hook", (x,), Token("mark")), [(3, 4)]),
    "after": (lambda x: make("after", (x, x)), [(3, 4)]),
    "carry": (lambda x, y: make("carry", (x, y, y)), [(3, 4), (2,)]),
    "cast": (lambda x: make("cast", (x,), np.dtype("float64")), [(3,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_others(name, check):
    fn, shapes = CASES[name]
    rng = np.random.default_rng(5)
    # Squared, so that a rule that is linear still has a second derivative to get wrong.
    check(lambda *xs: ad.square(wrap(fn(*(x.node for x in xs)))), *(rng.uniform(0.5, 2, s) for s in shapes))


# Arrays without elements, and sums over nothing, that have to go both ways through the rules.
NOTHING = {
    "reshape": (lambda x: b.reshape(x, (2, 0)), [(0, 4)]),
    "permute": (lambda x: b.permute(x, (2, 0, 1)), [(2, 0, 4)]),
    "broadcast": (lambda x: b.broadcast(x, (2, 0, 4), (1, 2)), [(0, 1)]),
    "broadcast to nothing": (lambda x: b.broadcast(x, (0, 3), (1,)), [(3,)]),
    "slice": (lambda x: b.slice(x, (2, 3), (2, -1), (1, -3)), [(6, 5)]),
    "pad": (lambda x: b.pad(x, (1, 2), (2, 0), (2, 0), 3.0), [(0, 4)]),
    "concat": (lambda x, y: make("concat", (x, y), 0), [(0, 3), (2, 3)]),
    "take": (lambda x: make("take", (x, _index()), 1), [(2, 3)]),
    "scatter_add": (lambda x: make("scatter_add", (_index(), x), 1, 4), [(2, 0)]),
    "diagonal": (lambda x: make("diagonal", (x,)), [(2, 0, 0)]),
    "sum": (lambda x: b.sum(x, (1,)), [(3, 0)]),
    "prod": (lambda x: make("prod", (x,), (0,)), [(0, 3)]),
    "max": (lambda x: make("max", (x,), (1,)), [(0, 3)]),
    "recurrence": (lambda a, x: make("recurrence", (a, x), 0.5, 1, False), [(2, 0, 3), (2, 0, 3)]),
    "contract": (lambda x, y: make("contract", (x, y), (3, 2, 0), 2, *PLAIN), [(3, 0), (0, 2)]),
    "contract to nothing": (lambda x, y: make("contract", (x, y), (0, 2, 4), 2, *PLAIN), [(0, 4), (4, 2)]),
    "cast": (lambda x: make("cast", (x,), np.dtype("float64")), [(0,)]),
}


@pytest.mark.parametrize("name", NOTHING)
def test_others_of_nothing(name, check):
    fn, shapes = NOTHING[name]
    rng = np.random.default_rng(6)
    check(lambda *xs: ad.square(wrap(fn(*(x.node for x in xs)))), *(rng.uniform(0.5, 2, s) for s in shapes))


def test_every_rule_is_tested():
    tested = {name.split()[0] for name in CASES}
    # Loops have tests of their own; positions and cut derivatives have nothing to compare.
    untested = {"scan", "item", "argmax", "argsort", "running_argmax", "searchsorted", "stop_gradient"}
    rules = {op.name for op in OPS.values() if op.vjp is not None and op.partials is None}
    assert rules - tested - untested == set()


def test_pad_value(check):
    check(lambda x, v: ad.square(wrap(make("pad", (x.node, v.node), (1, 0), (0, 2), (0, 1)))), np.ones((2, 3)), 3.0)


def test_contractions_without_a_transpose_are_refused():
    # The label that would be solved for has nothing that keeps it in range: a sum over windows.
    x, one = ad.input("x", (6,), "float64"), ad.constant(np.ones(()))
    windows = ((((0, 1), (1, 1)), 0, 1),)
    y = wrap(make("contract", (x.node, one.node), (4, 3), 1, windows, ()))
    g = ad.grad(ad.square(y).sum(), x)
    assert g.shape == (6,)
    z = wrap(make("contract", (x.node, one.node), (3, 3), 0, ((((0, 1), (1, 1)), 0, 1),), ()))
    with pytest.raises(ad.ShapeError, match="no transpose"):
        ad.grad(z, x)
