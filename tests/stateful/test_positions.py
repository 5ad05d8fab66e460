"""What was known at a position is the same for ever: random histories, with words that come late, on both databases.

Every answer as of a position is asked when that is the end of the log, and once more when all is said. What taints
a Version as of any position is what the facts up to it say, as `plain_taint` reads them from the start.
"""

import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import plain_taint, postgres
from tests.simulator import ACTOR, World, claim, taken, uid
from whence_catalog import lineage, model
from whence_catalog.catalog import Catalog
from whence_catalog.errors import WhenceError
from whence_catalog.sql import recording
from whence_catalog.sql.catalog import SqlCatalog
from whence_catalog.sql.postgres import PostgresEngine

EVER = datetime(2999, 1, 1, tzinfo=UTC)
NAMES = ("dataset:a", "dataset:b", "model:m", "dataset:late")
_examples = itertools.count()


@dataclass
class History:
    """One history in a project of its own, and what was answered as it went on."""

    catalog: SqlCatalog
    again: SqlCatalog
    slow: PostgresEngine | None
    world: World = field(init=False)
    made: list[model.Output] = field(default_factory=list)
    running: list[model.Call] = field(default_factory=list)
    runs: list[UUID] = field(default_factory=list)
    quarantines: list[UUID] = field(default_factory=list)
    told: dict[int, tuple[Sequence[UUID], str]] = field(default_factory=dict)
    late: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.world = World(self.catalog, f"p{next(_examples)}")
        self.began = datetime.now(UTC) - timedelta(days=30)
        self.clock = 0
        self.before = self.head()
        # So that nobody waits for who makes these names.
        for name in NAMES:
            self.record(name, 0, False)

    def head(self) -> int:
        return self.catalog.position_at(EVER)

    def name(self, kind: str) -> str:
        return f"{self.world.project}/{kind}"

    def chosen(self, n: int) -> model.Output:
        return self.made[n % len(self.made)]

    # ── what may happen ──────────────────────────────────────────────────────────────────────────

    def record(self, name: str, n: int, by_version: bool) -> None:
        """One that took what was made before, as it was made or as whoever made it."""
        inputs = [taken(self.chosen(n), "in", producer=not by_version)] if self.made and n else []
        call = self.world.plain_call("late" if name == "dataset:late" else "make", inputs)
        content = b"%d" % (n % 3) if name != "dataset:late" else call.run.bytes
        report = replace(self.world.report(call), outputs=(claim(self.name(name), content),))
        (finished,) = self.catalog.record_runs([(call, report)])
        assert not isinstance(finished, WhenceError), finished
        self.runs.append(call.run)
        self.made += finished.outputs

    def begin(self, n: int) -> None:
        call = self.world.plain_call("slow", [taken(self.chosen(n), "in", producer=n % 2 == 0)])
        call = replace(call, parent=self.runs[n % len(self.runs)])
        self.world.begin(call)
        self.runs.append(call.run)
        self.running.append(call)

    def take_late(self, n: int) -> None:
        if self.running:
            call = self.running[n % len(self.running)]
            late = taken(self.chosen(n), f"late {n}", producer=n % 2 == 0)
            self.catalog.add([model.Addition(uid(), call.run, ACTOR, (late,))])
            self.catalog.log([model.Series(uid(), call.run, ACTOR, {"loss": ((n, n / 8),)})])

    def presume(self, n: int) -> None:
        """Nobody hears of it any more; its own report may come yet."""
        if self.running:
            self.catalog.beat([self.running[n % len(self.running)].run], timedelta(microseconds=-1))
            self.catalog.sweep()

    def finish(self, n: int) -> None:
        if self.running:
            call = self.running.pop(n % len(self.running))
            report = self.world.report(call, {self.name("model:m"): b"%d" % (n % 3)}, metrics={"auc": n / 8})
            (finished,) = self.catalog.finish_runs([report])
            assert not isinstance(finished, WhenceError), finished
            self.made += finished.outputs

    def move(self, n: int) -> None:
        version = self.chosen(n).version
        since = self._since(n)
        self.catalog.move_aliases(
            [model.AliasMove(uid(), version.artifact, "prod", version.digest, ACTOR, "why", since=since)]
        )

    def deploy(self, n: int) -> None:
        version = self.chosen(n).version
        content = None if n % 3 == 0 else version.digest
        asked = model.DeploymentClaim(uid(), version.artifact, content, "shop", ACTOR, "why", self._since(n))
        self.catalog.deploy([asked])

    def _since(self, n: int) -> datetime | None:
        """Now, or a time that is past; before an earlier word that is refused."""
        self.clock += n % 3 - 1
        return None if n % 4 == 0 else self.began + timedelta(hours=max(self.clock, 0))

    def quarantine(self, n: int) -> None:
        version = self.chosen(n).version
        asked = model.QuarantineClaim(uid(), version.artifact, version.digest, ACTOR, "bad")
        self.catalog.quarantine([asked])
        self.quarantines.append(asked.uid)

    def release(self, n: int) -> None:
        if self.quarantines:
            which = self.quarantines.pop(n % len(self.quarantines))
            self.catalog.release([model.Release(uid(), which, ACTOR, "fine")])

    def label(self, n: int) -> None:
        subject = str(self.runs[n % len(self.runs)]) if n % 2 else self.chosen(n).version.ref
        gone = frozenset({"team"}) if n % 3 == 0 else frozenset[str]()
        set_to = {} if gone else {"team": str(n)}
        self.catalog.label([model.LabelClaim(uid(), subject, ACTOR, set_to, gone)])

    def begin_late_commit(self, n: int) -> None:
        """Another connection records a Run, and commits when others have: its facts come behind theirs."""
        if self.slow is None:
            return
        self.late.close()
        call = self.world.plain_call("late")
        report = replace(self.world.report(call), outputs=(claim(self.name("dataset:late"), call.run.bytes),))
        tx = self.late.enter_context(self.slow.writing())
        if n % 2:
            recording.record(tx, (call, report))
        else:
            recording.begin(tx, call, 60_000_000)
            self.late.callback(self.running.append, call)
        tx.settle()
        self.runs.append(call.run)

    def commit_late(self, _: int) -> None:
        self.late.close()

    # ── what is known ────────────────────────────────────────────────────────────────────────────

    def known(self, ask: Catalog, as_of: int, runs: Sequence[UUID]) -> str:
        """All that can be asked as of a position. What is refused is refused in words of now."""
        here = [
            model.Reference.parse(self.name(name) + tail)
            for name in NAMES
            for tail in ("", "@1", "@2", "@prod")
        ]
        artifacts = [model.Reference.parse(self.name(name)).artifact for name in NAMES]
        whole, few = lineage.Bounds(max_nodes=None), lineage.Bounds(max_nodes=3)

        def told(question: Callable[[], object]) -> object:
            try:
                return question()
            except WhenceError as error:
                return type(error)

        answers: list[object] = [
            ask.resolve(here, as_of),
            ask.versions(here, as_of),
            ask.judgements(here, as_of),
            ask.artifacts(self.world.project, as_of=as_of),
            ask.versions_of(artifacts, as_of=as_of),
            ask.productions_of(here, as_of=as_of),
            ask.consumers_of(here, as_of=as_of),
            [ask.aliases_of(here, standing, as_of=as_of) for standing in (True, False)],
            [ask.deployments([self.world.project], standing=some, as_of=as_of) for some in (True, False)],
            ask.deployments([self.world.project], at=self.began + timedelta(hours=2), as_of=as_of),
            [
                told(lambda a=a, at=at: ask.alias_at(a, "prod", at, as_of))  # type: ignore[misc]
                for a in artifacts
                for at in (self.began + timedelta(hours=2), EVER)
            ],
            [told(lambda r=r: ask.timeline(r, as_of, 100)) for r in here],  # type: ignore[misc]
            [
                ask.list_runs([self.world.project], states=some, as_of=as_of)
                for some in ([], *([s] for s in model.RunState))
            ],
            ask.named_runs(runs, as_of),
            [told(lambda r=r: (ask.run(str(r), as_of), ask.series(r, as_of))) for r in runs],  # type: ignore[misc]
            ask.children_of(runs, as_of=as_of),
            ask.inputs_of(runs, as_of=as_of),
            ask.outputs_of(runs, as_of=as_of),
            [
                told(lambda r=r, way=way: ask.lineage([str(r)], way, whole, as_of=as_of))  # type: ignore[misc]
                for r in here[3::4]
                for way in lineage.Direction
            ],
            [
                told(lambda ask_of=ask_of: ask_of([str(here[8])], lineage.Direction.BOTH))  # type: ignore[misc]
                for ask_of in (
                    lambda roots, way: ask.lineage_counts(roots, way, as_of=as_of),
                    lambda roots, way: ask.lineage_with_hidden(roots, way, few, as_of=as_of),
                    lambda roots, way: list(ask.lineage_pages(roots, way, as_of=as_of)),
                    lambda roots, way: ask.closure(roots, way, as_of=as_of),
                )
            ],
            [told(lambda r=r: ask.impact(str(r), (), as_of)) for r in here[::4]],  # type: ignore[misc]
            [told(lambda r=r: ask.paths(str(r), str(here[8]), 3, as_of)) for r in here[:8:4]],  # type: ignore[misc]
            [told(lambda r=r: ask.roots_of([str(r)], as_of)) for r in (here[8], *runs[-1:])],  # type: ignore[misc]
            told(lambda: ask.common_ancestors([str(r) for r in here[4:12:4]], as_of)),
        ]
        return re.sub(r"NotFound\((\"[^\"]*\"|'[^']*')\)", "unknown", repr(answers))


