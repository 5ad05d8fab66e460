"""In place: files and folders at the paths where commands leave their outputs, as the commands left them.

A Blob has no permissions: which of an output's files are programs is kept in its metadata.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from whence_catalog import digest, model
from whence_catalog.blobs import BlobStore

# In an output's metadata: `True` of a file that is a program; of a folder, the paths of those in it.
EXECUTABLE = "whence.executable"
# Where everything is a program, as on file systems without permissions, nothing is said by that.
_MOST = 1000


def programs(path: Path) -> Mapping[str, object]:
    """The metadata that says which of the files at `path` are programs; nothing where none is."""
    if not path.is_dir():
        return {EXECUTABLE: True} if _is_program(path) else {}
    found = []
    for file in _files(path):
        if _is_program(file):
            found.append(file.relative_to(path).as_posix())
    return {EXECUTABLE: sorted(found)} if 0 < len(found) <= _MOST else {}


def mark(path: Path, metadata: Mapping[str, digest.Framed]) -> None:
    """Have the files at `path` be programs that `metadata` says are; a name that leads out of there is passed over."""
    said = metadata.get(EXECUTABLE)
    for name in said if isinstance(said, list | tuple) else [""] if said is True else []:
        file = path / str(name)
        if file.is_file() and ".." not in file.parts and file.is_relative_to(path):
            mode = stat.S_IMODE(file.stat().st_mode)
            file.chmod(mode | (mode & 0o444) >> 2)  # by whoever may read it


def put(blobs: BlobStore, output: model.Output, path: Path) -> None:
    """Have the bytes of `output` at `path`: what is there is replaced by one rename, or left, if it is the same."""
    content = output.version.content
    is_tree = content.form is model.Form.TREE
    if path.exists() and path.is_dir() == is_tree and content_at(path) == content.digest:
        mark(path, output.metadata)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".whence-", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        (blobs.copy_tree if is_tree else blobs.copy_file)(content.digest, fresh)
        mark(fresh, output.metadata)
        remove(path)
        fresh.rename(path)


def content_at(path: Path) -> digest.Digest:
    """The digest of the file or folder that lies there.

    Raises:
        NotFound, InvalidInput: nothing does, or something else.
    """
    return (BlobStore.hash_tree if path.is_dir() else BlobStore.hash_file)(path).digest


def remove(path: Path) -> None:
    """Have nothing there; of a link, what it leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[Path]:
    for at, _, names in os.walk(folder):
        yield from (Path(at, name) for name in names)


def _is_program(file: Path) -> bool:
    try:
        found = file.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o100)
