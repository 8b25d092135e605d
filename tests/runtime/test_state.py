from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest

from adjoint.artifact import CheckInfo, KernelInfo
from adjoint.errors import ExecutionError, SymbolicError
from adjoint.runtime.bound import BoundFunction
from adjoint.runtime.callable import CompiledFunction
from adjoint.runtime.locks import LockRegistry
from adjoint.runtime.profiler import Counters

from .handmade import Storage, artifact, function, param

# w[i] += x[i], out = old w; fails before any write when x[0] < 0.
STEP = """
typedef struct { const float *x; float *w; float *old; } step_args;
int32_t step(const step_args *a, void *workspace, adjoint_context *c) {
  (void)workspace;
  if (a->x[0] < 0) { c->status = ADJOINT_CHECK; c->site = 5; c->value = 12; c->bound = 10; return ADJOINT_CHECK; }
  uint64_t start = c->clock ? c->clock() : 0;
  for (int i = 0; i < 4; i++) { a->old[i] = a->w[i]; a->w[i] += a->x[i]; }
  if (c->clock) { c->counters[0] += 1; c->counters[1] += c->clock() - start; }
  return ADJOINT_OK;
}
"""


def step_function(storage: Storage, small: bool = False, **options: Any) -> CompiledFunction:
    made = artifact(
        "step",
        STEP,
        [
            param("x", "input", "float32", (4,)),
            param("w", "variable", "float32", (4,), written=True),
            param("old", "output", "float32", (4,)),
        ],
        kernels=[KernelInfo("step_k0", "w + x", (7,), 4, 48)],
        checks=[CheckInfo(5, 'take: index out of range along axis 0 of input "table"', 7)],
        small=small,
    )
    return function(made, storages=[storage], **options)


@pytest.mark.parametrize("small", [False, True])
def test_updates_and_failed_checks(small: bool) -> None:
    w = Storage(np.zeros(4, np.float32))
    step = step_function(w, small, sites={7: "model.py:14"})
    x = np.ones(4, np.float32)
    assert step(x).tolist() == [0] * 4 and w.array.tolist() == [1] * 4
    fast = step.bind(x)
    assert (type(fast) is not BoundFunction) == small and isinstance(fast, BoundFunction)
    for call in (lambda: step(-x), lambda: step(-x, out=np.empty(4, np.float32))):
        with pytest.raises(ExecutionError) as caught:
            call()
        assert str(caught.value) == (
            'step: take: index out of range along axis 0 of input "table": got 12, bound 10\n  raised by model.py:14'
        )
    x[:] = -1
    with pytest.raises(ExecutionError, match="got 12"):
        fast()
    assert w.array.tolist() == [1] * 4
    x[:] = 2
    assert fast().tolist() == [1] * 4 and w.array.tolist() == [3] * 4 and step(x).tolist() == [3] * 4


def test_small_bound_functions_wait_for_those_that_share_their_variables() -> None:
    w = Storage(np.zeros(4, np.float32))
    locks = LockRegistry()
    fast = step_function(w, True, locks=locks).bind(np.ones(4, np.float32))
    other = step_function(w, locks=locks)
    for connected in (fast.function, other):
        guard = connected.guard
        held = guard.enter()
        again = guard.enter()  # as of a finaliser, which must not let others in when it leaves
        guard.leave(again)
        thread = threading.Thread(target=fast)
        thread.start()
        thread.join(0.05)
        before = w.array[0]
        waits = thread.is_alive()
        guard.leave(held)
        thread.join()
        assert waits and w.array[0] == before + 1
    with pytest.raises(TypeError):
        fast(1)
    with pytest.raises(TypeError):
        fast(out=None)
    assert fast() is fast() and w.array[0] == 4


def test_inputs_and_buffers_inside_a_variable() -> None:
    w = Storage(np.arange(4, dtype=np.float32))
    step = step_function(w)
    assert step(w.value).tolist() == [0, 1, 2, 3] and w.array.tolist() == [0, 2, 4, 6]
    # As if nothing overlapped: first the update is computed from the old values, then the buffer is filled.
    step(np.ones(4, np.float32), out=w.value)
    assert w.array.tolist() == [0, 2, 4, 6]
    with pytest.raises(SymbolicError, match="must not lie in the memory of a variable"):
        step.bind(w.value)
    owner = Storage.__new__(Storage)
    owner.id, owner.name = 10**9, "owned"
    candidates = [np.zeros(4, np.float32) for _ in range(1000)]  # one owns its memory and is aligned by luck
    owner.array = next(a for a in candidates if a.ctypes.data % 64 == 0)
    owned = step_function(owner)
    owner.array[:] = [1, 2, 3, 4]
    assert owned(owner.array).tolist() == [1, 2, 3, 4] and owner.array.tolist() == [2, 4, 6, 8]


