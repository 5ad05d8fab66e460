"""Every search follows an index in its order, on both databases, so that a page costs the same in any catalog."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests import postgres
from whence_catalog.sql import by_name, candidates, schema
from whence_catalog.sql.engine import Statement
from whence_catalog.sql.postgres import PostgresEngine
from whence_catalog.sql.sqlite import SqliteEngine

# The statement, and how its index is called: on SQLite, on PostgreSQL.
STATEMENTS: dict[str, tuple[Statement, str, str]] = {
    "runs measured": (candidates.RUNS.measured, "PRIMARY KEY", "run_metric_pkey"),
    "versions measured": (candidates.VERSIONS.measured, "PRIMARY KEY", "output_metric_pkey"),
    "runs labelled": (candidates.RUNS.labelled, "label_by_mark_of_run", "label_by_mark_of_run"),
    "versions labelled": (
        candidates.VERSIONS.labelled,
        "label_by_mark_of_version",
        "label_by_mark_of_version",
    ),
    "runs by time": (candidates.RUNS.by_time, "run_by_time", "run_by_time"),
    "artifacts by name": (by_name.ARTIFACTS.everywhere, "PRIMARY KEY", "artifact_gram_pkey"),
    "artifacts of a project by name": (by_name.ARTIFACTS.in_project, "PRIMARY KEY", "artifact_gram_pkey"),
    "jobs by name": (by_name.JOBS.everywhere, "PRIMARY KEY", "job_gram_pkey"),
    "jobs of a project by name": (by_name.JOBS.in_project, "PRIMARY KEY", "job_gram_pkey"),
    "versions by time": (candidates.VERSIONS.by_time, "version_by_time", "version_by_time"),
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


@pytest.mark.parametrize("name", STATEMENTS)
def test_on_postgresql(name: str, shared: PostgresEngine) -> None:
    statement, _, index = STATEMENTS[name]
    with shared.reading() as tx:
        # In tables that hold nothing, reading all of them is the best plan.
        tx.script("SET LOCAL enable_seqscan = off")
        tx.script("SET LOCAL enable_bitmapscan = off")
        sql = re.sub(r"%s(::\w+( PRECISION)?)?", "0", statement.on("postgresql").sql)
        plan = "\n".join(str(row[0]) for row in tx.script(f"EXPLAIN {sql}"))
    assert re.search(rf"Index (Only )?Scan Backward using {index}", plan), plan
    assert "Sort" not in plan
