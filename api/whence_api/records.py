"""The routes of `/v1`: one for each verb of the Catalog, made from it.

A request is decoded, carried out for whoever asks, and answered on one thread; the loop only hands it over.
"""

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from whence_api import access, answers, gate, telemetry, threads
from whence_catalog import catalog, verbs, wire
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady, WhenceError

_PROTOCOL = verbs.PROTOCOL_HEADER.lower().encode()
_OURS = (_PROTOCOL, str(verbs.PROTOCOL).encode())
_HEADERS = (answers.JSON, _OURS)


class VerbRoute:
    """`POST /v1/<verb>`."""

    def __init__(
        self,
        verb: verbs.Verb,
        asked: catalog.Catalog,
        entrance: gate.Gate,
        crew: threads.Threads,
        metrics: telemetry.Metrics,
    ) -> None:
        self._verb = verb
        self._catalog = asked
        self._gate = entrance
        self._run = crew.write if verb.writes else crew.read
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            check_protocol(scope)
            check_form(scope)
            body = (await receive()).get("body", b"")  # whole: `limits.Intake` saw to that
            answer = await self._run(self._answer, scope, body)
        except WhenceError as error:
            self._metrics.refused(self._verb.name, error)
            await answers.refuse(send, error, headers=(_OURS,))
        else:
            await answers.send_body(send, 200, answer, _HEADERS)

    def _answer(self, scope: Scope, body: bytes) -> bytes:
        with answers.discreet(scope):
            viewer = self._gate.viewer(scope)
            arguments = self._verb.decode_call(body)
            answer = access.carry_out(viewer, self._verb.name, arguments, self._catalog)
        self._metrics.answered(self._verb, answer)
        return self._verb.encode_answer(answer)


def check_protocol(scope: Scope) -> None:
    """Refuse a client that speaks a form of the wire that is not served.

    Raises:
        InvalidInput: the header is not a number.
        NotReady: it is older or newer; the message says what to upgrade.
    """
    said = answers.said(scope, _PROTOCOL)
    if said is None:
        return
    if not (said.isascii() and said.isdigit() and len(said) < 6):
        raise InvalidInput(
            f"{verbs.PROTOCOL_HEADER} is {said[:40]!r}; expected a number, such as {verbs.PROTOCOL}"
        )
    spoken = int(said)
    if spoken > verbs.PROTOCOL:
        raise NotReady(
            f"the client speaks protocol {spoken}, this server up to {verbs.PROTOCOL}; upgrade the server",
            ErrorKind.PROTOCOL,
        )
    if spoken < verbs.OLDEST_PROTOCOL:
        raise NotReady(
            f"the client speaks protocol {spoken}, this server from {verbs.OLDEST_PROTOCOL} on; upgrade the client:"
            " pip install -U whence",
            ErrorKind.PROTOCOL,
        )


def check_form(scope: Scope) -> None:
    """Refuse a body that does not say it is JSON.

    A page of the web can make a browser send any other form here without asking first.

    Raises:
        InvalidInput: it says something else, or nothing.
    """
    said = answers.header(scope, b"content-type")
    if said.partition(";")[0].strip().lower() != "application/json":
        raise InvalidInput(f"content-type is {said[:60]!r}; expected application/json")


class Welcome:
    """`GET /v1`: what is served, and where clients keep bytes."""

    def __init__(
        self, entrance: gate.Gate, crew: threads.Threads, *, blobs: str | None, max_body_bytes: int
    ) -> None:
        self._gate = entrance
        self._threads = crew
        self._body = wire.encode(
            {
                "protocol": verbs.PROTOCOL,
                "oldest_protocol": verbs.OLDEST_PROTOCOL,
                "verbs": sorted(verbs.VERBS),
                "max_body_bytes": max_body_bytes,
                "blobs": blobs,
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await self._threads.read(self._let_in, scope)
        except WhenceError as error:
            await answers.refuse(send, error, headers=(_OURS,))
        else:
            await answers.send_body(send, 200, self._body, _HEADERS)

    def _let_in(self, scope: Scope) -> None:
        with answers.discreet(scope):
            self._gate.viewer(scope)


def routes(
    asked: catalog.Catalog,
    entrance: gate.Gate,
    crew: threads.Threads,
    metrics: telemetry.Metrics,
    *,
    blobs: str | None,
    max_body_bytes: int,
) -> list[Route]:
    """Every route of `/v1`."""
    welcome = Welcome(entrance, crew, blobs=blobs, max_body_bytes=max_body_bytes)
    made = [Route("/v1", welcome, methods=["GET"])]
    for verb in verbs.VERBS.values():
        endpoint = VerbRoute(verb, asked, entrance, crew, metrics)
        made.append(Route(f"/v1/{verb.name}", endpoint, methods=["POST"], name=verb.name))
    return made
