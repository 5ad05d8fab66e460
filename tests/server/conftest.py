"""What the tests of the server stand on: a catalog, served, and a client that speaks plain HTTP."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests import servers
from tests.simulator import World
from whence_catalog import verbs
from whence_catalog.sql.catalog import SqlCatalog

JSON = {"content-type": "application/json"}


class Api:
    """A server's routes, as any HTTP client has them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._pool = urllib3.PoolManager(retries=False)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """What is answered, whatever its status."""
        given = dict(JSON if headers is None else headers)
        return self._pool.request(method, self.url + path, body=body, headers=given)

    def call(self, verb: str, **arguments: object) -> Any:
        """What a verb answers, as the value it is.

        Raises:
            WhenceError: the one that was answered.
        """
        said = verbs.VERBS[verb]
        answer = self.ask("POST", f"/v1/{verb}", said.encode_call(arguments))
        if answer.status != 200:
            raise verbs.decode_error(answer.data)
        return said.decode_answer(answer.data)

    def refusal(self, *asked: Any, **named: Any) -> tuple[int, str, str]:
        """(status, kind, message) of a request that is refused."""
        answer = self.ask(*asked, **named)
        return refusal(answer.status, answer.data)

    def close(self) -> None:
        self._pool.clear()


def refusal(status: int, body: bytes) -> tuple[int, str, str]:
    """(status, kind, message) of an answer that refuses."""
    error = json.loads(body)["error"]
    return status, error["kind"], error["message"]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    opened = SqlCatalog.open(tmp_path / "catalog" / "catalog.db", synchronous="NORMAL", timeout_seconds=5)
    yield opened
    opened.close()


@pytest.fixture
def world(catalog: SqlCatalog) -> World:
    """What happens behind the server's back: in the same catalog, without the server."""
    return World(catalog)


@pytest.fixture
def serve(catalog: SqlCatalog) -> Iterator[Callable[..., Api]]:
    """Serves the catalog by the settings that are given."""
    with ExitStack() as stack:

        def begin(**settings: Any) -> Api:
            made = Api(stack.enter_context(servers.in_thread(catalog, **settings)))
            stack.callback(made.close)
            return made

        yield begin


@pytest.fixture
def api(serve: Callable[..., Api]) -> Api:
    """The catalog, served as it is by default."""
    return serve()