def test_a_function_may_have_updates_alone() -> None:
    text = """
typedef struct { int64_t *w; } tick_args;
int32_t tick(const tick_args *a, void *workspace, adjoint_context *c) {
  (void)workspace; (void)c;
  a->w[0]++;
  return ADJOINT_OK;
}
"""
    count = Storage(np.array(0))
    tick = function(artifact("tick", text, [param("w", "variable", "int64", (), written=True)]), [], storages=[count])
    assert tick() == [] and tick(out=[]) == [] and tick.bind()() == [] and count.array == 3


def test_profile() -> None:
    w = Storage(np.zeros(4, np.float32))
    step = step_function(w)
    x = np.ones(4, np.float32)
    with pytest.raises(ExecutionError, match="nothing was counted"):
        step.profile()
    lines = step.profile(x, repeat=3).splitlines()
    assert lines[0].split() == ["kernel", "label", "calls", "ms", "µs/call", "share", "GFLOP/s", "GB/s"]
    assert lines[1].split()[:5] == ["step_k0", "w", "+", "x", "3"] and lines[2].startswith("total")
    assert not step.profiling and w.array[0] == 3
    fast = step.bind(x)
    step.profiling = True
    step(x)
    fast()
    assert step.profile().splitlines()[1].split()[4] == "2"
    step.profiling = False
    fast()


def test_a_profile_with_long_labels_fits_a_screen() -> None:
    labels = ["w" * 60, "v" * 61, ", ".join(f"sum_{k}[16, 64, 128]" for k in range(90))]
    lines = Counters([KernelInfo(f"k{k}", label, (), 0, 0) for k, label in enumerate(labels)]).table().splitlines()
    assert max(map(len, lines)) < 120
    assert labels[0] in lines[1] and "v" * 59 + "… " in lines[2] and lines[3].split()[1] == "sum_0[16,"


TAPE = """
typedef struct { const int64_t *n; int64_t *sum; } tape_args;
int32_t tape(const tape_args *a, void *workspace, adjoint_context *c) {
  (void)workspace;
  uint64_t used = 0;
  for (int64_t i = 0; i < a->n[0]; i++) {
    if (used + 8 > c->tape_bytes && (!c->grow || c->grow(c, used + 8))) return c->status = ADJOINT_TAPE;
    ((int64_t *)c->tape)[i] = i;
    used += 8;
  }
  a->sum[0] = 0;
  for (int64_t i = a->n[0]; i-- > 0;) a->sum[0] += ((int64_t *)c->tape)[i];
  return ADJOINT_OK;
}
"""


def test_the_tape_grows() -> None:
    tape = function(artifact("tape", TAPE, [param("n", "input", "int64", ()), param("sum", "output", "int64", ())]))
    for n in (0, 10, 100_000, 3, 1_000_000):
        assert tape(n) == n * (n - 1) // 2
    bound = tape.bind(np.array(50_000))
    assert bound() == 50_000 * 49_999 // 2 == bound()


class Report:
    def __init__(self) -> None:
        self.sites = {7: "model.py:20"}

    def dump(self, stage: str, **options: Any) -> str:
        return f"{stage} {options}"

    def export(self, directory: Any, target: Any = None) -> Any:
        return directory

    def reduce(self) -> Any:
        return (list, ((1, 2),))


def test_the_report_answers() -> None:
    step = step_function(Storage(np.zeros(4, np.float32)), report=Report())
    assert step.dump("c", format="text") == "c {'format': 'text'}" and step.export("here") == "here"
    assert pickle.loads(pickle.dumps(step)) == [1, 2]
    with pytest.raises(ExecutionError, match=r"raised by model\.py:20"):
        step(-np.ones(4, np.float32))
    with pytest.raises(ExecutionError, match="without a report"):
        step_function(Storage(np.zeros(4, np.float32))).dump("c")
