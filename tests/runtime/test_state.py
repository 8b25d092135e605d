from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adjoint.artifact import CheckInfo, KernelInfo
from adjoint.errors import DTypeError, ExecutionError, GraphError, ShapeError, SymbolicError
from adjoint.runtime.callable import CompiledFunction
from adjoint.runtime.locks import LockRegistry
from adjoint.runtime.signature import Signature
from adjoint.runtime.variables_io import load, save

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


def step_function(storage: Storage, **options: Any) -> CompiledFunction:
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
    )
    return function(made, storages=[storage], **options)


def test_updates_and_failed_checks() -> None:
    w = Storage(np.zeros(4, np.float32))
    step = step_function(w, sites={7: "model.py:14"})
    x = np.ones(4, np.float32)
    assert step(x).tolist() == [0] * 4 and w.array.tolist() == [1] * 4
    fast = step.bind(x)
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
    while True:  # an array that owns its memory and is aligned by luck
        owner.array = np.zeros(4096, np.float32)[:4].copy() if False else np.zeros(4, np.float32)
        if owner.array.ctypes.data % 64 == 0:
            break
        keep.append(owner.array)
    owned = step_function(owner)
    owner.array[:] = [1, 2, 3, 4]
    assert owned(owner.array).tolist() == [1, 2, 3, 4] and owner.array.tolist() == [2, 4, 6, 8]


keep: list[np.ndarray] = []


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


