"""Writes docs/operations.md, the tables of all public functions and rewrite rules: `python docs/operations.py`.

What a row says is found by asking the compiler: a function is called with placeholders of every dtype, differentiated,
and lowered. The first sentence of its docstring is its summary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import adjoint as ad
from adjoint.codegen.accuracy import ULPS
from adjoint.errors import AdjointError
from adjoint.graph.node import Node, toposort
from adjoint.graph.program import Program
from adjoint.lower.ir import Call, Loop, Routine, Stmt, walk
from adjoint.lower.lowering import lower
from adjoint.lower.options import Options
from adjoint.rewrite.rules import RULES, rewrite
from adjoint.runtime.target import TARGETS

PAGE = Path(__file__).with_name("operations.md")
DTYPES = {"float32": "f4", "float64": "f8", "int32": "i4", "int64": "i8", "uint8": "u1", "bool": "b"}
# Headings and the modules of `compiler/lang` whose functions stand below them.
SECTIONS = {
    "Build": ("create", "tracing", "lift"),
    "Differentiate": ("grads", "derivatives", "imperative", "custom", "gradcheck"),
    "Run": ("api", "variables_io", "conditions"),
    "Control flow and batching": ("control", "loops", "batching"),
    "Arithmetic and comparison": ("arithmetic", "bits"),
    "Elementary and special functions": ("elementary", "special"),
    "Activations": ("activations",),
    "Reductions": ("reducing",),
    "Running values, sorting and searching": ("cumulative", "sorting"),
    "Products": ("linalg", "einsum"),
    "Shapes": ("shaping", "tiling", "diagonals"),
    "Indexing": ("indexing", "scattering"),
    "Creation": ("filling",),
    "ad.random": ("random",),
    "ad.nn": (
        *("functional", "convolution", "pooling", "normalisation", "attention", "losses"),
        *("init", "summary"),
    ),
}
# Functions of the graph, of other functions or of the process, which are listed without properties of their own.
TOOLS = frozenset(
    "compile function input variable constant load save grad value_and_grad vjp jvp hvp jacobian hessian no_grad "
    "set_grad_enabled is_grad_enabled cond while_loop fori_loop scan vmap seed summary key fold_in split@random "
    "backward zero_grad custom_rule checkpoint gradcheck check".split()
)
RANDOM = "bernoulli bits categorical fold_in key normal permutation randint split uniform".split()


class Given:
    """Makes the operands of an example: placeholders of one dtype and, for indices, of int64."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.made: list[ad.Array] = []

    def __call__(self, *shape: int) -> ad.Array:
        self.made.append(ad.input(f"x{len(self.made)}", shape, self.dtype))
        return self.made[-1]

    def index(self, *shape: int) -> ad.Array:
        return ad.input("i", shape, "int64")

    def bits(self, *shape: int) -> ad.Array:
        return ad.input("p", shape, "bool")


Example = Callable[[Any, Given], Any]
_N, _M = 33, 40


def _windows(axes: int, *more: Any) -> Example:
    return lambda f, x: f(x(2, 3, *(9,) * axes), *more)


def _convolution(axes: int) -> Example:
    return lambda f, x: f(x(2, 3, *(9,) * axes), x(3, 3, *(2,) * axes))


def _loss(f: Any, x: Given) -> Any:
    return f(x(_N, _M), x(_N, _M))


def _labels(f: Any, x: Given) -> Any:
    return f(x(_N, _M), x.index(_N))


def _segments(f: Any, x: Given) -> Any:
    return f(x(_N, _M), x.index(_N), 7)


