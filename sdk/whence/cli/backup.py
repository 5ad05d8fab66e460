"""Backup and restore: first what the catalog says, then the bytes that it names.

A backup is an embedded catalog in a folder: it can be opened, checked and asked like any other.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from whence import connecting, settings
from whence_catalog import blobs, digest, facts, model, replies
from whence_catalog.errors import Conflict, Damaged, ErrorKind, InvalidInput, NotFound
from whence_catalog.sql import catalog as sql_catalog

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied, and where to. `blobs` is None where the bytes were left where they are."""

    source: str
    target: str
    checkpoint: replies.Checkpoint
    blobs: int | None
    missing: tuple[digest.Digest, ...] = ()


def back_up(to: Path, with_blobs: bool, progress: Progress) -> Copied:
    """Copy the catalog that the environment names into a new folder, and its bytes if asked.

    Raises:
        Conflict: the folder holds something.
        InvalidInput: the catalog is reached through a server: its database must be.
    """
    if to.exists() and any(to.iterdir()):
        raise Conflict(f"{to} is not empty; name a new folder", ErrorKind.OTHER_CONTENT)
    with _opened(settings.database_url()) as source, _opened(str(to / settings.DATABASE)) as target:
        checkpoint = source.copy_into(target, _told(progress))
        if not with_blobs:
            return Copied(str(source.identity().url), str(to), checkpoint, None)
        with contextlib.closing(connecting.open_client()) as connected:
            copied, missing = _copy_blobs(target, connected.blobs, _store_in(to), progress)
        return Copied(str(source.identity().url), str(to), checkpoint, copied, missing)


def restore(backup: Path, progress: Progress) -> Copied:
    """Copy a backup into the empty catalog that the environment names, and the bytes that are with it.

    Raises:
        NotFound: there is no backup.
        Conflict: something was recorded there already.
    """
    if not (backup / settings.DATABASE).is_file():
        raise NotFound(f"no backup in {backup}: it holds no {settings.DATABASE}", ErrorKind.NO_SUCH_FILE)
    with _opened(str(backup / settings.DATABASE)) as source, _opened(settings.database_url()) as target:
        # Bytes first: what is recorded is there.
        copied: int | None = None
        missing: tuple[digest.Digest, ...] = ()
        if (backup / "blobs").is_dir():
            with contextlib.closing(connecting.open_client()) as connected:
                copied, missing = _copy_blobs(source, _store_in(backup), connected.blobs, progress)
        checkpoint = source.copy_into(target, _told(progress))
        return Copied(str(backup), str(target.identity().url), checkpoint, copied, missing)


@contextlib.contextmanager
def _opened(url: str) -> Iterator[sql_catalog.SqlCatalog]:
    if url.startswith(("http://", "https://")):
        raise InvalidInput(
            f"a backup is taken from the database, not through the server {url}; set WHENCE_URL to the"
            " server's own: a folder, or postgresql://…",
            ErrorKind.BAD_SETTING,
        )
    with contextlib.closing(sql_catalog.open_url(url)) as opened:
        yield opened


def _store_in(folder: Path) -> blobs.BlobStore:
    return blobs.BlobStore.open((folder / "blobs").absolute().as_uri())


def _told(progress: Progress) -> Callable[[int, int], None]:
    return lambda done, of: progress(f"facts: {done:,} of {of:,}")


def _copy_blobs(
    of: sql_catalog.SqlCatalog, source: blobs.BlobStore, target: blobs.BlobStore, progress: Progress
) -> tuple[int, tuple[digest.Digest, ...]]:
    """Copy the bytes that a catalog names and `target` has not; answers how many, and which were nowhere."""
    named: dict[digest.Digest, model.Form] = {}
    after = 0
    while page := of.facts(after):
        for stored in page:
            named |= facts.blobs(stored.fact)
        after = page[-1].position
    copied, missing = 0, []
    with tempfile.TemporaryDirectory(prefix="whence-") as folder:
        for done, (content, form) in enumerate(named.items(), start=1):
            try:
                parts = source.digests_of_tree(content) if form is model.Form.TREE else frozenset({content})
                wanted = target.missing(parts)
                absent = source.missing(wanted)
            except Damaged:
                wanted, absent = frozenset(), frozenset({content})
            missing += sorted(absent)
            for name in sorted(wanted - absent):
                passing = Path(folder) / name.hex
                source.copy_file(name, passing)
                target.put_file(passing)
                passing.unlink()
                copied += 1
            if done % 100 == 0 or done == len(named):
                progress(f"contents: {done:,} of {len(named):,}")
    return copied, tuple(missing)
