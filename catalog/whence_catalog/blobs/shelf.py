"""Where Blobs lie, under `sha256/<2 hex>/<62 hex>`: a local folder, or any other fsspec filesystem."""

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, cast

from whence_catalog import digest, errors
from whence_catalog.blobs import disk
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind

if TYPE_CHECKING:
    import fsspec

# Up to here a file is read at once: a Blob that is there already then costs no write.
_SMALL_BYTES = 1 << 20
# Up to here an upload is one request, which is atomic and can be conditional on every store.
_ONE_REQUEST_BYTES = 32 << 20
# Below it, on average, threads that read local files get in one another's way (20,000: twice as slow).
_WORTH_A_THREAD_BYTES = 128 << 10
_REQUESTS_AT_ONCE = 16


class Staged(NamedTuple):
    """Bytes that were read; at `temp` until `settle` names them, or None where that is not needed."""

    digest: Digest
    size_bytes: int
    temp: str | None
    is_new: bool


class Reader(Protocol):
    """What reads files to their digests."""

    def stage(self, source: BinaryIO, size_bytes: int) -> Staged:
        """Read `source`, whose size is about `size_bytes`."""

    def threads(self, files: int, size_bytes: int) -> int:
        """How many threads are worth it for so many files of so many bytes together."""


class Shelf(Reader, Protocol):
    """A place for Blobs: staging keeps them. Good for several threads at once, and several processes."""

    def settle(self, staged: Sequence[Staged]) -> None:
        """Give what was staged its names, in the order given, whole and durable."""

    def discard(self, staged: Iterable[Staged]) -> None:
        """Forget what was staged and not settled."""

    def open(self, name: Digest) -> BinaryIO:
        """The bytes under `name`, unverified; FileNotFoundError where there are none."""

    def is_sealed(self, name: Digest) -> bool:
        """Whether nobody touched it, as far as a cheap look can say; FileNotFoundError as `open`."""

    def reseal(self, name: Digest) -> None:
        """Take what is under `name`, which was verified, for untouched."""

    def delete(self, name: Digest) -> None:
        """Drop what is under `name`, if anything."""


class Hasher:
    """A reader that keeps nothing."""

    def stage(self, source: BinaryIO, size_bytes: int) -> Staged:
        """Hash `source`."""
        name, size_bytes = hash_of(source)
        return Staged(name, size_bytes, None, is_new=False)

    def threads(self, files: int, size_bytes: int) -> int:
        """One for each processor, where files are large: hashing lets the others run."""
        return (os.cpu_count() or 1) if size_bytes >= files * _WORTH_A_THREAD_BYTES else 1


