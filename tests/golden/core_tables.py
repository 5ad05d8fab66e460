"""Writes `whence_catalog.sql.tables` from what `whence_catalog.sql.rows` declares: after a change there, run

    python -m tests.golden.core_tables

SQLModel brings pydantic and SQLAlchemy's ORM, which no statement of ours needs: they took a third of the time of a
process that records one Run. So what SQLModel declares is written down as Core, once, and read by eye in a review.
"""

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import sqlalchemy
from sqlalchemy import schema

from whence_catalog.sql import rows

PATH = pathlib.Path(rows.__file__).with_name("tables.py")

_HEAD = '''"""The tables, as SQLAlchemy Core alone. Written by `python -m tests.golden.core_tables` from `rows`, which says what they mean.

A process that records loads this, and not SQLModel.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    text,
)

'''


def written() -> str:
    """The text of the module, in the house's form."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PATH), "-"]
    return subprocess.run(command, input=_core(), capture_output=True, check=True, text=True).stdout


def _core() -> str:
    parts = [_HEAD]
    parts.append(f"REVISION = {rows.REVISION!r}\nKNOWN_REVISIONS = {rows.KNOWN_REVISIONS!r}\n")
    parts.append(f"APPLICATION_ID = 0x{rows.APPLICATION_ID:X}\n")
    parts.append(f"FACT_COLUMNS = frozenset({sorted(rows.FACT_COLUMNS)!r})\n\n")
    parts.append("METADATA = MetaData()\n")
    for sequence in (rows.FACT_NUMBER, rows.FACT_ORDINAL):
        step = "" if sequence.increment is None else f", increment={sequence.increment}"
        parts.append(f"{sequence.name.upper()} = Sequence({sequence.name!r}, metadata=METADATA{step})\n")
    parts.append("\n_ID = BigInteger().with_variant(Integer, 'sqlite')\n\n")
    parts += [_table(table) for table in rows.Row.metadata.tables.values()]
    for name, some in (("PROJECTIONS", rows.PROJECTIONS), ("EXEMPT", rows.EXEMPT)):
        parts.append(f"\n{name} = ({''.join(f'{row.__tablename__}, '.upper() for row in some)})\n")
    return "".join(parts)


def _table(table: sqlalchemy.Table) -> str:
    items = [
        repr(table.name),
        "METADATA",
        *map(_column, table.columns),
        *_constraints(table),
        *_indexes(table),
    ]
    if not table.dialect_options["sqlite"]["with_rowid"]:
        items.append("sqlite_with_rowid=False")
    return f"{table.name.upper()} = Table(\n" + "".join(f"    {item},\n" for item in items) + ")\n"


def _column(column: "sqlalchemy.Column[object]") -> str:
    items = [repr(column.name), _type(column)]
    items += [f"ForeignKey({key.target_fullname!r})" for key in column.foreign_keys]
    if column.primary_key:
        items.append("primary_key=True")
    elif not column.nullable:
        items.append("nullable=False")
    if column.autoincrement is False:
        items.append("autoincrement=False")
    if column.unique:
        items.append("unique=True")
    return f"Column({', '.join(items)})"


def _type(column: "sqlalchemy.Column[object]") -> str:
    if column.type._variant_mapping:
        return "_ID"
    return type(column.type).__name__


def _constraints(table: sqlalchemy.Table) -> Iterator[str]:
    for constraint in sorted(table.constraints, key=lambda constraint: constraint._creation_order):
        match constraint:
            case schema.CheckConstraint():
                yield f"CheckConstraint({str(constraint.sqltext)!r})"
            case schema.UniqueConstraint() if not any(column.unique for column in constraint.columns):
                yield f"UniqueConstraint({_names(constraint.columns)})"


def _indexes(table: sqlalchemy.Table) -> Iterator[str]:
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        where = index.dialect_options["sqlite"]["where"]
        unique = ", unique=True" if index.unique else ""
        partial = "" if where is None else f", sqlite_where=text({str(where)!r})"
        yield f"Index({str(index.name)!r}, {_names(index.columns)}{unique}{partial})"


def _names(columns: "sqlalchemy.ColumnCollection[str, sqlalchemy.Column[object]]") -> str:
    return ", ".join(repr(column.name) for column in columns)


if __name__ == "__main__":
    PATH.write_text(written(), encoding="utf-8")
