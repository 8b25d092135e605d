from __future__ import annotations

import array as stdlib_array
from typing import Any

import numpy as np
import pytest

from adjoint.artifact import DimSpec
from adjoint.errors import DTypeError, GraphError, ShapeError, SymbolicError

from .handmade import recorded, zeros

BATCH = (DimSpec("batch", 1, 64),)
TWO = [("x", "float32", ("batch", 784)), ("t", "int64", ("batch",))]


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((), SymbolicError, "step takes 2 arguments (x, t), got 0; missing: x, t"),
        ((1, 2, 3), SymbolicError, "step takes 2 arguments (x, t), got 3"),
        (
            (zeros("float64", 32, 783), zeros("int64", 32)),
            ShapeError,
            'step: argument 1 "x": expected float32[batch, 784], got float64[32, 783]',
        ),
        (
            (zeros("float64", 32, 784), zeros("int64", 32)),
            DTypeError,
            'step: argument 1 "x": expected float32[batch, 784], got float64[32, 784]: converting may lose values',
        ),
        ((zeros("float32", 784), zeros("int64", 32)), ShapeError, "got float32[784]"),
        ((zeros("float32", 32, 784), zeros("float32", 32)), DTypeError, 'argument 2 "t": expected int64[batch]'),
        ((zeros("float32", 32, 784), zeros("uint64", 32)), DTypeError, "got uint64[32]"),
        (
            (zeros("float32", 32, 784), zeros("int64", 16)),
            ShapeError,
            'argument 2 "t": expected int64[batch], got int64[16] (axis 0: 32, not 16, because batch is 32 by '
            'argument 1 "x" (axis 0))',
        ),
        ((zeros("float32", 0, 784), zeros("int64", 0)), ShapeError, "batch is 0 by argument 1"),
        ((zeros("float32", 65, 784), zeros("int64", 65)), ShapeError, "above its maximum 64"),
        ((zeros("float32", 1, 784), [1.5]), DTypeError, "got float64[1]"),
        ((zeros("float32", 1, 784), ["a"]), DTypeError, "expected int64[batch], got <U1[1]"),
        ((zeros("float32", 1, 784), [[1, 2], [3]]), ShapeError, "a list that is no array"),
        ((zeros("float32", 1, 784), [2**63]), DTypeError, "does not fit into int64"),
        ((object(), zeros("int64", 1)), (DTypeError, ShapeError), 'argument 1 "x": expected'),
        ((np.zeros((1, 784), object), zeros("int64", 1)), DTypeError, "got ndarray"),
        ((zeros("complex64", 1, 784), zeros("int64", 1)), DTypeError, "got complex64[1, 784]"),
        ((np.ma.masked_array(zeros("float32", 1, 784)), zeros("int64", 1)), DTypeError, "masked"),
    ],
)
def test_arguments_that_do_not_fit(args: tuple[Any, ...], error: Any, words: str) -> None:
    step, _ = recorded(TWO, dims=BATCH)
    with pytest.raises(error) as caught:
        step(*args)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("args", "named", "words"),
    [
        ((1,), {"x": 2}, "got 'x' twice"),
        ((), {"x": 1, "z": 2}, "got one named 'z'"),
        ((), {"x": 1}, "missing: t"),
    ],
)
def test_names_that_do_not_fit(args: tuple[Any, ...], named: dict[str, Any], words: str) -> None:
    step, _ = recorded(TWO, dims=BATCH)
    with pytest.raises(TypeError, match=words):
        step(*args, **named)


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", 0.1, np.float32(0.1)),
        ("float32", np.float64(0.1), np.float32(0.1)),
        ("float32", 3, np.float32(3)),
        ("float32", True, np.float32(1)),
        ("int64", 7, np.int64(7)),
        ("uint8", np.int64(200), np.uint8(200)),
        ("bool", True, np.True_),
        ("float64", np.array(0.5, np.float32), np.float64(0.5)),
        ("int64", np.array(-3, ">i4"), np.int64(-3)),
    ],
)
def test_scalars(dtype: str, value: Any, expected: Any) -> None:
    step, seen = recorded([("a", dtype, ())])
    step(value)
    (got,) = seen.inputs
    assert got.dtype == np.dtype(dtype) and got.shape == () and got == expected


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int64", 1.0), ("uint8", 256), ("uint8", -1), ("bool", 1), ("float32", np.array(1.0)), ("int32", 1j)],
)
def test_scalars_that_lose_values(dtype: str, value: Any) -> None:
    step, _ = recorded([("a", dtype, ())])
    with pytest.raises(DTypeError):
        step(value)


