"""Work tree: what git says is in a project, and what stands in those files now.

One call of `git status` answers which files are not in git, whether anything was changed, and the commit. The list
of tracked files is asked for only where git's index is another one. While git looks, every file that is known from
before is looked at here, by its stamp; only what has another one is read. All of it is kept on the user's shelf, so that a
new process does the same. In a process that has asked, a look at each file and each folder is all, for ten seconds.

Leaves to others: which of the files are taken (`selection`), and what is made of them (`bundle`).
"""

import dataclasses
import marshal
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whence import contents, repository, selection, shelf
from whence_catalog import digest

# A folder without a file that git lists may get one and look the same; a commit moves nothing that is looked at.
_FRESH_SECONDS = 10.0
_LINK, _SUBMODULE = "120000", "160000"
_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class WorkTree:
    """What is in a project that git knows. The same object answers for as long as nothing changed.

    `facts` are remote, commit, branch and dirty (`yes` or `no`), as far as they exist; dirty counts files that
    are neither committed nor ignored. `contents` are of the files that are taken, by their paths from `root`;
    `left_out` says of the others why; `beside` are those of them, by path, that are the project's all the same: what
    looks secret, is too large, leads out of it, or is a repository of its own. `state` names all of it: equal ones are the same files with the same
    contents, in this process or another.
    """

    root: str
    facts: Mapping[str, str]
    contents: Mapping[str, contents.Content]
    left_out: tuple[str, ...]
    beside: tuple[str, ...]
    size_bytes: int
    state: bytes
    files: int
    kept: "_Kept" = field(repr=False)

    @property
    def is_too_many(self) -> bool:
        """Whether git lists more files than can be looked at for each Run; then `contents` has none of them."""
        return self.files > selection.LIMIT_FILES

    def root_of(self, others: bytes) -> digest.Digest | None:
        """The digest of the Bundle of all of it with `others`, if it was made before."""
        raw = self.kept.roots.get(others)
        return None if raw is None else digest.Digest.of(raw)

    def remember(self, others: bytes, made: digest.Digest, of_contents: Iterable[bytes]) -> None:
        """Keep the digest of the Bundle of all of it with `others`, and what these files import."""
        if len(self.kept.roots) >= _MOST_ROOTS:
            self.kept.roots.clear()
        self.kept.roots[others] = made.raw
        self.kept.imports.update(contents.known_imports(of_contents))
        _keep(self.root, self.kept)


_MOST_ROOTS = 64


@dataclass(slots=True)
class _Kept:
    """What is on the shelf. `rows` are of all files that may be taken by their names."""

    index: tuple[int, ...] = ()
    config: tuple[int, ...] = ()
    remote: str | None = None
    tracked: dict[str, str] = field(default_factory=dict)  # by path, the mode
    untracked: list[str] = field(default_factory=list)
    rows: dict[str, contents.Row] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # for what stands in them, or for their names
    unfit: list[str] = field(default_factory=list)  # links that lead out, repositories inside
    state: bytes = b""
    roots: dict[bytes, bytes] = field(default_factory=dict)
    imports: dict[bytes, contents.Imports] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Known:
    tree: WorkTree
    watched: tuple[tuple[str, contents.Stamp], ...]  # files, from the root
    folders: Mapping[str, int]
    places: tuple[int, ...]
    asked_at: float
    is_settled: bool  # no file was written just now


_known: dict[str, _Known | None] = {}
_refused: dict[str, float] = {}
_guard = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release)


def of(root: Path) -> WorkTree | None:
    """The work tree at `root`, as it is now; None outside a repository, or where git does not answer."""
    folder = os.path.realpath(root)
    git = repository.folder_of(folder)
    if git is None:
        return None
    with _guard:
        now = time.monotonic()
        known = _known.get(folder)
        if known is not None and now - known.asked_at < _FRESH_SECONDS and _holds(known, folder, git):
            return known.tree
        if now - _refused.get(folder, -_FRESH_SECONDS) < _FRESH_SECONDS:
            return None
        found = _ask(folder, git, known)
        if found is None:
            _refused[folder] = now
            return None
        _known[folder] = found
        return found.tree


def is_in_repository(root: Path) -> bool:
    """Whether there is a repository around `root`, be there a git or not."""
    return repository.folder_of(os.path.realpath(root)) is not None


def facts(root: Path) -> Mapping[str, str]:
    """What git says of the work tree at `root`: remote, commit, branch and dirty; nothing outside a repository."""
    tree = of(root)
    return {} if tree is None else tree.facts


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


