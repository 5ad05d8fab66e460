"""Group: a program, with all that it starts in turn, that ends when we are told to end, and when we are gone.

Leaves to others: what runs in it, and what becomes of what it says (`room`, `environments`).
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from whence import child, guard, interrupts

_IS_WINDOWS = os.name == "nt"
# What is told to end has so long to do it in its own way.
GRACE_SECONDS = 5.0


@contextlib.contextmanager
def started(
    command: Sequence[str], variables: Mapping[str, str], folder: Path, into: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A child in a group of its own, which ends, all of it, when this is left in whatever way, or we are killed.

    It reads nothing.

    Args:
        into: a file for all that it says; it is in its pipes unless given.

    Raises:
        NotReady: it cannot be started.
    """
    with guard.over_group() as tell:
        try:
            started = subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=into or subprocess.PIPE,
                stderr=into or subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise child.not_started(command[0], error) from error
        tell(started.pid)
        try:
            yield started
        finally:
            if started.returncode is None:
                _end_all(started)
            for pipe in filter(None, (started.stdout, started.stderr)):
                pipe.close()


def _end_all(process: "subprocess.Popen[bytes]") -> None:
    try:
        _end(process, signal.SIGTERM)
        give_up_at = time.monotonic() + GRACE_SECONDS
        while not _has_ended(process) and time.monotonic() < give_up_at:
            time.sleep(0.02)
    finally:  # whoever is impatient interrupts us once more
        _end(process, signal.SIGKILL)
        process.wait()


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def ended(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of a child, and end what it left running; answers its exit code, or its signal as a negative one.

    Raises:
        Interrupted: this thread was told to end, before it had.
    """
    if not hasattr(os, "waitid"):
        return process.wait()
    has_ended = threading.Event()
    threading.Thread(
        target=_tell_of_its_end, args=(process.pid, has_ended), name="whence group", daemon=True
    ).start()
    interrupts.wait(has_ended)
    # Not reaped yet, so that its number is still that of its group and of nobody else's.
    _end(process, signal.SIGKILL)
    return process.wait()


def _tell_of_its_end(pid: int, has_ended: threading.Event) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    has_ended.set()


def _end(process: "subprocess.Popen[bytes]", sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if _IS_WINDOWS:
            process.terminate()
        else:
            os.killpg(process.pid, sign)
