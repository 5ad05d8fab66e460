"""SqlCatalog: the Catalog over SQL. Each verb reads, asks the core, writes; one transaction."""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from whence_catalog import audit, cache, catalog, digest, facts, lifecycle, lineage, model, rerun
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, WhenceError
from whence_catalog.sql import artifacts, graph, projections, reservations, runs, schema
from whence_catalog.sql import check as checking
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import SqliteEngine, Transaction

I = TypeVar("I")  # noqa: E741 - an item of a batch
R = TypeVar("R")


class SqlCatalog:
    """A Catalog in one SQLite file. Safe from threads and after a fork; see `catalog.Catalog`."""

    def __init__(self, database: SqliteEngine, url: str) -> None:
        self._database = database
        self._url = url

    @classmethod
    def open(cls, path: Path, *, synchronous: str = "FULL", timeout_seconds: float = 30.0) -> "SqlCatalog":
        """The catalog in the file `path`, made now if nothing is there.

        Args:
            path: of the database file, on a local disk.
            synchronous: FULL: what was acknowledged survives a power cut. NORMAL: the last may not.
            timeout_seconds: how long to wait for another process that is writing.

        Raises:
            NotReady: it cannot be used; the message says what to run.
        """
        database = SqliteEngine(path, synchronous=synchronous, timeout_seconds=timeout_seconds)
        try:
            schema.ensure(database)
        except BaseException:
            database.close()
            raise
        return cls(database, str(path))

    def identity(self) -> catalog.Identity:
        with self._database.reading() as tx:
            uid, key = schema.identity(tx)
        return catalog.Identity(uid, key, self._url)

    def close(self) -> None:
        self._database.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def _each(
        self, items: Sequence[I], carry_out: Callable[[Transaction, I], R]
    ) -> Sequence[catalog.Result[R]]:
        if len(items) == 1:  # the transaction is the savepoint
            try:
                with self._database.writing() as tx:
                    return [carry_out(tx, items[0])]
            except WhenceError as error:
                return [error]
        results: list[catalog.Result[R]] = []
        with self._database.writing() as tx:
            for item in items:
                try:
                    with tx.savepoint():
                        results.append(carry_out(tx, item))
                except WhenceError as error:
                    results.append(error)
        return results

    def reserve(self, calls: Sequence[model.Call]) -> Sequence[catalog.Result[cache.Answer]]:
        answers: dict[int, catalog.Result[cache.Answer]] = {}
        if any(map(_may_be_advised, calls)):
            with self._database.reading() as tx:
                for place, call in enumerate(calls):
                    answer = _advice(tx, call) if _may_be_advised(call) else None
                    if answer is not None:
                        answers[place] = answer
        begun = [place for place in range(len(calls)) if place not in answers]
        if begun:
            results = self._each([calls[place] for place in begun], _begin)
            answers.update(zip(begun, results, strict=True))
        return [answers[place] for place in range(len(calls))]

    def finish_runs(self, reports: Sequence[model.Report]) -> Sequence[catalog.Result[catalog.Finished]]:
        return self._each(reports, _finish)

    def record_runs(
        self, runs: Sequence[tuple[model.Call, model.Report]]
    ) -> Sequence[catalog.Result[catalog.Finished]]:
        return self._each(runs, _record)

    def add(self, additions: Sequence[model.Addition]) -> Sequence[catalog.Result[tuple[model.Output, ...]]]:
        return self._each(additions, _add)

    def log(self, series: Sequence[model.Series]) -> Sequence[catalog.Result[None]]:
        return self._each(series, _log)

    def move_aliases(self, moves: Sequence[model.AliasMove]) -> Sequence[catalog.Result[model.Alias]]:
        return self._each(moves, _move_alias)

    def beat(self, runs: Sequence[UUID], lasting: timedelta = catalog.LEASE) -> frozenset[UUID]:
        with self._database.writing(durable=False) as tx:
            return frozenset(run for run in runs if not reservations.beat(tx, run, _micros(lasting)))

    def sweep(self) -> Sequence[UUID]:
        with self._database.reading() as tx:
            silent = runs.silent(tx, _micros(catalog.LEASE))
        results = self._each(silent, _presume) if silent else []
        return [
            run for run, result in zip(silent, results, strict=True) if not isinstance(result, WhenceError)
        ]

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def resolve(self, references: Sequence[model.Reference]) -> Sequence[catalog.Result[model.Output]]:
        results: list[catalog.Result[model.Output]] = []
        with self._database.reading() as tx:
            for reference in references:
                try:
                    results.append(artifacts.resolve(tx, reference))
                except WhenceError as error:
                    results.append(error)
        return results

    def artifacts(
        self, project: str | None = None, kind: str | None = None
    ) -> Sequence[catalog.ArtifactSummary]:
        with self._database.reading() as tx:
            return artifacts.summaries(tx, project, kind)

    def productions(self, artifact: model.Artifact) -> Sequence[model.Output]:
        with self._database.reading() as tx:
            return artifacts.productions(tx, artifact)

    def aliases(self, artifact: model.Artifact) -> Sequence[model.Alias]:
        with self._database.reading() as tx:
            return artifacts.aliases(tx, artifact)

    def run(self, prefix: str) -> model.RunRecord:
        with self._database.reading() as tx:
            return runs.record(tx, _named_run(tx, prefix))

    def runs(
        self,
        project: str | None = None,
        job: str | None = None,
        states: Iterable[model.RunState] = (),
        limit: int = 25,
        before: UUID | None = None,
    ) -> Sequence[model.Run]:
        if limit < 1:
            raise InvalidInput(f"a page has at least one run, not {limit}")
        with self._database.reading() as tx:
            return runs.listed(tx, project, job, frozenset(states), limit, before)

    def series(self, run: UUID) -> dict[str, tuple[tuple[int, float], ...]]:
        with self._database.reading() as tx:
            return runs.series_of(tx, runs.get(tx, run).id)

    def lineage(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        bounds: lineage.Bounds,
        frontier: str | None = None,
    ) -> lineage.Graph:
        with self._database.reading() as tx:
            return graph.walk(tx, [_root(tx, root) for root in roots], direction, bounds, frontier)

    def explain(self, run: str) -> cache.Explanation:
        with self._database.reading() as tx:
            return _explain(tx, _named_run(tx, run))

    def plan_rerun(self, run: str, unavailable: frozenset[digest.Digest] = frozenset()) -> rerun.RerunPlan:
        with self._database.reading() as tx:
            return rerun.plan(runs.record(tx, _named_run(tx, run)), unavailable)

    def audit(
        self,
        subject: str,
        policy: audit.Policy,
        presence: Sequence[tuple[digest.Digest, audit.Presence]] = (),
    ) -> audit.AuditReport:
        with self._database.reading() as tx:
            reference = model.Reference.parse(subject)
            evidence = graph.evidence(tx, reference, dict(presence))
            return audit.review(evidence, policy, tx.at)

    def facts(self, after: int = 0, limit: int = 1000) -> Sequence[catalog.StoredFact]:
        with self._database.reading() as tx:
            return [
                catalog.StoredFact(position, model.moment(sequenced_at), facts.decode(canonical))
                for position, _, sequenced_at, _, canonical, _ in fact_log.page(tx, after, limit)
            ]

    def check(self) -> catalog.CheckReport:
        return checking.check(self._database)


