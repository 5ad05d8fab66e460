"""Runs Alembic over an embedded catalog; the migrations come from the wheel, or from a checkout."""

import contextlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config

import whence_catalog
from whence_catalog.errors import ErrorKind, NotFound, NotReady
from whence_catalog.sql import schema, tables
from whence_catalog.sql.engine import SqliteEngine


@dataclass(frozen=True, slots=True)
class Migration:
    """From which schema to which; equal where there was nothing to do."""

    catalog: str
    before: str
    after: str


def migrate(path: Path) -> Migration:
    """Bring the tables of the catalog in `path` to the form that this whence needs.

    Raises:
        NotFound: there is no catalog.
        NotReady: it is newer than this whence, or not whence's.
    """
    if not path.exists():
        raise NotFound(f"no catalog at {path}; `whence init` makes one", ErrorKind.NO_SUCH_FILE)
    before = _revision(path)
    if before not in tables.KNOWN_REVISIONS:
        schema.refuse_revision(before, path)
    config = Config()
    config.set_main_option("script_location", str(_scripts()))
    config.attributes["url"] = f"sqlite:///{path}"
    with contextlib.redirect_stdout(io.StringIO()):
        command.upgrade(config, "head")
    return Migration(str(path), before, _revision(path))


def _revision(path: Path) -> str:
    database = SqliteEngine(path)
    try:
        with database.reading() as tx:
            found = schema.revision(tx)
    finally:
        database.close()
    if found is None:
        raise NotReady(f"{path} is empty; `whence init` makes a catalog", ErrorKind.NOT_A_CATALOG)
    return found


def _scripts() -> Path:
    installed = importlib.util.find_spec("whence_migrations")
    if installed is not None and installed.origin is not None:
        return Path(installed.origin).parent
    return Path(whence_catalog.__file__).parents[2] / "migrations"
