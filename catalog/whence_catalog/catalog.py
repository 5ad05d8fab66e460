"""The catalog as everyone else sees it: one Protocol, whose docstrings are its contract.

Verbs that write take a sequence and give one answer per item, in the order given: a result, or the
`WhenceError` that this item alone met. Items are independent: one that fails leaves no trace and stops
none of the others. All that succeeded is durable when the call returns. Every write is idempotent on
its uid: the same item again is the same fact; another content under the same uid is a `Conflict`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from whence_catalog import digest, lineage, traces
from whence_catalog.errors import WhenceError

# `verbs` resolves what signatures say: who calls in process has no need of all that a catalog can answer.
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from whence_catalog import access, audit, cache, difference, inventory, model, paths, replies, rerun

# How long a Run lives, and holds its lease, without being heard of; unless a catalog is told otherwise.
LEASE = timedelta(seconds=60)
CLIENT_KEY_DOMAIN = "whence.client-key/1"
# How many items a page has at most.
MOST_AT_ONCE = 1000

T = TypeVar("T")
Result: TypeAlias = T | WhenceError


def client_key(own: bytes) -> bytes:
    """The secret of a catalog's clients, for HMACs of what must not be recorded in clear.

    It is made of the catalog's `own`, which seals what is told to clients, and so stays with whoever serves them.
    """
    return digest.raw_digest_of(CLIENT_KEY_DOMAIN, own)


class Catalog(Protocol):
    """Records what happened, decides what can be reused, and answers where things came from."""

    def identity(self) -> replies.Identity:
        """Which catalog this is."""
        ...

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def reserve(self, calls: Sequence[model.Call]) -> Sequence[Result[cache.Answer]]:
        """Decide what each call is to do, and begin it: one transaction, one round trip.

        `Reuse` and `Execute` have recorded their Run. `Verify` and `Wait` have recorded nothing: look
        at the Blobs, or wait, and ask again with the same call.
        A call in mode `record` or `off`, or without a key, is answered `Execute` and holds no lease.
        """
        ...

    def finish_runs(self, reports: Sequence[model.Report]) -> Sequence[Result[replies.Finished]]:
        """End each Run, with what it made; publish it under its key if it holds a live lease on it.

        Raises (as results):
            NotFound: no such Run.
            Conflict: it has ended by its own word, or the uid was used for another report.
        """
        ...

    def record_runs(
        self, runs: Sequence[tuple[model.Call, model.Report]]
    ) -> Sequence[Result[replies.Finished]]:
        """Record whole Runs, each in one fact. They touch the cache in no way."""
        ...

    def add(self, additions: Sequence[model.Addition]) -> Sequence[Result[tuple[model.Output, ...]]]:
        """Add inputs and outputs to Runs that are running; answers the outputs, with their numbers."""
        ...

    def log(self, series: Sequence[model.Series]) -> Sequence[Result[None]]:
        """Append points of metric series to Runs."""
        ...

    def move_aliases(self, moves: Sequence[model.AliasMove]) -> Sequence[Result[model.Alias]]:
        """Point aliases at Versions, from now on, or since the time that a move says.

        Raises (as results):
            NotFound: the Artifact has no such Version.
            Conflict: it does not point at the version number that was expected; or it was moved after the time
                that the move says.
            InvalidInput: that time is to come.
        """
        ...

    def quarantine(self, claims: Sequence[model.QuarantineClaim]) -> Sequence[Result[model.Quarantine]]:
        """Declare Versions bad: each of their productions, and all that was or will be made of those, is tainted.

        When this returns, nothing tainted is handed out of the cache any more, nor entered into it.

        Raises (as results):
            NotFound: the Artifact has no such Version.
        """
        ...

    def release(self, releases: Sequence[model.Release]) -> Sequence[Result[model.Quarantine | model.Hold]]:
        """End quarantines and holds, which others may outlast; answers each as it now stands.

        Raises (as results):
            NotFound: there is neither of that id.
            Conflict: it was released before.
        """
        ...

    def approve(self, claims: Sequence[model.ApprovalClaim]) -> Sequence[Result[model.Approval]]:
        """Record decisions on Versions: approved, or rejected.

        Raises (as results):
            NotFound: the Artifact has no such Version.
        """
        ...

    def hold(self, claims: Sequence[model.HoldClaim]) -> Sequence[Result[model.Hold]]:
        """Have Versions kept until they are released, whatever retention says.

        Raises (as results):
            NotFound: the Artifact has no such Version.
        """
        ...

    def deploy(self, claims: Sequence[model.DeploymentClaim]) -> Sequence[Result[model.Deployment]]:
        """Say what serves at targets from now on, in place of what did; without a digest, answers what ended.

        Where a claim says a time, since then.

        Raises (as results):
            NotFound: the Artifact has no such Version.
            Conflict: nothing is to serve there any more, and nothing of that Artifact does; or something changed
                there after the time that the claim says.
            InvalidInput: that time is to come.
        """
        ...

    def label(self, claims: Sequence[model.LabelClaim]) -> Sequence[Result[Mapping[str, str]]]:
        """Set and remove labels of Runs and Versions; answers all that each of them then has.

        A label that is there already gets the new value; to remove one that is not there changes nothing.

        Raises (as results):
            NotFound: the Run or the Version is not recorded.
            InvalidInput: the subject does not name one Version for ever, a name or a value is no label's, or
                nothing is set or removed.
        """
        ...

    def revoke_entries(
        self, revocations: Sequence[inventory.Revocation]
    ) -> Sequence[Result[tuple[inventory.Entry, ...]]]:
        """Let nobody reuse the results of these keys until they are made again; answers the entries.

        A look-up then answers `Execute(REVOKED)`, and the next publish supersedes the entry: a Divergence
        where it made other bytes. All keys of an item, or none.

        Raises (as results):
            NotFound: no entry of that project is looked up under one of the keys.
            InvalidInput: no key is given, or more than `inventory.MOST_EVICTED`.
        """
        ...

    def evict_entries(self, evictions: Sequence[inventory.Eviction]) -> Sequence[Result[inventory.Evicted]]:
        """Forget the entries that go beyond the limits; answers what went, what had to stay, and why.

        What a standing alias, a hold or a deployment needs stays. A look-up of what went finds no entry;
        Runs, Versions and bytes stay. Said again, the answer is what that eviction took, and no more is taken.
        """
        ...

    def beat(self, runs: Sequence[UUID], lasting: timedelta) -> frozenset[UUID]:
        """Say that these Runs' processes live, and extend their leases; answers those that lost theirs.

        `lasting` is how long from now; no longer than the catalog's own lease is.
        """
        ...

    def sweep(self) -> Sequence[UUID]:
        """Presume aborted the Runs that have not been heard of; answers them."""
        ...

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    # `as_of` is a position: what was known then is answered, whatever was recorded since; without it, what is
    # known now. Raises InvalidInput where the log does not go so far. `at` is a time: what was true then.

    def resolve(
        self, references: Sequence[model.Reference], as_of: int | None = None
    ) -> Sequence[Result[model.Output]]:
        """The Version that each reference means, as its newest production says it.

        Raises (as results):
            NotFound: with near names.
        """
        ...

    def traces(self, project: str, bases: Sequence[str]) -> Sequence[tuple[traces.Trace, ...]]:
        """For each base, what Runs of the project really read of their tracked arguments.

        Those whose results can be asked for by the key of the trace, the newest first; at most `traces.MOST_TRACES`.
        """
        ...

    def artifacts(
        self, project: str | None = None, kind: str | None = None, as_of: int | None = None
    ) -> Sequence[replies.ArtifactSummary]:
        """All Artifacts, by name."""
        ...

    def productions(self, artifact: model.Artifact) -> Sequence[model.Output]:
        """All productions of an Artifact, newest first."""
        ...

    def aliases(self, artifact: model.Artifact) -> Sequence[model.Alias]:
        """All that its aliases ever meant, newest first."""
        ...

    def judgements(
        self, references: Sequence[model.Reference], as_of: int | None = None
    ) -> Sequence[Result[replies.Judgements]]:
        """What was said of the Version that each reference means, and what taints it now.

        Raises (as results):
            NotFound: with near names.
        """
        ...

    def reach(
        self, references: Sequence[model.Reference], first: int = 100
    ) -> Sequence[Result[replies.Reach]]:
        """What a quarantine of each Version reaches, or would: productions with the way there, and what points at them.

        `first` is how many items each list has at most.

        Raises (as results):
            NotFound: with near names.
        Raises:
            InvalidInput: `first` is not 1 to `MOST_AT_ONCE`.
        """
        ...

    def judged(self, uids: Sequence[UUID]) -> Mapping[UUID, model.Version]:
        """The Version that each of these quarantines, holds and deployments is of; one that is not recorded is absent."""
        ...

    def run(self, prefix: str, as_of: int | None = None) -> model.RunRecord:
        """The Run of that id, or of a unique prefix of eight characters or more.

        Raises:
            NotFound, InvalidInput (too short, or ambiguous: with the candidates).
        """
        ...

    def runs(
        self,
        project: str | None = None,
        job: str | None = None,
        states: Iterable[model.RunState] = (),
        limit: int = 25,
        before: UUID | None = None,
    ) -> Sequence[model.Run]:
        """Runs, newest first; `before` is the last one of the page before."""
        ...

    def projects_of(self, runs: Sequence[UUID]) -> Mapping[UUID, str]:
        """The project of each Run; one that is not recorded is absent."""
        ...

    def series(self, run: UUID, as_of: int | None = None) -> dict[str, tuple[tuple[int, float], ...]]:
        """All points of a Run's metric series, by name, in the order they were logged."""
        ...

    def lineage_counts(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> paths.Counts:
        """How much `lineage` without bounds would answer: by type, kind, project and state; and how sure that is.

        Raises:
            NotFound, InvalidInput: as `lineage`.
        """
        ...

    def lineage(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        bounds: lineage.Bounds,
        frontier: str | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> lineage.Graph:
        """What the roots came from, or what came from them.

        A root is a reference, a Run's id, or `deployment/` and the id of a Deployment. `frontier` is of the Graph
        before this one, which was asked for with the same roots, direction, filter and position, to go on
        from there. `as_of` is a position: what was known then is answered, and nothing that was recorded since.

        Raises:
            NotFound: a root is not recorded, or was not then.
            InvalidInput: no such frontier, or no such position yet.
        """
        ...

    def paths(self, start: str, end: str, limit: int = 5, as_of: int | None = None) -> replies.Paths:
        """The ways in which data went from one thing to another, the shortest first; at most `limit` of them.

        Each is a Version by a reference, a Run by its id, or `deployment/` and the id of a Deployment, as in `lineage`;
        so is `as_of`. The search is bounded: an answer that may lack ways says so.

        Raises:
            NotFound: one of them is not recorded, or was not then.
            InvalidInput: `limit` is not 1 to 100; no such position yet.
        """
        ...

    def roots_of(
        self, of: Sequence[str], as_of: int | None = None, first: int = 100, after: str | None = None
    ) -> replies.NodePage:
        """The Versions where the data begins that these came from, the nearest first.

        One begins it if nobody is known to have made it, or if it was taken from a Run that took nothing.

        Raises:
            NotFound, InvalidInput: as `paths`; `first` or `after`, as below.
        """
        ...

    def common_ancestors(
        self, of: Sequence[str], as_of: int | None = None, first: int = 100, after: str | None = None
    ) -> replies.NodePage:
        """The Versions and Runs that all of these came from, themselves counted, the nearest first.

        The depth of each is that from the one of them which is farthest.

        Raises:
            NotFound, InvalidInput: as `roots_of`; fewer than two are named.
        """
        ...

    def impact(
        self,
        of: str,
        kinds: Iterable[str] = ("model",),
        as_of: int | None = None,
        first: int = 100,
        after: str | None = None,
    ) -> replies.Impact:
        """What came of a Version or a Run, and where it is used now: counts, then items in pages without end.

        The Deployments that serve a Version that came of it, then the aliases that stand on one, then such Versions of
        these kinds (none: of any), each with a shortest way there.

        Raises:
            NotFound, InvalidInput: as `roots_of`; it is of a Deployment.
        """
        ...

    def difference(self, left: str, right: str, first: int = 100) -> difference.Difference:
        """What changed from one Version to another, or from one Run to another, part by part.

        A Version stands for its newest production: to compare another, name the Run that made it. Each list has `first`
        items at most.

        Raises:
            NotFound: one of them is not recorded.
            InvalidInput: one is a Version and the other a Run; `first`, as below.
        """
        ...

    def explain(self, run: str, against: str | None = None) -> cache.Explanation:
        """Why a Run has the key that it has, beside that of the Run `against`, or the nearest earlier of its job."""
        ...

    def explain_key(
        self, key: str, projects: Iterable[str] | None = None, against: str | None = None
    ) -> cache.Explanation:
        """As `explain`, of the Run that entered or computes a key, which `cache_key` finds; with what it would answer.

        Raises:
            NotFound, InvalidInput: as `cache_key`.
        """
        ...

    def explain_calls(self, calls: Sequence[model.Call]) -> Sequence[Result[cache.Explanation]]:
        """What `reserve` would answer to each call now, and why its key is what it is. Nothing is recorded."""
        ...

    def plan_rerun(self, run: str, unavailable: frozenset[digest.Digest]) -> rerun.RerunPlan:
        """What making a Run again would do; `unavailable` are Blobs that the caller found gone."""
        ...

    def audit(
        self,
        subject: str,
        policy: audit.Policy,
        presence: Sequence[tuple[digest.Digest, audit.Presence]] = (),
    ) -> audit.AuditReport:
        """Judge how the Version that `subject` names came to be. `presence` is what the caller saw of its bytes."""
        ...

    def position_at(self, moment: datetime) -> int:
        """The last position of the log at that time: what `as_of` takes for what was known then. 0 before all facts.

        A position, once passed, means the same for ever; so does a time that is past, as soon as what was being
        written then has its position (on PostgreSQL within the lag of sequencing).

        Raises:
            InvalidInput: the time says no offset from UTC.
        """
        ...

    def facts(self, after: int = 0, limit: int = 1000) -> Sequence[replies.StoredFact]:
        """Facts in position order, from the one after `after`."""
        ...

    def changes(
        self, after: int = 0, first: int = 100, projects: Iterable[str] | None = None
    ) -> replies.ChangePage:
        """What the facts behind position `after` changed, in order, for whoever follows the log.

        Looks at `first` facts at most; those of `projects`, or of any, are told. Every server gives the same events
        the same positions: to go on after the `end` of a page loses none and repeats none, wherever that is asked.
        What is being written has no position yet, and is told as soon as it has.

        Raises:
            InvalidInput: `after` is no position, or `first` is not 1 to `MOST_AT_ONCE`.
        """
        ...

    # ── reading in pages, and many at once ───────────────────────────────────────────────────────

    # Each answers for all its subjects in one go. `first` is how many items a page has at most, for each
    # subject; `after` is a cursor of the list that is asked for. Raises InvalidInput where `first` is not
    # 1 to `MOST_AT_ONCE`; answers InvalidInput where `after` is no cursor of that list, and NotFound where the
    # subject is not recorded.

    def versions(
        self, references: Sequence[model.Reference], as_of: int | None = None
    ) -> Sequence[Result[model.Version]]:
        """The Version that each reference means, without what any production says of it."""
        ...

    def states(self, references: Sequence[model.Reference]) -> Sequence[Result[model.VersionState]]:
        """Where the Version that each reference means stands now."""
        ...

    def named_productions(self, sources: Sequence[model.Source]) -> Sequence[Result[model.Output]]:
        """Each Version as the Run that its source names made it; an InvalidInput where it names none."""
        ...

    def named_runs(self, runs: Sequence[UUID], as_of: int | None = None) -> Mapping[UUID, model.Run]:
        """The Runs with these ids; one that is not recorded is absent."""
        ...

    def versions_of(
        self,
        artifacts: Sequence[model.Artifact],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.VersionPage]]:
        """The Versions of each Artifact."""
        ...

    def aliases_of(
        self,
        subjects: Sequence[model.Reference],
        standing: bool = False,
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.AliasPage]]:
        """What the aliases of each Artifact meant; or, where a Version is named, the aliases that meant it.

        `standing` leaves out those that mean something else by now.
        """
        ...

    def productions_of(
        self,
        versions: Sequence[model.Reference],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.ProductionPage]]:
        """The productions of each Version."""
        ...

    def consumers_of(
        self,
        versions: Sequence[model.Reference],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.RunPage]]:
        """The Runs that took each Version, from whatever production."""
        ...

    def children_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.RunPage]]:
        """The Runs whose parent is each Run."""
        ...

    def inputs_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.InputPage]]:
        """What each Run took; a reused Run that has none of its own took its origin's."""
        ...

    def outputs_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.ProductionPage]]:
        """What each Run made; a reused Run hands out its origin's."""
        ...

    def list_runs(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        states: Iterable[model.RunState] = (),
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> replies.RunPage:
        """Runs of these projects (None: of all), of that job, that are in one of these states by now (none: any).

        Raises:
            InvalidInput: `first` or `after`, as above.
        """
        ...

    def alias_at(
        self, artifact: model.Artifact, alias: str, at: datetime, as_of: int | None = None
    ) -> model.Alias | None:
        """What an alias of an Artifact meant at a time, since when, who moved it there, why, and what it replaced.

        None where it meant nothing then.

        Raises:
            NotFound: no such Artifact is recorded, or it had no such alias as far as was known.
            InvalidInput: the time says no offset from UTC.
        """
        ...

    def timeline(
        self, subject: model.Reference, as_of: int | None = None, first: int = 25, after: str | None = None
    ) -> replies.EventPage:
        """All that happened to an Artifact or, where one is selected, to a Version.

        Moves of aliases, deployments and their ends, decisions, quarantines, holds and their ends, productions.
        An alias that was moved away from a Version happened to that too.

        Raises:
            NotFound: with near names.
            InvalidInput: `first` or `after`, as above.
        """
        ...

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
        """Deployments in these projects (None: in all), at that target, of that Artifact; what served at a time.

        `standing` leaves out those that have ended.

        Raises:
            InvalidInput: `first` or `after`, as above; the time says no offset from UTC.
        """
        ...

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
        """Artifacts and jobs with `text` in their name, in whatever case; if it is a digest, Versions of it alone.

        Of these projects (None: of all), and of these kinds and types (none: any). A job or a Run has no kind.

        With labels, metrics, `since` or `until`: the Versions and Runs that have all these labels, a metric by
        now in each of these ranges (a Version: of one of its productions), and began, or were first recorded,
        from `since` until before `until`; `text` is then in the name of the Artifact or the job. So are Versions
        and Runs found without any of these, where `types` names them.

        Raises:
            InvalidInput: `first` or `after`, as above.
        """
        ...

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
        """Cache entries of these projects (None: of all), of that job, in one of these states by now (none: any).

        Raises:
            InvalidInput: `first` or `after`, as above.
        """
        ...

    def cache_key(self, key: str, projects: Iterable[str] | None = None) -> inventory.KeyRecord:
        """All that is known of a key, or of the one that begins so: at least eight digits behind `wk1:`.

        Of the keys that were entered, or are being computed, in these projects (None: in all).

        Raises:
            NotFound, InvalidInput (too short, or ambiguous: with the candidates).
        """
        ...

    def divergences(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        first: int = 25,
        after: str | None = None,
    ) -> replies.DivergencePage:
        """Where the same key gave other bytes, in these projects (None: in all), by Runs of that job.

        Raises:
            InvalidInput: `first` or `after`, as above.
        """
        ...

    def cache_statistics(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> inventory.Statistics:
        """What the cache did for each job, from `since` (None: ever) until before `until` (None: now)."""
        ...

    def evictable(self, eviction: inventory.Eviction) -> inventory.Evicted:
        """What `evict_entries` would answer now. Nothing is evicted."""
        ...

    # ── access ───────────────────────────────────────────────────────────────────────────────────

    def add_token(self, token: access.Token) -> access.Token:
        """Let whoever holds the secret behind `token.hash` in; answers the token as it is kept.

        Raises:
            Conflict: the uid, or the secret, was used for another token.
        """
        ...

    def tokens(self) -> Sequence[access.Token]:
        """All tokens, the newest first, with those that have expired or were revoked."""
        ...

    def revoke_token(self, uid: UUID) -> access.Token:
        """Let a token's holder in no more. Idempotent.

        Raises:
            NotFound: no such token.
        """
        ...

    # ── upkeep ───────────────────────────────────────────────────────────────────────────────────

    def check(self) -> replies.CheckReport:
        """Rebuild every projection from the facts, beside the real one, and compare."""
        ...

    def close(self) -> None:
        """Let go of every connection. Idempotent."""
        ...