def _micros(lasting: timedelta) -> int:
    return lasting // timedelta(microseconds=1)


def _named_run(tx: Transaction, prefix: str) -> runs.Stored:
    return runs.get(tx, runs.prefixed(tx, prefix))


def _root(tx: Transaction, text: str) -> lineage.NodeKey:
    if ":" in text:
        return lineage.version_key(artifacts.version_id(tx, model.Reference.parse(text)))
    return lineage.run_key(_named_run(tx, text).id)


# ── one item of each verb ────────────────────────────────────────────────────────────────────────


def _decide(
    tx: Transaction, call: model.Call
) -> tuple[cache.Reuse | cache.Verify | cache.Execute, reservations.LiveEntry | None]:
    assert call.key is not None
    found = reservations.live(tx, call.key)
    if call.mode is model.Mode.REFRESH:
        return cache.Execute(cache.Reason.REFRESHED), found
    seen = reservations.presence(tx, found, call)
    decision = cache.decide(None if found is None else found.entry, seen, tx.at, call.max_age)
    if isinstance(decision, cache.Verify) and found is not None:
        return cache.Verify(decision.entry, decision.unknown, decision.unknown & found.trees), found
    return decision, found


def _wants_key(call: model.Call) -> bool:
    return call.key is not None and call.mode in cache.PUBLISHING


