"""Bundle: the source code that a Run ran, as a tree.

Decides which files belong to it, and whether a function can be made to run again from them. In it are:
the files that the code's identity covers, the project's loaded modules, whatever those import (found by
reading them, so that a late import is there too), and the project's metadata. A module from elsewhere,
a folder on `sys.path` or an editable install, comes under `@outside/` if one of the others imports it.
Never in it: Python's and installed packages, whence's own, and files whose name says that they are secret.

Leaves to others: what of this changes a result (`fingerprint`), and running it again (`room`).
"""

import ast
import fnmatch
import functools
import importlib.util
import inspect
import marshal
import operator
import os
import re
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whence import environment
from whence_catalog import digest, errors, manifest
from whence_catalog.blobs import BlobStore
from whence_catalog.digest import Digest

OUTSIDE = "@outside"
OWN_PACKAGES = ("whence", "whence_catalog", "whence_api", "whence_migrations")
LIMIT_BYTES = 64 << 20

_METADATA = ("pyproject.toml", "setup.cfg", "setup.py", "requirements*.txt")
_SECRET = (".env*", "*.pem", "*key*", "credentials*")
# A module is code whatever it is called, and the rest may import it: only names that mean the secret itself.
_SECRET_MODULE = re.compile(
    r"(.*[._-])?(credentials?|secrets?|passwords?|(api|access|private|secret)_?keys?)\.py", re.IGNORECASE
)
_PASSWORD_IN_URL = re.compile(rb"://[^/\s@$]*:[^/\s@$]+@")
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Bundle:
    """Source files by their path from the project's root, and the digest of the tree that they are.

    `root_digest` is None where there is none, and `because` then says why. `obstacles` are the notes for
    which code restored from this Bundle would not be the code that ran.
    """

    entries: tuple[manifest.Entry, ...]
    root_digest: Digest | None
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    because: str | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """A file as it was read; `imports` are (level, module, names) of its import statements."""

    size_bytes: int
    digest: Digest
    is_executable: bool
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]
    has_password: bool


_Stamp = tuple[int, int, int]
_sources: dict[tuple[str, _Stamp], _Source] = {}
_bundles: dict[object, tuple[Bundle, Mapping[str, _Stamp]]] = {}


def collect(
    root: Path, files: Mapping[str, str], entry_module_file: str | None, limit_bytes: int = LIMIT_BYTES
) -> Bundle:
    """The source as loaded now. `files` are those that the code's identity covers, by path from `root`.

    It raises nothing for what the project looks like: what could not be taken is in the notes. The same
    call again costs one `stat` for each file, as long as no file and no set of loaded modules changed.
    """
    loaded = _loaded_files()
    covered = tuple(sorted(files.items()))
    key = (root, covered, entry_module_file, limit_bytes, frozenset(loaded), tuple(sys.path))
    known, stamps = _bundles.get(key, (None, {}))
    if known is not None and all(_stamp(file) == stamp for file, stamp in stamps.items()):
        return known
    found = _Collection(root, loaded)
    for path, file in files.items():
        found.add(found.place(file, path), file)
    if entry_module_file is not None:
        file = entry_module_file
        found.add(found.place(file, f"{OUTSIDE}/{os.path.basename(file)}"), file)
    for file in loaded.values():
        if path := found.place(file, ""):
            found.add(path, file)
    for pattern in _METADATA:
        for each in sorted(root.glob(pattern)):
            found.add(each.name, str(each))
    bundle = found.bundle(limit_bytes)
    if len(_bundles) >= _REMEMBERED:
        _bundles.clear()
    _bundles[key] = (bundle, found.stamps)
    return bundle


def store(bundle: Bundle, blobs: BlobStore) -> Digest:
    """The digest of the Bundle, once all of it is in `blobs`.

    Where a file changed after it was collected, its bytes of now are stored, and the digest is theirs.

    Raises:
        InvalidInput: for a Bundle without a digest.
        NotFound, Conflict, NotReady: as `BlobStore.put_file`.
    """
    if bundle.root_digest is None:
        raise errors.InvalidInput(f"this bundle cannot be stored: {bundle.because}")
    if not blobs.missing([bundle.root_digest]):  # written last: where it is, the rest is
        return bundle.root_digest
    missing = blobs.missing(entry.digest for entry in bundle.entries if entry.digest)
    entries = []
    for entry in bundle.entries:
        if entry.digest in missing:
            stored = blobs.put_file(bundle.files[entry.path])
            entry = replace(entry, digest=stored.digest, size_bytes=stored.size_bytes)
        entries.append(entry)
    tree = manifest.build(entries, manifest.BUNDLE)
    blobs.put_nodes(tree)
    return tree.root


# ── collecting ───────────────────────────────────────────────────────────────────────────────────


