"""What the verbs of a Catalog reply, beside the values of the rules themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from whence_catalog import cache, changes, facts, inventory, lineage, model


@dataclass(frozen=True, slots=True)
class Identity:
    """Which catalog this is. `key` is its own secret; whoever came by a server has the one for clients."""

    uid: UUID
    key: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A Run after its finish: what it made, and what that did to the cache."""

    run: model.Run
    outputs: tuple[model.Output, ...]
    publication: model.Publication


@dataclass(frozen=True, slots=True)
class Judgements:
    """All that was said of a Version, the newest first; `taints` are what now makes its productions unfit.

    `labels` are those that it has now.
    """

    version: model.Version
    quarantines: tuple[model.Quarantine, ...]
    approvals: tuple[model.Approval, ...]
    holds: tuple[model.Hold, ...]
    deployments: tuple[model.Deployment, ...]
    taints: tuple[model.Taint, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One production on the way from a quarantined Version: the Run, its job, and the Version that it made.

    `run` is None where whoever asks may not see it.
    """

    run: UUID | None
    job: str
    ref: str


@dataclass(frozen=True, slots=True)
class Reached:
    """A production that a quarantine reaches, and how: the last step is itself, the first took the Version."""

    version: model.Version
    path: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """What a quarantine of a Version reaches: productions, nearest first, and what now hands them on.

    `aliases` and `deployments` are those that stand, `entries` those of the cache that are live. Each list is
    cut where the question says; `counts` are of all, by the name of the list, and of `versions` and `runs`, also of
    what whoever asks may not see; `masked` counts what of the lists they may not.
    """

    version: model.Version
    productions: tuple[Reached, ...]
    aliases: tuple[model.Alias, ...]
    deployments: tuple[model.Deployment, ...]
    entries: tuple[cache.CacheEntry, ...]
    counts: Mapping[str, int]
    masked: int = 0


@dataclass(frozen=True, slots=True)
class StoredFact:
    """A fact as it lies in the log."""

    position: int
    sequenced_at: datetime
    fact: facts.Fact


@dataclass(frozen=True, slots=True)
class ChangePage:
    """What facts changed, in the order of their positions.

    `end` is the position up to which the log was looked through: to ask again after it goes on without a gap and
    without repeating. `last` is that of the last fact there is. `masked` counts what whoever asked may not hear of.
    """

    items: tuple[changes.Change, ...]
    end: int
    last: int
    masked: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a log goes: its last position, and the Merkle leaf of the fact there (empty for an empty log)."""

    position: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class ArtifactSummary:
    """An Artifact at a glance: its newest Version by production, and the aliases that stand."""

    artifact: model.Artifact
    versions: int
    latest: model.Version
    aliases: tuple[model.Alias, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found. `problems` is empty when the projections are what the facts say.

    `unopened` counts the redactable values that are not there: erased, or lost.
    """

    facts: int
    rows: int
    unopened: int
    problems: tuple[str, ...]
    exempt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A named unit of work of a project."""

    project: str
    name: str


class HitType(StrEnum):
    """What a search can find."""

    VERSION = "version"
    ARTIFACT = "artifact"
    JOB = "job"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that a search found: the one of the four that is there."""

    version: model.Version | None = None
    artifact: model.Artifact | None = None
    job: Job | None = None
    run: model.Run | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list. `cursors` stand beside its items; to ask again after `end` gives the next page.

    A list holds what had a position in the log when its first page was read: nothing recorded since moves,
    repeats or hides an item on the pages that follow. A cursor is of one list, and refused by every other.
    `end` is None on the last page. `masked` counts items that whoever asked may not see, which are left out.
    """

    cursors: tuple[str, ...]
    end: str | None
    masked: int


@dataclass(frozen=True, slots=True)
class VersionPage(Page):
    """Versions of one Artifact, the highest number first; `total` is how many it has."""

    items: tuple[model.Version, ...]
    total: int


@dataclass(frozen=True, slots=True)
class ProductionPage(Page):
    """Productions of one Version, the newest first; or by one Run, in the order in which it said them."""

    items: tuple[model.Output, ...]


@dataclass(frozen=True, slots=True)
class InputPage(Page):
    """Inputs of one Run, by role and ordinal."""

    items: tuple[model.Input, ...]


@dataclass(frozen=True, slots=True)
class RunPage(Page):
    """Runs, the newest first."""

    items: tuple[model.Run, ...]


@dataclass(frozen=True, slots=True)
class AliasPage(Page):
    """Aliases over their intervals, the newest first."""

    items: tuple[model.Alias, ...]


class EventType(StrEnum):
    """What can happen to a Version. Closed: it only grows."""

    PRODUCED = "produced"
    ALIASED = "aliased"
    DEPLOYED = "deployed"
    DEPLOYMENT_ENDED = "deployment ended"
    APPROVED = "approved"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    QUARANTINE_RELEASED = "quarantine released"
    HELD = "held"
    HOLD_RELEASED = "hold released"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a Version: since when it is true, and as which fact, and when, it became known.

    `name` is the alias, or the target; `replaced` what it meant, or what served there, until then. `uid` is of
    the deployment or judgement that began or ended; `run` is the Run that made it, of that job.
    """

    type: EventType
    version: model.Version
    at: datetime
    position: int
    recorded_at: datetime
    actor: model.Actor
    reason: str | None = None
    name: str | None = None
    replaced: model.Version | None = None
    uid: UUID | None = None
    run: UUID | None = None
    job: str | None = None


@dataclass(frozen=True, slots=True)
class EventPage(Page):
    """What happened, the newest first, in the order in which it became known."""

    items: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class DeploymentPage(Page):
    """Deployments over their intervals, the newest first."""

    items: tuple[model.Deployment, ...]


@dataclass(frozen=True, slots=True)
class HitPage(Page):
    """What a search found: Versions, then Artifacts and jobs by name, then Runs.

    Versions of exactly that content are by name. Other Versions, and Runs, come with the highest value of the
    metric first that is asked for; else the newest first. A page may hold fewer than were asked for, even none,
    before the last: no more is looked at for one page than an answer in good time allows. `end` goes on.
    """

    items: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class EntryPage(Page):
    """Cache entries, the newest first."""

    items: tuple[inventory.Entry, ...]


@dataclass(frozen=True, slots=True)
class DivergencePage(Page):
    """Divergences, those of the newest Runs first."""

    items: tuple[inventory.Divergence, ...]


# ── what is asked of lineage ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Paths:
    """Ways in which data went from one thing to another, the shortest first; each has both ends.

    A way goes through Versions and Runs in turn; by reuse, from Run to Run; at last, where that was asked, into a
    Deployment. The depth of a node is how many Runs it is from the start. It is complete where these are all ways
    there are; `ambiguous` counts steps of them that may have been another production's.
    """

    paths: tuple[tuple[lineage.Node, ...], ...]
    completeness: lineage.Completeness


@dataclass(frozen=True, slots=True)
class NodePage(Page):
    """Nodes, the nearest first; `total` is how many there are, `completeness` of the lineage they were found in."""

    items: tuple[lineage.Node, ...]
    total: int
    completeness: lineage.Completeness


@dataclass(frozen=True, slots=True)
class Closure:
    """The ids of all that something came from, or that came of it, as `lineage.Node` has them, as they were recorded.

    What may not be seen is not among them, but counted as `masked`. One that was cut says so, and has no frontier: who
    wants more asks deeper.
    """

    runs: tuple[str, ...]
    versions: tuple[str, ...]
    deployments: tuple[str, ...]
    completeness: lineage.Completeness


class ImpactType(StrEnum):
    """Of what an item of an impact tells: of what serves, of an alias that stands, or of a Version."""

    DEPLOYMENT = "deployment"
    ALIAS = "alias"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Impacted:
    """A Version that came of something, and a shortest way there: the first node is that thing, the last the Version.

    With the Deployment in which it serves, or the alias that means it, where the item is of such; None where
    that may not be seen.
    """

    type: ImpactType
    version: lineage.Node
    path: tuple[lineage.Node, ...]
    deployment: model.Deployment | None = None
    alias: model.Alias | None = None


@dataclass(frozen=True, slots=True)
class Impact(Page):
    """What came of a Version or a Run: Deployments first, then aliases, then Versions, each the nearest first.

    `counts` are of all `deployments`, `aliases`, `versions` and `runs`, and `kinds` of the Versions by their kind,
    also of what whoever asks may not see (then `kinds` is empty), and whatever kinds were asked for. What serves, or is meant, is told of
    Versions of every kind, and of the subject itself, which is not among the `versions`. `position` is up to which
    fact all pages look.
    """

    subject: lineage.Node
    counts: Mapping[str, int]
    kinds: Mapping[str, int]
    items: tuple[Impacted, ...]
    position: int
    completeness: lineage.Completeness
