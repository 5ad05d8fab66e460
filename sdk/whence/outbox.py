"""What could not be told to the catalog yet, on disk: one file for each thing said, in the order it was said.

    <folder>/<microseconds>-<uid>-<run>.<verb>.json     to be delivered
    <folder>/refused/…                                  refused by the catalog, with the reason

A file appears under its name whole and durable, so that kill -9 at any point loses nothing that was kept. Its
first line holds the digest of the rest: one that a disk tore is set aside, not believed. `delivery`
says what is kept, and delivers it; whoever holds `lock` alone does. Twice delivered is once in effect,
since everything said has a uid of its own.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

from whence_catalog import later, model
from whence_catalog.blobs import disk
from whence_catalog.errors import Damaged, ErrorKind, InvalidInput, NotFound, WhenceError

# Where the catalog answers, nothing is kept.
if TYPE_CHECKING:
    from whence_catalog import verbs
else:
    (verbs,) = later.modules("whence_catalog", "verbs")

FORMAT = "whence-outbox/1"
REFUSED = "refused"
_LOCK = ".lock"
_HALF_WRITTEN_SECONDS = 3600.0
# No folder is an empty one; whoever wants to keep something there is told what is wrong with it.
_ABSENT = (FileNotFoundError, NotADirectoryError, PermissionError)

# What a name tells without a look into the file.
_NAME = re.compile(r"(\d{17})-([0-9a-f]{32})-([0-9a-f]{32})\.([a-z_]+)(\.spilled)?\.json")
# The one parameter of each verb that is kept, a sequence of which one item is kept.
_ITEMS: Mapping[str, str] = {
    "reserve": "calls",
    "finish_runs": "reports",
    "record_runs": "runs",
    "add": "additions",
    "log": "series",
}


@dataclass(frozen=True, slots=True)
class Name:
    """What the name of a record tells: when it was kept, the uid of what was said, the Run, the verb.

    `is_spilled`: a copy lies in the Blob store, too.
    """

    kept_at: datetime
    uid: UUID
    run: UUID
    verb: str
    is_spilled: bool = False

    @classmethod
    def parse(cls, text: str) -> "Name | None":
        """The name that a file has; None if it is no record."""
        found = _NAME.fullmatch(text)
        if found is None or found[4] not in _ITEMS:
            return None
        at, uid, run, verb, spilled = found.groups()
        return cls(model.moment(int(at)), UUID(uid), UUID(run), verb, spilled is not None)

    @property
    def original(self) -> "Name":
        """The name that it had before it was copied."""
        return replace(self, is_spilled=False)

    @property
    def text(self) -> str:
        """As a file is called."""
        spilled = ".spilled" if self.is_spilled else ""
        at = model.microseconds(self.kept_at)
        return f"{at:017d}-{self.uid.hex}-{self.run.hex}.{self.verb}{spilled}.json"


@dataclass(frozen=True, slots=True)
class Record:
    """Something that was said: `item` is what `verb` takes a sequence of.

    `instead_of` is the Run that was asked for first, whose start was not answered.
    """

    name: Name
    catalog: str
    item: object
    instead_of: UUID | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A record at a glance, with why it was refused, if it was."""

    name: Name
    refused: WhenceError | None = None


def keepable(verb: str, item: object) -> tuple[UUID, UUID]:
    """(uid, Run) of something that can be kept."""
    match item:
        case model.Call():
            return item.run, item.run
        case model.Report() | model.Addition() | model.Series():
            return item.uid, item.run
        case (model.Call() as call, model.Report()):
            return call.run, call.run
        case _:
            raise TypeError(f"{verb} of a {type(item).__qualname__} cannot be kept")


