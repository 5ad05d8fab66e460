"""The source that a command is known by: the project's, or a part of it, without what the command takes and makes.

In a git work tree it is what a Bundle takes of that (`worktree`, `selection`); elsewhere, the files that are code by
their names, and programs. What is loaded in this process does not matter: the command is another one. Beside it are
the files that are the project's, and that no Bundle takes: what looks secret, what is too large, what links lead to,
repositories inside, and code, programs and secrets that git ignores. They count, and are not kept.

Leaves to others: what of all that is in the key (`counted`).
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from whence import bundle, contents, repository, selection, worktree
from whence_catalog import manifest
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound

# What tools make beside the source, and nobody wrote.
_MADE = frozenset({"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"})
_TOLD = frozenset({"node_modules", "build", "dist"})
_SHOWN = 3
# Above this a folder without git is no project: a home folder, or a disk.
MOST_FILES = 10_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Source:
    """What a Bundle takes, and by their paths where the files lie that count beside it."""

    bundle: bundle.Bundle
    beside: Mapping[str, str]

    @property
    def identity(self) -> Digest:
        """The digest of the tree that the Bundle is, whether it can be stored or not."""
        return _identity(self.bundle)


def collect(root: Path, only: Sequence[Path], without: Sequence[Path]) -> Source:
    """The source of the project at `root`; too much of it has an identity all the same, and cannot be stored.

    Args:
        only: files and folders that are all of it; everything unless given. A file is taken whatever it is.
        without: files and folders that are none of it.

    Raises:
        NotFound: one of `only` is not there.
        InvalidInput: two of `only` would have the same path; there are too many files, and no git says which count.
    """
    for path in only:
        if not os.path.exists(path):
            raise NotFound(f"no file {path}, which is to be the command's code", ErrorKind.NO_SUCH_FILE)
    chosen, tree = selection.settings(root), worktree.of(root)
    found = _Found(root, without, chosen)
    for place in only or [root]:
        inside = _under(place, root, {} if tree is None else tree.contents)
        if place.is_file():
            found.take(place, place)
        elif tree is not None and inside:
            found.known(inside, _under(place, root, dict.fromkeys(tree.beside)))
            found.ignored(place)
        else:
            found.walk(place)
    notes = [*found.notes, *found.passed_over]
    if tree is not None and not only:
        notes += tree.left_out
    if chosen.fault is not None and chosen.fault not in notes:
        notes.append(chosen.fault)
    made = bundle.Bundle(str(root), found.contents, None, tuple(notes), elsewhere=found.elsewhere)
    beside = {path: file for path, file in found.beside.items() if path not in found.contents}
    return Source(_bounded(made, chosen.limit_bytes), beside)


def _identity(source: bundle.Bundle) -> Digest:
    return source.root_digest or manifest.build(source.entries, manifest.BUNDLE).root


def _bounded(made: bundle.Bundle, limit_bytes: int) -> bundle.Bundle:
    size_bytes = sum(each.size_bytes for each in made.contents.values())
    if size_bytes > limit_bytes:
        because = (
            f"the source is {size_bytes:,} bytes, more than the limit of {limit_bytes:,}; name its code with --code, or"
            " leave files out in pyproject.toml"
        )
        return bundle.Bundle(
            made.root, made.contents, None, (*made.notes, because), (), because, elsewhere=made.elsewhere
        )
    return bundle.Bundle(made.root, made.contents, _identity(made), made.notes, elsewhere=made.elsewhere)


def _under(place: Path, root: Path, known: Mapping[str, _T]) -> Mapping[str, _T]:
    if place == root:
        return known
    if not place.is_relative_to(root):
        return {}
    inside = place.relative_to(root).as_posix() + "/"
    return {path: each for path, each in known.items() if path.startswith(inside)}


class _Found:
    """The files found so far, by their path from the root."""

    def __init__(self, root: Path, without: Sequence[Path], chosen: selection.Settings) -> None:
        self.contents: dict[str, contents.Content] = {}
        self.elsewhere: dict[str, str] = {}
        self.beside: dict[str, str] = {}
        self.notes: list[str] = []
        self._made: dict[str, None] = {}
        self._root = root
        self._without = frozenset(without)
        self._chosen = chosen

    @property
    def passed_over(self) -> Iterator[str]:
        """What is to be said of folders that were not looked into."""
        if self._made:
            shown = ", ".join(list(self._made)[:_SHOWN])
            more = f" and {len(self._made) - _SHOWN} more" if len(self._made) > _SHOWN else ""
            yield f"{shown}{more} left out: tools made what is in there, and it counts only where a word names it"

    def known(self, inside: Mapping[str, contents.Content], beside: Iterable[str]) -> None:
        """Take what git listed, and was read; the rest of that stands beside."""
        for path, content in inside.items():
            if not self._is_left_out(self._root / path):
                self.contents[path] = content
        for path in beside:
            self._put_beside(self._root / path, self._root)

    def ignored(self, place: Path) -> None:
        """Put beside what is code, a program or a secret, and what git ignores."""
        said = repository.ask(
            str(place), ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"]
        )
        if said is None:
            self.notes.append("git did not say which files it ignores: none of them counts")
        looked_at = 0
        for name in filter(None, os.fsdecode(said or b"").split("\0")):
            at = place / name
            if not name.endswith("/"):
                files: Iterable[Path] = [at] if _is_wanted(at) or _leads_out(at, self._root) else []
            elif self._is_passed_over(str(at.parent), at.name):
                continue
            else:
                files = self._walked(at)
            for file in files:
                looked_at += 1
                if looked_at > MOST_FILES:
                    self.notes.append(
                        f"of the files that git ignores more than {MOST_FILES:,} are code: the rest does not count"
                    )
                    return
                self._put_beside(file, place)

    def _put_beside(self, file: Path, place: Path) -> None:
        if self._is_left_out(file):
            return
        files = [file]
        if _leads_out(file, self._root):
            files = [file, *itertools.islice(self._walked(file), MOST_FILES)]
            if len(files) > MOST_FILES:
                self.notes.append(
                    f"of what {file} leads to, more than {MOST_FILES:,} files are code: the rest does not count"
                )
        elif file.is_dir() and not file.is_symlink():
            # A repository of its own; a submodule that was not checked out has nothing.
            files = []
            if (file / ".git").exists():
                inner = collect(file, [], [each for each in self._without if file in each.parents])
                files = [Path(each) for each in (*inner.bundle.files.values(), *inner.beside.values())]
        for each in files:
            path = self._path(each, place)
            if self.beside.setdefault(path, str(each)) != str(each):
                raise InvalidInput(
                    f"{each} and {self.beside[path]} would both be {path}; name a folder around them"
                )

    def walk(self, place: Path) -> None:
        """Take what is code, or a program, in the folder and below; what is hidden, installed or built is not."""
        wanted: list[Path] = []
        for file in itertools.chain(self._walked(place), self._leading_out(place)):
            if self._is_left_out(file):
                continue
            if unfit := selection.unfit(str(place), file.relative_to(place).as_posix(), file.is_symlink()):
                self._leave_out(file, place, unfit)
                continue
            path, size_bytes = file.relative_to(place).as_posix(), file.stat().st_size
            why = selection.why_not(path, size_bytes, False, self._chosen)
            if why in (selection.NO_CODE, selection.LARGE):
                # Without git nobody says what is the project's: what is code, and a program, is.
                why = selection.why_not(path, size_bytes, True, self._chosen)
            if why is not None:
                self._leave_out(file, place, why)
            elif len(self.contents) + len(wanted) == MOST_FILES:
                raise InvalidInput(
                    f"there are more than {MOST_FILES:,} files of code under {place}; run it in the folder of its"
                    " project, make that a git repository, or name its code with --code"
                )
            else:
                wanted.append(file)
        for file in wanted:
            self.take(file, place)
        for pattern in self._chosen.include if place == self._root else ():
            for file in sorted(self._root.glob(pattern)):
                if file.is_file():
                    self.take(file, file)

    def take(self, file: Path, place: Path) -> None:
        """Take one file, which was found in `place` or is it.

        Raises:
            InvalidInput: another one has its path.
        """
        if self._is_left_out(file):
            return
        path = self._path(file, place)
        if path in self.contents and self.elsewhere.get(path, str(file)) != str(file):
            raise InvalidInput(
                f"{file} and {self.elsewhere[path]} would both be {path}; name a folder around them"
            )
        try:
            _, content = contents.of(str(file))
        except OSError as error:
            self._leave_out(file, place, str(error))
            return
        if content.objection is not None and file != place:
            self._leave_out(file, place, content.objection)
            return
        self.contents[path] = content
        if path.startswith(bundle.OUTSIDE):
            self.elsewhere[path] = str(file)

    def _leave_out(self, file: Path, place: Path, why: str) -> None:
        shown = self._path(file, place).encode("utf-8", "replace").decode()
        self.notes.append(f"{shown} left out: {why}")
        if why != selection.EXCLUDED:
            self._put_beside(file, place)

    def _walked(self, place: Path) -> Iterator[Path]:
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if not self._is_passed_over(folder, name))
            for name in sorted(names):
                file = Path(folder, name)
                if _is_wanted(file):
                    yield file

    def _leading_out(self, place: Path) -> Iterator[Path]:
        """The links in a folder, and below, that lead to folders outside: what is in there is looked at by itself."""
        for folder, folders, _ in os.walk(place):
            folders[:] = sorted(name for name in folders if not self._is_passed_over(folder, name))
            yield from (at for name in folders if _leads_out(at := Path(folder, name), self._root))

    def _is_passed_over(self, folder: str, name: str) -> bool:
        """Whether a folder holds what is hidden, installed or built: nobody wrote it."""
        if name in _TOLD and not self._is_left_out(at := Path(folder, name)):
            self._made[self._path(at, at).encode("utf-8", "replace").decode()] = None
        return _is_made(folder, name)

    def _is_left_out(self, file: Path) -> bool:
        return bool(self._without) and not self._without.isdisjoint((file, *file.parents))

    def _path(self, file: Path, place: Path) -> str:
        if file.is_relative_to(self._root):
            return file.relative_to(self._root).as_posix()
        return f"{bundle.OUTSIDE}/{file.relative_to(place.parent).as_posix()}"


def is_covered(folder: Path, root: Path) -> bool:
    """Whether what lies in a folder is looked at for the source of the project at `root`."""
    above = [each for each in (folder, *folder.parents) if each != root and each.is_relative_to(root)]
    return folder.is_relative_to(root) and not any(_is_made(str(each.parent), each.name) for each in above)


def _is_made(folder: str, name: str) -> bool:
    return name in _MADE or name.startswith(".") or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def _leads_out(file: Path, root: Path) -> bool:
    """Whether it is a link to a folder that is none of the project's."""
    return file.is_symlink() and file.is_dir() and not file.resolve().is_relative_to(root.resolve())


def _is_wanted(file: Path) -> bool:
    """Whether it is code, a program, or a secret, by its name."""
    name = file.name
    is_named = selection.is_code(name) or selection.is_secret(name, is_tracked=False)
    return (is_named or os.access(file, os.X_OK)) and file.is_file()
