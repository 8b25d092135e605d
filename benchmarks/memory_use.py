"""Planned peak memory of a training step, beside that of jax's compiled step.

    python benchmarks/memory_use.py [workloads] [--threads N] [--json FILE]

Ours is known when the function is compiled: the workspace (arena and scratch of all workers), the variables, which are
updated in place, and the outputs. Jax's is what its compiled step reports: temporary buffers, arguments and outputs,
less those that share the memory of donated arguments. Inputs, which both only read, are left out of both.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from goals import MEMORY
from subject import NAMES, Subject, load

PARTS = ("adjoint", "workspace", "state", "outputs", "jax", "jax temporary")


def planned(work: Subject, threads: int) -> dict[str, int]:
    """Bytes of our step, by what they are for."""
    import contenders
    import numpy as np

    function, variables = contenders.build_adjoint(work, threads)
    step = function.bind(*(np.array(a) for a in work.inputs.values()))
    outputs = sum(a.nbytes for a in step.outputs)
    state = sum(v.value.nbytes for v in variables.values())
    total = function.memory + state + outputs
    return {"adjoint": total, "workspace": function.memory, "state": state, "outputs": outputs}


def planned_by_jax(work: Subject) -> dict[str, int]:
    """Bytes of jax's step without the inputs."""
    import jax
    from common import jax_step

    jitted = jax_step(work.jax_loss, list(work.parameters), work.rate)
    current = {name: jax.device_put(a) for name, a in work.parameters.items()}
    data = [jax.device_put(a) for a in work.inputs.values()]
    found = jitted.lower(current, *data).compile().memory_analysis()
    temporary = int(found.temp_size_in_bytes)
    held = int(found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes)
    return {"jax": temporary + held - sum(a.nbytes for a in data), "jax temporary": temporary}


def measure(name: str, threads: int, dtype: str = "float32") -> dict[str, int]:
    """Bytes by part; those of jax only where it is installed."""
    work = load(name, dtype)
    found = planned(work, threads)
    with suppress(ModuleNotFoundError):
        found |= planned_by_jax(work)
    return found


def missed(results: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What the goals say and is not so."""
    shares = {n: r["adjoint"] / r["jax"] for n, r in results.items() if n in MEMORY and "jax" in r}
    return [f"MISSED {n}: a step needs {share:.2f} times jax's memory" for n, share in shares.items() if share > 1]


def table(results: Mapping[str, Mapping[str, int]]) -> str:
    """Kilobytes by part, and the share of jax's that ours is."""
    rows = ["| workload | " + " | ".join(PARTS) + " | adjoint / jax |", "|---|" + "---|" * (len(PARTS) + 1)]
    for workload, row in results.items():
        cells = [f"{row[part] / 1e3:,.1f}" if part in row else "–" for part in PARTS]
        share = f"{row['adjoint'] / row['jax']:.2f}" if "jax" in row else "–"
        goal = " (at most 1)" if workload in MEMORY else ""
        rows.append(f"| `{workload}` | " + " | ".join(cells) + f" | {share}{goal} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="all of them if none is given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {name: measure(name, options.threads) for name in options.workloads or NAMES}
    print("kilobytes, inputs left out\n")
    print(table(results))
    found = missed(results)
    print(*found, sep="\n")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"workloads": results, "failures": found}, file, indent=1)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
