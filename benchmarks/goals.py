"""What adjoint is to reach beside its peers, and whether it does."""

import math
from collections.abc import Iterable, Mapping

# Time of the best peer over ours, for a bound step and for a call that checks its arguments.
BOUND = {
    "linreg": 3.0, "simplenet": 3.0, "mlp": 1.3, "mlp_b1": 1.5, "lngelu": 3.0, "convnet": 3.0, "gpt": 2.5, "lstm": 2.7,
}  # fmt: skip
CALL = {"linreg": 2.0, "simplenet": 2.0}
MEAN = 2.5  # geometric, of the bound steps
COLD = 0.15  # seconds that a cold compile may take longer than jax's first call
NO_SLOWER = ("convnet", "lstm", "gpt")  # where it may take no longer
WARM = 0.050  # seconds to the first result in a second process
MEMORY = ("gpt", "convnet")  # where a step may need no more memory than jax's

OURS = ("adjoint bound", "adjoint call")


def peers(seconds: Mapping[str, float]) -> dict[str, float]:
    """The contenders that are neither ours nor written by hand."""
    return {n: v for n, v in seconds.items() if n != "target" and n not in OURS}


def ratio(seconds: Mapping[str, float], ours: str) -> float | None:
    """Time of the best peer over ours: 0 if ours did not run or was wrong, None without a peer."""
    best = min(peers(seconds).values(), default=None)
    if ours not in seconds:
        return 0.0
    return None if best is None else best / seconds[ours]


def geometric_mean(values: Iterable[float]) -> float:
    """0 if any value is, NaN for no values."""
    found = list(values)
    if not found:
        return math.nan
    return 0.0 if 0.0 in found else math.exp(sum(map(math.log, found)) / len(found))
