"""Lets requests in: who asks, whether they ask too often, and whether they were led here by a strange page."""

from starlette.types import ASGIApp, Receive, Scope, Send

from whence_api import answers, auth, limits
from whence_catalog import access
from whence_catalog.errors import Denied, ErrorKind

_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Gate:
    """Tells who asks, and counts it."""

    def __init__(self, authenticator: auth.Authenticator, rate: limits.Rate) -> None:
        self._authenticator = authenticator
        self._rate = rate

    def viewer(self, scope: Scope) -> access.Viewer:
        """Who makes this request; it may block, to ask the database or an issuer.

        Raises:
            Denied: UNAUTHENTICATED.
            Unreachable: they ask too often, or whoever could tell does not answer.
        """
        header = answers.header(scope, b"authorization") or None
        address = _address(scope)
        viewer = self._authenticator.recall(header)
        if viewer is None:
            # To look somebody up costs a query: whoever makes up tokens is counted before that.
            self._rate.take(address)
            viewer = self._authenticator.viewer(header)
        return self._counted(viewer, scope, address)

    def recall(self, scope: Scope) -> access.Viewer | None:
        """As `viewer`, where that is known without asking anybody: it never blocks; else None, and nothing is counted.

        Raises:
            Unreachable: they ask too often.
        """
        viewer = self._authenticator.recall(answers.header(scope, b"authorization") or None)
        return None if viewer is None else self._counted(viewer, scope, _address(scope))

    def _counted(self, viewer: access.Viewer, scope: Scope, address: str) -> access.Viewer:
        scope["state"]["actor"] = viewer.actor.name
        self._rate.take(viewer.actor.name if viewer.actor.authenticated else address)
        return viewer


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return f"at {client[0]}" if client else "at nowhere"


class OnlyFromHere:
    """Refuses requests that name another host than this machine.

    For a server that lets in whoever is on this machine: a page of the web can make a browser here ask
    it, under a name of the page's own that leads to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not self._is_ours(scope):
            told = "this server is for this machine alone; ask it as 127.0.0.1 or localhost"
            await answers.refuse(send, Denied(told, ErrorKind.NOT_GRANTED))
            return
        if scope["type"] == "websocket" and not self._is_ours(scope):
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _is_ours(scope: Scope) -> bool:
        host = answers.header(scope, b"host").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return name in _THIS_MACHINE
