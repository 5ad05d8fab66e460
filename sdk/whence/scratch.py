"""Scratch: temporary folders that go with who made them, and that the next one finds if their maker was killed."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from whence_catalog.blobs import disk

_IS_WINDOWS = os.name == "nt"
# A folder that somebody names, as for a room that is kept, does not end in this, and is not ours to remove.
_SUFFIX = ".scratch"


@contextlib.contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """A new folder, removed when this is left; those of that prefix which the dead left behind go first.

    It is held by a lock, which ends with its holder: a number of a process says nothing, where several machines
    or containers share a folder.

    Raises:
        NotReady: the disk is full.
    """
    with disk.explained(tempfile.gettempdir()):
        _clear(prefix)
        made, lock = _made(prefix)
    try:
        yield made
    finally:
        disk.remove(made)
        if lock is not None:
            os.close(lock)


def _made(prefix: str) -> tuple[Path, int | None]:
    while True:
        made = Path(tempfile.mkdtemp(_SUFFIX, prefix))
        try:
            lock = _lock(made)
        except BlockingIOError:
            continue  # who clears away was there first
        if lock is not None or made.exists():
            return made, lock


def _clear(prefix: str) -> None:
    with os.scandir(tempfile.gettempdir()) as entries:
        for each in entries:
            # Whatever cannot be removed is no reason not to go on: it is another's, or the next one's.
            with contextlib.suppress(OSError):
                is_ours = each.name.startswith(prefix) and each.name.endswith(_SUFFIX)
                if is_ours and each.is_dir(follow_symlinks=False):
                    _remove_if_nobodys(Path(each.path))


def _remove_if_nobodys(folder: Path) -> None:
    if _IS_WINDOWS or folder.lstat().st_uid != os.getuid():
        return
    lock = _lock(folder)
    if lock is not None:
        try:
            disk.remove(folder)
        finally:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """The lock on a folder; None where there can be none, or the folder is gone.

    Raises:
        BlockingIOError: another has it.
    """
    if _IS_WINDOWS:
        return None
    import fcntl

    lock = -1
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.stat(folder)):
            return lock
    except BlockingIOError:
        os.close(lock)
        raise
    except OSError:
        pass
    if lock >= 0:
        os.close(lock)
    return None
