"""What the problems share: sizes from the command line, and the report of a run."""

import sys
import time

import numpy as np


def sizes(names, *defaults):
    """The sizes on the command line, or these; `names`, separated by blanks, are what a wrong call is told."""
    given = sys.argv[1:] or defaults
    if len(given) != len(defaults) or not all(str(n).isdecimal() for n in given):
        sys.exit(f"usage: python {sys.argv[0]} {names.upper()}")
    return [int(n) for n in given]


def report(function, *args, seconds=0.5):
    """Calls a compiled (value, derivatives) for some seconds; prints the value, or its norm, and the best time."""
    call = function.bind(*args)
    times = []
    while not times or sum(times) < seconds:
        start = time.perf_counter()
        value, derivatives = call()
        times.append(time.perf_counter() - start)
    leaves = derivatives if isinstance(derivatives, (list, tuple)) else [derivatives]
    print(f"value     {value:.10g}" if value.ndim == 0 else f"value     norm {np.linalg.norm(value):.10g}")
    print(f"gradient  norm {np.sqrt(sum(np.sum(g**2) for g in leaves)):.10g}")
    print(f"time      {1e3 * min(times):.3f} ms, the least of {len(times)} calls")
