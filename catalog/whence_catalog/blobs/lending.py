"""Read-only files and folders, lent to steps from a local cache that fills as it is read.

    sha256/<2 hex>/<62 hex>        Blobs, verified when they came and sealed since
    files/<hex>/<name>/<name>      a link to one of them
    trees/<hex>/…                  a folder of such links

A link shares its bytes with the Blob in the cache, so a step that writes into its input (root ignores
permissions) breaks the seal of both. The next loan sees that by `lstat` and is made again from the store.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from whence_catalog import manifest
from whence_catalog.blobs import disk, shelf, tree
from whence_catalog.digest import Digest


class Cache:
    """The cache in `root` of the store at `url`, whose bytes `source` opens in `threads` at once."""

    def __init__(
        self,
        root: Path,
        url: str,
        source: Callable[[Digest], BinaryIO],
        threads: Callable[[int, int], int],
    ) -> None:
        self.blobs = shelf.Folder(root)
        self._root = root
        self._url = url
        self._source = source
        self._threads = threads

    def holds(self, name: Digest) -> bool:
        """Whether `name` is here, and sealed."""
        try:
            return self.blobs.is_sealed(name)
        except FileNotFoundError:
            return False

    def file(self, name: Digest, filename: str) -> Path:
        """A read-only file with the bytes of `name`."""
        self._fill([name], 0)
        entry = manifest.Entry(filename, "f", os.path.getsize(self.blobs.path(name)), name)
        return self._lend(self._root / "files" / name.hex / filename, [entry]) / filename

    def tree(self, root: Digest, entries: Sequence[manifest.Entry]) -> Path:
        """A read-only folder with exactly `entries`, which are those of `root`."""
        return self._lend(self._root / "trees" / root.hex, entries)

    def _fill(self, names: Iterable[Digest], size_bytes: int) -> None:
        """Have the bytes of `names`, about `size_bytes` together, verified."""
        wanted = [name for name in dict.fromkeys(names) if not self.holds(name)]
        staged: list[shelf.Staged] = []

        def fetch(name: Digest) -> None:
            with self._source(name) as source:
                staged.append(copied := self.blobs.stage(source, 0))
            if copied.digest != name:
                raise shelf.altered(name, self._url)

        try:
            disk.each(fetch, wanted, self._threads(len(wanted), size_bytes))
            self.blobs.settle(staged)
        except BaseException:
            self.blobs.discard(staged)
            raise

    def _lend(self, folder: Path, entries: Sequence[manifest.Entry]) -> Path:
        def link(entry: manifest.Entry, path: str) -> None:
            disk.link(self.blobs.path(cast("Digest", entry.digest)), path)

        if tree.is_intact(folder, entries):
            return folder
        size_bytes = sum(entry.size_bytes for entry in entries)
        self._fill((entry.digest for entry in entries if entry.digest), size_bytes)
        # In the same parent: a read-only folder may be renamed, but not moved elsewhere.
        built = disk.unused(folder.parent)
        try:
            tree.make(built, entries, link, threads=1)
            for path in (*tree.folders(entries), "."):
                os.chmod(built / path, 0o555)
            while not _rename(built, folder) and not tree.is_intact(folder, entries):
                aside = disk.unused(folder.parent)
                with contextlib.suppress(FileNotFoundError):
                    os.rename(folder, aside)
                disk.remove(aside)
        finally:
            disk.remove(built)
        return folder


def _rename(built: Path, folder: Path) -> bool:
    """Whether `built` became `folder`; it does not where a folder is, ours or another process's."""
    try:
        os.rename(built, folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True
