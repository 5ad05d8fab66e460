"""What is different between two Runs, or between two Versions as they were made: part by part.

Each part is the same, changed, or unknown: what was not recorded, or is known by less than its content, is never said
to be the same. Leaves to others: whose records are compared (`sql.difference`), and what lies in the Blob store, which
only a client reads: the lines of source, the packages of an environment, the files of a tree.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from whence_catalog import cache, digest, lineage, model
from whence_catalog.cache import Change, ComponentVerdict

K = TypeVar("K")
V = TypeVar("V")

_CODE = "code"


class Verdict(StrEnum):
    """What is known of a part: that it is the same, that it is not, or neither."""

    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class InputChange:
    """An Input beside the one in the same role and place; None where there is none.

    The change is of its content, whatever it is called; one that is known by less may be neither: UNKNOWN.
    """

    role: str
    ordinal: int
    verdict: Verdict
    before: model.Version | None
    after: model.Version | None


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A parameter beside its namesake; which is there is said by `change`, since any value may be None."""

    name: str
    change: Change
    before: digest.Framed
    after: digest.Framed


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric beside its namesake: of the Run, or of the output `of`. `delta` is after − before, where both are finite."""

    name: str
    of: str | None
    change: Change
    before: float | None
    after: float | None
    delta: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of one part; `note` says why no more is. `counts` are of its items by verdict or change."""

    verdict: Verdict
    note: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobName:
    """A job, by its project and its name."""

    project: str
    name: str


@dataclass(frozen=True, slots=True)
class Only:
    """What is upstream of one side alone: how many Runs, Versions and jobs, and some of each, the nearest first.

    A job is of one side alone if no Run of it is upstream of the other.
    """

    runs: int
    versions: int
    jobs: int
    nodes: tuple[lineage.Node, ...]
    job_names: tuple[JobName, ...]


@dataclass(frozen=True, slots=True)
class Upstream:
    """What both came from, and what only one of them did. No side is counted as upstream of itself."""

    part: Part
    shared_runs: int
    shared_versions: int
    left: Only
    right: Only
    completeness: lineage.Completeness


@dataclass(frozen=True, slots=True)
class Compared:
    """One side: the Run, and the Version and its production where Versions are compared.

    `executed` is the Run itself, or its origin where it was reused: what code and environment are of.
    """

    run: model.Run
    executed: model.Run
    version: model.Version | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two Runs, or two Versions, beside one another: what changed from `left` to `right`.

    Lists hold what changed before what did not, and at most as many as were asked for; the counts of their
    parts are of all. `content` is None where Runs are compared; `components` are compared where both have a key.
    """

    left: Compared
    right: Compared
    content: Part | None
    job: Part
    data: Part
    inputs: tuple[InputChange, ...]
    code: Part
    components: tuple[ComponentVerdict, ...]
    params: Part
    param_changes: tuple[ValueChange, ...]
    environment: Part
    metrics: Part
    metric_changes: tuple[MetricChange, ...]
    upstream: Upstream
    masked: int = 0

    @property
    def parts(self) -> Mapping[str, Part]:
        """Every part by its name."""
        named = {
            "job": self.job,
            "data": self.data,
            "code": self.code,
            "params": self.params,
            "environment": self.environment,
            "metrics": self.metrics,
            "upstream": self.upstream.part,
        }
        return named if self.content is None else {"content": self.content, **named}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is recorded of one side. `components` are those of the key of the Run that executed."""

    compared: Compared
    inputs: Sequence[model.Input]
    outputs: Sequence[model.Output]
    components: Sequence[model.Component]


def compare(left: Evidence, right: Evidence, upstream: Upstream, first: int) -> Difference:
    """What changed from `left` to `right`; each list has at most `first` items."""
    inputs = _inputs(left.inputs, right.inputs)
    params = _values(left.compared.run.params, right.compared.run.params)
    metrics = _metrics(left, right)
    both_keyed = bool(left.components) and bool(right.components)
    # Beside a Run without a key every part would seem to differ.
    components = cache.compare_components(left.components, right.components) if both_keyed else ()
    return Difference(
        left=left.compared,
        right=right.compared,
        content=_content(left.compared.version, right.compared.version),
        job=_job(left.compared.run, right.compared.run),
        data=_listed([item.verdict for item in inputs], "inputs", both_keyed),
        inputs=_shown(inputs, lambda item: item.verdict is not Verdict.SAME, first),
        code=_code(left, right),
        components=_shown(components, lambda item: item in cache.changed([item]), first),
        params=_changes([item.change for item in params], "params", both_keyed),
        param_changes=_shown(params, lambda item: item.change is not Change.SAME, first),
        environment=_environment(left.compared.executed.capture, right.compared.executed.capture),
        metrics=_changes([item.change for item in metrics], "metrics", False),
        metric_changes=_shown(metrics, lambda item: item.change is not Change.SAME, first),
        upstream=upstream,
    )


def upstream_part(differing: int, whole: lineage.Completeness) -> Part:
    """What is known of what is upstream of both, where so many nodes are of one side alone."""
    if differing:
        return Part(Verdict.CHANGED)
    if whole.ambiguous or whole.unknown_producers:
        return Part(Verdict.UNKNOWN, "where some of it came from is not known for sure")
    return Part(Verdict.SAME)


def _shown(items: Sequence[V], differs: Callable[[V], bool], first: int) -> tuple[V, ...]:
    return tuple(sorted(items, key=lambda item: not differs(item))[:first])


