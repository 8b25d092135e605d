"""One training step of every workload: ours, the hand-written target and the peers, compared and timed in one run.

    python benchmarks/run.py [workloads] [--threads N] [--rounds R] [--tools NAMES] [--json FILE]

Exits with 1 if any contender disagrees about the loss or the parameters after ten steps.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

STEPS = 10
TOLERANCE = 1e-4
BATCH = 2e-4  # seconds that one sample lasts at least, so that reading the clock does not show


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="all of them if none is given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tools", default="adjoint,target,jax,torch,pytensor", help="torch.compile is slow to start")
    parser.add_argument("--pytensor-mode", default="NUMBA", help="NUMBA or CVM, its C mode")
    parser.add_argument("--quantile", type=float, default=0.5, help="0.1 on a busy machine")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def limit_cores(threads: int) -> None:
    """Before any tool is imported: all of them size their pools by the cores that they may run on."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[: max(1, threads)])
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(min(threads, len(allowed)))


def disagreement(mine: Mapping[str, Any], reference: Mapping[str, Any], start: Mapping[str, Any]) -> tuple[float, str]:
    """The largest difference relative to what is allowed, and where it is.

    Parameters are compared to the largest element, and how far each has moved to twenty times the tolerance, so that an
    update left out is noticed.
    """
    import numpy as np

    worst, where = 0.0, ""
    for key, wanted in reference.items():
        wanted, got = np.asarray(wanted, np.float64), np.asarray(mine[key], np.float64)
        pairs = [(key, got, wanted, TOLERANCE)]
        if key in start:
            origin = np.asarray(start[key], np.float64)
            # Rounding of p - rate * g alone changes a movement by half an ulp of p each step.
            slack = STEPS * 6e-8 * np.abs(origin).max() / max(np.abs(wanted - origin).max(), 1e-30)
            pairs.append((f"{key} (movement)", got - origin, wanted - origin, 20 * TOLERANCE + slack))
        for what, a, b, allowed in pairs:
            share = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) / allowed
            if not share <= worst:
                worst, where = share, what
    return worst, where


def measure(contenders: Sequence[Any], rounds: int, quantile: float, budget: float = 0.05) -> dict[str, float]:
    """Seconds a step: the median over interleaved rounds of samples that each hold as many steps as BATCH needs."""
    import numpy as np

    plan = {}
    for one in contenders:
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            one.step()
            times.append(time.perf_counter() - begin)
        steps = max(1, round(BATCH / min(times)))
        plan[one.name] = (steps, max(2, min(50, int(budget / (steps * min(times))))))
    samples: dict[str, list[float]] = {one.name: [] for one in contenders}
    for turn in range(rounds):
        for one in contenders if turn % 2 == 0 else contenders[::-1]:
            # Threads of the one before that still spin go to sleep meanwhile.
            time.sleep(0.01)
            step = one.step
            step()
            step()
            steps, repeats = plan[one.name]
            for _ in range(repeats):
                begin = time.perf_counter()
                for _ in range(steps):
                    step()
                samples[one.name].append((time.perf_counter() - begin) / steps)
    return {name: float(np.quantile(values, quantile)) for name, values in samples.items()}


def run(name: str, options: argparse.Namespace) -> tuple[dict[str, float], list[str]]:
    """Seconds by contender, and what disagreed."""
    import subject
    from contenders import contenders

    work = subject.load(name, options.dtype)
    found = contenders(work, options.tools.split(","), options.threads, options.pytensor_mode)
    for one in found:
        for _ in range(STEPS):
            one.step()
    states = {one.name: one.state() for one in found}
    peers = [one.name for one in found if not one.name.startswith("adjoint")]
    judge = next((peer for peer in ("jax", "torch", *peers) if peer in states), found[0].name)
    failures = []
    for one, state in states.items():
        share, where = disagreement(state, states[judge], work.parameters)
        if not share <= 1:
            failures.append(f"{name}: {one} disagrees with {judge} about {where}, {share:.1f} times what is allowed")
    return measure(found, options.rounds, options.quantile), failures


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Microseconds by contender, and the two ratios that matter."""
    names = list(dict.fromkeys(name for seconds in results.values() for name in seconds))
    rows = [
        "| workload | " + " | ".join(names) + " | bound / target | best peer / bound | best peer / call |",
        "|---|" + "---|" * (len(names) + 3),
    ]
    for workload, seconds in results.items():
        cells = [f"{seconds[n] * 1e6:.4g}" if n in seconds else "–" for n in names]
        bound, call, by_hand = (seconds.get(n) for n in ("adjoint bound", "adjoint call", "target"))
        peers = [v for n, v in seconds.items() if n != "target" and not n.startswith("adjoint")]
        best = min(peers, default=None)
        for a, b in ((bound, by_hand), (best, bound), (best, call)):
            cells.append(f"{a / b:.2f}" if a and b else "–")
        rows.append(f"| `{workload}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> int:
    options = arguments()
    limit_cores(options.threads)
    if options.dtype == "float64":
        os.environ["JAX_ENABLE_X64"] = "1"
    import subject

    results, failures = {}, []
    for name in options.workloads or subject.NAMES:
        results[name], wrong = run(name, options)
        failures += wrong
        print(f"{name}: " + ", ".join(f"{k} {v * 1e6:.4g} µs" for k, v in results[name].items()), flush=True)
    print(f"\nmicroseconds a step, {options.threads} threads, pytensor mode {options.pytensor_mode}\n")
    print(table(results))
    for line in failures:
        print(f"FAILED {line}")
    if options.json:
        record = {"threads": options.threads, "pytensor_mode": options.pytensor_mode, "failures": failures}
        with open(options.json, "w") as file:
            json.dump({**record, "seconds": results}, file, indent=1)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
