"""Memory plan: one arena per call, offsets by lifetimes, known at compile time but for run-time dimensions."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..artifact import Target
from ..graph import sizes
from ..graph.sizes import Dim, Extent
from .ir import Buf, Kernel, Run, Step, WhileLoop, inner_steps, outer_buffers

ALIGN = 64
SEARCHED = 500  # buffers up to which a plan may take time quadratic in their number
STACK = 16384  # bytes of scratch that a kernel may keep on its stack


@dataclass(eq=False, slots=True)
class Layout:
    """Byte offsets of arena buffers and of the workers' scratch; `total` is the workspace in bytes."""

    offsets: dict[Buf, Extent] = field(default_factory=dict)
    lifetimes: dict[Buf, tuple[int, int]] = field(default_factory=dict)
    scratch: Extent = 0
    scratch_stride: Extent = 0
    arena: Extent = 0
    total: Extent = 0
    unshared: Extent = 0  # bytes that buffers would take without sharing
    limits: dict[Dim, Extent] = field(default_factory=dict)  # of extents that loops bind
    grown: dict[WhileLoop, list[Buf]] = field(default_factory=dict)  # on the tape, once the loop is done


def nbytes(buf: Buf) -> Extent:
    """Bytes that the buffer spans, the gaps of padded rows included."""
    return sizes.mul(spanned(buf), buf.dtype.itemsize)


def spanned(buf: Buf) -> Extent:
    """Elements that the buffer spans."""
    return next((sizes.mul(n, k) for n, k in zip(buf.shape, buf.strides, strict=True) if k != 0), 1)


def aligned(n: Extent) -> Extent:
    return sizes.mul(sizes.ceildiv(n, ALIGN), ALIGN)


def on_stack(kernel: Kernel) -> bool:
    """Whether a kernel's scratch is small enough for local arrays."""
    total = scratch_bytes(kernel)
    return isinstance(total, int) and total <= STACK


def scratch_bytes(kernel: Kernel) -> Extent:
    total: Extent = 0
    for buf in kernel.scratch:
        if buf.base is not None:
            continue
        total = sizes.add(total, aligned(nbytes(buf)))
    return total


def plan_memory(steps: Sequence[Step], target: Target) -> Layout:
    """Places buffers by lifetimes. Those of run-time size follow; among them only equal sizes can share a place."""
    layout = Layout()
    kernels: list[Kernel] = []
    _lifetimes(steps, 0, layout.lifetimes, kernels)
    loops = counted(steps)
    layout.limits = {w.trips: w.limit for w in loops if w.trips is not None and w.limit is not None}
    grown = _grown(steps, loops, layout) if loops else set()
    layout.lifetimes = {b: life for b, life in layout.lifetimes.items() if b not in grown}

    def room(buf: Buf) -> Extent:
        return aligned(sizes.substitute(nbytes(buf), layout.limits))

    fixed = [(b, room(b)) for b in layout.lifetimes if isinstance(room(b), int)]
    place = _first_fit if len(fixed) <= SEARCHED else _linear
    end: Extent = place(fixed, layout)  # type: ignore[arg-type]
    end = _linear([(b, room(b)) for b in layout.lifetimes if b not in layout.offsets], layout, end)
    layout.arena = end
    strides = [scratch_bytes(k) for k in kernels if not on_stack(k)]
    constant = [s for s in strides if isinstance(s, int)]
    stride: Extent = max(constant, default=0)
    # The greatest of unknown sizes is unknown; their sum has room for each.
    for s in strides:
        if not isinstance(s, int):
            stride = sizes.add(stride, s)
    layout.scratch, layout.scratch_stride = end, stride
    layout.total = sizes.add(end, sizes.mul(stride, target.workers))
    return layout


def counted(steps: Sequence[Step]) -> list[WhileLoop]:
    """Every loop that binds an extent, those within others too, in order."""
    found: list[WhileLoop] = []
    pending = list(reversed(steps))
    while pending:
        step = pending.pop()
        if isinstance(step, WhileLoop) and step.trips is not None:
            found.append(step)
        pending.extend(s for inner in reversed(inner_steps(step)) for s in reversed(inner))
    return found


def growing(steps: Sequence[Step], layout: Layout) -> list[WhileLoop]:
    """The loops that take room on the tape, for their records or once they are done."""
    return [w for w in counted(steps) if w.record != 0 or layout.grown.get(w)]


