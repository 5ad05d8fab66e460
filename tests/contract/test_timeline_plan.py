"""A page of a timeline costs the same however many Versions an Artifact has."""

from contextlib import closing

import pytest

from whence_catalog.sql import history, schema
from whence_catalog.sql.engine import Statement
from whence_catalog.sql.sqlite import SqliteEngine


@pytest.mark.parametrize("statement", [history.TIMELINE_OF_ARTIFACT, history.TIMELINE_OF_VERSION])
def test_each_table_is_asked_by_an_index_for_the_subject_itself(statement: Statement) -> None:
    with closing(SqliteEngine(None)) as database, database.writing() as tx:
        schema.create_tables(tx)
        sql = statement.on("sqlite").sql.replace("?", "0")
        plan = [str(row[3]) for row in tx.script(f"EXPLAIN QUERY PLAN {sql}")]
    tables = ("alias", "approval", "deployment", "hold", "output", "quarantine", "before", "version")
    read = [line for line in plan if line.split()[1:2] and line.split()[1] in tables]
    assert len(read) >= 9, plan
    assert not [line for line in read if "version" in line.split()[1] or line.startswith("SCAN")], plan