def test_what_is_copied_and_what_is_not() -> None:
    step, seen = recorded([("a", "float32", (2, 3))])
    good = np.arange(6, dtype=np.float32).reshape(2, 3)
    step(good)
    assert seen.inputs[0] is good
    read_only = good.copy()
    read_only.flags.writeable = False
    step(read_only)
    assert seen.inputs[0] is read_only
    misaligned = np.frombuffer(b"\0" + good.tobytes(), np.float32, 6, offset=1).reshape(2, 3)
    for other in (good.T.copy().T, np.asfortranarray(good), good.astype(np.float16), good.astype(">f4"), misaligned):
        step(other)
        (got,) = seen.inputs
        assert got.flags.c_contiguous and got.flags.aligned and got.dtype == np.float32
        np.testing.assert_array_equal(got, good)
    step(good.tolist())
    np.testing.assert_array_equal(seen.inputs[0], good)
    buffer = stdlib_array.array("f", range(6))
    step(memoryview(buffer).cast("B").cast("f", (2, 3)))
    assert np.shares_memory(seen.inputs[0], np.frombuffer(buffer, np.float32))


def test_structures() -> None:
    structure = {"loss": 0, "rest": [2, (1,)]}
    step, _ = recorded([], outputs=[(), (2,), (3,)], structure=structure)
    result = step()
    assert result["loss"] == 0 and result["rest"][1][0].tolist() == [1, 1] and result["rest"][0].tolist() == [2, 2, 2]
    assert isinstance(result["rest"][1], tuple)
    out = {"loss": zeros("float32"), "rest": [zeros("float32", 3), (zeros("float32", 2),)]}
    assert step(out=out) is out and out["rest"][0].tolist() == [2, 2, 2]
    with pytest.raises(SymbolicError, match="out must be a dict with the keys 'loss', 'rest', got list of 2"):
        step(out=[1, 2])
    with pytest.raises(SymbolicError, match=r"out\['rest'\] must be a list of 2, got list of 1"):
        step(out={"loss": zeros("float32"), "rest": [1]})
    with pytest.raises(SymbolicError, match=r"out\['loss'\] must be a NumPy array float32\[\], got float"):
        step(out={**out, "loss": 1.0})
    with pytest.raises(GraphError, match="does not use each of 2"):
        recorded([], outputs=[(), ()], structure=[0, 0])


def test_dimensions_from_expressions() -> None:
    dims = (DimSpec("n", 0, None), DimSpec("m", 1, None))
    step, seen = recorded([("a", "float32", ("2*n+1", "n+m"))], outputs=[("n*m",)], dims=dims)
    assert step(zeros("float32", 7, 5)).shape == (6,) and seen.extents == [3, 2]
    with pytest.raises(ShapeError, match=r"no n makes 2\*n\+1 equal 6"):
        step(zeros("float32", 6, 5))
    with pytest.raises(ShapeError, match="m is 0 by argument 1"):
        step(zeros("float32", 7, 3))
    with pytest.raises(GraphError, match="no input has dimension k"):
        recorded([("a", "float32", ("n",))], dims=(*dims[:1], DimSpec("k", 1, None)))
    with pytest.raises(GraphError, match="uses q"):
        recorded([("a", "float32", ("q",))])
