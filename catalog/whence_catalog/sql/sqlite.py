"""One SQLite file, or a private database in memory."""

import contextlib
import fcntl
import json
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from whence_catalog.errors import ErrorKind, InvalidInput, NotReady, Unreachable, WhenceError
from whence_catalog.sql.engine import Engine, Filling, Gate, Given, Statement, Transaction, Value

T = TypeVar("T")

# How many steps of SQLite's machine a read does before its clock is looked at: some milliseconds.
_STEPS_BETWEEN_LOOKS = 100_000

# Filesystems on which SQLite's WAL is unsafe, since its shared memory is not shared between machines.
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "gpfs", "beegfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.juicefs"}
)


class SqliteTransaction(Transaction):
    """A transaction on SQLite; its clock is this process's own, since to ask in SQL is one more statement."""

    dialect = "sqlite"
    is_sequencing = True

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection, Gate.CLOSED)
        self._micros = time.time_ns() // 1000

    @property
    def micros(self) -> int:
        """This process's clock when the transaction began."""
        return self._micros

    def hear(self, micros: int | None) -> None:
        """No statement tells the time: this process does."""

    def _execute(self, statement: Statement, given: Mapping[str, Given]) -> Any:
        ready = statement.on("sqlite")
        arguments = [_as_json(a) if type(a) is list else a for a in ready.arguments(given)]
        return self._connection.execute(ready.sql, arguments)

    def many(self, statement: Statement, rows: Sequence[Mapping[str, Value]]) -> None:
        """Carry it out once for each of `rows`."""
        if not rows:
            return
        ready = statement.on("sqlite")
        self._connection.executemany(ready.sql, [ready.arguments(row) for row in rows])

    def foresee(
        self, rows: Mapping[str, int], *asked: tuple[Statement, Sequence[Mapping[str, Given]]]
    ) -> None:
        """Nothing: it is asked in this process."""

    def forget(self) -> None:
        """Nothing is foreseen."""

    def _let_go(self) -> None:
        """Nothing is foreseen, and what is to be written is."""

    def numbers(self, table: str, many: int) -> Sequence[int]:
        """Those that SQLite would give next: nobody else writes meanwhile."""
        (last,) = self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        return range(last + 1, last + 1 + many)

    def fill(self, *filled: tuple[Filling, Sequence[tuple[Value, ...]]]) -> None:
        """Write these rows, one table after the other."""
        for filling, rows in filled:
            if len(rows) == 1:
                self._connection.execute(filling.inserts, rows[0])
            elif rows:
                self._connection.executemany(filling.inserts, rows)

    def tables(self) -> set[str]:
        """The names of the tables that are there."""
        return {row[0] for row in self.script("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _as_json(items: list[Any]) -> str:
    if items and type(items[0]) is int:
        return str(items)  # which JSON writes the same, and takes twice as long for
    return json.dumps([item.hex() if type(item) is bytes else item for item in items])


# A connection, and the file lock that its writes queue for.
_Entry: TypeAlias = tuple[sqlite3.Connection, int | None]


class SqliteEngine(Engine[_Entry]):
    """Connections to one SQLite file (or to a private database in memory, where `path` is None).

    Writers queue for a file lock beside the database: SQLite's own busy time-out starves some of them.
    """

    dialect = "sqlite"

    def __init__(
        self,
        path: Path | None,
        *,
        synchronous: str = "FULL",
        timeout_seconds: float = 30.0,
        read_seconds: float | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: of the file.
            synchronous: of all that is written, but for what need not be durable.
            timeout_seconds: how long to try while another process writes.
            read_seconds: how long a read may take; as long as it likes, unless given.
        """
        super().__init__()
        self._read_seconds = read_seconds
        self.path = path
        self.url = ":memory:" if path is None else str(path)
        self._synchronous = synchronous
        self._timeout_seconds = timeout_seconds

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """One unchanging view of what is committed."""
        with _translated(self.path), self._connection() as (connection, _):
            connection.execute("BEGIN")
            if self._read_seconds is not None:
                _bound(connection, self._read_seconds)
            try:
                yield SqliteTransaction(connection)
            finally:
                connection.set_progress_handler(None, 0)
                connection.execute("ROLLBACK")

    def glance(self, work: Callable[[Transaction], T]) -> T:
        """What `work` answers; each of its statements sees what is committed by then."""
        with _translated(self.path):
            entry = self._take()
            if self._read_seconds is not None:
                _bound(entry[0], self._read_seconds)
            try:
                return work(SqliteTransaction(entry[0]))
            finally:
                if self._read_seconds is not None:
                    entry[0].set_progress_handler(None, 0)
                self._give_back(entry)

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True, gate: Gate | None = None) -> Iterator[Transaction]:
        """A transaction that is the only writer. Durable: on the disk when this returns.

        What is not durable is carried to the disk by the next commit that is.
        """
        with _translated(self.path), self._connection() as (connection, lock), self._queue(lock):
            if not durable:
                connection.execute("PRAGMA synchronous=NORMAL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    tx = SqliteTransaction(connection)
                    yield tx
                    tx.finish()
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                try:
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            finally:
                if not durable:
                    connection.execute(f"PRAGMA synchronous={self._synchronous}")

    def log_writes_ahead(self) -> None:
        """Put the database into WAL mode, in which readers and the writer never wait for one another.

        It stays in it; so this is for who makes the database, and nobody else's is touched by opening it.
        """
        with _translated(self.path), self._connection() as (connection, lock), self._queue(lock):
            connection.execute("PRAGMA journal_mode=WAL")

    def _open(self) -> _Entry:
        with _translated(self.path):
            # A database in memory lives as long as its one connection, which `_idle` keeps.
            connection = sqlite3.connect(
                self.path or ":memory:",
                timeout=self._timeout_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.execute(f"PRAGMA synchronous={self._synchronous}")
                connection.execute("PRAGMA temp_store=MEMORY")
                connection.execute("PRAGMA cache_size=-65536")
                connection.execute("PRAGMA mmap_size=268435456")
                # SQLite has its own from 3.41 on.
                connection.create_function("whence_unhex", 1, bytes.fromhex, deterministic=True)
            except BaseException:
                connection.close()
                raise
        return connection, None if self.path is None else _open_lock(self.path)

    def _dispose(self, connection: _Entry) -> None:
        opened, lock = connection
        opened.close()
        if lock is not None:
            os.close(lock)

    @contextlib.contextmanager
    def _queue(self, lock: int | None) -> Iterator[None]:
        if lock is None:
            yield
            return
        give_up_at = time.monotonic() + self._timeout_seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    raise _locked(self.path) from None
                time.sleep(random.uniform(0.0002, 0.002))
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


def _bound(connection: sqlite3.Connection, seconds: float) -> None:
    """Let what the connection does from now on take that long, until its progress handler is taken away."""
    end_at = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end_at, _STEPS_BETWEEN_LOOKS)


def _open_lock(path: Path) -> int | None:
    try:
        return os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return None  # a read-only catalog can be read; a write will say what is wrong


def _locked(path: Path | None) -> Unreachable:
    return Unreachable(
        f"the catalog {path} is locked by another process; find it with `fuser {path}`, end it or wait, and try again",
        ErrorKind.LOCKED,
    )


@contextlib.contextmanager
def _translated(path: Path | None) -> Iterator[None]:
    try:
        yield
    except WhenceError:
        raise
    except OverflowError as error:
        raise InvalidInput("a number is beyond 64 bits") from error
    except sqlite3.Error as error:
        meant = _meaning(error, path)
        if meant is None:
            raise
        raise meant from error


def _meaning(error: sqlite3.Error, path: Path | None) -> WhenceError | None:
    code = getattr(error, "sqlite_errorcode", None)
    match None if code is None else code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return _locked(path)
        case sqlite3.SQLITE_INTERRUPT:
            return Unreachable(
                f"the catalog {path} was not read within the time that it is given; ask for less at once"
            )
        case sqlite3.SQLITE_READONLY:
            return NotReady(f"the catalog {path} cannot be written: {error}", ErrorKind.READ_ONLY)
        case sqlite3.SQLITE_FULL:
            return NotReady(
                f"no space is left for the catalog {path}; nothing was recorded. Free some and try again",
                ErrorKind.DISK_FULL,
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return NotReady(
                f"{path} is not a whence catalog, or it is damaged: {error}", ErrorKind.NOT_A_CATALOG
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_PERM:
            return NotReady(f"the catalog {path} cannot be opened: {error}", ErrorKind.NOT_A_CATALOG)
        case _:
            return None


def filesystem_type(path: Path, mounts: str | None = None) -> str:
    """The type of the filesystem that holds `path`, as Linux names it; empty where that is not known.

    `mounts` is what /proc/self/mountinfo says, read now unless given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return ""
    best, kind = "", ""
    target = str(path.resolve())
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].encode().decode("unicode_escape")  # a space is \040
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind
