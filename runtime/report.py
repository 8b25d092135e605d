"""What a compilation made and what it took, as text."""

from __future__ import annotations

from collections.abc import Mapping

from adjoint.artifact import Artifact


def counts(artifact: Artifact | None) -> dict[str, int]:
    """Kernels, distinct functions, units and lines of C; zeros where nothing was compiled."""
    if artifact is None:
        return dict.fromkeys(("kernels", "functions", "units", "lines"), 0)
    lines = sum(unit.text.count("\n") for unit in artifact.units)
    units = len(artifact.units)
    return {"kernels": len(artifact.kernels), "functions": artifact.functions, "units": units, "lines": lines}


def report_text(name: str, artifact: Artifact | None, seconds: Mapping[str, float]) -> str:
    """A few lines: kernels, units, workspace, and the time of every phase in milliseconds.

    `artifact` is None for a function that the interpreter runs.
    """
    if artifact is None:
        return f"{name}: run by the interpreter, nothing was compiled"
    made = counts(artifact)
    size = "a size that its dimensions decide" if artifact.workspace is None else f"{artifact.workspace} bytes"
    rows = [
        f"{name} for {artifact.target.name}",
        f"  kernels    {made['kernels']} in {made['functions']} distinct functions",
        f"  C          {made['lines']} lines in {made['units']} unit{'s' if made['units'] != 1 else ''}",
        f"  workspace  {size}",
        f"  compiled   {'yes' if 'cc' in seconds else 'no, taken from the cache'}",
    ]
    rows += [f"  {phase:<11}{value * 1e3:10.2f} ms" for phase, value in seconds.items()]
    rows.append(f"  {'together':<11}{sum(seconds.values()) * 1e3:10.2f} ms")
    return "\n".join(rows)
