"""Runs Alembic over a catalog; the migrations come from the wheel, or from a checkout."""

import contextlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config

import whence_catalog
from whence_catalog.errors import ErrorKind, NotFound, NotReady
from whence_catalog.sql import schema, tables
from whence_catalog.sql.engine import Engine
from whence_catalog.sql.sqlite import SqliteEngine


@dataclass(frozen=True, slots=True)
class Migration:
    """From which schema to which; equal where there was nothing to do. Empty: nothing was there."""

    catalog: str
    before: str
    after: str


def migrate(url: str) -> Migration:
    """Bring the tables of a catalog to the form that this whence needs: a SQLite file's, or a PostgreSQL's.

    An empty PostgreSQL database becomes a catalog.

    Raises:
        NotFound: there is no such file.
        NotReady: it is newer than this whence, or not whence's.
    """
    if "://" in url:
        from whence_catalog.sql.postgres import PostgresEngine

        database: Engine[Any] = PostgresEngine(url)
        address = "postgresql+psycopg://" + url.partition("://")[2]
    else:
        if not Path(url).exists():
            raise NotFound(f"no catalog at {url}; `whence init` makes one", ErrorKind.NO_SUCH_FILE)
        database, address = SqliteEngine(Path(url)), f"sqlite:///{url}"
    try:
        before = database.read(schema.revision)
        if before is None and "://" not in url:
            raise NotReady(f"{url} is empty; `whence init` makes a catalog", ErrorKind.NOT_A_CATALOG)
        if before not in (None, *tables.KNOWN_REVISIONS):
            schema.refuse_revision(before, database.url)
        _upgrade(address)
        database.write(schema.make_identity)
        return Migration(database.url, before or "", database.read(schema.revision) or "")
    finally:
        database.close()


def _upgrade(address: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_scripts()))
    config.attributes["url"] = address
    with contextlib.redirect_stdout(io.StringIO()):
        command.upgrade(config, "head")


def _scripts() -> Path:
    # An editable install holds a copy of the migrations as they were when it was made: the checkout's go first.
    checkout = Path(whence_catalog.__file__).parents[2] / "migrations"
    if (checkout / "env.py").exists():
        return checkout
    installed = importlib.util.find_spec("whence_migrations")
    if installed is None or installed.origin is None:
        raise NotReady("the migrations are not installed; reinstall whence", ErrorKind.EXTRA_MISSING)
    return Path(installed.origin).parent
