"""A PostgreSQL database, by psycopg.

Writers work side by side, each in a transaction of its own. What the database refuses because two of
them met (a deadlock, a serialisation failure, the same new row), and what a dropped connection or a
restart cut short, is carried out again from the start: every write is idempotent on its uid. Both are
bounded; past the bound the caller is told.
"""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import psycopg
from psycopg import conninfo
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from sqlalchemy import BigInteger, Text, bindparam, func, select
from sqlalchemy import cast as cast_as
from sqlalchemy.dialects.postgresql import REGCLASS

from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotReady, Unreachable, WhenceError
from whence_catalog.sql.engine import (
    Asked,
    Crowded,
    Engine,
    Filling,
    Gate,
    Given,
    Record,
    Statement,
    Transaction,
    Value,
    clock,
)
from whence_catalog.sql.message import Answer, Messages

T = TypeVar("T")

# How often a transaction that met another one is carried out again.
_ENCOUNTERS = 30
# How many numbers of facts are taken from the sequence at once (its increment).
NUMBERS_AT_ONCE = 50
_KEPT_IDLE = 16
# From how many rows on COPY is faster than to insert them one behind the other.
_COPIED_FROM = 100
# How many rows one INSERT takes: each number of them is a statement to prepare.
_INSERTED_AT_ONCE = 8
# What PostgreSQL calls the types of columns, in numbers.
_TYPE_OF = {name: psycopg.adapters.types[name].oid for name in ("int8", "text", "bytea", "float8")}

# Going down, crashed, coming up, too many connections, idle for too long, and a standby that is not yet promoted.
_CUT_SHORT = frozenset({"57P01", "57P02", "57P03", "53300", "25P03", "0A000"})

_clock = Statement(select(clock()))
_numbers = Statement(
    select(func.nextval(cast_as(bindparam("sequence", type_=Text), REGCLASS)), clock()).select_from(
        func.generate_series(1, bindparam("many", type_=BigInteger))
    )
)
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


# Sent behind the BEGIN, in the same message: what comes after it sees what was committed while it waited.
_GATE = 0x776861676174
_AT_THE_GATE = {
    None: (),
    Gate.PASSED: (f"SELECT pg_advisory_xact_lock_shared({_GATE})",),
    # Who waits to close it holds up all who come after. So nobody waits long at once for one that stays past it
    # (a process that was paused), and in between the others pass.
    Gate.CLOSED: (
        "SET LOCAL lock_timeout = 2000",
        f"SELECT pg_advisory_xact_lock({_GATE})",
        "SET LOCAL lock_timeout TO DEFAULT",
    ),
}


