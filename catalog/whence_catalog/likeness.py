"""How what was made again compares with what was there: identical, equal within a tolerance, different, or open.

Bytes are the same, or they are not; where they are not, what lies in them may still be equal, or near. Decides
what a comparison says and how judgements add up. Leaves to others: reading bytes as tables, arrays or text
(`whence.likeness`), which hands in a `Reading` of both.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from whence_catalog import digest, model
from whence_catalog.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be from what it was: `atol + rtol × |what it was|`."""

    rtol: float = 0.0
    atol: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.rtol < math.inf and 0 <= self.atol < math.inf):
            raise InvalidInput(f"rtol {self.rtol} and atol {self.atol}: expected finite numbers from 0")

    def allows(self, before: float, after: float) -> bool:
        """Whether `after` is near enough. NaN is near NaN, and an infinity near itself alone."""
        if math.isnan(before) or math.isnan(after):
            return math.isnan(before) and math.isnan(after)
        if math.isinf(before) or math.isinf(after):
            return before == after
        return abs(after - before) <= self.atol + self.rtol * abs(before)


EXACT = Tolerance()


@dataclass(frozen=True, slots=True)
class Identical:
    """The same bytes, and the same metrics to the last bit."""


@dataclass(frozen=True, slots=True)
class WithinTolerance:
    """Not the same, but as near as was asked for."""

    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Different:
    """Not the same."""

    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotComparable:
    """Nothing can be said."""

    why: str


Likeness: TypeAlias = Identical | WithinTolerance | Different | NotComparable


@dataclass(frozen=True, slots=True)
class Reading:
    """Two contents whose bytes differ, read as what they are: `kind` is such as `table`.

    `near` tells what differs within the tolerance, `far` what differs by more. Where both are empty they hold
    the same values, written otherwise.
    """

    kind: str
    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """Two contents that could not be read as what they are, and why: only their bytes speak."""

    why: str


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output beside its namesake."""

    role: str
    likeness: Likeness


@dataclass(frozen=True, slots=True)
class Comparison:
    """A rerun beside its original, output by output, in the order of their roles.

    `missing` are roles that only the original has, `extra` those that only the rerun has.
    """

    outputs: tuple[OutputComparison, ...]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def overall(self) -> Likeness:
        """The judgement of all of it: a difference outweighs what cannot be compared, and that a nearness."""
        near: list[str] = []
        different = [f"{role}: only the original made it" for role in self.missing]
        different += [f"{role}: only the rerun made it" for role in self.extra]
        unknown: list[str] = []
        for output in self.outputs:
            match output.likeness:
                case Identical():
                    pass
                case WithinTolerance(how):
                    near += [f"{output.role}: {text}" for text in how]
                case Different(how):
                    different += [f"{output.role}: {text}" for text in how]
                case NotComparable(why):
                    unknown.append(f"{output.role}: {why}")
                case _:
                    assert_never(output.likeness)
        if different:
            return Different(tuple(different))
        if unknown:
            return NotComparable("; ".join(unknown))
        if not self.outputs:
            return NotComparable("neither made any output")
        return WithinTolerance(tuple(near)) if near else Identical()


def unequal(
    original: Sequence[model.Output], again: Sequence[model.OutputClaim]
) -> Iterator[tuple[model.Output, model.OutputClaim]]:
    """The outputs beside their namesakes of which reading the bytes would tell more than their digests do."""
    after = {claim.role: claim for claim in again}
    for output in original:
        claim = after.get(output.role)
        if claim is None or model.ASIDE in output.metadata or _open_question(output, claim):
            continue
        old, new = output.version.content, claim.content
        if old.form is new.form and old.digest != new.digest:
            yield output, claim


def compare(
    original: Sequence[model.Output],
    again: Sequence[model.OutputClaim],
    tolerance: Tolerance = EXACT,
    readings: Mapping[str, Reading | Unread] | None = None,
) -> Comparison:
    """What a rerun made, beside what the Run had made.

    Args:
        readings: by role, what lies in outputs whose bytes differ. Where there is none, and a tolerance is asked
            for, the metrics recorded with an output may stand for it.
    """
    # What is kept beside a result, as a log is, is none.
    before = {output.role: output for output in original if model.ASIDE not in output.metadata}
    after = {claim.role: claim for claim in again if model.ASIDE not in claim.metadata}
    read = readings or {}
    return Comparison(
        tuple(
            OutputComparison(role, _compare(before[role], after[role], tolerance, read.get(role)))
            for role in sorted(before.keys() & after.keys())
        ),
        missing=tuple(sorted(before.keys() - after.keys())),
        extra=tuple(sorted(after.keys() - before.keys())),
    )


def compare_metrics(
    before: Mapping[str, float], after: Mapping[str, float], tolerance: Tolerance
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(What differs within the tolerance, what differs by more), one line for each such metric."""
    near: list[str] = []
    far: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            far.append(f"metric {name} was {before[name]!r} and is not there")
        elif name not in before:
            far.append(f"metric {name} is {after[name]!r} and was not there")
        elif digest.frame(float(before[name])) != digest.frame(float(after[name])):
            found = near if tolerance.allows(before[name], after[name]) else far
            found.append(f"metric {name} was {before[name]!r} and is {after[name]!r}")
    return tuple(near), tuple(far)


