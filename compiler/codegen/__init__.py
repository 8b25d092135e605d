"""From kernels to C text."""
