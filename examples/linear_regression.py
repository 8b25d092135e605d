"""Fits a plane to points: the loss, its gradient and the update of the weights are one native function."""

import numpy as np

import adjoint as ad

x, y = ad.input("x", ("n", 3)), ad.input("y", ("n",))     # placeholders; n is known when the function is called
w = ad.variable(np.zeros(3, np.float32), name="w")         # state; w.value is a live NumPy array
loss = ((x @ w - y) ** 2).mean()
step = ad.compile([x, y], loss, updates={w: w - 0.1 * ad.grad(loss, w)}, name="step")

points = np.random.default_rng(0).standard_normal((200, 3), dtype=np.float32)
for _ in range(100):
    error = step(points, points @ np.float32([1, -2, 3]))  # forward, backward and update: one native call
print(w.value, error)
