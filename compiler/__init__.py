"""adjoint: a static-graph compiler for automatic differentiation that generates C."""

from __future__ import annotations

from typing import Any

from .errors import (
    AdjointError,
    CompileError,
    DTypeError,
    ExecutionError,
    GradientError,
    GraphError,
    ShapeError,
    SymbolicError,
    VerifyError,
)
from .graph import dtypes
from .graph.sizes import Dim
from .lang import nn, optim, random
from .lang import tracing as _tracing
from .lang.activations import (
    elu,
    gelu,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    logsumexp,
    one_hot,
    silu,
    softmax,
    softplus,
)
from .lang.arithmetic import (
    abs,
    add,
    astype,
    ceil,
    clip,
    cos,
    divide,
    equal,
    exp,
    floor,
    floor_divide,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    nan_to_num,
    negative,
    not_equal,
    pow,
    reciprocal,
    relu,
    remainder,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    stop_gradient,
    subtract,
    tanh,
    where,
)
from .lang.array import Array
from .lang.batching import vmap
from .lang.bits import bitwise_and, bitwise_invert, bitwise_left_shift, bitwise_or, bitwise_right_shift, bitwise_xor
from .lang.control import scan
from .lang.create import constant, input, variable
from .lang.cumulative import cummax, cummin, cumulative_prod, cumulative_sum
from .lang.derivatives import hessian, hvp, jacobian, jvp
from .lang.einsum import einsum
from .lang.grads import grad, value_and_grad, vjp
from .lang.indexing import take
from .lang.lift import is_grad_enabled, no_grad, set_grad_enabled
from .lang.linalg import diagonal, matmul, outer, tensordot, trace, vecdot
from .lang.loops import cond, fori_loop, while_loop
from .lang.reducing import all, any, argmax, argmin, count_nonzero, max, mean, min, prod, std, sum, var, vector_norm
from .lang.shaping import (
    arange,
    broadcast_to,
    concat,
    expand_dims,
    eye,
    flip,
    full,
    full_like,
    matrix_transpose,
    moveaxis,
    ones,
    ones_like,
    pad,
    permute_dims,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    tril,
    triu,
    zeros,
    zeros_like,
)
from .lang.sorting import argsort, searchsorted, sort, topk
from .lang.special import digamma, erf, erfc, lgamma, polygamma
from .lang.tracing import function
from .version import VERSION as __version__

float32, float64 = dtypes.FLOAT32, dtypes.FLOAT64
int32, int64, uint8, bool_ = dtypes.INT32, dtypes.INT64, dtypes.UINT8, dtypes.BOOL
pi, inf, nan, newaxis = 3.141592653589793, float("inf"), float("nan"), None

# Compiling and running load templates and the C binding, which scripts that only build graphs do not need.
_LATER = {
    "compile": "adjoint.api",
    "CompiledFunction": "adjoint.api",
    "load": "adjoint.runtime.variables_io",
    "save": "adjoint.runtime.variables_io",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def _compile(*args: Any, **options: Any) -> Any:
    return __getattr__("compile")(*args, **options)


_tracing.compile_with(_compile)

__all__ = [
    "AdjointError",
    "Array",
    "CompileError",
    "CompiledFunction",
    "DTypeError",
    "Dim",
    "ExecutionError",
    "GradientError",
    "GraphError",
    "ShapeError",
    "SymbolicError",
    "VerifyError",
    "__version__",
    "abs",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool_",
    "broadcast_to",
    "ceil",
    "clip",
    "compile",
    "concat",
    "cond",
    "constant",
    "cos",
    "count_nonzero",
    "cummax",
    "cummin",
    "cumulative_prod",
    "cumulative_sum",
    "diagonal",
    "digamma",
    "divide",
    "einsum",
    "elu",
    "equal",
    "erf",
    "erfc",
    "exp",
    "expand_dims",
    "eye",
    "flip",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "fori_loop",
    "full",
    "full_like",
    "function",
    "gelu",
    "grad",
    "greater",
    "greater_equal",
    "hard_tanh",
    "hessian",
    "hvp",
    "inf",
    "input",
    "int32",
    "int64",
    "is_grad_enabled",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jvp",
    "leaky_relu",
    "less",
    "less_equal",
    "lgamma",
    "load",
    "log",
    "log_sigmoid",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "nan",
    "nan_to_num",
    "negative",
    "newaxis",
    "nn",
    "no_grad",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "pad",
    "permute_dims",
    "pi",
    "polygamma",
    "pow",
    "prod",
    "random",
    "reciprocal",
    "relu",
    "remainder",
    "reshape",
    "roll",
    "rsqrt",
    "save",
    "scan",
    "searchsorted",
    "set_grad_enabled",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "take",
    "tanh",
    "tensordot",
    "topk",
    "trace",
    "tril",
    "triu",
    "uint8",
    "value_and_grad",
    "var",
    "variable",
    "vecdot",
    "vector_norm",
    "vjp",
    "vmap",
    "where",
    "while_loop",
    "zeros",
    "zeros_like",
]
