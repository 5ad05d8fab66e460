"""Contents: what stands in the files of a project, read again only where a file is another one.

Remembered in this process, and on the user's shelf for the next: a file's digest under its stamp, and what a digest
imports. A stamp is trusted once it is older than a tick of the file system's clock, since another write within that
may leave it as it is. Leaves to others: which files (`worktree`, `selection`), and what is made of them (`bundle`).
"""

import ast
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

Stamp: TypeAlias = tuple[int, ...]  # modified and changed, in nanoseconds, and size; empty: not to be trusted
Imports: TypeAlias = tuple[tuple[int, str, tuple[str, ...]], ...]

_TICK_NANOSECONDS = 100_000_000
# A user and a password, or a token in the place of both. `***`, `…` and `<password>` stand for one.
_PASSWORD_IN_URL = re.compile(
    rb"://(?:[^/\s@$:]*+:(?!(?:\*+|\.\.\.|\xe2\x80\xa6|<[^>\s]*>)@)[^/\s@${]++|[^/\s@$:{]{16,}+)@"
)
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_LARGEST_SEARCHED = 4 << 20


class Content(NamedTuple):
    """What stands in a file. A tuple, since there may be 50,000 of them to read from the shelf.

    `objection` is why it must not be handed on, where what stands in it is a secret.
    """

    raw: bytes
    size_bytes: int
    executable: bool
    objection: str | None = None


Row: TypeAlias = tuple[Stamp, Content | None]

_rows: dict[str, Row] = {}
_imports: dict[bytes, Imports] = {}


def stamp(file: str, folder: int | None = None) -> Stamp | None:
    """What is another one once a file is; None where no file is. `file` may be relative to an open folder."""
    try:
        found = os.stat(file, dir_fd=folder)
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def trusted(found: Stamp) -> Stamp:
    """`found`, or an empty one where the file was written just now."""
    return found if time.time_ns() - max(found[:2]) > _TICK_NANOSECONDS else ()


def of(file: str) -> tuple[Stamp, Content]:
    """The stamp and the content of a file, read if it is not known.

    Raises:
        OSError: it cannot be read.
    """
    now = stamp(file)
    known = _rows.get(file)
    if known is not None and known[0] == now and known[1] is not None:
        return known[0], known[1]
    return read(file)


def read(file: str) -> tuple[Stamp, Content]:
    """The stamp and the content of a file as it is now.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    with open(file, "rb") as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        data = opened.read()
    made = trusted((found.st_mtime_ns, found.st_ctime_ns, found.st_size))
    content = Content(
        hashlib.sha256(data).digest(), len(data), bool(found.st_mode & 0o100), _objection(file, data)
    )
    _rows[file] = (made, content)
    return made, content


def objection_of(file: str) -> str | None:
    """Why a file must not be handed on, and None where no secret stands in its beginning.

    Raises:
        OSError: it cannot be read.
    """
    with open(file, "rb") as opened:
        return _objection(file, opened.read(_LARGEST_SEARCHED))


def of_bytes(data: bytes) -> Content:
    """The content of a file that lies nowhere."""
    return Content(hashlib.sha256(data).digest(), len(data), executable=False)


def imports(file: str, content: Content) -> Imports:
    """(Level, module, names) of each import statement of a Python file, wherever it stands in it."""
    known = _imports.get(content.raw)
    if known is None:
        known = _imports[content.raw] = _read_imports(file) if file.endswith(".py") else ()
    return known


def known_imports(of_contents: Iterable[bytes]) -> dict[bytes, Imports]:
    """What is known to be imported by the files of these digests."""
    return {raw: _imports[raw] for raw in of_contents if raw in _imports}


def know_imports(found: dict[bytes, Imports]) -> None:
    """Take over what another process found."""
    _imports.update(found)


def _read_imports(file: str) -> Imports:
    try:
        with open(file, "rb") as opened:
            tree = ast.parse(opened.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ()  # it is covered, but not Python of this version: it names nothing
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, each.name, ()) for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", tuple(each.name for each in node.names)))
    return tuple(found)


def holds_secret(data: bytes) -> bool:
    """Whether a password in an address, or a private key, stands in it."""
    return _PASSWORD_IN_URL.search(data) is not None or PRIVATE_KEY.search(data) is not None


def _objection(file: str, data: bytes) -> str | None:
    """Code may say anything, and is read by those who write it; other files are often made by programs."""
    if file.endswith(".py"):
        return None
    head = data[:_LARGEST_SEARCHED]
    if _PASSWORD_IN_URL.search(head):
        return "an address in it holds a password"
    return "a private key stands in it" if PRIVATE_KEY.search(head) else None
