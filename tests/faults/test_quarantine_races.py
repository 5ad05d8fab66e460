"""Processes compute, reuse, quarantine and release at once, and are killed: nothing tainted slips past.

What the catalog's index says afterwards is what the facts say, taken in from the start; and at the position of
each reuse, and of each entry, what was handed out or entered was not tainted.
"""

import random
import signal
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests import plain_taint, postgres
from tests.faults import crowd
from tests.faults.judging import Task
from whence_catalog import facts
from whence_catalog.sql.catalog import SqlCatalog

PROCESSES, THINGS, KILLS = 8, 30, 3


def judged_at_once(folder: Path, url: str) -> Counter[str]:
    """What the processes did, some of which were killed half way."""
    seed = crowd.seed()
    dice = random.Random(seed)
    tasks = [
        Task(f"j{n}", url, str(folder), lease=1.0, seed=seed + n, count=THINGS) for n in range(PROCESSES)
    ]
    victims = dice.sample([task.name for task in tasks], KILLS)
    # After how much of its own work each is killed.
    limits = {name: dice.randrange(5, THINGS // 2) for name in victims}
    with crowd.started("tests.faults.judging", tasks) as processes:
        while not processes.has_ended:
            for name, limit in list(limits.items()):
                done = folder / f"{name}.done"
                if done.exists() and len(done.read_text().splitlines()) >= limit:
                    processes.signal(name, signal.SIGKILL)
                    del limits[name]
            time.sleep(0.005)
    assert limits == {}
    wanted = {task.name: -signal.SIGKILL if task.name in victims else 0 for task in tasks}
    assert processes.codes == wanted
    return Counter(line for done in folder.glob("*.done") for line in done.read_text().splitlines())


def assert_nothing_slipped_past(opened: SqlCatalog) -> None:
    plain = plain_taint.PlainTaint()
    for stored in plain_taint.facts_of(opened):
        plain.take_in(stored)
        fact = stored.fact
        runs = set()
        if fact.verb == "reuse":
            runs = {facts.read_origin(fact.body)}
        elif fact.verb == "finish":
            report, publication = facts.read_finish(fact.uid, fact.body)
            if publication.outcome in ("entered", "superseded", "renewed"):
                runs = {report.run}
        if runs:
            tainted = plain.tainted()
            assert runs.isdisjoint(one.run for one in tainted), f"{fact.verb} at {stored.position}"
    tainted = plain.tainted()
    assert plain_taint.kept(opened, {version for _, version in plain.made}) == tainted
    assert opened.check().problems == ()


def assert_much_happened(did: Counter[str], opened: SqlCatalog) -> None:
    assert did["reused"]
    assert did["entered"]
    assert did["refused"], "nothing was ever tainted while it was made"
    verbs = Counter(stored.fact.verb for stored in plain_taint.facts_of(opened))
    assert verbs["quarantine"] >= verbs["release"] > 0


def test_on_one_file(tmp_path: Path) -> None:
    database = tmp_path / "catalog.db"
    SqlCatalog.open(database).close()
    did = judged_at_once(tmp_path, str(database))
    with closing(SqlCatalog.open(database)) as opened:
        assert_nothing_slipped_past(opened)
        assert_much_happened(did, opened)


def test_on_one_postgresql(tmp_path: Path) -> None:
    with postgres.shared().database() as url:
        did = judged_at_once(tmp_path, url)
        with closing(SqlCatalog.connect(url)) as opened:
            assert_nothing_slipped_past(opened)
            assert_much_happened(did, opened)
