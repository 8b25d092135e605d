"""The six stages of `dump`: aligned, typed, nothing elided."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.graph.node import toposort

NODE = re.compile(r"  (%\d+) +(.*?) +(= .*?)( +# .*)?$")


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADJOINT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        model = ad.nn.Sequential(ad.nn.Linear(12, 40, seed=1), ad.relu, ad.nn.Linear(40, 5, seed=2))
        x, t = ad.input("x", (16, 12)), ad.input("t", (16,), dtype="int64")
        loss = ad.nn.cross_entropy(model(x), t)
        return ad.compile([x, t], loss, updates=ad.optim.SGD(0.1).minimize(loss), name="step")


def nodes(text: str) -> list[re.Match[str]]:
    return [m for line in text.splitlines() if (m := NODE.match(line))]


def aligned(rows: list[re.Match[str]]) -> bool:
    """Whether the types, and the expressions, each begin in one column."""
    return all(len({row.start(group) for row in rows}) == 1 for group in (2, 3))


def test_graph_is_what_the_user_wrote(step: Any) -> None:
    text = step.dump("graph")
    rows = nodes(text)
    assert text.splitlines()[0] == "step(%0 x: float32[16, 12], %1 t: int64[16])"
    assert aligned(rows)
    assert all(re.search(r"(float32|int64|bool)\[", row[2]) for row in rows)
    opened = [row for row in rows if row[3] != "= derivative"]
    written = [n for n in toposort(step.report.program.roots) if n.stems_from is None]
    # Numbers that stand in an expression have no line of their own.
    assert len(opened) >= len([n for n in written if n.op.name not in ("literal", "broadcast", "reshape")])
    derivatives = [row for row in rows if row[3] == "= derivative"]
    assert len(derivatives) == 4  # one for each of two weights and two biases
    assert all(" d %" in row[4] for row in derivatives)
    assert sum(" d %" in (row[4] or "") for row in opened) == 0
    assert len([line for line in text.splitlines() if line.startswith("  update %")]) == 4
    assert "..." not in text and "…" not in text


def test_adjoint_names_what_each_node_is_the_derivative_of(step: Any) -> None:
    text = step.dump("adjoint")
    rows = nodes(text)
    assert aligned(rows)
    assert "= derivative" not in text
    numbers = {row[1] for row in rows}
    stems = [m for row in rows if (m := re.search(r" d (%\d+)$", row[4] or ""))]
    assert len(stems) > 10
    assert all(m[1] in numbers for m in stems)
    # The user's part is the same in both, and every operand that is named has a line.
    assert set(re.findall(r"%\d+", text)) == numbers
    made_by_user = [row[3].split()[1] for row in rows if " d %" not in (row[4] or "")]
    shown = [row[3].split()[1] for row in nodes(step.dump("graph")) if row[3] != "= derivative"]
    assert made_by_user == shown


def test_optimized_is_smaller(step: Any) -> None:
    rows = nodes(step.dump("optimized"))
    assert aligned(rows)
    assert 10 < len(rows) < len(nodes(step.dump("adjoint")))


def test_kernels(step: Any) -> None:
    text = step.dump("kernels")
    kernels = re.findall(r"^kernel (\w+)\((.*)\)  chunks=", text, flags=re.M)
    assert {k.name for k in step.report.artifact.kernels} <= {name for name, _ in kernels}
    for _, params in kernels:
        assert all(re.search(r"\w+: \w+\[", p) for p in re.split(r", (?=const |\w+: )", params))
    assert "for " in text


def test_memory(step: Any) -> None:
    lines = step.dump("memory").splitlines()
    assert lines[0].split() == ["buffer", "type", "bytes", "offset", "kernels"]
    typed = [line for line in lines if re.search(r" (float32|int64|bool|uint8)\[", line)]
    column = lines[0].index("type")
    assert all(re.match(r"(float32|int64|bool|uint8)\[", line[column:]) for line in typed)
    assert {p.name for p in step.report.artifact.params} <= {line.split()[0] for line in typed}
    assert f"workspace {step.memory} bytes" in lines


def test_c_is_what_was_compiled(step: Any) -> None:
    text = step.dump("c")
    assert "int32_t step(const step_args *args, void *workspace, adjoint_context *context)" in text
    for k in step.report.artifact.kernels:
        assert k.name in text
    assert str(Path(__file__).parent) not in text


def test_a_gradient_as_output_and_a_body(step: Any) -> None:
    w = ad.variable(np.ones(3, np.float32), name="w")
    x = ad.input("x", (3,))
    f = ad.compile(x, [ad.grad((ad.exp(w) * x).sum(), w)], backend="numpy")
    rows = nodes(f.dump("graph"))
    assert [row[3].split()[1] for row in rows] == ["input", "variable", "exp", "derivative"] or rows[-1][3] == (
        "= derivative"
    )
    total = ad.scan(lambda c, v: (c + v, c), ad.constant(np.float32(0)), x)[0]
    text = ad.compile(x, total, backend="numpy").dump("graph")
    assert "yield" in text and "scan" in text


def test_unknown_stage(step: Any) -> None:
    with pytest.raises(ad.AdjointError, match="no stage 'nine'; the stages are graph, adjoint"):
        step.dump("nine")
