"""The server as an ASGI application: what is served, and what stands around it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from whence_api import auth, feed, gate, graphql, limits, openapi, records, telemetry, threads, upkeep
from whence_api.settings import Settings
from whence_catalog import verbs
from whence_catalog.errors import ErrorKind, NotFound, WhenceError
from whence_catalog.sql.catalog import SqlCatalog


@dataclass(frozen=True, slots=True)
class Served:
    """What the routes of one application share; `app.state.served`."""

    catalog: SqlCatalog
    settings: Settings
    gate: gate.Gate
    threads: threads.Threads
    metrics: telemetry.Metrics
    upkeep: upkeep.Upkeep
    feed: feed.Feed


def create_app(catalog: SqlCatalog, settings: Settings) -> FastAPI:
    """An application that serves `catalog`, which stays its maker's to close.

    Raises:
        NotReady: the settings ask for what is not installed.
    """
    metrics = telemetry.Metrics()
    tracer = telemetry.Tracer(settings.trace_endpoint) if settings.trace_endpoint else None
    authenticator = auth.Authenticator(settings.auth_settings, catalog.find_token)
    rate = limits.Rate(settings.requests_per_second, settings.requests_at_once)
    carrying = threads.Threads(settings.threads, settings.request_seconds)
    served = Served(
        catalog,
        settings,
        gate.Gate(authenticator, rate),
        carrying,
        metrics,
        upkeep.Upkeep(ping=catalog.ping, sweep=catalog.sweep, sequence=catalog.sequence, metrics=metrics),
        graphql.feed_of(catalog, carrying),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with served.upkeep.running(
            sweep_seconds=settings.sweep_seconds, sequence_seconds=settings.sequence_seconds
        ):
            yield
        served.threads.close(0)
        if tracer is not None:
            tracer.close()

    app = FastAPI(
        title="whence",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.served = served
    app.router.routes.extend(
        [
            *records.routes(
                catalog,
                served.gate,
                served.threads,
                metrics,
                blobs=settings.blobs_of_clients,
                max_body_bytes=settings.max_body_bytes,
            ),
            *_about(served),
        ]
    )
    graphql.mount(
        app,
        catalog,
        served.gate.viewer,
        served.threads,
        settings.graphql_limits,
        served.feed,
        served.gate.recall,
    )
    app.add_exception_handler(HTTPException, _refused_route)
    paths = frozenset(route.path for route in app.routes if isinstance(route, Route)) | {graphql.PATH}
    # From the inside outwards.
    app.add_middleware(limits.Intake, max_bytes=settings.max_body_bytes, seconds=settings.request_seconds)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    if settings.authentication == "none" and settings.is_local:
        app.add_middleware(gate.OnlyFromHere)
    app.add_middleware(limits.Crowd, most=settings.connections, always=telemetry.PROBES)
    app.add_middleware(telemetry.Watch, metrics=metrics, routes=paths, tracer=tracer)
    return app


async def _refused_route(request: Request, error: Exception) -> Response:
    status = cast("HTTPException", error).status_code
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        told = f"{request.method[:20]} is not for this route; see /openapi.json"
    else:
        told = "no such route; see /openapi.json"
    headers = {**(cast("HTTPException", error).headers or {})}
    body = verbs.encode_error(NotFound(told, ErrorKind.NO_SUCH_ROUTE))
    return Response(body, status, headers, "application/json")


def _about(served: Served) -> list[Route]:
    """The routes that say how the server itself is; they are for everybody, and tell nothing of the catalog."""
    document = openapi.document(served.settings)

    async def healthz(_: Request) -> Response:
        return _json(b'{"alive":true}')

    async def readyz(_: Request) -> Response:
        try:
            await served.upkeep.check_ready()
        except WhenceError as error:
            return _json(verbs.encode_error(error), 503)
        return _json(b'{"ready":true}')

    async def metrics(_: Request) -> Response:
        return Response(served.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def describe(_: Request) -> Response:
        return _json(document)

    handlers: dict[str, Any] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/metrics": metrics,
        "/openapi.json": describe,
    }
    return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items()]


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
