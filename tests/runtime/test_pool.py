from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from adjoint.runtime.callable import CompiledFunction
from adjoint.runtime.pool import services

from .handmade import artifact, function, param

# Marks every chunk with one more than the worker that ran it, counts how often each was run, and checks that a worker
# number is used by one thread at a time.
COVER = """
typedef struct { const int64_t *n; const int64_t *work; int32_t *worker; int32_t *runs; int32_t *clash; } cover_args;
typedef struct { const cover_args *a; adjoint_context *c; int32_t *busy; } cover_task;
static void cover_body(const void *p, int64_t begin, int64_t end, int32_t worker) {
  const cover_task *t = p;
  if (__atomic_fetch_add(&t->busy[worker], 1, __ATOMIC_SEQ_CST)) __atomic_store_n(t->a->clash, 1, __ATOMIC_SEQ_CST);
  for (int64_t i = begin; i < end; i++) {
    for (volatile int64_t k = 0; k < t->a->work[0]; k++) { }
    t->a->worker[i] = worker + 1;
    __atomic_fetch_add(&t->a->runs[i], 1, __ATOMIC_SEQ_CST);
  }
  __atomic_fetch_sub(&t->busy[worker], 1, __ATOMIC_SEQ_CST);
}
static void nested_body(const void *p, int64_t begin, int64_t end, int32_t worker) {
  const cover_task *t = p;
  (void)worker;
  for (int64_t i = begin; i < end; i++)
    if (i == 0) t->c->parallel_for(t->c, cover_body, t, t->a->n[0]);
}
int32_t cover(const cover_args *a, void *workspace, adjoint_context *c) {
  cover_task task;
  int32_t *busy = workspace;
  task.a = a; task.c = c; task.busy = busy;
  for (int i = 0; i < 256; i++) busy[i] = 0;
  for (int64_t i = 0; i < 4096; i++) { a->runs[i] = 0; a->worker[i] = 0; }
  a->clash[0] = 0;
  for (int64_t rep = 0; rep < a->n[1]; rep++) {
    if (c->parallel_for) c->parallel_for(c, a->n[2] ? nested_body : cover_body, &task, a->n[2] ? 4 : a->n[0]);
    else cover_body(&task, 0, a->n[0], 0);
  }
  return ADJOINT_OK;
}
"""


def cover(threads: int | None = None) -> CompiledFunction:
    params = [
        param("n", "input", "int64", (3,)),
        param("work", "input", "int64", ()),
        param("worker", "output", "int32", (4096,)),
        param("runs", "output", "int32", (4096,)),
        param("clash", "output", "int32", ()),
    ]
    made = artifact("cover", COVER, params, parallel=True, workspace=1024)
    made = replace(made, target=replace(made.target, workers=64))
    return function(made, [0, 1, 2], threads=threads)


def run(f: CompiledFunction, chunks: int, repeats: int = 1, nested: int = 0, work: int = 0) -> np.ndarray:
    worker, runs, clash = f(np.array([chunks, repeats, nested]), work)
    assert clash == 0
    assert (runs[:chunks] == repeats).all() and (runs[chunks:] == 0).all()
    return worker[:chunks]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_chunk_runs_once(threads: int) -> None:
    f = cover(threads)
    for chunks in (0, 1, 2, 3, 7, 64, 1000, 4096):
        for repeats in (1, 50):
            workers = run(f, chunks, repeats)
            assert workers.max(initial=0) <= threads


def test_more_than_one_thread_takes_part() -> None:
    f = cover(2)
    seen: set[int] = set()
    for _ in range(50):
        seen |= set(run(f, 16, work=20000).tolist())
    assert seen == {1, 2} and services().pool_threads() >= 1


def test_nested_calls_run_in_their_worker() -> None:
    f = cover(4)
    for _ in range(200):
        assert len(set(run(f, 16, nested=1).tolist())) == 1


def test_concurrent_callers() -> None:
    f = cover(3)
    failures: list[BaseException] = []

    def caller() -> None:
        try:
            for chunks in (2, 33, 500) * 30:
                run(f, chunks, 3)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def in_child(action: object) -> int:
    """The exit status of a forked child that runs `action`; a child that hangs is killed and gives -9."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    for _ in range(2000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -9


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    f = cover(2)
    run(f, 64)

    def child() -> None:
        assert services().pool_threads() == 0
        for _ in range(20):
            run(f, 64, 3, work=2000)
        assert services().pool_threads() == 1

    for _ in range(5):
        assert in_child(child) == 0
    run(f, 64)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_while_another_thread_is_inside() -> None:
    f = cover(2)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            run(f, 64, work=500)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(10):
            assert in_child(lambda: run(f, 64, 3)) == 0
    finally:
        stop.set()
        thread.join()


def test_sleeping_threads_wake() -> None:
    f = cover(2)
    for _ in range(5):
        run(f, 64)
        time.sleep(0.02)
        run(f, 2, work=1000)


def test_signals_go_to_the_host() -> None:
    run(cover(2), 64)
    got: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert got == [signal.SIGUSR1]
