"""Connections, transactions and compiled statements. All that differs between databases stands here.

A statement is SQLAlchemy Core over the tables, compiled once to (SQL, order of parameters) and then run
on the driver's own connection: Core's own execution costs two to three times as much.
"""

import contextlib
import fcntl
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from whence_catalog import model
from whence_catalog.errors import ErrorKind, NotReady, Unreachable, WhenceError

Value: TypeAlias = int | str | bytes | float | None
Record: TypeAlias = tuple[Any, ...]

DIALECT = sqlite.dialect(paramstyle="qmark")

# Filesystems on which SQLite's WAL is unsafe, since its shared memory is not shared between machines.
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "gpfs", "beegfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.juicefs"}
)


class Statement:
    """A Core statement, compiled at its first use and never again."""

    __slots__ = ("_core", "defaults", "order", "sql")

    def __init__(self, core: ClauseElement) -> None:
        self._core = core
        self.sql = ""
        self.order: tuple[str, ...] = ()
        self.defaults: Mapping[str, Value] = {}

    def compiled(self) -> "Statement":
        """This statement, ready to run."""
        if not self.sql:
            compiled = self._core.compile(dialect=DIALECT)
            self.order = tuple(getattr(compiled, "positiontup", None) or ())
            given = getattr(compiled, "params", {}) or {}
            self.defaults = {name: value for name, value in given.items() if value is not None}
            self.sql = str(compiled)
        return self

    def arguments(self, given: Mapping[str, Value]) -> tuple[Value, ...]:
        """The parameters in the order the driver wants."""
        if self.defaults:
            given = {**self.defaults, **given}
        return tuple([given[name] for name in self.order])


class Transaction:
    """One open transaction. `at` is the catalog's clock when it began: in SQLite, this process's own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # SQLite's clock is that of this process; to ask for it in SQL is one more statement each time.
        self.micros = time.time_ns() // 1000

    @property
    def at(self) -> datetime:
        """The time of this transaction."""
        return model.moment(self.micros)

    def all(self, statement: Statement, **parameters: Value) -> list[Record]:
        """Every row."""
        ready = statement.compiled()
        return self._connection.execute(ready.sql, ready.arguments(parameters)).fetchall()

    def one(self, statement: Statement, **parameters: Value) -> Record | None:
        """The first row, if there is one."""
        ready = statement.compiled()
        row: Record | None = self._connection.execute(ready.sql, ready.arguments(parameters)).fetchone()
        return row

    def run(self, statement: Statement, **parameters: Value) -> int:
        """Carry it out; answers how many rows it changed."""
        ready = statement.compiled()
        return self._connection.execute(ready.sql, ready.arguments(parameters)).rowcount

    def many(self, statement: Statement, rows: Sequence[Mapping[str, Value]]) -> None:
        """Carry it out once for each of `rows`."""
        ready = statement.compiled()
        self._connection.executemany(ready.sql, [ready.arguments(row) for row in rows])

    def rows(self, sql: str) -> list[Record]:
        """Every row of a query of the engine's own making (the master table, a pragma)."""
        return self._connection.execute(sql).fetchall()

    def script(self, sql: str) -> None:
        """Run one statement of the engine's own making (DDL, a pragma)."""
        self._connection.execute(sql)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """What happens inside happens whole or not at all, whatever becomes of the rest."""
        # One name for all, since the innermost is meant: a new one each time would be SQL to compile.
        self._connection.execute("SAVEPOINT item")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO item")
            self._connection.execute("RELEASE item")
            raise
        self._connection.execute("RELEASE item")


class SqliteEngine:
    """Connections to one SQLite file (or to a private database in memory, where `path` is None).

    Writers queue for a file lock beside the database: SQLite's own busy time-out starves some of them.
    Safe from threads; a forked child opens connections of its own.
    """

    def __init__(
        self, path: Path | None, *, synchronous: str = "FULL", timeout_seconds: float = 30.0
    ) -> None:
        self.path = path
        self._synchronous = synchronous
        self._timeout_seconds = timeout_seconds
        self._idle: list[tuple[sqlite3.Connection, int | None]] = []
        self._inherited: list[tuple[sqlite3.Connection, int | None]] = []
        self._guard = threading.Lock()
        self._pid = os.getpid()
        self._closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """One unchanging view of what is committed."""
        with _translated(self.path), self._connection() as (connection, _):
            connection.execute("BEGIN")
            try:
                yield Transaction(connection)
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Transaction]:
        """A transaction that is the only writer. Durable: on the disk when this returns.

        Not durable is for leases and heartbeats alone: a power cut may lose the last of them, and the
        next durable commit carries them to the disk.
        """
        with _translated(self.path), self._connection() as (connection, lock), self._queue(lock):
            if not durable:
                connection.execute("PRAGMA synchronous=NORMAL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield Transaction(connection)
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

    def close(self) -> None:
        """Close every idle connection; a busy one closes when it is handed back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for entry in idle:
            _dispose(*entry)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[tuple[sqlite3.Connection, int | None]]:
        entry = self._take()
        try:
            yield entry
        finally:
            with self._guard:
                keep = not self._closed and self._pid == os.getpid()
                if keep:
                    self._idle.append(entry)
            if not keep:
                _dispose(*entry)

    def _take(self) -> tuple[sqlite3.Connection, int | None]:
        if self._pid != os.getpid():
            # Closing an inherited connection would drop the parent's locks: keep it, and never touch it.
            self._guard = threading.Lock()
            self._inherited += self._idle
            self._idle, self._pid = [], os.getpid()
        with self._guard:
            if self._closed:
                raise Unreachable("this catalog was closed; connect again")
            if self._idle:
                return self._idle.pop()
        return self._open()

    def _open(self) -> tuple[sqlite3.Connection, int | None]:
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
            except BaseException:
                connection.close()
                raise
        return connection, None if self.path is None else _open_lock(self.path)

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


def _open_lock(path: Path) -> int | None:
    try:
        return os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return None  # a read-only catalog can be read; a write will say what is wrong


def _dispose(connection: sqlite3.Connection, lock: int | None) -> None:
    connection.close()
    if lock is not None:
        os.close(lock)


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
