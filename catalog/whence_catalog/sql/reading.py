"""What a catalog over SQL answers: each reading verb of the Catalog is one transaction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from whence_catalog import cache, catalog, digest, facts, later, lineage, model, replies
from whence_catalog.errors import InvalidInput, WhenceError
from whence_catalog.sql import artifacts, judgements, named, runs, traces
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Engine, Transaction

# Who records asks none of what these answer.
if TYPE_CHECKING:
    from whence_catalog import audit, difference, inventory, plans, rerun
    from whence_catalog import paths as rule
    from whence_catalog import traces as rules
    from whence_catalog.sql import changes as following
    from whence_catalog.sql import difference as differences
    from whence_catalog.sql import eviction as evicting
    from whence_catalog.sql import (
        explaining,
        extent,
        graph,
        history,
        pages,
        past,
        planning,
        questions,
        reaching,
        remembered,
        savings,
        search,
        states,
        times,
    )
    from whence_catalog.sql import inventory as inventories
else:
    audit, rerun, rule = later.modules("whence_catalog", "audit", "rerun", "paths")
    following, differences, evicting, inventories = later.modules(
        "whence_catalog.sql", "changes", "difference", "eviction", "inventory"
    )
    explaining, extent, graph, history, pages, past, questions, reaching, remembered, savings, search = (
        later.modules(
            "whence_catalog.sql",
            *("explaining", "extent", "graph", "history", "pages", "past", "questions"),
            *("reaching", "remembered", "savings", "search"),
        )
    )
    planning, states, times = later.modules("whence_catalog.sql", "planning", "states", "times")

I = TypeVar("I")  # noqa: E741 - an item of a batch
R = TypeVar("R")

# The longest page of Runs or facts that is answered at once.
MOST_AT_ONCE = 100_000
# How many ways from one thing to another are listed at most.
MOST_PATHS = 100


class Reading:
    """The verbs of the Catalog that only read; see `catalog.Catalog`."""

    _database: Engine[Any]

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

    def resolve(
        self, references: Sequence[model.Reference], as_of: int | None = None
    ) -> Sequence[catalog.Result[model.Output]]:
        if as_of is not None:
            return self._known(as_of, lambda tx, then: named.productions(tx, references, then))
        return self._database.read(lambda tx: _answers(tx, references, artifacts.resolve))

    def traces(self, project: str, bases: Sequence[str]) -> Sequence[tuple[rules.Trace, ...]]:
        return self._database.read(lambda tx: [traces.of_base(tx, project, base) for base in bases])

    def artifacts(
        self, project: str | None = None, kind: str | None = None, as_of: int | None = None
    ) -> Sequence[replies.ArtifactSummary]:
        if as_of is not None:
            return self._known(as_of, lambda tx, then: history.summaries(tx, project, kind, then))
        return self._database.read(lambda tx: artifacts.summaries(tx, project, kind))

    def productions(self, artifact: model.Artifact) -> Sequence[model.Output]:
        return self._database.read(lambda tx: artifacts.productions(tx, artifact))

    def aliases(self, artifact: model.Artifact) -> Sequence[model.Alias]:
        return self._database.read(lambda tx: artifacts.aliases(tx, artifact))

    def judgements(
        self, references: Sequence[model.Reference], as_of: int | None = None
    ) -> Sequence[catalog.Result[replies.Judgements]]:
        if as_of is not None:
            return self._known(as_of, lambda tx, then: history.judgements(tx, references, then))

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

    def run(self, prefix: str, as_of: int | None = None) -> model.RunRecord:
        if as_of is not None:
            return self._known(as_of, lambda tx, then: past.record(tx, prefix, then))
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

    def series(self, run: UUID, as_of: int | None = None) -> dict[str, tuple[tuple[int, float], ...]]:
        if as_of is not None:
            return self._known(as_of, lambda tx, then: past.series(tx, run, then))
        return self._database.read(lambda tx: runs.series_of(tx, runs.get(tx, run).id))

    def lineage_counts(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> rule.Counts:
        whole = lineage.Bounds(max_nodes=None)
        return rule.counts(self.lineage(roots, direction, whole, None, filter, as_of))

    def closure(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        depth: int | None = None,
        as_of: int | None = None,
    ) -> replies.Closure:
        bounds = lineage.Bounds(depth)
        self._settle_positions()
        return self._database.read(
            lambda tx: extent.closure(tx, graph.roots(tx, roots, as_of, None), direction, bounds.depth, as_of)
        )

    def lineage_pages(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        depth: int | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> Iterator[lineage.Graph]:
        bounds = lineage.Bounds(depth)
        self._settle_positions()
        with self._database.reading() as tx:
            known = graph.roots(tx, roots, as_of, None)
            yield from graph.pages(tx, known, direction, bounds.depth, filter, as_of)

    def lineage_with_hidden(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        bounds: lineage.Bounds,
        frontier: str | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> lineage.Graph:
        self._settle_positions()

        def answer(tx: Transaction) -> lineage.Graph:
            known = graph.roots(tx, roots, as_of, frontier)
            return graph.walk_with_hidden(tx, known, direction, bounds, frontier, filter, as_of)

        return self._database.read(answer)

    def lineage(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        bounds: lineage.Bounds,
        frontier: str | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> lineage.Graph:
        self._settle_positions()

        def answer(tx: Transaction) -> lineage.Graph:
            known = graph.roots(tx, roots, as_of, frontier)
            return graph.walk(tx, known, direction, bounds, frontier, filter, as_of)

        return self._database.read(answer)

    def paths(self, start: str, end: str, limit: int = 5, as_of: int | None = None) -> replies.Paths:
        if not 1 <= limit <= MOST_PATHS:
            raise InvalidInput(f"limit is {limit}; expected 1 to {MOST_PATHS} ways")
        self._settle_positions()
        return self._database.read(lambda tx: questions.paths(tx, start, end, limit, as_of))

    def roots_of(
        self, of: Sequence[str], as_of: int | None = None, first: int = 100, after: str | None = None
    ) -> replies.NodePage:
        return self._page(first, lambda tx: questions.roots_of(self._asking(tx), of, as_of, first, after))

    def common_ancestors(
        self, of: Sequence[str], as_of: int | None = None, first: int = 100, after: str | None = None
    ) -> replies.NodePage:
        return self._page(
            first, lambda tx: questions.common_ancestors(self._asking(tx), of, as_of, first, after)
        )

    def impact(
        self,
        of: str,
        kinds: Iterable[str] = ("model",),
        as_of: int | None = None,
        first: int = 100,
        after: str | None = None,
    ) -> replies.Impact:
        wanted = frozenset(kinds)
        return self._page(
            first, lambda tx: questions.impact(self._asking(tx), of, wanted, as_of, first, after)
        )

    @functools.cached_property
    def _remembered(self) -> remembered.Remembered:
        return remembered.Remembered()

    def _asking(self, tx: Transaction) -> questions.Asking:
        return questions.Asking(tx, self._remembered)

    def difference(self, left: str, right: str, first: int = 100) -> difference.Difference:
        return self._page(first, lambda tx: differences.difference_of(tx, left, right, first))

    def explain(self, run: str, against: str | None = None) -> cache.Explanation:
        return self._database.read(lambda tx: explaining.run(tx, run, against))

    def explain_key(
        self, key: str, projects: Iterable[str] | None = None, against: str | None = None
    ) -> cache.Explanation:
        among = _among(projects)
        return self._database.read(lambda tx: explaining.key(tx, key, among, against))

    def explain_calls(self, calls: Sequence[model.Call]) -> Sequence[catalog.Result[cache.Explanation]]:
        return self._database.read(lambda tx: _answers(tx, calls, explaining.call))

    def plan(self, request: plans.PlanRequest, projects: Iterable[str] | None = None) -> plans.RerunPlan:
        among = _among(projects)
        self._settle_positions()
        return self._database.read(lambda tx: planning.plan(tx, request, among))

    def plan_rerun(self, run: str, unavailable: frozenset[digest.Digest] = frozenset()) -> rerun.Prospect:
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

    def position_at(self, moment: datetime) -> int:
        micros = model.microseconds(model.checked_moment(moment))
        self._settle_positions()
        return self._database.read(lambda tx: times.position_at(tx, micros))

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

    def changes(
        self, after: int = 0, first: int = 100, projects: Iterable[str] | None = None
    ) -> replies.ChangePage:
        if after < 0 or not 1 <= first <= catalog.MOST_AT_ONCE:
            raise InvalidInput(
                f"changes after {after}, {first} of them: expected a position, and 1 to {catalog.MOST_AT_ONCE:,}"
            )
        among = _among(projects)
        self._settle_positions()
        return self._database.read(lambda tx: following.page(tx, after, first, among))

    # ── reading in pages, and many at once ───────────────────────────────────────────────────────

    def versions(
        self, references: Sequence[model.Reference], as_of: int | None = None
    ) -> Sequence[catalog.Result[model.Version]]:
        if as_of is not None:
            return self._known(as_of, lambda tx, then: named.versions(tx, references, then))
        return self._database.read(lambda tx: named.versions(tx, references, None))

    def _known(self, as_of: int, work: Callable[[Transaction, int], R]) -> R:
        """What `work` answers of what was known at a position, if there is one."""
        self._settle_positions()
        return self._database.read(lambda tx: work(tx, times.head(tx, as_of)))

    def states(self, references: Sequence[model.Reference]) -> Sequence[catalog.Result[model.VersionState]]:
        return self._database.read(lambda tx: states.states(tx, references))

    def named_productions(self, sources: Sequence[model.Source]) -> Sequence[catalog.Result[model.Output]]:
        return self._database.read(lambda tx: named.named_productions(tx, sources))

    def named_runs(self, runs: Sequence[UUID], as_of: int | None = None) -> Mapping[UUID, model.Run]:
        if as_of is not None:
            return self._known(as_of, lambda tx, then: past.named_runs(tx, runs, then))
        return self._database.read(lambda tx: named.named_runs(tx, runs))

    def versions_of(
        self,
        artifacts: Sequence[model.Artifact],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[catalog.Result[replies.VersionPage]]:
        return self._page(first, lambda tx: pages.versions_of(tx, artifacts, first, after, as_of))

    def aliases_of(
        self,
        subjects: Sequence[model.Reference],
        standing: bool = False,
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[catalog.Result[replies.AliasPage]]:
        return self._page(first, lambda tx: pages.aliases_of(tx, subjects, standing, first, after, as_of))

    def productions_of(
        self,
        versions: Sequence[model.Reference],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[catalog.Result[replies.ProductionPage]]:
        return self._page(first, lambda tx: pages.productions_of(tx, versions, first, after, as_of))

    def consumers_of(
        self,
        versions: Sequence[model.Reference],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[catalog.Result[replies.RunPage]]:
        return self._page(first, lambda tx: pages.consumers_of(tx, versions, first, after, as_of))

    def children_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[catalog.Result[replies.RunPage]]:
        return self._page(first, lambda tx: pages.children_of(tx, runs, first, after, as_of))

    def inputs_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[catalog.Result[replies.InputPage]]:
        return self._page(first, lambda tx: pages.inputs_of(tx, runs, first, after, as_of))

    def outputs_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[catalog.Result[replies.ProductionPage]]:
        return self._page(first, lambda tx: pages.outputs_of(tx, runs, first, after, as_of))

    def list_runs(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        states: Iterable[model.RunState] = (),
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> replies.RunPage:
        among = _among(projects)
        kept = frozenset(states)
        return self._page(first, lambda tx: search.list_runs(tx, among, job, kept, first, after, as_of))

    def alias_at(
        self, artifact: model.Artifact, alias: str, at: datetime, as_of: int | None = None
    ) -> model.Alias | None:
        model.checked_moment(at)
        self._settle_positions()
        return self._database.read(lambda tx: history.alias_at(tx, artifact, alias, at, as_of))

    def timeline(
        self, subject: model.Reference, as_of: int | None = None, first: int = 25, after: str | None = None
    ) -> replies.EventPage:
        return self._page(first, lambda tx: history.timeline(tx, subject, as_of, first, after))

    def deployments(
        self,
        projects: Iterable[str] | None = None,
        target: str | None = None,
        artifact: model.Artifact | None = None,
        at: datetime | None = None,
        as_of: int | None = None,
        first: int = 25,
        after: str | None = None,
        standing: bool = False,
    ) -> replies.DeploymentPage:
        wanted = history.Serving(_among(projects), target, artifact, at, standing)
        return self._page(first, lambda tx: history.deployments(tx, wanted, as_of, first, after))

    def search(
        self,
        text: str = "",
        types: Iterable[replies.HitType] = (),
        projects: Iterable[str] | None = None,
        kinds: Iterable[str] = (),
        first: int = 25,
        after: str | None = None,
        labels: Iterable[tuple[str, str]] = (),
        metrics: Iterable[model.MetricRange] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> replies.HitPage:
        wanted = search.Search(
            text,
            frozenset(types),
            _among(projects),
            frozenset(kinds),
            frozenset(labels),
            tuple(metrics),
            since,
            until,
        )
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


# `runs` is a parameter there.
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


def _named_run(tx: Transaction, prefix: str) -> runs.Stored:
    return runs.get(tx, runs.prefixed(tx, prefix))
