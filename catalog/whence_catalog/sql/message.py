"""Statements that go to PostgreSQL in one message, and what it answers to each.

psycopg's own pipeline sends each statement as soon as it is told of it, and makes a cursor of its own for it: both cost
more than most of our statements do. This is the same protocol, by the same library (`psycopg.pq`), with all of a message sent
at once. Leaves to others: what is said in one, and what its errors mean (`postgres`).
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import adapt, generators
from psycopg.abc import PQGen
from psycopg.abc import Transformer as Transforming
from psycopg.adapt import PyFormat
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from whence_catalog.sql.engine import Record

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED})
_Prepared = tuple[str, tuple[int, ...]]


class Answer:
    """What is answered to one statement; there once its message has ended."""

    __slots__ = ("_result", "_transformer")

    def __init__(self, transformer: Transforming) -> None:
        self._transformer = transformer
        self._result: PGresult | None = None

    def take(self, result: PGresult) -> None:
        """Take what was answered."""
        self._result = result

    def fetchall(self) -> list[Record]:
        """Every row."""
        return self._load(self._answered.ntuples)

    def fetchone(self) -> Record | None:
        """The first row, if there is one."""
        return next(iter(self._load(min(1, self._answered.ntuples))), None)

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        return self._answered.command_tuples or 0

    @property
    def _answered(self) -> PGresult:
        assert self._result is not None, "its message has not ended"
        return self._result

    def _load(self, rows: int) -> list[Record]:
        self._transformer.set_pgresult(self._answered, format=Format.BINARY)
        return self._transformer.load_rows(0, rows, tuple)


class Messages:
    """A connection, and what it was told to prepare: each statement at its first use in a message."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        """All that its adapters are to know they know by now; nobody else prepares statements on it."""
        self.connection = connection
        self._pgconn = connection.pgconn
        self._transformer: Transforming = adapt.Transformer(connection)
        self._names: dict[_Prepared, bytes] = {}
        self._last = 0
        # Of the message that is being said: who is answered, or what is being prepared.
        self._awaited: list[Answer | _Prepared] = []

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """What is said inside is sent as this ends, and carried out in that order, up to the first that fails.

        Raises:
            psycopg.Error: what the first that failed says.
        """
        self._awaited = []
        self._pgconn.enter_pipeline_mode()
        try:
            yield
        except BaseException:
            self._exchange()  # what was said is sent for all that: nothing else can be until it is
            raise
        failed = self._exchange()
        if failed is not None:
            raise error_from_result(failed, encoding=self.connection.info.encoding)

    def say(self, sql: str, arguments: Sequence[object] = (), types: Sequence[int] = ()) -> Answer:
        """Say a statement, with `%s` for each argument, in the message that has begun.

        `types` are those of arguments that do not tell their own, as None does not: without, there is one
        statement to prepare for each way in which some of them are None.
        """
        transformer = self._transformer
        dumped = transformer.dump_sequence(arguments, [PyFormat.AUTO] * len(arguments))
        told = transformer.types or ()
        if types:
            told = tuple([one or given for one, given in zip(told, types, strict=True)])
        statement = sql, told
        name = self._names.get(statement)
        if name is None:
            name = self._names[statement] = b"whence_%d" % self._last
            self._last += 1
            self._pgconn.send_prepare(name, _numbered(sql), statement[1])
            self._awaited.append(statement)
        self._pgconn.send_query_prepared(name, dumped, transformer.formats or (), Format.BINARY)
        answer = Answer(transformer)
        self._awaited.append(answer)
        return answer

    def _exchange(self) -> PGresult | None:
        """Send the message and take what is answered; answers what failed first, if something did."""
        awaited, self._awaited = self._awaited, []
        try:
            self._pgconn.pipeline_sync()
            answered = self.connection.wait(_answered(self._pgconn, len(awaited) + 1))
            self._pgconn.exit_pipeline_mode()
        except BaseException:
            self.connection.close()  # nobody knows how far it came
            raise
        failed = None
        for who, results in zip(awaited, answered, strict=False):
            if results[-1].status in _FAILED:
                failed = failed or results[-1]
                if not isinstance(who, Answer):
                    del self._names[who]
            elif isinstance(who, Answer):
                who.take(results[-1])
        return failed


def _answered(pgconn: PGconn, many: int) -> PQGen[list[list[PGresult]]]:
    """For `Connection.wait`: what is answered to that many, the last of which is the end of the message."""
    # What a socket does not take at once follows as it is read at the other end: until then nothing is answered.
    yield from generators.send(pgconn)
    answered: list[list[PGresult]] = []
    while len(answered) < many:
        answered.append((yield from generators.fetch_many(pgconn)))
    return answered


@functools.lru_cache(1024)
def _numbered(sql: str) -> bytes:
    """A statement as the protocol has it, with `$1` for the first `%s`."""
    first, *others = sql.split("%s")
    marked = "".join(f"${place}{part}" for place, part in enumerate(others, 1))
    return (first + marked).replace("%%", "%").encode()
