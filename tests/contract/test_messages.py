"""What is said to PostgreSQL in one message: sent at once, carried out in order, and over after what failed."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import BigInteger, Text, bindparam, column, func, literal_column, select, values

from tests import postgres
from tests.simulator import World, taken
from whence_catalog.errors import InvalidInput
from whence_catalog.sql.catalog import SqlCatalog
from whence_catalog.sql.engine import Statement, Transaction
from whence_catalog.sql.message import Messages
from whence_catalog.sql.postgres import PostgresEngine


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.shared().database() as made:
        yield made


@pytest.fixture
def messages(url: str) -> Iterator[Messages]:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        yield Messages(connection)


@pytest.fixture
def world(url: str) -> Iterator[World]:
    with closing(SqlCatalog.connect(url)) as opened:
        yield World(opened)
        assert opened.check().problems == ()


def test_each_statement_of_a_message_is_answered(messages: Messages) -> None:
    for _ in range(2):
        with messages.one():
            rows = messages.say("SELECT %s::bigint + n FROM generate_series(1, 3) AS n", [10])
            none = messages.say("SELECT 1 WHERE false")
            percent = messages.say("SELECT 7 %% 4, %s::text", ["50 % off"])
        assert rows.fetchall() == [(11,), (12,), (13,)]
        assert rows.fetchone() == (11,)
        assert (none.fetchall(), none.fetchone()) == ([], None)
        assert percent.fetchone() == (3, "50 % off")


def test_more_than_a_socket_takes_at_once_is_said_and_answered(messages: Messages) -> None:
    texts = ["a" * 3_000_000, "b" * 3_000_000]
    with messages.one():
        answers = [messages.say("SELECT %s::text", [text]) for text in texts]
    assert [answer.fetchone() for answer in answers] == [(text,) for text in texts]


def said(messages: Messages, *statements: tuple[str, list[object]]) -> None:
    """All of these in one message."""
    with messages.one():
        for sql, arguments in statements:
            messages.say(sql, arguments)


def test_what_comes_after_a_failure_is_not_carried_out_and_the_next_message_is(messages: Messages) -> None:
    making = "BEGIN", "CREATE TABLE made (id bigint)"
    with pytest.raises(psycopg.errors.DivisionByZero):
        said(messages, *((sql, []) for sql in making), ("SELECT 1 / %s::bigint", [0]), ("COMMIT", []))
    messages.connection.execute("ROLLBACK")
    with messages.one():
        divided = messages.say("SELECT 4 / %s::bigint", [2])
        made = messages.say("SELECT to_regclass('made')::text")
    assert divided.fetchone() == (2,)
    assert made.fetchone() == (None,)


def test_what_could_not_be_prepared_is_prepared_when_it_can_be(messages: Messages) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable), messages.one():
        messages.say("SELECT id FROM absent")
    with messages.one():
        messages.say("CREATE TABLE absent (id bigint)")
    with messages.one():
        found = messages.say("SELECT id FROM absent")
    assert found.fetchall() == []


def test_a_value_that_cannot_be_said_leaves_the_connection_fit_for_use(messages: Messages) -> None:
    with pytest.raises(psycopg.DataError):
        said(messages, ("SELECT 1", []), ("SELECT %s::text", ["a \0 in a text"]))
    with messages.one():
        answer = messages.say("SELECT 2")
    assert answer.fetchone() == (2,)


def test_a_connection_that_is_gone_is_told_as_that(url: str, messages: Messages) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (messages.connection.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError), messages.one():
        messages.say("SELECT 1")
    assert messages.connection.broken or messages.connection.closed


def test_what_is_asked_together_is_answered_to_each_in_its_turn(url: str) -> None:
    known = values(column("name", Text), column("number", BigInteger), name="known").data(
        [("one", 1), ("two", 2), ("also two", 2)]
    )
    named = Statement(
        select(known.c.name, func.length(known.c.name)).where(
            known.c.number == bindparam("number"),
            known.c.name != func.coalesce(bindparam("but", type_=Text), literal_column("''")),
        )
    )
    asked = [{"number": n, "but": but} for n, but in [(2, None), (3, None), (1, None), (2, "two"), (2, None)]]
    engine = PostgresEngine(url)
    with closing(engine), engine.reading() as tx:
        together = [sorted(rows) for rows in tx.each(named, asked)]
        alone = [sorted(tx.all(named, **one)) for one in asked]
    assert together == alone
    assert [len(rows) for rows in together] == [2, 0, 1, 1, 2]


def test_a_run_whose_names_are_known_is_recorded_in_two_messages(world: World, tmp_path: Path) -> None:
    made = world.note("make", {"dataset:a": b"1"})
    world.note("make", {"dataset:a": b"2"})
    engine = world.catalog._database  # type: ignore[attr-defined]
    messages = engine._idle[-1]  # the next that is taken
    with open(tmp_path / "said", "wb") as said:
        messages.connection.pgconn.trace(said.fileno())
        world.note("make", {"dataset:a": b"3"}, inputs=[taken(made.outputs[0])])
        messages.connection.pgconn.untrace()
    sent = [line.split("\t")[:4] for line in (tmp_path / "said").read_text().splitlines()]
    assert sum(parts[1:2] == ["F"] and "Sync" in parts for parts in sent) == 2


def test_a_text_with_a_nul_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput):
        world.note("make \0", {"dataset:a": b"1"})
    world.note("make", {"dataset:a": b"1"})


def test_what_is_inserted_is_prepared_once_whichever_of_it_is_null(world: World) -> None:
    made = [world.note("make", {f"dataset:{name}": b"1"}).outputs[0] for name in "abc"]
    (messages,) = world.catalog._database._idle[-1:]  # type: ignore[attr-defined]

    def use(*are_unsaid: bool) -> None:
        claims = [taken(output) for output in made]
        sources = [
            replace(claim.source, producer=None) if is_unsaid else claim.source
            for claim, is_unsaid in zip(claims, are_unsaid, strict=True)
        ]
        inputs = [replace(claim, source=source) for claim, source in zip(claims, sources, strict=True)]
        world.note("use", {"dataset:d": b"1"}, inputs=inputs)

    for are_unsaid in itertools.product((False, True), repeat=3):
        use(*are_unsaid)
    inserting = [sql for sql, _ in messages._names if sql.startswith("INSERT INTO input ")]
    assert len(inserting) == 1


def test_what_is_prepared_outlives_a_transaction_that_is_undone(url: str) -> None:
    asked = Statement(select(func.length(bindparam("text", type_=Text))))

    def undone(tx: Transaction) -> None:
        for _ in range(10):
            tx.script("SELECT 1")
            tx.one(asked, text="four")
        raise InvalidInput("it is not to be")

    with closing(PostgresEngine(url)) as engine:
        with pytest.raises(InvalidInput):
            engine.write(undone)
        assert engine.write(lambda tx: tx.one(asked, text="four")) == (4,)
