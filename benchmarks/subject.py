"""What a workload states: data, parameters, and the same loss written for every tool."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# The hand-written targets are scripts beside each other, not a package.
sys.path.insert(0, str(Path(__file__).resolve().parent / "targets"))

NAMES = ("linreg", "simplenet", "mlp", "lngelu")


@dataclass(frozen=True)
class Subject:
    """One training step: loss, gradients of all parameters, plain gradient descent; everything float32.

    Each `<tool>_loss` is called as loss(parameters, *inputs), with the tool's own arrays under the names that
    `parameters` has, and gives a scalar. `by_hand` names the C target that does the same work.
    """

    name: str
    inputs: Mapping[str, np.ndarray]
    parameters: Mapping[str, np.ndarray]
    adjoint_loss: Callable[..., Any]
    jax_loss: Callable[..., Any]
    torch_loss: Callable[..., Any]
    pytensor_loss: Callable[..., Any]
    rate: float = 0.01
    by_hand: str | None = None


def load(name: str) -> Subject:
    """The subject of `workloads/<name>.py`."""
    import importlib

    subject: Subject = importlib.import_module(f"workloads.{name}").subject()
    return subject
