"""Builds and calls the hand-written targets, checks them against their peers, and times them side by side."""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi
import numpy as np

HERE = Path(__file__).resolve().parent
THREADS = 2
RATE = 0.01
PEAK = 489e9  # float32 operations a second of two cores of the machine that the README's table is from
FLAGS = ["-O2", "-std=c99", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=off"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-shared"]

# A step takes the addresses of its buffers, then the run-time extents, as one table of 64-bit slots.
STEP = """
int32_t step(const void *args, void *workspace, void *context);
uint64_t step_workspace(const void *args);
"""
POOL = """
void *pool_start(int32_t workers);
void pool_stop(void *context);
"""

ffi = cffi.FFI()
ffi.cdef(STEP + POOL)


def build(name: str) -> Any:
    """Compiles `<name>.c` beside this file and loads it; an unchanged one is taken from the temporary folder."""
    compiler = os.environ.get("CC", "gcc")
    text = b"".join(part.read_bytes() for part in sorted(HERE.glob("*.[ch]"))) + repr((compiler, FLAGS)).encode()
    folder = Path(tempfile.gettempdir()) / f"adjoint-targets-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{name}-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if not library.exists():
        scratch = library.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, str(HERE / f"{name}.c"), "-o", str(scratch), "-lm", "-pthread"], check=True)
        scratch.replace(library)
    return ffi.dlopen(str(library))


_pools: dict[int, tuple[Any, Any]] = {}


def context(threads: int = THREADS) -> Any:
    """The shared pool of so many threads; null, which means serial, for one."""
    if threads <= 1:
        return ffi.NULL
    if threads not in _pools:
        library = build("pool")
        _pools[threads] = (library, library.pool_start(threads))
    return _pools[threads][1]


