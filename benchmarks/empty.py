"""A server that answers nothing, beside which ours is measured: `python -m benchmarks.empty`.

The same framework, served by the same uvicorn under the same configuration; its one handler takes the body in
and answers two bytes.
"""

import contextlib
from collections.abc import Iterator

from fastapi import FastAPI, Request, Response

from tests import servers
from whence_api import __main__ as server
from whence_api import settings

ANSWER = b"{}"


def create_app() -> FastAPI:
    """An application with that one handler."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/")
    async def answer(request: Request) -> Response:
        await request.body()
        return Response(ANSWER, media_type="application/json")

    return app


@contextlib.contextmanager
def process() -> Iterator[servers.Process]:
    """It, in a process of its own, which is ended at the end."""
    started = servers.Process("", command=("-m", "benchmarks.empty"))
    try:
        yield started
    finally:
        started.kill()


def serve(app: FastAPI) -> None:
    """Serve it until ended; prints the address, as our server does."""
    told = settings.load(port=0)
    with server.bind(told.host, told.port) as listening:
        running = server.Server(
            server.config(app, told),
            listening=lambda: print(server.address(listening), flush=True),
            ending=lambda: None,
            delay_seconds=0,
        )
        running.run(sockets=[listening])


if __name__ == "__main__":
    serve(create_app())
