"""Rules that keep a result in range, or exact, where the expression as written overflows or cancels.

Values change where the plain form loses them: log Σ exp(x) of a large x is finite. Differentiation comes before, so the
derivative of such an expression holds the same dangerous quotients; the rules for products bring these to the form of
the value. Exponentials count as positive, as they are but for underflow: what they divide and multiply cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph import build as b
from ..graph import sizes
from ..graph.node import Node, make
from ..graph.reduction import kept
from .arithmetic import is_number
from .engine import Rule, Uses

_VIEWS = ("broadcast", "reshape", "permute", "stop_gradient")
_LINEAR = (*_VIEWS, "add", "subtract", "fma", "negative", "where")
_NEAR = 32


def holds_maximum(x: Node) -> bool:
    """Whether a maximum is among the terms of a sum, which then is shifted already."""
    stack, seen = [x], 0
    while stack and seen < _NEAR:
        node = stack.pop()
        seen += 1
        if node.op.name == "max":
            return True
        if node.op.name in _LINEAR:
            stack.extend(node.inputs)
    return False


def _exponentials(total: Node) -> Node | None:
    """x of a plain Σ exp(x) of floats over axes that are not empty."""
    if total.op.name != "sum" or total.inputs[0].op.name != "exp":
        return None
    (x,) = total.inputs[0].inputs
    bare = any(sizes.lower_bound(x.shape[a]) < 1 for a in total["axes"])
    return None if bare or holds_maximum(x) else x


def _finite_or(x: Node, other: float) -> Node:
    return b.where(b.less(make("abs", (x,)), math.inf), x, other)


def _shift(total: Node, x: Node) -> tuple[Node, Node]:
    """The maximum over the axes of a sum of exponentials, 0 where it is not finite; and exp(x - maximum)."""
    shift = _finite_or(make("max", (x,), total["axes"]), 0)
    return shift, b.exp(b.sub(x, b.broadcast(shift, x.shape, kept(total))))


def _log(node: Node, uses: Uses) -> Node | None:
    """log of exp(x), of quotients and positive multiples of exponentials and their sums, and of Σ exp(x)."""
    (y,) = node.inputs
    if y.op.name == "divide" and _exponential(y.inputs[0]):
        top, bottom = y.inputs
        number = b.constant_value(bottom)
        known = number is not None and 0 < number < math.inf
        return b.sub(b.log(top), math.log(number) if known else b.log(bottom))  # type: ignore[no-any-return, arg-type]
    if y.op.name == "multiply" and _exponential(y.inputs[0]):
        factor = b.constant_value(y.inputs[1])
        if factor is not None and 0 < factor < math.inf:
            return b.add(b.log(y.inputs[0]), math.log(factor))  # type: ignore[no-any-return]
    views, inner = [], y
    while inner.op.name in _VIEWS:
        views.append(inner)
        inner = inner.inputs[0]
    if inner.op.name == "exp":
        return _viewed(inner.inputs[0], views)
    x = _exponentials(inner)
    if x is None:
        return None
    shift, e = _shift(inner, x)
    # The views stay below the logarithm, where other rules move them.
    return b.add(b.log(_viewed(b.sum(e, inner["axes"]), views)), _viewed(shift, views))  # type: ignore[no-any-return]


def _viewed(x: Node, views: list[Node]) -> Node:
    """The views, of which the last is the innermost, of another array."""
    for view in reversed(views):
        x = make(view.op, (x,), *view.attrs)
    return x


def _exponential(y: Node) -> bool:
    """exp(x), or a sum of such, or a view of one."""
    while y.op.name in _VIEWS:
        y = y.inputs[0]
    return y.op.name == "exp" or (y.op.name == "sum" and y.inputs[0].op.name == "exp")


def _log_sigmoid(node: Node, uses: Uses) -> Node | None:
    """log(sigmoid(x)) → min(x, 0) − log1p(exp(−|x|)), finite for every finite x."""
    (y,) = node.inputs
    if y.op.name != "sigmoid":
        return None
    (x,) = y.inputs
    return b.sub(make("minimum", (x, b.zeros_like(x))), _tail(x))  # type: ignore[no-any-return]


def _tail(x: Node) -> Node:
    return make("log1p", (b.exp(b.neg(make("abs", (x,)))),))


def _softplus(node: Node, uses: Uses) -> Node | None:
    """log1p(exp(x)) → max(x, 0) + log1p(exp(−|x|))."""
    (e,) = node.inputs
    if e.op.name != "exp":
        return None
    (x,) = e.inputs
    if x.op.name == "negative" and x.inputs[0].op.name == "abs":
        return None
    return b.add(make("maximum", (x, b.zeros_like(x))), _tail(x))  # type: ignore[no-any-return]


def _log_of_sum(node: Node, uses: Uses) -> Node | None:
    """log(x + 1) → log1p(x); log(exp(x) + exp(y)) → logaddexp(x, y)."""
    (total,) = node.inputs
    if total.op.name != "add":
        return None
    x, y = total.inputs
    if x.op.name == y.op.name == "exp":
        return make("logaddexp", (*x.inputs, *y.inputs))
    return make("log1p", (x,)) if is_number(y, 1.0) else None


def _expm1(node: Node, uses: Uses) -> Node | None:
    """exp(x) − 1 → expm1(x)."""
    e, one = node.inputs
    number = -1.0 if node.op.name == "add" else 1.0
    return make("expm1", e.inputs) if e.op.name == "exp" and is_number(one, number) else None


def _complement(node: Node, uses: Uses) -> Node | None:
    """1 − sigmoid(x) → sigmoid(−x); not where only products need it, as in y · (1 − y): that costs an exponential."""
    one, y = node.inputs
    if y.op.name != "sigmoid" or not is_number(one, 1.0) or (uses.known(node) and uses.only(node, ("multiply",))):
        return None
    return make("sigmoid", (b.neg(y.inputs[0]),))


def _hypot(node: Node, uses: Uses) -> Node | None:
    """sqrt(x² + y²) → hypot(x, y)."""
    (total,) = node.inputs
    if total.op.name != "add":
        return None
    x, y = (_root(square) for square in total.inputs)
    return None if x is None or y is None else make("hypot", (x, y))


def _root(square: Node) -> Node | None:
    x = square.inputs[0] if square.op.name == "multiply" else square
    return x if square.op.name == "multiply" and square.inputs[1] is x else None


def _norm(node: Node, uses: Uses) -> Node | None:
    """sqrt(Σ x²) → m · sqrt(Σ (x/m)²) with m = max |x|, and m = 1 where that is 0 or not finite."""
    (total,) = node.inputs
    x = _root(total.inputs[0]) if total.op.name == "sum" else None
    if x is None or any(sizes.lower_bound(x.shape[a]) < 1 for a in total["axes"]):
        return None
    if x.op.name == "divide" and holds_maximum(x.inputs[1]):
        return None
    top = _finite_or(make("max", (make("abs", (x,)),), total["axes"]), 1)
    top = b.where(b.equal(top, 0), 1, top)
    scaled = b.div(x, b.broadcast(top, x.shape, kept(total)))
    return b.mul(make("sqrt", (b.sum(b.mul(scaled, scaled), total["axes"]),)), top)  # type: ignore[no-any-return]


def _totals(divisor: Node, e: Node) -> bool:
    """Whether a divisor is a sum in which exp(x) = e is one term: 1 + e, e + exp(y), or Σ e spread out again."""
    if divisor.op.name == "add":
        x, y = divisor.inputs
        return (x is e and (is_number(y, 1.0) or y.op.name == "exp")) or (y is e and x.op.name == "exp")
    total = divisor
    while total.op.name in ("broadcast", "reshape"):
        total = total.inputs[0]
    if total.op.name == "where" and is_number(total.inputs[1], 1.0):
        total = total.inputs[2]
    return total.op.name == "sum" and total.inputs[0] is e


def _share(node: Node, uses: Uses) -> Node | None:
    """e / (e + 1), 1 / (e + 1) and e / (e + exp(y)) by sigmoid; exp(x) / Σ exp(x) from x less its maximum."""
    e, divisor = node.inputs
    if divisor.op.name == "divide" and _exponential(divisor.inputs[0]):
        # A mean of exponentials: the number leaves the divisor.
        factor = b.constant_value(divisor.inputs[1])
        return None if factor is None else b.div(b.mul(e, factor), divisor.inputs[0])
    if divisor.op.name == "add":
        x, y = divisor.inputs
        if x.op.name == "exp" and is_number(y, 1.0):
            if e is x:
                return make("sigmoid", x.inputs)
            return make("sigmoid", (b.neg(x.inputs[0]),)) if is_number(e, 1.0) else None
        if e.op.name == "exp" and _totals(divisor, e):
            other = y if x is e else x
            return make("sigmoid", (b.sub(e.inputs[0], other.inputs[0]),))
    if e.op.name != "exp" or divisor.op.name != "broadcast" or not _totals(divisor, e):
        return None
    total = divisor.inputs[0]
    source = _exponentials(total)
    if source is None or divisor["axes"] != kept(total):
        return None
    _, shifted = _shift(total, source)
    spread = b.broadcast(b.sum(shifted, total["axes"]), source.shape, kept(total))
    return b.div(shifted, spread)  # type: ignore[no-any-return]


def _cleared(node: Node, divisor: Node, depth: int = 0) -> Node | None:
    """A sum of quotients by one divisor, times it; None if it is no such sum.

    A broadcast of a sum of quotients counts where the divisor does not vary along the summed axes.
    """
    name = node.op.name
    if name == "divide" and node.inputs[1] is divisor:
        return node.inputs[0]
    if depth > 6:
        return None
    if name == "sigmoid" and divisor.op.name == "add" and is_number(divisor.inputs[1], 1.0):
        e = divisor.inputs[0]  # sigmoid(−x) is 1 / (exp(x) + 1)
        inverse = e.op.name == "exp" and _opposite(node.inputs[0], e.inputs[0])
        return b.full(1, node.shape, node.dtype) if inverse else None
    if name == "divide":
        part = _cleared(node.inputs[0], divisor, depth + 1)
        return None if part is None else b.div(part, node.inputs[1])
    if name in ("negative", "add", "subtract"):
        parts = [_cleared(x, divisor, depth + 1) for x in node.inputs]
        return make(node.op, [p for p in parts if p is not None]) if None not in parts else None
    if name == "multiply":
        for x, y in (node.inputs, node.inputs[::-1]):
            if (part := _cleared(x, divisor, depth + 1)) is not None:
                return b.mul(part, y)  # type: ignore[no-any-return]
    if name == "where" and is_number(node.inputs[1], 0.0):
        part = _cleared(node.inputs[2], divisor, depth + 1)
        return None if part is None else b.where(node.inputs[0], node.inputs[1], part)
    if name == "broadcast" and divisor.op.name == "broadcast" and node["axes"] == divisor["axes"]:
        part = _cleared(node.inputs[0], divisor.inputs[0], depth + 1)
        return None if part is None else b.broadcast(part, node.shape, node["axes"])
    if name == "sum":
        spread = b.broadcast(divisor, node.inputs[0].shape, kept(node))
        part = _cleared(node.inputs[0], spread, depth + 1)
        return None if part is None else b.sum(part, node["axes"])
    return None


def _divisors(node: Node) -> list[Node]:
    """What the terms of a sum are divided by, itself or as it is spread out."""
    found: list[Node] = []
    stack: list[tuple[Node, Node | None]] = [(node, None)]
    for _ in range(_NEAR):
        if not stack:
            break
        term, spread = stack.pop()
        if term.op.name == "divide":
            divisor = term.inputs[1]
            found.append(divisor if spread is None else b.broadcast(divisor, spread.shape, spread["axes"]))
            stack.append((term.inputs[0], spread))
        elif term.op.name == "broadcast" and spread is None:
            stack.append((term.inputs[0], term))
        elif term.op.name in ("negative", "add", "subtract", "multiply", "where"):
            stack.extend((x, spread) for x in term.inputs[term.op.name == "where" :])
    return found


def _times_exponential(node: Node, uses: Uses) -> Node | None:
    """(t / d) · e → t · (e / d) where e = exp(x) is a term of the sum d; t / d may be a sum over d itself.

    sigmoid(−x) · exp(x) is sigmoid(x).
    """
    for quotient, e in (node.inputs, node.inputs[::-1]):
        if e.op.name != "exp":
            continue
        if quotient.op.name == "sigmoid" and _opposite(quotient.inputs[0], e.inputs[0]):
            return make("sigmoid", e.inputs)
        for divisor in _divisors(quotient):
            if _totals(divisor, e) and (part := _cleared(quotient, divisor)) is not None:
                share = b.div(e, divisor)
                # What is shifted stays in range, with one division for all elements, unless its logarithm was taken.
                if not holds_maximum(e.inputs[0]) or share in _divisors(part):
                    return b.mul(part, share)  # type: ignore[no-any-return]
    return None


def _opposite(x: Node, y: Node) -> bool:
    return any(p.op.name == "negative" and p.inputs[0] is q for p, q in ((x, y), (y, x)))


def _positive(y: Node) -> bool:
    """Positive but for underflow."""
    if y.op.name == "divide":
        e, divisor = y.inputs
        return e.op.name == "exp" and _totals(divisor, e)
    return y.op.name in ("sigmoid", "exp")


def _times_rest(t: Node, factor: Node, y: Node) -> Node | None:
    """t · (factor / y) where y is a factor of a product."""
    if factor is y:
        return t
    name = factor.op.name
    if name == "multiply" and y in factor.inputs:
        return b.mul(t, factor.inputs[1] if factor.inputs[0] is y else factor.inputs[0])  # type: ignore[no-any-return]
    if name == "divide" and factor.inputs[0] is y:
        return b.div(t, factor.inputs[1])  # type: ignore[no-any-return]
    if name == "fma" and y.op.name == "sigmoid":
        p, q, r = factor.inputs
        if q is y and r is y and p.op.name == "negative" and p.inputs[0] is y:
            return b.mul(t, make("sigmoid", (b.neg(y.inputs[0]),)))  # type: ignore[no-any-return]
    return None


def _cancels(term: Node, factor: Node) -> Node | None:
    """A term times a factor where the term is a quotient by something positive in the factor."""
    if term.op.name == "negative":
        part = _cancels(term.inputs[0], factor) if term.inputs[0].op.name == "divide" else None
        return None if part is None else b.neg(part)
    if term.op.name != "divide" or not _positive(term.inputs[1]):
        return None
    return _times_rest(term.inputs[0], factor, term.inputs[1])


def _cancelled(node: Node, uses: Uses) -> Node | None:
    """(t / y) · (y · z) → t · z, and (t / y + c) · y → t + c · y, for a positive y."""
    for first, factor in (node.inputs, node.inputs[::-1]):
        if (product := _cancels(first, factor)) is not None:
            return product
        if first.op.name in ("add", "subtract"):
            terms = [_cancels(x, factor) for x in first.inputs]
            if any(t is not None for t in terms):
                return make(
                    first.op, [b.mul(x, factor) if t is None else t for x, t in zip(first.inputs, terms, strict=True)]
                )
    return None


def _rule(name: str, ops: str, apply: Callable[[Node, Uses], Node | None]) -> Rule:
    return Rule(name, "stability", tuple(ops.split()), apply)


RULES = (
    _rule("log-of-exponentials", "log", _log),
    _rule("log-sigmoid", "log", _log_sigmoid),
    _rule("log-of-sum", "log", _log_of_sum),
    _rule("softplus", "log1p", _softplus),
    _rule("expm1", "add subtract", _expm1),
    _rule("one-minus-sigmoid", "subtract", _complement),
    _rule("hypot", "sqrt", _hypot),
    _rule("norm", "sqrt", _norm),
    _rule("share-of-exponentials", "divide", _share),
    _rule("times-exponential", "multiply", _times_exponential),
    _rule("cancelled", "multiply", _cancelled),
)
