"""Time from compile() to the first result: cold, with a warm cache in a new process, and jax's first call.

    python benchmarks/compile_time.py [workloads] [--repeat N] [--profile] [--json FILE]

Every figure comes from a process of its own, started with imports of the tool already done where the clock starts;
importing is shown beside it. Of several repeats the smallest counts, for what others do to the machine only adds.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from goals import COLD, NO_SLOWER, WARM

HERE = Path(__file__).resolve().parent


def adjoint_process(name: str, profile: bool) -> dict[str, Any]:
    """One process: import, graph and gradients, compile, first result, a later result."""
    begin = time.perf_counter()
    import adjoint  # noqa: F401

    imported = time.perf_counter() - begin
    import contenders
    import numpy as np
    import subject

    work = subject.load(name)
    # User code: its modules were imported with the workload, as they are in a script of one's own.
    begin = time.perf_counter()
    compile_step, _ = contenders.describe_adjoint(work)
    described = time.perf_counter() - begin
    data = [np.array(a) for a in work.inputs.values()]
    profiler = None
    if profile:
        import cProfile

        profiler = cProfile.Profile()
        profiler.enable()
    used, begin = processor_seconds(), time.perf_counter()
    function = compile_step()
    compiled = time.perf_counter() - begin
    function(*data)
    first = time.perf_counter() - begin
    if profiler is not None:
        import pstats

        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    used, report = processor_seconds() - used, function.report
    took = {"cpu": used, "import": imported, "graph": described, "compile": compiled, "first": first}
    return {**took, "phases": dict(report.seconds), **report.counts}


def processor_seconds() -> float:
    """What this process and its finished children, such as C compilers, have used: steadier on a busy machine."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def jax_process(name: str) -> dict[str, Any]:
    begin = time.perf_counter()
    import jax

    imported = time.perf_counter() - begin
    import contenders
    import subject

    work = subject.load(name)
    (one,) = contenders.contenders(work, ["jax"], 2)
    # The backend starts once a process, whatever is compiled.
    jax.block_until_ready(jax.device_put(0.0))
    used, begin = processor_seconds(), time.perf_counter()
    one.step()
    first = time.perf_counter() - begin
    return {"import": imported, "first": first, "cpu": processor_seconds() - used}


def child(tool: str, name: str, folder: str, profile: bool = False) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "compile_time.py"), "--child", tool, name]
    if profile:
        command.append("--profile")
    environment = {**os.environ, "ADJOINT_CACHE_DIR": folder}
    # Without it every process would compile the tools' own Python again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def best(results: list[dict[str, Any]]) -> dict[str, Any]:
    return min(results, key=lambda r: r["first"])


def measure(name: str, repeat: int, with_jax: bool) -> dict[str, dict[str, Any]]:
    cold, warm, jax = [], [], []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(child("adjoint", name, folder))
            warm.extend(child("adjoint", name, folder) for _ in range(2))
        if with_jax:
            jax.append(child("jax", name, folder))
    found = {"cold": best(cold), "warm": best(warm)}
    return {**found, "jax": best(jax)} if with_jax else found


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    names = list(dict.fromkeys(p for r in results.values() for p in r["cold"]["phases"]))
    heads = ["workload", "cold", *names, "other", "jax's first call", "cold − jax", "warm ms", "import ms"]
    heads += ["CPU s", "jax's CPU s", "functions", "units"]
    rows = [
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for workload, r in results.items():
        cold, phases = r["cold"]["first"], r["cold"]["phases"]
        cells = [f"{cold:.3f}", *(f"{phases.get(n, 0):.3f}" for n in names), f"{cold - sum(phases.values()):.3f}"]
        late = cold - r["jax"]["first"] if "jax" in r else 0.0
        cells += [f"{r['jax']['first']:.3f}", f"{late:+.3f}"] if "jax" in r else ["–", "–"]
        cells += [f"{r['warm']['first'] * 1e3:.1f}", f"{r['warm']['import'] * 1e3:.0f}"]
        cells += [f"{r['cold']['cpu']:.2f}", f"{r['jax']['cpu']:.2f}" if "jax" in r else "–"]
        cells += [str(r["cold"]["functions"]), str(r["cold"]["units"])]
        rows.append(f"| `{workload}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def missed(results: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """What the goals say and is not so."""
    lines = []
    for n, r in results.items():
        slack = 0.0 if n in NO_SLOWER else COLD
        if "jax" in r and r["cold"]["first"] > r["jax"]["first"] + slack:
            lines.append(f"MISSED {n}: a cold compile takes more than {slack:g} s longer than jax's first call")
        if r["warm"]["first"] > WARM:
            lines.append(f"MISSED {n}: a second process takes more than {WARM * 1e3:.0f} ms to its first result")
    return lines


def main() -> int:
    import subject

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="cProfile of one cold and one warm process instead")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--child", choices=("adjoint", "jax"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        (name,) = options.workloads
        made = jax_process(name) if options.child == "jax" else adjoint_process(name, options.profile)
        print(json.dumps(made))
        return 0
    with_jax = importlib.util.find_spec("jax") is not None
    results = {}
    for name in options.workloads or subject.NAMES:
        if options.profile:
            with tempfile.TemporaryDirectory() as folder:
                for state in ("cold", "warm"):
                    print(f"{name}, {state}: {child('adjoint', name, folder, True)}", flush=True)
            continue
        results[name] = measure(name, options.repeat, with_jax)
    if not options.profile:
        print("seconds unless said otherwise\n")
        print(table(results))
    found = missed(results)
    print(*found, sep="\n")
    if options.json:
        Path(options.json).write_text(json.dumps({"workloads": results, "failures": found}, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
