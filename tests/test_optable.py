"""Nothing is missing in the op table: a new entry that lacks a part fails here, by name."""

from __future__ import annotations

import numpy as np
import pytest

from adjoint.autodiff import batching, loops
from adjoint.graph import dtypes
from adjoint.graph.node import Op, Token, make
from adjoint.graph.table import OPS

KINDS = {"leaf", "elementwise", "structural", "reduction", "contraction", "scatter", "sequence", "control"}
# Why an operation has no derivative.
NO_DERIVATIVE = {
    "check_index": "integers only",
    **dict.fromkeys(["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert"], "integers only"),
    **dict.fromkeys(["bitwise_left_shift", "bitwise_right_shift", "philox"], "integers only"),
    **dict.fromkeys(["less", "less_equal", "equal", "not_equal"], "gives bool"),
    **dict.fromkeys(["logical_and", "logical_or", "logical_not"], "bool only"),
}
HAS_NO_VALUE = {"input", "variable", "param"}


@pytest.fixture(params=sorted(OPS))
def op(request: pytest.FixtureRequest) -> Op:
    return OPS[request.param]


def test_every_entry_is_complete(op: Op) -> None:
    assert op.kind in KINDS
    assert callable(op.infer)
    assert (op.evaluate is None) == (op.name in HAS_NO_VALUE)
    assert op.cost >= 1
    if op.kind == "structural":
        assert op.access is not None, "a structural operation is its index map"
    if op.kind in ("reduction", "contraction"):
        assert op.combine is not None
    if op.kind == "elementwise":
        assert op.lanes is not None
        assert op.kinds and set(op.kinds) <= set("fiub")
        assert op.arity is not None and len(op.samples) == op.arity
        assert all(low < high for low, high in op.samples)


def test_every_entry_has_a_derivative_or_a_reason(op: Op) -> None:
    if op.kind == "leaf":
        return
    if op.kind == "control":
        # Loops and branches have rules for both modes; results are read through items, which both handle themselves.
        assert op.name == "item" or (op.name in loops.TANGENTS and op.name in loops.COTANGENTS)
        return
    assert (op.partials is None and op.vjp is None) == (op.name in NO_DERIVATIVE)


def test_every_entry_can_be_batched(op: Op) -> None:
    if op.kind not in ("leaf", "elementwise") and op.name not in ("item", *batching.CONTROL):
        assert op.name in batching.RULES or op.kind in batching.OF_KIND


@pytest.mark.parametrize("name", sorted(n for n, o in OPS.items() if o.kind == "elementwise" and n != "check_index"))
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_the_value_has_the_inferred_type(name: str, dtype: dtypes.DType) -> None:
    op = OPS[name]
    if dtype.kind not in op.kinds:
        return
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(low, high, (3,)).astype(dtype) for low, high in op.samples]
    if name == "where":
        arrays[0] = arrays[0] > 0
    leaves = [make("input", (), Token(f"x{k}"), a.shape, a.dtype) for k, a in enumerate(arrays)]
    node = make(op, leaves, *([dtypes.FLOAT64] if name == "cast" else op.sample_attrs))
    assert op.evaluate is not None
    value = np.asarray(op.evaluate(node, arrays, node.shape))
    assert (value.shape, value.dtype) == (node.shape, node.dtype)
