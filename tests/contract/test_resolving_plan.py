"""What a name meant at a position is looked up by indexes of its Artifact or Version, and no table is read through."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests import postgres
from whence_catalog.sql import named, schema
from whence_catalog.sql.engine import Statement
from whence_catalog.sql.postgres import PostgresEngine
from whence_catalog.sql.sqlite import SqliteEngine

STATEMENTS = named.KNOWN_THEN._asdict()
READ = re.compile(r"(SCAN|SEARCH) (output|version|alias|fact|artifact|run)\b")


@pytest.fixture(scope="module")
def shared() -> Iterator[PostgresEngine]:
    with postgres.shared().database() as url, closing(PostgresEngine(url)) as database:
        yield database


@pytest.mark.parametrize("name", STATEMENTS)
def test_on_sqlite(name: str) -> None:
    statement: Statement = STATEMENTS[name]
    with closing(SqliteEngine(None)) as database, database.writing() as tx:
        schema.create_tables(tx)
        sql = statement.on("sqlite").sql.replace("?", "'[]'")
        plan = [str(row[3]) for row in tx.script(f"EXPLAIN QUERY PLAN {sql}")]
    read = [found[1] for line in plan if (found := READ.match(line))]
    assert read, plan
    assert set(read) == {"SEARCH"}, plan
    # Productions come in the order of the index: those of one fact alone are sorted.
    assert not [line for line in plan if "FOR ORDER BY" in line], plan


@pytest.mark.parametrize("name", STATEMENTS)
def test_on_postgresql(name: str, shared: PostgresEngine) -> None:
    statement: Statement = STATEMENTS[name]
    with shared.reading() as tx:
        # In tables that hold nothing, reading all of them is the best plan; so is joining them by hashes.
        for other in ("seqscan", "hashjoin", "mergejoin"):
            tx.script(f"SET LOCAL enable_{other} = off")
        sql = statement.on("postgresql").sql.replace("CAST(%s AS bytea[])", "CAST('{}' AS bytea[])")
        sql = re.sub(r"%s(::\w+( PRECISION)?)?", "0", sql.replace("CAST(%s AS json)", "CAST('[]' AS json)"))
        plan = [str(row[0]) for row in tx.script(f"EXPLAIN {sql}")]
    assert "Seq Scan" not in "\n".join(plan), plan
    scans = [at for at, line in enumerate(plan) if re.search(r"Index (Only )?Scan|Bitmap Index Scan", line)]
    assert scans, plan
    for at in scans:
        assert any("Index Cond" in line for line in plan[at : at + 3]), plan
