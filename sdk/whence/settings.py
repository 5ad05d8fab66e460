"""What the environment says of the catalog to use, and where things lie unless it says.

WHENCE_URL      the catalog: a folder (embedded), `https://…` (a server), or `postgresql://…`. Absent: the
                nearest `.whence` upwards from the working folder; made there if there is none.
WHENCE_PROJECT  the project that names belong to (`default`).
WHENCE_BLOBS    where bytes go, as an fsspec URL (an embedded catalog's own folder, or where its server says).
WHENCE_OUTBOX   where what could not be told to the catalog yet is kept.
WHENCE_SYNC     FULL (default) or NORMAL: whether an acknowledged record survives a power cut.
WHENCE_TIMEOUT  seconds to wait for the catalog's answer, or for another process that is writing into it (30).
WHENCE_LEASE    seconds that a Run lives, and holds its key, without being heard of (60); the same for all who use
                the catalog, its servers among them.
"""

import hashlib
import os
import re
from datetime import timedelta
from pathlib import Path

from whence_catalog import catalog
from whence_catalog.errors import InvalidInput

FOLDER = ".whence"
DATABASE = "catalog.db"
OUTBOX = "outbox"


def database_url() -> str:
    """The database that the environment names: an embedded catalog's file, or a `postgresql://` address."""
    named = os.environ.get("WHENCE_URL", "")
    return named if named.startswith("postgres") else str(embedded_folder() / DATABASE)


def embedded_folder(url: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the embedded catalog that `url`, or else the environment, names.

    Raises:
        InvalidInput: it names a server.
    """
    named = os.fspath(url or os.environ.get("WHENCE_URL") or find_folder(Path.cwd()))
    if "://" in named:
        raise InvalidInput(f"{shown(named)} is no embedded catalog, which is named by a folder")
    return Path(named).expanduser().absolute()


def find_folder(start: Path) -> Path:
    """The nearest `.whence` from `start` upwards; else the one that would be made in `start`."""
    for folder in (start, *start.parents):
        if (folder / FOLDER / DATABASE).exists():
            return folder / FOLDER
    return start / FOLDER


def user_folder(variable: str, otherwise: str) -> Path:
    """Where this user's programs keep things (XDG Base Directory)."""
    named = os.environ.get(variable, "")
    return (
        Path(named if os.path.isabs(named) else os.path.join(os.path.expanduser("~"), otherwise)) / "whence"
    )


def cache_folder() -> Path | None:
    """What is lent to steps outlives this process, where this user can keep files at all."""
    if named := os.environ.get("WHENCE_CACHE_DIR"):
        return Path(named)
    folder = user_folder("XDG_CACHE_HOME", ".cache").absolute()
    is_there = next(parent for parent in folder.parents if parent.exists())
    return folder if os.access(is_there, os.W_OK) else None


def short(url: str) -> str:
    """A folder's name for a catalog."""
    readable = "-".join(re.findall(r"[A-Za-z0-9.]+", url.partition("://")[2] or url))
    return f"{readable[-40:].strip('-.')}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def shown(url: str) -> str:
    """An address without user and password."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def timeout_seconds() -> float:
    """How long to wait for the catalog's answer, or for another process that is writing into it."""
    text = os.environ.get("WHENCE_TIMEOUT") or "30"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 1e6:
        raise InvalidInput(f"WHENCE_TIMEOUT is {text!r}; it is a number of seconds")
    return seconds


def lease() -> timedelta:
    """How long a Run lives, and holds its key, without being heard of."""
    text = os.environ.get("WHENCE_LEASE")
    if not text:
        return catalog.LEASE
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds <= 86400:
        raise InvalidInput(f"WHENCE_LEASE is {text!r}; it is a number of seconds, more than none")
    return timedelta(seconds=seconds)
