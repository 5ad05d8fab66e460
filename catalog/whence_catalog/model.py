"""The values of the catalog: what exists, what a client says, and what it is answered.

Three groups: *what is* (Artifact, Version, Run, Input, Output, Alias …), *claims* that a client makes
(Call, Report, OutputClaim …), and nothing else. All are frozen. Times are aware UTC; sizes are bytes.
What things are called is written in `names`, and is part of this.
Decisions about them live elsewhere: `lifecycle`, `cache`, `lineage`, `rerun`, `audit`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from whence_catalog import digest, traces
from whence_catalog.errors import InvalidInput
from whence_catalog.names import BUILT_IN_KINDS as BUILT_IN_KINDS
from whence_catalog.names import DEFAULT_PROJECT as DEFAULT_PROJECT
from whence_catalog.names import LONGEST_NAME_BYTES as LONGEST_NAME_BYTES
from whence_catalog.names import Artifact as Artifact
from whence_catalog.names import Reference as Reference
from whence_catalog.names import checked_alias as checked_alias
from whence_catalog.names import checked_job as checked_job
from whence_catalog.names import checked_label as checked_label
from whence_catalog.names import checked_reason as checked_reason
from whence_catalog.names import checked_target as checked_target

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds since the epoch of an aware time."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """The aware UTC time of that many microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def checked_moment(moment: datetime) -> datetime:
    """`moment`, if it says which time it is wherever it is read.

    Raises:
        InvalidInput: it says no offset from UTC.
    """
    if moment.utcoffset() is None:
        raise InvalidInput(f"{moment.isoformat()} says no offset from UTC; write {moment.isoformat()}Z")
    return moment


class RunState(StrEnum):
    """Where a Run stands."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"
    REUSED = "reused"


class VersionState(StrEnum):
    """Where a Version stands: fit, declared bad, or made of what was."""

    LIVE = "live"
    QUARANTINED = "quarantined"
    TAINTED = "tainted"


class Strength(StrEnum):
    """How much an identity proves, strongest first."""

    CONTENT = "content"
    PROVIDER = "provider"
    ASSERTED = "asserted"
    WEAK = "weak"
    NONE = "none"


class Form(StrEnum):
    """Whether bytes are one file or a tree of them: a file is not a folder with that file in it."""

    FILE = "file"
    TREE = "tree"


class Mode(StrEnum):
    """How a Run treats the cache."""

    REUSE = "reuse"
    REFRESH = "refresh"
    RECORD = "record"
    OFF = "off"


# ── what is ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Actor:
    """Who or what is responsible. `authenticated` only where something checked it."""

    name: str
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """The identity of some bytes, and how strong it is. `size_bytes` is None where it is not known."""

    digest: digest.Digest
    strength: Strength = Strength.CONTENT
    form: Form = Form.FILE
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable content of an Artifact. `number` is 0 until the catalog has given it one."""

    artifact: Artifact
    number: int
    content: Content
    created_at: datetime

    @property
    def ref(self) -> str:
        """`kind:name@N`; without a number, `kind:name@sha256:…`."""
        return f"{self.artifact}@{self.number or self.content.digest.text}"

    @property
    def digest(self) -> digest.Digest:
        """The digest of its content."""
        return self.content.digest


