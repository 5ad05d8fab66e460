"""Every search follows an index in its order, on both databases, so that a page costs the same in any catalog."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests import postgres
from whence_catalog.sql import by_name, candidates, schema
from whence_catalog.sql.engine import Statement, Transaction
from whence_catalog.sql.postgres import PostgresEngine
from whence_catalog.sql.sqlite import SqliteEngine

# The statement, and how its index is called: on SQLite, on PostgreSQL.
STATEMENTS: dict[str, tuple[Statement, str, str]] = {
    "artifacts by name": (by_name.ARTIFACTS.everywhere, "PRIMARY KEY", "artifact_gram_pkey"),
    "artifacts of a project by name": (by_name.ARTIFACTS.in_project, "PRIMARY KEY", "artifact_gram_pkey"),
    "jobs by name": (by_name.JOBS.everywhere, "PRIMARY KEY", "job_gram_pkey"),
    "jobs of a project by name": (by_name.JOBS.in_project, "PRIMARY KEY", "job_gram_pkey"),
}
for where in ("everywhere", "in_projects"):
    runs: candidates.Indexes = getattr(candidates.RUNS, where)
    versions: candidates.Indexes = getattr(candidates.VERSIONS, where)
    STATEMENTS |= {
        f"runs measured {where}": (runs.measured, "PRIMARY KEY", "run_metric_pkey"),
        f"versions measured {where}": (versions.measured, "PRIMARY KEY", "output_metric_pkey"),
        f"runs labelled {where}": (runs.labelled, *["label_by_mark_of_run"] * 2),
        f"versions labelled {where}": (versions.labelled, *["label_by_mark_of_version"] * 2),
        f"runs by time {where}": (runs.by_time, *["run_by_time"] * 2),
        f"versions by time {where}": (versions.by_time, *["version_by_time"] * 2),
    }


@pytest.fixture(scope="module")
def shared() -> Iterator[PostgresEngine]:
    with postgres.shared().database() as url, closing(PostgresEngine(url)) as database:
        yield database


@pytest.mark.parametrize("name", STATEMENTS)
def test_on_sqlite(name: str) -> None:
    statement, index, _ = STATEMENTS[name]
    with closing(SqliteEngine(None)) as database, database.writing() as tx:
        schema.create_tables(tx)
        sql = statement.on("sqlite").sql.replace("?", "0")
        plan = " ".join(str(row[3]) for row in tx.script(f"EXPLAIN QUERY PLAN {sql}"))
    assert re.search(rf"SEARCH \w+ USING .*{index}", plan), plan
    assert "ORDER BY" not in plan, f"it is sorted: {plan}"


def _planned(tx: Transaction, statement: Statement) -> str:
    sql = statement.on("postgresql").sql.replace("CAST(%s AS bigint[])", "CAST('{1,2}' AS bigint[])")
    sql = re.sub(r"digest = %s(::bytea)?", "digest = '\\\\x00'::bytea", sql)
    sql = re.sub(r"%s(::\w+( PRECISION)?)?", "0", sql)
    return "\n".join(str(row[0]) for row in tx.script(f"EXPLAIN {sql}"))


@pytest.mark.parametrize("name", STATEMENTS)
def test_on_postgresql(name: str, shared: PostgresEngine) -> None:
    statement, _, index = STATEMENTS[name]
    with shared.reading() as tx:
        # In tables that hold nothing, reading all of them is the best plan.
        tx.script("SET LOCAL enable_seqscan = off")
        tx.script("SET LOCAL enable_bitmapscan = off")
        plan = _planned(tx, statement)
    assert re.search(rf"Index (Only )?Scan Backward using {index}", plan), plan
    assert "Sort" not in plan


CONTENTS = [candidates.VERSIONS.everywhere.of_content, candidates.VERSIONS.in_projects.of_content]


@pytest.mark.parametrize("statement", CONTENTS)
def test_a_content_is_found_by_its_digest(statement: Statement, shared: PostgresEngine) -> None:
    """Those of one content are few: on PostgreSQL they are sorted."""
    with closing(SqliteEngine(None)) as database, database.writing() as tx:
        schema.create_tables(tx)
        sql = statement.on("sqlite").sql.replace("?", "0")
        plan = " ".join(str(row[3]) for row in tx.script(f"EXPLAIN QUERY PLAN {sql}"))
    assert re.search(r"SEARCH version USING (COVERING )?INDEX version_by_digest", plan), plan
    with shared.reading() as tx:
        tx.script("SET LOCAL enable_seqscan = off")
        plan = _planned(tx, statement)
    assert "version_by_digest" in plan, plan
