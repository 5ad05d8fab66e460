"""Guard: a group of processes that ends when we are gone, in whatever way.

What a command starts is not its own child only: a shell has children, and they have some. When we are killed nobody
tells them, and their Run is given up, so that another may write to the same places.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

from whence_catalog.errors import ErrorKind, NotReady

# Both wait, once they were told a group's number, for the end of what they read: it comes when nobody is left to write.
SHELL = "/bin/sh"
_WATCH = 'read -r group || exit; while read -r _; do :; done; kill -9 "-$group"'
_WATCH_IN_PYTHON = """
import os, sys
if group := sys.stdin.readline():
    sys.stdin.read()
    os.killpg(int(group), 9)
"""
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
    # Both ends stay open here: if it is ended by others, who tells it a number is not ended for that.
    watched, held = os.pipe()
    try:
        process = _standing(watched)
        try:
            yield lambda group: _tell(held, group)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(held)
        os.close(watched)


def _tell(held: int, group: int) -> None:
    os.write(held, f"{group}\n".encode())


def _standing(watched: int) -> "subprocess.Popen[bytes]":
    command = [SHELL, "-c", _WATCH]
    if not os.path.exists(SHELL):  # as in an image of Python and nothing else, where it is slower to start
        command = [sys.executable, "-I", "-S", "-c", _WATCH_IN_PYTHON]
    try:
        return subprocess.Popen(
            command,
            cwd="/",
            stdin=watched,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what is sent to our group is not meant for it
        )
    except OSError as error:
        raise NotReady(f"{command[0]} cannot be started: {error}", ErrorKind.UNSUPPORTED_VALUE) from error
