"""What a workload states: data, parameters, and the same loss written for every tool."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# The hand-written targets are scripts beside each other, not a package.
sys.path.insert(0, str(Path(__file__).resolve().parent / "targets"))

NAMES = ("linreg", "simplenet", "mlp", "mlp_b1", "lngelu", "convnet", "gpt", "lstm")


@dataclass(frozen=True)
class Subject:
    """One training step: loss, gradients of all parameters, plain gradient descent; all numbers of one float type.

    Each `<tool>_loss` is called as loss(parameters, *inputs), with the tool's own arrays under the names that
    `parameters` has, and gives a scalar. `by_hand` names the C target that does the same work,
    in float32. A tool that has no words for the loss has None.
    """

    name: str
    inputs: Mapping[str, np.ndarray]
    parameters: Mapping[str, np.ndarray]
    adjoint_loss: Callable[..., Any]
    jax_loss: Callable[..., Any]
    torch_loss: Callable[..., Any]
    pytensor_loss: Callable[..., Any] | None
    rate: float = 0.01
    by_hand: str | None = None


def load(name: str, dtype: str = "float32") -> Subject:
    """The subject of `workloads/<name>.py`, its numbers in the given float type."""
    import importlib

    subject: Subject = importlib.import_module(f"workloads.{name}").subject()
    if dtype == "float32":
        return subject

    def converted(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {k: a.astype(dtype) if a.dtype.kind == "f" else a for k, a in arrays.items()}

    inputs, parameters = converted(subject.inputs), converted(subject.parameters)
    return dataclasses.replace(subject, inputs=inputs, parameters=parameters, by_hand=None)
