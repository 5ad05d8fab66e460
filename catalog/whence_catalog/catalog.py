"""The catalog as everyone else sees it: one Protocol, whose docstrings are its contract.

Its parts stand by themselves: what it records (`recording`), what it is asked of lineage (`questions`), what it tells
in pages (`pages`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from whence_catalog import digest, pages, questions, recording
from whence_catalog.errors import Result as Result

# `verbs` resolves what signatures say: who calls in process has no need of all that a catalog can answer.
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from whence_catalog import access, inventory, model, replies, traces

# How long a Run lives, and holds its lease, without being heard of; unless a catalog is told otherwise.
LEASE = timedelta(seconds=60)
CLIENT_KEY_DOMAIN = "whence.client-key/1"
# How many items a page has at most.
MOST_AT_ONCE = 1000


def client_key(own: bytes) -> bytes:
    """The secret of a catalog's clients, for HMACs of what must not be recorded in clear.

    It is made of the catalog's `own`, which seals what is told to clients, and so stays with whoever serves them.
    """
    return digest.raw_digest_of(CLIENT_KEY_DOMAIN, own)


class Catalog(recording.Recording, questions.Questions, pages.Pages, Protocol):
    """Records what happened, decides what can be reused, and answers where things came from."""

    def identity(self) -> replies.Identity:
        """Which catalog this is."""
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
