"""What the tests of GraphQL stand on: a catalog with a history, and questions about it."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from tests.simulator import World
from whence_api import access, app, auth
from whence_api.graphql import execution, rows
from whence_api.graphql.limits import GraphqlLimits
from whence_api.graphql.loaders import Context, LineageBounds
from whence_api.settings import Settings
from whence_catalog.access import Viewer
from whence_catalog.sql.catalog import SqlCatalog


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world on an empty catalog."""
    with closing(SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")) as opened:
        yield World(opened)


class Asked:
    """What was answered to a question."""

    def __init__(self, data: Any, errors: list[Mapping[str, Any]]) -> None:
        self.data = data
        self.errors = errors

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.errors]


class Schema:
    """The schema over a catalog, asked without a server, as one viewer."""

    def __init__(
        self, catalog: Any, limits: GraphqlLimits | None = None, viewer: Viewer = auth.EVERYONE
    ) -> None:
        self.catalog = catalog
        self.viewer = viewer
        self.limits = limits or GraphqlLimits()
        self.schema = execution.Schema(self.limits)
        self.asked: list[str] = []

    async def _ask(self, verb: str, /, **arguments: object) -> Any:
        self.asked.append(verb)
        return access.carry_out(self.viewer, verb, arguments, self.catalog)

    def __call__(self, query: str, **variables: object) -> Asked:
        bounds = LineageBounds(self.limits.lineage_nodes, self.limits.lineage_seconds)
        context = Context(self._ask, bounds, self.viewer.actor)
        result = asyncio.run(self.schema.execute(query, variables, context))
        # As a client reads it: long lists are written out when they are sent.
        data = msgspec.json.decode(rows.encode(result.data))
        return Asked(data, [dict(error.formatted) for error in result.errors or ()])

    def data(self, query: str, **variables: object) -> Any:
        """The data of an answer without errors."""
        answer = self(query, **variables)
        assert answer.errors == []
        return answer.data


@pytest.fixture
def ask(world: World) -> Schema:
    return Schema(world.catalog)


@pytest.fixture
def served(world: World) -> FastAPI:
    """The server over that catalog."""
    return app.create_app(world.catalog, Settings())  # type: ignore[arg-type]


def send(served: FastAPI, body: object = None, method: str = "POST", **given: Any) -> httpx.Response:
    """What the server answers at /graphql."""

    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, "/graphql", json=body, **given)

    return asyncio.run(sent())


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What GraphQL logs, whatever a server in this process does with logs."""
    logger = logging.getLogger("whence.graphql")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
