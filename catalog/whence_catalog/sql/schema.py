"""Makes an embedded catalog that does not exist yet, and refuses one that this whence cannot use.

Opening never migrates: it says which command to run.
"""

import os
import uuid
from pathlib import Path

from sqlalchemy import bindparam, select
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import insert

from whence_catalog.errors import ErrorKind, NotReady
from whence_catalog.sql import engine, tables
from whence_catalog.sql.engine import SqliteEngine, Statement, Transaction

_CATALOG = tables.table(tables.CatalogRow)
_make_identity = Statement(
    insert(_CATALOG).values(
        id=bindparam("id"), uid=bindparam("uid"), key=bindparam("key"), created_at=bindparam("created_at")
    )
)
_identity = Statement(select(_CATALOG.c.uid, _CATALOG.c.key))


def create_tables(tx: Transaction) -> None:
    """Make every table and index that the declarations name."""
    for table in tables.Row.metadata.sorted_tables:
        tx.script(str(CreateTable(table).compile(dialect=engine.DIALECT)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            tx.script(str(CreateIndex(index).compile(dialect=engine.DIALECT)))


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


def make_identity(tx: Transaction) -> None:
    """Give the catalog its name and its own secret."""
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
    tx.script(f"PRAGMA application_id = {tables.APPLICATION_ID}")


def revision(tx: Transaction) -> str | None:
    """The revision of the tables; None for an empty database.

    Raises:
        NotReady: it holds tables that are not whence's.
    """
    names = {row[0] for row in tx.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not names:
        return None
    if not {"alembic_version", "fact", "catalog"} <= names:
        raise NotReady(
            "that database holds the tables of another program; name a folder for whence with WHENCE_URL",
            ErrorKind.NOT_A_CATALOG,
        )
    (found,) = tx.rows("SELECT version_num FROM alembic_version")[0]
    return str(found)


def refuse_revision(found: str | None, path: Path, known: tuple[str, ...] = tables.KNOWN_REVISIONS) -> None:
    """Refuse tables that are older (of a revision that is `known`) or newer than the declarations.

    Raises:
        NotReady: with the command to run.
    """
    if found is None or found == tables.REVISION:
        return
    if found in known:
        raise NotReady(
            f"the catalog {path} has schema {found}, this whence needs {tables.REVISION}; back it up, then run:"
            f" whence migrate",
            ErrorKind.SCHEMA_OLDER,
        )
    raise NotReady(
        f"the catalog {path} has schema {found}, which is newer than this whence knows ({tables.REVISION});"
        " upgrade whence: pip install -U whence",
        ErrorKind.SCHEMA_NEWER,
    )


def refuse_network_filesystem(path: Path, network: frozenset[str] = engine.NETWORK_FILESYSTEMS) -> None:
    """Refuse a place where SQLite's WAL is unsafe: on a filesystem of one of the types `network`.

    Raises:
        NotReady: with what to do instead.
    """
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    kind = engine.filesystem_type(existing)
    if kind in network:
        raise NotReady(
            f"{path} is on a network filesystem ({kind}), where an embedded catalog is unsafe; put it on a local"
            " disk with WHENCE_URL=/local/folder/.whence, or run a server where the disk is: whence serve",
            ErrorKind.NETWORK_FILESYSTEM,
        )
