"""Fits a line to noisy points: the loss, its gradient and the update are one native function."""

import adjoint as ad
import numpy as np

rng = np.random.default_rng(0)
points = rng.uniform(-1, 1, (100, 1)).astype(np.float32)
values = 3 * points + 0.5 + 0.1 * rng.standard_normal((100, 1)).astype(np.float32)

x, y = ad.input("x", (100, 1)), ad.input("y", (100, 1))
w, b = ad.variable(np.zeros((1, 1), np.float32), name="w"), ad.variable(np.zeros(1, np.float32), name="b")
loss = ((x @ w + b - y) ** 2).mean()
gw, gb = ad.grad(loss, [w, b])
step = ad.compile([x, y], loss, updates={w: w - 0.5 * gw, b: b - 0.5 * gb}, name="step")

for k in range(30):
    error = step(points, values)
print(f"y = {w.value.item():.3f} x + {b.value.item():.3f}, mean squared error {error:.4f}")

if __name__ == "__main__":
    print(step.dump("graph"))