class Outbox:
    """The records for one catalog, in one folder. Several processes may use it at once."""

    def __init__(self, folder: Path, url: str) -> None:
        """`url` is the catalog's, without any password: every record says it."""
        self.folder = folder
        self.url = url
        self.forget()
        self._last = 0

    # ── keeping ──────────────────────────────────────────────────────────────────────────────────

    def forget(self) -> None:
        """Forget what another thread was at: a forked child has none that would go on with it."""
        self._guard = threading.Lock()

    def keep(self, verb: str, item: object, instead_of: UUID | None = None) -> Record:
        """Keep something that was said; it survives the death of this process when this returns.

        Raises:
            NotReady, Denied: the folder cannot be written.
        """
        uid, run = keepable(verb, item)
        record = Record(Name(self._now(), uid, run, verb), self.url, item, instead_of)
        with disk.explained(str(self.folder)):
            _write(self.folder, record.name.text, _Page.of(record).data)
        return record

    def _now(self) -> datetime:
        """The time, but never the same twice: names are in the order of keeping."""
        with self._guard:
            self._last = max(model.microseconds(datetime.now(UTC)), self._last + 1)
            return model.moment(self._last)

    def adopt(self, name: Name, data: bytes) -> None:
        """Keep a record that lies in the Blob store, as its copy has it."""
        adopted = replace(name, is_spilled=True)
        with disk.explained(str(self.folder)):
            if not self._holds(adopted):
                _write(self.folder, adopted.text, data)

    def mark_spilled(self, name: Name, send: Callable[[bytes], None]) -> None:
        """Have `send` make a copy of a record, which from then on its name tells; nothing if it is gone."""
        with contextlib.suppress(FileNotFoundError):
            send((self.folder / name.text).read_bytes())
            os.rename(self.folder / name.text, self.folder / replace(name, is_spilled=True).text)

    def _holds(self, name: Name) -> bool:
        names = (name, replace(name, is_spilled=not name.is_spilled))
        return any((self.folder / each.text).exists() for each in names)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be delivered: one look, however much is here."""
        try:
            with os.scandir(self.folder) as found:
                return not any(_NAME.fullmatch(entry.name) for entry in found)
        except _ABSENT:
            return True

    def pending(self) -> list[Name]:
        """What is to be delivered, oldest first."""
        return _names(self.folder)

    def entries(self) -> list[Entry]:
        """All that is here, oldest first."""
        refused = [Entry(name, self._reason(name)) for name in _names(self.folder / REFUSED)]
        return sorted(
            [*(Entry(name) for name in self.pending()), *refused], key=lambda entry: entry.name.text
        )

    def read(self, name: Name) -> Record:
        """The record of that name, to be delivered or refused.

        Raises:
            Damaged: its bytes are not what was kept.
            NotFound: it is gone: somebody else delivered it.
        """
        return self._page(name).record(name)

    def text(self, name: Name) -> Sequence[bytes]:
        """The record in full, as it lies on disk: the JSON of what it is, of the call, and of the refusal if any."""
        return self._page(name).lines

    def _page(self, name: Name) -> "_Page":
        for folder in (self.folder, self.folder / REFUSED):
            with contextlib.suppress(FileNotFoundError):
                return _Page.read((folder / name.text).read_bytes())
        raise NotFound(f"nothing called {name.text} is in {self.folder}", ErrorKind.NO_SUCH_FILE)

    def _reason(self, name: Name) -> WhenceError:
        try:
            return self._page(name).refusal or Damaged("nothing says why", ErrorKind.FACT_ALTERED)
        except WhenceError as error:
            return error

    # ── ending ───────────────────────────────────────────────────────────────────────────────────

    def remove(self, name: Name) -> None:
        """It was delivered."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / name.text).unlink()

    def set_aside(self, name: Name, why: WhenceError) -> None:
        """It was refused, or cannot be read: keep it, with the reason, where it stops nothing."""
        aside = name.original
        try:
            page = self._page(name)
        except NotFound:
            return
        except Damaged:
            _make_private(self.folder / REFUSED)
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.folder / name.text, self.folder / REFUSED / aside.text)
            return
        _write(self.folder / REFUSED, aside.text, page.refused(why).data)
        self.remove(name)

    def tidy(self) -> None:
        """Remove what a process that was killed left half written."""
        with contextlib.suppress(OSError):
            for path in self.folder.glob(".?*"):
                if path.name != _LOCK and path.stat().st_mtime < time.time() - _HALF_WRITTEN_SECONDS:
                    path.unlink()

    def take_up_refused(self) -> None:
        """What was refused is to be delivered again."""
        names = _names(self.folder / REFUSED)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.folder / REFUSED / name.text, self.folder / name.text)
        if names:
            disk.flush([str(self.folder), str(self.folder / REFUSED)])

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Holds the right to deliver from here; gives whether it was free. A killed holder holds nothing."""
        if os.name != "posix":  # twice delivered is harmless
            yield True
            return
        import fcntl

        _make_private(self.folder)
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                # Of the process, not of the file that is open: a forked child does not hold it too.
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except OSError:
                free = False
            yield free
        finally:
            os.close(descriptor)


# ── a file ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Page:
    """What a record's file holds: JSON lines below one that holds their digest."""

    lines: tuple[bytes, ...]

    @classmethod
    def of(cls, record: Record) -> "_Page":
        name = record.name
        what = {
            "catalog": record.catalog,
            "kept_at": name.kept_at.isoformat().replace("+00:00", "Z"),
            "verb": name.verb,
            "run": str(name.run),
            "instead_of": None if record.instead_of is None else str(record.instead_of),
        }
        said = verbs.VERBS[name.verb].encode_call({_ITEMS[name.verb]: [record.item]})
        return cls((json.dumps(what).encode(), said))

    @classmethod
    def read(cls, data: bytes) -> "_Page":
        head, _, body = data.partition(b"\n")
        if head != _head(body):
            raise Damaged("the record is torn: its bytes are not what was kept", ErrorKind.FACT_ALTERED)
        return cls(tuple(body.split(b"\n")))

    @property
    def data(self) -> bytes:
        body = b"\n".join(self.lines)
        return _head(body) + b"\n" + body

    @property
    def refusal(self) -> WhenceError | None:
        return verbs.decode_error(self.lines[2]) if len(self.lines) > 2 else None

    def refused(self, why: WhenceError) -> "_Page":
        return _Page((*self.lines[:2], verbs.encode_error(why)))

    def record(self, name: Name) -> Record:
        try:
            what = cast("dict[str, str | None]", json.loads(self.lines[0]))
            said = verbs.VERBS[name.verb].decode_call(self.lines[1])
            (item,) = cast("Sequence[object]", said[_ITEMS[name.verb]])
            instead_of = what["instead_of"]
            return Record(name, what["catalog"] or "", item, None if instead_of is None else UUID(instead_of))
        except (InvalidInput, ValueError, LookupError) as error:
            raise Damaged(f"the record cannot be read: {error}", ErrorKind.FACT_ALTERED) from error


def _head(body: bytes) -> bytes:
    return f"{FORMAT} {hashlib.sha256(body).hexdigest()}".encode()


def _names(folder: Path) -> list[Name]:
    try:
        found = [Name.parse(text) for text in os.listdir(folder)]
    except _ABSENT:
        return []
    return sorted((name for name in found if name), key=lambda name: name.text)


def _make_private(folder: Path) -> None:
    """Have a folder that nobody else reads: what is kept may name anything that a step was given."""
    if not folder.is_dir():
        gained = list(disk.make_folder(str(folder)))
        folder.chmod(0o700)
        disk.flush(gained)


def _write(folder: Path, name: str, data: bytes) -> None:
    """A file, whole and durable, or none."""
    _make_private(folder)
    temp = folder / f".{secrets.token_hex(8)}"
    try:
        with open(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temp, folder / name)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
    disk.flush([str(folder)])
