"""`python -m whence_api`: serves a catalog until it is told to end.

On standard output it prints one line, once it listens: the address, such as `http://127.0.0.1:7475`. All else
goes to standard error. Exit code 0: it was told to end, and all that ran was answered; 1: it could not
begin (one line says why), or what ran took longer than the grace.
"""

import argparse
import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from whence_api import app, limits, settings, telemetry
from whence_catalog.errors import ErrorKind, NotReady, WhenceError
from whence_catalog.sql import catalog as sql_catalog

# Longer than load balancers keep theirs: of two that let go of a connection at the same time, one loses a request.
_KEEP_ALIVE_SECONDS = 75
# How many connections may wait to be taken.
_BACKLOG = 2048
# The longest message of a WebSocket: one document, and what is said beside it.
_MESSAGE_BYTES = 1024 * 1024


class Server(uvicorn.Server):
    """uvicorn, which is not ready any more from the signal on, and stops taking connections a while after it."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        listening: Callable[[], None] = lambda: None,
        ending: Callable[[], None],
        closing: Callable[[], None] = lambda: None,
        delay_seconds: float,
    ) -> None:
        super().__init__(config)
        self._listening = listening
        self._ending = ending
        self._closing = closing
        self._delay_seconds = delay_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then say so."""
        await super().startup(sockets)
        if self.started:
            self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which waits for what is being answered: subscriptions, that never end by themselves, first."""
        self._closing()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal ends it at once."""
        self._ending()
        if self._captured_signals or not self._delay_seconds:
            super().handle_exit(sig, frame)
        else:
            self._captured_signals.append(sig)
            # A signal's handler runs between two steps of the loop, and has to wake it.
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self._delay_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def config(application: FastAPI, told: settings.Settings) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        application,
        http=limits.patient(told.request_seconds),
        ws="websockets-sansio",
        ws_max_size=_MESSAGE_BYTES,
        ws_ping_interval=20,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(told.trusted_proxies),
        forwarded_allow_ips=list(told.trusted_proxies) or None,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(told.shutdown_seconds)),
    )


def bind(host: str, port: int) -> socket.socket:
    """A socket of that address, which takes no connections yet.

    Raises:
        NotReady: it cannot be had; the message says what to do.
    """
    with _explained(host, port):
        family, kind, protocol, _, found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol: only of a socket that names TCP does asyncio turn Nagle's delays off (40 ms a request).
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(found)
        except BaseException:
            made.close()
            raise
        return made


@contextlib.contextmanager
def _explained(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "somebody else listens there already" if error.errno == errno.EADDRINUSE else error.strerror
        raise NotReady(
            f"cannot listen on {host} port {port}: {what}; choose another with --host and --port",
            ErrorKind.BAD_SETTING,
        ) from error


def address(listening: socket.socket) -> str:
    """Where a client of this machine reaches it."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def serve(told: settings.Settings) -> bool:
    """Serve until told to end; whether all that ran by then was answered.

    Raises:
        NotReady, Unreachable: it cannot begin.
    """
    with (
        bind(told.host, told.port) as listening,
        contextlib.closing(
            sql_catalog.open_url(
                told.database,
                synchronous=told.sync,
                timeout_seconds=told.timeout,
                lease=timedelta(seconds=told.lease),
                # Whoever asked was told by then that it was not done: nobody waits for the rest.
                read_seconds=told.request_seconds,
            )
        ) as catalog,
    ):
        application = app.create_app(catalog, told)
        served: app.Served = application.state.served
        server = Server(
            config(application, told),
            listening=lambda: print(address(listening), flush=True),
            ending=served.upkeep.end,
            closing=served.feed.end,
            delay_seconds=told.shutdown_delay_seconds,
        )
        with _explained(told.host, told.port):
            # Two may bind the same port at the same time; one of them may listen.
            listening.listen(_BACKLOG)
        # uvicorn raises the signal that ended it once more, for whoever listened before.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        # What was loaded stays: it is not looked through again whenever a large answer has been made (100 ms).
        gc.collect()
        gc.freeze()
        server.run(sockets=[listening])
        return served.threads.close(1)


def _told_settings() -> str:
    told = (
        textwrap.fill(f"{name}  {says} ({default})", 100, initial_indent="  ", subsequent_indent=" " * 6)
        for name, says, default in settings.described()
    )
    return (
        "settings, in the environment or, in small letters without WHENCE_, in the TOML file:\n"
        + "\n".join(told)
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m whence_api",
        description="Serve a catalog over HTTP.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_told_settings(),
    )
    parser.add_argument("--host", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port to listen on (7475); 0: one that is free")
    parser.add_argument(
        "--config", type=Path, help="a TOML file of settings; else the one WHENCE_CONFIG names"
    )
    given = parser.parse_args()
    try:
        told = settings.load(given.config, host=given.host, port=given.port)
        telemetry.log_to_stderr(told.log_format)
        is_done = serve(told)
    except WhenceError as error:
        print(f"whence: {error}", file=sys.stderr)
        sys.exit(1)
    if not is_done:
        print(
            "whence: what still ran was cut short; none of it was acknowledged", file=sys.stderr, flush=True
        )
        # A thread that waits for a database keeps a Python from ending.
        os._exit(1)


if __name__ == "__main__":
    main()