def _may_be_advised(call: model.Call) -> bool:
    """Whether the answer may be Verify or Wait: these record nothing, so nobody need queue to write for them."""
    told = call.present or call.missing or call.altered
    return _wants_key(call) and call.presence_age is not None and not told


def _advice(tx: Transaction, call: model.Call) -> cache.Answer | None:
    """The answer, where it needs nothing recorded."""
    if runs.is_recorded(tx, call.run):
        return None
    assert call.key is not None
    decision, _ = _decide(tx, call)
    match decision:
        case cache.Verify():
            return decision
        case cache.Execute():
            return reservations.waiting(tx, call.key, call.owner)
        case cache.Reuse():
            return None


def _begin(tx: Transaction, call: model.Call) -> cache.Answer:
    stored = fact_log.find(tx, call.run, "start", "reuse", "record")
    if stored is not None:
        return _begin_again(tx, call, stored)
    if not _wants_key(call):
        wanted = call.mode in cache.PUBLISHING
        reason = cache.Reason.UNCACHEABLE if wanted else cache.Reason.NOT_ASKED
        return cache.Execute(reason, run=_start(tx, call), details=call.uncacheable)
    assert call.key is not None
    decision, found = _decide(tx, call)
    reservations.remember(tx, call.present, call.missing | call.altered)
    match decision:
        case cache.Verify():
            return decision
        case cache.Reuse(entry):
            assert found is not None
            return _reuse(tx, call, entry, found)
        case cache.Execute(reason, digests):
            token = reservations.take(tx, call.key, call.owner, call.run, reason, _micros(catalog.LEASE))
            if isinstance(token, cache.Wait):
                return token
            return cache.Execute(reason, digests, _start(tx, call), token)


def _start(tx: Transaction, call: model.Call) -> model.Run:
    run = lifecycle.start(call, tx.at)
    position = fact_log.append(tx, "start", call.run, call.actor, lambda r: facts.start(call, r))
    projections.start(tx, position, run, call)
    reservations.begin_beat(tx, call.run, _micros(catalog.LEASE))
    return run


def _reuse(
    tx: Transaction, call: model.Call, entry: cache.CacheEntry, found: reservations.LiveEntry
) -> cache.Reuse:
    run = lifecycle.reuse(call, entry.run, tx.at)
    position = fact_log.append(tx, "reuse", call.run, call.actor, lambda r: facts.reuse(call, entry.run, r))
    projections.reuse(tx, position, run, call, found.run_id)
    return cache.Reuse(entry, run, artifacts.outputs_of(tx, found.run_id))