# How functions are called that take more than arrays of one shape.
EXAMPLES: dict[str, Example] = {
    "astype": lambda f, x: f(x(_N, _M), "float64"),
    "where": lambda f, x: f(x.bits(_N, _M), x(_N, _M), x(_N, _M)),
    "clip": lambda f, x: f(x(_N, _M), 0, 1),
    "polygamma": lambda f, x: f(2, x(_N, _M)),
    "one_hot": lambda f, x: f(x(_N), 8),
    "searchsorted": lambda f, x: f(x(_M), x(_N)),
    "topk": lambda f, x: f(x(_N, _M), 3),
    **dict.fromkeys(("cumulative_sum", "cumulative_prod", "cummax", "cummin"), lambda f, x: f(x(_N, _M), 1)),
    "matmul": lambda f, x: f(x(_N, _M), x(_M, _N)),
    "outer": lambda f, x: f(x(_N), x(_M)),
    "tensordot": lambda f, x: f(x(_N, _M), x(_M, _N), 1),
    "einsum": lambda f, x: f("ij,jk->ik", x(_N, _M), x(_M, _N)),
    "broadcast_to": lambda f, x: f(x(_M), (_N, _M)),
    "broadcast_arrays": lambda f, x: f(x(_M), x(_N, _M)),
    "meshgrid": lambda f, x: f(x(_N), x(_M)),
    "concat": lambda f, x: f([x(_N, _M), x(_N, _M)]),
    "stack": lambda f, x: f([x(_N, _M), x(_N, _M)]),
    "moveaxis": lambda f, x: f(x(_N, _M), 0, 1),
    "swapaxes": lambda f, x: f(x(_N, _M), 0, 1),
    "permute_dims": lambda f, x: f(x(_N, _M), (1, 0)),
    "reshape": lambda f, x: f(x(_N, _M), (_M, _N)),
    "split": lambda f, x: f(x(_N, _M), 3),
    "squeeze": lambda f, x: f(x(_N, 1, _M), 1),
    "pad": lambda f, x: f(x(_N, _M), 1),
    "repeat": lambda f, x: f(x(_N, _M), 2, 0),
    "roll": lambda f, x: f(x(_N, _M), 1, 0),
    "tile": lambda f, x: f(x(_N, _M), 2),
    "take": lambda f, x: f(x(_N, _M), x.index(9)),
    "take_along_axis": lambda f, x: f(x(_N, _M), x.index(_N, 9)),
    **dict.fromkeys(("segment_sum", "segment_prod", "segment_max", "segment_min"), _segments),
    "arange": lambda f, x: f(_M, dtype=x.dtype),
    "linspace": lambda f, x: f(0, 1, _M, dtype=x.dtype),
    "eye": lambda f, x: f(_N, dtype=x.dtype),
    "full": lambda f, x: f((_N, _M), 1, x.dtype),
    "full_like": lambda f, x: f(x(_N, _M), 1),
    "ones": lambda f, x: f((_N, _M), x.dtype),
    "zeros": lambda f, x: f((_N, _M), x.dtype),
    "bernoulli": lambda f, x: f(ad.random.key(0), x(_N, _M)),
    "bits": lambda f, x: f(ad.random.key(0), (_N, _M), dtype=x.dtype),
    "categorical": lambda f, x: f(ad.random.key(0), x(_N, _M)),
    "permutation": lambda f, x: f(ad.random.key(0), x(_N, _M)),
    "normal": lambda f, x: f(ad.random.key(0), (_N, _M), dtype=x.dtype),
    "uniform": lambda f, x: f(ad.random.key(0), (_N, _M), dtype=x.dtype),
    "randint": lambda f, x: f(ad.random.key(0), (_N, _M), 0, 9, dtype=x.dtype),
    **{f"{f}{n}d": _windows(n, 2) for f in ("avg_pool", "max_pool", "adaptive_avg_pool") for n in (1, 2, 3)},
    **{f"{f}{n}d": _convolution(n) for f in ("conv", "conv_transpose") for n in (1, 2, 3)},
    "batch_norm": lambda f, x: f(x(_N, _M), training=True),
    "group_norm": lambda f, x: f(x(_N, _M), 4),
    "dropout": lambda f, x: f(x(_N, _M), 0.5, ad.random.key(0)),
    "embedding": lambda f, x: f(x.index(9), x(_N, _M)),
    "linear": lambda f, x: f(x(_N, _M), x(8, _M)),
    "scaled_dot_product_attention": lambda f, x: f(x(2, 16, 8), x(2, 16, 8), x(2, 16, 8)),
    **dict.fromkeys(
        "binary_cross_entropy binary_cross_entropy_with_logits huber_loss kl_div l1_loss mse_loss smooth_l1_loss"
        .split(),
        _loss,
    ),
    **dict.fromkeys(("cross_entropy", "nll_loss"), _labels),
}


def functions() -> Iterator[tuple[str, str, Any]]:
    """Prefix, name and function of everything public that can be called and is no class, each function once."""
    seen = set()
    for prefix, module, names in (
        ("ad", ad, ad.__all__),
        ("ad.random", ad.random, RANDOM),
        ("ad.nn", ad.nn, ad.nn.__all__),
    ):
        for name in names:
            found = getattr(module, name)
            if callable(found) and not inspect.isclass(found) and found not in seen:
                seen.add(found)
                yield prefix, name, found


def _is_tool(prefix: str, name: str) -> bool:
    return f"{name}@{prefix[3:]}" in TOOLS if name == "split" else name in TOOLS


def _called(name: str, function: Any, dtype: str) -> tuple[list[ad.Array], list[ad.Array]]:
    """Placeholders and results of an example call. Raises what the function raises."""
    given = Given(dtype)
    example = EXAMPLES.get(name)
    if example is not None:
        found = example(function, given)
    else:
        found = function(*(given(_N, _M) for p in inspect.signature(function).parameters.values() if _is_required(p)))
    return given.made, list(found) if isinstance(found, (list, tuple)) else [found]


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD


def _differentiable(xs: list[ad.Array], ys: list[ad.Array]) -> bool:
    for y in ys:
        for x in xs:
            try:
                ad.grad(y, x, cotangent=ad.ones_like(y), strict=True)
            except AdjointError:
                continue
            return True
    return False


def _operations(ys: list[ad.Array]) -> list[Node]:
    """Nodes of an example, but for leaves and what only brings operands into one shape and type."""
    plain = ("broadcast", "reshape", "cast")
    order = toposort([y.node for y in ys])
    real = [n for n in order if n.op.kind != "leaf" and n.op.name not in plain]
    return real or [n for n in order if n.op.kind != "leaf"]


