"""The symbolic graph: nodes, extents, index maps, the op table, the interpreter and the verifier."""

# Whichever module is imported first, every primitive is declared.
from . import table as table
