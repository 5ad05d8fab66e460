"""What each thing tells of itself, as GraphQL shows it. What leads from one thing to another stands in `types`."""

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from whence_api.graphql import explaining, values
from whence_api.graphql.relay import described, reads
from whence_catalog import cache, digest, inventory, model, replies


def _id(uid: UUID) -> strawberry.ID:
    return strawberry.ID(str(uid))


def _digest(found: digest.Digest) -> values.Digest:
    return values.Digest(found.text)


# ── Versions ─────────────────────────────────────────────────────────────────────────────────────


@strawberry.type
class VersionTold:
    """What a Version tells of itself."""

    value: strawberry.Private[model.Version]

    ref: str = reads("How people write it: `[project/]kind:name@N`.", "ref")
    number: int = reads(
        "Its number: they rise by one in the order in which contents were first published.", "number"
    )
    digest: values.Digest = reads("The digest of its content.", "digest", _digest)
    strength: model.Strength = reads("How much that digest proves.", "content.strength")
    form: model.Form = reads("Whether it is one file or a tree of them.", "content.form")
    size_bytes: values.BigInt | None = reads(
        "How large it is; null where that is not known.", "content.size_bytes"
    )
    created_at: datetime = reads("When it was first recorded.", "created_at")


@strawberry.type
class AliasTold:
    """What an alias tells of an interval in which it meant one Version."""

    value: strawberry.Private[model.Alias]

    name: str = reads("The alias, such as `prod`.", "name")
    since: datetime = reads("Since when.", "since")
    until: datetime | None = reads("Until when; null while it stands.", "until")
    actor: values.Actor = reads("Who moved it there.", "actor", values.actor)
    reason: str | None = reads("Why; null where nobody said, or it was erased.", "reason")
    replaced: int | None = reads("The number of the Version that it meant before; null for none.", "replaced")


@strawberry.type
class ProductionTold:
    """What an Output of a Run tells of itself."""

    value: strawberry.Private[model.Output]

    role: str = reads("The role that the Run gave it.", "role")
    filename: str | None = reads("The name of the file that it was.", "filename")
    format: str | None = reads("The form in which it was written, such as `parquet`.", "format")
    location: str | None = reads("Where the bytes are, if not in the Blob store.", "location")
    description: str | None = reads("What the Run said of it in free words.", "description")
    metadata: JSON = reads(
        "What the Run said of it, as named values. What JSON has not is written as text.",
        "metadata",
        values.as_json,
    )
    metrics: list[values.Metric] = reads("What was measured of it.", "metrics", values.metrics)
    derived_from_count: int | None = reads(
        "How many of the Run's Inputs it says it came from; null where it does not say.", "derived_from", len
    )


@strawberry.type
class InputTold:
    """What an Input of a Run tells of itself."""

    value: strawberry.Private[model.Input]

    role: str = reads("The role in which it was taken.", "role")
    ordinal: int = reads("Its place among the members of a list in one role.", "ordinal")

    @described("Whether nobody said which production it was taken from, so that any earlier one stands in.")
    def ambiguous(self) -> bool:
        """Whether it is."""
        return self.value.producer is None


@strawberry.type
class EventTold:
    """What an event tells of itself."""

    value: strawberry.Private[replies.Event]

    type: replies.EventType = reads("What happened.", "type")
    at: datetime = reads("Since when it is true.", "at")
    recorded_at: datetime = reads("When it became known.", "recorded_at")
    position: values.BigInt = reads("Where that stands in the log.", "position")
    actor: values.Actor = reads("Whose doing it was.", "actor", values.actor)
    reason: str | None = reads("Why; null where nobody said, or it was erased.", "reason")
    name: str | None = reads("The alias, or the target; null where it is of neither.", "name")
    uid: strawberry.ID | None = reads(
        "The id of the Deployment, decision, Quarantine or hold that began or ended; null where it is of none.",
        "uid",
        _id,
    )


# ── what was said of Versions ────────────────────────────────────────────────────────────────────


