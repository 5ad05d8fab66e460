"""The cache's rules: what a key is, what a look-up answers, what a publish does, why a key differs.

Decides with facts that it is given, and returns the decision with its reason. Leaves to others: who
holds a lease (`sql.reservations`, on the catalog's clock), whether bytes are there (`blobs`), and what
the components of a step are (`whence.fingerprint`, `whence.parameters`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias, TypeVar, assert_never
from uuid import UUID

from whence_catalog import digest, model, traces
from whence_catalog.errors import InvalidInput

T = TypeVar("T")

KEY_DOMAIN = "whence.key/1"
COMPONENT_DOMAIN = "whence.component/1"

# Kinds of components, closed. The name of a component is its kind, or `kind/…` where there can be several.
KINDS = frozenset(
    {
        "scope",
        "job",
        "signature",
        "code",
        "environment",
        "params",
        "inputs",
        "files",
        "envvar",
        "seed",
        "salt",
        "extra",
        "reads",
    }
)


class Reason(StrEnum):
    """Why a step executes. Closed and append-only."""

    NO_ENTRY = "no entry"
    EXPIRED = "expired"
    OUTPUT_MISSING = "output missing"
    OUTPUT_ALTERED = "output altered"
    REVOKED = "revoked"
    QUARANTINED = "quarantined"
    TAINTED = "tainted"
    REFRESHED = "refreshed"
    UNCACHEABLE = "uncacheable"
    SAMPLED = "sampled"
    WAITED = "waited"
    LEASE_LOST = "lease lost"
    UNREACHABLE = "unreachable"
    # Another Run wrote to the place where an output lay.
    OVERWRITTEN = "overwritten"
    # Asked for, not decided: the step runs in mode `record` or `off`.
    NOT_ASKED = "not asked"


# After these, a publish replaces the live entry instead of diverging from it.
SUPERSEDING = frozenset(
    {Reason.EXPIRED, Reason.OUTPUT_MISSING, Reason.OUTPUT_ALTERED, Reason.REVOKED, Reason.REFRESHED}
    | {Reason.QUARANTINED, Reason.TAINTED, Reason.OVERWRITTEN}
)
# After these even the same bytes replace the entry: what is wrong with it is the Run that it hands out.
CONDEMNING = frozenset({Reason.QUARANTINED, Reason.TAINTED})


_RANDOM = 2**62 - 1

# The modes in which a step looks up, reserves and publishes.
PUBLISHING = frozenset({model.Mode.REUSE, model.Mode.REFRESH})


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A reusable result: the Run whose outputs it hands out, and when they were last known to be right.

    One that was revoked will not do any more, and is looked up until a publish supersedes it.
    """

    key: str
    run: UUID
    created_at: datetime
    validated_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies that was handed on by reference, and how much its digest proves."""

    digest: digest.Digest
    location: str
    strength: model.Strength


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known of what is behind an entry: all that none of these names is known to be there.

    `missing` and `altered` is what is so anywhere that it is to lie. `unknown` has to be looked at in the store, and
    the places `unseen` each by itself. What is `overwritten` lay in a place that changes in time, where another Run
    has written since.
    """

    missing: frozenset[digest.Digest] = frozenset()
    altered: frozenset[digest.Digest] = frozenset()
    unknown: frozenset[digest.Digest] = frozenset()
    unseen: tuple[Place, ...] = ()
    overwritten: frozenset[digest.Digest] = frozenset()


