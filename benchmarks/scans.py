"""Gradients of scans: what they cost beside the forward loop, and that compiling does not depend on the length.

    python benchmarks/scans.py [lengths] [--threads N] [--json FILE]

A recurrent network and an elementwise recurrence; the squares of all states are summed, so that cotangents do not fade
into subnormal numbers. Forward is the inference pass, which keeps nothing; gradient is the loss and its gradients by
the weights. The two take turns, medians are compared.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from typing import Any

import numpy as np

LENGTHS = (10, 100, 1_000, 10_000, 100_000)
LIMIT = 4.0  # times the forward pass
SPREAD = 2.0  # by which compile times of different lengths may differ
BATCH, WIDTH = 8, 32


def recurrent(n: int) -> tuple[list[Any], Any, list[Any]]:
    """Inputs, loss and what it is differentiated by."""
    import adjoint as ad

    x, w, u = ad.input("x", (n, BATCH, WIDTH)), ad.input("w", (WIDTH, WIDTH)), ad.input("u", (WIDTH, WIDTH))

    def cell(state: Any, v: Any) -> Any:
        h, total = state
        h = ad.tanh(v @ w + h @ u)
        return (h, total + h * h), None

    start = ad.zeros((BATCH, WIDTH))
    (_, total), _ = ad.scan(cell, (start, start), x)
    return [x, w, u], total.sum(), [w, u]


def elementwise(n: int) -> tuple[list[Any], Any, list[Any]]:
    import adjoint as ad

    x, a = ad.input("x", (n, BATCH * WIDTH)), ad.input("a", (BATCH * WIDTH,))

    def cell(state: Any, v: Any) -> Any:
        h, total = state
        h = ad.sin(h * a) + v
        return (h, total + h * h), None

    start = ad.zeros((BATCH * WIDTH,))
    (_, total), _ = ad.scan(cell, (start, start), x)
    return [x, a], total.sum(), [x, a]


def measure(make: Any, n: int, threads: int) -> dict[str, float]:
    import adjoint as ad

    inputs, loss, by = make(n)
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(x.shape, dtype=np.float32) / 8 for x in inputs]
    begin = time.perf_counter()
    gradient = ad.compile(inputs, [loss, *ad.grad(loss, by)], threads=threads)
    seconds = time.perf_counter() - begin
    calls = [ad.compile(inputs, loss, threads=threads).bind(*values), gradient.bind(*values)]
    assert np.isclose(float(calls[0]()), float(calls[1]()[0]), rtol=1e-4)
    repeat = max(1, 20_000 // n)
    times: list[list[float]] = [[], []]
    for _ in range(7):
        for k, call in enumerate(calls):
            begin = time.perf_counter()
            for _ in range(repeat):
                call()
            times[k].append((time.perf_counter() - begin) / repeat)
    forward, whole = (float(np.median(t)) for t in times)
    return {"forward µs": forward * 1e6, "gradient µs": whole * 1e6, "ratio": whole / forward, "compile s": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lengths", nargs="*", type=int, default=LENGTHS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    options = parser.parse_args()
    results: dict[str, dict[int, dict[str, float]]] = {}
    missed = []
    print("| loop | iterations | forward µs | gradient µs | ratio | compile s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ADJOINT_CACHE_DIR"] = folder
        measure(elementwise, 3, options.threads)  # imports, and what every process does once
        for make in (recurrent, elementwise):
            rows = results[make.__name__] = {n: measure(make, n, options.threads) for n in options.lengths}
            for n, row in rows.items():
                times = f"{row['forward µs']:.4g} | {row['gradient µs']:.4g} | {row['ratio']:.2f}"
                print(f"| {make.__name__} | {n:,} | {times} | {row['compile s']:.3f} |")
                if row["ratio"] > LIMIT:
                    missed.append(f"{make.__name__}: {n} iterations cost {row['ratio']:.2f} forward passes")
            compiled = [row["compile s"] for row in rows.values()]
            if max(compiled) > SPREAD * min(compiled):
                missed.append(f"{make.__name__}: compile time depends on the length")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    for line in missed:
        print("MISSED", line)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
