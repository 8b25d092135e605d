"""The picture of the loss, which the examples that train share."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOUR, SECOND, MUTED = "#1f5a94", "#c2571a", "#8a8f98"


def draw_losses(path, losses, period, axis="epoch", held_out=()):
    """The loss of every step and its mean over each `period` steps, which are an epoch if that is the axis.

    `held_out` lists (steps done, loss on held-out data).
    """
    scale, name = (period, "an epoch") if axis == "epoch" else (1, f"{period} steps")
    steps = np.arange(len(losses)) + 1
    means = np.mean(np.reshape(losses[: len(losses) // period * period], (-1, period)), axis=1)
    figure, axes = plt.subplots(figsize=(7, 4), dpi=150)
    axes.plot(steps / scale, losses, color=MUTED, linewidth=0.5, alpha=0.5, label="each step")
    middles = (np.arange(len(means)) + 0.5) * period
    axes.plot(middles / scale, means, color=COLOUR, linewidth=2, label=f"mean of {name}")
    if held_out:
        at, values = np.transpose(held_out)
        style = {"color": SECOND, "linewidth": 1.5, "marker": "o", "markersize": 4, "clip_on": False}
        axes.plot(at / scale, values, **style, label="held-out data")
    far = means.min() < 0.1 * means.max()  # too far down to be seen on a linear scale
    axes.set(xlabel=axis, ylabel="cross-entropy", xlim=(0, steps[-1] / scale), yscale="log" if far else "linear")
    axes.set_title("Training loss", loc="left")
    axes.grid(axis="y", color="#e3e5e8", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
