"""Counters per kernel, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adjoint.artifact import KernelInfo

_HEAD = ("kernel", "label", "calls", "ms", "µs/call", "share", "GFLOP/s", "GB/s")
# A kernel may have dozens of results, whose names would leave a line that no screen holds.
_WIDEST = 60


class Counters:
    """Calls and nanoseconds of each kernel, summed over all frames that counted since profiling began."""

    def __init__(self, kernels: Sequence[KernelInfo]) -> None:
        self.kernels = tuple(kernels)
        self._arrays: list[np.ndarray[Any, Any]] = []

    def new_array(self) -> np.ndarray[Any, Any]:
        """`uint64[kernels, 2]` for one frame, in the layout of the C contract: calls, nanoseconds."""
        array = np.zeros((max(1, len(self.kernels)), 2), dtype=np.uint64)
        self._arrays.append(array)
        return array

    def totals(self) -> list[tuple[KernelInfo, int, int]]:
        """(kernel, calls, nanoseconds) in the order of execution."""
        total = np.zeros((max(1, len(self.kernels)), 2), dtype=np.uint64)
        for array in self._arrays:
            total += array
        return [(k, int(total[i, 0]), int(total[i, 1])) for i, k in enumerate(self.kernels)]

    def table(self) -> str:
        """Plain aligned text, the dearest kernel first; the last line is the sum."""
        rows = sorted(self.totals(), key=lambda row: -row[2])
        everything = sum(ns for _, _, ns in rows)
        cells = [_HEAD]
        for kernel, calls, ns in rows:
            each = ns / calls if calls else 0.0
            rates = (kernel.flops / each, kernel.bytes / each) if each else (0.0, 0.0)
            share = ns / everything if everything else 0.0
            cells.append(
                (
                    kernel.name,
                    kernel.label if len(kernel.label) <= _WIDEST else f"{kernel.label[: _WIDEST - 1]}…",
                    str(calls),
                    f"{ns / 1e6:.3f}",
                    f"{each / 1e3:.2f}",
                    f"{share:.1%}",
                    f"{rates[0]:.2f}",
                    f"{rates[1]:.2f}",
                )
            )
        cells.append(("total", "", "", f"{everything / 1e6:.3f}", "", "", "", ""))
        widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
        lines = []
        for row in cells:
            left = [row[c].ljust(widths[c]) for c in (0, 1)]
            right = [row[c].rjust(widths[c]) for c in range(2, len(_HEAD))]
            lines.append("  ".join([*left, *right]).rstrip())
        return "\n".join(lines)
