"""Guard: a group of processes that ends when we are gone, in whatever way.

What a command starts is not its own child only: a shell has children, and they have some. When we are killed nobody
tells them, and their Run is given up, so that another may write to the same places.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator

from whence_catalog.errors import ErrorKind, NotReady

# Told a group's number, it waits for the end of what it reads, which comes when nobody is left to write there.
_WATCH = 'read -r group && read -r _; kill -9 "-$group"'
_IS_WINDOWS = os.name == "nt"


@contextlib.contextmanager
def over_group() -> Iterator[Callable[[int], None]]:
    """While it lasts, the group whose number it is told ends with this process: all of it, at once, by SIGKILL.

    The number can be told from here, and by a child that was forked and has not started its program yet. Once this is
    left, nothing becomes of the group any more.

    Raises:
        NotReady: no process can be started.
    """
    if _IS_WINDOWS:
        yield lambda group: None
        return
    watched, held = os.pipe()
    try:
        try:
            process = _standing(watched)
        finally:
            os.close(watched)
        try:
            yield lambda group: _tell(held, group)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(held)


def _tell(held: int, group: int) -> None:
    os.write(held, f"{group}\n".encode())


def _standing(watched: int) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCH],
            cwd="/",
            env={},
            stdin=watched,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what is sent to our group is not meant for it
        )
    except OSError as error:
        raise NotReady(f"/bin/sh cannot be started: {error}", ErrorKind.UNSUPPORTED_VALUE) from error
