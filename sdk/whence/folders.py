"""A folder that a step is handed through a view: each file in it counts if the step asks about it, and only then.

A view reads like a `pathlib.Path`, and fetches no file that is not opened. What it is asked is answered by the
Manifest and noted; a path that is made of it counts as a question, too. Whoever takes the path of a
folder sees all that is around it, and so has read it all.

Leaves to others: what is noted (`tracked`), and what the answers are (`whence_catalog.traces`).
"""

import errno
import fnmatch
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from whence import handles, tracked
from whence_catalog import digest, manifest, traces
from whence_catalog.traces import Question


def standing(root: digest.Digest, entries: Iterable[manifest.Entry]) -> traces.Folder:
    """What a tree is asked about as: `entries` are all that is in it."""
    top: dict[str, traces.File | traces.Folder] = {}
    for entry in entries:
        *above, name = entry.path.split("/")
        inside = top
        for step in above:
            inside = cast("traces.Folder", inside.setdefault(step, traces.Folder({}))).members
        if entry.digest is None:
            inside[name] = traces.Folder({})
        else:
            inside[name] = traces.File(entry.size_bytes, entry.digest.raw)
    return traces.Folder(top, root.raw)


def view(handle: handles.Handle, tree: traces.Folder, argument: str, log: tracked.Log) -> "Folder":
    """A view of a folder, which stands as `tree` in `log`."""
    log.note(argument, (), Question.GET)
    return Folder(handle, tree, argument, (), log)


class _Place(tracked.View):
    """Where something may be: nothing is asked by naming it."""

    __slots__ = ()

    def __truediv__(self, below: object) -> "Member":
        names = PurePosixPath(cast("str", below)).parts
        if names[:1] == ("/",) or ".." in names:
            raise ValueError(f"{below!r} leads out of {self._whence_argument}, which is tracked")
        return _at(self, (*self._whence_path, *names))

    def joinpath(self, *below: object) -> "Member":
        """What may be below, as by `/`."""
        return self / PurePosixPath(*cast("tuple[str, ...]", below))

    def exists(self) -> bool:
        """Whether there is something."""
        return self._has()

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self._has(traces.CONTENT)

    def is_dir(self) -> bool:
        """Whether there is a folder."""
        return self._has(traces.LISTING)

    def iterdir(self) -> "Iterator[Member]":
        """What is in the folder, by name.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
        """
        return iter([_at(self, (*self._whence_path, name)) for name in self._names()])

    def walk(self) -> "Iterator[tuple[_Place, list[str], list[str]]]":
        """(a folder, names of the folders in it, names of the files in it) for it and for each below, by name."""
        found = self._names()
        inside = [name for name, item in found.items() if isinstance(item, traces.Folder)]
        yield self, inside, [name for name in found if name not in set(inside)]
        for name in inside:
            yield from _at(self, (*self._whence_path, name)).walk()

    def listing(self) -> list[str]:
        """The paths of all files below, from here."""
        depth = len(self._whence_path)
        return [
            "/".join(cast("tuple[str, ...]", (*place._whence_path[depth:], name)))
            for place, _, names in self.walk()
            for name in names
        ]

    def glob(self, pattern: str) -> "Iterator[Member]":
        """What is below with such a path: `*`, `?` and `[…]` stand within a name, `**` for any folders or none."""
        parts = PurePosixPath(pattern).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise ValueError(f"unacceptable pattern: {pattern!r}")
        matches = dict.fromkeys(_glob(self, parts))
        return iter([place for place in matches if isinstance(place, Member) and place != self])

    def rglob(self, pattern: str) -> "Iterator[Member]":
        """As `glob`, in it and in each folder below."""
        return self.glob(f"**/{pattern}")

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        raise TypeError(f"a folder has no len(): {self._whence_argument}; ask for its iterdir()")

    def _has(self, *steps: int) -> bool:
        path, log = self._whence_path, self._whence_log
        above = path[:-1]
        # Who was told the names in the folder knows, and which of them are folders.
        if not path or not log.knows(self._whence_argument, above, Question.NAMES):
            log.note(self._whence_argument, (*path, *steps), Question.HAS)
        found = self._found()
        return found is not None and (
            not steps or isinstance(found, traces.Folder) is (steps[0] == traces.LISTING)
        )

    def _names(self) -> dict[str, traces.File | traces.Folder]:
        self._whence_log.note(self._whence_argument, self._whence_path, Question.NAMES)
        found = self._found()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._shown())
        if isinstance(found, traces.File):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self._shown())
        return dict(sorted(found.members.items()))

    def _found(self) -> traces.File | traces.Folder | None:
        found = cast("traces.File | traces.Folder | None", self._whence_framed)
        for step in self._whence_path:
            found = found.members.get(cast("str", step)) if isinstance(found, traces.Folder) else None
        return found

    def _shown(self) -> str:
        return "/".join(cast("tuple[str, ...]", self._whence_path)) or self._whence_argument


