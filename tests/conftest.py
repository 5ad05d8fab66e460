"""What every journey stands on: a catalog of its own, and a project whose scripts run in processes of their own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres
from whence import connecting
from whence.client import Client

# No law depends on how busy the machine is.
settings.register_profile("whence", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whence")


def pytest_sessionfinish() -> None:
    """Whatever became of the tests, nothing that they started goes on."""
    postgres.end()


# Whoever runs the tests in the background has SIGINT ignored, by all that is started, too; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_process_state() -> Iterator[None]:
    """No test sees the variables, or the connected client, of another or of whoever runs the tests."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("WHENCE_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)
    if connecting._default is not None:
        connecting._default.close()
        connecting._default = None


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A new catalog, which steps and runs of this process go to."""
    connected = connecting.connect(tmp_path / "catalog")
    yield connected
    connected.close()


class Project:
    """A project in a folder of its own, and the catalog that its scripts record into."""

    def __init__(self, folder: Path, url: Path) -> None:
        self.folder = folder
        self.url = url
        self.started: list[subprocess.Popen[str]] = []
        self._client: Client | None = None
        folder.mkdir()
        (folder / "pyproject.toml").write_text('[project]\nname = "journey"\nversion = "1"\n')

    def write(self, text: str, name: str = "pipeline.py") -> Path:
        """A file of the project. A script finds in it: `show` prints JSON, `mark` leaves a mark, `apart` calls
        a function in a child process and answers how that ended.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = (
            "import json, os, sys, time\nfrom pathlib import Path\nimport whence\n"
            "def show(value): print(json.dumps(value), flush=True)\n"
            "def mark(name):\n"
            "    with open(os.environ['MARKS'], 'a') as file: file.write(name + '\\n')\n"
            "def apart(function, *arguments):\n"
            "    child = os.fork()\n"
            "    if not child:\n"
            "        try: function(*arguments)\n"
            "        except BaseException: import traceback; traceback.print_exc(); os._exit(1)\n"
            "        os._exit(0)\n"
            "    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n\n"
        )
        path.write_text(head + textwrap.dedent(text))
        return path

    def start(
        self, *arguments: str, script: str = "pipeline.py", **variables: str
    ) -> "subprocess.Popen[str]":
        """Run a script of the project."""
        inherited = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        process = subprocess.Popen(
            [sys.executable, script, *arguments],
            cwd=self.folder,
            env={**inherited, "WHENCE_URL": str(self.url), "MARKS": str(self.marks), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self, process: "subprocess.Popen[str]", expect: int = 0) -> Any:
        """What a script showed last, once it has ended as expected."""
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        assert process.returncode == expect, err
        return json.loads(out.splitlines()[-1]) if out.strip() else None

    def run(self, *arguments: str, expect: int = 0, **variables: str) -> Any:
        """Run the script to its end; what it showed last."""
        return self.end(self.start(*arguments, **variables), expect)

    def kill(self, process: "subprocess.Popen[str]", sign: signal.Signals = signal.SIGKILL) -> str:
        """End a script from outside; what it said on standard error."""
        process.send_signal(sign)
        return process.communicate(timeout=60)[1]

    @property
    def marks(self) -> Path:
        return self.folder.parent / "marks"

    def wait_for_mark(self, process: "subprocess.Popen[str]", name: str) -> None:
        """Wait until a body has left this mark."""
        give_up_at = time.monotonic() + 30
        while not (self.marks.exists() and name in self.marks.read_text().split()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up_at, f"no mark {name}"
            time.sleep(0.01)

    def executed(self) -> list[str]:
        """The marks that bodies left, in order, since the last time this was asked."""
        found = self.marks.read_text().split() if self.marks.exists() else []
        self.marks.unlink(missing_ok=True)
        return found

    @property
    def client(self) -> Client:
        """The catalog, seen from this process."""
        if self._client is None:
            self._client = connecting.open_client(self.url)
        return self._client

    def sql(self, statement: str, *values: object) -> list[Any]:
        """What nobody should do: go behind the catalog's back."""
        with closing(sqlite3.connect(self.url / "catalog.db")) as database, database:
            return database.execute(statement, values).fetchall()

    def let_a_minute_pass(self) -> None:
        """As if nobody had beaten for a minute: every life and lease has lapsed."""
        self.sql("UPDATE beat SET until = 1")
        self.sql("UPDATE reservation SET until = 1")

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        if self._client is not None:
            self._client.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "project", tmp_path / "catalog")
    yield made
    made.close()
