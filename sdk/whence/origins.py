"""Origins: whose code something is, and what names it the same in every process.

Decides whether a file or module is the project's own, Python's, an installed distribution's or whence's;
how the project's modules are called, however they were loaded; and what stands for a distribution in the
code's identity. Leaves to others: which code is reached (`fingerprint`), and what a Run's environment was
(`environment`).
"""

from __future__ import annotations

import enum
import functools
import glob
import importlib.util
import json
import os
import pathlib
import re
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from whence_catalog import digest, later

if TYPE_CHECKING:
    from importlib import metadata
else:
    metadata = later.Later("importlib.metadata")

DOMAIN = "whence.code/1"
# whence's own packages: never covered, bundled or widened to.
OWN_PACKAGES = frozenset({"whence", "whence_catalog", "whence_api", "whence_migrations"})
# As they are called where they are installed: a new version of whence changes nobody's code.
OWN_DISTRIBUTIONS = frozenset({"whence", "whence-catalog", "whence-api"})
MAIN_MODULES = frozenset({"__main__", "__mp_main__"})

_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", ".whence")
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_INSTALLED = ("site-packages", "dist-packages")
_INFO_FOLDERS = ("*.dist-info", "*.egg-info")
_STANDARD = tuple(os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in ("stdlib", "platstdlib"))
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


class Origin(enum.Enum):
    """Whose code it is."""

    PROJECT = "project"
    STANDARD = "std"
    DISTRIBUTION = "distribution"
    WHENCE = "whence"


@functools.cache
def of_file(path: str) -> Origin:
    """Whose file it is. What is neither Python's nor installed is the project's: editable installs too."""
    real = os.path.realpath(path)
    parts = real.split(os.sep)
    if any(name in parts for name in _INSTALLED):
        own = any(parts[parts.index(name) + 1] in OWN_PACKAGES for name in _INSTALLED if name in parts[:-1])
        return Origin.WHENCE if own else Origin.DISTRIBUTION
    if real.startswith(_STANDARD):
        return Origin.STANDARD
    if any(real.startswith(folder) for folder in own_folders()):
        return Origin.WHENCE
    return Origin.PROJECT


@functools.cache
def own_folders() -> tuple[str, ...]:
    """The folders of whence's own packages, each with a separator at its end."""
    found = []
    for name in sorted(OWN_PACKAGES):
        for folder in getattr(sys.modules.get(name), "__path__", ()):
            found.append(os.path.realpath(folder) + os.sep)
    return tuple(found)


def of_module(name: str) -> Origin:
    """Whose module it is, by its name in this process."""
    top = name.partition(".")[0]
    module = sys.modules.get(name)
    if top in OWN_PACKAGES:
        return Origin.WHENCE
    file = file_of(module)
    if file is not None:
        return of_file(file)
    if name in MAIN_MODULES:
        return Origin.PROJECT
    for folder in getattr(module, "__path__", ()):  # a namespace package has folders and no file
        return of_file(os.path.join(folder, "__init__.py"))
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return Origin.STANDARD
    if top != name and top in sys.modules:
        return of_module(top)
    return Origin.PROJECT


@functools.lru_cache(maxsize=4096)
def real_path(file: str) -> str:
    """`os.path.realpath`, which asks the file system about every folder on the way, once."""
    return os.path.realpath(file)


def file_of(module: types.ModuleType | None) -> str | None:
    """The file that a module was loaded from, if it has one."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def project_folders() -> tuple[str, ...]:
    """The folders on `sys.path` that are the project's, or its editable installs'."""
    return _project_folders(tuple(sys.path), current_folder())


def current_folder() -> str:
    """The working folder; empty where it has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


@functools.lru_cache(maxsize=8)
def _project_folders(path: tuple[str, ...], current: str) -> tuple[str, ...]:
    # Without a working folder, a relative entry leads nowhere.
    led = (entry or current for entry in path)
    real = (os.path.realpath(entry) for entry in led if current or os.path.isabs(entry))
    return tuple(folder for folder in real if of_file(os.path.join(folder, "_.py")) is Origin.PROJECT)


def root_of(file: str | None) -> pathlib.Path:
    """The folder of the project that a file belongs to: the nearest one upwards that looks like one.

    Of what is in no file, such as a notebook's cell: that of the working folder.
    """
    is_there = file is not None and os.path.exists(file)
    return root_around(
        pathlib.Path(file).resolve().parent if file is not None and is_there else pathlib.Path.cwd()
    )


def root_around(folder: pathlib.Path) -> pathlib.Path:
    """The folder of the project that `folder` lies in: itself, where none upwards looks like one."""
    for candidate in (folder, *folder.parents):
        if any(os.path.exists(f"{candidate}{os.sep}{marker}") for marker in _MARKERS):
            return candidate
    return folder


