"""The migrations make the tables that the code declares; opening never migrates."""

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests import postgres
from tests.simulator import ACTOR, World, taken, uid
from whence.cli import migration
from whence_catalog import facts, model
from whence_catalog.errors import ErrorKind, NotReady
from whence_catalog.sql import schema, tables
from whence_catalog.sql.catalog import SqlCatalog, open_url
from whence_catalog.sql.postgres import PostgresEngine


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


def _migrated(path: Path, to: str = "head") -> Path:
    """A database that went through all migrations from nothing, to a revision."""
    config = Config()
    config.set_main_option("script_location", str(migration._scripts()))
    config.attributes["url"] = f"sqlite:///{path}"
    from alembic import command

    command.upgrade(config, to)
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
    done = migration.migrate(str(tmp_path / "catalog.db"))
    assert (done.before, done.after) == (tables.REVISION, tables.REVISION)


def test_a_newer_catalog_is_refused_with_the_command(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    SqlCatalog.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for use in (open_url, migration.migrate):
        with pytest.raises(NotReady, match="pip install -U whence") as refused:
            use(str(path))
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


def test_what_was_recorded_before_is_the_same_after(tmp_path: Path) -> None:
    made = SqlCatalog.open(tmp_path / "new.db")
    world = World(made)
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    run = world.run("train", {"model:m": b"M"}, inputs=[taken(data)], labels={"team": "perception"})
    _take_more_and_more(world, data)
    for name in ("prod", "next", "prod"):
        version = run.outputs[0].version
        made.move_aliases([model.AliasMove(uid(), version.artifact, name, version.digest, ACTOR)])
    told = made.aliases(version.artifact)
    made.close()
    _as_of_revision_0001(tmp_path / "new.db", _migrated(tmp_path / "old.db", to="0001"))
    with pytest.raises(NotReady, match="whence migrate"):
        SqlCatalog.open(tmp_path / "old.db")
    done = migration.migrate(str(tmp_path / "old.db"))
    assert (done.before, done.after) == ("0001", tables.REVISION)
    with closing(SqlCatalog.open(tmp_path / "old.db")) as upgraded:
        assert upgraded.check().problems == ()
        record = upgraded.run(str(run.run.uid))
        assert record.run.labels == {"team": "perception"}
        assert record.outputs == run.outputs
        assert upgraded.aliases(version.artifact) == told
        assert len(upgraded.facts()) == 9


def _take_more_and_more(world: World, data: model.Output) -> None:
    """A Run that says at its start, in between, and at its end what it took."""
    call = world.call("score", inputs=[taken(data, "first")])
    world.begin(call)
    addition = model.Addition(uuid4(), call.run, call.actor, inputs=(taken(data, "second"),))
    assert world.catalog.add([addition]) == [()]
    report = world.report(
        call, {}, inputs=(taken(data, "first"), taken(data, "second"), taken(data, "third"))
    )
    world.finish(report)


def _as_of_revision_0001(new: Path, old: Path) -> None:
    """Copy what a catalog holds into the tables of the first schema."""
    renamed = {"fact": "position", "start_fact": "start_position", "finish_fact": "finish_position"}
    with closing(sqlite3.connect(old)) as database, database:
        database.execute("ATTACH ? AS new", (str(new),))
        names = [r[0] for r in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for name in set(names) - {"alembic_version", "redactable", "blob"}:
            columns = [row[1] for row in database.execute(f"PRAGMA new.table_info('{name}')")]
            known = {row[1] for row in database.execute(f"PRAGMA main.table_info('{name}')")}
            columns = [column for column in columns if renamed.get(column, column) in known]
            if name == "fact":
                columns = ["position", "uid", "sequenced_at", "verb", "canonical", "leaf"]
            into = [renamed.get(column, column) for column in columns]
            database.execute(
                f"INSERT INTO main.{name} ({', '.join(into)}) SELECT {', '.join(columns)} FROM new.{name}"
            )
        for number, canonical in database.execute("SELECT position, canonical FROM main.fact").fetchall():
            before = _said_before(canonical)
            database.execute(
                "UPDATE main.fact SET canonical = ?, leaf = ? WHERE position = ?",
                (before, facts.leaf(before), number),
            )
        database.execute(
            "INSERT INTO main.redactable SELECT f.uid, r.path, r.salt, r.value"
            " FROM new.redactable r JOIN new.fact f ON f.id = r.fact"
        )


def _said_before(canonical: bytes) -> bytes:
    """The fact without what was not said yet."""
    fact = facts.decode(canonical)
    body = {name: value for name, value in fact.body.items() if name != "reason"}
    return facts.encode(fact.verb, fact.uid, fact.at, fact.actor, body)


_COLUMNS = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default IS NOT NULL"
    " FROM information_schema.columns WHERE table_schema = current_schema() AND table_name != 'alembic_version'"
    " ORDER BY 1, 2"
)
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename != 'alembic_version' ORDER BY 1"
_SEQUENCES = "SELECT sequencename, increment_by FROM pg_sequences ORDER BY 1"


def test_on_postgresql_too_the_migrations_make_what_is_declared() -> None:
    found = []
    for template in (postgres.TEMPLATE, "template0"):
        with postgres.shared().database(template) as url, closing(PostgresEngine(url)) as database:
            if template == "template0":
                database.write(schema.create_tables)
            with database.reading() as tx:
                found.append([tx.script(query) for query in (_COLUMNS, _INDEXES, _SEQUENCES)])
    migrated, declared = found
    assert migrated == declared


def test_an_empty_database_is_no_catalog_until_it_is_migrated() -> None:
    with postgres.shared().database("template0") as url:
        with pytest.raises(NotReady, match="whence migrate"):
            open_url(url)
        migration.migrate(url)
        with closing(open_url(url)) as opened:
            assert opened.check().facts == 0
            first = opened.identity()
        migration.migrate(url)
        with closing(open_url(url)) as opened:
            assert opened.identity() == first
