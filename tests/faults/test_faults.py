"""What is cut, killed and restarted: every acknowledged fact is found afterwards, and none twice."""

import itertools
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from tests import postgres, servers
from tests.faults import proxy
from tests.simulator import World
from whence import calls, connecting
from whence.http import HttpCatalog
from whence_catalog import access, catalog
from whence_catalog.errors import Unreachable
from whence_catalog.sql.catalog import SqlCatalog


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Load:
    """Threads that record runs through `catalogs` for as long as it goes on, and note what was acknowledged."""

    def __init__(self, *catalogs: catalog.Catalog) -> None:
        self.acknowledged: list[UUID] = []
        self.unanswered = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._go, args=(one, place)) for place, one in enumerate(catalogs)
        ]

    def _go(self, through: catalog.Catalog, place: int) -> None:
        world = World(through)
        for n in itertools.count():
            if self._stop.is_set():
                return
            try:
                begun = world.begin(world.call(c=f"{place} {n}"))
                assert begun.run is not None
                call = world.plain_call("note")
                through.record_runs([(call, world.report(call, {"model:m": os.urandom(8)}))])
            except Unreachable:
                self.unanswered += 1
                continue
            self.acknowledged += [begun.run.uid, call.run]

    def wait_for(self, more: int) -> None:
        """Until so many more were acknowledged."""
        wanted = len(self.acknowledged) + more
        while len(self.acknowledged) < wanted:
            assert all(thread.is_alive() for thread in self._threads), "a thread of the load has ended"
            time.sleep(0.01)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def assert_all_is_there_once(opened: SqlCatalog, acknowledged: list[UUID]) -> None:
    stored = opened.facts(limit=100_000)
    counts = Counter(one.fact.uid for one in stored)
    assert set(acknowledged) <= counts.keys()
    assert set(counts.values()) <= {1}
    assert [one.position for one in stored] == list(range(1, len(stored) + 1))
    assert opened.check().problems == ()


def disturbed(load: Load, disturb: Callable[[], None], times: int = 4) -> None:
    with load.going_on():
        for _ in range(times):
            load.wait_for(20)
            disturb()
        load.wait_for(20)


def test_answers_that_are_lost_on_the_way_are_asked_for_again() -> None:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.shared().database())
        opened = stack.enter_context(closing(SqlCatalog.connect(url)))
        between = stack.enter_context(proxy.before(stack.enter_context(servers.in_thread(opened))))
        clients = [stack.enter_context(closing(HttpCatalog(between.url))) for _ in range(3)]
        load = Load(*clients)

        def lose_answers() -> None:
            before = between.swallowed
            between.cut = proxy.Cut.ANSWERS
            while between.swallowed < before + 3:
                time.sleep(0.01)
            between.cut = proxy.Cut.NOTHING

        disturbed(load, lose_answers)
        assert load.unanswered == 0
        assert_all_is_there_once(opened, load.acknowledged)


def test_a_network_that_is_cut_for_a_while_loses_nothing() -> None:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.shared().database())
        opened = stack.enter_context(closing(SqlCatalog.connect(url)))
        between = stack.enter_context(proxy.before(stack.enter_context(servers.in_thread(opened))))
        clients = [stack.enter_context(closing(HttpCatalog(between.url))) for _ in range(3)]
        load = Load(*clients)

        def cut() -> None:
            between.cut = proxy.Cut.REFUSED
            time.sleep(0.3)
            between.cut = proxy.Cut.NOTHING

        disturbed(load, cut)
        assert_all_is_there_once(opened, load.acknowledged)


def test_servers_that_are_killed_lose_nothing_that_was_acknowledged() -> None:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.shared().database())
        ports = [str(free_port()) for _ in range(2)]
        running = [servers.Process(url, WHENCE_PORT=port) for port in ports]
        stack.callback(lambda: [server.kill() for server in running])
        clients = [
            stack.enter_context(closing(HttpCatalog(server.url))) for server in running for _ in range(2)
        ]
        load = Load(*clients)
        turns = itertools.count()

        def kill_one() -> None:
            place = next(turns) % 2
            running[place].kill()
            running[place] = servers.Process(url, WHENCE_PORT=ports[place])

        disturbed(load, kill_one, times=3)
        opened = stack.enter_context(closing(SqlCatalog.connect(url)))
        assert_all_is_there_once(opened, load.acknowledged)


