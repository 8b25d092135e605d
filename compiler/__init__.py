"""adjoint: a static-graph compiler for automatic differentiation that generates C."""
