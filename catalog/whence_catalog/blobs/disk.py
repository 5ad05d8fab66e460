"""What the store asks of a local disk: seals, durability, atomic names, and what its errors mean."""

import concurrent.futures
import contextlib
import contextvars
import ctypes
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from whence_catalog import errors
from whence_catalog.errors import ErrorKind

CHUNK_BYTES = 1 << 20

_SEAL_NS = 1_000_000_000
# From here on, one flush of the filesystem is cheaper than one of each file (20,000: 0.4 s for 9).
_FLUSH_EACH = 32

_A = TypeVar("_A")
_B = TypeVar("_B")


def seal(file: int | str) -> None:
    """Make a file read-only and set its time so that a later write shows (see `whence_catalog.blobs`)."""
    os.chmod(file, 0o444)
    os.utime(file, ns=(_SEAL_NS, _SEAL_NS))


def is_sealed(seen: os.stat_result) -> bool:
    """Whether it is a regular file that nobody wrote into since it was sealed."""
    return stat.S_ISREG(seen.st_mode) and seen.st_mtime_ns == _SEAL_NS


def create(path: str) -> BinaryIO:
    """Open a new file, making its folder where needed."""
    try:
        return open(path, "xb")
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "xb")


def make_folder(path: str) -> Iterator[str]:
    """Make `path` and what leads to it; give each folder that gained a name, for `flush`."""
    if not os.path.isdir(path):
        yield from make_folder(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        yield os.path.dirname(path)


def flush(paths: Sequence[str]) -> None:
    """Have files, and the names in folders, survive a power cut."""
    if len(paths) > _FLUSH_EACH and _flush_filesystem(paths[0]):
        return
    for path in paths:
        with _descriptor(path) as descriptor:
            os.fsync(descriptor)


def _flush_filesystem(path: str) -> bool:
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)  # Linux only
    if syncfs is None:
        return False
    with _descriptor(path) as descriptor:
        return bool(syncfs(descriptor) == 0)


@contextlib.contextmanager
def _descriptor(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def link(source: str, path: str) -> None:
    """Give a sealed file a second name; a sealed copy where that cannot be."""
    try:
        os.link(source, path)
    except FileExistsError:
        raise
    except OSError:  # another filesystem, one without links, or too many links to one file
        with open(source, "rb") as held, open(path, "xb") as target:
            shutil.copyfileobj(held, target, CHUNK_BYTES)
            target.flush()
            seal(target.fileno())


def unused(folder: Path) -> Path:
    """A path in `folder` that nobody uses: hidden, and in the same folder as what it will be renamed to."""
    return folder / f".{secrets.token_hex(8)}"


@contextlib.contextmanager
def beside(dest: Path) -> Iterator[Path]:
    """A path beside `dest` that becomes `dest` if all goes well, and nothing otherwise."""
    if os.path.lexists(dest):
        raise bad_path(f"{dest} exists; choose another name, or move it away")
    dest.parent.mkdir(parents=True, exist_ok=True)
    temp = unused(dest.parent)
    try:
        yield temp
        os.rename(temp, dest)
    except BaseException:
        remove(temp)
        raise


def remove(path: Path) -> None:
    """Remove a file or a folder, read-only or not, if it is there."""
    if path.is_dir() and not path.is_symlink():
        for folder, _, _ in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def each(
    work: Callable[[_A], _B],
    items: Sequence[_A],
    threads: int,
    tell: Callable[[Sequence[_B]], None] = lambda results: None,
) -> list[_B]:
    """`work` of each item, in order; `tell` hears of results as they come, in the caller's thread."""
    size = max(1, min(64, len(items) // (4 * threads)))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    results: list[_B] = []
    with contextlib.ExitStack() as stack:
        run: Callable[..., Iterator[list[_B]]] = map
        if threads > 1 and len(parts) > 1:
            run = stack.enter_context(concurrent.futures.ThreadPoolExecutor(threads)).map
        # A thread of ours is part of what its caller does, for whoever asks the context.
        inside = contextvars.copy_context()
        for part in run(lambda part: inside.copy().run(lambda: [work(item) for item in part]), parts):
            results += part
            tell(part)
    return results


def bad_path(why: str) -> errors.InvalidInput:
    """The error for a path that cannot be meant."""
    return errors.InvalidInput(why, ErrorKind.BAD_PATH)


def changed(path: str) -> errors.Conflict:
    """The error for a source that did not hold still."""
    return errors.Conflict(
        f"{path} changed while it was read; put it again once it is at rest", ErrorKind.INPUT_CHANGED
    )


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Say of an error of the operating system what the caller can do about it; `what` if it names no file."""
    try:
        yield
    except OSError as error:
        name = error.filename or what
        match error.errno:
            case errno.ENOENT:
                raise errors.NotFound(f"no such file or folder: {name}", ErrorKind.NO_SUCH_FILE) from error
            case errno.EACCES | errno.EPERM:
                raise errors.Denied(f"no permission for {name}", ErrorKind.PERMISSION) from error
            case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
                why = f"the disk is full at {name}; nothing was recorded; make room and call again"
                raise errors.NotReady(why, ErrorKind.DISK_FULL) from error
            case errno.EROFS:
                why = f"{name} is on a read-only disk; nothing was recorded"
                raise errors.NotReady(why, ErrorKind.READ_ONLY) from error
            case errno.ENAMETOOLONG | errno.ENOTDIR | errno.EISDIR | errno.ELOOP:
                raise bad_path(f"{name}: {error.strerror}") from error
            case _:
                raise
