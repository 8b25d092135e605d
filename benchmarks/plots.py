"""Pictures of what `adjoint bench` measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen is needed

import matplotlib.pyplot as plt
from goals import BOUND, peers

Rows = Mapping[str, Mapping[str, Any]]


def draw(tables: Mapping[str, Any], folder: Path) -> list[Path]:
    """One PNG for each table that was made and can be drawn; returns their paths."""
    made = []
    for name, picture in _PICTURES.items():
        table = tables.get(name)
        rows = table and (table.get("workloads") or table.get("rows"))
        if not rows:
            continue
        figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        picture(axes, rows)
        axes.grid(axis="y", alpha=0.3)
        path = folder / f"{name.replace(' ', '_')}.png"
        figure.savefig(path, dpi=120)
        plt.close(figure)
        made.append(path)
    return made


def _bars(axes: Any, rows: Rows, series: Mapping[str, list[float]]) -> None:
    """Groups of bars, one group for each workload; NaN leaves a gap."""
    width = 0.8 / max(1, len(series))
    for k, (label, values) in enumerate(series.items()):
        places = [n + (k - (len(series) - 1) / 2) * width for n in range(len(rows))]
        axes.bar(places, values, width, label=label)
    axes.set_xticks(range(len(rows)), list(rows))
    if len(series) > 1:
        axes.legend()


def _steps(axes: Any, rows: Rows) -> None:
    """How many times longer each peer takes than a bound step of ours, with the goal as a line."""
    names = list(dict.fromkeys(n for row in rows.values() for n in (*peers(row["seconds"]), "adjoint call", "target")))
    nan = float("nan")

    def times(row: Mapping[str, Any], name: str) -> float:
        seconds = row["seconds"]
        return seconds[name] / seconds["adjoint bound"] if name in seconds and "adjoint bound" in seconds else nan

    _bars(axes, rows, {n: [times(row, n) for row in rows.values()] for n in names})
    for k, name in enumerate(rows):
        axes.hlines(BOUND[name], k - 0.45, k + 0.45, colors="black", linestyles="dashed")
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylabel("time / bound step of adjoint\n(dashed: goal for the best peer)")


def _roofline(axes: Any, rows: Rows) -> None:
    series = {share: [100 * row[share] for row in rows.values()] for share in ("of peak", "of roofline")}
    _bars(axes, rows, series)
    axes.set_ylabel("per cent")


def _compile(axes: Any, rows: Rows) -> None:
    """Our phases, stacked, beside jax's first call."""
    bottom = [0.0] * len(rows)
    places = [n - 0.2 for n in range(len(rows))]
    for phase in dict.fromkeys(p for row in rows.values() for p in row["cold"]["phases"]):
        heights = [row["cold"]["phases"].get(phase, 0.0) for row in rows.values()]
        axes.bar(places, heights, 0.4, bottom, label=phase)
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    if any("jax" in row for row in rows.values()):
        nan = float("nan")
        heights = [row["jax"]["first"] if "jax" in row else nan for row in rows.values()]
        axes.bar([n + 0.2 for n in range(len(rows))], heights, 0.4, color="grey", label="jax's first call")
    axes.set_xticks(range(len(rows)), list(rows))
    axes.legend()
    axes.set_ylabel("seconds, cold")


def _memory(axes: Any, rows: Rows) -> None:
    tools = [t for t in ("adjoint", "jax") if any(t in row for row in rows.values())]
    _bars(axes, rows, {t: [row.get(t, float("nan")) / 1e6 for row in rows.values()] for t in tools})
    axes.set_yscale("log")
    axes.set_ylabel("MB planned, inputs left out")


def _matmul(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Share of the peak by the operations of a product, for every tool."""
    for tool in dict.fromkeys(name for row in rows for name in row["seconds"]):
        shares = [row["peak"] * row["seconds"]["adjoint"] / row["seconds"][tool] for row in rows]
        work = [row["flops"] * row["seconds"]["adjoint"] for row in rows]
        axes.scatter(work, [100 * share for share in shares], s=14, label=tool)
    axes.set_xscale("log")
    axes.set_xlabel("operations of a product")
    axes.set_ylabel("per cent of peak")
    axes.legend()


_PICTURES = {
    "steps": _steps, "one thread": _steps, "float64": _steps, "roofline": _roofline, "compile": _compile,
    "memory": _memory, "matmul": _matmul,
}  # fmt: skip
