"""Plans: what bringing recorded Runs up to date would do, before anything of it is done.

A plan is a value: it can be printed, kept in a file, read back elsewhere, and carried out there. It says of each Run
what would become of it, and what it rests on, so that whoever carries it out can tell that this still stands.

Leaves to others: which step a Run comes to (`planning`), and carrying a plan out (`whence.applying`).
"""

import contextlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, assert_never
from uuid import UUID

from whence_catalog import cache, digest, model
from whence_catalog.errors import InvalidInput

# How many Runs a plan has at most, unless more are asked for.
MOST_RUNS = 200_000


@dataclass(frozen=True, slots=True)
class Replacement:
    """Content in the place of a recorded Version.

    It is a recorded production (`producer` made it), or lies at `path`, to be published when the plan is carried out.
    `named` is the reference that it was stated by: the plan rests on what an alias means, and planning anew asks again.

    Raises:
        InvalidInput: it was stated by the name of another artifact.
    """

    artifact: model.Artifact
    content: model.Content
    producer: UUID | None = None
    path: str | None = None
    named: str | None = None

    def __post_init__(self) -> None:
        if self.named is not None and model.Reference.parse(self.named).artifact != self.artifact:
            raise InvalidInput(f"{self.named} is not {self.artifact}, which is taken")


# The room of the code is that in which it was described: its packages are among what identifies it. What a command
# finds around it is code, too.
_OF_CODE = frozenset(
    {"signature", "environment", "code", "params", "files", "extra", "envvar", "seed", "salt"}
)


@dataclass(frozen=True, slots=True)
class NewCode:
    """Code in the place of that which a job ran: its parts of a key, and how and where it would be run.

    Args:
        without: names of parts that a key had, and has no more.
        uncacheable: why it has no key: then it is run.

    Raises:
        InvalidInput: a part says something else than code: with those of another project it would ask for its keys.
    """

    components: tuple[model.Component, ...]
    capture: model.Capture
    without: tuple[str, ...] = ()
    uncacheable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = [(part.kind, part.name) for part in self.components]
        for kind, name in (*named, *((name.partition("/")[0], name) for name in self.without)):
            if kind not in _OF_CODE:
                raise InvalidInput(f"{name} is no part of a key that says which code runs")

    @property
    def names(self) -> tuple[str, ...]:
        """The parts of a key that it may make others. What has no key has other code, as far as anybody knows."""
        return (
            *(part.name for part in self.components),
            *self.without,
            *(["code"] if self.uncacheable else []),
        )


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be brought up to date, and with what changed.

    Args:
        uid: of the Run that carrying the plan out will be.
        targets: Versions by a reference, and Runs by their ids: they, and all that they came from.
        downstream_of: Versions: all that came of them. With targets too, what lies between.
        inputs: what is taken in the place of a Version (`kind:name@3`), or of every Version of an Artifact
            (`kind:name`).
        params: other values of parameters, for each job.
        code: other code, for each job; of one Run alone, such as a command, by its id (`RerunPlan.steps`: `recipe`).
        meant: of a job that several projects have, the project whose job `params` and `code` are for.
        unavailable: Blobs that were found to be gone or altered.
        vacant: places outside the store at which what was left there was found to be gone or altered.
        as_of: the position up to which Runs are looked at; that of now unless given. What the cache would answer,
            and what aliases mean, is always that of now.
        max_runs: how many Runs at most; what is farther away is taken as it stands, and the plan says so.
    """

    uid: UUID
    targets: tuple[str, ...] = ()
    downstream_of: tuple[str, ...] = ()
    inputs: Mapping[str, Replacement] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, digest.Framed]] = field(default_factory=dict)
    code: Mapping[str, NewCode] = field(default_factory=dict)
    unavailable: frozenset[digest.Digest] = frozenset()
    as_of: int | None = None
    max_runs: int = MOST_RUNS
    meant: Mapping[str, str] = field(default_factory=dict)
    vacant: frozenset[str] = frozenset()

    def has_lost(self, made: "Made") -> bool:
        """Whether an output was found to be gone, or altered, where it lies."""
        return (
            made.content.digest in self.unavailable if made.location is None else made.location in self.vacant
        )

    def params_of(self, project: str, job: str) -> Mapping[str, digest.Framed]:
        """Other values for the job of that project."""
        return self.params.get(job, {}) if self.meant.get(job, project) == project else {}

    def code_of(self, run: UUID, project: str, job: str) -> NewCode | None:
        """Other code for that Run, which ran, or else for the job of that project."""
        of_job = self.code.get(job) if self.meant.get(job, project) == project else None
        return self.code.get(str(run), of_job)


@dataclass(frozen=True, slots=True)
class Made:
    """An output that is there: what Run `run` made under that role. It lies in the store, or else at `location`."""

    role: str
    artifact: model.Artifact
    content: model.Content
    run: UUID
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a Run would take: content that is known, or what the planned Run `step` will make as its `output`.

    `producer` is the Run that made what is known. One that `may_be` was not recorded with the production it was taken
    from: the newest that it can have been stands in.
    """

    role: str
    ordinal: int
    artifact: model.Artifact
    content: model.Content | None = None
    producer: UUID | None = None
    step: UUID | None = None
    output: str | None = None
    may_be: bool = False


