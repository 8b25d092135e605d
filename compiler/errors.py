"""The family of errors. Every message names the argument or node, what was expected and what came."""

from __future__ import annotations


class AdjointError(Exception):
    """Base of every error that the package raises on purpose."""


class ShapeError(AdjointError, ValueError):
    """Shapes or extents that do not fit together."""


class DTypeError(AdjointError, TypeError):
    """A data type that an operation or argument does not take."""


class GraphError(AdjointError, ValueError):
    """A graph that is not well formed: names taken twice, a leaf that is not an argument, a leaked placeholder."""


class SymbolicError(AdjointError, TypeError):
    """A symbolic array used where a value is needed, or a call with the wrong arguments."""


class GradientError(AdjointError, ValueError):
    """A derivative that does not exist or was asked for wrongly."""


class CompileError(AdjointError, RuntimeError):
    """No compiler, or the C compiler rejected generated code."""


class ExecutionError(AdjointError, RuntimeError):
    """A call that failed on its data, such as an index out of range."""


class VerifyError(AdjointError, AssertionError):
    """A graph or kernel that breaks an invariant of its level: a defect of the compiler."""
