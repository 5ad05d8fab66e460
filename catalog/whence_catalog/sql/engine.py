"""Compiled statements, transactions, and what every database's engine has in common.

A statement is SQLAlchemy Core over the tables, compiled once for each dialect to (SQL, order of
parameters) and then run on the driver's own connection: Core's own execution costs two to three times
as much. What differs between databases stands here and in `sqlite` and `postgres`; nothing else knows.
"""

import contextlib
import functools
import itertools
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import BigInteger, Boolean, ColumnElement, Table, bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.functions import FunctionElement

from whence_catalog import later, model
from whence_catalog.errors import Unreachable
from whence_catalog.sql import together

# A process with an embedded catalog has no use for it.
if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql
else:
    postgresql = later.Later("sqlalchemy.dialects.postgresql")

Value: TypeAlias = int | str | bytes | float | None
Given: TypeAlias = Value | Sequence[int] | Sequence[bytes] | Sequence[str]
Record: TypeAlias = tuple[Any, ...]
T = TypeVar("T")
C = TypeVar("C")


@functools.cache
def dialect(name: str) -> Dialect:
    """How SQL is written there."""
    if name == "sqlite":
        return sqlite.dialect(paramstyle="qmark")
    return postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


def _upsert(name: str) -> Callable[..., Any]:
    return sqlite.insert if name == "sqlite" else postgresql.insert


class Gate(Enum):
    """How a transaction stands to the gate that everybody passes who records or hands out productions.

    PASSED: nobody closes it until this transaction is done. CLOSED: nobody else is past it, or passes. Where
    there is one writer at a time it is always closed.
    """

    PASSED = "passed"
    CLOSED = "closed"


class Crowded(Exception):
    """What a transaction is about to write has to be written behind a closed gate: begin again, with it closed."""


# A fact that has no position yet comes behind all that have one, in the order in which it was written.
UNSEQUENCED = 2**62
# A place behind all facts: what is known there is all that is committed, sequenced or not.
NOW = 2**63 - 1


# ── what the dialects write differently ──────────────────────────────────────────────────────────


class _Among(FunctionElement[bool]):
    inherit_cache = True
    type = Boolean()
    name = "among"

    def self_group(self, against: Any = None) -> "_Among":
        # Else SQLite is given `… IN (…) = 1`, which no index serves.
        return self


class _AmongBytes(_Among):
    inherit_cache = True


class _AmongTexts(_Among):
    inherit_cache = True


