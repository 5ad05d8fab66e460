"""The Catalogs that the contract holds for. Each is a real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import postgres
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


@contextmanager
def _postgresql(_: Path) -> Iterator[catalog.Catalog]:
    with postgres.shared().database() as url:
        opened = SqlCatalog.connect(url, timeout_seconds=10)
        try:
            yield opened
        finally:
            opened.close()


CATALOGS = {"sqlite": _sqlite, "postgresql": _postgresql}


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on an empty catalog; when the test is done, the facts must still make the projections."""
    with CATALOGS[request.param](tmp_path) as opened:
        yield World(opened)
        assert opened.check().problems == ()
