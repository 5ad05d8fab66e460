"""Bytes by their digest, under a URL: a folder, memory, or an object store by way of fsspec.

Layout: `<url>/sha256/<2 hex>/<62 hex>`. A Blob appears under its name whole, and on a disk only once its
bytes are durable: what dies half-way leaves a temporary file under `tmp/`, never half a Blob.

**The seal.** In a folder, a Blob is made read-only and its modification time set to one second after the
epoch, as the last thing before it gets its name. Whoever writes into it later moves that time, root
included; so a check is one `lstat`, and where the time moved, the bytes are hashed again. The seal does
not notice who sets the time back as well, nor a disk that loses bits: `verify_deep` hashes everything.
An object store has no such time; there the cheap check is presence, and size where a put knows it.

**The cache** is a local folder, sealed likewise, from which steps are lent read-only files and folders
(`lending`). A store's own files are never lent: a step that runs as root and writes into its input
all the same damages a copy, which the next loan notices and makes again.

`shelf` says where Blobs lie, `tree` how folders become Manifests, `disk` what a disk must do. Which Blobs
may be deleted is for others to say.
"""

import contextlib
import functools
import io
import os
import shutil
import stat
import tempfile
import urllib.parse
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from whence_catalog import digest, errors, later, manifest
from whence_catalog.blobs import disk, lending, shelf, tree
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind

# A folder needs none of it.
if TYPE_CHECKING:
    import fsspec
