"""Problems of GradBench and ADBench: objective and gradient in adjoint, jax and torch, float64, compared and timed.

    python benchmarks/gradbench.py [problems] [--threads N] [--rounds R] [--tools NAMES] [--small] [--json FILE]

A problem is one of gmm, lstm, kmeans, llsq, ode; tools are adjoint, jax and torch. The gradient is the value with its
derivatives; that of kmeans includes the diagonal of the Hessian. Exits with 1 if a tool disagrees about any of them by
more than 1e-8 of the largest element.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SIZES = {"gmm": (64, 100, 1000), "lstm": (6, 8192, 14), "kmeans": (1000, 10000, 16), "llsq": (16392, 128),
         "ode": (100000, 100)}  # fmt: skip
SMALL = {"gmm": (8, 10, 300), "lstm": (2, 100, 14), "kmeans": (20, 500, 16), "llsq": (400, 16), "ode": (300, 20)}
TOLERANCE = 1e-8
BUDGET = 0.3  # seconds of a round for one call of one tool at most, but for one call

Call = Callable[[], Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=list(SIZES), help="all of them if none is given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tools", default="adjoint,jax,torch")
    parser.add_argument("--small", action="store_true", help="small sizes, to see whether all agree")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def adjoint_problem(name: str, given: Any, sizes: tuple[int, ...], threads: int) -> tuple[Call, Call]:
    """The objective and the gradient of an example, bound to arguments."""
    import adjoint as ad

    module = importlib.import_module(name)
    gradient = module.build(*sizes, threads=threads)
    inputs = [ad.input(f"x{k}", a.shape, "float64") for k, a in enumerate(given)]
    value = {
        "gmm": lambda: module.log_posterior(*inputs),
        "lstm": lambda: module.loss(*inputs),
        "kmeans": lambda: module.cost(*inputs),
        "llsq": lambda: module.distance(*inputs, sizes[0]),
        "ode": lambda: module.solution(*inputs, sizes[1]),
    }[name]()
    return ad.compile(inputs, value, name=name, threads=threads).bind(*given), gradient.bind(*given)


def leaves(tree: Any) -> list[Any]:
    """The arrays of nested tuples and lists."""
    import numpy as np

    found, stack = [], [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, (tuple, list)):
            stack.extend(reversed(item))
        else:
            found.append(np.asarray(item, np.float64).copy())
    return found


def disagreement(mine: Any, reference: Any) -> float:
    """The largest difference of any result, relative to its largest element."""
    import numpy as np

    pairs = list(zip(leaves(mine), leaves(reference), strict=True))
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300)) if a.shape == b.shape else np.inf
               for a, b in pairs)  # fmt: skip


def measure(calls: Mapping[str, Call], rounds: int) -> dict[str, float]:
    """Seconds a call: the median over rounds in which the tools take turns."""
    import numpy as np

    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            call, spent, found = calls[name], 0.0, []
            if turn == 0:
                call()
            while not found or (spent < BUDGET and len(found) < 50):
                begin = time.perf_counter()
                call()
                found.append(time.perf_counter() - begin)
                spent += found[-1]
            samples[name].append(float(np.median(found)))
    return {name: float(np.median(values)) for name, values in samples.items()}


def run(name: str, options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Seconds of objective and gradient by tool, and what disagreed."""
    import numpy as np
    from gradbench_peers import jax_problem, torch_problem

    sizes = (SMALL if options.small else SIZES)[name]
    given = importlib.import_module(name).sample(np.random.default_rng(0), *sizes)
    makers = {
        "adjoint": lambda: adjoint_problem(name, given, sizes, options.threads),
        "jax": lambda: jax_problem(name, given, sizes),
        "torch": lambda: torch_problem(name, given, sizes),
    }
    found = {tool: makers[tool]() for tool in options.tools.split(",")}
    failures = []
    judge = next(iter(found))
    for k, what in enumerate(("objective", "gradient")):
        results = {tool: leaves(calls[k]()) for tool, calls in found.items()}
        for tool, result in results.items():
            share = disagreement(result, results[judge])
            if not share <= TOLERANCE:
                failures.append(f"{name}: {tool} and {judge} disagree about the {what} by {share:.1g}")
    times = [measure({tool: calls[k] for tool, calls in found.items()}, options.rounds) for k in (0, 1)]
    return {tool: {"objective": times[0][tool], "gradient": times[1][tool]} for tool in found}, failures


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Milliseconds by tool, how many objectives a gradient takes, and how many times as long the best peer takes."""
    tools = list(dict.fromkeys(tool for row in results.values() for tool in row))
    rows = ["| problem | " + " | ".join(f"{t} objective | {t} gradient | {t} ratio" for t in tools) + " | best peer |"]
    rows.append("|---|" + "---|" * (3 * len(tools) + 1))
    for name, row in results.items():
        cells = []
        for tool in tools:
            value, gradient = row[tool]["objective"], row[tool]["gradient"]
            cells += [f"{1e3 * value:.4g}", f"{1e3 * gradient:.4g}", f"{gradient / value:.2f}"]
        peers = [row[tool]["gradient"] for tool in tools if tool != "adjoint"]
        cells.append(f"{min(peers) / row['adjoint']['gradient']:.2f}" if peers and "adjoint" in row else "–")
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> int:
    options = arguments()
    from run import limit_cores

    limit_cores(options.threads)
    os.environ["JAX_ENABLE_X64"] = "1"
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "gradbench"))
    if "torch" in options.tools:
        import torch

        torch.set_num_threads(options.threads)
    results, failures = {}, []
    for name in options.problems:
        results[name], wrong = run(name, options)
        failures += wrong
        times = ", ".join(f"{t} {1e3 * v['gradient']:.4g} ms" for t, v in results[name].items())
        print(f"{name}: {times}", flush=True)
    print(f"\nmilliseconds a call, {options.threads} threads\n")
    print(table(results))
    for line in failures:
        print(f"FAILED {line}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
