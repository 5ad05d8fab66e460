"""The Catalogs that the contract holds for. Each is a real one; PostgreSQL and HTTP join here."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulator import World
from whence_catalog import catalog
from whence_catalog.sql.catalog import SqlCatalog


@contextmanager
def _sqlite(folder: Path) -> Iterator[catalog.Catalog]:
    opened = SqlCatalog.open(folder / "catalog.db", synchronous="NORMAL", timeout_seconds=5)
    try:
        yield opened
    finally:
        opened.close()


CATALOGS = {"sqlite": _sqlite}


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on an empty catalog; when the test is done, the facts must still make the projections."""
    with CATALOGS[request.param](tmp_path) as opened:
        yield World(opened)
        assert opened.check().problems == ()
