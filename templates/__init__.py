"""Jinja2 templates of the generated C. `adjoint.codegen.env` loads them."""
