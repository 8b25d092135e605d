"""How close a training step comes to what the machine can do.

    python benchmarks/roofline.py [workloads] [--threads N] [--dtype T] [--json FILE]

The operations of a step are those of its optimized graph, whatever the schedule computes twice: two for each product
of a contraction, for an elementwise operation what the op table says that it costs (24 for a tanh). Its bytes are those
that no schedule can avoid: inputs and variables read once, new values and outputs written once. The floor is the time
for the one at the measured peak of multiply-adds, or for the other at the measured bandwidth of the level of memory
that holds inputs, variables and outputs, whichever is longer.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from run import limit_cores, measure

COLUMNS = ("Mflop", "MB", "in", "GB/s", "floor µs", "bound µs", "GFLOP/s", "of peak", "of roofline")


def operations(roots: Sequence[Any]) -> int:
    """Of a graph, those of loop bodies times the length; of a loop of unknown length one iteration."""
    from adjoint.graph import sizes
    from adjoint.graph.control import bodies
    from adjoint.graph.node import toposort

    total = 0
    pending = [(tuple(roots), 1)]
    while pending:
        here, times = pending.pop()
        for node in toposort(here):
            elements = sizes.hint(sizes.product(node.shape)) if node.op.kind != "control" else 0
            if node.op.kind == "elementwise":
                total += times * elements * node.op.cost
            elif node.op.kind == "contraction":
                total += times * 2 * sizes.hint(sizes.product(node["extents"]))
            elif node.op.kind in ("reduction", "sequence", "scatter"):
                total += times * sizes.hint(sizes.product(max((i.shape for i in node.inputs), key=len)))
            again = sizes.hint(node["length"]) if node.op.name == "scan" else 1
            pending += [(body.outputs, times * again) for body in bodies(node)]
    return total


def traffic(program: Any) -> int:
    """Bytes of inputs, variables, their new values and outputs."""
    return _bytes([*program.inputs, *program.variables, *program.roots])


def level(program: Any, threads: int) -> str:
    """The level of memory that holds what the step is called with."""
    from adjoint.runtime.peak import working_set

    held = _bytes([*program.inputs, *program.variables, *program.outputs]) / threads
    return next((name for name in ("L2", "L3") if held <= 2 * working_set(name)), "memory")


def _bytes(nodes: Sequence[Any]) -> int:
    from adjoint.graph import sizes

    return sum(sizes.hint(sizes.product(n.shape)) * n.dtype.itemsize for n in nodes)


def rate(name: str, threads: int, dtype: str, rounds: int) -> dict[str, Any]:
    """The row of a workload; seconds and plain counts."""
    import contenders
    import subject

    from adjoint.runtime.peak import bandwidth, peak_flops

    work = subject.load(name, dtype)
    bound = next(contenders.adjoint_contenders(work, threads))
    compiled, _ = contenders.build_adjoint(work, threads)
    program = compiled.report.compilation.optimized
    count, moved = operations(program.roots), traffic(program)
    seconds = measure([bound], rounds, 0.5)[bound.name]
    where = level(program, threads)
    peak, speed = peak_flops(dtype, threads), bandwidth("read", where, threads)
    floor = max(count / peak, moved / speed)
    machine = {"level": where, "peak": peak, "bandwidth": speed}
    shares = {"of peak": count / peak / seconds, "of roofline": floor / seconds}
    return {"operations": count, "bytes": moved, "seconds": seconds, "floor": floor, **machine, **shares}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = ["| workload | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for workload, r in results.items():
        cells = [f"{r['operations'] / 1e6:.4g}", f"{r['bytes'] / 1e6:.3g}", r["level"], f"{r['bandwidth'] / 1e9:.0f}"]
        cells += [f"{r['floor'] * 1e6:.3g}", f"{r['seconds'] * 1e6:.4g}", f"{r['operations'] / r['seconds'] / 1e9:.1f}"]
        cells += [f"{r['of peak']:.0%}", f"{r['of roofline']:.0%}"]
        rows.append(f"| `{workload}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="all of them if none is given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(arguments)
    limit_cores(options.threads)
    import subject

    names = options.workloads or subject.NAMES
    results: dict[str, Any] = {n: rate(n, options.threads, options.dtype, options.rounds) for n in names}
    peak = next(iter(results.values()))["peak"] / 1e9
    print(f"{options.dtype}, {options.threads} threads: measured peak {peak:.0f} GFLOP/s\n")
    print(table(results))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"threads": options.threads, "dtype": options.dtype, "workloads": results}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