else:
    fsspec = later.Later("fsspec")

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}
_UNKNOWN_BYTES = 1 << 62


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a file."""

    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredTree:
    """The files of a folder, under the digest of its Manifest; `written` Blobs were not there before."""

    digest: Digest
    size_bytes: int
    files: int
    written: int


@dataclass(frozen=True, slots=True)
class Presence:
    """What a check found: every digest that was asked for is in exactly one of these."""

    present: frozenset[Digest]
    missing: frozenset[Digest]
    altered: frozenset[Digest]


class BlobStore:
    """Content-addressed bytes under a URL. Methods may be called from several threads and processes."""

    def __init__(self, url: str, blobs: shelf.Shelf, cache: Path | None) -> None:
        self.url = url
        self.is_local = isinstance(blobs, shelf.Folder)
        self._blobs = blobs
        self._cache_folder = cache

    @classmethod
    def open(cls, url: str, cache: Path | None = None, **storage_options: object) -> "BlobStore":
        """The store at `url`.

        Args:
            url: a path, `file://` (as of `Path.as_uri`), `memory://`, or what an extra adds; nothing is
                made there yet.
            cache: the folder that files are lent from. Without one it is the store's sibling `cache`
                where the store is a folder, and else a temporary one that goes with this object.
            storage_options: for the fsspec filesystem.

        Raises:
            InvalidInput: where no filesystem has such URLs.
            NotReady: where an extra is not installed (EXTRA_MISSING).
            Unreachable: where the filesystem connects at once, and cannot.
        """
        protocol, path = url.split("://", 1) if "://" in url else (None, url)
        if protocol in (None, "file", "local"):
            if protocol:
                path = urllib.parse.unquote(path, errors="surrogateescape")
            root = Path(path).expanduser().absolute()
            return cls(root.as_uri(), shelf.Folder(root), (cache or root.parent / "cache").absolute())
        try:
            # A listing that was kept would call a Blob missing that another process has put.
            fs, path = fsspec.core.url_to_fs(url, **{"use_listings_cache": False, **storage_options})
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            remedy = f"pip install 'whence[{extra}]'" if extra else str(error)
            raise errors.NotReady(f"{url} needs a package: {remedy}", ErrorKind.EXTRA_MISSING) from error
        except ValueError as error:
            raise errors.InvalidInput(f"not the URL of a store: {url!r} ({error})") from error
        except OSError as error:  # some filesystems connect at once
            raise errors.Unreachable(f"the store {url} did not answer: {error}; try again") from error
        blobs = shelf.Bucket(fs, path, is_memory=protocol == "memory")
        return cls(url.rstrip("/"), blobs, cache.absolute() if cache else None)

    # Putting. What was put is whole and durable when the call returns; of what fails, nothing is left
    # that has a name. The same bytes again write nothing, and mend a Blob that was altered.

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data`.

        Raises:
            NotReady: where the store's disk is full or read-only.
        """
        with self._putting() as staged:
            staged.append(self._stage(data))
        return staged[0].digest

    def put_file(self, path: str | os.PathLike[str]) -> Stored:
        """Keep the bytes of one file, or of what a link leads to.

        Raises:
            InvalidInput: where it is no regular file (BAD_PATH).
            NotFound, Denied: where it is absent, or may not be read.
            Conflict: where it changed while it was read (INPUT_CHANGED).
            NotReady: as `put_bytes`.
        """
        with self._putting() as staged:
            taken = tree.take_file(os.fspath(path), self._blobs, staged)
        return Stored(taken.digest, taken.size_bytes)

    def put_files(self, paths: Sequence[str]) -> list[Stored]:
        """Keep the bytes of many files, made durable together; all of them or none.

        Raises:
            InvalidInput, NotFound, Denied, Conflict, NotReady: as `put_file`, for the first that fails.
        """
        with self._putting() as staged:
            taken = [tree.take_file(path, self._blobs, staged) for path in paths]
        return [Stored(each.digest, each.size_bytes) for each in taken]

    def put_tree(
        self,
        folder: str | os.PathLike[str],
        *,
        skip: tree.Skip | None = None,
        progress: tree.Progress | None = None,
    ) -> StoredTree:
        """Keep every file below `folder`, and its Manifest.

        Args:
            folder: links in it count as what they lead to; folders are kept for themselves where empty.
            skip: says of a relative path (of a folder: with all below) whether to leave it out.
            progress: is called now and then with the files and the bytes done so far.

        Raises:
            InvalidInput: for a link that leads out of the folder, around or nowhere, for what is neither
                file nor folder, and for a name that is not UTF-8 (BAD_PATH, naming the path).
            NotFound, Denied, Conflict, NotReady: as `put_file`.
        """
        with self._putting() as staged:
            taken = tree.take(os.fspath(folder), skip, progress, self._blobs, staged)
            self._stage_nodes(taken, staged)
        written = len({item.digest for item in staged if item.is_new})
        return StoredTree(taken.root, taken.size_bytes, taken.files, written)

    def put_nodes(self, manifest_tree: manifest.Tree) -> None:
        """Keep the Manifest of files that were put before, its root last."""
        with self._putting() as staged:
            self._stage_nodes(manifest_tree, staged)

    @staticmethod
    def hash_file(path: str | os.PathLike[str]) -> Stored:
        """What `put_file` would give; writes nothing."""
        with disk.explained(os.fspath(path)):
            taken = tree.take_file(os.fspath(path), shelf.Hasher(), [])
        return Stored(taken.digest, taken.size_bytes)

    @staticmethod
    def hash_tree(
        folder: str | os.PathLike[str],
        *,
        skip: tree.Skip | None = None,
        progress: tree.Progress | None = None,
    ) -> StoredTree:
        """What `put_tree` would give; writes nothing."""
        with disk.explained(os.fspath(folder)):
            taken = tree.take(os.fspath(folder), skip, progress, shelf.Hasher(), [])
        return StoredTree(taken.root, taken.size_bytes, taken.files, written=0)

    # Checking.

    def missing(self, names: Iterable[Digest]) -> frozenset[Digest]:
        """Those of `names` that the store does not hold; says nothing about what it holds."""
        return self._presence(names, lambda name: self._blobs.is_sealed(name) or True, 0).missing

    def verify(self, names: Iterable[Digest]) -> Presence:
        """What the seal tells of `names` (see above); hashes only what was touched."""
        return self._presence(names, lambda name: self._blobs.is_sealed(name) or self._is_same(name), 0)

    def verify_deep(self, names: Iterable[Digest]) -> Presence:
        """What is true of `names`: hashes every byte."""
        return self._presence(names, self._is_same, _UNKNOWN_BYTES)

    def digests_of_tree(self, root: Digest) -> frozenset[Digest]:
        """Every Blob that the tree `root` needs, nodes and files; loads the nodes.

        Raises:
            Damaged: where a node is missing or altered.
        """
        nodes: set[Digest] = set()

        def load(name: Digest) -> bytes:
            nodes.add(name)
            return self.read_bytes(name)

        files = {entry.digest for entry in manifest.read(root, load) if entry.digest}
        return frozenset(nodes | files)

    # Reading. Nothing is given that is not what it is called.

    def read_bytes(self, name: Digest) -> bytes:
        """The bytes of `name`.

        Raises:
            Damaged: where they are missing (BLOB_MISSING) or others (BLOB_ALTERED).
        """
        with disk.explained(self.url), self._source(name) as source:
            data = source.read()
        if digest.digest_of_bytes(data) != name:
            raise shelf.altered(name, self.url)
        return data

    def stream(self, name: Digest) -> BinaryIO:
        """The bytes of `name`, front to back; the read that reaches their end raises where they are others.

        Raises:
            Damaged: as `read_bytes`.
        """
        with disk.explained(self.url):
            verified = shelf.Verified(self._source(name), name, self.url)
        return cast("BinaryIO", io.BufferedReader(verified, disk.CHUNK_BYTES))

    def materialise_file(self, name: Digest, filename: str) -> Path:
        """Lend a read-only file called `filename`; checked on every call, and remade where it was touched.

        Raises:
            InvalidInput: where `filename` is not one segment of a path (BAD_PATH).
            Damaged: as `read_bytes`.
        """
        manifest.check_path(filename)
        if "/" in filename:
            raise disk.bad_path(f"not the name of a file: {filename!r}")
        with disk.explained(filename):
            return self._cache.file(name, filename)

    def materialise_tree(self, root: Digest) -> Path:
        """Lend a read-only folder; checked on every call, and remade where anything in it was touched.

        Raises:
            InvalidInput: where this filesystem takes two of its paths for one, or refuses one (BAD_PATH).
            Damaged: as `read_bytes`.
        """
        with disk.explained(self.url):
            return self._cache.tree(root, self._entries(root))

    def copy_file(self, name: Digest, dest: str | os.PathLike[str]) -> None:
        """Write a plain file at `dest`, whole or not at all.

        Raises:
            InvalidInput: where `dest` exists (BAD_PATH).
            Damaged: as `read_bytes`.
        """
        with disk.explained(os.fspath(dest)), disk.beside(Path(dest)) as temp:
            self._copy(name, str(temp))

    def copy_tree(self, root: Digest, dest: str | os.PathLike[str]) -> None:
        """Write a plain folder at `dest`, whole or not at all; what a Bundle calls executable is.

        Raises:
            InvalidInput: where `dest` exists, and as `materialise_tree`.
            Damaged: as `read_bytes`.
        """

        def copy(entry: manifest.Entry, path: str) -> None:
            self._copy(cast("Digest", entry.digest), path)
            if entry.executable:
                mode = stat.S_IMODE(os.stat(path).st_mode)
                os.chmod(path, mode | (mode & 0o444) >> 2)  # by whoever may read it

        with disk.explained(os.fspath(dest)), disk.beside(Path(dest)) as temp:
            entries = self._entries(root)
            threads = self._blobs.threads(len(entries), sum(entry.size_bytes for entry in entries))
            tree.make(temp, entries, copy, threads)

    def delete(self, name: Digest) -> None:
        """Drop the bytes of `name` from the store and the cache, if they are there."""
        with disk.explained(self.url):
            self._cache.blobs.delete(name)
            self._blobs.delete(name)

    @functools.cached_property
    def _cache(self) -> lending.Cache:
        folder = self._cache_folder
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="whence-cache-"))
            weakref.finalize(self, _remove_own, folder, os.getpid())
        return lending.Cache(folder, self.url, self._held, self._blobs.threads)

    @contextlib.contextmanager
    def _putting(self) -> Iterator[list[shelf.Staged]]:
        """Settle what the body stages; on any failure, keep nothing of it."""
        staged: list[shelf.Staged] = []
        try:
            with disk.explained(self.url):
                yield staged
                self._blobs.settle(staged)
        except BaseException:
            self._blobs.discard(staged)
            raise

    def _stage(self, data: bytes) -> shelf.Staged:
        return self._blobs.stage(io.BytesIO(data), len(data))

    def _stage_nodes(self, taken: manifest.Tree, staged: list[shelf.Staged]) -> None:
        below = [data for name, data in taken.nodes.items() if name != taken.root]
        threads = self._blobs.threads(len(below), sum(map(len, below)))
        staged.extend(disk.each(self._stage, below, threads))
        staged.append(self._stage(taken.nodes[taken.root]))

    def _presence(
        self, names: Iterable[Digest], is_right: Callable[[Digest], bool], size_bytes: int
    ) -> Presence:
        asked = list(dict.fromkeys(names))
        threads = self._blobs.threads(len(asked), size_bytes)

        def check(name: Digest) -> bool | None:
            try:
                return is_right(name)
            except FileNotFoundError:
                return None

        with disk.explained(self.url):
            found = dict(zip(asked, disk.each(check, asked, threads), strict=True))
        return Presence(
            *(frozenset(name for name in asked if found[name] is state) for state in (True, None, False))
        )

    def _is_same(self, name: Digest) -> bool:
        with self._blobs.open(name) as source:
            found, _ = shelf.hash_of(source)
        if found == name:
            self._blobs.reseal(name)
        return found == name

    def _entries(self, root: Digest) -> list[manifest.Entry]:
        return list(manifest.read(root, self.read_bytes))

    def _source(self, name: Digest) -> BinaryIO:
        """Its bytes, unverified, from the nearest place."""
        if not self.is_local and self._cache.holds(name):
            return self._cache.blobs.open(name)
        return self._held(name)

    def _held(self, name: Digest) -> BinaryIO:
        try:
            return self._blobs.open(name)
        except FileNotFoundError as error:
            raise shelf.missing(name, self.url) from error

    def _copy(self, name: Digest, path: str) -> None:
        with self.stream(name) as source, open(path, "xb") as target:
            shutil.copyfileobj(source, target, disk.CHUNK_BYTES)


def _remove_own(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # a forked child leaves it to its parent
        disk.remove(folder)
