"""Random programs: the same seed gives the same program and values. Small, and fast in the interpreter.

Every elementwise operation of the table takes part, those that a test has added included; operands are squashed into
the operation's sample range where that is not the whole line, so that values stay finite.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adjoint.graph import build as b
from adjoint.graph import dtypes, interp, sequence, sizes
from adjoint.graph.contraction import contract, plain
from adjoint.graph.node import Literal, Node, Token, make
from adjoint.graph.program import Program
from adjoint.graph.sizes import Dim, Extent, Shape
from adjoint.graph.storage import Storage
from adjoint.graph.table import OPS
from adjoint.graph.views import windows

_GUARDED = {"exp", "log", "sqrt", "rsqrt", "power", "divide", "lgamma", "digamma", "polygamma"}
_LEFT_OUT = {"cast", "check_index"}


@dataclass
class Case:
    """A program, the values of its inputs and variables, and of its run-time dimensions."""

    program: Program
    values: dict[Node, np.ndarray[Any, Any]]
    dims: dict[Dim, int] = field(default_factory=dict)

    def run(self, program: Program | None = None, precision: str | None = None) -> list[np.ndarray[Any, Any]]:
        """Outputs, then new values of variables, by the interpreter; of another program over the same leaves."""
        return interp.evaluate((program or self.program).roots, self.values, self.dims, precision)


def random_case(
    seed: int, size: int = 14, dims: bool = True, dtypes_used: Sequence[str] = (), extents: Sequence[int] = (1, 2, 3, 4)
) -> Case:
    """`size` random operations over a few leaves. `dims` allows a run-time dimension."""
    return _Generator(seed, dims, dtypes_used, extents).case(size)


class _Generator:
    def __init__(self, seed: int, dims: bool, dtypes_used: Sequence[str], extents: Sequence[int]) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.data = np.random.default_rng(seed)
        self.extents = extents
        self.dims = {Dim("n"): self.rng.randint(1, max(extents))} if dims and self.rng.random() < 0.4 else {}
        self.dtypes = dtypes_used or ("float32",) * 5 + ("float64", "int32", "int64", "bool")
        self.pool: list[Node] = []
        self.values: dict[Node, np.ndarray[Any, Any]] = {}

    def number(self, extent: Extent) -> int:
        return sizes.evaluate(extent, self.dims)

    def array(self, shape: Shape, dtype: Any) -> np.ndarray[Any, Any]:
        concrete = tuple(self.number(e) for e in shape)
        dtype = np.dtype(dtype)
        if dtype.kind == "f":
            return self.data.normal(size=concrete).astype(dtype)
        if dtype.kind == "b":
            return self.data.integers(0, 2, concrete).astype(dtype)
        return self.data.integers(0 if dtype.kind == "u" else -4, 5, concrete).astype(dtype)

    def shape(self) -> Shape:
        extents: list[Extent] = [self.rng.choice(self.extents) for _ in range(self.rng.randint(0, 3))]
        if self.dims and extents and self.rng.random() < 0.6:
            extents[0] = next(iter(self.dims))
        return tuple(extents)

    def case(self, size: int) -> Case:
        inputs = [self.leaf("input", f"x{k}", self.shape()) for k in range(self.rng.randint(1, 3))]
        if self.dims and not any(d in i.shape for i in inputs for d in self.dims):
            inputs.append(self.leaf("input", "xn", (next(iter(self.dims)), 2)))
        static = [tuple(e if isinstance(e, int) else 2 for e in self.shape()) for _ in range(self.rng.randint(0, 2))]
        variables = [self.leaf("variable", f"w{k}", shape) for k, shape in enumerate(static)]
        steps = [self.elementwise, self.elementwise, self.elementwise, self.reduction, self.contraction, self.view,
                 self.view, self.structural, self.sequence, self.cast]
        for _ in range(size):
            made = self.rng.choice(steps)()
            if made is not None and self.small(made):
                self.pool.append(made)
        outputs = [self.pool[-1], *self.rng.sample(self.pool, min(2, len(self.pool)))]
        updates = [(v, self.update(v)) for v in variables if self.rng.random() < 0.8]
        program = Program(f"random{self.seed}", tuple(inputs), tuple(outputs), tuple(updates))
        return Case(program, self.values, self.dims)

    def small(self, node: Node) -> bool:
        return int(np.prod([self.number(e) for e in node.shape])) <= max(600, 30 * max(self.extents) ** 2)

    def leaf(self, op: str, name: str, shape: Shape) -> Node:
        dtype = np.dtype(self.rng.choice(self.dtypes))
        value = self.array(shape, dtype)
        node = make(op, (), Token(name, Storage(value) if op == "variable" else None), shape, dtype)
        self.values[node] = value
        self.pool.append(node)
        return node

    def pick(self, allowed: Callable[[Node], bool] = lambda x: True) -> Node | None:
        found = [x for x in self.pool if allowed(x)]
        return self.rng.choice(found) if found else None

    def update(self, variable: Node) -> Node:
        other = self.partner(variable)
        if variable.dtype == dtypes.BOOL:
            return make("logical_or", (variable, other))
        return b.add(variable, other)  # type: ignore[no-any-return]

    def partner(self, x: Node) -> Node:
        """Something of the same shape and dtype: a node, a broadcast one or a number."""
        same = self.pick(lambda o: (o.shape, o.dtype) == (x.shape, x.dtype))
        if same is not None and self.rng.random() < 0.6:
            return same
        rank = len(x.shape)
        lower = self.pick(
            lambda o: o.dtype == x.dtype and len(o.shape) < rank and o.shape == x.shape[rank - len(o.shape) :]
        )
        if lower is not None and self.rng.random() < 0.7:
            return b.broadcast(lower, x.shape, range(rank - len(lower.shape), rank))
        if x.dtype.kind == "f" and self.rng.random() < 0.3 and all(isinstance(e, int) for e in x.shape):
            return make("constant", (), Literal(self.array(x.shape, x.dtype)))
        numbers = [0.5, -1.5, 2.0, 0.0, 1.0] if x.dtype.kind == "f" else [0, 1, 2, -1, 3]
        number = self.rng.choice(numbers)
        return b.full(abs(number) if x.dtype.kind == "u" else number, x.shape, x.dtype)

    def elementwise(self) -> Node | None:
        x = self.pick()
        assert x is not None
        kind = x.dtype.kind
        names = [n for n, op in OPS.items() if op.kind == "elementwise" and n not in _LEFT_OUT and kind in op.kinds]
        op = OPS[self.rng.choice(names)]
        if op.name == "where":
            condition = self.pick(lambda o: o.dtype == dtypes.BOOL and o.shape == x.shape)
            if condition is None:
                condition = b.less(x, self.partner(x)) if kind != "b" else x
            return make("where", (condition, x, self.partner(x)))
        operands = [x, *(self.partner(x) for _ in range((op.arity or 1) - 1))]
        if op.name in _GUARDED:
            operands = [self.squash(o, *op.samples[k]) for k, o in enumerate(operands)]
        return make(op, operands, *op.sample_attrs)

    def squash(self, x: Node, low: float, high: float) -> Node:
        return b.add(b.mul(make("sigmoid", (x,)), high - low), low)  # type: ignore[no-any-return]

    def reduction(self) -> Node | None:
        x = self.pick(lambda o: len(o.shape) > 0 and o.dtype != dtypes.BOOL)
        if x is None:
            return None
        axes = sorted(self.rng.sample(range(len(x.shape)), self.rng.randint(1, len(x.shape))))
        name = self.rng.choice(["sum", "sum", "prod", "max", "argmax"])
        if name not in ("sum", "prod") and any(sizes.lower_bound(x.shape[a]) < 1 for a in axes):
            return None
        return make(name, (x,), tuple(axes))

    def sequence(self) -> Node | None:
        x = self.pick(lambda o: len(o.shape) > 0 and o.dtype != dtypes.BOOL)
        if x is None:
            return None
        axis, back = self.rng.randrange(len(x.shape)), self.rng.random() < 0.5
        name = self.rng.choice(["argsort", "running_argmax", "recurrence", "sum", "product"])
        if name == "recurrence":
            return sequence.recurrence(self.partner(x), x, self.rng.choice([0, 1]), axis, back)
        if name in ("sum", "product"):
            return (sequence.running_sum if name == "sum" else sequence.running_product)(x, axis, back)
        return make(name, (x,), axis)

    def contraction(self) -> Node | None:
        """A matrix product, an outer product or a convolution along the last axis."""
        x = self.pick(lambda o: dtypes.is_float(o.dtype) and len(o.shape) in (1, 2))
        if x is None:
            return None
        y = self.pick(lambda o: o.dtype == x.dtype and len(o.shape) == 2 and o.shape[0] == x.shape[-1])
        rank = len(x.shape)
        if y is not None and self.rng.random() < 0.7:
            rows = tuple(plain(k) for k in range(rank - 1))
            extents = (*x.shape[:-1], y.shape[1], x.shape[-1])
            return contract(x, y, extents, rank, (*rows, plain(rank)), (plain(rank), plain(rank - 1)))
        taps = make("constant", (), Literal(self.array((2,), x.dtype)))
        stride, pad = self.rng.choice([1, 2]), self.rng.choice([0, 1])
        if sizes.lower_bound(x.shape[-1]) + 2 * pad < 2:
            return None
        length = sizes.add(sizes.floordiv(sizes.add(x.shape[-1], 2 * pad - 2), stride), 1)
        window = (((rank - 1, stride), (rank, 1)), -pad, 1)
        rows = tuple(plain(k) for k in range(rank - 1))
        return contract(x, taps, (*x.shape[:-1], length, 2), rank, (*rows, window), (plain(rank),))

    def view(self) -> Node | None:
        x = self.pick()
        assert x is not None
        rank = len(x.shape)
        kind = self.rng.choice(["permute", "merge", "unit", "squeeze", "broadcast"])
        if kind == "permute":
            return b.permute(x, self.rng.sample(range(rank), rank))
        if kind == "merge" and rank >= 2:
            k = self.rng.randrange(rank - 1)
            return b.reshape(x, (*x.shape[:k], sizes.mul(x.shape[k], x.shape[k + 1]), *x.shape[k + 2 :]))
        if kind == "squeeze":
            return b.reshape(x, tuple(e for e in x.shape if e != 1))
        k = self.rng.randint(0, rank)
        if rank >= 4:
            return None
        extent = 1 if kind == "unit" else self.rng.choice([1, 2, 3])
        return b.broadcast(x, (*x.shape[:k], extent, *x.shape[k:]), [a + (a >= k) for a in range(rank)])

    def structural(self) -> Node | None:
        x = self.pick(lambda o: len(o.shape) > 0)
        if x is None:
            return None
        rank, kind = len(x.shape), self.rng.choice(["slice", "pad", "concat", "take", "scatter", "iota", "affine"])
        axis = self.rng.randrange(rank)
        n = x.shape[axis]
        if kind == "iota":
            return b.cast(b.iota(x.shape, axis), x.dtype)
        if kind == "affine":
            return self.affine(x)
        if kind == "concat":
            return make("concat", (x, self.partner(x)), axis)
        if kind == "pad":
            low = [self.rng.choice([0, 1, 2]) if k == axis else 0 for k in range(rank)]
            high = [self.rng.choice([-1, 0, 1]) if isinstance(e, int) and e > 1 and k == axis else 0
                    for k, e in enumerate(x.shape)]
            interior = [self.rng.choice([0, 0, 1]) if k == axis else 0 for k in range(rank)]
            return b.pad(x, low, high, interior, self.rng.choice([0, 1]))
        if not isinstance(n, int) or n == 0:
            return None
        if kind == "slice":
            start, step = self.rng.randrange(n), self.rng.choice([1, 1, 2, -1, -2])
            stop = self.rng.randint(start, n) if step > 0 else self.rng.randint(-1, start)
            bounds = [(start, stop, step) if k == axis else (0, e, 1) for k, e in enumerate(x.shape)]
            return make("slice", (x,), *zip(*bounds, strict=True))
        index = make("constant", (), Literal(self.data.integers(-n, n, (3,))))
        checked = make("check_index", (index,), n, "take")
        taken = make("take", (x, checked), axis)
        if kind == "take" or x.dtype == dtypes.BOOL:
            return taken
        return make("scatter_add", (checked, taken), axis, n)

    def affine(self, x: Node) -> Node | None:
        """A diagonal, else windows along the last axis."""
        rank, n = len(x.shape), x.shape[-1]
        if rank >= 2 and n == x.shape[-2]:
            return make("diagonal", (x,))
        kernel, stride, dilation = (self.rng.choice([1, 2, 3]) for _ in range(3))
        room = sizes.add(n, -dilation * (kernel - 1) - 1)
        if rank >= 4 or sizes.lower_bound(n) <= dilation * (kernel - 1):
            return None
        return windows(x, (kernel,), (stride,), (dilation,), (sizes.add(sizes.floordiv(room, stride), 1),))

    def cast(self) -> Node | None:
        x = self.pick()
        assert x is not None
        return b.cast(x, np.dtype(self.rng.choice(self.dtypes)))
