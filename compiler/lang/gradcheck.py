"""`gradcheck`: derivatives against differences of values, and both modes against each other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..autodiff import forward, reverse
from ..errors import GradientError, ShapeError
from ..graph import build as b
from ..graph import dtypes, sizes
from ..graph.control import item
from ..graph.interp import evaluate
from ..graph.node import Node, Token, make, toposort
from .array import Array
from .explain import complain
from .grads import _floating
from .lift import wrap
from .tree import flatten

Values = dict[Node, np.ndarray[Any, Any]]
Dims = dict[sizes.Dim, int]

STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
IMAGINARY = 1e-30
ENTRIES = 256  # of one array at most that are varied one by one
# Operations that NumPy evaluates for complex numbers as the analytic functions that they are.
ANALYTIC = frozenset((
    "add", "subtract", "multiply", "divide", "negative", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh",
    "sqrt", "expm1", "log1p", "sum", "contract", "reshape", "permute", "broadcast", "slice", "concat", "diagonal",
    "take", "copy", "hook", "carry",
))  # fmt: skip


def gradcheck(y: Any, xs: Any, values: Any, order: int = 1, *, rtol: float = 1e-5, atol: float = 1e-7) -> bool:
    """True if the derivatives of `y` by `xs` at `values` are right up to the given order; else raises GradientError.

    The interpreter evaluates everything in float64. Reverse mode is compared with central differences, or with complex
    steps where every operation on the way is analytic (Squire and Trapp, "Using Complex Variables to Estimate
    Derivatives of Real Functions", 1998), for every entry of every x, of large arrays for a sample; then forward mode
    with reverse mode. Entries may differ by rtol of the derivative and atol of the largest one; the error names the
    entry that is worst, and the operation whose rule is wrong if it is one. Order k checks derivatives of random
    combinations of those of order k-1. `values` is structured as `xs`, of which integers only take part as values;
    variables that are not among `xs` have their own. At a kink differences are no derivative.
    """
    y = _floating("gradcheck", "what is differentiated", y)
    leaves, _ = flatten(xs)
    given = [np.asarray(v) for v in ([values] if isinstance(xs, Array) else flatten(values)[0])]
    if len(leaves) != len(given):
        raise complain(GradientError, f"gradcheck: {len(given)} values for {len(leaves)} arrays")
    if not isinstance(order, int) or order < 1:
        raise complain(GradientError, f"gradcheck: order is an int of at least 1, got {order!r}")
    at: Values = {}
    dims: Dims = {}
    for x, value in zip(leaves, given, strict=True):
        if not isinstance(x, Array):
            raise complain(GradientError, f"gradcheck: xs must be symbolic arrays, got {type(x).__name__}", x)
        _bind(x, value, dims)
        at[x.node] = value.astype(np.float64) if dtypes.is_float(x.dtype) else value
    sources = [x for x in leaves if dtypes.is_float(x.dtype)]
    if not sources:
        raise complain(GradientError, "gradcheck: none of xs is floating", *leaves[:1])
    for node in toposort([y.node], stop=at.__contains__):
        if node.op.name == "variable" and node not in at:
            at[node] = node["token"].storage.array
        elif node.op.name == "input" and node not in at:
            raise complain(GradientError, "gradcheck: an input that y depends on has no value", y, Array(node))
    rng = np.random.default_rng(0)
    z = y.node
    for k in range(1, order + 1):
        z = _Check(y, z, sources, at, dims, rng, k, (rtol, atol)).run()
    return True


def _bind(x: Array, value: np.ndarray[Any, Any], dims: Dims) -> None:
    if len(value.shape) != x.ndim:
        raise complain(ShapeError, f"gradcheck: a value of shape {list(value.shape)} for {x.describe()}", x)
    for extent, n in zip(x.shape, value.shape, strict=True):
        if isinstance(extent, sizes.Dim):
            dims.setdefault(extent, n)
        if (sizes.evaluate(extent, dims) if not isinstance(extent, int) else extent) != n:
            raise complain(ShapeError, f"gradcheck: a value of shape {list(value.shape)} for {x.describe()}", x)


class _Check:
    """One order: derivatives of the node `z`, which is `y` or a combination of derivatives of it."""

    def __init__(
        self, y: Array, z: Node, xs: Sequence[Array], at: Values, dims: Dims, rng: np.random.Generator, order: int,
        tolerance: tuple[float, float],
    ) -> None:  # fmt: skip
        self.y, self.z, self.xs, self.at, self.dims = y, z, xs, at, dims
        self.rng, self.order, (self.rtol, self.atol) = rng, order, tolerance
        self.bar = self.random(z)
        self.nodes = [x.node for x in xs]

    def random(self, like: Node) -> Node:
        """A leaf like a node, and a random value for it."""
        leaf = make("input", (), Token("random"), like.shape, like.dtype)
        shape = tuple(n if isinstance(n, int) else sizes.evaluate(n, self.dims) for n in like.shape)
        self.at[leaf] = self.rng.uniform(0.5, 1, shape) * self.rng.choice([-1.0, 1.0], shape)
        return leaf

    def values(self, nodes: Sequence[Node], at: Values | None = None) -> list[np.ndarray[Any, Any]]:
        return evaluate(nodes, self.at if at is None else at, self.dims, "float64")

    def run(self) -> Node:
        """Compares; gives the combination of the derivatives that the next order is taken of."""
        parts = reverse.vjp([self.z], self.nodes, [self.bar])
        slopes = [b.zeros_like(x) if g is None else g for x, g in zip(self.nodes, parts, strict=True)]
        found = self.values(slopes)
        self.against_steps(found)
        dots = [self.random(x) for x in self.nodes]
        self.against_forward(found, dots)
        total: Node | None = None
        for g, dot in zip(slopes, dots, strict=True):
            part = b.sum(b.cast(b.mul(g, dot), self.y.dtype), range(len(g.shape)))
            total = part if total is None else b.add(total, part)
        assert total is not None
        return total

    def against_steps(self, found: Sequence[np.ndarray[Any, Any]]) -> None:
        expected = [self.differences(x, complex_step=True) for x in self.nodes] if self.analytic() else [None]
        how = "complex steps give"
        if any(e is None for e in expected):
            expected = [self.differences(x) for x in self.nodes]
            how = "central differences give"
        scale = max((float(np.max(np.abs(e[1]), initial=0)) for e in expected if e is not None), default=0.0)
        worst: tuple[float, Any] = (1.0, None)
        for x, g, pair in zip(self.xs, found, expected, strict=True):
            assert pair is not None
            entries, want = pair
            for entry, w in zip(entries, want, strict=True):
                got = g.reshape(-1)[entry]
                allowed = self.rtol * abs(w) + self.atol * max(scale, 1.0)
                ratio = abs(got - w) / allowed if np.isfinite(got) and np.isfinite(w) else np.inf
                if ratio > worst[0]:
                    worst = (float(ratio), (x, np.unravel_index(entry, g.shape), got, w))
        if worst[1] is not None:
            x, place, got, w = worst[1]
            which = f"[{', '.join(map(str, map(int, place)))}]" if place else ""
            label = x.name or x.node.op.name
            self.fail(f"by {label}{which} reverse mode gives {float(got):.8g}, {how} {float(w):.8g}", x)

    def against_forward(self, found: Sequence[np.ndarray[Any, Any]], dots: Sequence[Node]) -> None:
        (tangent,) = forward.jvp([self.z], self.nodes, list(dots))
        got = 0.0
        if tangent is not None:
            got = float((self.values([tangent])[0] * self.at[self.bar]).sum())
        terms = [g * self.at[d] for g, d in zip(found, dots, strict=True)]
        want = float(sum(t.sum() for t in terms))
        size = float(sum(np.abs(t).sum() for t in terms))
        if not abs(got - want) <= self.rtol * max(size, abs(got)) + self.atol:
            self.fail(f"along a direction forward mode gives {got:.8g}, reverse mode {want:.8g}", self.xs[0])

    def analytic(self) -> bool:
        path = set(reverse.between([self.z], self.nodes))
        return all(n.op.name in ANALYTIC or n in self.nodes for n in path) and bool(path)

    def differences(self, x: Node, complex_step: bool = False) -> Any:
        """Entries of x, and the derivatives by them; None where NumPy has no complex evaluation of a node."""
        base = self.at[x]
        count = base.size
        entries = np.arange(count) if count <= ENTRIES else np.sort(self.rng.choice(count, ENTRIES, replace=False))
        slopes = []
        for entry in entries:
            step = IMAGINARY if complex_step else STEP * max(1.0, abs(base.reshape(-1)[entry]))
            try:
                slopes.append(self.complex_slope(x, entry) if complex_step else self.slope(x, entry, step))
            except (TypeError, ValueError, np.exceptions.ComplexWarning):
                if not complex_step:
                    raise
                return None
        return entries, np.array(slopes)

    def moved(self, x: Node, entry: int, by: Any) -> Values:
        base = self.at[x]
        value = base.astype(np.result_type(base, type(by))).reshape(-1)
        value[entry] += by
        return {**self.at, x: value.reshape(base.shape)}

    def slope(self, x: Node, entry: int, step: float) -> float:
        ahead, behind = (self.values([self.z], self.moved(x, entry, s))[0] for s in (step, -step))
        return float(((ahead - behind) * self.at[self.bar]).sum() / (2 * step))

    def complex_slope(self, x: Node, entry: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            (value,) = evaluate([self.z], self.moved(x, entry, IMAGINARY * 1j), self.dims, "complex128")
        return float((np.imag(value) * self.at[self.bar]).sum() / IMAGINARY)

    def fail(self, text: str, x: Array) -> None:
        what = "the derivative" if self.order == 1 else f"the derivative of order {self.order}"
        culprit = self.culprit()
        operands: list[Any] = [self.y, x]
        if culprit is not None:
            text += f"; the rule of {culprit.op.name} is wrong"
            shown = item(culprit, 0) if isinstance(culprit.dtype, tuple) else culprit
            operands.append(wrap(shown))
        raise complain(GradientError, f"gradcheck: {what} {text}", *operands, names=("y", "x", "rule"))

    def culprit(self) -> Node | None:
        """The first operation whose rule does not agree with differences of it alone."""
        inputs = set(self.nodes)
        path = [n for n in reverse.between([self.z], self.nodes) if n not in inputs and n.op.name != "item"]
        needed = list(dict.fromkeys(i for n in path for i in n.inputs))
        known: Mapping[Node, Any] = dict(zip(needed, self.values(needed), strict=True))
        return next((n for n in path if not self.agrees(n, known)), None)

    def agrees(self, node: Node, known: Mapping[Node, Any]) -> bool:
        own = [make("input", (), Token("operand"), i.shape, i.dtype) for i in node.inputs]
        again = make(node.op, own, *node.attrs)
        results = [item(again, k) for k in range(len(again.dtype))] if isinstance(again.dtype, tuple) else [again]
        results = [r for r in results if dtypes.is_float(r.dtype)]
        at: Values = {o: known[i] for o, i in zip(own, node.inputs, strict=True)}
        floats = [o for o in own if dtypes.is_float(o.dtype)]
        base = self.values(results, at)
        bars = [make("input", (), Token("cotangent"), r.shape, r.dtype) for r in results]
        dots = {o: self.rng.uniform(0.5, 1, at[o].shape) * self.rng.choice([-1.0, 1.0], at[o].shape) for o in floats}
        weights = {g: self.rng.uniform(0.5, 1, v.shape) for g, v in zip(bars, base, strict=True)}
        try:
            parts = reverse.vjp(results, floats, bars)
        except GradientError:
            return False
        slopes = [(o, p) for o, p in zip(floats, parts, strict=True) if p is not None]
        got = sum(
            float((v * dots[o]).sum())
            for (o, _), v in zip(slopes, self.values([p for _, p in slopes], {**at, **weights}), strict=True)
        )
        step = STEP * max(1.0, *(float(np.max(np.abs(at[o]), initial=0)) for o in floats)) if floats else STEP
        sides = [self.values(results, {**at, **{o: at[o] + s * dots[o] for o in floats}}) for s in (step, -step)]
        want = sum(
            float(((u - v) * weights[g]).sum() / (2 * step)) for u, v, g in zip(*sides, bars, strict=True)
        )
        return bool(abs(got - want) <= 1e-4 * (1 + abs(want)) or not np.isfinite(want))

