"""The checker of histories notices each mistake that the catalog could make about who may compute a key.

Every mistake is made for real, in a process that is led to the point where it shows; so it shows each time.
Without a mistake the same steps break no rule.
"""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import postgres, servers
from tests.faults import checker, history, mutants
from tests.faults.checker import Rule
from tests.simulator import World
from whence_catalog.sql.catalog import SqlCatalog

LONG, SHORT = 60.0, 1.0
SECOND = 1_000_000


class Clients:
    """Clients that are told what to do, in a process of their own."""

    def __init__(self, url: str, folder: Path, lease: float, mutant: str | None) -> None:
        launched = ["tests.faults.driven", url, str(folder), str(lease)]
        if mutant is not None:
            launched = ["tests.faults.mutants", mutant, *launched]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *launched],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ids = itertools.count()
        self._asked: dict[int, Future[str]] = {}
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self._asked.pop(told["id"]).set_result(told["answer"])
        for future in self._asked.values():
            future.set_exception(AssertionError("the process has ended"))

    def begin(self, client: str, do: str, key: str | None = "k", **more: Any) -> "Future[str]":
        """Tell a client to do something."""
        more |= {} if key is None else {"key": key}
        number = next(self._ids)
        self._asked[number] = Future()
        asked = self._asked[number]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "client": client, "do": do, **more}) + "\n")
        self._process.stdin.flush()
        return asked

    def do(self, client: str, do: str, key: str | None = "k", **more: Any) -> str:
        """What a client was answered."""
        return self.begin(client, do, key, **more).result()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._listener.join()
        assert self._process.wait() == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def a_late_holder_finishes_while_another_computes(told: Clients) -> None:
    assert told.do("a", "reserve") == "Execute"
    told.do("a", "beat", micros=-SECOND)
    assert told.do("b", "reserve") == "Execute"
    told.do("a", "finish", content="a")
    told.do("c", "reserve")
    told.do("b", "finish", content="b")
    told.do("d", "reserve")


def a_late_holder_finishes_where_nobody_else_came(told: Clients) -> None:
    assert told.do("a", "reserve") == "Execute"
    told.do("a", "beat", micros=-SECOND)
    told.do("a", "finish", content="a")
    if told.do("b", "reserve") == "Execute":
        told.do("b", "finish", content="b")


def another_asks_while_a_holder_computes(told: Clients) -> None:
    assert told.do("a", "reserve") == "Execute"
    told.do("b", "reserve")
    told.do("a", "finish", content="a")


def another_asks_after_a_sweep(told: Clients) -> None:
    assert told.do("a", "reserve") == "Execute"
    told.do("a", "sweep", None)
    told.do("b", "reserve")
    told.do("a", "finish", content="a")
    if told.do("b", "reserve") == "Execute":
        told.do("b", "finish", content="b")


def another_refreshes_what_was_published(told: Clients) -> None:
    assert told.do("a", "reserve") == "Execute"
    assert told.do("a", "finish", content="a") == "entered"
    assert told.do("b", "reserve", mode="refresh") == "Execute"
    told.do("b", "finish", content="b")
    assert told.do("c", "reserve") == "Reuse"


def another_asks_for_longer_than_a_lease_while_the_holder_beats(told: Clients) -> None:
    """The lease is short: each time that the machine stood still for longer, it is begun anew."""
    for key in (f"k{n}" for n in itertools.count()):
        assert told.do("a", "reserve", key) == "Execute"
        began = time.monotonic()
        heard, kept = "Wait", "kept"
        while heard == "Wait" and time.monotonic() < began + 2 * SHORT and kept == "kept":
            beaten = time.monotonic()
            kept = told.do("a", "beat", key)
            heard = told.do("b", "reserve", key)
            stood_still = time.monotonic() > beaten + SHORT / 2
        told.do("a", "finish", key, content="a")
        if told.do("b", "reserve", key) == "Execute":
            told.do("b", "finish", key, content="b")
        if not stood_still:
            return


Schedule = Callable[[Clients], None]

FOUND_IN_A_FILE: dict[str, tuple[Schedule, Rule]] = {
    "no token check": (a_late_holder_finishes_while_another_computes, Rule.STALE),
    "a lapsed lease publishes": (a_late_holder_finishes_where_nobody_else_came, Rule.LAPSED),
    "a live lease can be taken": (another_asks_while_a_holder_computes, Rule.OVERLAP),
    "a clock that is ahead decides": (another_asks_while_a_holder_computes, Rule.OVERLAP),
    "anybody lets go": (a_late_holder_finishes_while_another_computes, Rule.OVERLAP),
    "a beat extends nothing": (another_asks_for_longer_than_a_lease_while_the_holder_beats, Rule.OVERLAP),
    "a sweep takes the lease of who lives": (another_asks_after_a_sweep, Rule.OVERLAP),
    "tokens do not grow": (a_late_holder_finishes_while_another_computes, Rule.TOKENS),
    "a publish displaces what lives": (another_refreshes_what_was_published, Rule.ONE_ENTRY),
}


