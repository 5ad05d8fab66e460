"""Makes an embedded catalog that does not exist yet, and refuses one that this whence cannot use.

Opening never migrates, and makes nothing in a database that is shared: it says which command to run.
"""

import functools
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable, ExecutableDDLElement

from whence_catalog.errors import ErrorKind, NotReady
from whence_catalog.sql import engine, sqlite, tables
from whence_catalog.sql.engine import Engine, Statement, Transaction
from whence_catalog.sql.sqlite import SqliteEngine

_CATALOG = tables.CATALOG
_make_identity = Statement(
    insert(_CATALOG).values(
        id=bindparam("id"), uid=bindparam("uid"), key=bindparam("key"), created_at=bindparam("created_at")
    )
)
_identity = Statement(select(_CATALOG.c.uid, _CATALOG.c.key))


def create_tables(tx: Transaction) -> None:
    """Make every table, index and sequence that the declarations name."""
    for made in _definitions(tx.dialect):
        tx.script(made)


@functools.cache
def _definitions(on: str) -> Sequence[str]:
    dialect = engine.dialect(on)
    made: list[ExecutableDDLElement] = []
    if dialect.supports_sequences:
        made += map(CreateSequence, (tables.FACT_NUMBER, tables.FACT_ORDINAL))
    for table in tables.METADATA.sorted_tables:
        made.append(CreateTable(table))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            index.dialect_options[on]["where"] = index.dialect_options["sqlite"]["where"]
            made.append(CreateIndex(index))
    return [str(each.compile(dialect=dialect)) for each in made]


def ensure(database: SqliteEngine) -> None:
    """Leave a catalog there that this whence can use: made now, if nothing was there.

    Raises:
        NotReady: a network filesystem, another program's database, an older or a newer schema.
    """
    path = database.path
    assert path is not None, "a database in memory is made by its maker"
    refuse_network_filesystem(path)
    if path.exists() and path.stat().st_size:
        with database.reading() as tx:
            found = revision(tx)
        refuse_revision(found, path)
        if found is not None:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    database.log_writes_ahead()
    with database.writing() as tx:
        if revision(tx) is None:  # another process may have made it meanwhile
            create_tables(tx)
            make_identity(tx)
            stamp(tx, tables.REVISION)


def require(database: Engine[Any]) -> None:
    """See that a catalog is there that this whence can use.

    Raises:
        NotReady: none is, or it is older or newer; with the command to run.
    """
    found = database.read(revision)
    if found is None:
        raise NotReady(
            f"{database.url} holds no whence catalog yet; make it with: whence migrate",
            ErrorKind.NOT_A_CATALOG,
        )
    refuse_revision(found, database.url)


def make_identity(tx: Transaction) -> None:
    """Give the catalog its name and its own secret, unless it has them."""
    if tx.one(_identity) is None:
        tx.run(_make_identity, id=1, uid=uuid.uuid4().bytes, key=os.urandom(32), created_at=tx.micros)


def identity(tx: Transaction) -> tuple[uuid.UUID, bytes]:
    """(name, secret) of the catalog."""
    row = tx.one(_identity)
    if row is None:
        raise NotReady("the catalog has no identity; it was not made by whence", ErrorKind.NOT_A_CATALOG)
    return uuid.UUID(bytes=row[0]), row[1]


def stamp(tx: Transaction, to: str) -> None:
    """Say, as Alembic does, which revision the tables are; and that the file is a whence catalog."""
    tx.script("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    tx.script(f"INSERT INTO alembic_version VALUES ('{to}')")
    if tx.dialect == "sqlite":
        tx.script(f"PRAGMA application_id = {tables.APPLICATION_ID}")


def revision(tx: Transaction) -> str | None:
    """The revision of the tables; None for an empty database.

    Raises:
        NotReady: it holds tables that are not whence's.
    """
    names = tx.tables()
    if not names or names == {"alembic_version"}:
        return None
    if not {"alembic_version", "fact", "catalog"} <= names:
        raise NotReady(
            "that database holds the tables of another program; name another place for whence with WHENCE_URL",
            ErrorKind.NOT_A_CATALOG,
        )
    rows = tx.script("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None


def refuse_revision(
    found: str | None, where: Path | str, known: tuple[str, ...] = tables.KNOWN_REVISIONS
) -> None:
    """Refuse tables that are older (of a revision that is `known`) or newer than the declarations.

    Raises:
        NotReady: with the command to run.
    """
    if found is None or found == tables.REVISION:
        return
    if found in known:
        raise NotReady(
            f"the catalog {where} has schema {found}, this whence needs {tables.REVISION}; back it up, then run:"
            f" whence migrate",
            ErrorKind.SCHEMA_OLDER,
        )
    raise NotReady(
        f"the catalog {where} has schema {found}, which is newer than this whence knows ({tables.REVISION});"
        " upgrade whence: pip install -U whence",
        ErrorKind.SCHEMA_NEWER,
    )


def refuse_network_filesystem(path: Path, network: frozenset[str] = sqlite.NETWORK_FILESYSTEMS) -> None:
    """Refuse a place where SQLite's WAL is unsafe: on a filesystem of one of the types `network`.

    Raises:
        NotReady: with what to do instead.
    """
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    kind = sqlite.filesystem_type(existing)
    if kind in network:
        raise NotReady(
            f"{path} is on a network filesystem ({kind}), where an embedded catalog is unsafe; put it on a local"
            " disk with WHENCE_URL=/local/folder/.whence, or run a server where the disk is: whence serve",
            ErrorKind.NETWORK_FILESYSTEM,
        )
