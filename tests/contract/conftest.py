"""The Catalogs that the contract holds for. Each is a real one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests import postgres, servers
from tests.simulator import World
from whence.http import HttpCatalog
from whence_catalog import catalog
from whence_catalog.sql.catalog import SqlCatalog


@contextmanager
def _sqlite(folder: Path) -> Iterator[SqlCatalog]:
    opened = SqlCatalog.open(folder / "catalog.db", synchronous="NORMAL", timeout_seconds=5)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def _postgresql(_: Path) -> Iterator[SqlCatalog]:
    with postgres.shared().database() as url:
        opened = SqlCatalog.connect(url, timeout_seconds=10)
        try:
            yield opened
        finally:
            opened.close()


def _over_http(
    behind: Callable[[Path], AbstractContextManager[SqlCatalog]],
) -> Callable[[Path], AbstractContextManager[catalog.Catalog]]:
    """The same behind a server, on loopback."""

    @contextmanager
    def served(folder: Path) -> Iterator[catalog.Catalog]:
        with behind(folder) as opened, servers.in_thread(opened) as url:
            client = HttpCatalog(url, timeout_seconds=20)
            try:
                yield client
            finally:
                client.close()

    return served


CATALOGS: dict[str, Callable[[Path], AbstractContextManager[catalog.Catalog]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "http-sqlite": _over_http(_sqlite),
    "http-postgresql": _over_http(_postgresql),
}


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on an empty catalog; when the test is done, the facts must still make the projections."""
    with CATALOGS[request.param](tmp_path) as opened:
        yield World(opened)
        assert opened.check().problems == ()