def lease_of(schedule: Schedule) -> float:
    return SHORT if schedule is another_asks_for_longer_than_a_lease_while_the_holder_beats else LONG


def violations(folder: Path, opened: SqlCatalog, lease: float) -> list[checker.Violation]:
    world = World(opened)
    names = {world.call(name).key or "": name for name in ("k", *(f"k{n}" for n in range(100)))}
    told = history.read(history.lines(folder), history.recorded(opened, names))
    return checker.check(told, int(lease * SECOND))


def carried_out_in_a_file(folder: Path, schedule: Schedule, mutant: str | None) -> list[checker.Violation]:
    lease = lease_of(schedule)
    database = folder / "catalog.db"
    with closing(Clients(str(database), folder, lease, mutant)) as told:
        schedule(told)
    with closing(SqlCatalog.open(database)) as opened:
        return violations(folder, opened, lease)


@pytest.mark.parametrize("mutant", sorted(FOUND_IN_A_FILE))
def test_a_mistake_is_found_in_the_history_of_processes_on_one_file(mutant: str, tmp_path: Path) -> None:
    schedule, rule = FOUND_IN_A_FILE[mutant]
    assert rule in {found.rule for found in carried_out_in_a_file(tmp_path, schedule, mutant)}


@pytest.mark.parametrize(
    "schedule", sorted({schedule for schedule, _ in FOUND_IN_A_FILE.values()}, key=lambda s: s.__name__)
)
def test_without_a_mistake_the_same_steps_break_no_rule(schedule: Schedule, tmp_path: Path) -> None:
    assert carried_out_in_a_file(tmp_path, schedule, None) == []


# ── through a server, over PostgreSQL ────────────────────────────────────────────────────────────


def until_so_many_wait_for_a_lock(connection: "psycopg.Connection[Any]", count: int) -> None:
    while True:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
        assert row is not None
        if row[0] >= count:
            return
        time.sleep(0.005)


def another_asks_while_a_holder_publishes(told: Clients, url: str) -> None:
    """It looks before the publish is there, and is given the lease after: the row is held in between."""
    key = told.do("a", "key")
    assert told.do("a", "reserve") == "Execute"
    with psycopg.connect(url) as holding, psycopg.connect(url, autocommit=True) as watching:
        holding.execute("SELECT token FROM reservation WHERE key = %s FOR UPDATE", (key,))
        finishing = told.begin("a", "finish", content="a")
        until_so_many_wait_for_a_lock(watching, 1)
        asking = told.begin("b", "reserve")
        until_so_many_wait_for_a_lock(watching, 2)
    assert finishing.result() == "entered"
    if asking.result() == "Execute":
        told.do("b", "finish", content="b")


@contextmanager
def served(mutant: str | None) -> Iterator[tuple[str, str]]:
    """The database, and a server that makes the mistake."""
    command = ("-m", "whence_api") if mutant is None else ("-m", "tests.faults.mutants", mutant, "whence_api")
    with ExitStack() as stack:
        url = stack.enter_context(postgres.shared().database())
        server = servers.Process(url, command=command, WHENCE_SWEEP_SECONDS="0")
        stack.callback(server.kill)
        yield url, server.url


def carried_out_by_a_server(
    folder: Path, schedule: Callable[[Clients, str], None], mutant: str | None
) -> list[checker.Violation]:
    with served(mutant) as (url, server):
        with closing(Clients(server, folder, LONG, None)) as told:
            schedule(told, url)
        with closing(SqlCatalog.connect(url)) as opened:
            return violations(folder, opened, LONG)


FOUND_BEHIND_A_SERVER: dict[str, tuple[Callable[[Clients, str], None], Rule]] = {
    "no second look-up": (another_asks_while_a_holder_publishes, Rule.AGAIN),
    "no token check": (lambda told, _: a_late_holder_finishes_while_another_computes(told), Rule.STALE),
}


@pytest.mark.parametrize("mutant", sorted(FOUND_BEHIND_A_SERVER))
def test_a_mistake_is_found_in_the_history_of_clients_of_a_server(mutant: str, tmp_path: Path) -> None:
    schedule, rule = FOUND_BEHIND_A_SERVER[mutant]
    assert rule in {found.rule for found in carried_out_by_a_server(tmp_path, schedule, mutant)}
    sound = tmp_path / "sound"
    sound.mkdir()
    assert carried_out_by_a_server(sound, schedule, None) == []


def test_every_mutant_is_looked_for() -> None:
    assert FOUND_IN_A_FILE.keys() | FOUND_BEHIND_A_SERVER.keys() == mutants.MUTANTS.keys()
