"""`check`: a condition on data that a call must meet."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, GraphError
from ..graph import dtypes
from ..graph.node import make
from . import arithmetic as ar
from .array import Array
from .explain import complain
from .lift import as_array, wrap
from .reducing import count_nonzero


def check(y: Any, pred: Any, message: str) -> Array:
    """y, for functions that fail with ExecutionError, which quotes the message, where `pred` is not true everywhere.

    `pred` is a bool array of any shape. A call that fails leaves variables as they were. What is computed from the
    result is checked; a derivative that needs no value of it is not.
    """
    value, test = as_array(y), as_array(pred)
    if test.dtype != dtypes.BOOL:
        raise complain(DTypeError, f"check: the condition must be a bool, got {test.dtype}", test)
    if not isinstance(message, str) or not message:
        raise complain(GraphError, f"check: the message is a non-empty string, got {message!r}", value)
    failures = count_nonzero(ar.logical_not(test))
    counted = make("check_index", (failures.node,), 1, (message,))
    return wrap(make("after", (value.node, counted)), (value, test))
