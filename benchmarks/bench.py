"""Every table at once: steps beside the peers, roofline, compile time, memory, and the sweeps.

    adjoint bench [workloads] [--tables NAMES] [--tools NAMES] [--threads N] [--dtype T] [--quick] [-o DIR]

Each table comes from a script beside this one, which runs in a process of its own. Where ours fails or is wrong, it is
named and the ratio counts as 0; a peer that fails or is wrong is named and left out. Everything goes to DIR/bench.json,
pictures of it beside that. Exits with 1 if anything of ours failed; a goal that is missed is printed and is no failure.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import run
from goals import BOUND, CALL, MEAN, OURS, geometric_mean
from subject import NAMES

HERE = Path(__file__).resolve().parent
TABLES = ("steps", "one thread", "float64", "roofline", "compile", "memory", "matmul", "gradbench")
QUICK = ("steps", "roofline", "compile", "memory")
TOOLS = "adjoint,target,jax,torch,torch.compile,pytensor"
DOUBLE = ("mlp", "gpt")
PATIENCE = 1800  # seconds after which a script is taken for stuck

Failures = list[str]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="adjoint bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(NAMES)}; all of them if none is given")
    parser.add_argument("--tables", help=f"of {', '.join(TABLES)}, with commas; default: all, --quick: the first ones")
    parser.add_argument("--tools", default=None, help=f"default: {TOOLS}; --quick: without torch.compile")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--quick", action="store_true", help="few rounds, fewer tables")
    parser.add_argument("-o", "--output", default="out/bench", metavar="DIR", help="default: out/bench")
    options = parser.parse_args(given)
    options.workloads = options.workloads or list(NAMES)
    for name in options.workloads:
        if name not in NAMES:
            parser.error(f"there is no workload {name!r}; there are {', '.join(NAMES)}")
    chosen = [t.strip() for t in options.tables.split(",")] if options.tables else None
    options.tables = chosen or (QUICK if options.quick else TABLES)
    for name in options.tables:
        if name not in TABLES:
            parser.error(f"there is no table {name!r}; there are {', '.join(TABLES)}")
    options.tools = options.tools or (TOOLS.replace("torch.compile,", "") if options.quick else TOOLS)
    return options


def child(script: str, *options: str) -> tuple[dict[str, Any] | None, str]:
    """The figures that a script writes and what it prints; no figures, and the end of its errors, if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, str(HERE / script), *options, "--json", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return None, f"did not finish in {PATIENCE} s"
        if not file.is_file():
            return None, (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return json.loads(file.read_text()), done.stdout


def steps(options: argparse.Namespace, failures: Failures, threads: int, dtype: str, names: Sequence[str]) -> Any:
    """Rows by workload, each from a process of its own."""
    rows: dict[str, Any] = {}
    common = ["--threads", str(threads), "--dtype", dtype, "--tools", options.tools]
    common += ["--rounds", "3" if options.quick else "15"]
    for name in names:
        figures, text = child("run.py", name, *common)
        if figures is not None:
            rows[name] = figures["workloads"][name]
        else:
            rows[name] = {"seconds": {}, "ratios": dict.fromkeys(OURS, 0.0), "absent": {}, "wrong": {"adjoint": text}}
        ours = {who: what for who, what in rows[name]["wrong"].items() if who.startswith("adjoint")}
        failures += [f"{name}, {dtype}, {threads} threads: {who}: {what}" for who, what in ours.items()]
        print(f"  {name} done", file=sys.stderr, flush=True)
    return rows


def print_steps(title: str, rows: dict[str, Any], goals: bool) -> None:
    print(f"\n## {title}, microseconds a step\n")
    print(run.table(rows, goals))
    print(*run.summary(rows), sep="\n")


def judgement(rows: dict[str, Any]) -> list[str]:
    """One line for each goal that is missed."""
    lines = []
    for ours, goals in zip(OURS, (BOUND, CALL), strict=True):
        for name, goal in goals.items():
            value = rows[name]["ratios"][ours] if name in rows else None
            if value is not None and value < goal:
                lines.append(f"MISSED {name}: best peer / {ours.split()[1]} is {value:.2f}, {goal:g} is wanted")
    ratios = [r["ratios"]["adjoint bound"] for r in rows.values()]
    if set(rows) == set(NAMES) and None not in ratios and geometric_mean(ratios) < MEAN:
        lines.append(f"MISSED the geometric mean is {geometric_mean(ratios):.2f}, {MEAN:g} is wanted")
    return lines


def scripted(title: str, script: str, *options: str) -> Callable[[Failures], Any]:
    """A table that a script prints itself."""

    def make(failures: Failures) -> Any:
        print(f"\n## {title}\n")
        if not (HERE / script).is_file():
            print(f"there is no {script} in this checkout")
            return None
        figures, text = child(script, *options)
        print(text.strip())
        if figures is None:
            failures.append(f"{script}: {text}")
        failures += [f"{script}: {line}" for line in text.splitlines() if line.startswith("FAILED")]
        return figures

    return make


def tables(options: argparse.Namespace) -> dict[str, Callable[[Failures], Any]]:
    """How to make each table; making one prints it."""
    names, threads, dtype = options.workloads, options.threads, options.dtype
    double = [n for n in DOUBLE if n in names]
    installed = [tool for tool in ("jax", "torch") if importlib.util.find_spec(tool) is not None]

    def stepping(title: str, threads: int, dtype: str, names: Sequence[str]) -> Callable[[Failures], Any]:
        def make(failures: Failures) -> Any:
            rows = steps(options, failures, threads, dtype, names)
            main = (threads, dtype) == (2, "float32")
            print_steps(title, rows, main)
            missed = judgement(rows) if main else []
            print(*missed, sep="\n")
            return {"threads": threads, "dtype": dtype, "workloads": rows, "missed": missed}

        return make

    return {
        "steps": stepping(f"Steps, {dtype}, {threads} threads", threads, dtype, names),
        "one thread": stepping(f"Steps, {dtype}, one thread", 1, dtype, names),
        "float64": stepping(f"Steps, float64, {threads} threads", threads, "float64", double),
        "roofline": scripted(
            "Roofline", "roofline.py", *names, "--threads", str(threads), "--dtype", dtype,
            *(["--rounds", "3"] if options.quick else []),
        ),
        "compile": scripted("Compile time", "compile_time.py", *names, "--repeat", "1" if options.quick else "3"),
        "memory": scripted("Memory", "memory_use.py", *names, "--threads", str(threads)),
        "matmul": scripted(
            "Matrix products", "matmul.py", *(["square"] if options.quick else []), "--threads", str(threads),
            "--dtype", dtype,
        ),
        "gradbench": scripted(
            "GradBench", "gradbench.py", "--threads", str(threads), "--tools", ",".join(["adjoint", *installed]),
            *(["--small", "--rounds", "2"] if options.quick else []),
        ),
    }  # fmt: skip


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import dataclasses

    from adjoint.runtime.native import available_cpus
    from adjoint.runtime.target import native_target
    from adjoint.runtime.toolchain import find_toolchain

    target, compiler = dataclasses.asdict(native_target()), find_toolchain().version
    return {"target": target, "cpus": available_cpus(), "compiler": compiler, "python": platform.python_version()}


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    # Without it every process would compile the tools' own Python again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    failures: Failures = []
    made = tables(options)
    record: dict[str, Any] = {"machine": machine(), "tables": {}}
    for name in options.tables:
        record["tables"][name] = made[name](failures)
    record["failures"] = failures
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(f"\nfigures in {folder / 'bench.json'}")
    try:
        from plots import draw
    except ModuleNotFoundError as error:
        print(f"no pictures: {error}; pip install -e '.[bench]'")
    else:
        print(*(f"picture in {path}" for path in draw(record["tables"], folder)), sep="\n")
    print(*(f"FAILED {line}" for line in failures), sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
