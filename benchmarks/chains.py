"""Chains of elementwise nodes: milliseconds a node to build, differentiate, dump, compile and pickle.

    python benchmarks/chains.py [lengths] [--profile PHASE] [--json FILE]

Every length runs in a process of its own with an empty cache. The time a node must not grow with the length, and the
sum must stay below one millisecond.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LENGTHS = (1_000, 10_000, 100_000)
LIMIT = 1.0  # milliseconds a node
GROWTH = 2.0  # by which the time a node may differ between lengths: caches and the collector see to that much


def chain(length: int) -> tuple[Any, Any]:
    """`length` nodes, none of which a rewrite could merge with its neighbours."""
    import adjoint as ad

    x = ad.input("x", (64,))
    steps: list[Callable[[Any], Any]] = [ad.tanh, lambda h: h * x, lambda h: h + x, ad.sigmoid, lambda h: h - x]
    h = x
    for k in range(length):
        h = steps[k % len(steps)](h)
    return x, h


def run(length: int, profiled: str | None) -> dict[str, float]:
    """Seconds of every phase."""
    import pickle

    import numpy as np

    import adjoint as ad

    seconds: dict[str, float] = {}

    def timed(phase: str, work: Callable[[], Any]) -> Any:
        profiler = None
        if profiled == phase:
            import cProfile

            profiler = cProfile.Profile()
            profiler.enable()
        begin = time.perf_counter()
        result = work()
        seconds[phase] = time.perf_counter() - begin
        if profiler is not None:
            import pstats

            profiler.disable()
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(30)
        print(f"{length} {phase}: {seconds[phase] / length * 1e3:.4f} ms a node", file=sys.stderr, flush=True)
        return result

    x, y = timed("build", lambda: chain(length))
    gradient = timed("differentiate", lambda: ad.grad(ad.sum(y), x))
    function = timed("compile", lambda: ad.compile([x], [y, gradient], name="chain"))
    value = np.linspace(-1, 1, 64, dtype=np.float32)
    timed("first call", lambda: function(value))
    timed("compile again", lambda: ad.compile([x], [y, gradient], name="chain"))
    for stage in ("graph", "adjoint", "optimized", "kernels", "memory", "c"):
        timed(f"dump {stage}", lambda stage=stage: function.dump(stage))
    data = timed("pickle", lambda: pickle.dumps(function))
    timed("unpickle", lambda: pickle.loads(data))
    return seconds


def child(length: int, profiled: str | None) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), str(length), "--child"]
    if profiled:
        command += ["--profile", profiled]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ADJOINT_CACHE_DIR": folder}
        # Without it every process would compile the tools' own Python again.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lengths", nargs="*", type=int)
    parser.add_argument("--profile", metavar="PHASE", help="cProfile of one phase, such as compile")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(run(options.lengths[0], options.profile)))
        return 0
    results = {n: child(n, options.profile) for n in options.lengths or LENGTHS}
    lengths = list(results)
    print("milliseconds a node\n")
    print("| phase | " + " | ".join(f"{n:,} nodes" for n in lengths) + " |")
    print("|---|" + "---|" * len(lengths))
    for phase in results[lengths[0]]:
        print(f"| {phase} | " + " | ".join(f"{results[n][phase] / n * 1e3:.4f}" for n in lengths) + " |")
    totals = {n: sum(r.values()) / n * 1e3 for n, r in results.items()}
    print("| total | " + " | ".join(f"{t:.3f}" for t in totals.values()) + " |")
    missed = [f"{n} nodes take {t:.2f} ms each" for n, t in totals.items() if t > LIMIT]
    if totals[lengths[-1]] > GROWTH * totals[lengths[0]]:
        missed.append("the time a node grows with the length")
    for line in missed:
        print(f"MISSED {line}")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