@dataclass(frozen=True, slots=True)
class Source:
    """A Version as a client names it (by content, so that no number is needed), with the Run that made it."""

    artifact: Artifact
    digest: digest.Digest
    producer: UUID | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A Version that a Run took. `producer` is the Run it was taken from; None is ambiguous."""

    role: str
    version: Version
    producer: UUID | None
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """One production: a Version as one Run made it. Whatever describes the making stands here."""

    role: str
    version: Version
    run: UUID
    filename: str | None = None
    format: str | None = None
    location: str | None = None
    metadata: Mapping[str, digest.Framed] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: str | None = None
    derived_from: tuple[Source, ...] | None = None


# In an output's metadata: it is kept beside the result and is no part of it, as a log is.
ASIDE = "whence.aside"


class Reached(StrEnum):
    """How the code of a Run is reached, to run it again.

    By an import of its module; of the script that was started; of a module made from a notebook's cells. A
    block of code inside a program cannot be reached alone, and a command is started again as it was.
    """

    MODULE = "module"
    SCRIPT = "script"
    NOTEBOOK = "notebook"
    BLOCK = "block"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Capture:
    """What is needed to make a Run again, and what of it could not be seen.

    `entry` is `module:qualified.name`; `bundle` a Manifest of the source in domain `whence.bundle/1`;
    `environment` the Blob of an Environment. Where the source is too large for a Bundle, `git` and `diff`, the
    Blob of a patch to that commit, stand in. Exactly one of `rerunnable` and `because` speaks.

    `source` is None where nothing was captured. `argv` is the program's command line; `command` that of a Run
    which is a command. `cwd` and `search`, the project's entries of `sys.path` in their order, are relative to
    the root of the Bundle; what lies outside of it is absolute. `closure` are the values of the entry's free
    variables, as parameters stand in a Run. `pod` are facts of the Kubernetes pod it ran in. `places` are where
    the inputs and outputs of a command lie, by role; `code` are the files and folders that are all of its source,
    where they were named.
    """

    entry: str | None = None
    bundle: digest.Digest | None = None
    environment: digest.Digest | None = None
    python: str | None = None
    git: Mapping[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    rerunnable: bool = False
    because: str | None = "nothing about its code was recorded"
    blind_spots: tuple[str, ...] = ()
    source: Reached | None = None
    cwd: str | None = None
    search: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    closure: Mapping[str, digest.Framed] = field(default_factory=dict)
    diff: digest.Digest | None = None
    pod: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()


class Watching(StrEnum):
    """How closely a Run's reads are watched: noted; noted, and any of them makes it uncacheable; or not."""

    NOTE = "note"
    STRICT = "strict"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Observed:
    """What a Run was seen to touch that is no part of its key, and what of that could not be seen.

    An absence here is never a proof: `blind_spots` says what was out of sight. Each list is sorted and
    cut at `MOST`; `more` counts what was left out, by the name of the list. Paths under the project's
    root are relative to it. `covered` says whether the code that ran was compared with the code in the
    key (None: it could not be); `holes` are the symbols that ran and are not in it.
    """

    MOST: ClassVar[int] = 200

    watching: Watching
    files: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    subprocesses: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    more: Mapping[str, int] = field(default_factory=dict)
    blind_spots: tuple[str, ...] = ()
    covered: bool | None = None
    holes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a Job. `reason` is why it executed (a `cache.Reason`); a reused one has none."""

    uid: UUID
    project: str
    job: str
    state: RunState
    actor: Actor
    started_at: datetime
    finished_at: datetime | None = None
    mode: Mode = Mode.RECORD
    key: str | None = None
    outcome: str | None = None
    origin: UUID | None = None
    parent: UUID | None = None
    retry_of: UUID | None = None
    rerun_of: UUID | None = None
    presumed: bool = False
    params: Mapping[str, digest.Framed] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str | None = None
    capture: Capture = field(default_factory=Capture)
    reason: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing but a correction of a presumption may follow."""
        return self.state is not RunState.RUNNING and not self.presumed

    @property
    def short(self) -> str:
        """A prefix that people can type. The head of a UUIDv7 is its time, shared by neighbours: 18 characters."""
        return str(self.uid)[:18]


