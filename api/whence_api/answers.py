"""What goes back to a client: JSON bodies, and errors in their one form."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.types import Scope, Send

from whence_catalog import verbs
from whence_catalog.errors import ErrorKind, NotReady, Unreachable, WhenceError

log = logging.getLogger("whence.server")

JSON = (b"content-type", b"application/json")

Headers = Iterable[tuple[bytes, bytes]]


def header(scope: Scope, name: bytes) -> str:
    """The value of a request's header; empty where it has none."""
    return said(scope, name) or ""


def said(scope: Scope, name: bytes) -> str | None:
    """The value of a request's header, which may be empty; None where it has none."""
    return next((value.decode("latin-1") for found, value in scope["headers"] if found == name), None)


async def send_body(send: Send, status: int, body: bytes, headers: Headers = ()) -> None:
    """Answer with a whole body."""
    sized = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [sized, *headers]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, error: WhenceError, *, status: int | None = None, headers: Headers = ()) -> None:
    """Answer with an error."""
    found = status or verbs.status_of(error)
    await send_body(send, found, verbs.encode_error(error), [JSON, *refusal_headers(error, found), *headers])


def refusal_headers(error: WhenceError, status: int) -> list[tuple[bytes, bytes]]:
    """What HTTP wants beside an error of that status."""
    if error.kind is ErrorKind.UNAUTHENTICATED:
        return [(b"www-authenticate", b'Bearer realm="whence"')]
    if status in (408, 413):
        # The rest of what the client sends is not read any more.
        return [(b"connection", b"close")]
    return [(b"retry-after", b"1")] if status in (429, 503) else []


def broken(request_id: str) -> Unreachable:
    """What a client is told where the server itself is at fault: nothing but where to look it up."""
    return Unreachable(
        f"the server could not do this, by a fault of its own; it is logged as request {request_id}",
        ErrorKind.BROKEN,
    )


@contextlib.contextmanager
def discreet(scope: Scope) -> Iterator[None]:
    """Tell a client of the database's troubles without where it lies, which is logged."""
    try:
        yield
    except (NotReady, Unreachable) as error:
        if error.kind is ErrorKind.TOO_MANY:
            raise
        log.warning("request %s: %s", state(scope).get("request_id"), error)
        raise outside(error) from error


def outside(error: WhenceError) -> WhenceError:
    """The same trouble of the database, in words that tell nothing of where it lies."""
    if isinstance(error, NotReady):
        told = f"the catalog behind this server cannot be used ({error.kind}); ask who runs it"
        return NotReady(told, error.kind)
    is_busy = error.kind is ErrorKind.LOCKED
    what = "is busy: somebody holds what this needs" if is_busy else "does not answer"
    return Unreachable(f"the catalog behind this server {what}; try again later", error.kind)


def state(scope: Scope) -> Mapping[str, Any]:
    """What was found out about a request on its way."""
    found: Mapping[str, Any] = scope.get("state", {})
    return found