def _vectorised(xs: list[ad.Array], ys: list[ad.Array]) -> str:
    """Whether the loops of all kernels, of some, or of none run over lanes on x86-64-v3; the routine that transposes
    does."""
    target = TARGETS["x86-64-v3"]
    nodes = toposort([y.node for y in ys])
    inputs = tuple(n for n in nodes if n.op.name == "input")
    program, _ = rewrite(Program("f", inputs, tuple(y.node for y in ys)))
    module = lower(program, target, Options())

    def wide(s: Stmt) -> bool:
        if isinstance(s, Call):
            return isinstance(s.kernel, Routine) and s.kernel.name == "turn"
        return isinstance(s, Loop) and s.kind == "vec"

    bodies = [list(walk(k.body)) for k in (*module.kernels, *module.tiles)]
    lanes = [any(map(wide, body)) for body in bodies if any(isinstance(s, Loop) for s in body)]
    return "yes" if all(lanes) else "partly" if any(lanes) else "no"


def signature(name: str, function: Any) -> str:
    parameters = inspect.signature(function).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return f"{name}{inspect.Signature(bare)}"


def summary(function: Any) -> str:
    """The first line of the docstring, and those behind it until a sentence ends."""
    lines: list[str] = []
    for line in (inspect.getdoc(function) or "").partition("\n\n")[0].splitlines():
        lines.append(line.strip())
        if line.endswith((".", "…")):
            break
    return " ".join(lines)


def properties(name: str, function: Any) -> list[str]:
    """Dtypes, kind, derivative, vectorised, error in ulp."""
    taken: dict[str, tuple[list[ad.Array], list[ad.Array]]] = {}
    last: AdjointError | None = None
    for dtype in DTYPES:
        try:
            taken[dtype] = _called(name, function, dtype)
        except AdjointError as error:
            last = error
    if not taken:
        raise LookupError(f"no example of {name}") from last
    xs, ys = taken.get("float32") or next(iter(taken.values()))
    nodes = _operations(ys)
    single = nodes[-1].op if len(nodes) == 1 else None
    derivative = "no"
    if _differentiable(xs, ys):
        derivative = "yes" if single is not None else "by composition"
    error = ULPS.get(str(single.lanes)) if single is not None and single.lanes is not None else None
    letters = " ".join(DTYPES[dtype] for dtype in taken)
    kind = "composite" if single is None else f"`{single.name}`"
    return [letters, kind, derivative, _vectorised(xs, ys), "" if error is None else f"{error:g}"]


def _section(function: Any) -> str:
    stem = function.__module__.rpartition(".")[2]
    for heading, modules in SECTIONS.items():
        if stem in modules:
            return heading
    raise LookupError(f"{function.__qualname__} of {function.__module__} belongs to no section")


HEAD = """\
# Operations

Every public function, as the compiler itself tells of it: `python docs/operations.py` writes this page.

* **dtypes** that operands may have: `f4` `f8` float32, float64; `i4` `i8` int32, int64; `u1` uint8; `b` bool. Some are
  converted on the way (`exp` of integers computes in float32).
* **primitive**: the entry of the op table that the function is; *composite* ones are written in terms of several.
* **derivative**: *yes*, declared with the primitive; *by composition*, from the primitives that a composite is made of;
  *no* where it is zero, or the result is no float.
* **vector**: whether the loops of all its kernels, of some (*partly*) or of none run over lanes.
* **ulp**: the largest error in units in the last place, to which the tests hold the C.

Python operators and the methods of arrays are these functions under other names.
"""
RULES_HEAD = """
## Rewrite rules

What happens to a graph before kernels are made, by class: *exact* rules keep every bit, *rounding* ones round in other
places, *stability* ones keep values in range where the expression as written overflows or cancels.
`Options(disabled=…)` of `adjoint.lower.lowering` leaves rules out by name.
"""
COLUMNS = ("function", "", "dtypes", "primitive", "derivative", "vector", "ulp")


def page() -> str:
    """The whole text of the page."""
    sections: dict[str, tuple[list[list[str]], list[list[str]]]] = {heading: ([], []) for heading in SECTIONS}
    for prefix, name, function in functions():
        tools, rows = sections[_section(function)]
        front = [f"`{signature(name if prefix == 'ad' else f'{prefix[3:]}.{name}', function)}`", summary(function)]
        if _is_tool(prefix, name):
            tools.append(front)
        else:
            rows.append([*front, *properties(name, function)])
    parts = [HEAD]
    for heading, (tools, rows) in sections.items():
        parts.append(f"\n## {heading}\n")
        if tools:
            parts.append(_table(COLUMNS[:2], tools))
        if rows:
            parts.append(_table(COLUMNS, rows))
    parts.append(RULES_HEAD)
    parts.append(_table(("rule", "class", ""), [[f"`{r.name}`", r.cls, summary(r.apply)] for r in RULES]))
    return "".join(parts)


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    cells = [columns, ("---",) * len(columns), *([c.replace("|", "\\|") for c in row] for row in rows)]
    return "\n" + "".join(f"| {' | '.join(row)} |\n" for row in cells)


if __name__ == "__main__":
    PAGE.write_text(page())
