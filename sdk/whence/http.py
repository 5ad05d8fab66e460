"""HttpCatalog: the Catalog over HTTP, as `whence serve` speaks it: `POST /v1/<verb>`, JSON (`whence_catalog.verbs`).

Connections are pooled and kept alive; a forked child opens its own. All verbs may be said twice, so what got no
answer is said again, for as long as WHENCE_TIMEOUT allows. A server that did not answer the last call is
asked once only, until it answers.

WHENCE_TOKEN       the token that says who calls; or
WHENCE_TOKEN_FILE  a file that holds it, read again for each call, since whoever gave it may replace it.
"""

import functools
import gzip
import inspect
import json
import os
import random
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import cast

import urllib3
from urllib3 import exceptions

from whence_catalog import catalog, lineage, verbs
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady, Unreachable, WhenceError

TOKEN_VARIABLE = "WHENCE_TOKEN"
TOKEN_FILE_VARIABLE = "WHENCE_TOKEN_FILE"

_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
# A beat that is late is worth nothing: the next one is due soon.
_BEAT_SECONDS = 10.0
_CONNECTIONS = 32
_COMPRESSED_FROM_BYTES = 4096
# How many nodes of a lineage are asked for in one request.
_NODES_AT_ONCE = 50_000
_PASSING = frozenset({429, 502, 503, 504})


def connect(url: str, token: str | None = None, *, timeout_seconds: float = 30.0) -> catalog.Catalog:
    """The catalog that a server at `url` holds. Nothing is asked yet; see `HttpCatalog`."""
    return cast("catalog.Catalog", HttpCatalog(url, token, timeout_seconds=timeout_seconds))