def _begin_again(tx: Transaction, call: model.Call, stored: bytes) -> cache.Answer:
    """The same call said twice: the answer of the first time, and its lease while the Run still runs."""
    verb = facts.decode(stored).verb
    known = runs.get(tx, call.run)
    run = runs.with_texts(tx, known)
    if verb == "reuse" and known.run.origin is not None:
        origin = known.run.origin
        fact_log.reject_other(tx, stored, verb, call.actor, lambda r: facts.reuse(call, origin, r))
        assert known.origin_id is not None
        assert known.run.key is not None
        entry = cache.CacheEntry(known.run.key, origin, known.run.started_at, known.run.started_at)
        return cache.Reuse(entry, run, artifacts.outputs_of(tx, known.origin_id))
    fact_log.reject_other(tx, stored, "start", call.actor, lambda r: facts.start(call, r))
    if known.run.is_final:
        raise Conflict(f"run {call.run} is already {known.run.state}; start a new run", ErrorKind.WRONG_STATE)
    if not _wants_key(call):
        return cache.Execute(cache.Reason.NOT_ASKED, run=run, details=call.uncacheable)
    assert call.key is not None
    held = reservations.lease(tx, call.key)
    reason = cache.Reason.NO_ENTRY if held is None else held.reason
    token = reservations.take(tx, call.key, call.owner, call.run, reason, _micros(catalog.LEASE))
    return token if isinstance(token, cache.Wait) else cache.Execute(reason, run=run, token=token)


def _finish(tx: Transaction, report: model.Report) -> catalog.Finished:
    before = runs.get(tx, report.run)
    stored = fact_log.find(tx, report.uid, "finish")
    if stored is not None:
        _, publication = facts.read_finish(report.uid, facts.decode(stored).body)
        fact_log.reject_other(
            tx, stored, "finish", report.actor, lambda r: facts.finish(report, publication, r)
        )
        said = dataclasses.replace(before.run, error=report.error)
        return catalog.Finished(said, artifacts.outputs_of(tx, before.id), publication)
    earlier = artifacts.outputs_of(tx, before.id)
    publication = _publication(tx, before.run, earlier, report)
    after = lifecycle.finish(before.run, report, str(publication), tx.at)
    position = fact_log.append(
        tx, "finish", report.uid, report.actor, lambda r: facts.finish(report, publication, r)
    )
    made = projections.finish(tx, position, tx.at, before.id, after, report, publication)
    reservations.end_beat(tx, after.uid)
    if after.key is not None:
        reservations.release(tx, after.key, after.uid)
    _remember(tx, report)
    return catalog.Finished(after, (*earlier, *made), publication)


def _remember(tx: Transaction, report: model.Report) -> None:
    """The Blobs of these outputs are in the store: they were put there before this was said."""
    stored = frozenset(
        claim.content.digest
        for claim in report.outputs
        if claim.content.strength is model.Strength.CONTENT and claim.location is None
    )
    reservations.remember(tx, stored, frozenset())


def _publication(
    tx: Transaction, run: model.Run, earlier: Sequence[model.Output], report: model.Report
) -> model.Publication:
    if run.key is None:
        return model.Publication(model.Outcome.NONE)
    made = {output.role: output.version.digest for output in earlier}
    made |= {claim.role: claim.content.digest for claim in report.outputs}
    found = reservations.live(tx, run.key)
    held = reservations.lease(tx, run.key)
    is_fenced = (
        held is not None
        and (held.owner, held.token) == (report.owner, report.token)
        and held.until > tx.micros
    )
    live = None if found is None else found.digests
    return cache.settle(run, report, live, made, held.reason if held is not None and is_fenced else None)


def _record(tx: Transaction, item: tuple[model.Call, model.Report]) -> catalog.Finished:
    call, report = item
    nothing = model.Publication(model.Outcome.NONE)

    def body(redactor: facts.Redactor) -> facts.Body:
        return facts.record(facts.start(call, redactor), facts.finish(report, nothing, redactor))

    if call.run != report.run:
        raise InvalidInput(f"the call is of run {call.run}, the report of run {report.run}")
    stored = fact_log.find(tx, call.run, "record", "start", "reuse")
    if stored is not None:
        fact_log.reject_other(tx, stored, "record", call.actor, body)
        known = runs.get(tx, call.run)
        return catalog.Finished(known.run, artifacts.outputs_of(tx, known.id), nothing)
    began = lifecycle.start(call, tx.at)
    after = lifecycle.finish(began, report, str(nothing), tx.at)
    position = fact_log.append(tx, "record", call.run, call.actor, body)
    made = projections.record(tx, position, tx.at, after, call, report)
    _remember(tx, report)
    return catalog.Finished(after, made, nothing)


