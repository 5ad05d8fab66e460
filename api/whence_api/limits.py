"""What a server bears from one client: bytes, time, requests.

`Intake` reads each body whole, within its limits, before anything else looks at the request; so nothing
behind it waits for a slow client, nor holds more than it may. `Rate` counts requests of one client, `Crowd`
those of all. `patient` makes connections that are cut when the head of a request does not come.
"""

import asyncio
import time
import zlib
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from whence_api import answers
from whence_catalog.errors import ErrorKind, InvalidInput, Unreachable, WhenceError

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
# All bodies together may take this many times what one may.
HELD_BODIES = 32
# A body that is too large is still taken in, and dropped, up to this many times the limit: a client that
# is cut off while it sends does not see why.
_DROPPED_BODIES = 8
_KNOWN_CLIENTS = 10_000


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Body:
    """What has come of a request's body."""

    chunks: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class _Gone(Exception):
    """The client went away before it had said all."""


class Intake:
    """Hands on requests with their whole body, decompressed; refuses what is too large, too slow or broken."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        body = _Body()
        try:
            plain = await self._taken(body, scope, receive, send)
            if plain is not None:
                await self._app(scope, _replaying(plain, receive), send)
        finally:
            self._held_bytes -= body.size_bytes

    async def _taken(self, body: _Body, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """The body as the client meant it; None where the request is done with: refused, or abandoned."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._fill(body, scope, receive)
            return await self._unpacked(b"".join(body.chunks), answers.header(scope, b"content-encoding"))
        except TimeoutError:
            told = f"the request had not arrived whole after {self._seconds:g} s; send it again"
            await answers.refuse(send, Unreachable(told), status=408)
        except WhenceError as error:
            await answers.refuse(send, error)
        except _Gone:
            pass
        return None

    async def _fill(self, body: _Body, scope: Scope, receive: Receive) -> None:
        dropped_bytes = 0
        declared = answers.header(scope, b"content-length")
        declared_bytes = int(declared) if declared.isdigit() else 0
        is_asking = bool(answers.header(scope, b"expect"))
        if declared_bytes > self._max_bytes * (1 if is_asking else _DROPPED_BODIES):
            raise self._too_large()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            chunk = message.get("body", b"")
            if dropped_bytes or body.size_bytes + len(chunk) > self._max_bytes:
                dropped_bytes += len(chunk)
                body.chunks.clear()
            elif self._held_bytes + len(chunk) > self._max_bytes * HELD_BODIES:
                raise Unreachable("the server holds as many requests as it can; try again later")
            else:
                body.chunks.append(chunk)
                body.size_bytes += len(chunk)
                self._held_bytes += len(chunk)
            is_whole = not message.get("more_body", False)
            if dropped_bytes and (is_whole or dropped_bytes > self._max_bytes * _DROPPED_BODIES):
                raise self._too_large()
            if is_whole:
                return

    async def _unpacked(self, body: bytes, encoding: str) -> bytes:
        match encoding.strip().lower():
            case "" | "identity":
                return body
            case "gzip":
                # Seconds of work, for the worst that fits: not on the loop that serves everybody.
                return await asyncio.to_thread(unzipped, body, self._max_bytes)
            case _:
                raise InvalidInput(f"content-encoding {encoding[:40]!r} is not taken; gzip is, or none")

    def _too_large(self) -> WhenceError:
        return InvalidInput(
            f"the request is larger than {self._max_bytes} bytes, the most that is taken; send fewer items at once",
            ErrorKind.TOO_LARGE,
        )


def unzipped(body: bytes, max_bytes: int) -> bytes:
    """What was compressed by gzip, in one member, to `body`.

    Raises:
        InvalidInput: it was not, or is larger than `max_bytes`.
    """
    reader = zlib.decompressobj(wbits=31)
    try:
        plain = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidInput("the body says that it is gzip, and is not") from error
    if len(plain) > max_bytes:
        raise InvalidInput(
            f"the request unpacks to more than {max_bytes} bytes, the most that is taken; send fewer items at once",
            ErrorKind.TOO_LARGE,
        )
    if not reader.eof:
        raise InvalidInput("the body is gzip that was cut short")
    if reader.unused_data:
        raise InvalidInput("something follows the gzip in the body; send one member")
    return plain


def _replaying(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def replay() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


class Rate:
    """How many requests each client may make: `per_second` of them, `at_once` after a pause. Safe from threads."""

    def __init__(self, per_second: float, at_once: int) -> None:
        self._per_second = per_second
        self._at_once = float(at_once)
        # Client to (what it has left, when that was so), the one that was heard of last at the end.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._guard = Lock()

    def take(self, client: str, now: float | None = None) -> None:
        """Count one request.

        Raises:
            Unreachable: it is one too many (TOO_MANY).
        """
        if not self._per_second:
            return
        now = time.monotonic() if now is None else now
        with self._guard:
            left, before = self._left.pop(client, (self._at_once, now))
            left = min(self._at_once, left + (now - before) * self._per_second)
            is_allowed = left >= 1
            self._left[client] = (left - 1 if is_allowed else left, now)
            if len(self._left) > _KNOWN_CLIENTS:
                self._left.popitem(last=False)
        if not is_allowed:
            raise Unreachable(
                f"too many requests; no more than {self._per_second:g} a second are taken from one client:"
                " send more items in each, or try again later",
                ErrorKind.TOO_MANY,
            )


class Crowd:
    """Refuses what comes while `most` requests are being served, but for `always`: how the server is, it says then too.

    Of WebSockets, which last, it serves as many besides: they keep no request out, and none keeps them out.
    """

    def __init__(self, app: ASGIApp, *, most: int, always: frozenset[str]) -> None:
        self._app = app
        self._most = most
        self._always = always
        self._served = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        kind = scope["type"]
        if kind not in ("http", "websocket") or scope["path"] in self._always:
            await self._app(scope, receive, send)
            return
        if self._served[kind] >= self._most:
            told = "the server serves as many requests as it can; try again later"
            await answers.refuse(send if kind == "http" else _unopened(send), Unreachable(told))
            return
        self._served[kind] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._served[kind] -= 1


def _unopened(send: Send) -> Send:
    """Answers a WebSocket that is not opened: by HTTP, as it was asked for."""

    async def answer(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return answer


# ── heads ────────────────────────────────────────────────────────────────────────────────────────


def patient(seconds: float) -> type[asyncio.Protocol]:
    """Connections of uvicorn's kind that are cut when a request's head takes longer than that to come."""

    class Patient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_expecting()
            super().connection_lost(exc)

        def _expect_head(self) -> None:
            is_busy = self.cycle is not None and not self.cycle.response_complete
            if is_busy:
                self._stop_expecting()
            elif self._deadline is None:
                self._deadline = asyncio.get_running_loop().call_later(seconds, self._cut)

        def _stop_expecting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _cut(self) -> None:
            self._deadline = None
            is_busy = self.cycle is not None and not self.cycle.response_complete
            if not is_busy:
                self.transport.abort()

    return Patient
