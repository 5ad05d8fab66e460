"""Folders to Manifests and back: what a walk takes in, and how a tree is laid out on a disk."""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from whence_catalog import manifest
from whence_catalog.blobs import disk, shelf

Skip = Callable[[str], bool]
"""Says of a relative path (of a folder: with all below) whether to leave it out."""

Progress = Callable[[int, int], None]
"""Called now and then with the files and the bytes done so far, in the caller's thread."""


class Found(NamedTuple):
    """What a walk saw; equal to what a later walk sees unless something changed."""

    path: str
    real: str
    is_file: bool
    size_bytes: int
    seen: tuple[int, ...]


def walk(folder: str, skip: Skip | None) -> list[Found]:
    """The files and the empty folders below `folder`, by path; a link counts as what it leads to.

    Raises:
        InvalidInput: for a link that leads out of `folder`, around or nowhere, what is neither file nor
            folder, and a name that is not UTF-8.
    """
    root = os.path.realpath(folder, strict=True)
    if not os.path.isdir(root):
        raise disk.bad_path(f"{folder} is not a folder; put it as a file")
    found: list[Found] = []
    # Each with the folders whose links led to it: going into one of them again, or above, has no end.
    waiting: list[tuple[str, str, tuple[str, ...]]] = [("", root, ())]
    while waiting:
        path, real, came = waiting.pop()
        is_empty = True
        with os.scandir(real) as children:
            for child in children:
                inner = f"{path}/{child.name}" if path else child.name
                if skip and skip(inner):
                    continue
                is_empty = False
                manifest.check_path(inner)
                target, via = child.path, came
                seen = child.stat(follow_symlinks=False)
                if stat.S_ISLNK(seen.st_mode):
                    via = (*came, real)
                    target = _follow(child.path, inner, root, via)
                    seen = os.stat(target)
                if stat.S_ISDIR(seen.st_mode):
                    waiting.append((inner, target, via))
                elif stat.S_ISREG(seen.st_mode):
                    found.append(Found(inner, target, True, seen.st_size, _seen(seen)))
                else:
                    raise disk.bad_path(f"{inner} is neither a file nor a folder; leave it out")
        if is_empty and path:
            found.append(Found(path, real, False, 0, ()))
    found.sort()
    return found


def _follow(link: str, path: str, root: str, via: Iterable[str]) -> str:
    try:
        target = os.path.realpath(link, strict=True)
    except FileNotFoundError as error:
        raise disk.bad_path(f"the link {path} leads nowhere; remove it, or leave it out") from error
    except OSError as error:
        raise disk.bad_path(f"the link {path} cannot be followed: {error.strerror}; leave it out") from error
    if not _is_below(target, root):
        raise disk.bad_path(
            f"the link {path} leads out of the folder, to {target}; copy it in, or leave it out"
        )
    if any(_is_below(folder, target) for folder in via):
        raise disk.bad_path(f"the link {path} leads back to a folder that holds it; leave it out")
    return target


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _seen(file: os.stat_result) -> tuple[int, ...]:
    """What moves when a file is written, or another takes its place, even one that has its time."""
    return file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino


def take(
    folder: str,
    skip: Skip | None,
    progress: Progress | None,
    reader: shelf.Reader,
    staged: list[shelf.Staged],
) -> manifest.Tree:
    """Stage every file of `folder`, adding it to `staged`, and say what tree they are.

    Raises:
        InvalidInput: as `walk`.
        Conflict: where anything in it changed meanwhile.
    """
    found = walk(folder, skip)
    files = size_bytes = 0

    def take_one(item: Found) -> manifest.Entry:
        if not item.is_file:
            return manifest.Entry(item.path, "d", 0, None)
        with open(item.real, "rb") as source:
            copied = reader.stage(source, item.size_bytes)
        staged.append(copied)
        return manifest.Entry(item.path, "f", copied.size_bytes, copied.digest)

    def tell(entries: Sequence[manifest.Entry]) -> None:
        nonlocal files, size_bytes
        files += sum(entry.kind == "f" for entry in entries)
        size_bytes += sum(entry.size_bytes for entry in entries)
        if progress:
            progress(files, size_bytes)

    threads = reader.threads(len(found), sum(item.size_bytes for item in found))
    entries = disk.each(take_one, found, threads, tell)
    if moved := set(found) ^ set(walk(folder, skip)):
        raise disk.changed(min(moved).path)
    return manifest.build(entries)


def take_file(path: str, reader: shelf.Reader, staged: list[shelf.Staged]) -> shelf.Staged:
    """Stage the file at `path`, adding it to `staged`.

    Raises:
        InvalidInput: where it is no regular file.
        Conflict: where it changed meanwhile.
    """
    before = os.stat(path)
    if not stat.S_ISREG(before.st_mode):
        raise disk.bad_path(f"{path} is not a file; put a folder as a folder")
    with open(path, "rb") as source:
        copied = reader.stage(source, before.st_size)
    staged.append(copied)
    after = os.stat(path)
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    ):
        raise disk.changed(path)
    return copied


def folders(entries: Iterable[manifest.Entry]) -> list[str]:
    """Every folder of a tree, parents first."""
    found: set[str] = set()
    for entry in entries:
        path = entry.path if entry.kind == "d" else os.path.dirname(entry.path)
        while path and path not in found:
            found.add(path)
            path = os.path.dirname(path)
    return sorted(found)


def make(
    folder: Path,
    entries: Sequence[manifest.Entry],
    place: Callable[[manifest.Entry, str], None],
    threads: int,
) -> None:
    """Make `folder`, which is new, and in it every file of `entries`, written by `place`.

    Raises:
        InvalidInput: where the filesystem takes two of the paths for one.
    """
    folder.mkdir(parents=True)
    try:
        for path in folders(entries):
            os.mkdir(folder / path)
        files = [entry for entry in entries if entry.kind == "f"]
        disk.each(lambda entry: place(entry, f"{folder}/{entry.path}"), files, threads)
    except FileExistsError as error:
        path = os.path.relpath(error.filename2 or error.filename, folder)
        raise disk.bad_path(
            f"{path!r} and another path of the tree have one name on this filesystem; restore it elsewhere"
        ) from error


def is_intact(folder: Path, entries: Sequence[manifest.Entry]) -> bool:
    """Whether `folder` holds exactly `entries`, of the right sizes and sealed; reads no file."""
    sizes = {entry.path: entry.size_bytes for entry in entries if entry.kind == "f"}
    unseen = set(folders(entries))
    waiting = [("", str(folder))]
    try:
        while waiting:
            path, real = waiting.pop()
            with os.scandir(real) as children:
                for child in children:
                    inner = f"{path}/{child.name}" if path else child.name
                    seen = child.stat(follow_symlinks=False)
                    if stat.S_ISDIR(seen.st_mode) and inner in unseen:
                        unseen.remove(inner)
                        waiting.append((inner, child.path))
                    elif not disk.is_sealed(seen) or sizes.pop(inner, None) != seen.st_size:
                        return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not sizes and not unseen