STEPS: dict[str, Callable[[History, int], None]] = {
    "record": lambda h, n: h.record(NAMES[n % 3], n, n % 2 == 0),
    "begin": History.begin,
    "take late": History.take_late,
    "presume": History.presume,
    "finish": History.finish,
    "move": History.move,
    "deploy": History.deploy,
    "quarantine": History.quarantine,
    "release": History.release,
    "label": History.label,
    "begin a late commit": History.begin_late_commit,
    "commit late": History.commit_late,
}
histories = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 11)), min_size=1, max_size=12)


Both: TypeAlias = tuple[SqlCatalog, SqlCatalog]


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    path = tmp_path_factory.mktemp("positions") / "catalog.db"
    with (
        closing(SqlCatalog.open(path, synchronous="OFF")) as opened,
        closing(SqlCatalog.open(path, synchronous="OFF")) as again,
    ):
        yield opened, again
        assert opened.check().problems == ()


@pytest.fixture(scope="module")
def on_postgresql() -> Iterator[tuple[SqlCatalog, SqlCatalog, PostgresEngine]]:
    with (
        postgres.shared().database() as url,
        closing(PostgresEngine(url)) as slow,
        closing(SqlCatalog.connect(url, timeout_seconds=20)) as opened,
        closing(SqlCatalog.connect(url, timeout_seconds=20)) as again,
    ):
        yield opened, again, slow
        assert opened.check().problems == ()