@dataclass(frozen=True, slots=True)
class Reuse:
    """Nothing is run: what Run `run` made is what it would make."""

    run: UUID
    why: str
    outputs: tuple[Made, ...] = ()


@dataclass(frozen=True, slots=True)
class Execute:
    """It would be run."""

    why: str


@dataclass(frozen=True, slots=True)
class Conditional:
    """It depends on what the Runs `on` turn out to make. `obstacles` is why it could not then be run."""

    on: tuple[UUID, ...]
    obstacles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blocked:
    """It would have to be run, and cannot be."""

    why: tuple[str, ...]


Step: TypeAlias = Reuse | Execute | Conditional | Blocked


@dataclass(frozen=True, slots=True)
class Expected:
    """What running it may take, by the last `runs` Runs of its job. None: not known."""

    seconds: float | None = None
    size_bytes: int | None = None
    runs: int = 0


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What becomes of one Run.

    `recipe` is the Run whose parameters, code and environment it has: itself, or its origin where it was reused.
    `key` is its new key, where that can be known before anything runs. `changed` are the parts of it that are no
    longer as they were. What may be run has its `components`: those of the key, but for the inputs that are not
    known yet; none where it will have no key. What `stands` has no key, and need not be run if all that it takes
    comes out as it was.
    """

    run: UUID
    recipe: UUID
    project: str
    job: str
    step: Step
    takes: tuple[Taken, ...] = ()
    key: str | None = None
    components: tuple[model.Component, ...] = ()
    changed: tuple[str, ...] = ()
    expected: Expected | None = None
    stands: bool = False


class ReadType(StrEnum):
    """What a plan can rest on."""

    ENTRY = "entry"
    ALIAS = "alias"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Read:
    """One thing that a plan rests on, and what it was: the entry of a key, an alias, the state of a Version.

    `run` is the Run behind an entry.
    """

    type: ReadType
    name: str
    said: str
    run: UUID | None = None


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """What bringing Runs up to date would do, each after those that it takes something from.

    `uid` is of the Run that carrying it out is; `position` is up to which Runs were looked at; `targets` are the Runs
    that the request named. `read` is what it rests on. A plan that is not `complete` says in `reasons` what
    was not known: what it says of the rest stands.
    """

    uid: UUID
    position: int
    request: PlanRequest
    targets: tuple[UUID, ...]
    steps: tuple[PlannedRun, ...]
    read: tuple[Read, ...] = ()
    complete: bool = True
    reasons: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Whether nothing in it is blocked."""
        return not any(isinstance(planned.step, Blocked) for planned in self.steps)

    @property
    def pending(self) -> tuple[PlannedRun, ...]:
        """What is to be run, or may have to be."""
        return tuple(each for each in self.steps if isinstance(each.step, Execute | Conditional))

    @property
    def counts(self) -> Mapping[str, int]:
        """How many Runs come to what: `reuse`, `execute`, `conditional`, `blocked`."""
        found = dict.fromkeys(("reuse", "execute", "conditional", "blocked"), 0)
        for planned in self.steps:
            found[name(planned.step)] += 1
        return found


def name(step: Step) -> str:
    """In a word."""
    match step:
        case Reuse():
            return "reuse"
        case Execute():
            return "execute"
        case Conditional():
            return "conditional"
        case Blocked():
            return "blocked"
        case _:
            assert_never(step)


