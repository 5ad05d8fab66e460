"""The GraphQL surface: what a person, or a page, asks a catalog.

`mount(app, …)` adds it to a server. What can be asked is in `query`, what there is in `types` and `lineage`; the
printed schema, `schema.graphql`, is reviewed as an API.
"""

import functools
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL

from whence_api import access, answers, auth
from whence_api.feed import Feed
from whence_api.graphql import enums as enums
from whence_api.graphql import execution, over_http
from whence_api.graphql.limits import GraphqlLimits
from whence_api.graphql.loaders import Context, Following, LineageBounds
from whence_api.threads import Threads
from whence_catalog import catalog, verbs, wire
from whence_catalog.access import Viewer
from whence_catalog.errors import WhenceError

V = TypeVar("V", bound=Viewer | None)

SCHEMA = Path(__file__).parent / "schema.graphql"
PATH = "/graphql"
_PROTOCOLS = (GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL)
_SOCKETS: Mapping[str, Any] = {
    "connection_init_wait_timeout": timedelta(seconds=10),
    "max_subscriptions_per_connection": 20,
}
# In the payload of `connection_init`, where a browser can set no headers.
_TOKEN_NAMES = ("authorization", "Authorization")
_CHANGES_AT_ONCE = 500


def mount(
    app: FastAPI,
    asked: catalog.Catalog,
    viewer_of: Callable[[Scope], Viewer],
    threads: Threads,
    limits: GraphqlLimits | None = None,
    feed: Feed | None = None,
    recall: Callable[[Scope], Viewer | None] = lambda _: None,
) -> None:
    """Let `app` answer at `/graphql`: requests, the page that asks them, and the page's files.

    Args:
        asked: the catalog that is asked, through `access`.
        viewer_of: who makes a request; it may block. What it raises is the answer, with its status.
        threads: where calls of the catalog are carried out.
        limits: how much one request may ask.
        feed: what subscriptions follow; else one of its own.
        recall: as `viewer_of`, if that can be told without blocking; else None.
    """
    bounds = limits or GraphqlLimits()
    kept = LineageBounds(bounds.lineage_nodes, bounds.lineage_seconds)
    nobody = auth.EVERYONE.actor

    followed = feed or feed_of(asked, threads)

    async def context(request: HTTPConnection) -> Context:
        # Who is shown the page has no token yet; it holds nothing of the catalog. Who opens a WebSocket shows it then.
        is_socket = request.scope["type"] == "websocket"
        is_page = not is_socket and over_http.shows_page(request.scope["method"], request.query_params)
        viewer = None if is_page or is_socket else _told(recall, request.scope)
        if viewer is None and not (is_page or is_socket):
            viewer = await threads.read(_told, viewer_of, request.scope)

        async def look() -> Viewer:
            nonlocal viewer
            shown = made.connection_params if is_socket else None
            viewer = await threads.read(_told, viewer_of, _showing(request.scope, shown))
            return viewer

        async def ask(verb: str, /, **arguments: object) -> Any:
            assert viewer is not None
            carry = threads.write if verbs.VERBS[verb].writes else threads.read
            return await carry(_carry_out, request.scope, viewer, verb, arguments, asked)

        made = Context(ask, kept, nobody if viewer is None else viewer.actor, Following(followed, look))
        return made

    app.mount(f"{PATH}/ide", StaticFiles(directory=over_http.IDE))
    endpoint = over_http.Endpoint(_schema(bounds), context, subscription_protocols=_PROTOCOLS, **_SOCKETS)
    # In front: each route that does not fit costs a look.
    app.router.routes[:0] = endpoint.routes(PATH)
    app.add_exception_handler(WhenceError, _refused)


# It is the same for every application of a process.
_schema = functools.cache(execution.Schema)


def feed_of(asked: catalog.Catalog, threads: Threads) -> Feed:
    """What is recorded in a catalog, for whoever listens."""
    return Feed(lambda after: threads.read(asked.changes, after, _CHANGES_AT_ONCE))


def _showing(scope: Scope, shown: Any) -> Scope:
    """The request, with the token that was shown in the message that opened a WebSocket."""
    token = next((shown[name] for name in _TOKEN_NAMES if name in shown), None) if shown else None
    if not isinstance(token, str):
        return scope
    given = (b"authorization", token.encode("latin-1", "replace"))
    others = [header for header in scope["headers"] if header[0] != given[0]]
    return {**scope, "headers": [*others, given]}


def _told(viewer_of: Callable[[Scope], V], scope: Scope) -> V:
    with answers.discreet(scope):
        return viewer_of(scope)


def _carry_out(
    scope: Scope, viewer: Viewer, verb: str, arguments: dict[str, object], asked: catalog.Catalog
) -> object:
    with answers.discreet(scope):
        return access.carry_out(viewer, verb, arguments, asked)


async def _refused(_: Request, error: Exception) -> Response:
    """A request that is not let in, in GraphQL's form."""
    assert isinstance(error, WhenceError)
    status = verbs.status_of(error)
    told = {"message": str(error), "extensions": {"code": error.kind, "type": type(error).__name__}}
    headers = {name.decode(): value.decode() for name, value in answers.refusal_headers(error, status)}
    return Response(wire.encode({"errors": [told]}), status, headers, "application/json")
