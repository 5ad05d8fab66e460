"""What the cache holds, what it saved, where it diverged, and what of it may go.

Decides which entries an eviction takes, and in which order; leaves to others what pins an entry and when it
was last used (`sql.inventory`), and what a look-up makes of an entry (`cache`). To evict is to forget that
a result may be reused: Versions, Runs and bytes stay.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from whence_catalog import cache, model
from whence_catalog.errors import InvalidInput

# How many entries one eviction takes at most: its fact names them all.
MOST_EVICTED = 10_000
# How many that were kept against the limits are named at most; the rest is counted.
MOST_NAMED = 100


class EntryState(StrEnum):
    """Where a cache entry stands."""

    LIVE = "live"
    # It was declared wrong; look-ups answer so, until a publish supersedes it.
    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    # It made room.
    EVICTED = "evicted"


@dataclass(frozen=True, slots=True)
class Entry:
    """A cache entry, with what became of it and what it was good for.

    `run` is the Run whose outputs it hands out; `seconds` is how long that ran, `size_bytes` what it made (of
    an output whose size is not known: nothing). `until` is when it was superseded, revoked or evicted; who
    revoked or evicted it is `by`, and `because` what they said. `hits` are the Runs that reused it. `condemned`
    is QUARANTINED or TAINTED while one of its outputs is: then no look-up hands it out, though it be live.
    """

    key: str
    project: str
    job: str
    run: UUID
    state: EntryState
    created_at: datetime
    validated_at: datetime
    until: datetime | None
    by: model.Actor | None
    because: str | None
    condemned: cache.Reason | None
    hits: int
    last_used_at: datetime | None
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Difference:
    """An output that the two Runs of a Divergence made differently; None where one of them made none."""

    role: str
    before: model.Version | None
    after: model.Version | None


@dataclass(frozen=True, slots=True)
class Divergence:
    """The same key gave other bytes: `run` made others than `against`, the Run of the entry then."""

    key: str
    project: str
    job: str
    run: UUID
    against: UUID
    cause: str
    at: datetime
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who computes a key now, why, and until when they hold it unless they say more."""

    owner: str
    run: UUID
    reason: cache.Reason
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """All that is known of one key.

    `history` are its entries, the newest first. Of long lists the newest are here, and `more` counts what
    was left out, by the name of the list.
    """

    key: str
    project: str
    job: str
    components: tuple[model.Component, ...]
    history: tuple[Entry, ...]
    divergences: tuple[Divergence, ...]
    holder: Holder | None
    more: Mapping[str, int] = field(default_factory=dict)

    @property
    def entry(self) -> Entry | None:
        """What a look-up finds."""
        found = self.history[0] if self.history else None
        is_there = found is not None and found.state in (EntryState.LIVE, EntryState.REVOKED)
        return found if is_there else None


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """What the cache did for one job, in a span of time.

    `entries` are those that are live now, with the revoked. A hit saved what its origin took and made:
    `seconds` and `size_bytes` are of all hits together. `misses` are the Runs that executed, by reason. `unsized`
    are hits whose origin made an output of unknown size.
    """

    project: str
    job: str
    entries: int
    hits: int
    seconds: float
    size_bytes: int
    unsized: int
    misses: Mapping[str, int]
    divergences: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the cache did, by job: who saved most stands first."""

    since: datetime | None
    until: datetime
    jobs: tuple[JobStatistics, ...]

    @property
    def total(self) -> JobStatistics:
        """All jobs together."""
        misses: Counter[str] = Counter()
        for job in self.jobs:
            misses.update(job.misses)
        return JobStatistics(
            project="",
            job="",
            entries=sum(job.entries for job in self.jobs),
            hits=sum(job.hits for job in self.jobs),
            seconds=sum(job.seconds for job in self.jobs),
            size_bytes=sum(job.size_bytes for job in self.jobs),
            unsized=sum(job.unsized for job in self.jobs),
            misses=dict(sorted(misses.items())),
            divergences=sum(job.divergences for job in self.jobs),
        )


# ── claims ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Revocation:
    """A request to let nobody reuse the results of these keys of a project any more, until they are made again."""

    uid: UUID
    project: str
    keys: tuple[str, ...]
    actor: model.Actor
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cache is to keep to. None: without end.

    Args:
        unused_for: an entry that was neither entered, renewed nor reused for so long goes.
        older_than: an entry that was entered or renewed longer ago goes, however often it was reused.
        entries: how many may stay.
        size_bytes: how many bytes of outputs may stay; a content that several entries hand out counts once.
    """

    unused_for: timedelta | None = None
    older_than: timedelta | None = None
    entries: int | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        times = [limit for limit in (self.unused_for, self.older_than) if limit is not None]
        amounts = [limit for limit in (self.entries, self.size_bytes) if limit is not None]
        if not times and not amounts:
            raise InvalidInput(
                "no limit is given: say how old (`--older 90d`), how long unused (`--unused 30d`), how many"
                " (`--max-entries`) or how large (`--max-size`)"
            )
        if any(limit < timedelta(0) for limit in times) or any(limit < 0 for limit in amounts):
            raise InvalidInput("a limit is negative")

    @property
    def said(self) -> Mapping[str, int | None]:
        """As a fact says them: times in microseconds."""
        return {
            "unused_for": _micros(self.unused_for),
            "older_than": _micros(self.older_than),
            "entries": self.entries,
            "size": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class Eviction:
    """A request to forget entries of a project, or of one job of it, that go beyond these limits."""

    uid: UUID
    project: str
    limits: Limits
    actor: model.Actor
    job: str | None = None
    reason: str | None = None


def _micros(lasting: timedelta | None) -> int | None:
    return None if lasting is None else lasting // timedelta(microseconds=1)


# ── eviction ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pin:
    """What needs an entry's output (`alias prod`), and the Artifact that it is of."""

    what: str
    artifact: model.Artifact | None

    def __str__(self) -> str:
        return self.what if self.artifact is None else f"{self.what} of {self.artifact}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that might go.

    `used_at` is when it was last entered, renewed or reused. `contents` are the bytes that it hands out, by
    digest, with their size. `pins` says what needs it; with any, it stays.
    """

    key: str
    validated_at: datetime
    used_at: datetime
    contents: Mapping[bytes, int] = field(default_factory=dict)
    pins: tuple[Pin, ...] = ()


@dataclass(frozen=True, slots=True)
class Gone:
    """An entry that an eviction takes, and the limit that it is beyond."""

    key: str
    because: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry that a limit would take, and what needs it."""

    key: str
    because: str
    pins: tuple[Pin, ...]


@dataclass(frozen=True, slots=True)
class Evicted:
    """What an eviction takes and what it must keep; `entries` and `size_bytes` are what stays.

    `is_enough` says whether the limits hold then. Where they do not, everything left is needed, or one
    eviction does not take so many at once: `more` counts these. `kept` names but `MOST_NAMED` of `kept_in_all`.
    """

    gone: tuple[Gone, ...]
    kept: tuple[Kept, ...]
    kept_in_all: int
    entries: int
    size_bytes: int
    is_enough: bool
    more: int = 0


def evict(candidates: Iterable[Candidate], limits: Limits, now: datetime) -> Evicted:
    """What goes of these entries so that the limits hold.

    First all that is too old, or was not used for too long; then, while there are too many or they are too
    large, the one that was used least recently. What is needed stays, and counts. A content that several
    entries hand out counts once, and is gone when the last of them is.
    """
    waiting = sorted(candidates, key=lambda one: (one.used_at, one.validated_at, one.key))
    holders = Counter(content for one in waiting for content in one.contents)
    sizes = {content: size for one in waiting for content, size in one.contents.items()}
    entries, size_bytes = len(waiting), sum(sizes.values())
    gone: list[Gone] = []
    kept: list[Kept] = []

    def take(one: Candidate, because: str) -> None:
        nonlocal entries, size_bytes
        gone.append(Gone(one.key, because))
        entries -= 1
        for content in one.contents:
            holders[content] -= 1
            size_bytes -= sizes[content] if not holders[content] else 0

    staying: list[Candidate] = []
    for one in waiting:
        because = _outlived(one, limits, now)
        if because is None:
            staying.append(one)
        elif one.pins:
            kept.append(Kept(one.key, because, one.pins))
        else:
            take(one, because)
    for one in staying:
        because = _beyond(entries, size_bytes, limits)
        if because is None:
            break
        if one.pins:
            kept.append(Kept(one.key, because, one.pins))
        else:
            take(one, because)
    is_enough = _beyond(entries, size_bytes, limits) is None and len(gone) <= MOST_EVICTED
    more = max(0, len(gone) - MOST_EVICTED)
    return Evicted(
        tuple(gone[:MOST_EVICTED]),
        tuple(kept[:MOST_NAMED]),
        len(kept),
        entries + more,
        size_bytes,
        is_enough and not any(_outlived(one, limits, now) for one in waiting if one.pins),
        more,
    )


def _outlived(one: Candidate, limits: Limits, now: datetime) -> str | None:
    if limits.older_than is not None and now - one.validated_at >= limits.older_than:
        return f"entered or renewed {_age(now - one.validated_at)} ago"
    if limits.unused_for is not None and now - one.used_at >= limits.unused_for:
        return f"not used for {_age(now - one.used_at)}"
    return None


def _beyond(entries: int, size_bytes: int, limits: Limits) -> str | None:
    if limits.entries is not None and entries > limits.entries:
        return f"used least recently of more than {limits.entries:,} entries"
    if limits.size_bytes is not None and size_bytes > limits.size_bytes:
        return f"used least recently of more than {limits.size_bytes:,} bytes"
    return None


def _age(lasting: timedelta) -> str:
    seconds = int(lasting.total_seconds())
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def statistics(jobs: Sequence[JobStatistics], since: datetime | None, until: datetime) -> Statistics:
    """What the cache did, who saved most first."""
    ordered = sorted(jobs, key=lambda job: (-job.seconds, -job.hits, job.project, job.job))
    return Statistics(since, until, tuple(ordered))