class Folder(_Place):
    """A tracked folder. What else its handle has is had of all of it, `path` and `load()` included."""

    __slots__ = ()

    def __fspath__(self) -> str:
        return os.fspath(cast("handles.Handle", self._whence_all()).path)


class Member(_Place):
    """What may be somewhere in a tracked folder."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self._pure().name

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self._pure().stem

    @property
    def suffix(self) -> str:
        """The end of its name, such as `.csv`."""
        return self._pure().suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """Its path from the tracked folder, name by name."""
        return cast("tuple[str, ...]", self._whence_path)

    @property
    def parent(self) -> _Place:
        """The folder that it may be in."""
        return _place(self, self._whence_path[:-1])

    def as_posix(self) -> str:
        """Its path from the tracked folder."""
        return self._shown()

    def relative_to(self, folder: _Place) -> PurePosixPath:
        """Its path from a folder above."""
        return self._pure().relative_to(PurePosixPath(*cast("tuple[str, ...]", folder._whence_path)))

    def with_name(self, name: str) -> "Member":
        """What may be beside it."""
        return _at(self, (*self._whence_path[:-1], *PurePosixPath(name).parts))

    def with_suffix(self, suffix: str) -> "Member":
        """What may be beside it with the same stem."""
        return self.with_name(self._pure().with_suffix(suffix).name)

    def size(self) -> int:
        """How many bytes the file has.

        Raises:
            FileNotFoundError, IsADirectoryError: there is no file.
        """
        return self._file(traces.SIZE).size_bytes

    def read_bytes(self) -> bytes:
        """What is in the file."""
        with self.open("rb") as source:
            return bytes(source.read())

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """What is in the file, as text."""
        with self.open("r", encoding=encoding, errors=errors) as source:
            return str(source.read())

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """The file, to read it.

        Raises:
            FileNotFoundError, IsADirectoryError: there is none.
            PermissionError: `mode` is to write.
        """
        if set(mode) & set("wax+"):
            raise PermissionError(errno.EACCES, "it is tracked, and cannot be changed", self._shown())
        return open(self._lent(), mode, buffering, encoding, errors, newline)

    def __fspath__(self) -> str:
        if self._has(traces.LISTING):
            root = cast("handles.Handle", _place(self, ())._whence_all())
            return os.path.join(root.path, *self.parts)
        return os.fspath(self._lent())

    def __str__(self) -> str:
        return os.fspath(self)

    def __repr__(self) -> str:
        return f"<{self._shown()} in {self._whence_argument}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and _identity(self) == _identity(other)

    def __lt__(self, other: object) -> bool:
        return self.parts < other.parts if isinstance(other, Member) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.parts <= other.parts if isinstance(other, Member) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.parts > other.parts if isinstance(other, Member) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.parts >= other.parts if isinstance(other, Member) else NotImplemented

    def __hash__(self) -> int:
        return hash(_identity(self))

    def _whence_all(self) -> object:
        return Path(os.fspath(self))

    def _lent(self) -> Path:
        content = digest.Digest.of(self._file(traces.CONTENT).content)
        return cast("handles.Handle", self._whence_raw).member(content, self.name)

    def _file(self, step: int) -> traces.File:
        self._whence_log.note(self._whence_argument, (*self._whence_path, step), Question.GET)
        found = self._found()
        if isinstance(found, traces.File):
            return found
        if self.exists():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._shown())
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._shown())

    def _pure(self) -> PurePosixPath:
        return PurePosixPath(*self.parts)


def _identity(member: Member) -> tuple[int, str, traces.Path]:
    return id(member._whence_log), member._whence_argument, member._whence_path


def _place(of: _Place, path: traces.Path) -> _Place:
    kind = Member if path else Folder
    return kind(of._whence_raw, of._whence_framed, of._whence_argument, path, of._whence_log)


def _at(of: _Place, path: traces.Path) -> Member:
    # `folder / "."` is the folder, under another name.
    return Member(of._whence_raw, of._whence_framed, of._whence_argument, path, of._whence_log)


def _glob(place: _Place, parts: tuple[str, ...]) -> Iterator[_Place]:
    if not parts:
        yield place
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        for folder, _, _ in place.walk() if place.is_dir() else ():
            yield from _glob(folder, rest)
    elif not set(first) & set("*?["):
        named = place / first
        if named.is_dir() if rest else named.exists():
            yield from _glob(named, rest)
    else:
        for member in place.iterdir() if place.is_dir() else ():
            if fnmatch.fnmatchcase(member.name, first) and (not rest or member.is_dir()):
                yield from _glob(member, rest)
