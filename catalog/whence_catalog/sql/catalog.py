"""SqlCatalog: the Catalog over SQL. Each verb is one transaction; see `recording` for what it does with an item."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from whence_catalog import (
    access,
    audit,
    cache,
    catalog,
    digest,
    facts,
    inventory,
    lineage,
    model,
    replies,
    rerun,
)
from whence_catalog import traces as rules
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady, Unreachable, WhenceError
from whence_catalog.sql import (
    artifacts,
    copying,
    explaining,
    graph,
    judgements,
    judging,
    locks,
    named,
    pages,
    reaching,
    recording,
    reservations,
    runs,
    savings,
    schema,
    search,
    tokens,
    traces,
)
from whence_catalog.sql import check as checking
from whence_catalog.sql import eviction as evicting
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql import inventory as inventories
from whence_catalog.sql.engine import Engine, Gate, Transaction
from whence_catalog.sql.sqlite import SqliteEngine

I = TypeVar("I")  # noqa: E741 - an item of a batch
R = TypeVar("R")

# What a verb that judges a Version is told.
_Judging: TypeAlias = model.QuarantineClaim | model.Release | model.ApprovalClaim | model.HoldClaim

# The longest page of Runs or facts that is answered at once.
MOST_AT_ONCE = 100_000


def open_url(
    url: str,
    *,
    synchronous: str = "FULL",
    timeout_seconds: float = 30.0,
    lease: timedelta = catalog.LEASE,
    read_seconds: float | None = None,
) -> "SqlCatalog":
    """The catalog in a SQLite file (its path), or in a PostgreSQL database (`postgresql://…`).

    Args:
        url: where it is.
        synchronous: FULL: what was acknowledged survives a power cut. NORMAL: on SQLite, the last may not.
        timeout_seconds: how long to try while another process holds what is needed, or nobody answers.
        lease: how long a Run lives, and holds its key, without being heard of; the same for all who use it.
        read_seconds: how long a read may take (on PostgreSQL: each of its statements); for who serves others.

    Raises:
        NotReady: it cannot be used; the message says what to run.
        InvalidInput: the lease lasts no time.
    """
    if "://" in url:
        return SqlCatalog.connect(
            url, timeout_seconds=timeout_seconds, lease=lease, read_seconds=read_seconds
        )
    return SqlCatalog.open(
        Path(url),
        synchronous=synchronous,
        timeout_seconds=timeout_seconds,
        lease=lease,
        read_seconds=read_seconds,
    )


class SqlCatalog:
    """A Catalog in one SQL database. Safe from threads and after a fork; see `catalog.Catalog`."""

    def __init__(self, database: Engine[Any], url: str, lease: timedelta = catalog.LEASE) -> None:
        self._database = database
        self._url = url
        self._lease_micros = _checked_lease(lease)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        synchronous: str = "FULL",
        timeout_seconds: float = 30.0,
        lease: timedelta = catalog.LEASE,
        read_seconds: float | None = None,
    ) -> "SqlCatalog":
        """The catalog in the file `path`, made now if nothing is there; see `open_url`."""
        database = SqliteEngine(
            path, synchronous=synchronous, timeout_seconds=timeout_seconds, read_seconds=read_seconds
        )
        try:
            schema.ensure(database)
            return cls(database, str(path), lease)
        except BaseException:
            database.close()
            raise

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        timeout_seconds: float = 30.0,
        lease: timedelta = catalog.LEASE,
        read_seconds: float | None = None,
    ) -> "SqlCatalog":
        """The catalog in a PostgreSQL database, which `whence migrate` has made; see `open_url`."""
        if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise InvalidInput(
                f"no catalog at {url.partition('://')[0]}://…; expected postgresql://user@host/database",
                ErrorKind.BAD_SETTING,
            )
        try:
            from whence_catalog.sql.postgres import PostgresEngine
        except ImportError as error:
            raise NotReady(
                "a catalog in PostgreSQL needs psycopg, which is not installed; run: pip install 'whence[postgres]'",
                ErrorKind.EXTRA_MISSING,
            ) from error
        database = PostgresEngine(url, timeout_seconds=timeout_seconds, read_seconds=read_seconds)
        try:
            schema.require(database)
            return cls(database, database.url, lease)
        except BaseException:
            database.close()
            raise

    def identity(self) -> replies.Identity:
        uid, key = self._database.read(schema.identity)
        return replies.Identity(uid, key, self._url)

    def ping(self) -> None:
        """Return if the database answers.

        Raises:
            Unreachable, NotReady: it does not, or has another schema.
        """
        found = self._database.read(schema.revision)
        if found is None:
            raise NotReady(f"{self._url} holds no whence catalog any more", ErrorKind.NOT_A_CATALOG)
        schema.refuse_revision(found, self._url)

    def close(self) -> None:
        self._database.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def _each(
        self,
        items: Sequence[I],
        carry_out: Callable[[Transaction, I], R],
        hold: Callable[[Transaction, Sequence[I]], None] | None = None,
        gate: Gate | None = None,
    ) -> list[catalog.Result[R]]:
        """The result of each item; `hold` takes the locks that all of them need, before any of them looks."""

        def one(tx: Transaction) -> R:
            if hold is not None:
                hold(tx, items)
            return carry_out(tx, items[0])

        def many(tx: Transaction) -> list[catalog.Result[R]]:
            if hold is not None:
                hold(tx, items)
            results: list[catalog.Result[R]] = []
            for item in items:
                try:
                    with tx.savepoint():
                        results.append(carry_out(tx, item))
                except WhenceError as error:
                    results.append(error)
            return results

        if not items:
            return []
        if len(items) > 1:
            try:
                return self._database.write(many, gate=gate)
            except InvalidInput:
                # The database itself refused what one of them holds, and with it the whole transaction.
                return [result for item in items for result in self._each([item], carry_out, hold, gate)]
        try:
            return [self._database.write(one, gate=gate)]  # the transaction is the savepoint
        except (Unreachable, NotReady):
            raise
        except WhenceError as error:
            return [error]

    def reserve(self, calls: Sequence[model.Call]) -> Sequence[catalog.Result[cache.Answer]]:
        answers: dict[int, catalog.Result[cache.Answer]] = {}
        advised = [place for place, call in enumerate(calls) if recording.may_be_advised(call)]
        if advised:
            found = self._database.glance(
                lambda tx: [recording.advice(tx, calls[place]) for place in advised]
            )
            answers |= {place: answer for place, answer in zip(advised, found, strict=True) if answer}
            if len(answers) == len(calls):
                return [answers[place] for place in range(len(calls))]
        # In the order of keys: two batches that want the same ones must not wait for each other.
        begun = sorted((p for p in range(len(calls)) if p not in answers), key=lambda p: calls[p].key or "")
        results = self._each([calls[place] for place in begun], self._begin, _hold_names, Gate.PASSED)
        answers |= dict(zip(begun, results, strict=True))
        return [answers[place] for place in range(len(calls))]

    def _begin(self, tx: Transaction, call: model.Call) -> cache.Answer:
        return recording.begin(tx, call, self._lease_micros)

    def finish_runs(self, reports: Sequence[model.Report]) -> Sequence[catalog.Result[replies.Finished]]:
        return self._each(reports, recording.finish, _hold_reported, Gate.PASSED)

    def record_runs(
        self, runs: Sequence[tuple[model.Call, model.Report]]
    ) -> Sequence[catalog.Result[replies.Finished]]:
        return self._each(runs, recording.record, _hold_recorded, Gate.PASSED)

    def add(self, additions: Sequence[model.Addition]) -> Sequence[catalog.Result[tuple[model.Output, ...]]]:
        return self._each(additions, recording.add, _hold_added, Gate.PASSED)

    def log(self, series: Sequence[model.Series]) -> Sequence[catalog.Result[None]]:
        return self._each(series, recording.log, _hold_runs)

    def move_aliases(self, moves: Sequence[model.AliasMove]) -> Sequence[catalog.Result[model.Alias]]:
        return self._each(moves, recording.move_alias, _hold_moved)

    def quarantine(
        self, claims: Sequence[model.QuarantineClaim]
    ) -> Sequence[catalog.Result[model.Quarantine]]:
        return self._each(claims, judging.quarantine, _hold_actors, Gate.CLOSED)

    def release(
        self, releases: Sequence[model.Release]
    ) -> Sequence[catalog.Result[model.Quarantine | model.Hold]]:
        return self._each(releases, judging.release, _hold_actors, Gate.CLOSED)

    def approve(self, claims: Sequence[model.ApprovalClaim]) -> Sequence[catalog.Result[model.Approval]]:
        return self._each(claims, judging.approve, _hold_actors)

    def hold(self, claims: Sequence[model.HoldClaim]) -> Sequence[catalog.Result[model.Hold]]:
        return self._each(claims, judging.hold, _hold_held)

    def deploy(self, claims: Sequence[model.DeploymentClaim]) -> Sequence[catalog.Result[model.Deployment]]:
        return self._each(claims, judging.deploy, _hold_deployed)

    def revoke_entries(
        self, revocations: Sequence[inventory.Revocation]
    ) -> Sequence[catalog.Result[tuple[inventory.Entry, ...]]]:
        return self._each(revocations, recording.revoke, _hold_revoked)

    def evict_entries(
        self, evictions: Sequence[inventory.Eviction]
    ) -> Sequence[catalog.Result[inventory.Evicted]]:
        return self._each(evictions, recording.evict)

    def beat(self, runs: Sequence[UUID], lasting: timedelta = catalog.LEASE) -> frozenset[UUID]:
        # Whatever a client says, a key is free again a lease after it was last heard of.
        micros = min(_micros(lasting), self._lease_micros)

        def extend(tx: Transaction) -> frozenset[UUID]:
            _hold_runs_of(tx, runs)
            return frozenset(run for run in runs if not reservations.beat(tx, run, micros))

        return self._database.write(extend, durable=False)

    def sweep(self) -> Sequence[UUID]:
        silent = self._database.read(lambda tx: runs.silent(tx, self._lease_micros))
        results = self._each(silent, recording.presume, _hold_runs_of)
        return [
            run for run, result in zip(silent, results, strict=True) if not isinstance(result, WhenceError)
        ]

    def sequence(self) -> int:
        """Give positions to facts that have none yet, unless somebody else is at it; answers to how many.

        On SQLite they have them from the start. On PostgreSQL a server does this several times a second.
        """
        return self._sequenced(fact_log.sequence)

    def _settle_positions(self) -> None:
        """Let all that was committed before have its position: for whoever reads by position."""
        self._sequenced(fact_log.sequence_after)

    def _sequenced(self, give: Callable[[Transaction], int]) -> int:
        if self._database.dialect == "sqlite":
            return 0
        total = 0
        while given := self._database.write(give):
            total += given
        return total

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def resolve(self, references: Sequence[model.Reference]) -> Sequence[catalog.Result[model.Output]]:
        return self._database.read(lambda tx: _answers(tx, references, artifacts.resolve))

    def traces(self, project: str, bases: Sequence[str]) -> Sequence[tuple[rules.Trace, ...]]:
        return self._database.read(lambda tx: [traces.of_base(tx, project, base) for base in bases])

    def artifacts(
        self, project: str | None = None, kind: str | None = None
    ) -> Sequence[replies.ArtifactSummary]:
        return self._database.read(lambda tx: artifacts.summaries(tx, project, kind))

    def productions(self, artifact: model.Artifact) -> Sequence[model.Output]:
        return self._database.read(lambda tx: artifacts.productions(tx, artifact))

    def aliases(self, artifact: model.Artifact) -> Sequence[model.Alias]:
        return self._database.read(lambda tx: artifacts.aliases(tx, artifact))

    def judgements(
        self, references: Sequence[model.Reference]
    ) -> Sequence[catalog.Result[replies.Judgements]]:
        def judged(tx: Transaction, reference: model.Reference) -> replies.Judgements:
            return judgements.of_version(tx, artifacts.version_id(tx, reference))

        return self._database.read(lambda tx: _answers(tx, references, judged))

    def reach(
        self, references: Sequence[model.Reference], first: int = 100
    ) -> Sequence[catalog.Result[replies.Reach]]:
        def reached(tx: Transaction, reference: model.Reference) -> replies.Reach:
            return reaching.reach(tx, artifacts.version_id(tx, reference), first)

        return self._page(first, lambda tx: _answers(tx, references, reached))

    def judged(self, uids: Sequence[UUID]) -> Mapping[UUID, model.Version]:
        return self._database.read(lambda tx: judgements.judged(tx, uids))

    def run(self, prefix: str) -> model.RunRecord:
        return self._database.read(lambda tx: runs.record(tx, _named_run(tx, prefix)))

    def runs(
        self,
        project: str | None = None,
        job: str | None = None,
        states: Iterable[model.RunState] = (),
        limit: int = 25,
        before: UUID | None = None,
    ) -> Sequence[model.Run]:
        if not 1 <= limit <= MOST_AT_ONCE:
            raise InvalidInput(f"a page has 1 to {MOST_AT_ONCE:,} runs, not {limit}")
        return self._database.read(lambda tx: runs.listed(tx, project, job, frozenset(states), limit, before))

    def projects_of(self, runs: Sequence[UUID]) -> Mapping[UUID, str]:
        return self._database.read(lambda tx: _projects_of(tx, runs))

    def series(self, run: UUID) -> dict[str, tuple[tuple[int, float], ...]]:
        return self._database.read(lambda tx: runs.series_of(tx, runs.get(tx, run).id))

    def lineage(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        bounds: lineage.Bounds,
        frontier: str | None = None,
    ) -> lineage.Graph:
        self._settle_positions()
        return self._database.read(
            lambda tx: graph.walk(tx, [_root(tx, root) for root in roots], direction, bounds, frontier)
        )

    def explain(self, run: str, against: str | None = None) -> cache.Explanation:
        return self._database.read(lambda tx: explaining.run(tx, run, against))

    def explain_key(
        self, key: str, projects: Iterable[str] | None = None, against: str | None = None
    ) -> cache.Explanation:
        among = _among(projects)
        return self._database.read(lambda tx: explaining.key(tx, key, among, against))

    def explain_calls(self, calls: Sequence[model.Call]) -> Sequence[catalog.Result[cache.Explanation]]:
        return self._database.read(lambda tx: _answers(tx, calls, explaining.call))

    def plan_rerun(self, run: str, unavailable: frozenset[digest.Digest] = frozenset()) -> rerun.RerunPlan:
        return self._database.read(lambda tx: rerun.plan(runs.record(tx, _named_run(tx, run)), unavailable))

    def audit(
        self,
        subject: str,
        policy: audit.Policy,
        presence: Sequence[tuple[digest.Digest, audit.Presence]] = (),
    ) -> audit.AuditReport:
        def answer(tx: Transaction) -> audit.AuditReport:
            evidence = graph.evidence(tx, model.Reference.parse(subject), dict(presence))
            return audit.review(evidence, policy, tx.at)

        self._settle_positions()
        return self._database.read(answer)

    def facts(self, after: int = 0, limit: int = 1000) -> Sequence[replies.StoredFact]:
        if after < 0 or not 1 <= limit <= MOST_AT_ONCE:
            raise InvalidInput(
                f"facts after {after}, {limit} of them: expected a position, and 1 to {MOST_AT_ONCE:,}"
            )
        self._settle_positions()
        return [
            replies.StoredFact(
                logged.position or 0, model.moment(logged.sequenced_at or 0), facts.decode(logged.canonical)
            )
            for logged in self._database.read(lambda tx: fact_log.page(tx, after, limit))
        ]

    # ── reading in pages, and many at once ───────────────────────────────────────────────────────

    def versions(self, references: Sequence[model.Reference]) -> Sequence[catalog.Result[model.Version]]:
        return self._database.read(lambda tx: named.versions(tx, references))

    def named_productions(self, sources: Sequence[model.Source]) -> Sequence[catalog.Result[model.Output]]:
        return self._database.read(lambda tx: named.named_productions(tx, sources))

    def named_runs(self, runs: Sequence[UUID]) -> Mapping[UUID, model.Run]:
        return self._database.read(lambda tx: named.named_runs(tx, runs))

    def versions_of(
        self, artifacts: Sequence[model.Artifact], first: int = 25, after: str | None = None
    ) -> Sequence[catalog.Result[replies.VersionPage]]:
        return self._page(first, lambda tx: pages.versions_of(tx, artifacts, first, after))

    def aliases_of(
        self,
        subjects: Sequence[model.Reference],
        standing: bool = False,
        first: int = 25,
        after: str | None = None,
    ) -> Sequence[catalog.Result[replies.AliasPage]]:
        return self._page(first, lambda tx: pages.aliases_of(tx, subjects, standing, first, after))

    def productions_of(
        self, versions: Sequence[model.Reference], first: int = 25, after: str | None = None
    ) -> Sequence[catalog.Result[replies.ProductionPage]]:
        return self._page(first, lambda tx: pages.productions_of(tx, versions, first, after))

    def consumers_of(
        self, versions: Sequence[model.Reference], first: int = 25, after: str | None = None
    ) -> Sequence[catalog.Result[replies.RunPage]]:
        return self._page(first, lambda tx: pages.consumers_of(tx, versions, first, after))

    def children_of(
        self, runs: Sequence[UUID], first: int = 25, after: str | None = None
    ) -> Sequence[catalog.Result[replies.RunPage]]:
        return self._page(first, lambda tx: pages.children_of(tx, runs, first, after))

    def inputs_of(
        self, runs: Sequence[UUID], first: int = 25, after: str | None = None
    ) -> Sequence[catalog.Result[replies.InputPage]]:
        return self._page(first, lambda tx: pages.inputs_of(tx, runs, first, after))

    def outputs_of(
        self, runs: Sequence[UUID], first: int = 25, after: str | None = None
    ) -> Sequence[catalog.Result[replies.ProductionPage]]:
        return self._page(first, lambda tx: pages.outputs_of(tx, runs, first, after))

    def list_runs(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        states: Iterable[model.RunState] = (),
        first: int = 25,
        after: str | None = None,
    ) -> replies.RunPage:
        among = _among(projects)
        kept = frozenset(states)
        return self._page(first, lambda tx: search.list_runs(tx, among, job, kept, first, after))

    def search(
        self,
        text: str = "",
        types: Iterable[replies.HitType] = (),
        projects: Iterable[str] | None = None,
        kinds: Iterable[str] = (),
        first: int = 25,
        after: str | None = None,
    ) -> replies.HitPage:
        among = _among(projects)
        wanted = search.Search(text, frozenset(types), among, frozenset(kinds))
        return self._page(first, lambda tx: search.search(tx, wanted, first, after))

    def _page(self, first: int, work: Callable[[Transaction], R]) -> R:
        pages.checked_size(first)
        self._settle_positions()
        return self._database.read(work)

    # ── the cache ────────────────────────────────────────────────────────────────────────────────

    def cache_entries(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        states: Iterable[inventory.EntryState] = (),
        older_than: timedelta | None = None,
        first: int = 25,
        after: str | None = None,
    ) -> replies.EntryPage:
        among, kept = _among(projects), frozenset(states)
        return self._page(
            first, lambda tx: inventories.entries(tx, among, job, kept, older_than, first, after)
        )

    def cache_key(self, key: str, projects: Iterable[str] | None = None) -> inventory.KeyRecord:
        among = _among(projects)
        return self._database.read(lambda tx: inventories.key_record(tx, key, among))

    def divergences(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        first: int = 25,
        after: str | None = None,
    ) -> replies.DivergencePage:
        among = _among(projects)
        return self._page(first, lambda tx: inventories.divergences(tx, among, job, first, after))

    def cache_statistics(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> inventory.Statistics:
        among = _among(projects)
        return self._database.read(lambda tx: savings.statistics(tx, among, job, since, until))

    def evictable(self, eviction: inventory.Eviction) -> inventory.Evicted:
        return self._database.read(lambda tx: evicting.evictable(tx, eviction))

    # ── access ───────────────────────────────────────────────────────────────────────────────────

    def add_token(self, token: access.Token) -> access.Token:
        return self._database.write(lambda tx: tokens.add(tx, token))

    def tokens(self) -> Sequence[access.Token]:
        return self._database.read(tokens.every)

    def revoke_token(self, uid: UUID) -> access.Token:
        return self._database.write(lambda tx: tokens.revoke(tx, uid))

    def find_token(self, hash: bytes) -> access.Token | None:
        """The token whose secret has that SHA-256, whatever became of it."""
        return self._database.read(lambda tx: tokens.find(tx, hash))

    # ── upkeep ───────────────────────────────────────────────────────────────────────────────────

    def copy_into(
        self, target: "SqlCatalog", progress: Callable[[int, int], None] = lambda done, of: None
    ) -> replies.Checkpoint:
        """Make an empty catalog, in whatever database, what this one is now; see `copying.copy`."""
        self._settle_positions()
        return copying.copy(self._database, target._database, progress)

    def check(self) -> replies.CheckReport:
        self._settle_positions()
        return checking.check(self._database)


# ── locks ────────────────────────────────────────────────────────────────────────────────────────


def _hold_names(tx: Transaction, calls: Sequence[model.Call]) -> None:
    locks.hold_names(tx, [(call.project, call.job, call.actor) for call in calls])


def _hold_runs_of(tx: Transaction, uids: Sequence[UUID]) -> None:
    locks.hold_keys(tx, locks.hold_runs(tx, uids))


def _hold_runs(tx: Transaction, series: Sequence[model.Series]) -> None:
    locks.hold_runs(tx, [item.run for item in series])


def _hold_reported(tx: Transaction, reports: Sequence[model.Report]) -> None:
    keys = locks.hold_runs(tx, [report.run for report in reports])
    locks.hold_names(tx, made=_made(claim for report in reports for claim in report.outputs))
    locks.hold_places(tx, [claim for report in reports for claim in report.outputs])
    read = [report.trace.key for report in reports if report.trace is not None]
    locks.hold_keys(tx, keys, unreserved=read)


def _hold_recorded(tx: Transaction, items: Sequence[tuple[model.Call, model.Report]]) -> None:
    locks.hold_names(
        tx,
        [(call.project, call.job, call.actor) for call, _ in items],
        made=_made(claim for _, report in items for claim in report.outputs),
    )
    locks.hold_places(tx, [claim for _, report in items for claim in report.outputs])


def _hold_added(tx: Transaction, additions: Sequence[model.Addition]) -> None:
    locks.hold_runs(tx, [addition.run for addition in additions])
    locks.hold_names(tx, made=_made(claim for addition in additions for claim in addition.outputs))
    locks.hold_places(tx, [claim for addition in additions for claim in addition.outputs])


def _hold_moved(tx: Transaction, moves: Sequence[model.AliasMove]) -> None:
    locks.hold_names(
        tx, actors=[move.actor for move in moves], made=[(move.artifact, None) for move in moves]
    )
    locks.pass_pins(tx)


def _hold_actors(tx: Transaction, items: Sequence[_Judging]) -> None:
    locks.hold_names(tx, actors=[item.actor for item in items])


def _hold_held(tx: Transaction, claims: Sequence[model.HoldClaim]) -> None:
    _hold_actors(tx, claims)
    locks.pass_pins(tx)


def _hold_deployed(tx: Transaction, claims: Sequence[model.DeploymentClaim]) -> None:
    # Two that deploy to one project take turns: what stands at a target is ended by one of them.
    locks.hold_names(
        tx, actors=[claim.actor for claim in claims], made=[(claim.artifact, None) for claim in claims]
    )
    locks.pass_pins(tx)


def _hold_revoked(tx: Transaction, revocations: Sequence[inventory.Revocation]) -> None:
    locks.hold_many_keys(tx, {key for asked in revocations for key in asked.keys})


def _made(claims: Iterable[model.OutputClaim]) -> list[tuple[model.Artifact, bytes | None]]:
    return [(claim.artifact, claim.content.digest.raw) for claim in claims]


_projects_of = runs.projects_of


def _answers(
    tx: Transaction, items: Sequence[I], answer: Callable[[Transaction, I], R]
) -> list[catalog.Result[R]]:
    """The answer to each item, or why there is none."""
    results: list[catalog.Result[R]] = []
    for item in items:
        try:
            results.append(answer(tx, item))
        except WhenceError as error:
            results.append(error)
    return results


def _among(projects: Iterable[str] | None) -> frozenset[str] | None:
    return None if projects is None else frozenset(projects)


def _micros(lasting: timedelta) -> int:
    return lasting // timedelta(microseconds=1)


def _checked_lease(lease: timedelta) -> int:
    if lease <= timedelta(0):
        raise InvalidInput(
            f"a lease of {lease.total_seconds():g} s; it is longer than nothing", ErrorKind.BAD_SETTING
        )
    return _micros(lease)


def _named_run(tx: Transaction, prefix: str) -> runs.Stored:
    return runs.get(tx, runs.prefixed(tx, prefix))


def _root(tx: Transaction, text: str) -> lineage.NodeKey:
    if ":" in text:
        return lineage.version_key(artifacts.version_id(tx, model.Reference.parse(text)))
    return lineage.run_key(_named_run(tx, text).id)
