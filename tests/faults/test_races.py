"""Sixteen processes want the same keys, and are killed and paused as they go: what they wrote down breaks no rule.

A holder that lingers over its computation is killed, or is paused until another was given its key, or goes on:
which of them is drawn from the seed. Others are stopped for a moment wherever they happen to be.
"""

import os
import random
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from tests import postgres, servers
from tests.faults import checker, crowd, history
from tests.faults.worker import Task
from tests.simulator import World
from whence_catalog.sql.catalog import SqlCatalog

PROCESSES, KEYS = 16, 50
LEASE_SECONDS = 1.0
KILLS, PAUSES, STOPS = 5, 6, 8
# What becomes of holders that linger; the first of each kind come first, since nobody knows how many there are.
FATES = ["kill", "pause"] + ["kill"] * (KILLS - 1) + ["pause"] * (PAUSES - 1) + ["go on"] * 5
# Nothing new for so long, though everybody may go on: somebody hangs.
STILL_SECONDS = 120.0


def tasks(folder: Path, catalogs: list[str], seed: int) -> list[Task]:
    """Of sixteen processes, side by side on these catalogs."""
    return [
        Task(
            name=f"p{n:02}",
            catalog=catalogs[n % len(catalogs)],
            folder=str(folder),
            keys=KEYS,
            lease=LEASE_SECONDS,
            seed=seed + n,
            lingering=0.4,
        )
        for n in range(PROCESSES)
    ]


class Harm:
    """What is done to the processes, as their histories go on."""

    def __init__(self, harmed: crowd.Crowd, folder: Path, seed: int, others: list[int]) -> None:
        self._crowd = harmed
        self._folder = folder
        self._dice = random.Random(seed)
        self._others = others
        rest = FATES[2:]
        self._dice.shuffle(rest)
        self._fates = [*FATES[:2], *rest]
        self._judged: set[str] = set()
        # Run → (process, key, token) of those that are paused until another has the key.
        self._paused: dict[str, tuple[str, str, int]] = {}
        self.killed: list[str] = []
        self.paused = self.stopped = 0

    def until_all_have_ended(self) -> None:
        """Harm them until none is left."""
        seen, changed_at = 0, time.monotonic()
        while not self._crowd.has_ended:
            told = list(history.lines(self._folder))
            heard = sum(line["what"] not in ("reserve", "waiting", "beat", "beaten") for line in told)
            if heard != seen:
                seen, changed_at = heard, time.monotonic()
            assert time.monotonic() < changed_at + STILL_SECONDS, f"{self._crowd.going} hang"
            self._judge(told)
            self._stop_somebody(told)
            time.sleep(0.02)

    def _judge(self, told: list[Mapping[str, Any]]) -> None:
        asked = {(line["process"], line["call"]): line for line in told if line["what"] == "reserve"}
        granted = [line for line in told if line["what"] == "granted"]
        tokens: dict[str, int] = {}
        for line in granted:
            key = asked[line["process"], line["call"]]["key"]
            tokens[key] = max(tokens.get(key, 0), line["token"])
        for run, (name, key, token) in list(self._paused.items()):
            if tokens[key] > token:
                del self._paused[run]
                self._go_on(run)
                self._crowd.signal(name, signal.SIGCONT)
        for line in granted:
            of = asked[line["process"], line["call"]]
            if line["lingers"] and of["run"] not in self._judged:
                self._judged.add(of["run"])
                self._decide(of["run"], line["process"], of["key"], line["token"])

    def _decide(self, run: str, name: str, key: str, token: int) -> None:
        match self._fates.pop(0) if self._fates else "go on":
            case "kill":
                self.killed.append(name)
                self._crowd.signal(name, signal.SIGKILL)
            case "pause":
                self.paused += 1
                self._paused[run] = (name, key, token)
                self._crowd.signal(name, signal.SIGSTOP)
            case _:
                self._go_on(run)

    def _go_on(self, run: str) -> None:
        (self._folder / f"{run}.go").touch()

    def _stop_somebody(self, told: list[Mapping[str, Any]]) -> None:
        """Wherever it is: with the file's lock, in the middle of a write; and a server, if there is one."""
        if self.stopped >= STOPS or len(told) < 150 * (self.stopped + 1):
            return
        self.stopped += 1
        names = {name for name, _, _ in self._paused.values()}
        pids = [self._crowd.pids[name] for name in self._crowd.going if name not in names]
        if not pids:
            return
        pid = self._dice.choice(self._others if self._others and self._dice.random() < 0.3 else pids)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._dice.uniform(0, 1.5 * LEASE_SECONDS))
            os.kill(pid, signal.SIGCONT)


def break_no_rule(folder: Path, catalogs: list[str], seed: int, servers: list[int]) -> Harm:
    with crowd.started("tests.faults.worker", tasks(folder, catalogs, seed)) as processes:
        harm = Harm(processes, folder, seed, servers)
        harm.until_all_have_ended()
    survivors = sorted(processes.pids.keys() - set(harm.killed))
    assert {name: processes.codes[name] for name in survivors} == dict.fromkeys(survivors, 0)
    return harm


def assert_sound(folder: Path, opened: SqlCatalog, harm: Harm) -> None:
    keys = [f"k{n}" for n in range(KEYS)]
    world = World(opened)
    names = {world.call(key).key or "": key for key in keys}
    survivors = [f"p{n:02}" for n in range(PROCESSES) if f"p{n:02}" not in harm.killed]
    told = history.read(history.lines(folder), history.recorded(opened, names))
    micros = int(LEASE_SECONDS * 1e6)
    broken = checker.check(told, micros, keys, survivors)
    assert broken == [], "\n".join(f"{one.rule}: {one.key}: {one.what}" for one in broken)
    assert opened.check().problems == ()
    # The world was as bad as it was meant to be.
    assert harm.killed
    assert harm.paused
    outcomes = [finish.outcome for finish in told.finishes]
    assert outcomes.count("entered") <= KEYS
    assert "refused" in outcomes, "nobody came too late"


def test_sixteen_processes_on_one_file_compute_each_key_once(tmp_path: Path) -> None:
    database = tmp_path / "catalog.db"
    SqlCatalog.open(database).close()
    harm = break_no_rule(tmp_path, [str(database)], crowd.seed(), [])
    with closing(SqlCatalog.open(database)) as opened:
        assert_sound(tmp_path, opened, harm)


def test_sixteen_processes_on_two_servers_over_one_database_compute_each_key_once(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.shared().database())
        told = {"WHENCE_LEASE": str(LEASE_SECONDS), "WHENCE_SWEEP_SECONDS": "0.3"}
        told["WHENCE_REQUESTS_PER_SECOND"] = "0"
        running = [stack.enter_context(servers.process(url, **told)) for _ in range(2)]
        harm = break_no_rule(
            tmp_path, [server.url for server in running], crowd.seed(), [server.pid for server in running]
        )
        with closing(SqlCatalog.connect(url)) as opened:
            assert_sound(tmp_path, opened, harm)
