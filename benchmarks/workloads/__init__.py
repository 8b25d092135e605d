"""One training step each, in adjoint and in every peer."""