def _grown(steps: Sequence[Step], loops: Sequence[WhileLoop], layout: Layout) -> set[Buf]:
    """The buffers whose size only loops tell; notes after which loop each of them gets its place on the tape."""
    unknown = {w.trips for w in loops if w.limit is None}
    stacks = {b for w in loops for b in w.places}
    moved = {b for b in layout.lifetimes if any(d in unknown for d in sizes.dims_of(nbytes(b)))}
    pending: list[tuple[Sequence[Step], set[Buf]]] = [(steps, moved - stacks)]
    while pending:
        here, waiting = pending.pop()
        for k, step in enumerate(here):
            if isinstance(step, WhileLoop) and step.trips in unknown:
                below = touched(here[k + 1 :]) & waiting
                ready = [b for b in layout.lifetimes if b in below and step.trips in sizes.dims_of(nbytes(b))]
                layout.grown.setdefault(step, []).extend(ready)
                waiting = waiting - set(ready)
            pending.extend((inner, waiting) for inner in inner_steps(step))
    return moved


def touched(steps: Sequence[Step]) -> set[Buf]:
    """The buffers that steps refer to, and what those are views of."""
    found: set[Buf] = set()
    pending = list(steps)
    while pending:
        step = pending.pop()
        found.update(outer_buffers(step))
        if isinstance(step, Run):
            found.update(step.kernel.params)
        pending.extend(s for inner in inner_steps(step) for s in inner)
    for buf in list(found):
        while buf.base is not None:
            buf = buf.base
            found.add(buf)
    return found


def _first_fit(sized: Sequence[tuple[Buf, int]], layout: Layout) -> int:
    """First fit by descending size; the bytes that it takes."""
    placed: list[tuple[int, int, Buf]] = []
    arena = 0
    for buf, size in sorted(sized, key=lambda item: -item[1]):
        layout.unshared = sizes.add(layout.unshared, size)
        first, last = layout.lifetimes[buf]
        at = 0
        for start, end, other in placed:
            a, b = layout.lifetimes[other]
            if a <= last and first <= b and start < at + size and at < end:
                at = end
        layout.offsets[buf] = at
        insort(placed, (at, at + size, buf), key=lambda p: p[0])
        arena = max(arena, at + size)
    return arena


def _linear(sized: Sequence[tuple[Buf, Extent]], layout: Layout, arena: Extent = 0) -> Extent:
    """In the order of first use, each buffer where one of its size has ended, else at the end: packs a little worse
    than first fit, in time linear in the number of buffers."""
    lifetimes = layout.lifetimes
    free: dict[Extent, list[Extent]] = {}
    ends: dict[int, list[tuple[Buf, Extent]]] = {}
    clock = 0
    for buf, size in sorted(sized, key=lambda item: lifetimes[item[0]][0]):
        layout.unshared = sizes.add(layout.unshared, size)
        first, last = lifetimes[buf]
        for now in range(clock, first):
            for other, n in ends.pop(now, ()):
                free.setdefault(n, []).append(layout.offsets[other])
        clock = first
        spare = free.get(size)
        if spare:
            layout.offsets[buf] = spare.pop()
        else:
            layout.offsets[buf] = arena
            arena = sizes.add(arena, size)
        ends.setdefault(last, []).append((buf, size))
    return arena


def _lifetimes(
    steps: Sequence[Step], clock: int, lifetimes: dict[Buf, tuple[int, int]], kernels: list[Kernel]
) -> int:
    """Notes first and last use of every arena buffer, and the kernels, in order; the time after the last step."""

    def touch(buf: Buf, when: int) -> None:
        root = buf
        while root.base is not None:
            root = root.base
        if root.storage == "arena":
            first, _ = lifetimes.get(root, (when, when))
            lifetimes[root] = (first, when)

    for step in steps:
        if isinstance(step, Run):
            kernels.append(step.kernel)
            for buf in step.kernel.params:
                touch(buf, clock)
            clock += 1
            continue
        start = clock
        inner: dict[Buf, tuple[int, int]] = {}
        clock += 1
        for steps_within in inner_steps(step):
            clock = _lifetimes(steps_within, clock, inner, kernels)
        outside = outer_buffers(step)
        # Everything that a loop touches lives as long as the loop: its iterations share it.
        for buf in [*inner, *outside]:
            touch(buf, start)
            touch(buf, clock)
        clock += 1
    return clock
