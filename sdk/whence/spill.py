"""Copies of an outbox in the Blob store, for when this machine's disk goes with the process.

    <store>/outbox/<catalog>/<name>.json

`whence outbox flush` collects them anywhere; so may a server. The copy goes when its record is delivered.
"""

import contextlib
import os
import urllib.parse
from functools import cached_property, partial

import fsspec

from whence.outbox import Name, Outbox

FOLDER = "outbox"


class Spill:
    """The copies, in the store at `url`, of the records for one catalog."""

    def __init__(self, url: str, catalog: str) -> None:
        self._url = url
        self._catalog = catalog

    @cached_property
    def _place(self) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, path = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        if self._url.startswith("file:"):
            path = urllib.parse.unquote(path, errors="surrogateescape")
        return filesystem, f"{path.rstrip('/')}/{FOLDER}/{self._catalog}"

    def put(self, box: Outbox) -> int:
        """Have a copy of all that `box` is to deliver; answers how many are new."""
        filesystem, folder = self._place
        names = [name for name in box.pending() if not name.is_spilled]
        if names:
            filesystem.makedirs(folder, exist_ok=True)
            if self._url.startswith("file:"):
                os.chmod(folder, 0o700)  # parameters and error texts are nobody else's to read
        for name in names:
            box.mark_spilled(name, partial(filesystem.pipe_file, _path(folder, name)))
        return len(names)

    def drop(self, name: Name) -> None:
        """Have none of that record, which was delivered, or set aside here."""
        if name.is_spilled:
            filesystem, folder = self._place
            # One that stays is delivered once more some day, to no effect.
            with contextlib.suppress(Exception):
                filesystem.rm_file(_path(folder, name))

    def collect(self, box: Outbox) -> int:
        """Take every copy into `box`, to be delivered from there; answers how many there were."""
        filesystem, folder = self._place
        try:
            found = sorted(str(path).rpartition("/")[2] for path in filesystem.ls(folder, detail=False))
        except FileNotFoundError:
            return 0
        names = [name for text in found if (name := Name.parse(text))]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                box.adopt(name, filesystem.cat_file(_path(folder, name)))
        return len(names)


def _path(folder: str, name: Name) -> str:
    """Where the copy lies: its name never says that it is one."""
    return f"{folder}/{name.original.text}"