class _Collection:
    """The files found so far; each one that is added brings what it imports."""

    def __init__(self, root: Path, loaded: Mapping[str, str]) -> None:
        self.stamps: dict[str, _Stamp] = {}
        self._files: dict[str, str] = {}
        self._found: dict[str, _Source] = {}
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

    def place(self, file: str, otherwise: str) -> str:
        """The path of `file` from the root; `otherwise` where it is not under the root."""
        for candidate in (os.path.abspath(file), os.path.realpath(file)):
            for base in self._bases:
                if candidate.startswith(base):
                    return candidate[len(base) :].replace(os.sep, "/")
        return otherwise

    def add(self, path: str, file: str) -> None:
        """Take `file` under `path`, and what it imports."""
        waiting = [(path, file)]
        while waiting:
            path, file = waiting.pop()
            if path not in self._files and not _is_foreign(file) and self._take(path, file):
                waiting.extend(self._imported(path, file))

    def bundle(self, limit_bytes: int) -> Bundle:
        """What was found, as one tree."""
        for name, file in self._loaded.items():
            if file in self.stamps and file.endswith(".py") and _is_edited(sys.modules.get(name), file):
                self._obstacles.append(f"module {name} differs from its file (edited after import)")
        entries = tuple(
            manifest.Entry(path, "f", source.size_bytes, source.digest, source.is_executable)
            for path, source in sorted(self._found.items())
        )
        size_bytes = sum(entry.size_bytes for entry in entries)
        notes, obstacles = (*self._notes, *self._obstacles), tuple(self._obstacles)
        if size_bytes > limit_bytes:
            because = f"the source is {size_bytes:,} bytes, more than the limit of {limit_bytes:,}"
            return Bundle(entries, None, self._files, (*notes, because), obstacles, because)
        root_digest = manifest.build(entries, manifest.BUNDLE).root
        return Bundle(entries, root_digest, self._files, notes, obstacles)

    def _take(self, path: str, file: str) -> bool:
        try:
            manifest.check_path(path)
            stamp = _stamp(file)
            source = _sources.get((file, stamp)) or _read(file)
        except (OSError, errors.InvalidInput) as error:
            return self._leave_out(path, str(error))
        if _is_secret(path):
            return self._leave_out(path, "its name says that it holds secrets")
        if source.has_password and not path.endswith(".py"):
            return self._leave_out(path, "an address in it holds a password")
        _sources[file, stamp] = source
        self._files[path], self.stamps[file], self._found[path] = file, stamp, source
        return True

    def _leave_out(self, path: str, why: str) -> bool:
        is_needed = path.endswith(".py") and path != "setup.py"
        told = self._obstacles if is_needed else self._notes
        told.append(f"{path} was left out: {why}")
        return False

    def _imported(self, path: str, file: str) -> Iterator[tuple[str, str]]:
        for level, module, names in self._found[path].imports:
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
        if isinstance(file, str) and not _is_foreign(file):
            found[name] = file
    _asked = (modules, found)
    return found


@functools.cache
def _is_foreign(file: str) -> bool:
    """Whether `file` is Python's, an installed package's or whence's own, or no file at all."""
    at = os.path.abspath(file)
    return environment.is_installed(at) or _is_own(at) or not os.path.isfile(at)


def _is_own(file: str) -> bool:
    return file.startswith(_own_folders())


@functools.cache
def _own_folders() -> tuple[str, ...]:
    folders = []
    for name in OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        folders += list(spec.submodule_search_locations or ()) if spec is not None else []
    return tuple(folder + os.sep for folder in folders)


def _is_secret(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    if name.endswith(".py"):
        return name.startswith(".env") or _SECRET_MODULE.fullmatch(name) is not None
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _SECRET)


def _stamp(file: str) -> _Stamp:
    try:
        found = os.stat(file)
    except OSError:
        return (0, -1, 0)
    return (found.st_mtime_ns, found.st_size, found.st_mode & 0o100)


def _read(file: str) -> _Source:
    data = Path(file).read_bytes()
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    if file.endswith(".py"):
        try:
            tree = ast.parse(data)
        except (SyntaxError, ValueError):
            tree = ast.Module([], [])  # it is covered, but not Python of this version: it names nothing
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imports += [(0, each.name, ()) for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                imports.append((node.level, node.module or "", tuple(each.name for each in node.names)))
    is_executable = bool(os.stat(file).st_mode & 0o100)
    has_password = _PASSWORD_IN_URL.search(data) is not None
    return _Source(len(data), digest.digest_of_bytes(data), is_executable, tuple(imports), has_password)


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
    for code in _codes(compiled):
        now.setdefault(code.co_qualname, []).append(code)
    for value in list(vars(module).values()):
        function = inspect.unwrap(value) if isinstance(value, types.FunctionType) else None
        if isinstance(function, types.FunctionType) and function.__code__.co_filename == file:
            same = now.get(function.__code__.co_qualname, ())
            if not any(_alike(function.__code__, code) for code in same):
                return True
    try:
        cached = Path(module.__dict__["__cached__"]).read_bytes()
        return not _alike(marshal.loads(cached[16:]), compiled)
    except (OSError, KeyError, TypeError, ValueError, EOFError):
        return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _alike(one: object, other: object) -> bool:
    """Whether two constants or two pieces of code are the same but for where they stand."""
    if not isinstance(one, types.CodeType) or not isinstance(other, types.CodeType):
        return type(one) is type(other) and (one == other or repr(one) == repr(other))
    facts = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_flags")
    return (
        all(getattr(one, fact) == getattr(other, fact) for fact in facts)
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_alike, one.co_consts, other.co_consts))
    )


