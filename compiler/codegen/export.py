"""artifact → files: the C as its own project, with a main program and a Makefile."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from ..artifact import Artifact, Param
from ..version import VERSION
from .env import template
from .literals import c_string

_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table of arrays in main.c."""

    name: str
    label: str
    text: str
    role: str
    updated: int
    type: str
    rank: int
    shape: str


def export_files(artifact: Artifact) -> dict[str, str]:
    """File name → text: the units, their header, `main.c` and a `Makefile`.

    An artifact that was not split is one unit, `<name>.c`; others have several, `<name>_0.c` and so on. Nothing in the
    texts depends on this machine but the target that the artifact was made for.
    """
    name = artifact.name
    arrays = [p for p in artifact.params if p.role != "extent"]
    extents = [
        f"main_arrays[{k}].shape[{axis}] = {c_extent(n)};"
        for k, p in enumerate(arrays)
        for axis, n in enumerate(p.shape)
        if isinstance(n, str)
    ]
    usage = " ".join(["./main DIR", *(f"{d.name}=N" for d in artifact.dims)])
    main = template("main.c.j2").render(
        name=name,
        upper=name.upper(),
        version=VERSION,
        usage=usage,
        usage_text=c_string(usage),
        parallel=artifact.parallel,
        rank=max([1, *(len(p.shape) for p in arrays)]),
        arrays=[_row(p) for p in arrays],
        dims=[
            {"name": d.name, "min": d.min, "max": "INT64_MAX" if d.max is None else f"INT64_C({d.max})"}
            for d in artifact.dims
        ],
        checks=[{"number": c.number, "message": c_string(c.message)} for c in artifact.checks],
        divides=any("main_floordiv" in line for line in extents),
        extents=extents,
        connections=[f"main_args.{p.name} = main_arrays[{k}].data;" for k, p in enumerate(arrays)],
    )
    makefile = template("Makefile.j2").render(
        name=name,
        parallel=artifact.parallel,
        cflags="".join(f" {flag}" for flag in artifact.target.cflags),
        units=[u.name for u in artifact.units],
    )
    header = re.sub(r"\n{3,}", "\n\n", artifact.header)
    units = {f"{u.name}.c": u.text.replace(header.strip(), f'#include "{name}.h"') for u in artifact.units}
    return {**units, f"{name}.h": artifact.header, "main.c": main, "Makefile": makefile}


def _row(param: Param) -> _Row:
    shape = ", ".join(str(n) if isinstance(n, int) else "0" for n in param.shape)
    return _Row(
        name=param.name,
        label=c_string(param.label) if param.label != param.name else '""',
        text=", ".join(map(str, param.shape)),
        role=param.role.upper(),
        updated=int(param.role == "variable" and param.written),
        type=param.dtype.upper(),
        rank=len(param.shape),
        shape=shape or "0",
    )


def c_extent(text: str) -> str:
    """An extent over dimension names, as C over the argument struct."""

    # Extents are short sums and products of a user's shapes, so the depth of this recursion is that of a source line.
    def show(node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return f"INT64_C({node.value})"
        if isinstance(node, ast.Name):
            return f"main_args.{node.id}"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return f"(-{show(node.operand)})"
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.FloorDiv):
                return f"main_floordiv({show(node.left)}, {show(node.right)})"
            if type(node.op) in _OPERATORS:
                return f"({show(node.left)} {_OPERATORS[type(node.op)]} {show(node.right)})"
        raise ValueError(f"not an extent: {text!r}")

    return show(ast.parse(text, mode="eval").body)