def address_of(url: str) -> str:
    """The address of a server, in the one form that it has here.

    Raises:
        InvalidInput: it is none.
    """
    wrong = "not the address of a server of whence, such as https://whence.example.org"
    try:
        parts = urllib.parse.urlsplit(url.strip())
        port = parts.port
    except ValueError:
        # What was given may hold a password, and so may what Python says of it.
        raise InvalidInput(f"WHENCE_URL is {wrong}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"WHENCE_URL is {wrong}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput(
            f"the address of a server is its host, port and path alone, such as {parts.scheme}://{parts.hostname};"
            f" a token goes into {TOKEN_VARIABLE}"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back: a body, or what is to be raised; and whether, and when, to ask again."""

    body: bytes = b""
    error: WhenceError | None = None
    is_final: bool = True
    pause_seconds: float | None = None


class HttpCatalog:
    """A Catalog behind a server; its verbs are those of `verbs.VERBS`. Safe from threads and after a fork."""

    # What it refuses may be mended on the server, while a step goes on.
    is_server = True

    def __init__(self, url: str, token: str | None = None, *, timeout_seconds: float = 30.0) -> None:
        """Nothing is asked yet.

        Args:
            url: the address of the server.
            token: says who calls; absent, as the module says.
            timeout_seconds: for an answer, all attempts together.
        """
        self.url = address_of(url)
        self._token = None if token is None else _checked_token(token, "the token")
        self._timeout_seconds = timeout_seconds
        self._pool: urllib3.PoolManager | None = None
        self._pid = 0
        self._is_failing = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<HttpCatalog {self.url}>"

    def close(self) -> None:
        """Let go of every connection. Idempotent."""
        self._is_closed = True
        if self._pool is not None and self._pid == os.getpid():
            self._pool.clear()

    # ── a call ───────────────────────────────────────────────────────────────────────────────────

    def lineage_pages(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        depth: int | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> Iterator[lineage.Graph]:
        """As the Catalog says: one request for each page, which the server finds by taking the steps before it again."""
        bounds = lineage.Bounds(depth, _NODES_AT_ONCE)
        verb, frontier = verbs.VERBS["lineage"], None
        while True:
            given = {"roots": roots, "direction": direction, "bounds": bounds, "frontier": frontier}
            page = cast("lineage.Graph", self.say(verb, {**given, "filter": filter, "as_of": as_of}))
            yield page
            whole, frontier = page.completeness, page.completeness.frontier
            # One that was cut by its depth alone is all that was asked for.
            if frontier is None or not any("nodes reached" in reason for reason in whole.reasons):
                return

    def say(self, verb: verbs.Verb, arguments: Mapping[str, object]) -> object:
        """Call a verb; answers what it answers.

        Raises:
            Unreachable: nobody answered in time, or not as a server of whence does.
            WhenceError: what the verb raises, and what the server refuses.
        """
        body = verb.encode_call(arguments)
        seconds = min(self._timeout_seconds, _BEAT_SECONDS) if verb.name == "beat" else self._timeout_seconds
        answer = self._asked("POST", f"/v1/{verb.name}", body, seconds)
        try:
            return verb.decode_answer(answer)
        except InvalidInput as unread:
            raise self._unreadable(unread) from unread

    def offered_blobs(self) -> str | None:
        """Where the server says that its clients keep bytes, as an fsspec URL, if it does.

        Raises:
            Unreachable, WhenceError: as `say`.
        """
        answer = self._asked("GET", "/v1", b"", self._timeout_seconds)
        try:
            told = json.loads(answer)["blobs"]
        except (ValueError, LookupError, TypeError) as unread:
            raise self._unreadable(unread) from unread
        return None if told is None else str(told)

    def _unreadable(self, why: Exception) -> Unreachable:
        return Unreachable(
            f"the catalog {self.url} answered what this whence cannot read ({why}); see that both are of"
            " the same version"
        )

    def _asked(self, method: str, path: str, body: bytes, seconds: float) -> bytes:
        """The body of an answer."""
        if self._is_closed:
            raise Unreachable("this catalog was closed; connect again")
        answer = self._attempts(method, path, body, time.monotonic() + seconds)
        self._is_failing = isinstance(answer.error, Unreachable)
        if answer.error is not None:
            raise answer.error
        return answer.body

    def _attempts(self, method: str, path: str, body: bytes, give_up_at: float) -> _Answer:
        """The answer of the first attempt that got one, or what became of the last."""
        headers = self._headers()
        if len(body) >= _COMPRESSED_FROM_BYTES:
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        attempts = 1 if self._is_failing else _ATTEMPTS
        pause = _FIRST_PAUSE_SECONDS
        while True:
            answer = self._attempt(method, self.url + path, body, headers, give_up_at)
            attempts -= 1
            # Of many clients that were refused at once, not all come back at once.
            wait = pause * random.uniform(0.5, 1.5) if answer.pause_seconds is None else answer.pause_seconds
            if answer.is_final or not attempts or time.monotonic() + wait >= give_up_at:
                return answer
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _attempt(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], give_up_at: float
    ) -> _Answer:
        left = max(give_up_at - time.monotonic(), 0.01)
        try:
            response = self._connections().request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(left, _CONNECT_SECONDS), read=left),
                retries=False,
                redirect=False,
            )
        except exceptions.SSLError as error:
            return _Answer(error=self._unproven(_innermost(error)))
        except exceptions.NameResolutionError:
            return _Answer(error=self._silent("nobody knows its name"), is_final=False)
        except exceptions.NewConnectionError as error:
            return _Answer(error=self._silent(_innermost(error)), is_final=False)
        except exceptions.ConnectTimeoutError:
            return _Answer(error=self._silent("nothing there takes connections"), is_final=False)
        except exceptions.ReadTimeoutError:
            return _Answer(error=self._silent("no answer came in time"), is_final=False)
        except (exceptions.HTTPError, OSError) as error:
            return _Answer(error=self._silent(_innermost(error)), is_final=False)
        if response.status == HTTPStatus.OK:
            return _Answer(response.data)
        refused = self._refusal(response)
        pause = _seconds(response.headers.get("Retry-After"))
        is_passing = response.status in _PASSING and isinstance(refused, Unreachable)
        return _Answer(error=refused, is_final=not is_passing and pause is None, pause_seconds=pause)

    def _silent(self, why: str) -> Unreachable:
        return Unreachable(
            f"the catalog {self.url} does not answer: {why}; see that its server (`whence serve`) runs, and try again"
        )

    def _unproven(self, why: str) -> Unreachable:
        return Unreachable(
            f"{self.url} does not prove that it is who it says ({why}); see to its certificate, or name the authority"
            " that signed it in SSL_CERT_FILE"
        )

    def _refusal(self, response: urllib3.BaseHTTPResponse) -> WhenceError:
        """What the server says went wrong, or what whoever answers for it seems to mean."""
        try:
            return verbs.decode_error(response.data)
        except InvalidInput:
            pass
        if response.status in _PASSING:
            return self._silent(f"what stands before it answers {response.status}")
        moved_to = response.headers.get("Location")
        if moved_to:
            return Unreachable(
                f"{self.url} leads elsewhere, to {moved_to}; name that in WHENCE_URL", ErrorKind.BAD_SETTING
            )
        return Unreachable(
            f"{self.url} answers {response.status}, and not as a server of whence does; see to WHENCE_URL, and to the"
            " server's log"
        )

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"whence/{_version()}",
            verbs.PROTOCOL_HEADER: str(verbs.PROTOCOL),
        }
        token = token_of_environment() if self._token is None else self._token
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _connections(self) -> urllib3.PoolManager:
        """This process's own: a connection that two processes write into mixes their calls."""
        pool = self._pool
        if pool is None or self._pid != os.getpid():
            self._pool = pool = urllib3.PoolManager(num_pools=1, maxsize=_CONNECTIONS)
            self._pid = os.getpid()
        return pool


def token_of_environment() -> str | None:
    """The token that the environment names, if it does.

    Raises:
        NotReady: it names a file that cannot be read.
        InvalidInput: what it names is no token.
    """
    if token := os.environ.get(TOKEN_VARIABLE):
        return _checked_token(token, TOKEN_VARIABLE)
    named = os.environ.get(TOKEN_FILE_VARIABLE)
    if not named:
        return None
    try:
        text = Path(named).expanduser().read_text("ascii", "replace")
    except OSError as error:
        raise NotReady(
            f"{TOKEN_FILE_VARIABLE} names {named}, which cannot be read: {error.strerror}",
            ErrorKind.BAD_SETTING,
        ) from error
    return _checked_token(text, named)


def _checked_token(text: str, where: str) -> str:
    """A token without the space around it; the error never shows it."""
    token = text.strip()
    if not token or not all("!" <= character <= "~" for character in token):
        raise InvalidInput(f"{where} holds no token: one line of printable characters without spaces")
    return token


def _seconds(text: str | None) -> float | None:
    """What `Retry-After` says, in seconds; a date, or nonsense, says nothing."""
    return float(text) if text is not None and text.strip().isdecimal() else None


def _innermost(error: BaseException) -> str:
    """What went wrong below, without the wrappers of the library."""
    while isinstance(error, exceptions.HTTPError):
        inner = next(
            (part for part in reversed(error.args) if isinstance(part, BaseException)), error.__cause__
        )
        if inner is None:
            break
        error = inner
    strerror = error.strerror if isinstance(error, OSError) else None
    return (strerror or str(error) or type(error).__name__).lower()


@functools.cache
def _version() -> str:
    return metadata.version("whence")


# ── the verbs ────────────────────────────────────────────────────────────────────────────────────


def _method(verb: verbs.Verb) -> Callable[..., object]:
    """The method of that verb, with the signature that the Catalog says."""
    said = getattr(catalog.Catalog, verb.name)
    signature = inspect.signature(said)

    @functools.wraps(said)
    def call(self: HttpCatalog, *args: object, **kwargs: object) -> object:
        arguments = signature.bind(self, *args, **kwargs).arguments
        return self.say(verb, {name: value for name, value in arguments.items() if name != "self"})

    return call


# One verb is spelled in one place, the Protocol.
for _verb in verbs.VERBS.values():
    setattr(HttpCatalog, _verb.name, _method(_verb))