# ── whether it can be made to run again ──────────────────────────────────────────────────────────


def rerunnable(function: Callable[..., object], root: Path, bundle: Bundle) -> tuple[bool, str | None]:
    """Whether `function` can be called again from `bundle`, and if not, why not.

    It can, if it can be reached by importing a file of the Bundle, if the code there is what ran, and if
    importing that file runs no step. The last is judged on the statements that an import executes, so
    not on function bodies nor on what stands under `if __name__ == "__main__"`: none may call a step, or
    hand one to a call, or use a whence client, or call a function of the source that does so in turn.
    """
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    qualname = str(getattr(function, "__qualname__", function))
    if not isinstance(function, types.FunctionType) or not isinstance(code, types.CodeType):
        return False, f"{qualname} is not a Python function"
    if "<locals>" in qualname or "<lambda>" in qualname:
        return (
            False,
            f"{qualname} is made inside a function, so that no import reaches it; move it to its module",
        )
    taken = {file: path for path, file in bundle.files.items()}
    path = taken.get(code.co_filename) or taken.get(os.path.realpath(code.co_filename))
    if path is None and not os.path.isfile(code.co_filename):
        return False, f"{qualname} was typed into a session; no file holds it"
    if bundle.root_digest is None:
        return False, bundle.because
    if path is None:
        return False, f"{code.co_filename} is not among the recorded source"
    if bundle.obstacles:
        return False, "; ".join(bundle.obstacles)
    if called := _called_at_import(code.co_filename, function):
        return False, (
            f"importing {path} would run the whole pipeline again, since it calls {called}; "
            'put that under if __name__ == "__main__":'
        )
    return True, None


def _called_at_import(file: str, function: types.FunctionType) -> str | None:
    """What an import of `file` would call that is, or leads to, a step."""
    names = function.__globals__
    try:
        calls = _calls_at_import(file, _stamp(file))
    except (OSError, SyntaxError, ValueError):
        return "what could not be read"
    for node in calls:
        if _leads_to_step(_named(node.func, names), function, set()):
            return ast.unparse(node.func) + "()"
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if _is_step(_named(argument, names), function):
                return f"{ast.unparse(node.func)}({ast.unparse(argument)})"
    return None


@functools.lru_cache(maxsize=64)
def _calls_at_import(file: str, stamp: _Stamp) -> tuple[ast.Call, ...]:
    body = ast.parse(Path(file).read_bytes()).body
    return tuple(node for node in _executed(body) if isinstance(node, ast.Call))


def _executed(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What runs when a module is imported: no bodies of functions, nothing under the guard, no decorators."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _executed([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        elif isinstance(node, ast.ClassDef):
            yield from _executed(node.body)
        elif isinstance(node, ast.If) and "'__main__'" in ast.unparse(node.test):
            yield from _executed(node.orelse)
        elif not isinstance(node, ast.Lambda):
            yield node
            yield from _executed(ast.iter_child_nodes(node))


def _named(node: ast.expr, names: Mapping[str, object]) -> object:
    """What a name or a dotted name stands for; beyond modules, the thing that an attribute is asked of."""
    if isinstance(node, ast.Attribute):
        owner = _named(node.value, names)
        return vars(owner).get(node.attr) if isinstance(owner, types.ModuleType) else owner
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _is_step(value: object, function: types.FunctionType) -> bool:
    """Whether it is `function`, or something of whence's: a step, a client, a Run."""
    if isinstance(value, types.FunctionType):
        inner = inspect.unwrap(value)
        return inner is function or (inner is not value and _is_own(value.__code__.co_filename))
    is_instance = not isinstance(value, (type, types.ModuleType))
    return is_instance and type(value).__module__.partition(".")[0] in OWN_PACKAGES


def _leads_to_step(value: object, function: types.FunctionType, seen: set[object]) -> bool:
    if _is_step(value, function):
        return True
    if not isinstance(value, types.FunctionType) or value in seen or _is_foreign(value.__code__.co_filename):
        return False
    seen.add(value)
    used = {name for code in _codes(value.__code__) for name in code.co_names}
    found = [value.__globals__.get(name) for name in used]
    found += [vars(each).get(name) for each in found if isinstance(each, types.ModuleType) for name in used]
    return any(_leads_to_step(each, function, seen) for each in found)