def _holds(known: _Known, folder: str, git: str) -> bool:
    """Whether all is as it was, as far as stamps tell."""
    if _places(git) != known.places:
        return False
    if not known.is_settled:
        return False
    look = os.stat
    try:
        at = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        # A name from an open folder is found in half the time that a whole path takes; a call less is a third more.
        for path, (modified, changed, size) in known.watched:
            found = look(path, dir_fd=at)
            if found.st_mtime_ns != modified or found.st_ctime_ns != changed or found.st_size != size:
                return False
        return _folders(known.folders, at) == known.folders
    except OSError:
        return False
    finally:
        os.close(at)


def _folders(paths: Iterable[str], at: int) -> dict[str, int]:
    found = {}
    for path in paths:
        try:
            found[path] = os.stat(path or ".", dir_fd=at).st_mtime_ns
        except OSError:
            found[path] = -1
    return found


def _places(git: str) -> tuple[int, ...]:
    """What moves with the index, the head and the settings of a repository."""
    found: tuple[int, ...] = ()
    for name in ("index", "HEAD", "logs/HEAD"):
        found += contents.stamp(os.path.join(git, name)) or (0,)
    return found + (contents.stamp(os.path.join(repository.common_folder(git), "config")) or (0,))


def _ask(folder: str, git: str, known: _Known | None) -> _Known | None:
    asked_at, places = time.monotonic(), _places(git)
    status = repository.start(
        folder, ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules"]
    )
    if status is None:
        return None
    kept = known.tree.kept if known is not None else _from_shelf(folder)
    at = os.open(folder, os.O_RDONLY)
    try:
        # While git looks: the same files, as far as they are known.
        stamps = {path: contents.stamp(path, at) for path in kept.rows}
        folders = _folders({path.rpartition("/")[0] for path in kept.rows} | {""}, at)
        said = repository.end(status)
        if said is None:
            return None
        facts, untracked, changed = repository.status(said, folder)
        tracked = kept.tracked
        index = contents.stamp(os.path.join(git, "index")) or ()
        if index != kept.index or not index:
            listed = repository.ask(folder, ["ls-files", "-z", "--stage"])
            if listed is None:
                return None
            tracked = dict(repository.listed(listed))
        chosen = selection.settings(Path(folder))
        is_known = bool(kept.state) and (tracked, untracked) == (kept.tracked, kept.untracked)
        # What is declared may be ignored by git, which then does not tell of it.
        is_known = is_known and not chosen.include
        before = kept
        files = len(tracked) + sum(map(selection.is_code, untracked))
        if files > selection.LIMIT_FILES:
            kept = _unread(kept, tracked, untracked, _state(folder, said, changed))
        elif not (is_known and all(row[0] == stamps[path] for path, row in kept.rows.items())):
            kept = _read(folder, at, kept, tracked, untracked, stamps, chosen)
        config = contents.stamp(os.path.join(repository.common_folder(git), "config")) or ()
        is_read = kept is not before and files <= selection.LIMIT_FILES
        is_other = is_read or (index, config) != (kept.index, kept.config)
        if config != kept.config or not kept.config:
            kept.remote, kept.config = repository.remote(folder), config
        if kept.remote is not None:
            facts["remote"] = kept.remote
        kept.index = index
        taken = {path: row[1] for path, row in kept.rows.items() if row[1] is not None}
        watched = tuple((path, row[0]) for path, row in kept.rows.items())
        folders |= _folders({path.rpartition("/")[0] for path in kept.rows} - folders.keys(), at)
    finally:
        os.close(at)
    if is_other and kept.roots:  # where it has none, its first Bundle keeps it
        _keep(folder, kept)
    tree = WorkTree(
        folder,
        facts,
        taken,
        tuple(kept.left_out),
        (*sorted({*kept.hidden, *kept.unfit, *(path for path, row in kept.rows.items() if row[1] is None)}),),
        sum(content.size_bytes for content in taken.values()),
        kept.state,
        files,
        kept,
    )
    return _Known(tree, watched, folders, places, asked_at, all(stamp for _, stamp in watched))


def _unread(kept: _Kept, tracked: dict[str, str], untracked: list[str], state: bytes) -> _Kept:
    """What is known where there are too many files: their names."""
    return _Kept(
        remote=kept.remote,
        config=kept.config,
        tracked=tracked,
        untracked=untracked,
        state=state,
        roots={b"": b""},  # nothing else is made of it: it is kept as it is
        imports=kept.imports,
    )


def _state(folder: str, said: bytes, changed: Sequence[str]) -> bytes:
    """What is another one once git says something else, or a file that is changed already is changed again."""
    prefix = repository.prefix_of(folder)
    top = folder[: len(folder) - len(prefix)] if prefix else folder
    found = [contents.stamp(os.path.join(top, path)) for path in changed[: selection.LIMIT_FILES]]
    is_told = len(changed) <= selection.LIMIT_FILES
    if not is_told or any(stamp is not None and not contents.trusted(stamp) for stamp in found):
        # Another write may leave the stamp of what was written just now.
        return secrets.token_bytes(16)
    stamps: list[digest.Framed] = [list(stamp or ()) for stamp in found]
    return digest.digest_of_bytes(said + digest.frame(stamps)).raw


