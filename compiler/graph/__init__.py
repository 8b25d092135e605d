"""The symbolic graph: nodes, extents, index maps, the op table, the interpreter and the verifier."""