class PostgresTransaction(Transaction):
    """A transaction on PostgreSQL; its clock is the database's, when it was first looked at.

    It begins with the first that it does, in the same message where that is several at once.
    """

    dialect = "postgresql"
    is_sequencing = False

    def __init__(
        self,
        messages: Messages,
        gate: Gate | None,
        next_fact: Callable[[], int],
        begin: Sequence[str] = (),
    ) -> None:
        """`begin` begins it; without, each statement is by itself."""
        super().__init__(messages.connection, gate)
        self._messages = messages
        self._beginning = begin
        self._next_fact = next_fact
        self._micros = 0
        self._foreseen: dict[tuple[Statement, tuple[object, ...]], list[Record]] = {}
        # Rows that are to be written before anything else is done.
        self._unwritten: list[tuple[Filling, tuple[Value, ...]]] = []
        # What is to be held before anything else is done.
        self._unheld: list[tuple[Statement, Mapping[str, Given]]] = []
        # Rows that are to be written last of all of the item.
        self._ending: list[tuple[Filling, tuple[Value, ...]]] = []
        self._is_together = False

    @property
    def is_begun(self) -> bool:
        """Whether the database knows of it."""
        return not self._beginning

    def begin(self) -> None:
        """Begin, unless it has begun; past the gate when this returns."""
        begin, self._beginning = self._beginning, ()
        if begin:
            # Several statements in one message cannot be prepared.
            self._bare.execute("; ".join(begin), prepare=False)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """In one message, with what is to come before."""
        if self._is_together:
            self._go_ahead()
            yield
            return
        with self._messages.one():
            self._is_together = True
            try:
                begin, self._beginning = self._beginning, ()
                for sql in begin:
                    self._messages.say(sql)
                self._go_ahead()
                yield
            finally:
                self._is_together = False

    def _go_ahead(self) -> None:
        """Send what is to be held and the rows that are to be written."""
        unheld, self._unheld = self._unheld, []
        for statement, given in unheld:
            self._send(statement, given)
        rows, self._unwritten = self._unwritten, []
        self._insert(rows)

    def _insert(self, rows: Sequence[tuple[Filling, tuple[Value, ...]]]) -> None:
        for filling, group in itertools.groupby(rows, key=lambda each: each[0]):
            some = [row for _, row in group]
            for first in range(0, len(some), _INSERTED_AT_ONCE):
                now = some[first : first + _INSERTED_AT_ONCE]
                values = list(itertools.chain.from_iterable(now))
                types = [_TYPE_OF[name] for name in filling.types[: len(now[0])]] * len(now)
                self._messages.say(filling.inserts_many(len(now)), values, types)

    def _send(self, statement: Statement, given: Mapping[str, Given]) -> Answer:
        ready = statement.on("postgresql")
        return self._messages.say(ready.sql, ready.arguments(given))

    def _send_all(self, statement: Statement, rows: Sequence[Mapping[str, Given]]) -> list[Answer]:
        """One answer for all rows, or one for each."""
        ready = statement.together if len(rows) > 1 else None
        if ready is None:
            return [self._send(statement, row) for row in rows]
        arrays: Any = {name: [row[name] for row in rows] for name in rows[0]}
        return [self._messages.say(ready.sql, ready.arguments(arrays))]

    def _ask(self, *asked: Asked) -> list[list[list[Record]]]:
        """The answers to each row of each of these, which are asked in one message."""
        with self._together():
            answers = [self._send_all(statement, rows) for statement, rows in asked]
        return [_parted(some, len(rows)) for some, (_, rows) in zip(answers, asked, strict=True)]

    @property
    def micros(self) -> int:
        """The database's clock: `now()` would be the time before a lock was waited for."""
        if not self._micros:
            self._micros = cast("Record", self.one(_clock))[0]
        return self._micros

    def hear(self, micros: int | None) -> None:
        """Take the time that a statement told on its way, unless there is one already."""
        self._micros = self._micros or micros or 0

    def next_fact(self) -> int:
        """A number for a fact, which nobody else has. It says nothing about order."""
        return self._next_fact()

    def _execute(self, statement: Statement, given: Mapping[str, Given]) -> Answer:
        with self._together():
            return self._send(statement, given)

    def hold(self, statement: Statement, **parameters: Given) -> None:
        """Carry it out before anything else is done, in one message with that."""
        self._unheld.append((statement, parameters))

    def foresee(self, rows: Mapping[str, int], *asked: Asked) -> None:
        """Ask all of it in one message; with the clock where there will be new rows."""
        numbered: Asked = (_numbers, [_numbering(f"{table}_id_seq", many) for table, many in rows.items()])
        every = (*asked, numbered)
        for (statement, given), answers in zip(every, self._ask(*every), strict=True):
            for row, answer in zip(given, answers, strict=True):
                self._foreseen[_asking(statement, row)] = answer
                if statement is _numbers:
                    self.hear(answer[0][1])

    def forget(self) -> None:
        """Forget what was foreseen."""
        self._foreseen.clear()

    def _told(self, statement: Statement, given: Mapping[str, Given]) -> list[Record] | None:
        return self._foreseen.pop(_asking(statement, given), None) if self._foreseen else None

    def all(self, statement: Statement, **parameters: Given) -> list[Record]:
        """Every row."""
        told = self._told(statement, parameters)
        return super().all(statement, **parameters) if told is None else told

    def one(self, statement: Statement, **parameters: Given) -> Record | None:
        """The first row, if there is one."""
        told = self._told(statement, parameters)
        if told is None:
            return super().one(statement, **parameters)
        return told[0] if told else None

    def _let_go(self) -> None:
        self._foreseen.clear()
        self._unwritten.clear()
        self._ending.clear()

    @property
    def _connection(self) -> "psycopg.Connection[Any]":
        """Where to carry something out, once all that comes before it is."""
        if self._unheld or self._unwritten:
            with self._together():
                pass
        self.begin()
        return self._bare

    @_connection.setter
    def _connection(self, connection: "psycopg.Connection[Any]") -> None:
        self._bare = connection

    def settle(self) -> None:
        """Carry out what was put off to the end of the item."""
        ending, self._ending = self._ending, []
        if len(ending) >= _COPIED_FROM:
            with self._together():
                super().settle()
            for filling, group in itertools.groupby(ending, key=lambda each: each[0]):
                rows = [row for _, row in group]
                if filling.numbered_by is not None:
                    taken = self._next(filling.numbered_by, len(rows))
                    rows = [(*row, number) for row, number in zip(rows, taken, strict=True)]
                self._copy(filling, rows)
        elif ending or self._unwritten or self._put_off:
            with self._together():
                super().settle()
                self._insert(ending)

    def commit(self) -> None:
        """Carry out all that was put off, and commit: in one message."""
        if len(self._ending) >= _COPIED_FROM:
            self.settle()  # no message holds a COPY beside something else
        is_behind = self._unwritten or self._put_off or self._ending or self._last
        if is_behind or self.is_begun:
            with self._together():
                self.finish()
                self._messages.say("COMMIT")

    def many(self, statement: Statement, rows: Sequence[Mapping[str, Value]]) -> None:
        """Carry it out once for each of `rows`, without waiting in between."""
        if not rows:
            return
        with self._together():
            self._send_all(statement, rows)

    def each(self, statement: Statement, rows: Sequence[Mapping[str, Given]]) -> list[list[Record]]:
        """Every row that it answers, of each of `rows`: they are asked at once."""
        told = [self._told(statement, row) for row in rows]
        untold = [row for row, known in zip(rows, told, strict=True) if known is None]
        if not untold:
            return cast("list[list[Record]]", told)
        (answers,) = self._ask((statement, untold))
        following = iter(answers)
        return [next(following) if known is None else known for known in told]

    def numbers(self, table: str, many: int) -> Sequence[int]:
        """The next that the table's own sequence has. Others may have taken some in between."""
        return self._next(f"{table}_id_seq", many)

    def _next(self, sequence: str, many: int) -> Sequence[int]:
        rows = self.all(_numbers, **_numbering(sequence, many))
        return sorted(row[0] for row in rows)

    def fill(self, *filled: tuple[Filling, Sequence[tuple[Value, ...]]]) -> None:
        """Write these rows, one table after the other: by COPY where they are many, else with what comes next."""
        if sum(len(rows) for _, rows in filled) < _COPIED_FROM:
            self._unwritten += [(filling, row) for filling, rows in filled for row in rows]
            return
        for filling, rows in filled:
            if rows:
                self._copy(filling, rows)

    def fill_at_the_end(self, filling: Filling, rows: Sequence[tuple[Value, ...]]) -> None:
        """Write these rows when all else of this item is done: only then do they get their numbers."""
        self._ending += [(filling, row) for row in rows]

    def _copy(self, filling: Filling, rows: Sequence[tuple[Value, ...]]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(filling.copies) as copy:
            copy.set_types(filling.types)
            for row in rows:
                copy.write_row(row)

    def tables(self) -> set[str]:
        """The names of the tables that are there."""
        return {row[0] for row in self.script(_TABLES)}


def _numbering(sequence: str, many: int) -> dict[str, Value]:
    return {"sequence": sequence, "many": many}


def _asking(statement: Statement, given: Mapping[str, Given]) -> tuple[Statement, tuple[object, ...]]:
    arguments = statement.on("postgresql").arguments(given)
    return statement, tuple(tuple(value) if type(value) is list else value for value in arguments)


def _parted(answers: Sequence[Answer], many: int) -> list[list[Record]]:
    """What was answered to each of so many."""
    if len(answers) == many:
        return [answer.fetchall() for answer in answers]
    (together,) = answers
    parts: list[list[Record]] = [[] for _ in range(many)]
    for place, *row in together.fetchall():
        parts[place - 1].append(tuple(row))
    return parts


class PostgresEngine(Engine[Messages]):
    """Connections to one PostgreSQL database."""

    dialect = "postgresql"

    def __init__(self, url: str, *, timeout_seconds: float = 30.0, read_seconds: float | None = None) -> None:
        """Nothing is asked of the database yet.

        Args:
            url: `postgresql://user:password@host:port/database?option=value`, as libpq takes it.
            timeout_seconds: how long to try while it does not answer, or somebody else holds a lock.
            read_seconds: how long one statement of a read may take; as long as it likes, unless given.

        Raises:
            InvalidInput: libpq cannot read the URL.
        """
        super().__init__()
        try:
            given = conninfo.conninfo_to_dict("postgresql://" + url.partition("://")[2])
        except psycopg.ProgrammingError as error:
            raise InvalidInput(
                "the catalog's URL cannot be read; expected postgresql://user@host:5432/database"
            ) from error
        self.url = _shown(given)
        self._timeout_seconds = timeout_seconds
        self._reading: tuple[str, ...] = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
        self._writing: tuple[str, ...] = ("BEGIN READ WRITE",)
        bound = ""
        if read_seconds is not None:
            most = max(1, int(read_seconds * 1000))
            self._reading += (f"SET LOCAL statement_timeout = {most}",)
            if "statement_timeout" not in str(given.get("options", "")):
                # Of each connection, for what is looked at outside of a transaction; a write takes its time.
                bound = f"-c statement_timeout={most} "
                self._writing += ("SET LOCAL statement_timeout = 0",)
        milliseconds = max(1, int(timeout_seconds * 1000))
        ours: dict[str, Any] = {
            "application_name": "whence",
            "connect_timeout": max(2, min(10, int(timeout_seconds))),
            # A peer that is gone without a word is noticed, on both sides.
            "keepalives_idle": 10,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": milliseconds,
        }
        options = f"{bound}-c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout=300000"
        self._parameters = {**ours, **given, "options": f"{options} {given.get('options', '')}".strip()}
        self._numbers: list[int] = []
        self._numbers_guard = threading.Lock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """One unchanging view of what is committed."""
        with self._translated(), self._transaction(self._reading) as tx:
            tx.begin()
            yield tx

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True, gate: Gate | None = None) -> Iterator[Transaction]:
        """A transaction beside others. Durable: on the disk when this returns."""
        with self._translated(), self._transaction(self._writing, durable=durable, gate=gate) as tx:
            tx.begin()
            yield tx

    def read(self, work: Callable[[Transaction], T]) -> T:
        """What `work` answers of one unchanging view; tried again while the database is away."""
        return self._in_transaction(self._reading, True, None, work)

    def write(self, work: Callable[[Transaction], T], *, durable: bool = True, gate: Gate | None = None) -> T:
        """What `work` answers, once what it wrote is committed; carried out again where it was cut short."""
        try:
            return self._in_transaction(self._writing, durable, gate, work)
        except Crowded:
            return self._in_transaction(self._writing, durable, Gate.CLOSED, work)

    def glance(self, work: Callable[[Transaction], T]) -> T:
        """What `work` answers; each of its statements sees what is committed by then."""

        def glanced() -> T:
            with self._connection() as messages:
                return work(PostgresTransaction(messages, None, self._next_fact))

        return self._persistently(glanced)

    def _in_transaction(
        self, mode: Sequence[str], durable: bool, gate: Gate | None, work: Callable[[Transaction], T]
    ) -> T:
        def carried_out() -> T:
            with self._transaction(mode, durable=durable, gate=gate) as tx:
                return work(tx)

        return self._persistently(carried_out)

    def _persistently(self, work: Callable[[], T]) -> T:
        give_up_at = time.monotonic() + self._timeout_seconds
        encounters = failures = 0
        with self._translated():
            while True:
                try:
                    return work()
                except psycopg.Error as error:
                    encounters, failures = encounters + _is_encounter(error), failures + 1
                    is_cut = _is_cut_short(error)
                    is_held_up = (
                        error.sqlstate == "55P03"
                    )  # lock_not_available: long before the time is up, the gate
                    if not (is_cut or is_held_up or _is_encounter(error)):
                        raise
                    if encounters > _ENCOUNTERS or time.monotonic() > give_up_at:
                        raise
                    if is_cut:
                        self._close_idle()  # whatever ended one connection ended the others too
                time.sleep(random.uniform(0, min(0.5, 0.002 * 2 ** min(failures, 10))))

    @contextlib.contextmanager
    def _transaction(
        self, mode: Sequence[str], *, durable: bool = True, gate: Gate | None = None
    ) -> "Iterator[PostgresTransaction]":
        with self._connection() as messages:
            unsynced = () if durable else ("SET LOCAL synchronous_commit = off",)
            begin = (*mode, *unsynced, *_AT_THE_GATE[gate])
            tx = PostgresTransaction(messages, gate, self._next_fact, begin)
            try:
                yield tx
                tx.commit()
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    if tx.is_begun:
                        messages.connection.execute("ROLLBACK")
                raise

    def _next_fact(self) -> int:
        with self._numbers_guard:
            if not self._numbers:
                with self._connection() as messages:
                    row = messages.connection.execute("SELECT nextval('fact_number')").fetchone()
                first: int = row[0]  # type: ignore[index]
                self._numbers = list(range(first + NUMBERS_AT_ONCE - 1, first - 1, -1))
            return self._numbers.pop()

    def _forget_inherited(self) -> None:
        # The parent uses them too.
        self._numbers, self._numbers_guard = [], threading.Lock()

    def _open(self) -> Messages:
        # What psycopg prepares itself it gives up at the next ROLLBACK, and with it (DEALLOCATE ALL) what others did.
        connection: psycopg.Connection[Any] = psycopg.connect(
            **self._parameters, autocommit=True, prepare_threshold=None
        )
        # One type for all integers, or each size would be a statement to prepare of its own.
        for dumper in (Int8Dumper, Int8BinaryDumper):
            connection.adapters.register_dumper(int, dumper)
        connection.adapters.register_dumper(list, ListBinaryDumper)
        return Messages(connection)

    def _dispose(self, messages: Messages) -> None:
        messages.connection.close()

    def _is_usable(self, messages: Messages) -> bool:
        connection = messages.connection
        is_clean = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        return is_clean and not connection.broken and len(self._idle) < _KEPT_IDLE

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OverflowError as error:
            raise InvalidInput("a number is beyond 64 bits") from error
        except UnicodeEncodeError as error:
            raise InvalidInput("a text cannot be written as UTF-8") from error
        except psycopg.Error as error:
            meant = _meaning(error, self.url)
            if meant is None:
                raise
            raise meant from error


