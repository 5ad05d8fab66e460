"""Bundle: the source code that a Run ran, as a tree.

Decides which files belong to it. In it are: of a git work tree, what `selection` takes of all that git lists; the
files that the code's identity covers, the project's loaded modules, whatever those import (found by
reading them, so that a late import is there too), and the project's metadata. A module from elsewhere,
a folder on `sys.path` or an editable install, comes under `@outside/` if one of the others imports it.
Where all that is too much, it is what the code imports alone, and `stands_in` says that commit and diff have to
stand in for the rest. Never in it: Python's and installed packages, whence's own, and what looks secret.

Leaves to others: what of this changes a result (`fingerprint`), whether a function can be made to run again from
it (`entries`), and running it again (`room`).
"""

import functools
import importlib.util
import inspect
import marshal
import operator
import os
import sys
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from whence import contents, environment, selection, worktree
from whence_catalog import digest, errors, manifest
from whence_catalog.blobs import BlobStore
from whence_catalog.digest import Digest

OUTSIDE = "@outside"
OWN_PACKAGES = ("whence", "whence_catalog", "whence_api", "whence_migrations")

_METADATA = ("pyproject.toml", "setup.cfg", "setup.py", "requirements*.txt")
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Bundle:
    """Source files by their path from the project's root, and the digest of the tree that they are.

    `root_digest` is None where there is none, and `because` then says why. `obstacles` are the notes for
    which code restored from this Bundle would not be the code that ran. `stands_in` is whether commit and diff
    have to stand in for source that is too much; `elsewhere` are the files that do not lie at their path, and `made`
    those that lie nowhere. `git` is what git says of the work tree; see `worktree.WorkTree`.
    """

    root: str
    contents: Mapping[str, contents.Content]
    root_digest: Digest | None
    notes: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    because: str | None = None
    stands_in: bool = False
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, bytes] = field(default_factory=dict)
    git: Mapping[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[manifest.Entry, ...]:
        """The entries of the tree."""
        return _entries(self.contents)

    @property
    def files(self) -> Mapping[str, str]:
        """Where each file lies, by its path."""
        return {path: self.file_of(path) for path in self.contents}

    def file_of(self, path: str) -> str:
        """Where the file of that path lies."""
        return self.elsewhere.get(path) or os.path.join(self.root, *path.split("/"))

    def path_of(self, file: str) -> str | None:
        """The path that a file has in it; None where it is not in it."""
        for path, at in self.elsewhere.items():
            if file == at:
                return path
        for candidate in (os.path.abspath(file), os.path.realpath(file)):
            for base in {os.path.abspath(self.root), os.path.realpath(self.root)}:
                path = candidate[len(base) + 1 :].replace(os.sep, "/")
                if candidate.startswith(base + os.sep) and path in self.contents:
                    return path
        return None


def with_made(source: Bundle, made: Mapping[str, bytes]) -> Bundle:
    """`source` with files that lie nowhere beside it."""
    if source.root_digest is None or not made:
        return source
    everything = {**source.contents, **{path: contents.of_bytes(data) for path, data in made.items()}}
    root_digest = manifest.build(_entries(everything), manifest.BUNDLE).root
    return replace(source, contents=everything, root_digest=root_digest, made=made)


_bundles: dict[object, tuple[Bundle, Mapping[str, contents.Stamp]]] = {}


def collect(
    root: Path, files: Mapping[str, str], entry_module_file: str | None, limit_bytes: int | None = None
) -> Bundle:
    """The source as loaded now. `files` are those that the code's identity covers, by path from `root`.

    It raises nothing for what the project looks like: what could not be taken is in the notes. The same
    call again costs one `stat` for each file, as long as no file and no set of loaded modules changed.

    Args:
        limit_bytes: how much it may be; as the project's settings say unless given.
    """
    tree = worktree.of(root)
    loaded = _loaded_files()
    covered = tuple(sorted(files.items()))
    told = (tree.state, tree.left_out, tuple(tree.facts.items())) if tree is not None else None
    key = (root, covered, entry_module_file, limit_bytes, frozenset(loaded), tuple(sys.path), told)
    known, stamps = _bundles.get(key, (None, {}))
    if known is not None and all(contents.stamp(file) == stamp for file, stamp in stamps.items()):
        return known
    chosen = selection.settings(root)
    limit = chosen.limit_bytes if limit_bytes is None else limit_bytes
    found = _Collection(root, loaded, {} if tree is None else tree.contents)
    found.gather(files, entry_module_file, chosen)
    if tree is None or (not tree.is_too_many and tree.size_bytes + found.size_bytes <= limit):
        bundle = found.bundle(limit, tree)
    else:
        alone = _Collection(root, loaded, {})
        alone.gather(files, entry_module_file, chosen)
        bundle = alone.part(limit, tree)
        found = alone
    if tree is not None:
        bundle = replace(bundle, git=tree.facts)
    if len(_bundles) >= _REMEMBERED:
        _bundles.clear()
    _bundles[key] = (bundle, found.stamps)
    return bundle


def store(bundle: Bundle, blobs: BlobStore) -> Digest:
    """The digest of the Bundle, once all of it is in `blobs`.

    Where a file changed after it was collected, its bytes of now are stored, and the digest is theirs; where it
    was deleted, it is not in it.

    Raises:
        InvalidInput: for a Bundle without a digest.
        Conflict, NotReady: as `BlobStore.put_file`.
    """
    if bundle.root_digest is None:
        raise errors.InvalidInput(f"this bundle cannot be stored: {bundle.because}")
    if not blobs.missing([bundle.root_digest]):  # written last: where it is, the rest is
        return bundle.root_digest
    found = {entry.path: entry for entry in bundle.entries}
    absent = blobs.missing(entry.digest for entry in found.values() if entry.digest)
    wanted = [path for path, entry in found.items() if entry.digest in absent]
    files = {path: bundle.file_of(path) for path in wanted}
    for path in bundle.made.keys() & files.keys():
        blobs.put_bytes(bundle.made[path])
        del files[path]
    for path in [path for path in files if not os.path.isfile(files[path])]:
        del found[path], files[path]
    for (path, file), stored in zip(files.items(), blobs.put_files(list(files.values())), strict=True):
        bit = bool(os.stat(file).st_mode & 0o100)
        found[path] = manifest.Entry(path, "f", stored.size_bytes, stored.digest, bit)
    tree = manifest.build(found.values(), manifest.BUNDLE)
    blobs.put_nodes(tree)
    return tree.root


def _entries(found: Mapping[str, contents.Content]) -> tuple[manifest.Entry, ...]:
    return tuple(
        manifest.Entry(path, "f", each.size_bytes, Digest.of(each.raw), each.executable)
        for path, each in sorted(found.items())
    )


# ── collecting ───────────────────────────────────────────────────────────────────────────────────


class _Collection:
    """The files found so far; each one that is added brings what it imports.

    What is in `taken` is in the tree already, and brings what it imports all the same.
    """

    def __init__(self, root: Path, loaded: Mapping[str, str], taken: Mapping[str, contents.Content]) -> None:
        self.stamps: dict[str, contents.Stamp] = {}
        self._root = root
        self._taken = taken
        self._files: dict[str, str] = {}
        self._found: dict[str, contents.Content] = {}
        self._seen: set[str] = set()
        self._notes: list[str] = []
        self._obstacles: list[str] = []
        self._searched: set[str] = set()
        self._bases = tuple({os.path.abspath(root) + os.sep: None, os.path.realpath(root) + os.sep: None})
        self._loaded = loaded
        self._packages: dict[str, list[str]] = {}
        for name in loaded:
            self._packages.setdefault(name.partition(".")[0], []).append(name)
        search = dict.fromkeys(os.path.abspath(entry) for entry in (str(root), *sys.path))
        self._search = [folder for folder in search if not environment.is_installed(folder + os.sep)]

    @property
    def size_bytes(self) -> int:
        """Of what is not in the tree already."""
        return sum(content.size_bytes for content in self._found.values())

    def gather(
        self, files: Mapping[str, str], entry_module_file: str | None, chosen: selection.Settings
    ) -> None:
        """Take what is covered, the entry, what is loaded and declared, and the metadata."""
        for path, file in files.items():
            self.add(self.place(file, path), file)
        if entry_module_file is not None:
            file = entry_module_file
            self.add(self.place(file, f"{OUTSIDE}/{os.path.basename(file)}"), file)
        for file in self._loaded.values():
            if path := self.place(file, ""):
                self.add(path, file)
        for pattern in _METADATA:
            for each in sorted(self._root.glob(pattern)):
                self.add(each.name, str(each))
        for pattern in chosen.include:
            for each in sorted(self._root.glob(pattern)):
                self.add(self.place(str(each), each.name), str(each), is_declared=True)
        if chosen.fault is not None:
            self._notes.append(chosen.fault)

    def place(self, file: str, otherwise: str) -> str:
        """The path of `file` from the root; `otherwise` where it is not under the root."""
        for candidate in (os.path.abspath(file), os.path.realpath(file)):
            for base in self._bases:
                if candidate.startswith(base):
                    return candidate[len(base) :].replace(os.sep, "/")
        return otherwise

    def add(self, path: str, file: str, is_declared: bool = False) -> None:
        """Take `file` under `path`, and what it imports."""
        waiting = [(path, file)]
        while waiting:
            path, file = waiting.pop()
            if path not in self._seen and not is_foreign(file):
                self._seen.add(path)
                if self._take(path, file, is_declared):
                    waiting.extend(self._imported(path, file))

    def bundle(self, limit_bytes: int, tree: worktree.WorkTree | None) -> Bundle:
        """What was found with all of the work tree, as one tree."""
        self._look_for_edits()
        if tree is not None:
            self._notes += tree.left_out
        elif worktree.is_in_repository(self._root):
            self._notes.append(
                "git did not say what is in the work tree: only what the code imports was taken"
            )
        if self.size_bytes > limit_bytes:
            return self._too_large(self.size_bytes, limit_bytes, stands_in=False)
        everything = {**self._taken, **self._found}
        if tree is None:
            return self._made(everything, manifest.build(_entries(everything), manifest.BUNDLE).root)
        rows: list[digest.Framed] = [
            [path, each.raw, each.executable] for path, each in sorted(self._found.items())
        ]
        others = digest.digest_of_bytes(digest.frame(rows)).raw
        root_digest = tree.root_of(others)
        if root_digest is None:
            root_digest = manifest.build(_entries(everything), manifest.BUNDLE).root
            tree.remember(
                others, root_digest, [everything[path].raw for path in self._seen & everything.keys()]
            )
        return self._made(everything, root_digest)

    def part(self, limit_bytes: int, tree: worktree.WorkTree) -> Bundle:
        """What was found, without the rest of a work tree that is too much."""
        self._look_for_edits()
        much = f"is {tree.size_bytes:,} bytes of source, more than the limit of {limit_bytes:,}"
        many = f"has {tree.files:,} files, more than the limit of {selection.LIMIT_FILES:,}"
        told = f"the work tree {many if tree.is_too_many else much}"
        rest = (
            f"commit {tree.facts['commit']} and a diff stand" if "commit" in tree.facts else "a diff stands"
        )
        if self.size_bytes > limit_bytes:
            self._notes.append(f"{rest} in for it")
            return self._too_large(self.size_bytes, limit_bytes, stands_in=True)
        self._notes.append(f"{told}: what the code imports was taken, and {rest} in for the rest")
        root_digest = manifest.build(_entries(self._found), manifest.BUNDLE).root
        return self._made(self._found, root_digest, stands_in=True)

    def _made(
        self, everything: Mapping[str, contents.Content], root_digest: Digest, stands_in: bool = False
    ) -> Bundle:
        notes, obstacles = (*self._notes, *self._obstacles), tuple(self._obstacles)
        elsewhere = self._elsewhere()
        return Bundle(str(self._root), everything, root_digest, notes, obstacles, None, stands_in, elsewhere)

    def _too_large(self, size_bytes: int, limit_bytes: int, stands_in: bool) -> Bundle:
        because = f"the source is {size_bytes:,} bytes, more than the limit of {limit_bytes:,}"
        notes, obstacles = (*self._notes, *self._obstacles, because), tuple(self._obstacles)
        return Bundle(
            str(self._root), self._found, None, notes, obstacles, because, stands_in, self._elsewhere()
        )

    def _elsewhere(self) -> Mapping[str, str]:
        return {
            path: file
            for path, file in self._files.items()
            if os.path.abspath(file) != os.path.join(os.path.abspath(self._root), *path.split("/"))
        }

    def _look_for_edits(self) -> None:
        for name, file in self._loaded.items():
            path = self.place(file, "")
            if not file.endswith(".py") or (file not in self.stamps and path not in self._taken):
                continue
            if _is_edited(sys.modules.get(name), file):
                self._obstacles.append(f"module {name} differs from its file (edited after import)")

    def _take(self, path: str, file: str, is_declared: bool) -> bool:
        if path in self._taken:
            return True
        if not is_declared and selection.is_secret(path, is_tracked=False):
            return self._leave_out(path, "its name says that it holds secrets")
        try:
            manifest.check_path(path)
            stamp, content = contents.of(file)
        except (OSError, errors.InvalidInput) as error:
            return self._leave_out(path, str(error))
        if content.objection is not None and not is_declared:
            return self._leave_out(path, content.objection)
        self._files[path], self.stamps[file], self._found[path] = file, stamp, content
        return True

    def _leave_out(self, path: str, why: str) -> bool:
        is_needed = path.endswith(".py") and path != "setup.py"
        told = self._obstacles if is_needed else self._notes
        told.append(f"{path} was left out: {why}")
        return False

    def _imported(self, path: str, file: str) -> Iterator[tuple[str, str]]:
        content = self._found.get(path) or self._taken[path]
        for level, module, names in contents.imports(file, content):
            wanted = dict.fromkeys((module, *(f"{module}.{name}".lstrip(".") for name in names)))
            if level == 0:
                for name in wanted:
                    yield from self._find(name)
            else:
                at = path.split("/")[:-level]
                folder = os.path.normpath(os.path.join(file, *[".."] * level))
                for name in wanted:
                    yield from _files_of(folder, name.split(".") if name else [], at)

    def _find(self, name: str) -> Iterator[tuple[str, str]]:
        """The files of module `name` and of the packages around it, if they are somebody's source."""
        if name in self._searched:
            return
        self._searched.add(name)
        parts = name.split(".")
        for each in self._packages.pop(parts[0], ()):
            file = self._loaded[each]
            inner = (
                each.split(".") if os.path.basename(file).startswith("__init__.") else each.split(".")[:-1]
            )
            yield self.place(file, "/".join([OUTSIDE, *inner, os.path.basename(file)])), file
        for folder in self._search:
            if found := list(_files_of(folder, parts, [OUTSIDE])):
                yield from ((self.place(file, path), file) for path, file in found)
                return


def _files_of(folder: str, parts: Sequence[str], at: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The file of the module `parts` under `folder`, and the `__init__.py` of each package on the way."""
    for depth in range(len(parts) + 1):
        inner = parts[:depth]
        package = os.path.join(folder, *inner, "__init__.py")
        if (depth or at[-1:] != [OUTSIDE]) and os.path.isfile(package):
            yield "/".join([*at, *inner, "__init__.py"]), package
        elif inner and os.path.isfile(file := os.path.join(folder, *inner) + ".py"):
            yield "/".join([*at, *inner]) + ".py", file


# The modules that were loaded when somebody asked last, and the answer.
_asked: tuple[dict[str, types.ModuleType], dict[str, str]] = ({}, {})


def _loaded_files() -> Mapping[str, str]:
    """The loaded modules that are somebody's source, with their files.

    There are hundreds of others, so they are looked at again only once they are not the same any more.
    """
    global _asked
    modules = dict(sys.modules)
    before, found = _asked
    if modules.keys() == before.keys() and all(map(operator.is_, modules.values(), before.values())):
        return found
    found = {}
    for name, module in modules.items():
        # Not getattr: a lazy module would import something to answer.
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and not is_foreign(file):
            found[name] = file
    _asked = (modules, found)
    return found


@functools.cache
def is_foreign(file: str) -> bool:
    """Whether `file` is Python's, an installed package's or whence's own, or no file at all."""
    at = os.path.abspath(file)
    return environment.is_installed(at) or is_own(at) or not os.path.isfile(at)


def is_own(file: str) -> bool:
    """Whether `file` is in one of whence's own packages."""
    return file.startswith(_own_folders())


@functools.cache
def _own_folders() -> tuple[str, ...]:
    folders = []
    for name in OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        folders += list(spec.submodule_search_locations or ()) if spec is not None else []
    return tuple(folder + os.sep for folder in folders)


# ── what ran, and what the file says ─────────────────────────────────────────────────────────────


@functools.cache
def _process_start() -> float:
    """When this process began; the beginning of time where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return 0.0
    return time.time() - age - 1.0  # a second for coarse file times


def _is_edited(module: types.ModuleType | None, file: str) -> bool:
    """Whether a file that changed while the process ran compiles to other code than was loaded from it.

    Functions are compared with those that are loaded, and the whole with the code that Python cached
    when it imported the module; without that cache, a changed constant goes unseen.
    """
    try:
        if module is None or os.stat(file).st_mtime <= _process_start():
            return False
        compiled = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return True
    now: dict[str, list[types.CodeType]] = {}
    for code in codes(compiled):
        now.setdefault(code.co_qualname, []).append(code)
    for value in list(vars(module).values()):
        function = inspect.unwrap(value) if isinstance(value, types.FunctionType) else None
        if isinstance(function, types.FunctionType) and function.__code__.co_filename == file:
            same = now.get(function.__code__.co_qualname, ())
            if not any(alike(function.__code__, code) for code in same):
                return True
    try:
        cached = Path(module.__dict__["__cached__"]).read_bytes()
        return not alike(marshal.loads(cached[16:]), compiled)
    except (OSError, KeyError, TypeError, ValueError, EOFError):
        return False


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """`code`, and all that it holds."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def alike(one: object, other: object) -> bool:
    """Whether two constants or two pieces of code are the same but for where they stand."""
    if not isinstance(one, types.CodeType) or not isinstance(other, types.CodeType):
        return type(one) is type(other) and (one == other or repr(one) == repr(other))
    facts = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_flags")
    return (
        all(getattr(one, fact) == getattr(other, fact) for fact in facts)
        and len(one.co_consts) == len(other.co_consts)
        and all(map(alike, one.co_consts, other.co_consts))
    )