def _open_question(before: model.Output, after: model.OutputClaim) -> str | None:
    """Why nothing can be said: a weaker identity than our own digest tells neither same nor other bytes."""
    for whose, content in (("the original", before.version.content), ("the rerun", after.content)):
        if content.strength is not model.Strength.CONTENT:
            return f"{whose} is identified by {content.strength} only"
    return None


def _compare(
    before: model.Output, after: model.OutputClaim, tolerance: Tolerance, read: Reading | Unread | None
) -> Likeness:
    if why := _open_question(before, after):
        return NotComparable(why)
    old, new = before.version.content, after.content
    if old.form is not new.form:
        return Different((f"it was a {old.form} and is a {new.form}",))
    near, far = compare_metrics(before.metrics, after.metrics, tolerance)
    if old.digest == new.digest:
        if far:
            return Different(("the same bytes", *far))
        return WithinTolerance(("the same bytes", *near)) if near else Identical()
    bytes_differ = f"other bytes: {old.digest} became {new.digest}"
    match read:
        case Reading(kind, read_near, read_far):
            if read_far or far:
                return Different((*read_far, *far, *read_near, *near))
            how = read_near or (f"the {kind} holds the same values, written otherwise",)
            return WithinTolerance((*how, *near))
        case Unread(why):
            told = (bytes_differ, why, *far, *near)
        case None:
            told = (bytes_differ, *far, *near)
        case _:
            assert_never(read)
    if far or not before.metrics:
        return Different(told)
    count = len(before.metrics)
    if tolerance == EXACT:
        return Different((*told, f"all its metrics ({count}) are as they were"))
    # Bytes cannot be near; what was measured on them can.
    return WithinTolerance((*told, f"all its metrics ({count}) are within the tolerance"))


def is_as_it_was(original: model.RunRecord, again: model.RunRecord) -> bool:
    """Whether a rerun was given what its original had: the same inputs, parameters and source, in its project.

    Only then does what came out of it say something of the original. In which environment it was is no part of
    that: of the same code and data, another one has to make the same.
    """
    return _given(original) == _given(again)


def _given(record: model.RunRecord) -> tuple[object, ...]:
    run = record.run
    taken = {(used.role, used.ordinal): used.version.digest for used in record.inputs}
    source = (run.capture.entry, run.capture.bundle, run.capture.command)
    return run.project, digest.frame(dict(run.params)), source, taken


# ── several times ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Stability:
    """One output over several reruns: what each made of it, None where it made none."""

    role: str
    digests: tuple[digest.Digest | None, ...]

    @property
    def varies(self) -> bool:
        """Whether the reruns differ among themselves, whatever the original was."""
        return len(set(self.digests)) > 1


def stability(times: Sequence[Sequence[model.OutputClaim]]) -> tuple[Stability, ...]:
    """Each output that any of several reruns made, in the order of their roles."""
    made = [{claim.role: claim.content.digest for claim in claims} for claims in times]
    roles = sorted({role for found in made for role in found})
    return tuple(Stability(role, tuple(found.get(role) for found in made)) for role in roles)


def worst(judgements: Sequence[Likeness]) -> Likeness:
    """What several judgements come to: a difference outweighs what is open, and that a nearness.

    Raises:
        InvalidInput: there is none.
    """
    for kind in (Different, NotComparable, WithinTolerance, Identical):
        for each in judgements:
            if isinstance(each, kind):
                return each
    raise InvalidInput("nothing was compared")