def _shown(given: Mapping[str, Any]) -> str:
    """A URL without a password."""
    user = f"{given['user']}@" if given.get("user") else ""
    host, port = given.get("host", ""), f":{given['port']}" if given.get("port") else ""
    where = f"{user}{port}/{given.get('dbname', '')}?host={host}" if "/" in host else None
    return "postgresql://" + (where or f"{user}{host}{port}/{given.get('dbname', '')}")


def _is_encounter(error: psycopg.Error) -> bool:
    """Whether two transactions met: one of them is carried out again.

    serialization_failure, deadlock_detected; unique_violation, since both looked before either wrote.
    """
    return error.sqlstate in ("40001", "40P01", "23505")


def _is_cut_short(error: psycopg.Error) -> bool:
    """Whether the connection is gone, or the database is coming up or going down."""
    if isinstance(error, psycopg.errors.InvalidPassword | psycopg.errors.InvalidAuthorizationSpecification):
        return False
    state = error.sqlstate or ""
    if state:
        return state.startswith("08") or state in _CUT_SHORT
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not _is_hopeless(error)


def _is_hopeless(error: psycopg.Error) -> bool:
    """Whether a connection was refused for what waiting does not mend. libpq tells only in words."""
    told = str(error)
    return any(word in told for word in ("does not exist", "authentication failed", "no password supplied"))


