"""A server for the benchmarks of GraphQL: `python -m benchmarks.graphql_served NAME CATALOG`.

Beside what any server answers, `/bench/orjson` sends what `/graphql` answered to the first question, `/bench/empty`
nothing, and `/bench/spent` tells what the process has spent. NAME says what is behind `/graphql`:

sql: the catalog. kept: the catalog, whose lineage is walked once; what is left is GraphQL's own work. stock: as
`kept`, by Strawberry as it comes: graphql-core's execution, no cache of what was parsed, its own JSON.
Prints its address, and ends when its standard input does.
"""

import dataclasses
import gc
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import orjson
import strawberry
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.fastapi import GraphQLRouter
from strawberry.schema.config import StrawberryConfig

from whence_api import __main__ as server
from whence_api import access, app, auth, settings
from whence_api.graphql import execution, limits, loaders
from whence_catalog import columns, lineage
from whence_catalog.sql import catalog


class Kept(catalog.SqlCatalog):
    """A catalog that walks a lineage once, and answers with what it found from then on: a Graph as fresh each time as
    one that was just read, of which no node and no id was made yet."""

    _found: lineage.Graph | None = None

    def lineage(self, *arguments: Any, **named: Any) -> lineage.Graph:
        if self._found is None:
            self._found = super().lineage(*arguments, **named)
        found = self._found.columns
        assert isinstance(found, columns.Found)
        described = {type: dataclasses.replace(of, _ids=None) for type, of in found.described.items()}
        fresh = dataclasses.replace(found, described=described)
        return lineage.Graph.kept(self._found.roots, fresh, self._found.completeness)


def stock(kept: catalog.SqlCatalog) -> FastAPI:
    """The same schema by Strawberry alone."""
    ours = execution.Schema(limits.GraphqlLimits())
    schema = strawberry.Schema(
        ours.query,
        ours.mutation,
        types=execution.TYPES,
        config=StrawberryConfig(scalar_map=ours.config.scalar_map),
    )

    async def ask(verb: str, /, **arguments: object) -> Any:
        return access.carry_out(auth.EVERYONE, verb, arguments, kept)

    async def context() -> loaders.Context:
        return loaders.Context(ask, loaders.LineageBounds(10_000, 20.0), auth.EVERYONE.actor)

    served = FastAPI()
    served.include_router(GraphQLRouter(schema, context_getter=context), prefix="/graphql")
    return served


class Told:
    """Answers what only a benchmark asks, in front of an application or inside it."""

    def __init__(self, inside: ASGIApp) -> None:
        self._inside = inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/bench/spent":
            await Response(repr(time.process_time()))(scope, receive, send)
        else:
            await self._inside(scope, receive, send)


def routes() -> list[Route]:
    """The floors: what is sent, and nothing else."""
    kept: list[Any] = []

    async def keep(request: Request) -> Response:
        kept[:] = [orjson.loads(await request.body())]
        return Response(b"")

    async def plain(request: Request) -> Response:
        await request.body()
        return Response(orjson.dumps(kept[0]), media_type="application/json")

    async def empty(request: Request) -> Response:
        await request.body()
        return Response(b"{}", media_type="application/json")

    told = {"/bench/keep": keep, "/bench/orjson": plain, "/bench/empty": empty}
    return [Route(path, handler, methods=["POST"]) for path, handler in told.items()]


def main(name: str, file: Path) -> None:
    """Serve until standard input ends."""
    told = settings.load(
        port=0, max_body_bytes=64 * 1024 * 1024, requests_per_second=0, sweep_seconds=0, log_format="text"
    )
    kind = catalog.SqlCatalog if name == "sql" else Kept
    opened = kind.open(file, synchronous="NORMAL")
    application = stock(opened) if name == "stock" else app.create_app(opened, told)
    application.router.routes[:0] = routes()
    config = server.config(cast("FastAPI", Told(application)), told)
    with server.bind("127.0.0.1", 0) as listening:
        running = server.Server(
            config,
            listening=lambda: print(server.address(listening), flush=True),
            ending=lambda: None,
            delay_seconds=0,
        )

        def end() -> None:
            sys.stdin.read()
            running.should_exit = True

        threading.Thread(target=end, daemon=True).start()
        gc.collect()
        gc.freeze()  # as a server does
        running.run(sockets=[listening])
    opened.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