def _add(tx: Transaction, addition: model.Addition) -> tuple[model.Output, ...]:
    before = runs.get(tx, addition.run)

    def body(redactor: facts.Redactor) -> facts.Body:
        return facts.add(addition, redactor)

    stored = fact_log.find(tx, addition.uid, "add")
    if stored is not None:
        fact_log.reject_other(tx, stored, "add", addition.actor, body)
    else:
        lifecycle.refuse_additions(before.run)
        position = fact_log.append(tx, "add", addition.uid, addition.actor, body)
        projections.add(tx, position, tx.at, before.id, addition)
    mine = {claim.role for claim in addition.outputs}
    return tuple(output for output in artifacts.outputs_of(tx, before.id) if output.role in mine)


def _log(tx: Transaction, series: model.Series) -> None:
    before = runs.get(tx, series.run)
    stored = fact_log.find(tx, series.uid, "log")
    if stored is not None:
        fact_log.reject_other(tx, stored, "log", series.actor, lambda _: facts.log(series))
        return
    after = lifecycle.log(before.run, series)
    position = fact_log.append(tx, "log", series.uid, series.actor, lambda _: facts.log(series))
    projections.log(tx, position, before.id, after, series)


def _move_alias(tx: Transaction, move: model.AliasMove) -> model.Alias:
    model.checked_alias(move.name)

    def body(redactor: facts.Redactor) -> facts.Body:
        return facts.alias(move, redactor)

    stored = fact_log.find(tx, move.uid, "alias")
    if stored is not None:
        fact_log.reject_other(tx, stored, "alias", move.actor, body)
    else:
        artifacts.find(tx, move.artifact)
        position = fact_log.append(tx, "alias", move.uid, move.actor, body)
        projections.alias(tx, position, tx.at, move.actor, move)
    return next(alias for alias in artifacts.aliases(tx, move.artifact) if alias.name == move.name)


def _presume(tx: Transaction, run: UUID) -> None:
    before = runs.get(tx, run)
    after = lifecycle.presume_aborted(before.run, tx.at)
    position = fact_log.append(
        tx, "presume", uuid.uuid4(), model.Actor("whence sweep"), lambda _: facts.presume(run)
    )
    runs.replace_run(tx, before.id, after, position)
    reservations.end_beat(tx, run)
    if after.key is not None:
        reservations.release(tx, after.key, run)


def _explain(tx: Transaction, stored: runs.Stored) -> cache.Explanation:
    run = stored.run
    if run.key is None:
        why = "; ".join(run.warnings) or f"it ran in mode {run.mode}"
        return cache.Explanation(run.uid, None, None, (), f"it has no key: {why}")
    mine = runs.components_of(tx, stored)
    earlier = {
        uid: runs.components_of(tx, runs.get(tx, uid))
        for uid in runs.executed_before(tx, stored)
        if uid != run.origin
    }
    against = run.origin or cache.nearest(mine, earlier)
    if against is None:
        return cache.Explanation(
            run.uid, run.key, None, cache.compare_components((), mine), "no earlier run of this job has a key"
        )
    before = runs.components_of(tx, runs.get(tx, against))
    producers = {f"inputs/{taken.role}": taken.producer for taken in runs.inputs_of(tx, stored.id)}
    verdicts = tuple(
        cache.ComponentVerdict(v.name, v.change, v.before, v.after, producers.get(v.name))
        if v.change is not cache.Change.SAME
        else v
        for v in cache.compare_components(before, mine)
    )
    note = "reused: every component is the same" if run.origin is not None else None
    return cache.Explanation(run.uid, run.key, against, verdicts, note)
