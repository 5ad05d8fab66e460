"""Real servers for the tests: uvicorn in a thread of this process, or a `python -m whence_api` of its own."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from whence_api import __main__ as server
from whence_api import app
from whence_api.settings import Settings
from whence_catalog.sql.catalog import SqlCatalog


@contextlib.contextmanager
def in_thread(catalog: SqlCatalog, **settings: Any) -> Iterator[str]:
    """The address at which `catalog`, which stays the caller's to close, is served."""
    told = Settings(**{"port": 0, "shutdown_seconds": 5, **settings})
    application = app.create_app(catalog, told)
    try:
        with running(application, told, application.state.served.feed.end) as (address, _):
            yield address
    finally:
        application.state.served.threads.close(5)


@contextlib.contextmanager
def running(
    application: FastAPI, told: Settings, end: Callable[[], None]
) -> Iterator[tuple[str, uvicorn.Server]]:
    """The address at which an application is served, from a thread of its own, and who serves it; `end` is called
    when it is to end."""
    with server.bind(told.host, told.port) as listening:
        is_listening = threading.Event()
        served = server.Server(
            server.config(application, told),
            listening=is_listening.set,
            ending=lambda: None,
            closing=end,
            delay_seconds=0,
        )
        thread = threading.Thread(target=_run, args=(served, listening, is_listening))
        thread.start()
        try:
            is_listening.wait()
            assert served.started, "the server did not start"
            yield server.address(listening), served
        finally:
            served.should_exit = True
            thread.join()


def _run(served: uvicorn.Server, listening: Any, is_listening: threading.Event) -> None:
    try:
        served.run(sockets=[listening])
    finally:
        is_listening.set()


class Process:
    """A server in a process of its own."""

    def __init__(
        self,
        catalog_url: str,
        *arguments: str,
        command: Sequence[str] = ("-m", "whence_api"),
        folder: Path | None = None,
        **variables: str,
    ) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("WHENCE_")}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        self._process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=folder,
            env={**inherited, "WHENCE_URL": _folder(catalog_url), "WHENCE_PORT": "0", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            code, said = self._process.wait(), self.said
            self.kill()
            raise AssertionError(f"the server ended with {code}: {said}")

    def _listen(self) -> None:
        # Read as it comes: a full pipe would stop the server.
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        """What it wrote to standard error; all of it, once it has ended."""
        if self._process.poll() is not None:
            self._listener.join()
        return "".join(self._said)

    @property
    def rest_of_output(self) -> str:
        """What it printed after its address; once it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.read()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def terminate(self) -> int:
        """Ask it to end; its exit code."""
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait()

    def kill(self) -> None:
        """End it as a power cut would. Idempotent."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def process(catalog_url: str | Path, *arguments: str, **variables: str) -> Iterator[Process]:
    """A `python -m whence_api` on a free port of 127.0.0.1, which is ended at the end.

    Args:
        catalog_url: what WHENCE_URL is to be (a folder, or `postgresql://…`), or the `catalog.db` in a folder.
        variables: of its environment, such as `WHENCE_AUTHENTICATION="tokens"`.
    """
    started = Process(str(catalog_url), *arguments, folder=None, **variables)
    try:
        yield started
    finally:
        started.kill()


def _folder(catalog_url: str) -> str:
    return str(Path(catalog_url).parent) if catalog_url.endswith("catalog.db") else catalog_url