def _listed(verdicts: Sequence[Verdict], what: str, may_be_none: bool) -> Part:
    """The part whose items are these; where there are none, `may_be_none` says whether that is known to be so."""
    counts = dict(sorted(Counter(verdicts).items()))
    if not verdicts:
        return Part(Verdict.SAME) if may_be_none else Part(Verdict.UNKNOWN, f"neither recorded any {what}")
    for found in (Verdict.CHANGED, Verdict.UNKNOWN):
        if found in counts:
            return Part(found, counts=_texts(counts))
    return Part(Verdict.SAME, counts=_texts(counts))


def _changes(changes: Sequence[Change], what: str, may_be_none: bool) -> Part:
    verdicts = [Verdict.SAME if change is Change.SAME else Verdict.CHANGED for change in changes]
    part = _listed(verdicts, what, may_be_none)
    return Part(part.verdict, part.note, _texts(dict(sorted(Counter(changes).items()))))


def _texts(counts: Mapping[K, int]) -> Mapping[str, int]:
    return {str(name): count for name, count in counts.items()}


def _content(left: model.Version | None, right: model.Version | None) -> Part | None:
    if left is None or right is None:
        return None
    verdict = _contents(left.content, right.content)
    weak = "the identity of one of them does not tell its bytes"
    return Part(verdict, weak if verdict is Verdict.UNKNOWN else None)


# These say too little of the bytes for equal ones to be the same, and different ones another content.
_WEAK = (model.Strength.WEAK, model.Strength.NONE)


def _contents(left: model.Content, right: model.Content) -> Verdict:
    if left.strength in _WEAK or right.strength in _WEAK or left.strength is not right.strength:
        return Verdict.UNKNOWN
    if left.digest == right.digest:
        return Verdict.SAME
    # Another provider's word may name the same bytes.
    return Verdict.CHANGED if left.strength is model.Strength.CONTENT else Verdict.UNKNOWN


def _job(left: model.Run, right: model.Run) -> Part:
    same = (left.project, left.job) == (right.project, right.job)
    return Part(Verdict.SAME if same else Verdict.CHANGED)


def _inputs(left: Iterable[model.Input], right: Iterable[model.Input]) -> list[InputChange]:
    before = {(taken.role, taken.ordinal): taken.version for taken in left}
    after = {(taken.role, taken.ordinal): taken.version for taken in right}
    return [
        InputChange(*place, _taken(before.get(place), after.get(place)), before.get(place), after.get(place))
        for place in sorted(before.keys() | after.keys())
    ]


def _taken(before: model.Version | None, after: model.Version | None) -> Verdict:
    if before is None or after is None:
        return Verdict.CHANGED
    return _contents(before.content, after.content)


def _values(left: Mapping[str, digest.Framed], right: Mapping[str, digest.Framed]) -> list[ValueChange]:
    # Typed, as everything hashed: 1, 1.0 and True are three values.
    return [
        ValueChange(name, _change(left, right, name, digest.frame), left.get(name), right.get(name))
        for name in sorted(left.keys() | right.keys())
    ]


def _change(left: Mapping[K, V], right: Mapping[K, V], name: K, identity: Callable[[V], object]) -> Change:
    if name not in left:
        return Change.ADDED
    if name not in right:
        return Change.REMOVED
    return Change.SAME if identity(left[name]) == identity(right[name]) else Change.CHANGED


def _metrics(left: Evidence, right: Evidence) -> list[MetricChange]:
    before, after = _measured(left), _measured(right)
    return [
        MetricChange(
            name,
            of or None,
            _change(before, after, (of, name), _number),
            before.get((of, name)),
            after.get((of, name)),
            _delta(before.get((of, name)), after.get((of, name))),
        )
        for of, name in sorted(before.keys() | after.keys())
    ]


def _measured(side: Evidence) -> dict[tuple[str, str], float]:
    """Metrics by the role of the output that they are of, and their name; the Run's own under no role.

    Of a Version those of its own production: in whatever role, so that they stand beside the other's.
    """
    found = {("", name): value for name, value in side.compared.run.metrics.items()}
    version, role = side.compared.version, side.compared.role
    for made in side.outputs:
        if version is None or (made.version == version and made.role == role):
            of = made.role if version is None else "it"
            found |= {(of, name): value for name, value in made.metrics.items()}
    return found


def _number(value: float) -> object:
    return "not a number" if math.isnan(value) else value


def _delta(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
        return None
    return after - before


def _code(left: Evidence, right: Evidence) -> Part:
    """By what the keys say of the code that ran, where both do; else by the source that was kept."""
    old, new = _code_of(left.components), _code_of(right.components)
    if old and new:
        return Part(Verdict.SAME if old == new else Verdict.CHANGED)
    before, after = left.compared.executed.capture, right.compared.executed.capture
    if before.bundle is None or after.bundle is None:
        return Part(Verdict.UNKNOWN, "the code of one of them was not recorded")
    if before.bundle == after.bundle:
        same_entry = before.entry == after.entry
        return Part(Verdict.SAME) if same_entry else Part(Verdict.CHANGED, "another entry of the same source")
    return Part(Verdict.CHANGED, "some file of the source is another; what ran of it is not known")


def _code_of(components: Iterable[model.Component]) -> list[tuple[str, bytes]]:
    return sorted((part.name, part.digest) for part in components if part.kind == _CODE)


def _environment(before: model.Capture, after: model.Capture) -> Part:
    if before.environment is None or after.environment is None:
        return Part(Verdict.UNKNOWN, "the environment of one of them was not recorded")
    if before.environment == after.environment:
        return Part(Verdict.SAME)
    python = before.python != after.python
    return Part(Verdict.CHANGED, f"Python {before.python} → {after.python}" if python else None)
