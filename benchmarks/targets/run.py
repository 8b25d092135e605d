"""Runs the hand-written targets beside jax and torch and prints the table of README.md.

    python benchmarks/targets/run.py [names] [--compile] [--serial] [--alone] [--rounds N] [--quantile Q]

Every `<name>.c` here has a `<name>.py` whose `workload()` returns a `common.Workload`.
"""

import argparse
import importlib

import common


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="workloads; all of them if none is given")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well (slow to start)")
    parser.add_argument("--serial", action="store_true", help="the target on one thread as well")
    parser.add_argument("--alone", action="store_true", help="only time the target; nothing is checked")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--quantile", type=float, default=0.5, help="of the times of a contender; 0.1 on a busy machine"
    )
    options = parser.parse_args()
    known = sorted(path.stem for path in common.HERE.glob("*.c") if path.with_suffix(".py").exists())
    rows = []
    for name in options.names or known:
        if name not in known:
            parser.error(f"no workload {name!r}; there are {', '.join(known)}")
        work = importlib.import_module(name).workload()
        rows.append(work.run(options.compile, options.serial, options.alone, options.rounds, options.quantile))
        print(
            f"{name}: " + ", ".join(f"{key} {value * 1e6:.0f} µs" for key, value in rows[-1].seconds.items()),
            flush=True,
        )
    print()
    print(common.table(rows))


if __name__ == "__main__":
    main()
