"""Says that this process's Runs live: one thread, one call for all of them.

A Run that is not heard of for a lease (a minute) is presumed aborted, and its lease on a key lapses. The thread
does not keep the process alive; a forked child has none until it begins a Run of its own.
"""

import os
import threading
import weakref
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from whence import reads
from whence_catalog import catalog

# How many beats there are in a lease: one may be lost, and the next come late.
BEATS = 3
_MISSES = 2
_END_SECONDS = 2.0


class Beater:
    """Beats for the Runs of one catalog, from `add` until `remove`."""

    def __init__(self, beat_into: catalog.Catalog, lease: timedelta = catalog.LEASE) -> None:
        self._catalog = beat_into
        self.lease = lease
        self._thread: threading.Thread | None
        self._forget()
        _all.add(self)

    def add(self, run: UUID, on_lease_lost: Callable[[], None]) -> None:
        """Beat for `run`; `on_lease_lost` is called, from the thread, if its lease is found lost."""
        with self._guard:
            self._runs[run] = on_lease_lost
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="whence beater", daemon=True)
                self._thread.start()

    def remove(self, run: UUID) -> None:
        """Stop beating for `run`."""
        with self._guard:
            self._runs.pop(run, None)

    def close(self) -> None:
        """Stop beating at all; a beat that gets no answer is not waited for."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _forget(self) -> None:
        """Begin without Runs and without a thread, as a forked child must: it has neither."""
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._thread = None
        self._runs: dict[UUID, Callable[[], None]] = {}
        self._missed = 0

    @reads.unwatched
    def _beat(self) -> None:
        while not self._closing.wait(self.lease.total_seconds() / BEATS):
            with self._guard:
                runs = dict(self._runs)
            for run in self._lost(runs) if runs else ():
                runs[run]()

    def _lost(self, runs: dict[UUID, Callable[[], None]]) -> frozenset[UUID]:
        try:
            lost = self._catalog.beat(list(runs), self.lease)
        except Exception:
            # Whatever it was, the thread must live: the next beat may get through. Two missed ones are
            # told to the steps, since the lease may be gone before the third.
            self._missed += 1
            return frozenset(runs) if self._missed >= _MISSES else frozenset()
        self._missed = 0
        return lost


_all: "weakref.WeakSet[Beater]" = weakref.WeakSet()


def _after_fork() -> None:
    for each in _all:
        each._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