def _meaning(error: psycopg.Error, url: str) -> WhenceError | None:
    state = error.sqlstate or ""
    if state == "23505":
        return Conflict(
            "others recorded the same at the same time, again and again; try again", ErrorKind.OTHER_CONTENT
        )
    if state in ("40001", "40P01", "55P03"):
        return Unreachable(
            f"the catalog {url} is busy: somebody holds what this needs; try again", ErrorKind.LOCKED
        )
    if state == "57014":
        return Unreachable(
            f"the catalog {url} was not read within the time that it is given; ask for less at once"
        )
    if _is_cut_short(error):
        return Unreachable(f"the catalog {url} does not answer; see that the database runs, and try again")
    if _is_hopeless(error) or state.startswith("28") or state == "3D000":
        return NotReady(
            f"the database of the catalog {url} lets nobody in by that name and password, or is not there;"
            " correct WHENCE_URL, or make the database: createdb",
            ErrorKind.BAD_SETTING,
        )
    if state in ("42P01", "42703"):
        return NotReady(
            f"{url} holds no whence catalog; make one with: whence migrate", ErrorKind.NOT_A_CATALOG
        )
    if state in ("25006", "42501"):
        return NotReady(f"the catalog {url} cannot be written as this user", ErrorKind.READ_ONLY)
    if state.startswith("53"):
        return NotReady(
            f"the database of the catalog {url} has no room left; nothing was recorded", ErrorKind.DISK_FULL
        )
    if state.startswith("54"):
        return InvalidInput("a name, a role or another text of it is too long; at most a thousand characters")
    if isinstance(error, psycopg.DataError):
        return InvalidInput(f"a value cannot be kept: {str(error).splitlines()[0]}")
    return None
