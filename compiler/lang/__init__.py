"""What users write with: array handles, functions, derivatives, layers, optimisers."""

# The primitives must be declared before nodes are made; array functions need the class, its methods need them.
from ..graph import table
from . import array

__all__ = ["array", "table"]
