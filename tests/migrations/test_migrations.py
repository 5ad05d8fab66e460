"""The migrations make the tables that the code declares; opening never migrates."""

import sqlite3
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from whence.cli import migration
from whence_catalog.errors import ErrorKind, NotReady
from whence_catalog.sql import schema, tables
from whence_catalog.sql.catalog import SqlCatalog


def _schema(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table's columns and every index's, as SQLite has them."""
    with sqlite3.connect(path) as connection:
        names = [
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite_%'"
                " AND name != 'alembic_version'"
            )
        ]
        found = {
            name: connection.execute(f"PRAGMA table_xinfo('{name}')").fetchall()
            or connection.execute(f"PRAGMA index_xinfo('{name}')").fetchall()
            for name in names
        }
        partial = "SELECT name, sql FROM sqlite_master WHERE sql LIKE '%WHERE%' OR sql LIKE '%WITHOUT ROWID%'"
        for name, sql in connection.execute(partial).fetchall():
            found[f"{name} clause"] = [
                (" ".join(sql.split()).rpartition(")")[2] or sql.partition("WHERE")[2],)
            ]
    connection.close()
    return found


def _migrated(path: Path) -> Path:
    """A database that went through all migrations from nothing."""
    config = Config()
    config.set_main_option("script_location", str(migration._scripts()))
    config.attributes["url"] = f"sqlite:///{path}"
    from alembic import command

    command.upgrade(config, "head")
    return path


def test_the_migrations_make_what_is_declared(tmp_path: Path) -> None:
    SqlCatalog.open(tmp_path / "made.db").close()
    assert _schema(_migrated(tmp_path / "migrated.db")) == _schema(tmp_path / "made.db")


def test_the_declared_revision_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migration._scripts()))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_current_head() == tables.REVISION
    assert [s.revision for s in scripts.walk_revisions()][::-1] == list(tables.KNOWN_REVISIONS)


def test_a_current_catalog_needs_no_migration(tmp_path: Path) -> None:
    SqlCatalog.open(tmp_path / "catalog.db").close()
    done = migration.migrate(tmp_path / "catalog.db")
    assert (done.before, done.after) == (tables.REVISION, tables.REVISION)


def test_a_newer_catalog_is_refused_with_the_command(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    SqlCatalog.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for use in (SqlCatalog.open, migration.migrate):
        with pytest.raises(NotReady, match="pip install -U whence") as refused:
            use(path)
        assert refused.value.kind is ErrorKind.SCHEMA_NEWER


def test_an_older_catalog_is_refused_with_the_command() -> None:
    # There is no older schema yet: one is declared.
    with pytest.raises(NotReady, match="whence migrate") as refused:
        schema.refuse_revision("0000", Path("catalog.db"), ("0000", *tables.KNOWN_REVISIONS))
    assert refused.value.kind is ErrorKind.SCHEMA_OLDER


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    connection.close()
    with pytest.raises(NotReady) as refused:
        SqlCatalog.open(path)
    assert refused.value.kind is ErrorKind.NOT_A_CATALOG


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"not a database, but long enough to look like a file" * 20)
    with pytest.raises(NotReady) as refused:
        SqlCatalog.open(path)
    assert refused.value.kind is ErrorKind.NOT_A_CATALOG
