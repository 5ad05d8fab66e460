"""Interrupts of threads: Ctrl-C is told to the main thread alone, which hands it on to those that work for it."""

import contextvars
import threading
import time

# A signal's handler runs in the main thread, but the signal wakes it from no lock if it comes just before it waits, or
# to another thread. So whoever waits there looks up so often.
LOOK_SECONDS = 0.1


class Interrupted(KeyboardInterrupt):
    """This thread was told to leave what it is at, and to begin nothing more."""


class Interrupt:
    """A word to those threads that heed it: once it is said, they leave what they wait for, and raise `Interrupted`."""

    def __init__(self) -> None:
        # No Event: one that is set by a signal's handler may wait for what it has interrupted, for ever.
        self._is_said = False

    def set(self) -> None:
        """Say it, from any thread or from a signal's handler; it stays said."""
        self._is_said = True

    def heed(self) -> None:
        """Have this thread heed it from now on."""
        _heeded.set(self)

    def raise_if_set(self) -> None:
        """Nothing, until it is said.

        Raises:
            Interrupted: it was.
        """
        if self._is_said:
            raise Interrupted


_NEVER = Interrupt()
_heeded: "contextvars.ContextVar[Interrupt]" = contextvars.ContextVar("whence_interrupt", default=_NEVER)


def pause(seconds: float) -> None:
    """Sleep.

    Raises:
        Interrupted: this thread was told to end.
    """
    heeded, ends_at = _heeded.get(), time.monotonic() + seconds
    heeded.raise_if_set()
    while (rest := ends_at - time.monotonic()) > 0:
        time.sleep(min(rest, LOOK_SECONDS))
        heeded.raise_if_set()


def wait(event: threading.Event) -> None:
    """Wait until it is set.

    Raises:
        Interrupted: this thread was told to end.
    """
    heeded = _heeded.get()
    heeded.raise_if_set()
    while not event.wait(LOOK_SECONDS):
        heeded.raise_if_set()
    heeded.raise_if_set()