def is_of_project(top: str) -> bool:
    """Whether importing `top` would load something of the project's, a folder without code included."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    if spec.origin is None:
        return any(
            of_file(os.path.join(folder, "_.py")) is Origin.PROJECT
            for folder in spec.submodule_search_locations or ()
        )
    return of_file(spec.origin) is Origin.PROJECT


def module_name(namespace: Mapping[str, object], root: str) -> str:
    """What a module is called in every process: its path from the project's root, where it is under it.

    `python pipeline.py` loads `__main__`, a worker `__mp_main__`, a test perhaps `project.pipeline`: they
    are one module. Elsewhere, the name that it was imported by.
    """
    name, file = str(namespace.get("__name__", "")), namespace.get("__file__")
    if isinstance(file, str):
        real = real_path(file)
        if real.startswith(root + os.sep):
            return _dotted(os.path.relpath(real, root), root)
        if name in MAIN_MODULES:
            spec = getattr(namespace.get("__spec__"), "name", None)
            return spec if isinstance(spec, str) else os.path.splitext(os.path.basename(real))[0]
    return "__main__" if name in MAIN_MODULES else name


def _dotted(path: str, root: str) -> str:
    parts = os.path.splitext(path)[0].split(os.sep)
    # The layout with `src/` puts a folder on sys.path that is no package and in no import.
    if len(parts) > 1 and parts[0] == "src" and not os.path.exists(os.path.join(root, "src", "__init__.py")):
        parts = parts[1:]
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def standard_name(module: str, qualname: str) -> str:
    """The public name of something of Python's: `pathlib.Path` on every version, not `pathlib._local`."""
    top, *rest = module.split(".")
    return ".".join([top, *(part for part in rest if not part.startswith("_")), qualname])


def module_files(folder: str, parts: Sequence[str]) -> list[str]:
    """The files that importing `parts` from `folder` runs: each package's own, then the module's."""
    found = []
    for end in range(len(parts) + 1):
        base = os.path.join(folder, *parts[:end])
        candidates = [os.path.join(base, "__init__.py")] if end or not parts else []
        for path in (f"{base}.py", *candidates) if end else candidates:
            if os.path.isfile(path):
                found.append(path)
    return found


def python_files(root: str) -> Iterator[str]:
    """Every Python file of a project: nothing hidden, installed, generated, or whence's own."""
    own = own_folders()
    for folder, names, files in os.walk(root):
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".")
            and name not in _SKIPPED_FOLDERS
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
            and not (os.path.realpath(os.path.join(folder, name)) + os.sep).startswith(own)
        )
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))


def installed(path: tuple[str, ...]) -> Iterator[str]:
    """Every installed distribution, as its name and version, in order."""
    found = set()
    for entry in path:
        for folder in _INFO_FOLDERS:
            for item in glob.iglob(os.path.join(glob.escape(entry or "."), folder)):
                distribution = metadata.Distribution.at(pathlib.Path(item))
                name = distribution.metadata["Name"]
                if name and _canonical(name) not in OWN_DISTRIBUTIONS:
                    found.add(f"{_canonical(name)} {distribution.version}")
    yield from sorted(found)


class UnknownDistribution(Exception):
    """A module that is installed and that no distribution lays claim to."""


@functools.cache
def distribution_rows(top: str) -> Mapping[str, bytes]:
    """A row for each distribution that provides the package `top`, and for all that they require.

    Raises:
        UnknownDistribution: the package is there, but which version of it is not known.
    """
    names = _providers(top)
    if not names:
        if _is_present(top):
            raise UnknownDistribution(f"{top} is installed without the metadata that would say its version")
        # Code that tries an import does something else once it succeeds.
        return {f"absent {top}": digest.raw_digest_of(DOMAIN, "absent", top)}
    rows: dict[str, bytes] = {}
    todo = [(name, frozenset[str]()) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found = _distribution(name)
        if found is None:
            continue
        row = _row(found)
        if row is not None:
            rows[f"distribution {name}"] = row
        todo += _requirements(found, extras)
    return rows


def _providers(top: str) -> list[str]:
    # Asking one distribution is a hundred times cheaper than indexing all of them.
    found = _distribution(_canonical(top))
    if found is not None and any(file.parts[0] in (top, f"{top}.py") for file in found.files or ()):
        return [_canonical(top)]
    return sorted({_canonical(name) for name in _packages().get(top, ())})


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@functools.cache
def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_present(top: str) -> bool:
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _row(found: metadata.Distribution) -> bytes | None:
    parts: list[digest.Framed] = [_canonical(found.metadata["Name"]), found.version]
    source = json.loads(found.read_text("direct_url.json") or "null")
    if source is not None:
        if source.get("dir_info", {}).get("editable"):
            return None  # its files are the project's own code
        # One version of a folder or a branch can be many states of its files.
        parts.append(
            sorted(
                [file.as_posix(), file.hash.value]
                for file in found.files or ()
                if file.hash is not None and ".dist-info/" not in file.as_posix() and file.suffix != ".pyc"
            )
        )
    return digest.raw_digest_of(DOMAIN, "distribution", parts)


def _requirements(found: metadata.Distribution, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """What it asks for, whether or not that is installed; of its extras, what was asked for."""
    wanted = []
    for line in found.requires or ():
        requirement, _, marker = line.partition(";")
        parsed = _REQUIREMENT.match(requirement)
        behind = set(_EXTRA.findall(marker))
        if parsed is None or (behind and not behind & extras):
            continue
        asked = frozenset(item.strip() for item in (parsed[2] or "").split(",") if item.strip())
        wanted.append((_canonical(parsed[1]), asked))
    return wanted
