"""The verifier of kernels against kernels and modules broken by hand."""

from __future__ import annotations

import pytest

from adjoint.errors import VerifyError
from adjoint.graph import index
from adjoint.graph.dtypes import FLOAT32, INT64
from adjoint.graph.index import IVar
from adjoint.lower.ir import Buf, Const, Kernel, Load, Loop, Reduce, Run, ScanLoop, Stmt, Store
from adjoint.lower.verify import verify_kernel, verify_order

X, OUT = Buf("x", FLOAT32, (4,), "arg"), Buf("out", FLOAT32, (4,), "arg")
A, B = Buf("a", FLOAT32, (4,), "arena"), Buf("b", FLOAT32, (4,), "arena")
ROW = IVar("row", 4)
AT = (index.of(ROW),)


def kernel(name: str, to: Buf, *sources: Buf, combine: str | None = None) -> Kernel:
    """to[row] = source[row], a loop for each source."""
    body: list[Stmt] = []
    for source in sources:
        value = Load(source, AT, FLOAT32)
        stmt = Store(to, AT, value) if combine is None else Reduce(to, AT, combine, value)
        body.append(Loop(ROW, index.ZERO, index.of(4), "seq", [stmt]))
    return Kernel(name, list(dict.fromkeys([*sources, to])), {to}, 1, body)


def test_broken_statements_are_rejected() -> None:
    verify_kernel(kernel("k", OUT, X))
    for statement, message in (
        (Store(OUT, AT, Load(X, AT, FLOAT32)), "row is used outside its loop"),
        (Store(OUT, (index.ZERO,), Const(1, INT64)), "int64 is stored to out"),
        (Store(X, (index.ZERO,), Const(1.0, FLOAT32)), "x is written but declared as read"),
    ):
        with pytest.raises(VerifyError, match=message):
            verify_kernel(Kernel("k", [X, OUT], {OUT}, 1, [statement]))


def test_lookups_within_quotients_are_declared() -> None:
    at = index.floordiv(index.lookup(Buf("k", INT64, (4,), "arg"), AT, 8), 2)  # type: ignore[arg-type]
    body: list[Stmt] = [Loop(ROW, index.ZERO, index.of(4), "seq", [Store(OUT, AT, Load(X, (at,), FLOAT32))])]
    with pytest.raises(VerifyError, match="k is neither a parameter nor local"):
        verify_kernel(Kernel("k", [X, OUT], {OUT}, 1, body))


def test_memory_is_written_before_it_is_read() -> None:
    write, read = Run(kernel("write", A, X)), Run(kernel("read", OUT, A))
    verify_order([write, read])
    with pytest.raises(VerifyError, match="kernel read reads a, which nothing has written before"):
        verify_order([read, write])
    with pytest.raises(VerifyError, match="kernel sum adds to a"):
        verify_order([Run(kernel("sum", A, X, combine="add")), read])
    verify_order([write, Run(kernel("sum", A, X, combine="add")), read])
    with pytest.raises(VerifyError, match="kernel both reads a"):
        verify_order([Run(kernel("both", B, X, A)), write])


def test_loops_read_what_was_written() -> None:
    t = IVar("t", 3)
    current, following = Buf("carry", FLOAT32, (4,), "arena"), Buf("carry_1", FLOAT32, (4,), "arena")
    rows = Buf("rows", FLOAT32, (3, 4), "arena")
    step = Buf("step", FLOAT32, (4,), "view", base=rows)
    inside = [Run(kernel("next", following, current)), Run(kernel("keep", step, following))]
    loop = ScanLoop(t, 3, False, [*inside], [step], [(A, current, following, B)])
    verify_order([Run(kernel("write", A, X)), loop, Run(kernel("read", OUT, B)), Run(kernel("more", OUT, rows))])
    with pytest.raises(VerifyError, match="a loop starts from a"):
        verify_order([loop])
    broken = ScanLoop(t, 3, False, [Run(kernel("next", current, X))], [], [(X, current, following, B)])
    with pytest.raises(VerifyError, match="a loop goes on with carry_1"):
        verify_order([broken])
    with pytest.raises(VerifyError, match="kernel read reads b"):
        verify_order([Run(kernel("write", A, X)), Run(kernel("read", OUT, B)), loop])
