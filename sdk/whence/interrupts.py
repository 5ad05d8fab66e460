"""Interrupts of threads: Ctrl-C is told to the main thread alone, which hands it on to those that work for it."""

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator

# A signal's handler runs in the main thread, but the signal wakes it from no lock if it comes just before it waits, or
# to another thread. So whoever waits there looks up so often.
LOOK_SECONDS = 0.1

_heeded: "contextvars.ContextVar[Interrupt | None]" = contextvars.ContextVar("whence_interrupt", default=None)


class Interrupted(KeyboardInterrupt):
    """This thread was told to leave what it is at, and to begin nothing more."""


class Interrupt:
    """A word to those threads that heed it: once it is `set`, they leave what they wait for, and raise `Interrupted`."""

    def __init__(self) -> None:
        self.is_set = threading.Event()
        self._waiting: set[threading.Event] = set()
        # A signal may come while it is held, and set it once more.
        self._guard = threading.RLock()

    def set(self) -> None:
        """Say it, from any thread or from a signal's handler; it stays said."""
        with self._guard:
            self.is_set.set()
            for woken in list(self._waiting):
                woken.set()

    def heed(self) -> None:
        """Have this thread heed it from now on."""
        _heeded.set(self)

    @contextlib.contextmanager
    def waking(self, event: threading.Event) -> Iterator[None]:
        """While this lasts, the word sets `event`, too."""
        with self._guard:
            self._waiting.add(event)
            if self.is_set.is_set():
                event.set()
        try:
            yield
        finally:
            with self._guard:
                self._waiting.discard(event)


def pause(seconds: float) -> None:
    """Sleep.

    Raises:
        Interrupted: this thread was told to end.
    """
    heeded = _heeded.get()
    if heeded is None:
        time.sleep(seconds)
    elif heeded.is_set.wait(seconds):
        raise Interrupted


def wait(event: threading.Event) -> None:
    """Wait until it is set.

    Raises:
        Interrupted: this thread was told to end.
    """
    heeded = _heeded.get()
    if heeded is None:
        while not event.wait(LOOK_SECONDS):
            pass
        return
    with heeded.waking(event):
        event.wait()
    if heeded.is_set.is_set():
        raise Interrupted