def _read(
    folder: str,
    at: int,
    kept: _Kept,
    tracked: dict[str, str],
    untracked: list[str],
    stamps: Mapping[str, contents.Stamp | None],
    chosen: selection.Settings,
) -> _Kept:
    """What is there now: of files whose stamp is another one, read anew."""
    rows: dict[str, contents.Row] = {}
    left_out: dict[str, list[str]] = {}
    if chosen.fault is not None:
        left_out[chosen.fault] = []
    hidden: list[str] = []
    unfit = [path for path, mode in tracked.items() if mode == _SUBMODULE]
    for path, is_tracked, is_link in _candidates(folder, tracked, untracked, chosen):
        if why := selection.unfit(folder, path, is_link):
            left_out.setdefault(why, []).append(path)
            unfit.append(path)
            continue
        now = stamps[path] if path in stamps else contents.stamp(path, at)
        if now is None:
            continue  # deleted, or a link to a folder
        if why := selection.why_not(path, now[2], is_tracked, chosen):
            left_out.setdefault(why, []).append(path)
            if why == selection.LARGE:
                rows[path] = (now, None)
            elif why == selection.SECRET:
                hidden.append(path)
            continue
        before = kept.rows.get(path)
        if before is not None and before[0] == now and before[1] is not None:
            rows[path] = before
        else:
            try:
                rows[path] = contents.read(os.path.join(folder, path))
            except OSError as error:
                left_out.setdefault(str(error), []).append(path)
                continue
        content = rows[path][1]
        if content is not None and content.objection is not None:
            left_out.setdefault(content.objection, []).append(path)
            hidden.append(path)
            rows[path] = (rows[path][0], None)
    same = {p: r[1] for p, r in rows.items()} == {p: r[1] for p, r in kept.rows.items()}
    return _Kept(
        remote=kept.remote,
        config=kept.config,
        tracked=tracked,
        untracked=untracked,
        rows=rows,
        left_out=[*_told(left_out), *_submodules(tracked)],
        hidden=hidden,
        unfit=unfit,
        state=kept.state if same and kept.state else secrets.token_bytes(16),
        roots=kept.roots if same else {},
        imports=kept.imports,
    )


def _candidates(
    folder: str, tracked: Mapping[str, str], untracked: Sequence[str], chosen: selection.Settings
) -> Iterator[tuple[str, bool, bool]]:
    """(Path, whether it is tracked, whether it is a link) of each file that may be taken, once."""
    for path, mode in tracked.items():
        if mode != _SUBMODULE:
            yield path, True, mode == _LINK
    for path in untracked:
        yield path, False, os.path.islink(os.path.join(folder, path))
    listed = tracked.keys() | set(untracked)
    for pattern in chosen.include:
        for file in sorted(Path(folder).glob(pattern)):
            path = file.relative_to(folder).as_posix()
            if path not in listed and file.is_file():
                listed.add(path)
                yield path, False, file.is_symlink()


def _told(left_out: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for why, paths in left_out.items():
        if not paths:
            yield why
            continue
        shown = ", ".join(path.encode("utf-8", "replace").decode() for path in paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
        yield f"{shown}{more} left out: {why}"


def _submodules(tracked: Mapping[str, str]) -> Iterator[str]:
    for path, mode in tracked.items():
        if mode == _SUBMODULE:
            yield f"{path} left out: it is a repository of its own, which the commit names"


# ── the shelf ────────────────────────────────────────────────────────────────────────────────────


def _from_shelf(folder: str) -> _Kept:
    data = shelf.read(_name(folder))
    try:
        kept = _Kept(*marshal.loads(data)) if data is not None else _Kept()
    except (ValueError, TypeError, EOFError):
        return _Kept()  # what is intact, and yet not ours, is made anew
    # What is kept are plain tuples.
    made = contents.Content._make
    kept.rows = {
        path: (stamp, None if said is None else made(said)) for path, (stamp, said) in kept.rows.items()
    }
    contents.know_imports(kept.imports)
    return kept


def _keep(folder: str, kept: _Kept) -> None:
    rows = {path: (stamp, None if said is None else tuple(said)) for path, (stamp, said) in kept.rows.items()}
    values = [rows if each.name == "rows" else getattr(kept, each.name) for each in dataclasses.fields(_Kept)]
    shelf.write(_name(folder), marshal.dumps(values))


def _name(folder: str) -> str:
    # What marshal writes, only the same Python reads; another form of it is under another name.
    made_of = f"3 {sys.implementation.cache_tag} ".encode() + os.fsencode(folder)
    return f"tree-{digest.digest_of_bytes(made_of).hex}"
