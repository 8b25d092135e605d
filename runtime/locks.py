"""One lock for each set of functions that are connected through variables which one of them updates.

Storages are nodes of a union-find. A storage that some function updates is `hot`; every function joins all hot
storages that it touches into one group, and the group has one lock. A function that touches no hot storage takes no
lock, until a later compile makes one of its storages hot.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

_Lock = Any  # threading.RLock is a function until Python 3.13, so no type


class Group:
    """A connected set of hot storages and its lock. Reentrant, so that a finaliser that calls does not hang.

    `inside[0]` counts the calls that hold the lock, for code that cannot ask the lock itself. It changes under the
    interpreter's lock alone, before such a call begins and after it has ended.
    """

    __slots__ = ("__weakref__", "inside", "lock")

    def __init__(self) -> None:
        self.lock: _Lock = threading.RLock()
        self.inside = bytearray(1)


class Guard:
    """What one function holds while it runs: `held = guard.enter()` … `guard.leave(held)`.

    A call that keeps the interpreter's lock from beginning to end needs neither, but must not begin while others of its
    group are inside: `inside` holds the address of their number, or 0 while there is no group.
    """

    __slots__ = ("__weakref__", "_free_calls", "group", "inside", "touched")

    def __init__(self, touched: frozenset[int]) -> None:
        self.touched = touched
        self.group: Group | None = None
        self.inside = bytearray(struct.calcsize("P"))
        self._free_calls: list[None] = []  # one entry for each call that runs without a lock

    def join(self, group: Group) -> None:
        """Take part in a group from now on."""
        self.group = group
        self.inside[:] = struct.pack("P", ctypes.addressof(ctypes.c_char.from_buffer(group.inside)))

    def enter(self) -> Group | None:
        """Wait until the function may run; what comes back is to be given to `leave`."""
        while True:
            group = self.group
            if group is None:
                self._free_calls.append(None)
                if self.group is None:
                    return None
                # A compile gave this function a lock between the two looks.
                self._free_calls.pop()
            else:
                group.lock.acquire()
                if self.group is group:
                    group.inside[0] += 1
                    return group
                group.lock.release()

    def leave(self, held: Group | None) -> None:
        if held is None:
            self._free_calls.pop()
        else:
            held.inside[0] -= 1
            held.lock.release()

    def wait_for_free_calls(self) -> None:
        """Wait until every call that entered without a lock has ended."""
        while self._free_calls:
            time.sleep(0.0001)

    def forget_calls(self) -> None:
        """In a forked child: the threads of the calls that ran are gone."""
        self._free_calls.clear()


class LockRegistry:
    """The groups of this process. Storage ids must never be used twice."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._parent: dict[int, int] = {}
        self._hot: set[int] = set()
        self._groups: dict[int, Group] = {}  # by root
        self._guards: weakref.WeakSet[Guard] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def connect(self, touched: Iterable[int], written: Iterable[int]) -> Guard | None:
        """The guard of a new function; None when it touches no variable at all.

        `touched` are the ids of all storages that it reads or writes, `written` of those that it updates. Merging the
        groups of existing functions waits for their running calls to end.
        """
        touched, written = frozenset(touched), frozenset(written)
        touched |= written
        if not touched:
            return None
        guard = Guard(touched)
        with self._mutex:
            self._guards.add(guard)
            self._hot |= written
            joined = [g for g in self._guards if g is guard or g.touched & written]
            hot = {storage for member in joined for storage in member.touched & self._hot}
            # Everybody who could be inside leaves before anything changes; callers never hold two locks.
            held = sorted({g for g in map(self._group_of, hot) if g is not None}, key=id)
            for group in held:
                group.lock.acquire()
            try:
                for member in joined:
                    self._union(sorted(member.touched & self._hot))
                self._assign()
            finally:
                for group in held:
                    group.lock.release()
        return guard

    def _assign(self) -> None:
        """Point every guard at the group of its hot storages; a guard that had none waits for its calls first."""
        for guard in list(self._guards):
            hot = guard.touched & self._hot
            if not hot:
                continue
            group = self._group_of(next(iter(hot)))
            assert group is not None
            if guard.group is group:
                continue
            if guard.group is None:
                with group.lock:  # its calls from now on queue here, while those that run without a lock end
                    guard.join(group)
                    guard.wait_for_free_calls()
            else:
                guard.join(group)

    def _find(self, storage: int) -> int:
        root = storage
        while (up := self._parent.get(root, root)) != root:
            root = up
        while storage != root:
            self._parent[storage], storage = root, self._parent[storage]
        return root

    def _group_of(self, storage: int) -> Group | None:
        return self._groups.get(self._find(storage))

    def _union(self, storages: list[int]) -> None:
        if not storages:
            return
        roots = sorted({self._find(s) for s in storages})
        groups = [g for g in (self._groups.pop(r, None) for r in roots) if g is not None]
        for storage in storages:
            self._parent.setdefault(storage, storage)
        for root in roots[1:]:
            self._parent[root] = roots[0]
        self._groups[roots[0]] = groups[0] if groups else Group()

    def _after_fork(self) -> None:
        # A lock that another thread held at the fork would stay held for ever.
        self._mutex = threading.Lock()
        for group in self._groups.values():
            group.lock = threading.RLock()
            group.inside[0] = 0
        for guard in list(self._guards):
            guard.forget_calls()


registry = LockRegistry()
