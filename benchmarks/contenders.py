"""Every tool's training step of a subject, as contenders that start from the same data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from common import Contender, jax_contender, target, torch_contender
from subject import Subject

TOOLS = ("adjoint", "target", "jax", "torch", "torch.compile", "pytensor")


def build_adjoint(subject: Subject, threads: int | None = None, **named: Any) -> tuple[Any, dict[str, Any]]:
    """The compiled step and its variables, as a user would write them; `named` goes to `compile`."""
    compile_step, variables = describe_adjoint(subject, threads, **named)
    return compile_step(), variables


def describe_adjoint(
    subject: Subject, threads: int | None = None, **named: Any
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The graph with its gradients; calling the first result compiles it."""
    import adjoint as ad

    inputs = [ad.input(name, a.shape, str(a.dtype)) for name, a in subject.inputs.items()]
    variables = {name: ad.variable(value, name=name) for name, value in subject.parameters.items()}
    loss = subject.adjoint_loss(variables, *inputs)
    gradients = ad.grad(loss, list(variables.values()))
    updates = {w: w - subject.rate * g for w, g in zip(variables.values(), gradients, strict=True)}
    named = {"name": subject.name, "threads": threads, **named}
    return lambda: ad.compile(inputs, loss, updates=updates, **named), variables


def adjoint_contenders(subject: Subject, threads: int) -> Iterator[Contender]:
    """Our step bound, then called; each compiled when it is asked for."""
    data = [np.array(a) for a in subject.inputs.values()]
    for label in ("adjoint bound", "adjoint call"):
        function, variables = build_adjoint(subject, threads)
        step = function.bind(*data) if label == "adjoint bound" else _call(function, data)
        yield Contender(label, *_kept(step, variables))


def _call(function: Any, data: list[np.ndarray]) -> Callable[[], Any]:
    if len(data) == 2:
        x, y = data
        return lambda: function(x, y)
    return lambda: function(*data)


def _kept(step: Callable[[], Any], variables: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], dict[str, Any]]]:
    """The step itself, so that timing sees nothing else; the loss is read by one more call on saved parameters."""

    def state() -> dict[str, np.ndarray]:
        after = {name: v.value.copy() for name, v in variables.items()}
        loss = np.array(step())
        for name, v in variables.items():
            v.value = after[name]
        return {"next loss": loss, **after}

    return step, state


def _with_next_loss(one: Contender) -> Contender:
    """Peers keep the loss of the last step; what is compared is the loss after it, for which they run once more."""

    def state() -> dict[str, np.ndarray]:
        after = {name: np.array(v) for name, v in one.state().items() if name != "loss"}
        one.step()
        return {"next loss": np.array(one.state()["loss"]), **after}

    return Contender(one.name, one.step, state)


def _pytensor(subject: Subject, mode: str) -> Contender:
    """Shared variables and updates, inputs shared too, so that a call passes nothing."""
    with warnings.catch_warnings():
        # It says that it has found no BLAS for its C mode; in the mode used here it calls SciPy's.
        warnings.simplefilter("ignore")
        import pytensor

        inputs = [pytensor.shared(a, name=name) for name, a in subject.inputs.items()]
        own = {name: pytensor.shared(np.array(value), name=name) for name, value in subject.parameters.items()}
        loss = subject.pytensor_loss(own, *inputs)
        gradients = pytensor.grad(loss, list(own.values()))
        rate = next(iter(subject.parameters.values())).dtype.type(subject.rate)
        updates = [(w, w - rate * g) for w, g in zip(own.values(), gradients, strict=True)]
        function = pytensor.function([], loss, updates=updates, mode=mode, trust_input=True)
    held: dict[str, Any] = {}

    def step() -> None:
        held["loss"] = function()

    return Contender("pytensor", step, lambda: {"loss": held["loss"], **{k: v.get_value() for k, v in own.items()}})


def contenders(subject: Subject, tools: list[str], threads: int, pytensor_mode: str = "NUMBA") -> list[Contender]:
    """The chosen tools on one subject; a target only where there is one."""
    found: list[Contender] = []
    data, start = list(subject.inputs.values()), subject.parameters
    if "adjoint" in tools:
        found.extend(adjoint_contenders(subject, threads))
    peers = []
    if "target" in tools and subject.by_hand:
        peers.append(target(subject.by_hand, data, start, threads=threads))
    if "jax" in tools:
        peers.append(jax_contender(subject.jax_loss, data, start, subject.rate))
    for name in ("torch", "torch.compile"):
        if name in tools:
            import torch

            peers.append(torch_contender(subject.torch_loss, data, start, subject.rate, name == "torch.compile"))
            torch.set_num_threads(threads)
    if "pytensor" in tools and subject.pytensor_loss is not None:
        peers.append(_pytensor(subject, pytensor_mode))
    return found + [_with_next_loss(one) for one in peers]


def reference(subject: Subject) -> Contender:
    """What judges where no other tool is installed: the interpreter on the graph as it was written."""
    function, variables = build_adjoint(subject, backend="numpy")
    step = _call(function, [np.array(a) for a in subject.inputs.values()])
    return Contender("interpreter", *_kept(step, variables))


def gather(
    subject: Subject, tools: list[str], threads: int, pytensor_mode: str = "NUMBA"
) -> tuple[list[Contender], dict[str, str]]:
    """The contenders that could be made, and by tool why others could not."""
    found: list[Contender] = []
    why: dict[str, str] = {}
    for tool in tools:
        try:
            found += contenders(subject, [tool], threads, pytensor_mode)
        except ModuleNotFoundError as error:
            why[tool] = f"not installed ({error})"
        except Exception as error:
            why[tool] = f"{type(error).__name__}: {error}"
    return found, why
