"""The tables that statements are of are those that SQLModel declares; who only uses them loads no SQLModel."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import MetaData
from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable

from tests.golden import core_tables
from whence_catalog.sql import engine, rows, tables

_RECORDED = """
import sys, whence
client = whence.connect(sys.argv[1])
with client.run("train", params={"c": 1.0}) as run:
    run.publish("model:detector", b"weights")
client.close()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def ddl(metadata: MetaData, database: str) -> list[str]:
    """All that is to be made in a database."""
    dialect = engine.dialect(database)
    found = [CreateTable(table) for table in metadata.sorted_tables]
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        index.dialect_options[database]["where"] = index.dialect_options["sqlite"][
            "where"
        ]  # as `schema` does
        found.append(CreateIndex(index))
    if dialect.supports_sequences:
        found += [CreateSequence(sequence) for sequence in metadata._sequences.values()]
    return sorted(str(element.compile(dialect=dialect)) for element in found)


def test_the_tables_were_written_after_the_last_change_of_the_rows() -> None:
    assert core_tables.PATH.read_text(encoding="utf-8") == core_tables.written(), (
        "run: python -m tests.golden.core_tables"
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_both_make_the_same_database(database: str) -> None:
    assert ddl(tables.METADATA, database) == ddl(rows.Row.metadata, database)


def test_a_process_that_records_loads_no_sqlmodel(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _RECORDED, str(tmp_path / ".whence")]
    loaded = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert "sqlalchemy" in loaded
    assert not {"sqlmodel", "pydantic", "pydantic_core"} & set(loaded)
