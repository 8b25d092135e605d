"""Misuses of compiled functions, in C and in the interpreter: arguments, buffers, indices. None changes a variable."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from misuse import check_raises, misuse, table

import adjoint as ad
from adjoint import DTypeError, ExecutionError, ShapeError, SymbolicError

k = ad.Dim("k", min=2, max=8)
x = ad.input("x", (3, 4))
rows = ad.input("rows", (k, 4))
more = ad.input("more", (k,))
pick = ad.input("pick", (3,), dtype="int64")
labels = ad.input("labels", (3,), dtype="int32")
small = ad.input("small", (), dtype="uint8")
w = ad.variable(np.ones((3, 4), np.float32), name="w")
taken = x[pick]
entropy = ad.nn.cross_entropy(x, labels)
outputs = {"taken": taken, "loss": entropy, "sums": rows.sum(1) + more, "next": small + 1}

ONES = np.ones((3, 4), np.float32)
GOOD = {
    "x": ONES,
    "rows": np.ones((5, 4), np.float32),
    "more": np.ones(5, np.float32),
    "pick": np.array([0, 1, -1]),
    "labels": np.zeros(3, np.int32),
    "small": np.uint8(7),
}
LINES = {name: f"test_calls.py:{array.site.line}" for name, array in (("taken", taken), ("entropy", entropy))}


@functools.cache
def compiled(backend):
    return ad.compile([x, rows, more, pick, labels, small], outputs, {w: w + x}, name="step", backend=backend)


@functools.cache
def doubled(backend):
    return ad.compile(x, x * 2, name="twofold", backend=backend)


class Call:
    """`call(name=value)` calls the function with that and otherwise good arguments."""

    def __init__(self, backend):
        self.backend = backend
        self.f = compiled(backend)

    def __call__(self, **changes):
        return self.f(**{**GOOD, **changes})

    def bind(self, **changes):
        return self.f.bind(**{**GOOD, **changes})

    def double(self, *args, **named):
        return doubled(self.backend)(*args, **named)


def buffers(**changes):
    good = {
        "taken": np.empty((3, 4), np.float32),
        "loss": np.empty((), np.float32),
        "sums": np.empty(5, np.float32),
        "next": np.empty((), np.uint8),
    }
    return {**good, **changes}


def read_only():
    array = np.ones((3, 4), np.float32)
    array.flags.writeable = False
    return array


ARGUMENTS = [
    misuse(
        "no-argument", lambda call: call.double(), SymbolicError, r"twofold takes 1 argument \(x\), got 0; missing: x"
    ),
    misuse("two-arguments", lambda call: call.double(ONES, ONES), SymbolicError, r"twofold takes 1 argument .* got 2"),
    misuse("unknown-name", lambda call: call(y=ONES), SymbolicError, "step takes 6 arguments .* named 'y'"),
    misuse("twice", lambda call: call.double(ONES, x=ONES), SymbolicError, "twofold .* 'x' twice"),
    misuse(
        "shape", lambda call: call(x=ONES[:2]), ShapeError, r'step: argument 1 "x": .* float32\[3, 4\], got .*\[2, 4\]'
    ),
    misuse("rank", lambda call: call(x=ONES[0]), ShapeError, r'step: argument 1 "x": .* got float32\[4\]'),
    misuse("scalar", lambda call: call(x=1.0), ShapeError, r'step: argument 1 "x": .* float32\[3, 4\], got'),
    misuse("wider-float", lambda call: call(x=ONES.astype("d")), DTypeError, "float64.*lose.* x.astype\\('float32'\\)"),
    misuse("int-for-float", lambda call: call(x=np.ones((3, 4), int)), DTypeError, r'"x": .* got int64\[3, 4\]'),
    misuse("complex", lambda call: call(x=ONES * 1j), DTypeError, r'step: argument 1 "x": .* got complex64'),
    misuse("string", lambda call: call(x="a"), DTypeError, r'step: argument 1 "x": expected float32\[3, 4\], got'),
    misuse("none", lambda call: call(x=None), DTypeError, 'step: argument 1 "x": .* got NoneType'),
    misuse("objects", lambda call: call(x=ONES.astype(object)), DTypeError, 'step: argument 1 "x": expected'),
    misuse("ragged", lambda call: call(x=[1, [2]]), ShapeError, 'step: argument 1 "x": a list that is no array'),
    misuse("symbol", lambda call: call(x=x), SymbolicError, 'NumPy value .* input "x"', "ad.compile"),
    misuse("masked", lambda call: call(x=np.ma.masked_array(ONES)), DTypeError, "masked array, .* x.filled"),
    misuse("floats-for-ints", lambda call: call(pick=[0, 1, 2.5]), DTypeError, 'argument 4 "pick": expected int64'),
    misuse("unsigned", lambda call: call(pick=np.zeros(3, np.uint64)), DTypeError, '"pick": .* got uint64'),
    misuse("too-large", lambda call: call(small=300), DTypeError, '"small": .* 300 does not fit into uint8'),
    misuse("negative", lambda call: call(small=-1), DTypeError, '"small": .* -1 does not fit into uint8'),
    misuse(
        "fixed-extent", lambda call: call(rows=np.ones((5, 3), "f")), ShapeError, r'"rows": .* float32\[k, 4\], got'
    ),
    misuse(
        "extents-differ",
        lambda call: call(more=np.ones(4, "f")),
        ShapeError,
        r'"more": .* 5, not 4, .* k is 5 by .*rows',
    ),
    misuse(
        "extent-below",
        lambda call: call(rows=np.ones((1, 4), "f"), more=np.ones(1, "f")),
        ShapeError,
        'step: dimension k is 1 by argument 2 "rows" .* below its minimum 2',
    ),
    misuse(
        "extent-above",
        lambda call: call(rows=np.ones((9, 4), "f"), more=np.ones(9, "f")),
        ShapeError,
        "step: dimension k is 9 .* above its maximum 8",
    ),
]

BUFFERS = [
    misuse("out-number", lambda call: call(out=5), SymbolicError, "step: out must be a dict with the keys 'taken'"),
    misuse("out-list", lambda call: call(out=[ONES]), SymbolicError, "step: out must be a dict .* got list of 1"),
    misuse("out-keys", lambda call: call(out={"taken": ONES}), SymbolicError, "step: out .* got a dict .* 'taken'"),
    misuse(
        "out-shape", lambda call: call(out=buffers(sums=np.empty(4, "f"))), ShapeError, r"out\[2\]: .* float32\[5\]"
    ),
    misuse(
        "out-dtype", lambda call: call(out=buffers(loss=np.empty(()))), DTypeError, r"out\[1\]: .* float32\[\], got f"
    ),
    misuse("out-layout", lambda call: call(out=buffers(taken=ONES.T.copy().T)), SymbolicError, "not C-contiguous"),
    misuse("out-read-only", lambda call: call(out=buffers(taken=read_only())), SymbolicError, "one that is read-only"),
    misuse("out-no-array", lambda call: call.double(ONES, out=5), SymbolicError, "twofold: out .* array .* got int"),
    misuse(
        "out-overlap",
        lambda call: call(out=buffers(loss=(both := np.empty(5, "f"))[0:1].reshape(()), sums=both)),
        SymbolicError,
        "step: out: two of the buffers overlap",
    ),
    misuse("bind-missing", lambda call: call.f.bind(), SymbolicError, "step takes 6 arguments .* missing: x, rows"),
    misuse("bind-shape", lambda call: call.bind(x=ONES[:2]), ShapeError, r'"x": expected float32\[3, 4\]'),
    misuse("bind-layout", lambda call: call.bind(x=ONES.T.copy().T), ShapeError, '"x": bind reads .* C-contiguous'),
    misuse(
        "bind-dtype", lambda call: call.bind(labels=np.zeros(3, np.uint8)), DTypeError, '"labels": bind .* int32, got'
    ),
    misuse("bind-variable", lambda call: call.bind(x=w.value), SymbolicError, '"x": bind .* memory of a variable'),
]

INDICES = [
    misuse(
        "index-above",
        lambda call: call(pick=np.array([0, 1, 9])),
        ExecutionError,
        'step: indexing: axis 0 of input "x": index out of range: got 9, bound 3',
        LINES["taken"],
    ),
    misuse(
        "index-below",
        lambda call: call(pick=np.array([0, 1, -4])),
        ExecutionError,
        'axis 0 of input "x": .* got -4, bound 3',
        LINES["taken"],
    ),
    misuse(
        "index-far",
        lambda call: call(pick=np.array([0, 1, 2**40])),
        ExecutionError,
        "got 1099511627776, bound 3",
        LINES["taken"],
    ),
    misuse(
        "label",
        lambda call: call(labels=np.array([0, 1, 4], np.int32)),
        ExecutionError,
        'step: cross_entropy: axis 1 of input "x": index out of range: got 4, bound 4',
        LINES["entropy"],
    ),
    misuse(
        "index-bound-call",
        lambda call: call.bind(pick=np.array([3, 0, 0]))(),
        ExecutionError,
        "step: indexing: .* got 3, bound 3",
        LINES["taken"],
    ),
]


@pytest.mark.parametrize("backend", ["c", "numpy"])
@table([*ARGUMENTS, *BUFFERS, *INDICES])
def test_call(case, backend):
    before = w.value.copy()
    check_raises(case, Call(backend))
    assert np.array_equal(w.value, before), "a call that failed has changed a variable"


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_good_arguments_are_good(backend):
    """Otherwise the errors above might be about something else."""
    before = w.value.copy()
    assert Call(backend)()["next"] == 8
    assert np.array_equal(w.value, before + 1)
    Call(backend)(out=buffers())
    assert Call(backend).bind()()["next"] == 8