def aligned(array: np.ndarray | tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """A copy of the array, or zeros of a shape, that starts on a cache line."""
    source = None if isinstance(array, tuple) else np.asarray(array)
    shape, dtype = (array, np.dtype(dtype)) if source is None else (source.shape, source.dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + size].view(dtype).reshape(shape)
    if source is not None:
        out[...] = source
    return out


State = dict[str, np.ndarray]


@dataclass
class Contender:
    """One implementation of a workload, whose parameters start from the same data as everybody else's.

    `step` runs one training step, finished when it returns; `state` gives the loss of the last step, under "loss", and
    the parameters after it.
    """

    name: str
    step: Callable[[], Any]
    state: Callable[[], Mapping[str, np.ndarray]]


def target(
    name: str,
    inputs: Sequence[np.ndarray],
    parameters: Mapping[str, np.ndarray],
    extents: Sequence[int] = (),
    threads: int = THREADS,
    label: str = "target",
    wanted: Mapping[str, int] | None = None,
) -> Contender:
    """The C target `name`, called as step({inputs..., parameters..., wanted..., &loss, extents...}).

    It updates the parameters in place.  `wanted` names gradients of inputs, by the position of the input.
    """
    library = build(name)
    buffers = [aligned(array) for array in inputs]
    own = {key: aligned(value) for key, value in parameters.items()}
    own |= {key: aligned(inputs[at].shape) for key, at in (wanted or {}).items()}
    loss = aligned((1,))
    addresses = [array.ctypes.data for array in (*buffers, *own.values(), loss)]
    table = ffi.new("int64_t[]", [*addresses, *extents])
    workspace = aligned((int(library.step_workspace(table)),), np.uint8)
    memory, pool, run = ffi.cast("void *", workspace.ctypes.data), context(threads), library.step

    def step(keep: Any = (buffers, own, loss, workspace)) -> None:
        status = run(table, memory, pool)
        if status:
            raise RuntimeError(f"{name}: status {status}")

    return Contender(label, step, lambda: {"loss": loss[0], **own})


def jax_step(
    loss: Callable[..., Any], names: Sequence[str], rate: float = RATE, wanted: Mapping[str, int] | None = None
) -> Any:
    """jax.jit of value_and_grad of `loss(parameters, *inputs)` and the update, parameters donated."""
    import jax

    wanted = dict(wanted or {})
    positions = (0, *(1 + at for at in wanted.values()))

    def update(current: dict[str, Any], *data: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        value, (gradient, *others) = jax.value_and_grad(loss, positions)(current, *data)
        after = {key: current[key] - rate * gradient[key] for key in names}
        return value, after, dict(zip(wanted, others, strict=True))

    return jax.jit(update, donate_argnums=(0,))


def jax_contender(
    loss: Callable[..., Any],
    inputs: Sequence[np.ndarray],
    parameters: Mapping[str, np.ndarray],
    rate: float = RATE,
    wanted: Mapping[str, int] | None = None,
) -> Contender:
    """The step of `jax_step` on arrays that are on the device."""
    import jax

    jitted = jax_step(loss, list(parameters), rate, wanted)
    data = [jax.device_put(array) for array in inputs]
    held: dict[str, Any] = {"now": {key: jax.device_put(np.array(value)) for key, value in parameters.items()}}

    def step() -> None:
        held["loss"], held["now"], held["wanted"] = jitted(held["now"], *data)
        jax.block_until_ready(held)

    def state() -> State:
        values = {"loss": held["loss"], **held["now"], **held["wanted"]}
        return {key: np.asarray(value) for key, value in values.items()}

    return Contender("jax", step, state)


def torch_contender(
    loss: Callable[..., Any],
    inputs: Sequence[np.ndarray],
    parameters: Mapping[str, np.ndarray],
    rate: float = RATE,
    compiled: bool = False,
    wanted: Mapping[str, int] | None = None,
) -> Contender:
    """torch on `loss(parameters, *inputs)`, eager or through torch.compile, then p -= rate * p.grad."""
    import torch

    torch.set_num_threads(THREADS)
    data = [torch.from_numpy(np.array(array)) for array in inputs]
    own = {key: torch.from_numpy(np.array(value)).requires_grad_() for key, value in parameters.items()}
    others = {key: data[at].requires_grad_() for key, at in (wanted or {}).items()}
    forward = torch.compile(loss) if compiled else loss
    held: dict[str, Any] = {}

    def step() -> None:
        for x in others.values():
            x.grad = None
        value = forward(own, *data)
        value.backward()
        with torch.no_grad():
            for p in own.values():
                p.sub_(p.grad, alpha=rate)
                p.grad = None
        held["loss"] = value

    def state() -> State:
        values = {"loss": held["loss"], **own, **{key: x.grad for key, x in others.items()}}
        return {key: value.detach().numpy() for key, value in values.items()}

    return Contender("torch.compile" if compiled else "torch", step, state)


def check(
    contenders: Sequence[Contender], start: Mapping[str, np.ndarray], steps: int = 10, rtol: float = 1e-4
) -> float:
    """Runs `steps` steps of each and raises unless all losses and parameters agree; returns the largest difference.

    The difference of two parameters is relative to the largest element of that parameter.  Because an untouched
    parameter would pass so easily, how far each one moved from its start is compared as well, with twenty times the
    tolerance, again relative to the largest movement.
    """
    for contender in contenders:
        for _ in range(steps):
            contender.step()
    states = [{key: np.array(value, np.float64) for key, value in one.state().items()} for one in contenders]
    worst = 0.0
    for contender, mine in zip(contenders[1:], states[1:], strict=True):
        for key, reference in states[0].items():
            pairs = [("", mine[key], reference, rtol)]
            if key in start:
                origin = np.asarray(start[key], np.float64)
                # Rounding of p - rate * g alone changes a movement by half an ulp of p each step.
                slack = steps * 6e-8 * np.abs(origin).max() / max(np.abs(reference - origin).max(), 1e-30)
                pairs.append((" (movement)", mine[key] - origin, reference - origin, 20 * rtol + slack))
            for what, got, wanted, allowed in pairs:
                difference = float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30))
                if not difference <= allowed:
                    raise AssertionError(
                        f"{key}{what}: {contender.name} differs from {contenders[0].name} by {difference:.2e} "
                        f"of its largest element; {allowed:.1e} is allowed"
                    )
                if not what:
                    worst = max(worst, difference)
    return worst


