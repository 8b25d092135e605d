"""Updates that results bring along into the functions that compute them."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph.node import toposort
from adjoint.lang.state import carry


def counted(x, count, by=1.0):
    """x, which counts how often it was computed."""
    return carry(x, {count: count + by})


@pytest.fixture(name="parts")
def _parts():
    return ad.input("x", (2,)), ad.variable(2.0, "w"), ad.variable(0.0, "count", requires_grad=False)


def call(outputs, x, **how):
    return ad.compile(x, outputs, backend="numpy", **how)(np.ones(2, "f"))


def test_what_is_computed_from_a_result_brings_its_updates(parts):
    x, w, count = parts
    y = (counted(x * w, count) + 1).sum()
    assert call(y, x) == 6 and count.value == 1
    assert call({"twice": [y * 2, y]}, x)["twice"] == [12, 6] and count.value == 2
    call([], x, updates={w: w - ad.grad(y, w)})
    assert count.value == 3 and w.value == 0
    call(x * w, x)
    assert count.value == 3


def test_derivatives_bring_them_where_they_need_no_value_of_it(parts):
    x, w, count = parts
    assert (call(ad.grad(counted(x, count).sum(), x), x) == 1).all() and count.value == 1
    _, g = ad.value_and_grad(lambda a: counted(a, count).sum())(x)
    call(g, x)
    assert count.value == 2
    call(ad.grad(ad.grad(counted(x * x * w, count).sum(), w), w), x)
    assert count.value == 3


def test_updates_can_be_declined_or_given(parts):
    x, _, count = parts
    y = counted(x, count)
    call(y, x, state_updates=False)
    assert count.value == 0
    call(y, x, updates={count: count - 5})
    assert count.value == -5


def test_the_values_read_are_those_before_the_call(parts):
    x, _, count = parts
    count.value = 7
    y = counted(x, count) * count
    assert (call(y, x) == 7).all() and count.value == 8


def test_several_updates_of_one_variable_follow_each_other(parts):
    x, _, count = parts
    y = counted(ad.exp(counted(x, count)), count)
    call(y, x)
    # The same update twice is one.
    assert count.value == 1
    z = carry(carry(x, {count: 2 * count + 1}) * 2, {count: count * 10})
    count.value = 3
    assert (call(z, x) == 2).all() and count.value == 70


def test_state_of_what_a_new_value_is_computed_from(parts):
    x, _, count = parts
    total = ad.variable(np.zeros(2, "f"), "total", requires_grad=False)
    y = carry(x, {total: total + counted(2 * x, count)})
    call(y, x)
    assert count.value == 1 and (total.value == 2).all()


def test_no_pass_meets_the_node(parts):
    x, _, count = parts
    for backend in ("c", "numpy"):
        f = ad.compile(x, counted(x, count) * 2, backend=backend)
        assert "carry" not in f.dump("graph") and "update" in f.dump("graph")
        np.testing.assert_array_equal(f(np.ones(2, "f")), [2, 2])
    assert count.value == 2
    assert any(n.op.name == "carry" for n in toposort([counted(x, count).node]))


def test_traced_functions_bring_them(parts):
    _, _, count = parts

    @ad.function(backend="numpy")
    def f(a):
        return counted(a * 3, count)

    assert (f(np.ones(2, "f")) == 3).all() and (f(np.ones(2, "f")) == 3).all() and count.value == 2


def test_loops_bring_them_once(parts):
    x, _, count = parts

    def body(c, a):
        _, inner = ad.scan(lambda d, e: (d, counted(e * a, count)), 0.0, x)
        return c + a, inner.sum()

    last, ys = ad.scan(body, 0.0, x)
    assert call(last, x) == 2 and count.value == 1
    assert (call(ys, x) == 2).all() and count.value == 2
    compiled = ad.compile(x, [last, ys])(np.ones(2, "f"))
    assert compiled[0] == 2 and count.value == 3


def test_loops_refuse_what_changes_with_the_iteration(parts):
    x, _, count = parts
    with pytest.raises(ad.GraphError, match=r'the body of scan over .* would update "count" in every iteration'):
        ad.scan(lambda c, a: (c, counted(a, count, a)), 0.0, x)


def test_dropout_within_a_loop():
    drop = ad.nn.Dropout(0.5, seed=1)
    x = ad.input("x", (3, 40))
    _, ys = ad.scan(lambda c, a: (c, drop(a, training=True)), 0.0, x)
    f = ad.compile(x, ys, backend="numpy")
    rows = [tuple(row) for _ in range(2) for row in f(np.ones((3, 40), "f"))]
    # Every iteration and every call draws for itself.
    assert len(set(rows)) == 6 and set(np.ravel(rows)) == {0.0, 2.0}


def test_what_does_not_fit(parts):
    x, _, count = parts
    with pytest.raises(ad.GraphError, match="must be a variable"):
        carry(x, {x: x})
    with pytest.raises(ad.ShapeError, match='the new value of a variable does not fit it: float32\\[2\\] for variable'):
        carry(x, {count: x})
    with pytest.raises(ad.DTypeError, match="does not fit"):
        carry(x, {count: count.astype("float64")})
