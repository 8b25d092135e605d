"""Bundle adjustment as in ADBench: reprojection errors and the Jacobian blocks of all observations, float64.

The data is made up, with the counts of ADBench's problem ba1: 49 cameras, 7776 points, 31843 observations.
"""

from dataclasses import dataclass
from typing import Any

import common
import numpy as np
from common import Contender

CAMERAS, POINTS, OBSERVATIONS = 49, 7776, 31843
COLUMNS = 11 + 3 + 1


def jax_error(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    import jax.numpy as jnp

    rotation, centre, focal, principal, radial = camera[:3], camera[3:6], camera[6], camera[7:9], camera[9:]
    p = point - centre
    square = rotation @ rotation
    turned = square > 0
    angle = jnp.sqrt(jnp.where(turned, square, 1.0))
    axis = rotation / angle
    general = p * jnp.cos(angle) + jnp.cross(axis, p) * jnp.sin(angle) + axis * (axis @ p) * (1 - jnp.cos(angle))
    y = jnp.where(turned, general, p + jnp.cross(rotation, p))
    flat = y[:2] / y[2]
    r = flat @ flat
    return weight * (focal * flat * (1 + radial[0] * r + radial[1] * r * r) + principal - feature)


def torch_error(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    import torch

    rotation, centre, focal, principal, radial = camera[:3], camera[3:6], camera[6], camera[7:9], camera[9:]
    p = point - centre
    square = rotation @ rotation
    turned = square > 0
    angle = torch.sqrt(torch.where(turned, square, 1.0))
    axis = rotation / angle
    cross = torch.linalg.cross
    general = p * torch.cos(angle) + cross(axis, p) * torch.sin(angle) + axis * (axis @ p) * (1 - torch.cos(angle))
    y = torch.where(turned, general, p + cross(rotation, p))
    flat = y[:2] / y[2]
    r = flat @ flat
    return weight * (focal * flat * (1 + radial[0] * r + radial[1] * r * r) + principal - feature)


@dataclass
class BundleAdjustment:
    """Outputs rather than an update, and indices: called in its own way."""

    name: str = "ba"
    rtol: float = 1e-11

    def data(self) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(4)
        cameras = rng.standard_normal((CAMERAS, 11)) * ([0.3] * 3 + [0.5] * 3 + [50, 5, 5, 0.05, 0.02])
        cameras[:, 6] += 500
        # Both ends of the small angles that need care: none at all and a quotient of nearly nothing.
        cameras[0, :3] = 0
        cameras[1, :3] *= 1e-5
        cameras[2, :3] *= 0.02
        points = rng.normal((0, 0, 6), 1, (POINTS, 3))
        picks = np.stack([rng.integers(0, n, OBSERVATIONS, np.int32) for n in (CAMERAS, POINTS)], 1)
        return (
            cameras,
            points,
            rng.uniform(0.5, 1.5, OBSERVATIONS),
            100 * rng.standard_normal((OBSERVATIONS, 2)),
            picks,
        )

    def target(self, threads: int = common.THREADS, label: str = "target") -> Contender:
        library = common.build(self.name)
        inputs = [common.aligned(array) for array in self.data()]
        errors = common.aligned((OBSERVATIONS, 2), np.float64)
        jacobian = common.aligned((OBSERVATIONS, 2, COLUMNS), np.float64)
        addresses = [array.ctypes.data for array in (*inputs, errors, jacobian)]
        table = common.ffi.new("int64_t[]", [*addresses, CAMERAS, POINTS, OBSERVATIONS])
        workspace = common.aligned((int(library.step_workspace(table)),), np.uint8)
        memory, pool = common.ffi.cast("void *", workspace.ctypes.data), common.context(threads)

        def step(keep: Any = (inputs, workspace)) -> None:
            if library.step(table, memory, pool):
                raise RuntimeError("an index is out of range")

        return Contender(label, step, lambda: self.parts(errors, jacobian))

    @staticmethod
    def parts(errors: np.ndarray, jacobian: np.ndarray) -> dict[str, np.ndarray]:
        """The columns differ by orders of magnitude, so each is compared on its own scale."""
        return {"errors": errors} | {f"column {i}": jacobian[:, :, i] for i in range(COLUMNS)}

    def jax(self, name: str) -> Contender:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        mode = {"jacfwd": jax.jacfwd, "jacrev": jax.jacrev}[name]

        def one(*operands: Any) -> Any:
            return jax_error(*operands), jnp.concatenate(
                [block.reshape(2, -1) for block in mode(jax_error, argnums=(0, 1, 2))(*operands)], axis=1
            )

        cameras, points, weights, features, picks = (jax.device_put(array) for array in self.data())
        run = jax.jit(lambda c, x, w, f, i: jax.vmap(one)(c[i[:, 0]], x[i[:, 1]], w, f))
        held: dict[str, Any] = {}

        def step() -> None:
            held["now"] = jax.block_until_ready(run(cameras, points, weights, features, picks))

        return Contender(f"jax {name}", step, lambda: self.parts(*(np.asarray(part) for part in held["now"])))

    def torch(self, name: str, compiled: bool = False) -> Contender:
        import torch

        torch.set_num_threads(common.THREADS)
        mode = {"jacfwd": torch.func.jacfwd, "jacrev": torch.func.jacrev}[name]
        cameras, points, weights, features, picks = (torch.from_numpy(array) for array in self.data())
        held: dict[str, Any] = {}

        def with_error(*operands: Any) -> Any:
            error = torch_error(*operands)
            return error, error

        def one(*operands: Any) -> Any:
            blocks, error = mode(with_error, argnums=(0, 1, 2), has_aux=True)(*operands)
            return error, torch.cat([block.reshape(2, -1) for block in blocks], dim=1)

        def run() -> Any:
            return torch.vmap(one)(cameras[picks[:, 0]], points[picks[:, 1]], weights, features)

        run = torch.compile(run) if compiled else run

        def step() -> None:
            held["now"] = run()

        label = f"torch.compile {name}" if compiled else f"torch {name}"
        return Contender(label, step, lambda: self.parts(*(part.numpy() for part in held["now"])))

    def run(
        self, compiled: bool = False, serial: bool = False, alone: bool = False, rounds: int = 15, quantile: float = 0.5
    ) -> common.Row:
        contenders = [self.target()]
        if serial:
            contenders.append(self.target(1, "one thread"))
        if not alone:
            for mode in ("jacfwd", "jacrev"):
                contenders += [self.jax(mode), self.torch(mode)]
        if compiled:
            contenders.append(self.torch("jacrev", True))
        difference = common.check(contenders, {}, steps=2, rtol=self.rtol)
        # About 250 operations an observation; float64 has half the peak.
        return common.Row(
            self.name,
            common.measure(contenders, rounds, quantile=quantile),
            OBSERVATIONS * 250 / (common.PEAK / 2),
            difference,
        )


def workload() -> BundleAdjustment:
    return BundleAdjustment()