@strawberry.type
class QuarantineTold:
    """What a Quarantine tells of itself."""

    value: strawberry.Private[model.Quarantine]

    uid: strawberry.ID = reads("Its id, by which it is released.", "uid", _id)
    since: datetime = reads("Since when.", "since")
    until: datetime | None = reads("Until when; null while it stands.", "until")
    actor: values.Actor = reads("Who declared the Version bad.", "actor", values.actor)
    reason: str | None = reads("Why; null where it was erased.", "reason")
    released_by: values.Actor | None = reads(
        "Who released it; null while it stands.", "released_by", values.actor
    )
    released_because: str | None = reads(
        "Why it was released; null while it stands, or where it was erased.", "released_because"
    )


@strawberry.type
class HoldTold:
    """What a hold tells of itself."""

    value: strawberry.Private[model.Hold]

    uid: strawberry.ID = reads("Its id, by which it is released.", "uid", _id)
    since: datetime = reads("Since when.", "since")
    until: datetime | None = reads("Until when; null while it stands.", "until")
    actor: values.Actor = reads("Who wants the Version kept.", "actor", values.actor)
    reason: str | None = reads("Why; null where it was erased.", "reason")
    released_by: values.Actor | None = reads(
        "Who released it; null while it stands.", "released_by", values.actor
    )
    released_because: str | None = reads(
        "Why it was released; null while it stands, or where it was erased.", "released_because"
    )


@strawberry.type
class ApprovalTold:
    """What an Approval tells of itself."""

    value: strawberry.Private[model.Approval]

    uid: strawberry.ID = reads("Its id.", "uid", _id)
    at: datetime = reads("When it was decided.", "at")
    actor: values.Actor = reads("Who decided.", "actor", values.actor)
    decision: model.Decision = reads("What was decided.", "decision")
    reason: str | None = reads("Why; null where nobody said, or it was erased.", "reason")


@strawberry.type
class DeploymentTold:
    """What a Deployment tells of itself."""

    value: strawberry.Private[model.Deployment]

    uid: strawberry.ID = reads("The id that its client made, as people write it.", "uid", _id)
    project: str = reads("The project whose target it is.", "version.artifact.project")
    target: str = reads("Where the Version serves, such as `eu-west/api`.", "target")
    since: datetime = reads("Since when.", "since")
    until: datetime | None = reads("Until when; null while it serves.", "until")
    actor: values.Actor = reads("Who deployed it.", "actor", values.actor)
    reason: str | None = reads("Why; null where nobody said, or it was erased.", "reason")
    ended_by: values.Actor | None = reads("Who ended it; null while it serves.", "ended_by", values.actor)
    ended_because: str | None = reads(
        "Why it ended; null while it serves, where nobody said, or where it was erased.", "ended_because"
    )


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────


@strawberry.type(
    description="What a Run was seen to touch that is no part of its key. That something is absent proves nothing:"
    " `blindSpots` says what was out of sight."
)
class Reads:
    """What a Run was seen to touch."""

    value: strawberry.Private[model.Observed]

    watching: model.Watching = reads("How closely it was watched.", "watching")
    files: list[str] = reads(
        "Files that it opened, those of the project relative to its root.", "files", list
    )
    sockets: list[str] = reads("Addresses that it connected to.", "sockets", list)
    subprocesses: list[str] = reads("Commands that it ran.", "subprocesses", list)
    variables: list[str] = reads("Environment variables that it read.", "variables", list)
    more: JSON = reads("How many were left out of a list, by its name: each is cut.", "more", dict)
    blind_spots: list[str] = reads("What was out of sight.", "blind_spots", list)
    covered: bool | None = reads(
        "Whether all code that ran is in the key; null where that could not be told.", "covered"
    )
    holes: list[str] = reads("Symbols that ran and are not in the key.", "holes", list)


@strawberry.type
class CacheOutcomeTold:
    """What a Run tells of its part in the cache."""

    value: strawberry.Private[model.Run]

    mode: model.Mode = reads("How the Run was to treat the cache.", "mode")
    key: str | None = reads(
        "What must be equal for a result to be used again; null where there is no such key.", "key"
    )
    executed_because: str | None = reads(
        "Why it executed: `no entry`, `expired`, `output missing`, `refreshed`, `waited` …; null where it was reused.",
        "reason",
    )

    @described("What the cache decided: to reuse, or to execute.")
    def decision(self) -> explaining.Decision:
        """The decision."""
        return explaining.Decision.REUSE if self.reused() else explaining.Decision.EXECUTE

    @described("Whether the result of another Run was used, instead of executing.")
    def reused(self) -> bool:
        """Whether it was."""
        return self.value.state is model.RunState.REUSED

    @described(
        "What became of its own result: `entered`, `renewed`, `superseded`, `diverged`, `refused`, `none`."
    )
    def outcome(self) -> str | None:
        """The outcome."""
        return None if self.value.outcome is None else self.value.outcome.partition(": ")[0]

    @described("Why that became of it; null where there is nothing to say.")
    def reason(self) -> str | None:
        """The reason."""
        return None if self.value.outcome is None else self.value.outcome.partition(": ")[2] or None


