"""Counted: what is in the key of a command beside its words, its inputs and the Bundle of its source.

Files that it names and that are no source; what stands beside the source and is kept nowhere; editable installs and
folders of PYTHONPATH, which lie outside of the project and are somebody's source all the same. What may be a secret
counts as HMAC. What cannot be known leaves it without a key, so that a key is never silently shorter.

Leaves to others: which files there are (`command_source`), and what the program is (`programs`).
"""

import marshal
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from whence import command_source, contents, programs, selection, shelf
from whence_catalog import digest
from whence_catalog.blobs import BlobStore
from whence_catalog.errors import WhenceError

FILES, BESIDE, EDITABLE, PATH = "files", "files beside the source", "editable installs", "PYTHONPATH"
HIDDEN = "hidden words"
# What a key counts that no Run keeps: where it is made again, nothing says that this is the same.
UNKEPT = {
    FILES: "files that its words name and that are none of its source",
    BESIDE: "files that are left out of its source",
    EDITABLE: "editable installs",
    PATH: "folders of PYTHONPATH",
}


@dataclass(slots=True)
class Counted:
    """`seen` and `hidden` go into the key, the latter as HMAC; `notes` say what is not kept."""

    seen: dict[str, Mapping[str, str]] = field(default_factory=dict)
    hidden: dict[str, bytes] = field(default_factory=dict)
    obstacles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs: in `here`, in the project at `root`."""

    root: Path
    here: Path

    def absolute(self, text: str) -> Path:
        """The path that the command means by it."""
        return Path(os.path.normpath(self.here / text))

    def file(self, text: str) -> Path | None:
        """The file that the command means by it, if it is one. The text of a script is none."""
        try:
            path = self.absolute(text)
            return path if path.is_file() else None
        except (OSError, ValueError):
            return None

    def told(self, path: Path) -> str:
        """A path from the project's root, where it is in the project."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def of(
    place: Place,
    words: Sequence[tuple[str, str]],
    source: command_source.Source,
    without: Sequence[Path],
    program: programs.Program,
) -> Counted:
    """What counts of a command.

    Args:
        words: each as it is, and as it may be recorded.
        without: its inputs and outputs.

    Raises:
        NotFound: another Python does not say what is installed for it.
    """
    found = Counted()
    known = frozenset({*source.bundle.files.values(), *source.beside.values(), *map(str, without)})
    _count_files(found, place, words, known)
    try:
        if source.beside:
            found.hidden[BESIDE] = digest.frame(_rows(place.root, source.beside))
    except (OSError, WhenceError) as error:
        found.obstacles.append(f"{BESIDE}: {error}")
    if program.interpreter is not None:
        _count_folders(found, place, EDITABLE, program.editable, without)
    searched = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    folders = {str(at): str(place.absolute(text)) for at, text in enumerate(searched)}
    _count_folders(found, place, PATH, folders, without)
    return found


def _count_files(
    found: Counted, place: Place, words: Sequence[tuple[str, str]], known: frozenset[str]
) -> None:
    """Words that look secret; and what the files hold that are named and are not known."""
    hidden: list[digest.Framed] = []
    plain: dict[str, str] = {}
    for word, shown in words:
        held = [
            (path, made)
            for path in _named(place, word)
            if str(path) not in known and (made := _digest_of_named(found, place, path)) is not None
        ]
        if word != shown:
            hidden.append([os.fsencode(word), *(made.raw for _, made in held)])
            continue
        for path, made in held:
            name = place.told(path)
            if selection.is_secret(name, is_tracked=False) or contents.objection_of(str(path)) is not None:
                hidden.append([os.fsencode(name), made.raw])
            else:
                plain[name] = made.text
    if hidden:
        found.hidden[HIDDEN] = digest.frame(hidden)
    if plain:
        found.seen[FILES] = dict(sorted(plain.items()))


def _named(place: Place, word: str) -> Iterable[Path]:
    for part in dict.fromkeys((word, word.partition("=")[2])):
        if part and (path := place.file(part)) is not None:
            yield path


def _digest_of_named(found: Counted, place: Place, path: Path) -> digest.Digest | None:
    try:
        return BlobStore.hash_file(path).digest
    except (OSError, WhenceError) as error:
        found.obstacles.append(f"{place.told(path)} is named and cannot be read: {error}")
        return None


def _count_folders(
    found: Counted, place: Place, what: str, folders: Mapping[str, str], without: Sequence[Path]
) -> None:
    """Source by the name under which it is reached, but for what is looked at with the project's own."""
    rows: dict[str, str] = {}
    hidden: list[digest.Framed] = []
    for name, folder in folders.items():
        at = Path(folder)
        if command_source.is_covered(at, place.root):
            if what == PATH:
                rows[name] = place.told(at)
            if not at.is_file():
                continue
        own = () if at.is_relative_to(place.root) else (place.root,)
        try:
            if at.is_file():  # an archive of modules
                rows[name] = BlobStore.hash_file(at).digest.text
                continue
            source = command_source.collect(at, [], [*without, *own])
            hidden += [[name, each] for each in _rows(at, source.beside)]
        except (OSError, WhenceError) as error:
            found.obstacles.append(f"{what}: {error}")
            continue
        rows[name] = source.identity.text
        found.notes.append(f"{folder} counts, and is not kept: {what}")
    if rows:
        found.seen[what] = rows
    if hidden:
        found.hidden[f"files beside {what}"] = digest.frame(hidden)


# ── what stands beside ───────────────────────────────────────────────────────────────────────────


def _rows(root: Path, files: Mapping[str, str]) -> list[digest.Framed]:
    """A row for each file: its path, where it leads, and the digest of what it holds; read where it is another one."""
    name = f"beside-{digest.digest_of_bytes(_FORM + os.fsencode(root)).hex}"
    before = _kept(name)
    now: dict[str, tuple[contents.Stamp, bytes]] = {}
    rows: list[digest.Framed] = []
    for path, file in sorted(files.items()):
        leads = os.fsencode(os.readlink(file)) if os.path.islink(file) else b""
        rows.append([os.fsencode(path), leads, _digest_of(file, before, now), os.access(file, os.X_OK)])
    if now != before:
        shelf.write(name, marshal.dumps(now))
    return rows


_FORM = f"1 {sys.implementation.cache_tag} ".encode()
_Known = dict[str, tuple[contents.Stamp, bytes]]


def _digest_of(file: str, before: _Known, now: _Known) -> bytes:
    stamp = contents.stamp(file)
    if stamp is None:
        return b"it is no file"
    known = before.get(file)
    if known is None or known[0] != stamp:
        known = (stamp, BlobStore.hash_file(file).digest.raw)
    if contents.trusted(stamp):
        now[file] = known
    return known[1]


def _kept(name: str) -> _Known:
    try:
        return cast("_Known", marshal.loads(shelf.read(name) or marshal.dumps({})))
    except (ValueError, TypeError, EOFError):
        return {}
