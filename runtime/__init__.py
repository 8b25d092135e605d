"""Everything between a finished artifact and a running call: toolchain, caches, binding, threads, callables.

Imports `adjoint.artifact` and `adjoint.errors` and nothing else of the package: what it receives is plain data.
"""