def among(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """Whether a column is one of the numbers that `parameter` lists: one parameter, whatever their number."""
    return _Among(column, bindparam(parameter))


def among_bytes(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """As `among`, of bytes."""
    return _AmongBytes(column, bindparam(parameter))


def among_texts(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """As `among`, of texts."""
    return _AmongTexts(column, bindparam(parameter))


class _Place(FunctionElement[int]):
    inherit_cache = True
    type = BigInteger()
    name = "place"


def place(fact: ColumnElement[Any]) -> ColumnElement[int]:
    """Where the fact with that number stands in the order of facts."""
    return _Place(fact)


def known(fact: ColumnElement[Any], as_of: str = "as_of") -> ColumnElement[bool]:
    """Whether the fact with that number was known at the position in the parameter `as_of`; no fact never was."""
    return place(fact) <= bindparam(as_of)


def unknown(fact: ColumnElement[Any], as_of: str = "as_of") -> ColumnElement[bool]:
    """Whether the fact with that number was not known at that position: it came later, or there is none."""
    return fact.is_(None) | (place(fact) > bindparam(as_of))


class _Larger(FunctionElement[int]):
    inherit_cache = True
    type = BigInteger()
    name = "larger"


def larger(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[int]:
    """The greater of two values."""
    return _Larger(one, other)


class _Clock(FunctionElement[int]):
    inherit_cache = True
    type = BigInteger()
    name = "clock"


def clock() -> ColumnElement[int]:
    """The database's clock, where the catalog goes by it; else NULL. Hand it to `Transaction.hear`."""
    return _Clock()


def _parts(element: FunctionElement[Any], compiler: Any, keywords: Any) -> list[str]:
    return [compiler.process(clause, **keywords) for clause in element.clauses]


@compiles(_Among, "sqlite")
def _(element: _Among, compiler: Any, **keywords: Any) -> str:
    column, parameter = _parts(element, compiler, keywords)
    return f"{column} IN (SELECT value FROM json_each({parameter}))"


@compiles(_AmongBytes, "sqlite")
def _(element: _AmongBytes, compiler: Any, **keywords: Any) -> str:
    column, parameter = _parts(element, compiler, keywords)
    return f"{column} IN (SELECT whence_unhex(value) FROM json_each({parameter}))"


@compiles(_Among, "postgresql")
def _(element: _Among, compiler: Any, **keywords: Any) -> str:
    column, parameter = _parts(element, compiler, keywords)
    return f"{column} = ANY(CAST({parameter} AS bigint[]))"


@compiles(_AmongBytes, "postgresql")
def _(element: _AmongBytes, compiler: Any, **keywords: Any) -> str:
    column, parameter = _parts(element, compiler, keywords)
    return f"{column} = ANY(CAST({parameter} AS bytea[]))"


@compiles(_AmongTexts, "postgresql")
def _(element: _AmongTexts, compiler: Any, **keywords: Any) -> str:
    column, parameter = _parts(element, compiler, keywords)
    return f"{column} = ANY(CAST({parameter} AS text[]))"


@compiles(_Place, "sqlite")
def _(element: _Place, compiler: Any, **keywords: Any) -> str:
    # There the number of a fact is its position.
    return _parts(element, compiler, keywords)[0]


@compiles(_Place, "postgresql")
def _(element: _Place, compiler: Any, **keywords: Any) -> str:
    (column,) = _parts(element, compiler, keywords)
    return f"(SELECT coalesce(f.position, {UNSEQUENCED} + f.ordinal) FROM fact f WHERE f.id = {column})"


@compiles(_Clock, "sqlite")
def _(element: _Clock, compiler: Any, **keywords: Any) -> str:
    return "NULL"


@compiles(_Clock, "postgresql")
def _(element: _Clock, compiler: Any, **keywords: Any) -> str:
    # `now()` would be the time before a lock was waited for.
    return "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


@compiles(_Larger, "sqlite")
def _(element: _Larger, compiler: Any, **keywords: Any) -> str:
    return f"max({', '.join(_parts(element, compiler, keywords))})"


@compiles(_Larger, "postgresql")
def _(element: _Larger, compiler: Any, **keywords: Any) -> str:
    return f"greatest({', '.join(_parts(element, compiler, keywords))})"


# ── statements ───────────────────────────────────────────────────────────────────────────────────


class Ready(NamedTuple):
    """A statement as a driver takes it: SQL, the names of its parameters in order, and hidden ones' values."""

    sql: str
    order: tuple[str, ...]
    defaults: Mapping[str, Value]

    def arguments(self, given: Mapping[str, Given]) -> list[Given]:
        """The parameters in the order the driver wants."""
        if self.defaults:
            given = {**self.defaults, **given}
        return [given[name] for name in self.order]


class Statement:
    """A Core statement, compiled for a dialect at its first use there and never again.

    One that `INSERT … ON CONFLICT` builds is given as a function of the dialect's own `insert`.
    """

    __slots__ = ("_core", "_ready", "_together")

    def __init__(self, core: ClauseElement | Callable[[Callable[..., Any]], ClauseElement]) -> None:
        self._core = core
        self._ready: dict[str, Ready] = {}
        self._together: tuple[Ready | None] | None = None

    def on(self, dialect: str) -> Ready:
        """This statement, ready to run."""
        return self._ready.get(dialect) or self._compiled(dialect)

    def _compiled(self, on: str) -> Ready:
        core = self._core if isinstance(self._core, ClauseElement) else self._core(_upsert(on))
        ready = self._ready[on] = _compiled(core, on)
        return ready

    @property
    def together(self) -> Ready | None:
        """On PostgreSQL, this for any number of rows of parameters at once: each is then the array of theirs.

        Nothing where it cannot be; see `together.of_many`.
        """
        if self._together is None:
            core = self._core if isinstance(self._core, ClauseElement) else self._core(_upsert("postgresql"))
            made = together.of_many(core)
            self._together = (None if made is None else _compiled(made, "postgresql"),)
        return self._together[0]


def _compiled(core: ClauseElement, on: str) -> Ready:
    compiled: Any = core.compile(dialect=dialect(on))
    given = getattr(compiled, "params", {}) or {}
    return Ready(
        str(compiled),
        tuple(getattr(compiled, "positiontup", None) or ()),
        {name: value for name, value in given.items() if value is not None},
    )


# A statement, and with what it is asked, once or several times.
Asked: TypeAlias = tuple[Statement, Sequence[Mapping[str, Given]]]


class Filling:
    """Columns of a table into which rows are written, as tuples in that order: by the fastest way there is."""

    __slots__ = ("_beginning", "_row", "copies", "inserts", "numbered_by", "table", "types")

    def __init__(self, table: Table, *columns: str, numbered: tuple[str, str] | None = None) -> None:
        """`numbered` is a further column, and the sequence whose next number it gets as the row is written."""
        self.table = table.name
        every = columns if numbered is None else (*columns, numbered[0])
        named = ", ".join(f'"{name}"' for name in every)
        self.numbered_by = None if numbered is None else numbered[1]
        self.inserts = f"INSERT INTO {table.name} ({named}) VALUES ({', '.join('?' * len(columns))})"
        next_one = "" if numbered is None else f", nextval('{numbered[1]}')"
        self._row = f"({', '.join(['%s'] * len(columns))}{next_one})"
        self._beginning = f"INSERT INTO {table.name} ({named}) VALUES "
        self.copies = f"COPY {table.name} ({named}) FROM STDIN (FORMAT BINARY)"
        self.types = [_TYPES[type(table.columns[name].type).__name__] for name in every]

    def inserts_many(self, rows: int) -> str:
        """The statement that inserts that many rows on PostgreSQL."""
        return self._beginning + ", ".join([self._row] * rows)


# How PostgreSQL calls the types of our columns.
_TYPES = {"BigInteger": "int8", "Integer": "int8", "Text": "text", "LargeBinary": "bytea", "Double": "float8"}


class Transaction(ABC):
    """One open transaction.

    What is put off with `at_the_end` is carried out when the item of the batch, or the transaction, is
    done; nothing of an item that failed is.
    """

    dialect: str
    # Whether a fact gets its position now: whoever writes is the only one who does.
    is_sequencing: bool

    def __init__(self, connection: Any, gate: Gate | None) -> None:
        self.gate = gate
        # What this transaction found out that nobody else can change until its end.
        self.found: dict[str, Any] = {}
        self._connection = connection
        self._put_off: list[tuple[Statement, Mapping[str, Given]]] = []
        self._last: list[tuple[tuple[str, ...], Statement, Mapping[str, Value]]] = []

    @property
    @abstractmethod
    def micros(self) -> int:
        """The catalog's clock, once for the whole transaction: microseconds since the epoch."""

    @abstractmethod
    def hear(self, micros: int | None) -> None:
        """Take the time that a statement told on its way (`clock`), unless there is one already."""

    @property
    def at(self) -> datetime:
        """The time of this transaction."""
        return model.moment(self.micros)

    def next_fact(self) -> int:
        """A number for a fact, where it does not come with the position. It says nothing about order."""
        raise AssertionError(f"{self.dialect} numbers facts as it sequences them")

    @abstractmethod
    def _execute(self, statement: Statement, given: Mapping[str, Given]) -> Any:
        """Run it; answers the driver's cursor."""

    def all(self, statement: Statement, **parameters: Given) -> list[Record]:
        """Every row."""
        rows: list[Record] = self._execute(statement, parameters).fetchall()
        return rows

    def one(self, statement: Statement, **parameters: Given) -> Record | None:
        """The first row, if there is one."""
        row: Record | None = self._execute(statement, parameters).fetchone()
        return row

    def run(self, statement: Statement, **parameters: Given) -> int:
        """Carry it out; answers how many rows it changed."""
        changed: int = self._execute(statement, parameters).rowcount
        return changed

    @abstractmethod
    def many(self, statement: Statement, rows: Sequence[Mapping[str, Value]]) -> None:
        """Carry it out once for each of `rows`."""

    @abstractmethod
    def foresee(self, rows: Mapping[str, int], *asked: Asked) -> None:
        """Have the answers to these ready, each for who asks next, where to ask one by one is to wait each time.

        Only what nobody else can change until it is asked, or what may as well be asked now, may be foreseen; all of
        it is then asked. `rows` says for how many new rows of which tables there will be `numbers`.
        """

    @abstractmethod
    def forget(self) -> None:
        """Forget what was foreseen: it may have changed."""

    def hold(self, statement: Statement, **parameters: Given) -> None:
        """Carry it out, before anything else is done: whose answer nobody waits for, but all see what it waited for."""
        self._execute(statement, parameters)

    def each(self, statement: Statement, rows: Sequence[Mapping[str, Given]]) -> list[list[Record]]:
        """Every row that it answers, of each of `rows`."""
        return [self._execute(statement, row).fetchall() for row in rows]

    @abstractmethod
    def numbers(self, table: str, many: int) -> Sequence[int]:
        """Numbers for that many new rows of a table, rising; nobody else gets them."""

    @abstractmethod
    def fill(self, *filled: tuple[Filling, Sequence[tuple[Value, ...]]]) -> None:
        """Write these rows, one table after the other."""

    def fill_at_the_end(self, filling: Filling, rows: Sequence[tuple[Value, ...]]) -> None:
        """Write these rows when all else of this item is done: only then do they get their numbers."""
        raise AssertionError(f"{self.dialect} numbers facts as it sequences them")

    @abstractmethod
    def tables(self) -> set[str]:
        """The names of the tables that are there."""

    def script(self, sql: str) -> list[Record]:
        """Run one statement of the engine's own making (DDL, a pragma); answers its rows."""
        cursor = self._connection.execute(sql)
        return [] if cursor.description is None else cursor.fetchall()

    def at_the_end(self, statement: Statement, **parameters: Given) -> None:
        """Carry it out when all else of this item is."""
        self._put_off.append((statement, parameters))

    def before_commit(self, key: tuple[str, ...], statement: Statement, **parameters: Value) -> None:
        """Carry it out last of all, in the order of keys, once for each key.

        So transactions that touch the same rows do it in one order, whatever order their items came in.
        """
        self._last.append((key, statement, parameters))

    def finish(self) -> None:
        """Carry out all that was put off: nothing comes after it but the commit."""
        self.settle()
        by_key = {key: (statement, parameters) for key, statement, parameters in self._last}
        self._last = []
        ordered = [by_key[key] for key in sorted(by_key)]
        for _, some in itertools.groupby(ordered, key=lambda each: id(each[0])):
            together = list(some)
            self.many(together[0][0], [parameters for _, parameters in together])

    def settle(self) -> None:
        """Carry out what was put off to the end of the item."""
        put_off, self._put_off = self._put_off, []
        for statement, parameters in put_off:
            self._execute(statement, parameters)

    @abstractmethod
    def _let_go(self) -> None:
        """Forget what was foreseen, and what was to be written: it is undone, and others come."""

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """What happens inside happens whole or not at all, whatever becomes of the rest."""
        # One name for all, since the innermost is meant: a new one each time would be SQL to compile.
        self._connection.execute("SAVEPOINT item")
        before = len(self._last)
        try:
            yield
            self.settle()
        except BaseException:
            self._put_off.clear()
            del self._last[before:]
            self._let_go()
            self._connection.execute("ROLLBACK TO item")
            self._connection.execute("RELEASE item")
            raise
        self._connection.execute("RELEASE item")


# ── engines ──────────────────────────────────────────────────────────────────────────────────────


class Engine(ABC, Generic[C]):
    """Connections to one database, kept for the next who needs one.

    Safe from threads; a forked child opens connections of its own.
    """

    # In words that hold no secret.
    url: str
    dialect: str

    def __init__(self) -> None:
        self._idle: list[C] = []
        self._inherited: list[C] = []
        self._guard = threading.Lock()
        self._pid = os.getpid()
        self._closed = False

    @abstractmethod
    def reading(self) -> contextlib.AbstractContextManager[Transaction]:
        """One unchanging view of what is committed."""

    @abstractmethod
    def writing(
        self, *, durable: bool = True, gate: Gate | None = None
    ) -> contextlib.AbstractContextManager[Transaction]:
        """A transaction that writes. Durable: on the disk when this returns.

        Not durable is for leases and heartbeats alone: a power cut may lose the last of them.
        """

    def read(self, work: Callable[[Transaction], T]) -> T:
        """What `work` answers of one unchanging view."""
        with self.reading() as tx:
            return work(tx)

    def glance(self, work: Callable[[Transaction], T]) -> T:
        """As `read`, of work that needs no one view: what its statements see may change in between.

        To begin and end a transaction costs more than one statement does.
        """
        return self.read(work)

    def write(self, work: Callable[[Transaction], T], *, durable: bool = True, gate: Gate | None = None) -> T:
        """What `work` answers, once what it wrote is committed; it may be carried out again from the start."""
        with self.writing(durable=durable, gate=gate) as tx:
            return work(tx)

    @abstractmethod
    def _open(self) -> C:
        """A new connection."""

    @abstractmethod
    def _dispose(self, connection: C) -> None:
        """Close it."""

    def close(self) -> None:
        """Close every idle connection; a busy one closes when it is handed back."""
        with self._guard:
            self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            self._dispose(connection)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[C]:
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: C) -> None:
        with self._guard:
            keep = not self._closed and self._pid == os.getpid() and self._is_usable(connection)
            if keep:
                self._idle.append(connection)
        if not keep:
            self._dispose(connection)

    def _is_usable(self, connection: C) -> bool:
        return True

    def _take(self) -> C:
        if self._pid != os.getpid():
            # Closing an inherited connection would end the parent's too: keep it, and never touch it.
            self._guard = threading.Lock()
            self._inherited += self._idle
            self._idle, self._pid = [], os.getpid()
            self._forget_inherited()
        with self._guard:
            if self._closed:
                raise Unreachable("this catalog was closed; connect again")
            if self._idle:
                return self._idle.pop()
        return self._open()

    def _forget_inherited(self) -> None:
        """Let go of what a parent process may use too."""