@strawberry.type
class RunTold:
    """What a Run tells of itself."""

    value: strawberry.Private[model.Run]

    uid: strawberry.ID = reads("The id that its client made, as people write it.", "uid", _id)
    project: str = reads("The project that it is of.", "project")
    state: model.RunState = reads("Where it stands.", "state")
    presumed: bool = reads(
        "Whether it was not heard of, and is taken to have been aborted, until it says otherwise.", "presumed"
    )
    actor: values.Actor = reads("Who or what is responsible.", "actor", values.actor)
    started_at: datetime = reads("When it was recorded to have begun.", "started_at")
    finished_at: datetime | None = reads(
        "When it was recorded to have ended; null while it runs.", "finished_at"
    )
    params: JSON = reads(
        "The parameters, by name. What JSON has not is written as text.", "params", values.as_json
    )
    metrics: list[values.Metric] = reads(
        "What it measured: of a series, the last value.", "metrics", values.metrics
    )
    labels: list[values.Label] = reads(
        "Free names and values. Those that were erased are absent.", "labels", values.labels
    )
    warnings: list[str] = reads("What was found wrong while it ran.", "warnings", list)
    error: str | None = reads("Why it failed; null where it did not, or it was erased.", "error")
    code: values.Code = reads("The code that it ran.", "capture", values.code)

    @described("How long it took; null while it runs.")
    def seconds(self) -> float | None:
        """How long."""
        ended = self.value.finished_at
        return None if ended is None else (ended - self.value.started_at).total_seconds()


# ── the cache ────────────────────────────────────────────────────────────────────────────────────


@strawberry.type
class CacheEntryTold:
    """What a cache entry tells of itself."""

    value: strawberry.Private[inventory.Entry]

    key: str = reads("The key under which it is looked up.", "key")
    project: str = reads("The project whose look-ups find it.", "project")
    state: inventory.EntryState = reads("Where it stands by now.", "state")
    created_at: datetime = reads("When it was entered.", "created_at")
    validated_at: datetime = reads(
        "When the same result was last entered; `max_age` is counted from then.", "validated_at"
    )
    until: datetime | None = reads(
        "When it was superseded, revoked or evicted; null while it is live.", "until"
    )
    by: values.Actor | None = reads("Who revoked or evicted it.", "by", values.actor)
    because: str | None = reads("Why they did; null where nobody said, or it was erased.", "because")
    condemned: cache.Reason | None = reads(
        "Why no look-up hands it out though it be live: one of its outputs is quarantined, or tainted.",
        "condemned",
    )
    hits: int = reads("How many Runs reused it.", "hits")
    last_used_at: datetime | None = reads("When that was last; null for never.", "last_used_at")
    seconds: float = reads("How long its Run took, which each hit saves.", "seconds")
    size_bytes: values.BigInt = reads(
        "How large its outputs are, those of unknown size left out.", "size_bytes"
    )


@strawberry.type
class DivergenceTold:
    """What a Divergence tells of itself."""

    value: strawberry.Private[inventory.Divergence]

    key: str = reads("The key.", "key")
    project: str = reads("The project that it is of.", "project")
    cause: str = reads("Why the key was computed again, and what came out otherwise, in words.", "cause")
    at: datetime = reads("When.", "at")


@strawberry.type(description="Who computes a key now, and until when, unless they say more.")
class Holder:
    """Who computes a key now."""

    value: strawberry.Private[inventory.Holder]

    owner: str = reads("Who holds it.", "owner")
    run: strawberry.ID = reads("The id of the Run that computes it.", "run", explaining.run_id)
    reason: cache.Reason = reads("Why it is computed.", "reason")
    since: datetime = reads("Since when.", "since")
    until: datetime = reads("Until when, unless they say more.", "until")