def floats(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as they are recorded: a whole number is the float that equals it."""
    return {name: float(value) for name, value in metrics.items()}


@dataclass(frozen=True, slots=True)
class MetricRange:
    """Metrics of that name from `low` to `high`, both included; None is no bound. NaN is in no range."""

    name: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        is_empty = self.low is not None and self.high is not None and not self.low <= self.high
        if not self.name or is_empty or math.isnan(self.low or 0) or math.isnan(self.high or 0):
            raise InvalidInput(
                f"not a range of a metric: {self.name!r} from {self.low} to {self.high}; give a name, and two numbers"
                " of which the first is no greater"
            )

    def holds(self, value: float | None) -> bool:
        """Whether a metric of that name and value is in it; None is no metric."""
        if value is None or math.isnan(value):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A Run with all that it took and made, and what it was seen to touch (None: nothing was said of that)."""

    run: Run
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    observed: Observed | None = None


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable name for a Version over an interval; `until` is None while it stands."""

    artifact: Artifact
    name: str
    version: Version
    since: datetime
    until: datetime | None
    actor: Actor
    reason: str | None = None
    replaced: int | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A Version declared bad over an interval: all its productions, and all that was made of them.

    `until` is None while it stands. A reason is None where it was erased.
    """

    uid: UUID
    version: Version
    since: datetime
    until: datetime | None
    actor: Actor
    reason: str | None
    released_by: Actor | None = None
    released_because: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A Version that must be kept, over an interval; `until` is None while it stands."""

    uid: UUID
    version: Version
    since: datetime
    until: datetime | None
    actor: Actor
    reason: str | None
    released_by: Actor | None = None
    released_because: str | None = None


class Decision(StrEnum):
    """What an Approval says."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Approval:
    """An Actor's recorded decision on a Version."""

    uid: UUID
    version: Version
    at: datetime
    actor: Actor
    decision: Decision
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Version serving at a target of its project over an interval; `until` is None while it does.

    `replaced` is the Version that served there until then; who ended it, and why, is told once it has ended.
    """

    uid: UUID
    version: Version
    target: str
    since: datetime
    until: datetime | None
    actor: Actor
    reason: str | None = None
    replaced: Version | None = None
    ended_by: Actor | None = None
    ended_because: str | None = None


@dataclass(frozen=True, slots=True)
class Taint:
    """A production (what Run `run` made, as `version`) that a standing Quarantine names or reaches."""

    run: UUID
    version: Version
    quarantine: Quarantine


class Outcome(StrEnum):
    """What a finish did to the cache."""

    ENTERED = "entered"
    RENEWED = "renewed"
    SUPERSEDED = "superseded"
    DIVERGED = "diverged"
    REFUSED = "refused"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publish does, and why. `is_divergence`: the same key gave other bytes."""

    outcome: Outcome
    why: str | None = None
    is_divergence: bool = False

    def __str__(self) -> str:
        return self.outcome.value + (f": {self.why}" if self.why else "")


# ── claims ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a CacheKey. `preview` is for people and can be redacted; it is never hashed."""

    name: str
    kind: str
    digest: bytes
    preview: str | None = None
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class InputClaim:
    """What a Run takes, as its client names it. Members of a list share a role and rise in `ordinal`."""

    role: str
    source: Source
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class OutputClaim:
    """What a Run made, as its client names it. Its bytes are in the Blob store before it is said."""

    role: str
    artifact: Artifact
    content: Content
    filename: str | None = None
    format: str | None = None
    location: str | None = None
    metadata: Mapping[str, digest.Framed] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: str | None = None
    derived_from: tuple[Source, ...] | None = None


class Standing(StrEnum):
    """How what was left somewhere stands there now. Where nobody can tell, nothing is said."""

    PRESENT = "present"
    MISSING = "missing"
    ALTERED = "altered"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What somebody just saw of a content at a place outside the store, where a Run left it."""

    digest: digest.Digest
    location: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Call:
    """What a client is about to do: the start of a Run, and all that the cache decision needs.

    `key` is None when the call has none; then `uncacheable` says why, or the mode is `off`.
    `owner` is who would hold the Reservation. `present`, `missing` and `altered` are what the caller
    just saw in the store of the Blobs that an earlier answer asked it to verify, `sightings` what it saw
    of the places: the one says nothing of the other. `presence_age` is how long the
    catalog's own memory of a Blob counts as fresh (None: for ever). `verify_rate` is the share of hits,
    0 to 1, that are executed all the same. `trusted` says what was taken for more than it proves.
    `reason` is why it executes, where the client has decided that; what the catalog decides stands in its place.
    `base` is the key without the arguments that are tracked, where some are: what the same call was found to
    depend on answers it too.
    """

    run: UUID
    project: str
    job: str
    actor: Actor
    mode: Mode = Mode.RECORD
    params: Mapping[str, digest.Framed] = field(default_factory=dict)
    inputs: tuple[InputClaim, ...] = ()
    key: str | None = None
    components: tuple[Component, ...] = ()
    uncacheable: tuple[str, ...] = ()
    parent: UUID | None = None
    retry_of: UUID | None = None
    rerun_of: UUID | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    capture: Capture = field(default_factory=Capture)
    claimed_at: datetime | None = None
    trusted: tuple[str, ...] = ()
    reason: str | None = None
    # What follows steers the decision and is not part of the fact.
    owner: str = ""
    max_age: timedelta | None = None
    presence_age: timedelta | None = None
    verify_rate: float = 0.0
    base: str | None = None
    present: frozenset[digest.Digest] = frozenset()
    missing: frozenset[digest.Digest] = frozenset()
    altered: frozenset[digest.Digest] = frozenset()
    sightings: tuple[Sighting, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """How a Run ended. `uid` names the saying of it, so that saying it twice is one fact.

    `uncacheable` are reasons found while it ran (an input that changed); with any, nothing is published.
    `trace` is what the Run really read of the arguments that are tracked: from then on its key is that
    of the trace, under which it is published.
    `trust` says why outputs that are known by less than their content may be taken for it all the same.
    """

    uid: UUID
    run: UUID
    state: RunState
    actor: Actor
    inputs: tuple[InputClaim, ...] = ()
    outputs: tuple[OutputClaim, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str | None = None
    token: int | None = None
    owner: str = ""
    uncacheable: tuple[str, ...] = ()
    trust: str | None = None
    observed: Observed | None = None
    trace: traces.Trace | None = None
    claimed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Addition:
    """What an attached process adds to a Run that another owns: inputs and outputs as they come."""

    uid: UUID
    run: UUID
    actor: Actor
    inputs: tuple[InputClaim, ...] = ()
    outputs: tuple[OutputClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """Points of metric series of one Run: name → (step, value) in the order they were logged."""

    uid: UUID
    run: UUID
    actor: Actor
    points: Mapping[str, tuple[tuple[int, float], ...]]


@dataclass(frozen=True, slots=True)
class AliasMove:
    """A request to point an alias at a Version.

    `expected` guards against a race: the version number the mover believes it replaces (0: none;
    None: does not care). `since` is when it began to be true, where that was before it is said: not before
    the last move (see `intervals`).
    """

    uid: UUID
    artifact: Artifact
    name: str
    digest: digest.Digest
    actor: Actor
    reason: str | None = None
    expected: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class QuarantineClaim:
    """A request to declare a Version bad; `uid` names the Quarantine too."""

    uid: UUID
    artifact: Artifact
    digest: digest.Digest
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """A request to end the Quarantine or the Hold that `of` names."""

    uid: UUID
    of: UUID
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalClaim:
    """A decision on a Version."""

    uid: UUID
    artifact: Artifact
    digest: digest.Digest
    actor: Actor
    decision: Decision
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class HoldClaim:
    """A request to keep a Version, whatever retention says; `uid` names the Hold too."""

    uid: UUID
    artifact: Artifact
    digest: digest.Digest
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class DeploymentClaim:
    """That a Version serves at a target of its project from now on, in place of what did.

    Without a digest the target serves nothing any more, and the Artifact is that of what served there.
    `since` is when that began, where it was before it is said: not before the last change at the target.
    """

    uid: UUID
    artifact: Artifact
    digest: digest.Digest | None
    target: str
    actor: Actor
    reason: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class LabelClaim:
    """That a Run or a Version has these labels from now on, and no more those that are removed.

    `subject` is a Run's id, or a reference that names one Version for ever: by its number or its digest.
    """

    uid: UUID
    subject: str
    actor: Actor
    set: Mapping[str, str] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()
