"""Selection: which files of a work tree a Bundle takes, by their names and sizes.

Decides from what git lists: a tracked file is taken, unless it is large and no code; an untracked one only if it
is code, since what lies beside the source may be data of any size. What by its name holds a secret is never taken.
`[tool.whence.bundle]` in the project's pyproject.toml says otherwise, file by file:

    include = ["data/labels.csv", "keys/public_key.pem"]    # taken whatever it is, ignored files too
    exclude = ["vendor/**"]                                  # not taken, unless it is a module that runs
    largest_file_bytes = 1048576                             # of what is no code
    limit_bytes = 67108864                                   # of all of it

Leaves to others: what git lists (`worktree`), and what stands in the files (`contents`).
"""

import fnmatch
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 64 << 20
# To store that many for the first time takes seconds; and each is looked at whenever a Run starts.
LIMIT_FILES = 20_000
LARGEST_FILE_BYTES = 1 << 20

SECRET = "their names say that they hold secrets"
LARGE = "each is large, and no code"
NO_CODE = "they are neither code nor in git"
EXCLUDED = "pyproject.toml excludes them"

# fmt: off
_CODE = frozenset({
    "py", "pyi", "pyx", "pxd", "ipynb", "toml", "cfg", "ini", "yaml", "yml", "sh", "bash", "sql", "r", "rmd", "jl", "scala",
    "java", "kt", "js", "ts", "c", "h", "cc", "cpp", "hpp", "cu", "cuh", "rs", "go", "f90", "proto", "j2", "jinja", "mk",
    "cmake", "smk", "nf", "wdl", "cwl", "lock", "in", "pl", "rb", "lua", "awk", "sed",
})
# fmt: on
_CODE_NAMES = re.compile(
    r"makefile|dockerfile|snakefile|justfile|requirements[^/]*\.txt|constraints[^/]*\.txt"
)
# What holds a secret wherever it lies, and what may: who committed a file of such a name chose to share it.
_SECRET = re.compile(
    r"(?:^|/)(?:\.env[^/]*|\.netrc|\.pgpass|\.pypirc|\.npmrc|\.htpasswd|\.git-credentials|id_(?:rsa|dsa|ecdsa|ed25519)[^/]*"
    r"|(?:[^/]*[._-])?credentials[^/]*|kubeconfig[^/]*|service[-_]account[^/]*\.json"
    r"|[^/]*\.(?:pem|p12|pfx|jks|keystore|kdbx|ppk|tfstate))$"
    r"|(?:^|/)\.(?:ssh|aws|gnupg|kube|docker)/"
)
_PERHAPS_SECRET = re.compile(
    r"(?:^|[/._-])(?:secrets?|passwords?|passwd|tokens?|(?:api|access|private|secret)?_?keys?)(?:[._-][^/]*)?$"
)
# A module is code whatever it is called, and the rest may import it: only names that mean the secret itself.
_SECRET_MODULE = re.compile(
    r"(.*[._-])?(credentials?|secrets?|passwords?|(api|access|private|secret)_?keys?)\.py|\.env.*"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the project says of its Bundles; `fault` is why that cannot be read."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    largest_file_bytes: int = LARGEST_FILE_BYTES
    limit_bytes: int = LIMIT_BYTES
    fault: str | None = None


def settings(root: Path) -> Settings:
    """What `[tool.whence.bundle]` of the project says; a mistake in it is told, and what is right is kept."""
    try:
        text = (root / "pyproject.toml").read_bytes()
    except OSError:
        return Settings()
    if b"whence" not in text:
        return Settings()
    try:
        said = tomllib.loads(text.decode("utf-8")).get("tool", {}).get("whence", {}).get("bundle", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return Settings(fault=f"pyproject.toml cannot be read: {error}")
    if not isinstance(said, dict):
        return Settings(fault="tool.whence.bundle in pyproject.toml is no table")
    faults = [f"{name} is none of its settings" for name in said.keys() - _KINDS.keys()]
    right: dict[str, tuple[str, ...] | int] = {}
    for name in said.keys() & _KINDS.keys():
        value = _KINDS[name](said[name])
        if value is None:
            faults.append(f"{name} is {said[name]!r}")
        else:
            right[name] = value
    fault = f"tool.whence.bundle in pyproject.toml: {'; '.join(sorted(faults))}" if faults else None
    return Settings(**right, fault=fault)  # type: ignore[arg-type]


def _patterns(value: object) -> tuple[str, ...] | None:
    is_right = isinstance(value, list) and all(isinstance(each, str) and _is_inside(each) for each in value)
    return tuple(value) if is_right and isinstance(value, list) else None


def _size(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _is_inside(pattern: str) -> bool:
    return bool(pattern) and not pattern.startswith("/") and ".." not in pattern.split("/")


_KINDS: Mapping[str, Callable[[object], tuple[str, ...] | int | None]] = {
    "include": _patterns,
    "exclude": _patterns,
    "largest_file_bytes": _size,
    "limit_bytes": _size,
}


def why_not(path: str, size_bytes: int, is_tracked: bool, chosen: Settings) -> str | None:
    """Why a file that git lists is not taken; None where it is."""
    if chosen.include and any(fnmatch.fnmatchcase(path, pattern) for pattern in chosen.include):
        return None
    if chosen.exclude and any(fnmatch.fnmatchcase(path, pattern) for pattern in chosen.exclude):
        return EXCLUDED
    if is_secret(path, is_tracked):
        return SECRET
    code = is_code(path)
    if not is_tracked and not code:
        return NO_CODE
    if size_bytes > chosen.largest_file_bytes and not (is_tracked and code):
        return LARGE
    return None


def is_code(path: str) -> bool:
    """Whether it is code or configuration, by its name."""
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[2] in _CODE or _CODE_NAMES.fullmatch(name) is not None


def is_secret(path: str, is_tracked: bool) -> bool:
    """Whether a file's name says that it holds a secret."""
    lower = path.lower()
    if lower.endswith(".py"):
        return _SECRET_MODULE.fullmatch(lower.rpartition("/")[2]) is not None
    return _SECRET.search(lower) is not None or (not is_tracked and _PERHAPS_SECRET.search(lower) is not None)


def unfit(folder: str, path: str, is_link: bool) -> str | None:
    """Why a path cannot be in any tree."""
    if path.endswith("/"):
        return "each is a repository of its own, which nothing names"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "their names are not UTF-8"
    real = os.path.realpath(os.path.join(folder, path)) if is_link else ""
    if is_link and not real.startswith(os.path.realpath(folder) + os.sep):
        return "they are links that lead out of the project"
    return None