class Folder(Hasher):
    """A shelf in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: Digest) -> str:
        """Where `name` lies, or would."""
        return f"{self.root}/sha256/{name.hex[:2]}/{name.hex[2:]}"

    def stage(self, source: BinaryIO, size_bytes: int) -> Staged:
        """Copy and hash `source` in one pass; sealed, but not durable."""
        wanted = min(size_bytes + 1, _SMALL_BYTES)
        chunk = source.read(wanted)
        is_whole = len(chunk) < wanted
        sha256 = hashlib.sha256(chunk)
        if is_whole and self._holds(name := Digest.of(sha256.digest()), len(chunk)):
            return Staged(name, len(chunk), None, is_new=False)
        temp = f"{self.root}/tmp/{secrets.token_hex(8)}"
        try:
            with disk.create(temp) as target:
                target.write(chunk)
                size_bytes = len(chunk)
                while not is_whole and (chunk := source.read(disk.CHUNK_BYTES)):
                    sha256.update(chunk)
                    target.write(chunk)
                    size_bytes += len(chunk)
                target.flush()
                disk.seal(target.fileno())
            name = Digest.of(sha256.digest())
            if not self._holds(name, size_bytes):
                return Staged(name, size_bytes, temp, is_new=True)
        except BaseException:
            _unlink(temp)
            raise
        _unlink(temp)
        return Staged(name, size_bytes, None, is_new=False)

    def settle(self, staged: Sequence[Staged]) -> None:
        """Bytes reach the disk before their names do: a power cut leaves no name over nothing."""
        waiting = [(item.temp, self.path(item.digest)) for item in staged if item.temp]
        disk.flush([temp for temp, _ in waiting])
        gained: dict[str, None] = {}
        for temp, path in waiting:
            folder = os.path.dirname(path)
            if folder not in gained:
                gained.update(dict.fromkeys([*disk.make_folder(folder), folder]))
            os.replace(temp, path)
        disk.flush(list(gained))

    def discard(self, staged: Iterable[Staged]) -> None:
        """Remove the temporary files."""
        for item in staged:
            if item.temp:
                _unlink(item.temp)

    def open(self, name: Digest) -> BinaryIO:
        """The file."""
        return open(self.path(name), "rb")

    def is_sealed(self, name: Digest) -> bool:
        """One `lstat`."""
        return disk.is_sealed(os.lstat(self.path(name)))

    def reseal(self, name: Digest) -> None:
        """Seal it again, where this user may: else the next check hashes it again."""
        with contextlib.suppress(OSError):
            disk.seal(self.path(name))

    def delete(self, name: Digest) -> None:
        """Unlink the file."""
        Path(self.path(name)).unlink(missing_ok=True)

    def _holds(self, name: Digest, size_bytes: int) -> bool:
        try:
            found = os.lstat(self.path(name))
        except FileNotFoundError:
            return False
        return found.st_size == size_bytes and disk.is_sealed(found)


class Bucket:
    """A shelf in any other fsspec filesystem."""

    def __init__(self, fs: "fsspec.AbstractFileSystem", root: str, is_memory: bool) -> None:
        self._fs = fs
        self._root = root.rstrip("/")
        # Memory shows a file from its opening on, and lends one shared position: only whole reads and
        # writes are safe there.
        self._is_memory = is_memory

    def stage(self, source: BinaryIO, size_bytes: int) -> Staged:
        """Upload `source`: at once where it is small, else read twice, first for its name."""
        if not self._is_memory and size_bytes > _ONE_REQUEST_BYTES:
            name, size_bytes = hash_of(source)
            is_new = self._size(name) != size_bytes
            if is_new:
                source.seek(0)
                self._send(source, name)
            return Staged(name, size_bytes, None, is_new)
        data = source.read()
        name = digest.digest_of_bytes(data)
        found = self._size(name)
        if found != len(data):
            # Whoever was first put the same bytes.
            with self._answering(), contextlib.suppress(FileExistsError):
                mode = "create" if found is None else "overwrite"
                self._fs.pipe_file(self._path(name), data, mode=mode)
        return Staged(name, len(data), None, is_new=found != len(data))

    def threads(self, files: int, size_bytes: int) -> int:
        """A fixed number: they wait for answers."""
        return _REQUESTS_AT_ONCE

    def settle(self, staged: Sequence[Staged]) -> None:
        """Nothing is left to do: a Blob has its name once `stage` returns."""

    def discard(self, staged: Iterable[Staged]) -> None:
        """Nothing is taken back: somebody else may have found the Blob by now."""

    def open(self, name: Digest) -> BinaryIO:
        """A buffered reader of the object."""
        with self._answering():
            if self._is_memory:
                return io.BytesIO(self._fs.cat_file(self._path(name)))
            source = self._fs.open(self._path(name), "rb", block_size=_ONE_REQUEST_BYTES)
        return cast("BinaryIO", io.BufferedReader(_Answering(source, self._answering), disk.CHUNK_BYTES))

    def is_sealed(self, name: Digest) -> bool:
        """Objects are replaced whole by whoever has the keys; nothing cheap would show it."""
        if self._size(name) is None:
            raise FileNotFoundError(self._path(name))
        return True

    def reseal(self, name: Digest) -> None:
        """There is no seal."""

    def delete(self, name: Digest) -> None:
        """Remove the object."""
        with self._answering(), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def _path(self, name: Digest) -> str:
        return f"{self._root}/sha256/{name.hex[:2]}/{name.hex[2:]}"

    def _size(self, name: Digest) -> int | None:
        try:
            with self._answering():
                return int(self._fs.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def _send(self, source: BinaryIO, name: Digest) -> None:
        with self._answering():
            target = self._fs.open(self._path(name), "wb")
            sha256 = hashlib.sha256()
            try:
                while chunk := source.read(disk.CHUNK_BYTES):
                    sha256.update(chunk)
                    target.write(chunk)
                if Digest.of(sha256.digest()) != name:
                    raise disk.changed(getattr(source, "name", "the source"))
            except BaseException:
                # Closing would complete the upload, and put the wrong bytes under a name.
                target.discard()
                target.closed = True
                raise
            target.close()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Every filesystem has errors of its own; what is not an answer is the lack of one."""
        try:
            yield
        except (errors.WhenceError, FileNotFoundError, FileExistsError):
            raise
        except PermissionError as error:
            raise errors.Denied(f"the store {self._root} refused: {error}", ErrorKind.PERMISSION) from error
        except Exception as error:
            raise errors.Unreachable(
                f"the store {self._root} did not answer: {error!r}; try again"
            ) from error


class _Answering(io.RawIOBase):
    """Reads an object; the errors of its filesystem come as ours."""

    def __init__(self, source: BinaryIO, answering: Callable[[], AbstractContextManager[None]]) -> None:
        self._source = source
        self._answering = answering

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._answering():
            return cast("io.BufferedReader", self._source).readinto(buffer)

    def readall(self) -> bytes:
        with self._answering():
            return self._source.read()

    def close(self) -> None:
        self._source.close()
        super().close()


class Verified(io.RawIOBase):
    """Reads `source`; the read that reaches its end raises where the bytes are not those of `name`."""

    def __init__(self, source: BinaryIO, name: Digest, url: str) -> None:
        self._source = source
        self._name = name
        self._url = url
        self._sha256 = hashlib.sha256()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on, and at the end compare."""
        count = cast("io.BufferedReader", self._source).readinto(buffer)
        self._sha256.update(memoryview(buffer)[:count])
        if not count and len(buffer) and self._sha256.hexdigest() != self._name.hex:
            raise altered(self._name, self._url)
        return count

    def close(self) -> None:
        """Close the source too."""
        self._source.close()
        super().close()


def hash_of(source: BinaryIO) -> tuple[Digest, int]:
    """The digest and the length of what is left of `source`."""
    sha256, size_bytes = hashlib.sha256(), 0
    while chunk := source.read(disk.CHUNK_BYTES):
        sha256.update(chunk)
        size_bytes += len(chunk)
    return Digest.of(sha256.digest()), size_bytes


def missing(name: Digest, url: str) -> errors.Damaged:
    """The error for a Blob that is not there."""
    return errors.Damaged(
        f"the Blob {name} is not in {url}; restore it, or rerun what made it", ErrorKind.BLOB_MISSING
    )


def altered(name: Digest, url: str) -> errors.Damaged:
    """The error for a Blob that is not itself."""
    return errors.Damaged(
        f"the Blob {name} in {url} holds other bytes; restore it, or put the same content again",
        ErrorKind.BLOB_ALTERED,
    )


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