TAPE = """
typedef struct { const int64_t *n; int64_t *sum; } tape_args;
int32_t tape(const tape_args *a, void *workspace, adjoint_context *c) {
  (void)workspace;
  uint64_t used = 0;
  for (int64_t i = 0; i < a->n[0]; i++) {
    if (used + 8 > c->tape_bytes && (!c->grow || c->grow(c, used + 8))) { c->status = ADJOINT_TAPE; return ADJOINT_TAPE; }
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


class Sleeper:
    """Runs for a while and records the largest number of calls that ran at once, per name."""

    def __init__(self, log: list[int], seconds: float = 0.02) -> None:
        self.log, self.seconds = log, seconds
        self.running = 0

    def run(self, inputs: list[Any], outputs: list[Any], extents: list[int]) -> None:
        self.log.append(1)
        time.sleep(self.seconds)
        self.log.append(-1)


def sleeper(log: list[int], storages: list[Storage], written: list[Storage], locks: LockRegistry) -> CompiledFunction:
    signature = Signature("f", (), (param("o", "output", "float32", ()),))
    ids = frozenset(s.id for s in written)
    return CompiledFunction(Sleeper(log), signature, storages=storages, written=ids, locks=locks)


def most_at_once(log: list[int], functions: list[CompiledFunction]) -> int:
    log.clear()
    threads = [threading.Thread(target=f) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return int(np.cumsum(log).max())


def test_lock_groups() -> None:
    a, b, c = (Storage(np.zeros(1)) for _ in range(3))
    locks, log = LockRegistry(), list[int]()
    reader = sleeper(log, [a, b], [], locks)
    assert most_at_once(log, [reader, reader]) == 2
    write_a = sleeper(log, [a], [a], locks)
    assert reader._guard.group is write_a._guard.group is not None
    assert most_at_once(log, [reader, write_a, reader]) == 1
    write_c = sleeper(log, [c], [c], locks)
    assert write_c._guard.group is not write_a._guard.group
    assert most_at_once(log, [write_a, write_c]) == 2
    merge = sleeper(log, [b, c], [b], locks)
    assert len({f._guard.group for f in (reader, write_a, write_c, merge)}) == 1
    assert most_at_once(log, [reader, write_a, write_c, merge]) == 1
    free = sleeper(log, [], [], locks)
    assert free._guard is None
    only_reads = sleeper(log, [Storage(np.zeros(1))], [], locks)
    assert only_reads._guard.group is None
    assert most_at_once(log, [free, only_reads, reader]) == 3


def test_compiling_waits_for_calls_that_run_without_a_lock() -> None:
    a = Storage(np.zeros(1))
    locks, log = LockRegistry(), list[int]()
    reader = sleeper(log, [a], [], locks)
    reader.executor.seconds = 0.2
    thread = threading.Thread(target=reader)
    thread.start()
    while not log:
        time.sleep(0.001)
    sleeper(log, [a], [a], locks)
    assert log == [1, -1]
    thread.join()


def test_locks_while_functions_are_compiled() -> None:
    storages = [Storage(np.zeros(1)) for _ in range(8)]
    locks, log = LockRegistry(), list[int]()
    functions = [sleeper(log, [s], [], locks) for s in storages]
    for f in functions:
        f.executor.seconds = 0.0005
    stop, failures = threading.Event(), list[BaseException]()

    def caller(f: CompiledFunction) -> None:
        try:
            while not stop.is_set():
                f()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=caller, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    writers = [sleeper(log, storages[i : i + 2], [storages[i]], locks) for i in range(7)]
    last = sleeper(log, storages, storages, locks)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures and len({f._guard.group for f in [*functions, *writers, last]}) == 1
    assert most_at_once(log, [*functions, last]) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_can_call_what_was_locked() -> None:
    a = Storage(np.zeros(1))
    locks, log = LockRegistry(), list[int]()
    f = sleeper(log, [a], [a], locks)
    f.executor.seconds = 0.3
    thread = threading.Thread(target=f)
    thread.start()
    while not log:
        time.sleep(0.001)
    pid = os.fork()
    if pid == 0:
        f.executor.seconds = 0
        f()
        os._exit(0)
    deadline = time.time() + 5
    while not (done := os.waitpid(pid, os.WNOHANG))[0] and time.time() < deadline:
        time.sleep(0.01)
    thread.join()
    if not done[0]:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert done[0] == pid and done[1] == 0


class Report:
    sites: dict[int, str] = {}

    def dump(self, stage: str, **options: Any) -> str:
        return f"{stage} {options}"

    def export(self, directory: Any) -> Any:
        return directory

    def reduce(self) -> Any:
        return (list, ((1, 2),))


def test_the_report_answers() -> None:
    import pickle

    step = step_function(Storage(np.zeros(4, np.float32)), report=Report())
    assert step.dump("c", format="text") == "c {'format': 'text'}" and step.export("here") == "here"
    assert pickle.loads(pickle.dumps(step)) == [1, 2]
    with pytest.raises(ExecutionError, match="without a report"):
        step_function(Storage(np.zeros(4, np.float32))).dump("c")


def test_save_and_load(tmp_path: Path) -> None:
    w, b = Storage(np.arange(6, dtype=np.float32).reshape(2, 3), "layer/w"), Storage(np.array(7), "file")
    path = tmp_path / "model.npz"
    save(path, [w, b])
    before = path.read_bytes()
    save(path, {"layer/w": w.value, "file": b.value})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    with np.load(path, allow_pickle=False) as plain:
        assert sorted(plain.files) == ["file", "layer/w"]
    w.value = np.zeros((2, 3), np.float32)
    held = w.array
    loaded = load(path, [w, b])
    assert held is w.array and loaded["file"] == 7
    np.testing.assert_array_equal(w.array, np.arange(6).reshape(2, 3))


def test_load_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save(path, {"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)})
    a = Storage(np.zeros(2, np.float32), "a")
    cases = [
        ([a], GraphError, "no variable is called 'b'"),
        ([a, Storage(np.zeros(3, np.float32), "c")], GraphError, "the file lacks 'c'; no variable is called 'b'"),
        ([a, Storage(np.zeros(4, np.float32), "b")], ShapeError, r"'b' is float32\[3\], the variable is float32\[4\]"),
        ([a, Storage(np.zeros(3), "b")], DTypeError, r"the variable is float64\[3\]"),
        ([a, a], GraphError, "'a' is taken twice"),
    ]
    for variables, error, words in cases:
        with pytest.raises(error, match=words):
            load(path, variables)
        assert a.array.tolist() == [0, 0]


def test_what_cannot_be_saved_or_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with pytest.raises(DTypeError, match="needs pickle"):
        save(path, {"a": np.array([object()])})
    with pytest.raises(GraphError, match="taken twice"):
        save(path, [Storage(1, "a"), Storage(2, "a")])
    with pytest.raises(GraphError, match="needs a name"):
        save(path, [Storage(1, "")])
    assert not list(tmp_path.iterdir())
    np.savez(path, a=np.array([object()]))
    with pytest.raises(ExecutionError, match="was not written by save"):
        load(tmp_path / "m.npz")
    path.write_bytes(b"PK garbage")
    with pytest.raises(ExecutionError, match="is damaged"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
