"""The source that a command is known by: the project's, or a part of it, without what the command takes and makes.

In a git work tree it is what a Bundle takes of that (`worktree`, `selection`); elsewhere, the files that are code by
their names, and programs. What is loaded in this process does not matter: the command is another one.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from whence import bundle, contents, selection, worktree
from whence_catalog import manifest
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound

# What tools make beside the source, and nobody wrote.
_MADE = frozenset({"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"})
# Above this a folder without git is no project: a home folder, or a disk.
MOST_FILES = 10_000


def collect(root: Path, only: Sequence[Path], without: Sequence[Path]) -> bundle.Bundle:
    """The source of the project at `root`; too much of it has an `identity` all the same, and cannot be stored.

    Args:
        only: files and folders that are all of it; everything unless given. A file is taken whatever it is.
        without: files and folders that are none of it.

    Raises:
        NotFound: one of `only` is not there.
        InvalidInput: two of `only` would have the same path; there are too many files, and no git says which count.
    """
    for path in only:
        if not path.exists():
            raise NotFound(f"no file {path}, which is to be the command's code", ErrorKind.NO_SUCH_FILE)
    chosen, tree = selection.settings(root), worktree.of(root)
    found = _Found(root, without, chosen)
    for place in only or [root]:
        inside = _under(place, root, {} if tree is None else tree.contents)
        if place.is_file():
            found.take(place, place)
        elif inside:
            found.known(inside)
        else:
            found.walk(place)
    notes = [*found.notes]
    if tree is not None and not only:
        notes += tree.left_out
    if chosen.fault is not None and chosen.fault not in notes:
        notes.append(chosen.fault)
    made = bundle.Bundle(str(root), found.contents, None, tuple(notes), elsewhere=found.elsewhere)
    return _bounded(made, chosen.limit_bytes)


def identity(source: bundle.Bundle) -> Digest:
    """The digest of the tree that it is, whether it can be stored or not."""
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
    return bundle.Bundle(made.root, made.contents, identity(made), made.notes, elsewhere=made.elsewhere)


def _under(place: Path, root: Path, known: Mapping[str, contents.Content]) -> Mapping[str, contents.Content]:
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
        self.notes: list[str] = []
        self._root = root
        self._without = frozenset(without)
        self._chosen = chosen

    def known(self, inside: Mapping[str, contents.Content]) -> None:
        """Take what git listed, and was read."""
        for path, content in inside.items():
            if not self._is_left_out(self._root / path):
                self.contents[path] = content

    def walk(self, place: Path) -> None:
        """Take what is code, or a program, in the folder and below; what is hidden, installed or built is not."""
        for file in _walked(place):
            if self._is_left_out(file):
                continue
            path, size_bytes = file.relative_to(place).as_posix(), file.stat().st_size
            why = selection.why_not(path, size_bytes, False, self._chosen)
            if why in (selection.NO_CODE, selection.LARGE):
                # Without git nobody says what is the project's: what is code, and a program, is.
                why = selection.why_not(path, size_bytes, True, self._chosen)
            if why is not None:
                self._leave_out(file, why)
            elif len(self.contents) == MOST_FILES:
                raise InvalidInput(
                    f"there are more than {MOST_FILES:,} files of code under {place}; run it in the folder of its"
                    " project, make that a git repository, or name its code with --code"
                )
            else:
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
            self._leave_out(file, str(error))
            return
        if content.objection is not None and file != place:
            self._leave_out(file, content.objection)
            return
        self.contents[path] = content
        if path.startswith(bundle.OUTSIDE):
            self.elsewhere[path] = str(file)

    def _leave_out(self, file: Path, why: str) -> None:
        self.notes.append(f"{self._path(file, file)} left out: {why}")

    def _is_left_out(self, file: Path) -> bool:
        return bool(self._without) and not self._without.isdisjoint((file, *file.parents))

    def _path(self, file: Path, place: Path) -> str:
        if file.is_relative_to(self._root):
            return file.relative_to(self._root).as_posix()
        return f"{bundle.OUTSIDE}/{file.relative_to(place.parent).as_posix()}"


def _walked(place: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _MADE
            and not name.startswith(".")
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        )
        for name in sorted(names):
            file = Path(folder, name)
            if (selection.is_code(name) or os.access(file, os.X_OK)) and file.is_file():
                yield file