@dataclass(frozen=True, slots=True)
class Reuse:
    """The entry holds: take its outputs. `run` is the Run in state `reused` that was recorded for it."""

    entry: CacheEntry
    run: model.Run | None = None
    outputs: tuple[model.Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Verify:
    """The entry would do, if all this is still there. Nothing was recorded; look, and ask again.

    What is `unknown` is to be in the store; those of it that are in `trees` name whole trees: every Blob of the tree
    has to be there. What is in `places` is to lie in each of these, in no store of ours: only who put it there can
    look.
    """

    entry: CacheEntry
    unknown: frozenset[digest.Digest]
    trees: frozenset[digest.Digest] = frozenset()
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody is computing it."""

    holder: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Execute:
    """Run the step. `token` is the fence of the reservation it holds, None where it holds none."""

    reason: Reason
    digests: frozenset[digest.Digest] = frozenset()
    run: model.Run | None = None
    token: int | None = None
    details: tuple[str, ...] = ()


Answer: TypeAlias = Reuse | Verify | Wait | Execute


def component(
    kind: str,
    value: digest.Framed,
    name: str | None = None,
    preview: str | None = None,
    ignored: bool = False,
) -> model.Component:
    """One part of a key. `name` is the kind unless there can be several (`params/c`).

    An ignored part enters the key with an empty digest, so that ignoring it shows.
    """
    if kind not in KINDS:
        raise ValueError(f"not a component kind: {kind!r}")
    hashed = b"" if ignored else digest.raw_digest_of(COMPONENT_DOMAIN, kind, value)
    return model.Component(name or kind, kind, hashed, preview, ignored)


def key(components: Iterable[model.Component]) -> str:
    """The key of a step: `wk1:` and 64 hexadecimal digits, whatever order the components come in.

    Raises:
        InvalidInput: two components have the same name.
    """
    parts = sorted(components, key=lambda part: part.name)
    if len({part.name for part in parts}) < len(parts):
        raise InvalidInput("two components of a key have the same name")
    rows: list[digest.Framed] = [[part.name, part.kind, part.digest] for part in parts]
    return "wk1:" + digest.digest_of(KEY_DOMAIN, rows).hex


def wants_key(call: model.Call) -> bool:
    """Whether a call looks up, reserves and publishes."""
    return call.key is not None and call.mode in PUBLISHING


def asked_reason(call: model.Call) -> Reason:
    """Why a call executes for which nothing is to be decided.

    Raises:
        InvalidInput: its client says a reason that is none.
    """
    if call.reason is not None:
        try:
            return Reason(call.reason)
        except ValueError as error:
            raise InvalidInput(f"not a reason to execute: {call.reason!r}") from error
    return Reason.UNCACHEABLE if call.mode in PUBLISHING or call.uncacheable else Reason.NOT_ASKED


def is_sampled(run: UUID, rate: float) -> bool:
    """Whether a hit of that Run is one of the share `rate` that is executed and compared.

    The Run's id decides, whose last 62 bits are random: to ask again gives the same answer.
    """
    return (run.int & _RANDOM) / _RANDOM < rate


def base(components: Iterable[model.Component], arguments: Iterable[str]) -> tuple[model.Component, ...]:
    """The components that say nothing of the values of these arguments, which are tracked.

    Files and inputs that stand in them stay: what they hold is no part of the values that are asked about.
    """
    tracked = {f"{kind}/{argument}" for argument in arguments for kind in ("params", "reads")}
    return tuple(part for part in components if part.name not in tracked)


def traced(components: Iterable[model.Component], trace: traces.Trace) -> tuple[model.Component, ...]:
    """The components of what a trace says: those of its base, and what was read of each tracked argument."""
    reads = [
        component("reads", traces.reads(trace.observations, argument), f"reads/{argument}")
        for argument in trace.arguments
    ]
    return (*base(components, trace.arguments), *reads)


def shown(components: Iterable[model.Component], trace: traces.Trace) -> tuple[model.Component, ...]:
    """The components with what was read shown as its questions."""
    names = {f"reads/{argument}": argument for argument in trace.arguments}
    return tuple(
        replace(part, preview=traces.shown(trace.observations, names[part.name]))
        if part.name in names
        else part
        for part in components
    )


def trace_of(
    components: Iterable[model.Component],
    arguments: Sequence[str],
    observations: Sequence[traces.Observation],
) -> traces.Trace:
    """The trace of a Run with these components, whose tracked arguments were asked so."""
    below = base(components, arguments)
    unnamed = traces.Trace(key(below), "", tuple(arguments), tuple(observations))
    return replace(unnamed, key=key(traced(below, unnamed)))


def refuse_other_trace(components: Sequence[model.Component], run: model.Run, trace: traces.Trace) -> None:
    """Nothing, if a trace is one of a Run that began with these components.

    Raises:
        InvalidInput: it is not: it would be published where it does not belong.
    """
    if run.key is None or len(trace.observations) > traces.MOST_OBSERVATIONS:
        raise InvalidInput(
            f"a trace is of a run that has a key, and has at most {traces.MOST_OBSERVATIONS} observations"
        )
    if trace_of(components, trace.arguments, trace.observations) != trace:
        raise InvalidInput("the keys of a trace are not those of its run's components and of what was read")


def decide(
    entry: CacheEntry | None,
    presence: Presence,
    now: datetime,
    max_age: timedelta | None,
    sampled: bool = False,
    condemned: Reason | None = None,
) -> Reuse | Verify | Execute:
    """What a look-up in mode `reuse` answers, before anyone asks for the reservation.

    A hit that is `sampled` executes, and what it makes is compared with what the entry has. `condemned` is
    QUARANTINED or TAINTED where an output of the entry's Run is.
    """
    if entry is None:
        return Execute(Reason.NO_ENTRY)
    if condemned is not None:
        return Execute(condemned)
    if entry.revoked_at is not None:
        return Execute(Reason.REVOKED)
    if max_age is not None and now - entry.validated_at >= max_age:
        return Execute(Reason.EXPIRED)
    if presence.overwritten:
        return Execute(Reason.OVERWRITTEN, presence.overwritten)
    # A hit whose bytes are gone is a miss: the next step would fail far from the cause.
    if presence.missing:
        return Execute(Reason.OUTPUT_MISSING, presence.missing)
    if presence.altered:
        return Execute(Reason.OUTPUT_ALTERED, presence.altered)
    if sampled:
        return Execute(Reason.SAMPLED)
    if presence.unknown or presence.unseen:
        return Verify(entry, presence.unknown, places=presence.unseen)
    return Reuse(entry)


def is_handed_on(claim: model.OutputClaim) -> bool:
    """Whether an output lies where its Run found it: it says that it comes from the same content of that Artifact."""
    return any(
        (source.artifact, source.digest) == (claim.artifact, claim.content.digest)
        for source in claim.derived_from or ()
    )


def results(
    made: Mapping[str, digest.Digest], outputs: Iterable[model.Output | model.OutputClaim]
) -> Mapping[str, digest.Digest]:
    """Of what was `made`, by role, what is a result: not what `outputs` say is kept beside one."""
    aside = {output.role for output in outputs if model.ASIDE in output.metadata}
    return {role: named for role, named in made.items() if role not in aside} if aside else made


def placed(outputs: Iterable[model.Output | model.OutputClaim]) -> frozenset[str]:
    """The roles of those outputs that are known by the word of the place where they lie alone."""
    return frozenset(
        output.role
        for output in outputs
        if output.location is not None and _content(output).strength is not model.Strength.CONTENT
    )


def _content(output: model.Output | model.OutputClaim) -> model.Content:
    return output.content if isinstance(output, model.OutputClaim) else output.version.content


def presence(stored: Mapping[digest.Digest, bool], places: Sequence[Place], call: model.Call) -> Presence:
    """What is known of an entry's outputs, after what the caller saw of everywhere that they are to lie.

    The same content may be in the store and at several places. Each of these is seen by itself, and the worst that
    was said of it counts; what was seen of one says nothing of another.

    Args:
        stored: those that are to be in the store, and of each whether it is believed to be there, unasked.
        places: where others, or the same, are to lie: believed of nobody who does not look.
    """
    missing, altered = stored.keys() & call.missing, stored.keys() & call.altered
    said = call.present | call.missing | call.altered
    unknown = frozenset(
        [named for named, is_believed in stored.items() if not is_believed and named not in said]
    )
    if not places:
        return Presence(frozenset(missing), frozenset(altered), unknown)
    sightings: dict[tuple[digest.Digest, str], set[model.Standing]] = {}
    for sighting in call.sightings:
        sightings.setdefault((sighting.digest, sighting.location), set()).add(sighting.standing)
    unseen: list[Place] = []
    for place in places:
        match worst(sightings.get((place.digest, place.location), ())):
            case None:
                unseen.append(place)
            case model.Standing.MISSING:
                missing.add(place.digest)
            case model.Standing.ALTERED:
                altered.add(place.digest)
            case model.Standing.PRESENT:
                pass
            case never:
                assert_never(never)
    return Presence(frozenset(missing), frozenset(altered), unknown, tuple(unseen))


_FROM_THE_WORST = (model.Standing.MISSING, model.Standing.ALTERED, model.Standing.PRESENT)


def worst(said: Collection[model.Standing]) -> model.Standing | None:
    """What counts of all that was said of one content in one place; None, if nothing was."""
    return next((standing for standing in _FROM_THE_WORST if standing in said), None)


def overwritten(places: Iterable[Place], latest: Mapping[str, digest.Digest]) -> frozenset[digest.Digest]:
    """Those of an entry's outputs in one of whose places a later Run left something else.

    Args:
        latest: what the last Run that wrote to each place left there, as far as that is known.
    """
    return frozenset(
        place.digest for place in places if latest.get(place.location, place.digest) != place.digest
    )


def publish(
    live: Mapping[str, digest.Digest] | None,
    made: Mapping[str, digest.Digest],
    reason: Reason,
    places: frozenset[str] = frozenset(),
) -> model.Publication:
    """What publishing outputs (role → digest) does, beside the live entry's outputs if there is one.

    `places` are the roles of what is known by a place's word alone. That is another each time the place is
    written: it says nothing of the bytes, and the entry whose place this Run wrote over holds no longer.

    A live entry is never displaced by other bytes, unless the step ran because that entry would not do. One
    that was condemned or revoked is superseded even by the same bytes: they were made again.
    """
    if live is None:
        return model.Publication(model.Outcome.ENTERED)
    if live == made:
        if reason in CONDEMNING or reason is Reason.REVOKED:
            return model.Publication(model.Outcome.SUPERSEDED, f"{reason}; the same bytes")
        return model.Publication(model.Outcome.RENEWED)
    others = {role for role in live.keys() | made.keys() if live.get(role) != made.get(role)}
    differing = ", ".join(sorted(others))
    if others <= places & live.keys():
        return model.Publication(model.Outcome.SUPERSEDED, f"{reason}; {differing} was written again")
    if reason in SUPERSEDING:
        return model.Publication(
            model.Outcome.SUPERSEDED, f"{reason}; other bytes for {differing}", is_divergence=True
        )
    return model.Publication(model.Outcome.DIVERGED, f"other bytes for {differing}", is_divergence=True)


def reason_to_publish(run: model.Run, report: model.Report, told: Reason) -> Reason:
    """Why a step ran, for the entry of the key under which it is published.

    What was wrong with the entry of the key under which it began says nothing of another key's.
    """
    is_other = report.trace is not None and report.trace.key != run.key
    return Reason.NO_ENTRY if is_other and told is not Reason.REFRESHED else told


def settle(
    run: model.Run,
    report: model.Report,
    live: Mapping[str, digest.Digest] | None,
    made: Mapping[str, digest.Digest],
    fenced: Reason | None,
    condemned: Reason | None = None,
    places: frozenset[str] = frozenset(),
) -> model.Publication:
    """What a finish does to the cache: nothing, unless the Run holds its lease and all that it made is sound.

    Args:
        live: the outputs of the live entry of its key, by role, if there is one.
        made: all outputs of the Run, by role.
        fenced: why the step ran, if it still holds a live lease under the token it reports; else None.
        condemned: QUARANTINED if a Version that it took or made is, TAINTED if an input of it is; else None.
        places: the roles of what is known by a place's word alone; see `publish`.
    """
    if run.key is None or run.mode not in PUBLISHING or report.state is not model.RunState.COMPLETE:
        return model.Publication(model.Outcome.NONE)
    diverges = live is not None and any(
        live.get(role) != made.get(role) for role in (live.keys() | made.keys()) - places
    )
    if condemned is not None:
        # Whoever reused it would get what nobody may use, for as long as that stands.
        return model.Publication(model.Outcome.REFUSED, condemned.value, diverges)
    reasons = (*report.uncacheable, *_weaknesses(report))
    if reasons:
        return model.Publication(model.Outcome.REFUSED, "; ".join(reasons))
    if fenced is None:
        # A stale fence publishes nothing, but what it made is still evidence about the key.
        return model.Publication(model.Outcome.REFUSED, "lease lost", diverges)
    return publish(live, made, fenced, places)


def _weaknesses(report: model.Report) -> Iterator[str]:
    """Why outputs that are known by less than their content cannot stand for it."""
    for claim in report.outputs:
        strength = claim.content.strength
        if strength is model.Strength.NONE:
            # It says only which Run made it, so that nobody could ever tell whether it is still the same.
            yield f"output {claim.role} has no identity of its own"
        elif strength is not model.Strength.CONTENT and report.trust is None:
            yield f"output {claim.role} is not identified by its content"


# ── explaining ───────────────────────────────────────────────────────────────────────────────────


class Change(StrEnum):
    """How a component compares with its namesake in another key."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class ComponentVerdict:
    """One component beside its namesake. Previews are None where there is none, or it was redacted."""

    name: str
    change: Change
    before: str | None
    after: str | None
    made_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """Where upstream an input began to differ: the first Run whose own key differs otherwise than by its inputs.

    `run` made what the call took, at the end of `through` (the Runs in between, the nearest first), and
    `against` is its like behind the other key; None where there is none, or it may not be seen. `verdicts` are the
    parts in which their keys differ. `note` says what ended the search, where it was something else.
    """

    role: str
    run: UUID | None
    against: UUID | None
    job: str | None
    through: tuple[UUID, ...] = ()
    verdicts: tuple[ComponentVerdict, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a key is what it is: every component beside the nearest earlier key of the same job and scope.

    Of a Run, of the one behind a key, or of a call that was not made yet: then `run` is None. `reason` is why the
    Run executed.
    `answer` is what the cache would answer now, to a key or a call. `causes` say for each input that differs
    where that began. The nearest was sought among the last `looked_at` earlier keys of the job; `is_nearest_of_all`
    says whether there are no more.
    """

    run: UUID | None
    key: str | None
    against: UUID | None
    verdicts: tuple[ComponentVerdict, ...]
    note: str | None = None
    job: str | None = None
    reason: str | None = None
    answer: Answer | None = None
    causes: tuple[Cause, ...] = ()
    looked_at: int = 0
    is_nearest_of_all: bool = True

    @property
    def changes(self) -> tuple[ComponentVerdict, ...]:
        """The components that differ."""
        return changed(self.verdicts)


def changed(verdicts: Iterable[ComponentVerdict]) -> tuple[ComponentVerdict, ...]:
    """Those that differ."""
    return tuple(v for v in verdicts if v.change not in (Change.SAME, Change.IGNORED))


def compare_components(
    before: Sequence[model.Component], after: Sequence[model.Component]
) -> tuple[ComponentVerdict, ...]:
    """Every component's verdict, by name."""
    old = {part.name: part for part in before}
    new = {part.name: part for part in after}
    return tuple(_verdict(name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys()))


def _verdict(name: str, old: model.Component | None, new: model.Component | None) -> ComponentVerdict:
    if new is None:
        return ComponentVerdict(name, Change.REMOVED, None if old is None else old.preview, None)
    if old is None:
        return ComponentVerdict(name, Change.ADDED, None, new.preview)
    if old.ignored and new.ignored:
        change = Change.IGNORED
    else:
        change = Change.SAME if old.digest == new.digest else Change.CHANGED
    return ComponentVerdict(name, change, old.preview, new.preview)


def nearest(
    components: Sequence[model.Component], earlier: Mapping[UUID, Sequence[model.Component]]
) -> UUID | None:
    """The Run whose key differs in the fewest components; among equals, the first given (the newest).

    Keys of another scope are no neighbours: nothing is reused across.
    """
    mine = {(part.name, part.digest) for part in components}
    scope = _scope(components)
    distances = {
        run: len(mine ^ {(part.name, part.digest) for part in parts})
        for run, parts in earlier.items()
        if _scope(parts) == scope
    }
    return min(distances, key=distances.__getitem__, default=None)


def _scope(components: Iterable[model.Component]) -> bytes | None:
    return next((part.digest for part in components if part.kind == "scope"), None)


@dataclass(frozen=True, slots=True)
class Taker:
    """A Run, or a call, as far as it explains another: the parts of its key, and what it took.

    `took` holds for each role the content and the producer of its members, in their order.
    """

    run: UUID | None
    job: str
    key: str | None
    components: tuple[model.Component, ...]
    took: Mapping[str, tuple[tuple[digest.Digest, UUID | None], ...]]


# How many pairs of Runs are compared on the way upstream, for each input.
MOST_COMPARED = 50


def cause(role: str, before: Taker, after: Taker, known: Callable[[UUID], Taker]) -> Cause:
    """Where the input `role`, which differs between the two, began to differ.

    The Runs that made the two are compared, and where they differ by inputs alone those that made these, and so
    on: the nearest first, and no more than `MOST_COMPARED` pairs.

    Args:
        known: the Run of that id, which made something that one of those met so far took.
    """
    waiting: list[tuple[str, Taker, Taker, tuple[UUID, ...]]] = [(role, before, after, ())]
    seen: set[tuple[UUID, UUID]] = set()
    ended: Cause | None = None
    for name, old, new, through in _growing(waiting):
        pair = _first_parting(old.took.get(name, ()), new.took.get(name, ()))
        if isinstance(pair, str):
            ended = ended or Cause(role, None, None, None, through, note=pair)
            continue
        if pair in seen:
            continue
        if len(seen) == MOST_COMPARED:
            return ended or Cause(
                role,
                None,
                None,
                None,
                through,
                note=f"not found among the first {MOST_COMPARED} pairs of runs",
            )
        seen.add(pair)
        one, other = known(pair[0]), known(pair[1])
        found = changed(compare_components(one.components, other.components))
        own = tuple(verdict for verdict in found if not _is_input(verdict.name))
        note = _end(one, other, own, found)
        if own or note is not None:
            return Cause(role, other.run, one.run, other.job, through, own, note)
        waiting += [
            (verdict.name.removeprefix(_INPUTS), one, other, (*through, pair[1])) for verdict in found
        ]
    return ended or Cause(role, None, None, None, note="nothing upstream says what began it")


_INPUTS = "inputs/"


def _growing(waiting: list[T]) -> Iterator[T]:
    """Each that waits, with those that come to wait meanwhile."""
    place = 0
    while place < len(waiting):
        yield waiting[place]
        place += 1


def _is_input(name: str) -> bool:
    return name.startswith(_INPUTS)


def _end(
    one: Taker, other: Taker, own: Sequence[ComponentVerdict], found: Sequence[ComponentVerdict]
) -> str | None:
    """What ends the search at these two, where it is not a part of their keys."""
    if one.key is None or other.key is None:
        return "it has no key, which would say what it depends on"
    if not found:
        return "the same key gave other bytes"
    if one.job != other.job and not own:
        return f"before, {one.job} made it"
    return None


def _first_parting(
    old: Sequence[tuple[digest.Digest, UUID | None]], new: Sequence[tuple[digest.Digest, UUID | None]]
) -> tuple[UUID, UUID] | str:
    """The producers of the first two members that differ; or why there are no two to compare."""
    for (content, producer), (other, made_by) in zip(old, new, strict=False):
        if content == other:
            continue
        if producer is None or made_by is None:
            return "it was not said which run made it"
        return "one run made both" if producer == made_by else (producer, made_by)
    return "it has another number of members" if len(old) != len(new) else "the order of its members differs"
