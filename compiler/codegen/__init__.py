"""Kernels to C text."""