def test_a_database_that_restarts_behind_the_server_loses_nothing() -> None:
    with postgres.server() as database, ExitStack() as stack:
        database.prepare()
        url = stack.enter_context(database.database())
        opened = stack.enter_context(closing(SqlCatalog.connect(url)))
        address = stack.enter_context(servers.in_thread(opened))
        clients = [stack.enter_context(closing(HttpCatalog(address))) for _ in range(3)]
        load = Load(*clients)

        def restart() -> None:
            database.stop()
            time.sleep(0.2)
            database.start()

        disturbed(load, restart, times=2)
        assert_all_is_there_once(opened, load.acknowledged)


STEPS = """
    import os, sys, whence
    for n in range(int(sys.argv[1])):
        with whence.run(f"step", params={"n": n}) as run:
            made = run.publish("model:m", f"{os.getpid()} {n}".encode())
        print(run.id, made.ref, flush=True)
"""


def test_steps_go_on_while_server_and_steps_are_killed_and_all_that_ended_is_there(tmp_path: Path) -> None:
    script = tmp_path / "steps.py"
    script.write_text(textwrap.dedent(STEPS))
    with ExitStack() as stack:
        url = stack.enter_context(postgres.shared().database())
        port = str(free_port())
        server = servers.Process(url, WHENCE_PORT=port)
        stack.callback(lambda: server.kill())
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("WHENCE_")}
        environment = {
            **inherited,
            "WHENCE_URL": server.url,
            "WHENCE_BLOBS": (tmp_path / "blobs").as_uri(),
            "WHENCE_OUTBOX": str(tmp_path / "outbox"),
            "WHENCE_CACHE_DIR": str(tmp_path / "cache"),
            "WHENCE_TIMEOUT": "1",
        }

        def begin(count: int) -> "subprocess.Popen[str]":
            started = subprocess.Popen(
                [sys.executable, str(script), str(count)],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.enter_context(started)
            stack.callback(started.kill)
            return started

        def told(process: "subprocess.Popen[str]", lines: int) -> list[UUID]:
            assert process.stdout is not None
            return [UUID(process.stdout.readline().split()[0]) for _ in range(lines)]

        ended: list[UUID] = []
        endless, short = begin(10_000), begin(6)
        ended += told(endless, 3)
        server.kill()
        ended += told(endless, 3)  # while nobody answers
        endless.kill()  # with what it kept
        rest, _ = endless.communicate()
        ended += [UUID(line.split()[0]) for line in rest.splitlines() if len(line.split()) == 2]
        lines, _ = short.communicate()
        assert short.returncode == 0
        ended += [UUID(line.split()[0]) for line in lines.splitlines()]

        server = servers.Process(url, WHENCE_PORT=port)
        flushed = subprocess.run(
            [sys.executable, "-m", "whence", "outbox", "flush"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert flushed.returncode == 0, flushed.stderr
        opened = stack.enter_context(closing(SqlCatalog.connect(url)))
        runs = {run.uid: run for run in opened.runs(limit=10_000)}
        assert set(ended) <= runs.keys()
        assert all(runs[uid].state == "complete" for uid in ended)
        assert len(runs) == len(
            {
                stored.fact.uid
                for stored in opened.facts(limit=100_000)
                if stored.fact.verb in ("start", "record")
            }
        )
        assert opened.check().problems == ()


def test_a_token_that_expired_while_a_step_ran_costs_nothing_of_what_it_made(tmp_path: Path) -> None:
    def token(opened: SqlCatalog, lasting: timedelta) -> str:
        secret = f"whence_{secrets.token_urlsafe(32)}"
        now = datetime.now(UTC)
        grants = access.Grants({"*": frozenset({access.Grant.RECORD})})
        opened.add_token(
            access.Token(calls.new_uid(), "ci", "ci", access.hash_of(secret), grants, now, now + lasting)
        )
        return secret

    with ExitStack() as stack:
        opened = stack.enter_context(closing(SqlCatalog.open(tmp_path / "catalog.db")))
        settings = {"authentication": "tokens", "token_cache_seconds": 0}
        url = stack.enter_context(servers.in_thread(opened, **settings))
        os.environ["WHENCE_OUTBOX"] = str(tmp_path / "outbox")
        blobs = (tmp_path / "blobs").as_uri()
        short = connecting.open_client(url, blobs_url=blobs, token=token(opened, timedelta(hours=1)))
        stack.callback(short.close)
        with short.run("step") as run, closing(sqlite3.connect(tmp_path / "catalog.db")) as behind, behind:
            behind.execute("UPDATE token SET expires_at = created_at + 1")
        assert opened.run(run.id).run.state == "running"
        later = connecting.open_client(url, blobs_url=blobs, token=token(opened, timedelta(days=1)))
        stack.callback(later.close)
        later.writer.flush()
        assert opened.run(run.id).run.state == "complete"
        assert opened.check().problems == ()