def total(plan: RerunPlan) -> tuple[Expected, Expected]:
    """What running may take: what is sure to be run, and all that may have to be.

    Seconds of work, one after the other. What is not known is not in it: `runs` counts the steps of which it is.
    """
    sure = [each.expected for each in plan.steps if isinstance(each.step, Execute)]
    every = [each.expected for each in plan.pending]
    return _sum(sure), _sum(every)


def _sum(expected: list[Expected | None]) -> Expected:
    known = [each for each in expected if each is not None and each.seconds is not None]
    if not known:
        return Expected(0.0 if not expected else None, 0 if not expected else None, 0)
    return Expected(
        sum(each.seconds or 0.0 for each in known), sum(each.size_bytes or 0 for each in known), len(known)
    )


def parameter_of(text: str, recorded: Mapping[str, Mapping[str, digest.Framed]]) -> tuple[str, str]:
    """The job, and the name of the parameter of it, that `JOB.NAME` means: there may be dots in both.

    Args:
        recorded: the parameters of a Run of each job. Where none has it, the name is what is behind the last dot.

    Raises:
        InvalidInput: two jobs have such a parameter.
    """
    means = [
        (job, text.removeprefix(f"{job}."))
        for job, had in recorded.items()
        if text.startswith(f"{job}.") and text.removeprefix(f"{job}.") in had
    ]
    if len(means) > 1:
        raise InvalidInput(f"{text} is a parameter of {' and of '.join(sorted(job for job, _ in means))}")
    job, _, name = text.rpartition(".")
    return means[0] if means else (job, name)


def given(
    said: Iterable[tuple[str, str, digest.Framed]], recorded: Mapping[str, Mapping[str, digest.Framed]]
) -> dict[str, dict[str, digest.Framed]]:
    """Other values of parameters for each job, as a request takes them.

    Who writes 1 where 0.5 was recorded means 1.0: the two make different keys.

    Args:
        said: a job, the name of a parameter of it, and a value.
        recorded: the parameters of a Run of each job.

    Raises:
        InvalidInput: there is no such job or parameter, or one is said twice.
    """
    found: dict[str, dict[str, digest.Framed]] = {}
    for job, parameter, value in said:
        if job not in recorded:
            raise InvalidInput(
                f"{job and f'{job}.'}{parameter} names no parameter of a job of this plan; there are the jobs"
                f" {', '.join(sorted(recorded)) or 'none'}"
            )
        had = recorded[job]
        if parameter not in had:
            raise InvalidInput(
                f"{job} has no parameter {parameter}; it has {', '.join(sorted(had)) or 'none'}"
            )
        if parameter in found.setdefault(job, {}):
            raise InvalidInput(f"{job}.{parameter} is given twice; say which value is meant")
        found[job][parameter] = _as(value, had[parameter])
    return found


def _as(value: digest.Framed, had: digest.Framed) -> digest.Framed:
    if type(value) is int and type(had) is float:
        with contextlib.suppress(OverflowError):  # no float is that large
            return float(value)
    return value


def differences(before: RerunPlan, now: RerunPlan, own: AbstractSet[UUID] = frozenset()) -> tuple[str, ...]:
    """What a plan read that is no longer so, a line for each. Entries of the Runs `own`, which it made, are no change,
    as long as nothing is wrong with them.
    """
    read = {(each.type, each.name): each for each in now.read}
    found = []
    for was in before.read:
        there = read.get((was.type, was.name))
        if there is None:
            found.append(f"{was.type} {was.name}: was {was.said}; it is not looked at any more")
        elif there.said != was.said and not (there.run in own and there.said == f"run {there.run}"):
            found.append(f"{was.type} {was.name}: was {was.said}, is {there.said}")
    return tuple(found)


# Why a publish is refused though the key says all that the result depends on.
_OF_THE_MOMENT = frozenset(
    str(model.Publication(model.Outcome.REFUSED, why.value))
    for why in (cache.Reason.LEASE_LOST, *cache.CONDEMNING)
)


def standing_key(key: str | None, outcome: str | None) -> str | None:
    """The key of a Run, where it stands for what the Run depends on: None once a publish under it was refused, since
    something was found that it does not cover.

    Args:
        outcome: what the Run's end did to the cache, in words; None while it runs.
    """
    is_refused = outcome is not None and outcome.startswith(model.Outcome.REFUSED.value)
    return None if is_refused and outcome not in _OF_THE_MOMENT else key
