from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from adjoint.runtime.callable import CompiledFunction
from adjoint.runtime.locks import LockRegistry
from adjoint.runtime.signature import Signature

from .handmade import Storage, param


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
    assert reader.guard.group is write_a.guard.group is not None
    assert most_at_once(log, [reader, write_a, reader]) == 1
    write_c = sleeper(log, [c], [c], locks)
    assert write_c.guard.group is not write_a.guard.group
    assert most_at_once(log, [write_a, write_c]) == 2
    merge = sleeper(log, [b, c], [b], locks)
    assert len({f.guard.group for f in (reader, write_a, write_c, merge)}) == 1
    assert most_at_once(log, [reader, write_a, write_c, merge]) == 1
    free = sleeper(log, [], [], locks)
    assert free.guard is None
    only_reads = sleeper(log, [Storage(np.zeros(1))], [], locks)
    assert only_reads.guard.group is None
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
    assert not failures and len({f.guard.group for f in [*functions, *writers, last]}) == 1
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
