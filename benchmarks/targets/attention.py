"""Causal attention, its mean squared error and the gradients of q, k and v."""

from dataclasses import dataclass
from typing import Any

import common
import numpy as np
from common import Contender

BATCH, HEADS, FEATURES = 12, 4, 32
NAMES = ("dq", "dk", "dv")


def jax_loss(q: Any, k: Any, v: Any, t: Any) -> Any:
    import jax
    import jax.numpy as jnp

    positions = q.shape[2]
    seen = jnp.tril(jnp.ones((positions, positions), bool))
    s = jnp.where(seen, jnp.einsum("bhqd,bhkd->bhqk", q, k) * FEATURES**-0.5, -jnp.inf)
    return jnp.mean((jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(s), v) - t) ** 2)


def torch_loss(q: Any, k: Any, v: Any, t: Any) -> Any:
    from torch.nn import functional

    return functional.mse_loss(functional.scaled_dot_product_attention(q, k, v, is_causal=True), t)


@dataclass
class Attention:
    """Gradients are outputs here, so that the target and its peers are called in their own way."""

    name: str
    positions: int
    rtol: float = 1e-5

    def data(self) -> list[np.ndarray]:
        rng = np.random.default_rng(3)
        return [rng.standard_normal((BATCH, HEADS, self.positions, FEATURES), np.float32) for _ in range(4)]

    def target(self, threads: int = common.THREADS, label: str = "target") -> Contender:
        library = common.build(self.name)
        inputs = [common.aligned(array) for array in self.data()]
        outputs = {name: common.aligned(inputs[0].shape) for name in NAMES}
        loss = common.aligned((1,))
        table = common.ffi.new("int64_t[]", [a.ctypes.data for a in (*inputs, *outputs.values(), loss)])
        workspace = common.aligned((int(library.step_workspace(table)),), np.uint8)
        memory, pool = common.ffi.cast("void *", workspace.ctypes.data), common.context(threads)

        def step(keep: Any = (inputs, workspace)) -> None:
            if library.step(table, memory, pool):
                raise RuntimeError(f"{self.name} failed")

        return Contender(label, step, lambda: {"loss": loss[0], **outputs})

    def jax(self) -> Contender:
        import jax

        compiled = jax.jit(jax.value_and_grad(jax_loss, argnums=(0, 1, 2)))
        data = [jax.device_put(array) for array in self.data()]
        held: dict[str, Any] = {}

        def step() -> None:
            held["loss"], held["gradients"] = jax.block_until_ready(compiled(*data))

        return Contender(
            "jax", step, lambda: {"loss": held["loss"], **dict(zip(NAMES, held["gradients"], strict=True))}
        )

    def torch(self, compiled: bool = False) -> Contender:
        import torch

        torch.set_num_threads(common.THREADS)
        *qkv, t = (torch.from_numpy(array) for array in self.data())
        for x in qkv:
            x.requires_grad_()
        forward = torch.compile(torch_loss) if compiled else torch_loss
        held: dict[str, Any] = {}

        def step() -> None:
            held["loss"] = forward(*qkv, t)
            held["gradients"] = torch.autograd.grad(held["loss"], qkv)

        def state() -> common.State:
            gradients = {name: g.numpy() for name, g in zip(NAMES, held["gradients"], strict=True)}
            return {"loss": held["loss"].detach().numpy(), **gradients}

        return Contender("torch.compile" if compiled else "torch", step, state)

    def run(
        self, compiled: bool = False, serial: bool = False, alone: bool = False, rounds: int = 15, quantile: float = 0.5
    ) -> common.Row:
        contenders = [self.target()]
        if serial:
            contenders.append(self.target(1, "one thread"))
        if not alone:
            contenders += [self.jax(), self.torch()]
        if compiled:
            contenders.append(self.torch(True))
        difference = common.check(contenders, {}, steps=2, rtol=self.rtol)
        # Six contractions over the pairs of a query and a key that it sees.
        pairs = self.positions * (self.positions + 1) // 2
        flops = BATCH * HEADS * pairs * FEATURES * 2 * 6
        return common.Row(
            self.name, common.measure(contenders, rounds, quantile=quantile), flops / common.PEAK, difference
        )


def workload() -> Attention:
    return Attention("attention", 64)
