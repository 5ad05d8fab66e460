"""Says that this process's Runs live: one thread, one call for all of them.

A Run that is not heard of for a minute is presumed aborted, and its lease on a key lapses. The thread
does not keep the process alive, and starts afresh in a forked child.
"""

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from whence_catalog import catalog
from whence_catalog.errors import WhenceError

EVERY_SECONDS = 20.0
LASTING = timedelta(seconds=60)


class Beater:
    """Beats for the Runs of one catalog, from `add` until `remove`."""

    def __init__(self, beat_into: catalog.Catalog) -> None:
        self._catalog = beat_into
        self._guard = threading.Lock()
        self._runs: dict[UUID, Callable[[], None]] = {}
        self._wake = threading.Event()
        self._pid = 0

    def add(self, run: UUID, on_lease_lost: Callable[[], None]) -> None:
        """Beat for `run`; `on_lease_lost` is called, from the thread, if its lease is found lost."""
        if self._pid != os.getpid():  # also the first time
            self._guard, self._wake = threading.Lock(), threading.Event()
            self._runs, self._pid = {}, os.getpid()
            threading.Thread(target=self._beat, name="whence beater", daemon=True).start()
        with self._guard:
            self._runs[run] = on_lease_lost

    def remove(self, run: UUID) -> None:
        """Stop beating for `run`."""
        with self._guard:
            self._runs.pop(run, None)

    def _beat(self) -> None:
        while not self._wake.wait(EVERY_SECONDS):
            with self._guard:
                runs = dict(self._runs)
            if not runs:
                continue
            try:
                lost = self._catalog.beat(list(runs), LASTING)
            except WhenceError:
                continue  # the next beat may get through; three missed ones cost the lease, not the work
            for run in lost:
                runs[run]()
