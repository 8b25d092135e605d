"""One training step of every workload: ours, the hand-written target and the peers, compared and timed in one run.

    python benchmarks/run.py [workloads] [--threads N] [--rounds R] [--tools NAMES] [--json FILE]

A contender that fails, or disagrees about the loss or the parameters after ten steps, is named and not timed. Exits
with 1 if it is ours.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from goals import BOUND, CALL, OURS, geometric_mean, ratio

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


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds by contender, which tools are absent and why, and what failed or disagreed, by contender."""
    import subject
    from contenders import gather, reference

    work = subject.load(name, options.dtype)
    found, why = gather(work, options.tools.split(","), options.threads, options.pytensor_mode)
    absent = {tool: text for tool, text in why.items() if text.startswith("not installed")}
    wrong = {tool: text for tool, text in why.items() if tool not in absent}
    if not any(one.name not in OURS for one in found):
        found.append(reference(work))
    states = {}
    for one in found:
        try:
            for _ in range(STEPS):
                one.step()
            states[one.name] = one.state()
        except Exception as error:
            wrong[one.name] = f"{type(error).__name__}: {error}"
    others = [n for n in states if n not in OURS]
    judge = next((n for n in ("jax", "torch", *others) if n in states), None)
    for one_name, state in states.items():
        share, where = disagreement(state, states[judge], work.parameters) if judge else (0.0, "")
        if not share <= 1:
            wrong[one_name] = f"disagrees with {judge} about {where}, {share:.1f} times what is allowed"
    timed = [one for one in found if one.name not in wrong and one.name != "interpreter"]
    seconds = measure(timed, options.rounds, options.quantile)
    ratios = {ours: ratio(seconds, ours) for ours in OURS}
    return {"seconds": seconds, "ratios": ratios, "judge": judge, "absent": absent, "wrong": wrong}


def table(results: Mapping[str, Mapping[str, Any]], goals: bool = True) -> str:
    """Microseconds by contender, and the ratios that matter, with what they should be."""
    names = list(dict.fromkeys(name for row in results.values() for name in row["seconds"]))
    rows = [
        "| workload | " + " | ".join(names) + " | bound / target | best peer / bound | best peer / call |",
        "|---|" + "---|" * (len(names) + 3),
    ]
    for workload, row in results.items():
        seconds = row["seconds"]
        cells = [f"{seconds[n] * 1e6:.4g}" if n in seconds else "–" for n in names]
        bound, by_hand = seconds.get("adjoint bound"), seconds.get("target")
        cells.append(f"{bound / by_hand:.2f}" if bound and by_hand else "–")
        for ours, wanted in zip(OURS, (BOUND, CALL), strict=True):
            value = row["ratios"][ours]
            goal = f" (goal {wanted[workload]:g})" if goals and workload in wanted else ""
            cells.append(f"–{goal}" if value is None else f"{value:.2f}{goal}")
        rows.append(f"| `{workload}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def summary(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What failed, what is absent, and the mean of the ratios."""
    lines = []
    for workload, row in results.items():
        for one, text in row["wrong"].items():
            lines.append(f"{'FAILED' if one.startswith('adjoint') else 'LEFT OUT'} {workload}: {one}: {text}")
    for tool, text in {t: x for row in results.values() for t, x in row["absent"].items()}.items():
        lines.append(f"{tool} is absent: {text}")
    ratios = [row["ratios"]["adjoint bound"] for row in results.values()]
    if ratios and None not in ratios:
        count = "one workload" if len(ratios) == 1 else f"{len(ratios)} workloads"
        lines.append(f"geometric mean of best peer / bound over {count}: {geometric_mean(ratios):.2f}")
    return lines


def main() -> int:
    options = arguments()
    limit_cores(options.threads)
    if options.dtype == "float64":
        os.environ["JAX_ENABLE_X64"] = "1"
    import subject

    results = {}
    for name in options.workloads or subject.NAMES:
        results[name] = run(name, options)
        print(f"{name}: " + ", ".join(f"{k} {v * 1e6:.4g} µs" for k, v in results[name]["seconds"].items()), flush=True)
    print(f"\nmicroseconds a step, {options.dtype}, {options.threads} threads, pytensor mode {options.pytensor_mode}\n")
    print(table(results))
    print(*summary(results), sep="\n")
    if options.json:
        record = {"threads": options.threads, "dtype": options.dtype, "pytensor_mode": options.pytensor_mode}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({**record, "workloads": results}, file, indent=1)
    return 1 if any(ours not in row["seconds"] for row in results.values() for ours in OURS) else 0


if __name__ == "__main__":
    sys.exit(main())