def measure(
    contenders: Sequence[Contender], rounds: int = 15, budget: float = 0.05, quantile: float = 0.5
) -> dict[str, float]:
    """Median seconds a step of each contender over interleaved rounds, or another quantile: a low one if it is busy.

    In a round every contender runs for about `budget` seconds after two unmeasured steps and a pause, which lets the
    spinning threads of the one before go to sleep; the order turns around every other round.
    """
    samples: dict[str, list[float]] = {one.name: [] for one in contenders}
    repeats = {}
    for one in contenders:
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            one.step()
            times.append(time.perf_counter() - begin)
        repeats[one.name] = max(2, min(200, int(budget / min(times))))
    for turn in range(rounds):
        for one in contenders if turn % 2 == 0 else contenders[::-1]:
            time.sleep(0.01)
            one.step()
            one.step()
            for _ in range(repeats[one.name]):
                begin = time.perf_counter()
                one.step()
                samples[one.name].append(time.perf_counter() - begin)
    return {key: float(np.quantile(values, quantile)) for key, values in samples.items()}


@dataclass
class Row:
    """What one workload gave: median seconds by contender, the arithmetic floor in seconds, the largest difference."""

    workload: str
    seconds: dict[str, float]
    floor: float
    difference: float


@dataclass
class Workload:
    """One training step to be written by hand and in every peer.

    `flops` counts the operations of the step; the floor is their time at PEAK.  `jax_loss` and `torch_loss` are called
    as loss(parameters, *inputs) and give a scalar.  `wanted` names gradients that the step returns, each with the
    position of its input.  `rtol` is the tolerance of `check`.
    """

    name: str
    inputs: Sequence[np.ndarray]
    parameters: Mapping[str, np.ndarray]
    flops: float
    jax_loss: Callable[..., Any]
    torch_loss: Callable[..., Any]
    extents: Sequence[int] = ()
    wanted: Mapping[str, int] | None = None
    rate: float = RATE
    rtol: float = 1e-4

    def target(self, threads: int = THREADS, label: str = "target") -> Contender:
        return target(self.name, self.inputs, self.parameters, self.extents, threads, label, self.wanted)

    def run(
        self, compiled: bool = False, serial: bool = False, alone: bool = False, rounds: int = 15, quantile: float = 0.5
    ) -> Row:
        """Checks the contenders against one another, then times them."""
        contenders, data = [self.target()], (self.inputs, self.parameters)
        if serial:
            contenders.append(self.target(1, "one thread"))
        if not alone:
            contenders.append(jax_contender(self.jax_loss, *data, self.rate, self.wanted))
            contenders.append(torch_contender(self.torch_loss, *data, self.rate, False, self.wanted))
        if compiled:
            contenders.append(torch_contender(self.torch_loss, *data, self.rate, True, self.wanted))
        difference = check(contenders, self.parameters, rtol=self.rtol)
        return Row(self.name, measure(contenders, rounds, quantile=quantile), self.flops / PEAK, difference)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table: microseconds, and how many times longer each peer takes than the target."""
    names = list(dict.fromkeys(name for row in rows for name in row.seconds if name != "target"))
    lines = [
        "| workload | target | " + " | ".join(names) + " | arithmetic floor | largest difference |",
        "|---|---|" + "---|" * (len(names) + 2),
    ]
    for row in rows:
        own = row.seconds["target"]
        cells = [
            f"{row.seconds[name] * 1e6:.0f} ({row.seconds[name] / own:.1f}×)" if name in row.seconds else "–"
            for name in names
        ]
        lines.append(
            f"| `{row.workload}` | {own * 1e6:.0f} | "
            + " | ".join(cells)
            + f" | {row.floor * 1e6:.0f} | {row.difference:.0e} |"
        )
    return "\n".join(lines)
