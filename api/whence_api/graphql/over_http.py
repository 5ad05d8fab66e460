"""GraphQL over HTTP, to the letter of its specification, where Strawberry leaves it open.

Decides what a request is, the status and the media type of its answer, and what the page at its address loads. What
is asked, by whom and how much of it are decided elsewhere.

https://graphql.github.io/graphql-over-http/draft/
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload
from urllib.parse import urlsplit

import msgspec
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.fastapi import BaseContext
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.http.base import BaseRequestProtocol
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.schema import BaseSchema
from strawberry.types import ExecutionResult
from strawberry.types.unset import UNSET

from whence_api.graphql import persisted, rows
from whence_catalog.errors import ErrorKind, WhenceError

# The page at /graphql, which asks for its files under /graphql/ide/.
IDE = Path(__file__).parent / "ide"
# How much of documents is kept that may be asked for by their hash.
_KEPT_CHARACTERS, _LONGEST_KEPT = 8_000_000, 100_000
_JSON = "application/json"
_GRAPHQL = "application/graphql-response+json"

# GraphiQL writes styles as it runs, and its fonts stand in its style sheet.
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "font-src data:; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _Socket(ASGIWebSocketAdapter):
    """A WebSocket, whose messages are text."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        try:
            await self.ws.send_text(rows.encode(message).decode())
        except WebSocketDisconnect as gone:
            raise WebSocketDisconnected from gone


class Endpoint(GraphQL[BaseContext, None]):
    """What answers at the address of GraphQL: a GET that asks or shows the page, a POST that asks, a WebSocket.

    Args:
        schema: what is asked.
        context_of: what resolvers of a request are given. What it raises is the answer.
        documents: those that may be asked for by their hash; else some of its own.
    """

    websocket_adapter_class = _Socket

    def __init__(
        self,
        schema: BaseSchema,
        context_of: Callable[[HTTPConnection], Awaitable[BaseContext]],
        documents: persisted.Documents | None = None,
        **strawberrys: Any,
    ) -> None:
        super().__init__(schema, **strawberrys)
        self._context_of = context_of
        self._documents = documents or persisted.Documents(_KEPT_CHARACTERS, _LONGEST_KEPT)

    def routes(self, path: str) -> Sequence[BaseRoute]:
        """The routes that lead here."""
        return (Route(path, self, methods=["GET", "POST"]), WebSocketRoute(path, self))

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> BaseContext:
        """What resolvers of this request are given."""
        context = await self._context_of(request)
        context.request = request
        return context

    @overload
    async def run(
        self, request: Request, context: BaseContext = UNSET, root_value: None = UNSET
    ) -> Response: ...
    @overload
    async def run(
        self, request: WebSocket, context: BaseContext = UNSET, root_value: None = UNSET
    ) -> WebSocket: ...
    async def run(
        self, request: Request | WebSocket, context: BaseContext = UNSET, root_value: None = UNSET
    ) -> Response | WebSocket:
        """Answer in the media type that was asked for, with the status that this type gives it."""
        if isinstance(request, WebSocket):
            if _is_foreign(request):
                await request.close(1008)
                return request
            return await super().run(request, context, root_value)
        try:
            response = await super().run(request, context, root_value)
        except HTTPException as refused:
            is_unknown = isinstance(refused, persisted.NotKept)
            request.state.refused = is_unknown
            code = persisted.NOT_FOUND_CODE if is_unknown else ErrorKind.BAD_VALUE.value
            body = self.encode_json(_refusal(refused.reason, code))
            response = Response(body, refused.status_code, media_type=_JSON)
        response.headers.add_vary_header("accept")
        if isinstance(response, HTMLResponse | StreamingResponse):
            return response
        if _prefers_graphql(request.headers.get("accept", "")):
            # In plain JSON a status is the transport's; 200 there says only that this is GraphQL's answer.
            response.headers["content-type"] = f"{_GRAPHQL}; charset=utf-8"
            if response.status_code == 200 and getattr(request.state, "refused", False):
                response.status_code = 400
        return response

    async def on_ws_connect(self, context: BaseContext) -> Any:
        """Let in who shows a token in the message that opens the connection, or did in its headers."""
        try:
            await context.following.viewer()  # type: ignore[attr-defined]
        except WhenceError as error:
            raise ConnectionRejectionError from error
        return UNSET

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        """An answer without `data` where nothing was carried out: null would say that it was."""
        answer = await super().process_result(request, result)
        if result.errors and result.data is None and not any(error.path for error in result.errors):
            del answer["data"]
            request.state.refused = True
        return answer

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        """What is asked; a body holds one request, as nothing here is asked in batches."""
        # A page of the web can make a browser send any other form here without asking first.
        said = (request.content_type or "").partition(";")[0].strip().lower()
        if request.method == "POST" and said != _JSON:
            raise HTTPException(415, f"content-type is {said[:60]!r}; expected {_JSON}")
        asked = await super().parse_http_body(request)
        if isinstance(asked, list) or not isinstance(asked.operation_name, str | None):
            raise HTTPException(400, "operationName is to be a string or null; leave it out, or correct it")
        document = self._documents.document(asked.query, asked.extensions)
        return dataclasses.replace(asked, query=document)

    def should_render_graphql_ide(self, request: BaseRequestProtocol) -> bool:
        """Whether to show the page: to whoever asks nothing, and takes HTML."""
        return shows_page(request.method, request.query_params) and super().should_render_graphql_ide(request)

    def parse_json(self, data: str | bytes) -> dict[str, object]:
        """A JSON object; null is an empty one."""
        try:
            return msgspec.json.decode(data, type=dict[str, object] | None) or {}
        except RecursionError:
            raise HTTPException(400, "this JSON is nested too deeply; ask with less of it") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise HTTPException(400, f"not a JSON object in UTF-8: {error}") from error

    def encode_json(self, data: object) -> bytes:
        """The bytes of an answer."""
        return rows.encode(data)

    async def render_graphql_ide(self, request: Request) -> HTMLResponse:
        """The page, which loads nothing from anywhere else."""
        return HTMLResponse((IDE / "index.html").read_text("utf-8"), headers=_PAGE_HEADERS)


def _refusal(message: str, code: str) -> GraphQLHTTPResponse:
    return {"errors": [{"message": message, "extensions": {"code": code}}]}


def _is_foreign(request: WebSocket) -> bool:
    """Whether a page of another place asks: a browser lets it, and says whose it is."""
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def shows_page(method: str, parameters: Mapping[str, object]) -> bool:
    """Whether a request asks nothing, neither by a document nor by the hash of one."""
    return method == "GET" and "query" not in parameters and "extensions" not in parameters


def _prefers_graphql(accept: str) -> bool:
    # Who names neither, or anything at all, may not know the newer type.
    return _quality(accept, _GRAPHQL) >= max(_quality(accept, _JSON), 0.001)


def _quality(accept: str, media_type: str) -> float:
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name == media_type:
            given = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
            return float(given) if given.replace(".", "", 1).isdecimal() and given.isascii() else 0.0
    return 0.0