def follow(history: History, steps: Sequence[tuple[str, int]]) -> None:
    """Do all this, and ask at each position; when all is done, ask once more, and of what taints what."""
    first = history.head()
    with history.late:
        for name, n in steps:
            STEPS[name](history, n)
            head, runs = history.head(), tuple(history.runs)
            history.told[head] = runs, history.known(history.catalog, head, runs)
    for position, (runs, before) in history.told.items():
        # By who has never been asked, and remembers nothing.
        assert history.known(history.again, position, runs) == before, position
    plain = plain_taint.PlainTaint()
    for stored in history.catalog.facts(history.before, 10_000):
        plain.take_in(stored)
        if stored.position > first:
            versions = {version for _, version in plain.made}
            kept = plain_taint.kept(history.catalog, versions, stored.position)
            assert kept == plain.tainted(), stored.position
    assert plain_taint.kept(history.catalog, versions_of(plain)) == plain.tainted()


def versions_of(plain: plain_taint.PlainTaint) -> set[plain_taint.Content]:
    return {version for _, version in plain.made}


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(histories)
def test_on_sqlite(on_sqlite: Both, steps: list[tuple[str, int]]) -> None:
    follow(History(*on_sqlite, None), steps)


class Noting:
    """A catalog that notes what it is asked."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self._catalog = catalog
        self.asked: set[str] = set()

    def __getattr__(self, verb: str) -> object:
        self.asked.add(verb)
        return getattr(self._catalog, verb)


def test_every_verb_that_takes_a_position_is_asked(on_sqlite: Both) -> None:
    history = History(*on_sqlite, None)
    noting = Noting(history.catalog)
    history.known(cast("Catalog", noting), history.head(), history.runs)
    verbs = inspect.getmembers(Catalog, inspect.isfunction)
    assert noting.asked == {name for name, verb in verbs if "as_of" in inspect.signature(verb).parameters}


@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
@given(histories)
def test_on_postgresql_with_late_commits(
    on_postgresql: tuple[SqlCatalog, SqlCatalog, PostgresEngine], steps: list[tuple[str, int]]
) -> None:
    follow(History(*on_postgresql), steps)


def test_each_step_in_turn_with_a_late_commit(
    on_postgresql: tuple[SqlCatalog, SqlCatalog, PostgresEngine],
) -> None:
    """What hypothesis may not come upon in one history: all of it, in an order in which each step does something."""
    steps = (
        *(
            ("record", 4),
            ("begin", 2),
            ("move", 1),
            ("deploy", 1),
            ("begin a late commit", 1),
            ("quarantine", 2),
        ),
        *(("take late", 3), ("presume", 0), ("commit late", 0), ("finish", 0), ("begin", 3), ("label", 1)),
        *(("begin a late commit", 2), ("move", 2), ("deploy", 5), ("take late", 2), ("presume", 0)),
        *(("commit late", 0), ("finish", 1), ("release", 0), ("deploy", 3), ("label", 3), ("finish", 0)),
    )
    history = History(*on_postgresql)
    follow(history, steps)
    said = {stored.fact.verb for stored in history.catalog.facts(history.before, 10_000)}
    assert said >= {
        "start",
        "record",
        "add",
        "log",
        "presume",
        "finish",
        "alias",
        "deploy",
        "quarantine",
        "release",
    }
